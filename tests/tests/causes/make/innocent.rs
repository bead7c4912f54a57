//! What looks like a failure for a moment, and is none.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use tcptrace_tests::lab::{ConnectOptions, OnAccept, TcpFrame, Towards, eventually, flags, reset};

use crate::scenario::Socket;
use crate::scene::{PATIENCE, PORT, Scene, WORKING, counting, the_first};

/// Not the RST/ACK of a closed port, and not the bare ACK.
const SYN_ACK: &str = "tcp flags & (syn | ack) == syn | ack";

/// Works, once.
pub(crate) fn works(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    scene.connect(scene.to(WORKING))
}

/// Has so many segments of a kind be lost on the way, and then no more.
fn lost_on_the_way(scene: &Scene, kind: &str, packets: u64) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let rule = counting(&scene.lab.router, "forward", &format!("{kind} {} counter drop", the_first(packets)));
    let socket = scene.connect(scene.to(WORKING));
    assert_eq!(rule.packets(), packets, "{}", rule.list());
    socket
}

pub(crate) fn lost_syn(scene: &Scene) -> Socket {
    lost_on_the_way(scene, "tcp flags & (syn | ack) == syn", 1)
}

/// Long enough to be told as stalled.
pub(crate) fn three_lost_syns(scene: &Scene) -> Socket {
    let socket = lost_on_the_way(scene, "tcp flags & (syn | ack) == syn", 3);
    drop(scene.wait("stall"));
    socket
}

/// The server sends it again by itself. The client's next SYN, in the same millisecond, would have a third one sent,
/// which is no longer a loss to be passed over in silence; so it is lost, too.
pub(crate) fn lost_syn_ack(scene: &Scene) -> Socket {
    let syn = "tcp flags & (syn | ack) == syn";
    let socket = lost_on_the_way(scene, &format!("{syn} {} accept; {syn} drop; {SYN_ACK}", the_first(1)), 1);
    assert_eq!(scene.lab.server.counter("TcpExt", "TCPSynRetrans"), 1, "the server's timer sent it again");
    socket
}

/// Both call each other, and the SYNs meet on the way (RFC 9293, section 3.5).
pub(crate) fn simultaneous_open(scene: &Scene) -> Socket {
    let (here, there) = (SocketAddr::new(scene.client(), PORT), scene.to(PORT + 1));
    let wires = [scene.lab.router.raw_link("client0"), scene.lab.router.raw_link("server0")];
    let held = [Towards::Client, Towards::Server].map(|it| scene.lab.hold(it));
    let ours = scene.start(there);
    let options = ConnectOptions { from_port: Some(PORT + 1), ..Default::default() };
    let theirs = scene.lab.server.start_connect(here, options).expect("a socket is made and bound");
    for wire in wires {
        wire.recv_tcp(PATIENCE, TcpFrame::is_syn).expect("both are on their way");
    }
    drop(held);
    let socket = scene.keep_socket(ours.finish(PATIENCE));
    assert_eq!(scene.keep_socket(theirs.finish(PATIENCE)), Socket::Open);
    socket
}

/// Data in the SYN (RFC 7413). Neither side asks for a cookie, which would take a connection before this one.
pub(crate) fn fast_open(scene: &Scene) -> Socket {
    scene.lab.server.sysctl("net.ipv4.tcp_fastopen", "1538");
    scene.lab.client.sysctl("net.ipv4.tcp_fastopen", "5");
    scene.keep(scene.lab.server.listen_and(scene.to(WORKING), OnAccept::Echo));
    let wire = scene.lab.client.raw_link("eth0");
    let stream = scene.lab.client.fast_open(PORT, scene.to(WORKING), b"ping", PATIENCE).expect("it sends");
    let syn = wire.recv_tcp(PATIENCE, TcpFrame::is_syn).expect("a SYN");
    assert_eq!(syn.payload, b"ping", "its data go with the SYN");
    scene.keep_socket(Ok(stream))
}

/// The server's listener is restarted between two SYN/ACKs: one SYN, one host, two answers with different numbers.
pub(crate) fn restarted_listener(scene: &Scene) -> Socket {
    let rule = format!("{SYN_ACK} {} counter drop", the_first(1));
    let rule = counting(&scene.lab.router, "forward", &rule);
    let listener = scene.lab.server.listen(scene.to(WORKING));
    let wire = scene.lab.server.raw_link("eth0");
    let connecting = scene.start(scene.to(WORKING));
    let is_answer = |it: &TcpFrame| it.has(flags::SYN | flags::ACK);
    let first = wire.recv_tcp(PATIENCE, is_answer).expect("it answers").seq;
    drop(listener);
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let socket = scene.keep_socket(connecting.finish(PATIENCE));
    let second = wire.recv_tcp(PATIENCE, is_answer).expect("it answers again").seq;
    assert_eq!(rule.packets(), 1, "the first answer was lost: {}", rule.list());
    assert_ne!(first, second, "the new listener knows nothing of the old one's numbers");
    socket
}

/// A new connection from ports that the server still has in TIME-WAIT: it lets go of the old one at once (RFC 9293,
/// section 3.6.1).
pub(crate) fn ports_in_time_wait(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen_and(scene.to(WORKING), OnAccept::Close));
    let mut first = scene.start(scene.to(WORKING)).finish(PATIENCE).expect("it opens");
    assert_eq!(first.read(&mut [0]).expect("the server closes first"), 0);
    drop(first);
    eventually(PATIENCE, || (scene.lab.server.socket_state(WORKING).as_deref() == Some("TIME-WAIT")).then_some(()));
    scene.connect(scene.to(WORKING))
}

/// Accepted, and reset at once: what a proxy does whose backend is away.
pub(crate) fn accepted_and_reset(scene: &Scene) -> Socket {
    let listener = scene.lab.server.listen_without_accept(scene.to(WORKING), 8);
    let mut stream = scene.start(scene.to(WORKING)).finish(PATIENCE).expect("it opens");
    reset(eventually(PATIENCE, || listener.accept().ok()));
    let read = stream.read(&mut [0]);
    scene.keep(stream);
    Socket::of(&read)
}

/// Accepted, and closed at once: a preconnect, or a port that somebody looks at.
pub(crate) fn accepted_and_closed(scene: &Scene) -> Socket {
    let listener = scene.lab.server.listen_without_accept(scene.to(WORKING), 8);
    let mut stream = scene.start(scene.to(WORKING)).finish(PATIENCE).expect("it opens");
    drop(eventually(PATIENCE, || listener.accept().ok()));
    assert_eq!(stream.read(&mut [0]).expect("it ends"), 0);
    scene.keep(stream);
    Socket::Open
}

/// The server's application resets after data, as one does that closes with data unread.
pub(crate) fn reset_by_the_server(scene: &Scene) -> Socket {
    let listener = scene.lab.server.listen_without_accept(scene.to(WORKING), 8);
    let mut stream = scene.start(scene.to(WORKING)).finish(PATIENCE).expect("it opens");
    stream.write_all(b"GET / HTTP/1.1\r\n").expect("it takes data");
    let accepted = eventually(PATIENCE, || listener.accept().ok());
    eventually(PATIENCE, || accepted.peek(&mut [0]).ok());
    reset(accepted);
    let read = stream.read(&mut [0]);
    scene.keep(stream);
    Socket::of(&read)
}
