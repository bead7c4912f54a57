//! Rules that drop and reject: on the way, at the server, at the client.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tcptrace_tests::lab::{CLIENT_GATEWAY_V4, Ns, Quiet, Strangers, eventually, flags};

use crate::scenario::Socket;
use crate::scene::{FAILING, PATIENCE, PORT, Scene, WORKING, counting, until_counted};

/// In no network of the lab (RFC 5737).
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The three SYNs of `client_gives_up_after_three_syns`.
const SYNS: u64 = 3;

/// Drops what is for the port that fails, and has the kernel try to its end.
fn drop_syns(scene: &Scene, ns: &Ns, hook: &str, rule: &str) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(scene.lab.server.listen(scene.to(FAILING)));
    let rule = counting(ns, hook, rule);
    let socket = scene.connect(scene.to(FAILING));
    assert_eq!(rule.packets(), SYNS, "the rule dropped all of the SYNs: {}", rule.list());
    scene.keep(rule);
    socket
}

/// At the router, while another port of the host answers.
pub(crate) fn drop_of_a_port(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    drop_syns(scene, &scene.lab.router, "forward", "tcp dport 6036 counter drop")
}

/// At the router, and nothing else is known of the host.
pub(crate) fn drop_and_nothing_else(scene: &Scene) -> Socket {
    drop_syns(scene, &scene.lab.router, "forward", "tcp dport 6036 counter drop")
}

/// At the router, all that is for one host; its neighbour answers.
pub(crate) fn drop_of_a_host(scene: &Scene) -> Socket {
    scene.answers(scene.other(), WORKING);
    let rule = format!("{} daddr {} counter drop", scene.family(), scene.server());
    drop_syns(scene, &scene.lab.router, "forward", &rule)
}

/// At the router, all that is for the server's network; the client's own answers.
pub(crate) fn drop_of_a_network(scene: &Scene) -> Socket {
    scene.lab.client.connect((CLIENT_GATEWAY_V4, FAILING).into(), PATIENCE).expect_err("the router has no such port");
    drop_of_all(scene, &[scene.other(), scene.absent()], "ip daddr 203.0.113.0/24 counter drop")
}

/// At the router, all that the client sends, and the router answers nothing itself.
pub(crate) fn drop_of_everything(scene: &Scene) -> Socket {
    drop_of_all(scene, &[scene.other(), scene.absent(), NOWHERE], r#"iifname "client0" counter drop"#)
}

fn drop_of_all(scene: &Scene, others: &[IpAddr], rule: &str) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    let rule = counting(&scene.lab.router, "prerouting", rule);
    // Before the judged one, so that their silence is known when it is told.
    for ip in others {
        scene
            .keep(scene.lab.client.start_connect((*ip, WORKING).into(), Default::default()).expect("a socket is made"));
    }
    let socket = scene.connect(scene.to(WORKING));
    assert!(rule.packets() >= 3 * SYNS, "all of them tried: {}", rule.list());
    scene.keep(rule);
    socket
}

/// At the router, of one client of a port that answers others: as the server's side of the router sees it, and the
/// tracer on it.
pub(crate) fn drop_of_a_client(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(scene.lab.server.listen(scene.to(FAILING)));
    scene.lab.strangers().open((scene.stranger(1), 41_000).into(), scene.to(FAILING));
    let rule = format!("{} saddr {} tcp dport 6036 counter drop", scene.family(), scene.client());
    drop_syns_of_listener(scene, &rule)
}

fn drop_syns_of_listener(scene: &Scene, rule: &str) -> Socket {
    let rule = counting(&scene.lab.router, "forward", rule);
    let socket = scene.connect(scene.to(FAILING));
    assert_eq!(rule.packets(), SYNS, "{}", rule.list());
    scene.keep(rule);
    socket
}

/// At the server, before TCP.
pub(crate) fn drop_at_the_server(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    drop_syns(scene, &scene.lab.server, "input", "tcp dport 6036 counter drop")
}

/// At the server, of its own SYN/ACKs: they never come by its interface.
pub(crate) fn drop_of_its_own_answer(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    scene.keep(counting(&scene.lab.server, "output", "tcp sport 80 counter drop"));
    scene.connect(scene.to(WORKING))
}

/// At the server, by no rule of a firewall: its routes say that who sends from there comes in elsewhere (RFC 3704).
pub(crate) fn drop_by_reverse_path(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    scene.lab.server.sysctl("net.ipv4.conf.eth0.rp_filter", "1");
    scene.lab.server.ip("route add unreachable 198.18.0.0/15");
    let syn = Strangers::syn((scene.stranger(1), PORT).into(), scene.to(WORKING));
    scene.lab.strangers().send(&syn);
    let dropped = || (scene.lab.server.counter("TcpExt", "IPReversePathFilter") > 0).then_some(());
    eventually(PATIENCE, dropped);
    Socket::None
}

/// At the client, before the wire: nobody on it knows.
pub(crate) fn drop_at_the_client(scene: &Scene) -> Socket {
    let wire = scene.lab.client.raw_link("eth0");
    let socket = drop_syns(scene, &scene.lab.client, "output", "tcp dport 6036 counter drop");
    assert_eq!(wire.conversation(PORT, Duration::ZERO), [""; 0], "nothing reached the wire");
    socket
}

/// At the client, on the way in: the socket waits, and the answer was on the wire.
pub(crate) fn drop_of_the_answer(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.lab.server.sysctl("net.ipv4.tcp_synack_retries", "2");
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let rule = counting(&scene.lab.client, "input", "tcp sport 80 tcp flags & (syn | ack) == syn | ack counter drop");
    let connecting = scene.start(scene.to(WORKING));
    until_counted(&rule, 1);
    assert_eq!(scene.lab.client.socket_state(PORT).as_deref(), Some("SYN-SENT"), "it never heard of the answer");
    let socket = scene.keep_socket(connecting.finish(PATIENCE));
    scene.keep(rule);
    socket
}

/// At the server, by no rule: what its rules do not admit goes.
pub(crate) fn drop_by_a_policy(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(scene.lab.server.listen(scene.to(FAILING)));
    let chain = "chain c { type filter hook input priority 0; policy drop; tcp dport 80 counter accept; }";
    scene.keep(scene.lab.server.nft(chain));
    scene.connect(scene.to(FAILING))
}

/// At the server, beside rules that drop other packets: by port, by address, by flags, and one that nothing reaches.
pub(crate) fn drop_by_one_of_several_rules(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.nft(
        "chain other { tcp dport 6036 drop; }
        chain c { type filter hook input priority 0; policy accept;
            tcp dport 81 drop; ip saddr 192.0.2.1 drop; tcp flags & rst == rst drop; tcp dport 6036 counter jump mine; }
        chain o { type filter hook output priority 0; policy accept; tcp sport 6037 drop; }
        chain mine { counter drop; }",
    ));
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(scene.lab.server.listen(scene.to(FAILING)));
    scene.connect(scene.to(FAILING))
}

/// At the server, of the ACK alone: the client believes that it is connected, and is answered again.
pub(crate) fn drop_of_the_final_ack(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let rule = counting(&scene.lab.server, "input", "tcp dport 80 tcp flags & (syn | ack) == ack counter drop");
    let socket = scene.connect(scene.to(WORKING));
    drop(scene.wait("stall"));
    assert!(rule.packets() > 1, "each SYN/ACK is answered: {}", rule.list());
    scene.keep(rule);
    socket
}

/// At the server, of the RST of a closed port.
pub(crate) fn drop_of_the_refusal(scene: &Scene) -> Socket {
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(counting(&scene.lab.server, "output", "tcp sport 6036 tcp flags & rst == rst counter drop"));
    scene.connect(scene.to(FAILING))
}

/// A SYN whose checksum is wrong.
pub(crate) fn bad_checksum(scene: &Scene) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
    let mut frame = Strangers::syn((scene.stranger(1), PORT).into(), scene.to(WORKING)).bytes();
    // Behind 14 bytes of Ethernet and 20 or 40 of IP, at 16.
    frame[if scene.server().is_ipv6() { 70 } else { 50 }] ^= 0xff;
    scene.lab.client.raw_link("eth0").send(&frame);
    eventually(PATIENCE, || (scene.lab.server.counter("Tcp", "InCsumErrors") > 0).then_some(()));
    Socket::None
}

/// The router translates what is for the port to one port of its own.
fn translate(scene: &Scene) {
    translate_to(
        scene,
        if scene.server().is_ipv6() { "snat ip6 to [2001:db8:2::1]:50000" } else { "snat ip to 203.0.113.1:50000" },
    );
}

fn translate_to(scene: &Scene, to: &str) {
    let rule = format!("iifname client0 tcp dport 80 counter {to}");
    let chain = format!("chain c {{ type nat hook postrouting priority 100; {rule}; }}");
    scene.keep(scene.lab.router.nft(&chain));
    scene.keep(scene.lab.server.listen(scene.to(WORKING)));
}

/// The one port is taken.
pub(crate) fn translation_without_a_port(scene: &Scene) -> Socket {
    translate(scene);
    connect_without_a_port(scene)
}

/// The same of masquerading.
pub(crate) fn masquerade_without_a_port(scene: &Scene) -> Socket {
    translate_to(scene, "masquerade to :50000");
    connect_without_a_port(scene)
}

fn connect_without_a_port(scene: &Scene) -> Socket {
    scene.keep(Quiet::begin());
    scene.lab.client_gives_up_after_three_syns();
    scene.keep(scene.lab.client.connect_from(PORT + 1, scene.to(WORKING), PATIENCE).expect("one port is there"));
    scene.connect(scene.to(WORKING))
}

/// The one port is free.
pub(crate) fn translation_with_a_port(scene: &Scene) -> Socket {
    translate(scene);
    scene.connect(scene.to(WORKING))
}

/// The same of masquerading.
pub(crate) fn masquerade_with_a_port(scene: &Scene) -> Socket {
    translate_to(scene, "masquerade to :50000");
    scene.connect(scene.to(WORKING))
}

/// Rejects what is for the port that fails.
fn reject(scene: &Scene, ns: &Ns, hook: &str, with: &str) -> Socket {
    scene.keep(scene.lab.server.listen(scene.to(FAILING)));
    let rule = counting(ns, hook, &format!("tcp dport 6036 counter reject with {with}"));
    let socket = scene.connect(scene.to(FAILING));
    assert_eq!(rule.packets(), 1, "the rule rejected the SYN: {}", rule.list());
    scene.keep(rule);
    socket
}

/// By a RST of the router's making, one hop nearer than the host that answers on another port.
pub(crate) fn reset_at_the_router(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    let wire = scene.lab.client.raw_link("eth0");
    let socket = reject(scene, &scene.lab.router, "forward", "tcp reset");
    let reset = wire.recv_tcp(PATIENCE, |it| it.has(flags::RST)).expect("there was one");
    assert_eq!(reset.ttl, 64, "of the router: the host's come with 63");
    socket
}

/// The same, and nothing to compare it with.
pub(crate) fn reset_and_nothing_else(scene: &Scene) -> Socket {
    reject(scene, &scene.lab.router, "forward", "tcp reset")
}

/// By a RST of the server's own rules, though somebody listens.
pub(crate) fn reset_at_the_server(scene: &Scene) -> Socket {
    scene.answers(scene.server(), WORKING);
    reject(scene, &scene.lab.server, "input", "tcp reset")
}

pub(crate) fn prohibited_at_the_router(scene: &Scene) -> Socket {
    reject(scene, &scene.lab.router, "forward", "icmpx admin-prohibited")
}

pub(crate) fn port_unreachable_at_the_router(scene: &Scene) -> Socket {
    reject(scene, &scene.lab.router, "forward", "icmpx port-unreachable")
}

pub(crate) fn host_unreachable_at_the_router(scene: &Scene) -> Socket {
    reject(scene, &scene.lab.router, "forward", "icmpx host-unreachable")
}

pub(crate) fn net_unreachable_at_the_router(scene: &Scene) -> Socket {
    reject(scene, &scene.lab.router, "forward", "icmpx no-route")
}

/// A host's own rules say so in the host's own name.
pub(crate) fn port_unreachable_at_the_server(scene: &Scene) -> Socket {
    reject(scene, &scene.lab.server, "input", "icmpx port-unreachable")
}

/// The same, in words that only routers have cause for.
pub(crate) fn host_unreachable_at_the_server(scene: &Scene) -> Socket {
    reject(scene, &scene.lab.server, "input", "icmpx host-unreachable")
}
