//! Clients that vanish, that were never there, that give up, and that only look.

use std::io::Write as _;
use std::time::Duration;

use tcptrace_tests::lab::{
    CLIENT_GATEWAY_MAC, SERVER_GATEWAY_MAC, SERVER_MAC, Strangers, TcpFrame, Towards, eventually, flags, reset,
};

use crate::scenario::Socket;
use crate::scene::{FAILING, PATIENCE, PORT, Scene, WORKING, counting, until_counted};

/// Not the RST/ACK of a closed port, and not the bare ACK.
const SYN_ACK: &str = "tcp flags & (syn | ack) == syn | ack";
/// The rounds of a health check.
const ROUNDS: u16 = 6;

/// Listens with a SYN/ACK that is sent three times, at 0, 1 and 3 s.
fn listen(scene: &Scene) {
    scene.lab.server.sysctl("net.ipv4.tcp_synack_retries", "2");
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
}

/// The client's cable is pulled while the SYN/ACK is on its way.
pub(crate) fn unplugged(scene: &Scene) -> Socket {
    listen(scene);
    let wire = scene.lab.server.raw_link("eth0");
    let held = scene.lab.hold(Towards::Client);
    scene.keep(scene.start(scene.to(WORKING)));
    wire.recv_tcp(PATIENCE, |it| it.has(flags::SYN | flags::ACK)).expect("the server answers");
    scene.lab.client.ip("link set eth0 down");
    held.release();
    Socket::None
}

/// A SYN in the name of an address that nobody has.
pub(crate) fn spoofed_of_nobody(scene: &Scene) -> Socket {
    listen(scene);
    let strangers = scene.lab.strangers();
    let syn = Strangers::syn((scene.stranger(1), PORT).into(), scene.to(WORKING));
    strangers.send(&syn);
    strangers.answer(&syn);
    Socket::None
}

/// A SYN in the name of the client, sent from elsewhere: the client knows of nothing and resets the answer.
pub(crate) fn spoofed_of_somebody(scene: &Scene) -> Socket {
    listen(scene);
    let wire = scene.lab.server.raw_link("eth0");
    let syn = Strangers::syn((scene.client(), PORT).into(), scene.to(WORKING));
    let from_the_router = TcpFrame { source_mac: SERVER_GATEWAY_MAC, target_mac: SERVER_MAC, ttl: 200, ..syn };
    scene.lab.router.raw_link("server0").send(&from_the_router.bytes());
    let reset = wire.recv_tcp(PATIENCE, |it| it.has(flags::RST) && it.source.port() == PORT).expect("it is reset");
    assert_eq!(reset.ttl, 63, "of the client's own stack");
    Socket::None
}

/// A SYN in the name of a network that is nowhere: a router says so, of the SYN/ACK.
pub(crate) fn spoofed_of_nowhere(scene: &Scene) -> Socket {
    listen(scene);
    scene.lab.router.ip("route del 198.18.0.0/15");
    let before = scene.lab.server.counter("Icmp", "InDestUnreachs");
    let syn = Strangers::syn((scene.stranger(1), PORT).into(), scene.to(WORKING));
    scene.lab.strangers().send(&TcpFrame { target_mac: CLIENT_GATEWAY_MAC, ..syn });
    let heard = || (scene.lab.server.counter("Icmp", "InDestUnreachs") > before).then_some(());
    eventually(PATIENCE, heard);
    Socket::None
}

/// The SYN/ACK is dropped on its way, and the client goes on trying.
pub(crate) fn answer_dropped_on_the_way(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    listen(scene);
    let rule = counting(&scene.lab.router, "forward", &format!("{SYN_ACK} counter drop"));
    let socket = scene.connect(scene.to(WORKING));
    assert!(rule.packets() >= 3, "{}", rule.list());
    scene.keep(rule);
    socket
}

/// The final ACK is dropped on its way, each time that the client sends it: it believes that it is connected.
pub(crate) fn ack_dropped_on_the_way(scene: &Scene) -> Socket {
    listen(scene);
    let rule = r#"iifname "client0" tcp flags & (fin | syn | rst | ack) == ack counter drop"#;
    let rule = counting(&scene.lab.router, "forward", rule);
    let socket = scene.connect(scene.to(WORKING));
    until_counted(&rule, 3);
    scene.keep(rule);
    socket
}

/// The application waits 2.5 s, the kernel would have tried on for two minutes.
pub(crate) fn gives_up_early(scene: &Scene) -> Socket {
    let rule = counting(&scene.lab.router, "forward", "tcp dport 6036 counter drop");
    let socket = scene.connect_for(scene.to(FAILING), Duration::from_millis(2500));
    assert!((2..10).contains(&rule.packets()), "it tried again, and not for long: {}", rule.list());
    scene.keep(rule);
    socket
}

/// The same, where the second SYN comes after one second and the third would after two more.
pub(crate) fn gives_up_after_two_syns(scene: &Scene) -> Socket {
    if scene.lab.client.read_sysctl("net.ipv4.tcp_syn_linear_timeouts").is_some() {
        scene.lab.client.sysctl("net.ipv4.tcp_syn_linear_timeouts", "0");
    }
    gives_up_early(scene)
}

/// The application closes while the SYN/ACK is on its way.
pub(crate) fn gives_up_during_the_handshake(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    scene.lab.connect_and_close_during_handshake(PORT, scene.to(WORKING));
    Socket::GivenUp
}

/// Opens and resets, without data, again and again: as HAProxy's `check` does.
pub(crate) fn looks_again_and_again(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    // The last one is judged: what it is shows in those before.
    for port in (PORT..PORT + ROUNDS).rev() {
        reset(scene.lab.client.connect_from(port, scene.to(WORKING), PATIENCE).expect("it opens"));
    }
    Socket::Open
}

/// The same, once.
pub(crate) fn looks_once(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    reset(scene.start(scene.to(WORKING)).finish(PATIENCE).expect("it opens"));
    Socket::Open
}

/// The same again and again, and no ACK: a SYN, a SYN/ACK, a RST, as a scanner does it.
pub(crate) fn looks_without_opening(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let strangers = scene.lab.strangers();
    for port in (PORT..PORT + ROUNDS).rev() {
        let syn = Strangers::syn((scene.stranger(1), port).into(), scene.to(WORKING));
        strangers.send(&syn);
        let answer = strangers.answer(&syn);
        strangers.send(&TcpFrame { window: 0, ..answer.answer(flags::RST, answer.ack) });
    }
    Socket::None
}

/// Opens, sends, and resets, once: an application that closes with data unread.
pub(crate) fn resets_after_data(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let mut stream = scene.start(scene.to(WORKING)).finish(PATIENCE).expect("it opens");
    stream.write_all(b"GET / HTTP/1.1\r\n").expect("it takes data");
    reset(stream);
    Socket::Open
}
