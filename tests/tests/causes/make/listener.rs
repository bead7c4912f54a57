//! Listeners that are overrun: full accept queues, and SYNs from everywhere.

use tcptrace_tests::lab::{IdleListener, Ns, Strangers, eventually};

use crate::scenario::Socket;
use crate::scene::{FAILING, PATIENCE, PORT, Scene, WORKING};

/// Sources of a flood. Too few for the tool to call it one by its rate: what is left is what they do.
const SOURCES: u16 = 60;

/// A listener for two whose queue is full of connections of a host, and nobody accepts.
fn full(scene: &Scene, port: u16, of: &Ns) -> IdleListener {
    let listener = scene.lab.server.listen_without_accept(scene.to(port), 1);
    for _ in 0..2 {
        scene.keep(of.connect(scene.to(port), PATIENCE).expect("two fit"));
    }
    // The client's end opens before the server's.
    eventually(PATIENCE, || (scene.lab.server.accept_queue(port) == Some((2, 1))).then_some(()));
    listener
}

fn overflows(scene: &Scene) -> u64 {
    scene.lab.server.counter("TcpExt", "ListenOverflows")
}

/// SYNs to a listener that takes no more.
pub(crate) fn queue_is_full(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(full(scene, WORKING, &scene.lab.client));
    let socket = scene.connect(scene.to(WORKING));
    assert!(overflows(scene) >= 3, "each SYN met a full queue");
    socket
}

/// The same, of connections that the client's wire does not show; another port of the host answers. That is what a drop
/// of one port looks like.
pub(crate) fn queue_was_full_before(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.answers(scene.server(), WORKING);
    scene.keep(full(scene, FAILING, &scene.lab.router));
    let socket = scene.connect(scene.to(FAILING));
    assert!(overflows(scene) >= 3, "each SYN met a full queue");
    socket
}

/// The queue became full between the SYN/ACK and the final ACK: the client believes that it is connected.
pub(crate) fn queue_is_full_at_the_ack(scene: &Scene) -> Socket {
    let listener = scene.lab.server.listen_without_accept(scene.to(WORKING), 0);
    let gate = scene.lab.router.filter("forward", "tcp sport 40000 tcp flags & (syn | ack) == ack drop");
    let connected = scene.start(scene.to(WORKING)).finish(PATIENCE);
    scene.keep(scene.lab.client.connect(scene.to(WORKING), PATIENCE).expect("one fits"));
    eventually(PATIENCE, || (scene.lab.server.accept_queue(WORKING) == Some((1, 0))).then_some(()));
    drop(gate);
    let socket = scene.keep_socket(connected);
    // The next SYN/ACK makes the client say it again.
    eventually(PATIENCE, || (overflows(scene) > 0).then_some(()));
    scene.keep(listener);
    socket
}

/// The same, of a server that resets what it has no room for.
pub(crate) fn queue_resets_at_the_ack(scene: &Scene) -> Socket {
    scene.lab.server.sysctl("net.ipv4.tcp_abort_on_overflow", "1");
    queue_is_full_at_the_ack(scene)
}

/// Half-open connections of others take all room, and no cookie is sent.
pub(crate) fn half_open_queue_is_full(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.lab.server.sysctl("net.ipv4.tcp_syncookies", "0");
    scene.lab.server.sysctl("net.ipv4.tcp_synack_retries", "6");
    scene.keep(scene.lab.server.listen_without_accept(scene.to(WORKING), 2));
    let strangers = scene.lab.strangers();
    for number in 0..3 {
        let syn = Strangers::syn((scene.stranger(number), PORT + 1 + number).into(), scene.to(WORKING));
        strangers.send(&syn);
        strangers.answer(&syn);
    }
    scene.connect(scene.to(WORKING))
}

/// Full when the first SYN comes, and not when the second does.
pub(crate) fn queue_that_drains(scene: &Scene) -> Socket {
    let listener = full(scene, WORKING, &scene.lab.client);
    let connecting = scene.start(scene.to(WORKING));
    eventually(PATIENCE, || (overflows(scene) > 0).then_some(()));
    scene.keep(listener.accept().expect("one waits"));
    let socket = scene.keep_socket(connecting.finish(PATIENCE));
    scene.keep(listener);
    socket
}

/// The listener waits for data, which the client does not send: the kernel repeats its SYN/ACK and drops nothing.
pub(crate) fn waits_for_data(scene: &Scene) -> Socket {
    let listener = scene.lab.server.listen_without_accept(scene.to(WORKING), 16);
    listener.defer(10);
    let stream = scene.start(scene.to(WORKING)).finish(PATIENCE);
    let socket = scene.keep_socket(stream);
    eventually(PATIENCE, || (scene.lab.server.counter("Tcp", "RetransSegs") > 0).then_some(()));
    assert_eq!(overflows(scene), 0);
    scene.keep(listener);
    socket
}

/// Many sources, none of which goes on: the SYN queue overruns, and cookies are sent.
pub(crate) fn flood(scene: &Scene) -> Socket {
    flood_of(scene, 0..SOURCES)
}

/// The same, and the one that is judged comes when the queue is full: it gets a cookie, once, and no repeat.
pub(crate) fn flood_backwards(scene: &Scene) -> Socket {
    flood_of(scene, (0..SOURCES).rev())
}

fn flood_of(scene: &Scene, sources: impl Iterator<Item = u16>) -> Socket {
    scene.lab.server.sysctl("net.ipv4.tcp_max_syn_backlog", "16");
    scene.keep(scene.lab.server.listen_without_accept(scene.to(WORKING), 16));
    let strangers = scene.lab.strangers();
    for number in sources {
        let syn = Strangers::syn((scene.stranger(number), PORT + number).into(), scene.to(WORKING));
        strangers.send(&syn);
        strangers.answer(&syn);
    }
    let cookies = scene.lab.server.counter("TcpExt", "SyncookiesSent");
    assert!(cookies >= u64::from(SOURCES / 2), "{cookies} cookies were sent");
    Socket::None
}

/// As many sources in as little time, and all of them go on.
pub(crate) fn crowd(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let strangers = scene.lab.strangers();
    for number in 0..SOURCES {
        strangers.open((scene.stranger(number), PORT + number).into(), scene.to(WORKING));
    }
    assert_eq!(scene.lab.server.counter("TcpExt", "SyncookiesSent"), 0);
    Socket::None
}
