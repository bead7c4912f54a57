//! Ways that differ, translations that forget, addresses that two have, ports that are in use.

use std::io::Read as _;

use tcptrace_tests::lab::{EXTRA_MAC, Quiet, SERVER_GATEWAY_V4, TcpFrame, TcpOptionElement, flags, mac_text, reset};

use crate::scenario::Socket;
use crate::scene::{FAILING, PATIENCE, PORT, Scene, WORKING, counting, the_first, until_counted};

/// The SYN/ACK comes back by another wire than the one that is watched.
pub(crate) fn answer_by_another_wire(scene: &Scene) -> Socket {
    let wire = scene.lab.client.raw_link("eth1");
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let socket = scene.connect(scene.to(WORKING));
    wire.recv_tcp(PATIENCE, |it| it.has(flags::SYN | flags::ACK)).expect("it came by the other wire");
    socket
}

/// A translation on the way back that nobody made on the way there: the client asked one address, and another answers.
pub(crate) fn answer_from_another_address(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    // A stateful translation would undo itself on the way back, so this one knows no connections.
    let (from, to) = (scene.server(), scene.other());
    let family = scene.family();
    let rule = format!("{family} saddr {from} tcp sport 80 counter notrack {family} saddr set {to}");
    let rule = scene.lab.router.nft(&format!("chain raw {{ type filter hook prerouting priority raw; {rule}; }}"));
    let wire = scene.lab.client.raw_link("eth0");
    let socket = scene.connect(scene.to(WORKING));
    let answer = wire.recv_tcp(PATIENCE, |it| it.has(flags::SYN | flags::ACK)).expect("an answer came");
    assert_eq!((answer.source.ip(), rule.packets() > 0), (to, true));
    scene.keep(rule);
    socket
}

/// SYNs with the ECN bits are dropped on the way. Linux leaves them out of what it sends again (RFC 3168, section
/// 6.1.1.1), and the first without them is answered; so many connections before it had the same.
fn ecn_is_dropped_after(scene: &Scene, connections: u16) -> Socket {
    scene.lab.client.sysctl("net.ipv4.tcp_ecn", "1");
    scene.lab.server.sysctl("net.ipv4.tcp_ecn", "1");
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let asks = "tcp flags & (syn | ack | ecn | cwr) == syn | ecn | cwr";
    let rule = counting(&scene.lab.router, "forward", &format!("{asks} counter drop"));
    for number in 0..connections {
        scene.keep(scene.lab.client.connect_from(PORT + 1 + number, scene.to(WORKING), PATIENCE).expect("it opens"));
    }
    let socket = scene.connect(scene.to(WORKING));
    assert!(rule.packets() > u64::from(connections), "{}", rule.list());
    scene.keep(rule);
    socket
}

pub(crate) fn ecn_is_dropped(scene: &Scene) -> Socket {
    ecn_is_dropped_after(scene, 0)
}

pub(crate) fn ecn_is_dropped_again(scene: &Scene) -> Socket {
    ecn_is_dropped_after(scene, 1)
}

/// The first SYN is lost, whatever its bits: the next has none, and is answered. Another with them was answered.
pub(crate) fn ecn_is_left_out_after_a_loss(scene: &Scene) -> Socket {
    scene.lab.client.sysctl("net.ipv4.tcp_ecn", "1");
    scene.lab.server.sysctl("net.ipv4.tcp_ecn", "1");
    scene.answers(scene.server(), WORKING);
    let rule = format!("tcp sport {PORT} tcp flags & (syn | ack) == syn {} counter drop", the_first(1));
    let rule = counting(&scene.lab.router, "forward", &rule);
    let socket = scene.connect(scene.to(WORKING));
    scene.keep(rule);
    socket
}

/// Two hosts answer one SYN: the second with its own numbers, options and TTL; it resets what it does not know.
pub(crate) fn two_answers(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let twin = scene.lab.server.respond_at("eth0", scene.to(WORKING), |segment| {
        let ours = |it| TcpFrame { source_mac: EXTRA_MAC, ttl: 128, window: 8192, ..it };
        let answer = if segment.is_syn() {
            segment.answer(flags::SYN | flags::ACK, 7).with_options(&[TcpOptionElement::MaximumSegmentSize(1460)])
        } else {
            TcpFrame { ack: 0, ..segment.answer(flags::RST, segment.ack) }
        };
        vec![ours(answer)]
    });
    let wire = scene.lab.client.raw_link("eth0");
    // Whether the RST comes before the connect has looked or after is the scheduler's affair.
    let read = scene.start(scene.to(WORKING)).finish(PATIENCE).and_then(|mut it| it.read(&mut [0]));
    let is_answer = |it: &TcpFrame| it.has(flags::SYN | flags::ACK) && it.target.port() == PORT;
    let isns = [(); 2].map(|()| wire.recv_tcp(PATIENCE, is_answer).expect("two answered").seq);
    assert_ne!(isns[0], isns[1]);
    scene.keep(twin);
    Socket::of(&read)
}

/// A second host takes the server's address: the router believes who spoke last, and that one has no such port.
pub(crate) fn second_host_with_the_address(scene: &Scene) -> Socket {
    scene.lab.router_learns_neighbours(scene.server());
    scene.answers(scene.server(), WORKING);
    let extra = scene.lab.extra_host(scene.server());
    extra.ns.connect((SERVER_GATEWAY_V4, 9).into(), PATIENCE).expect_err("it asks by ARP, and is refused");
    let shown = scene.lab.router.ip(&format!("neigh show {}", scene.server()));
    assert!(shown.contains(&mac_text(EXTRA_MAC)), "{shown}");
    let socket = scene.connect(scene.to(WORKING));
    scene.keep(extra);
    socket
}

/// One host with two addresses, and so one link-layer address for both.
pub(crate) fn one_host_with_two_addresses(scene: &Scene) -> Socket {
    for ip in [scene.server(), scene.other()] {
        scene.lab.router_learns_neighbours(ip);
        scene.answers(ip, WORKING);
    }
    scene.connect((scene.other(), FAILING).into())
}

/// The server still has a connection of these ports, of which the client has forgotten all: it is challenged, and its
/// RST ends the old one (RFC 5961, section 4.2). The next SYN would be answered: the application does not wait for it,
/// and is not trusted to be quick enough.
pub(crate) fn ports_of_an_old_connection(scene: &Scene) -> Socket {
    forget_a_connection(scene);
    let wire = scene.lab.client.raw_link("eth0");
    let before = scene.lab.server.counter("TcpExt", "TCPChallengeACK");
    let rule = format!("tcp flags & (syn | ack) == syn {}", the_first(1));
    let rule = format!("{rule} accept; tcp flags & (syn | ack) == syn counter drop");
    scene.keep(counting(&scene.lab.router, "forward", &rule));
    let connecting = scene.start(scene.to(WORKING));
    wire.recv_tcp(PATIENCE, |it| it.source.port() == PORT && it.has(flags::RST)).expect("the challenge is reset");
    assert_eq!(scene.lab.server.counter("TcpExt", "TCPChallengeACK"), before + 1);
    connecting.abandon();
    Socket::GivenUp
}

/// The same, and the application waits.
pub(crate) fn ports_of_an_old_connection_with_patience(scene: &Scene) -> Socket {
    forget_a_connection(scene);
    scene.connect(scene.to(WORKING))
}

/// The same, and the client's RSTs never arrive: a rule of the server drops them, and no SYN.
pub(crate) fn rst_of_an_old_connection_is_dropped(scene: &Scene) -> Socket {
    forget_a_connection(scene);
    let rule = counting(&scene.lab.server, "input", "tcp dport 80 tcp flags & rst == rst counter drop");
    let connecting = scene.start(scene.to(WORKING));
    until_counted(&rule, 2);
    connecting.abandon();
    scene.keep(rule);
    Socket::GivenUp
}

/// The server has no route to the client.
pub(crate) fn no_way_back(scene: &Scene) -> Socket {
    // It is known that nothing was dropped only while every drop is noted.
    scene.keep(Quiet::begin());
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    scene.lab.server.ip("route del default");
    scene.connect(scene.to(WORKING))
}

fn forget_a_connection(scene: &Scene) {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let old = scene.start(scene.to(WORKING)).finish(PATIENCE).expect("it opens");
    let silenced = counting(&scene.lab.client, "output", "tcp dport 80 tcp flags & rst == rst counter drop");
    reset(old);
    assert_eq!(silenced.packets(), 1, "the server was not told");
}
