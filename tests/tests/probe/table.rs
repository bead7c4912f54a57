//! The verdict as a table: facts, and what they mean. No lab, no socket.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use tcptrace::probe::{
    conclusion::conclude,
    diagnosis::{
        Agreed, Answer, Answered, Connect, Diagnosis, DnsFailure, End, Hop, IcmpError, Names, Neighbour,
        NeighbourState, Ping, Probed, Resolver, Route, Source, Step, Tried, Walk, Way, Wire,
    },
};
use tcptrace_core::segment::{Flags, Icmp, Options};
use tcptrace_vocabulary::facts::{Missing, ProbeKind};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PORT: u16 = 6036;
const OPEN: Tried = Tried::Open(Agreed {
    mss: 1448,
    window_scale: Some((7, 7)),
    sack: true,
    timestamps: true,
    ecn: false,
    rtt: Duration::from_millis(10),
});

fn connect(port: u16, result: Tried) -> Connect {
    let (is_asked, took) = (port == PORT, Duration::from_millis(10));
    let retries = if result == Tried::Silent || result == Tried::Failed(libc::ETIMEDOUT) { 2 } else { 0 };
    Connect {
        port,
        is_asked,
        took,
        result,
        icmp: None,
        retries,
        from: None,
        wire: None,
        listener: Err(Missing::NotAsked),
    }
}

fn failed(errno: i32) -> Connect {
    connect(PORT, Tried::Failed(errno))
}

fn icmp(kind: u8, code: u8, from: IpAddr, errno: i32) -> Connect {
    let error = IcmpError { from: Some(from), icmp: Icmp { v6: false, kind, code }, errno, mtu: None };
    Connect { icmp: Some(error), ..failed(errno) }
}

/// With a RST or SYN/ACK of this TTL.
fn answered(ttl: u8, flags: u8, it: Connect) -> Connect {
    let answer = Answered { flags: Flags(flags), ttl, window: 0, options: Options::default() };
    Connect { wire: Some(Wire { syns: 1, offered: None, answer: Some(answer) }), ..it }
}

fn seen(syns: u32, it: Connect) -> Connect {
    Connect { wire: Some(Wire { syns, offered: None, answer: None }), ..it }
}

fn walk(by: ProbeKind, hops: &[IpAddr], end: End) -> Walk {
    let hops = (1..).zip(hops).map(|(ttl, from)| Hop { ttl, from: Some(*from), took: Some(Duration::ZERO) });
    Walk { by, took: Duration::ZERO, hops: hops.collect(), end }
}

fn at(connects: Vec<Connect>) -> Probed {
    let source = Source { address: OWN, prefix: 24, flags: vec!["permanent"], label: None };
    let route = Route {
        gateway: Some(ROUTER),
        interface: "eth0".to_owned(),
        index: 2,
        up: true,
        carrier: true,
        mtu: 1500,
        is_local: false,
        source: Some(source),
    };
    let route = Some(Step { took: Duration::ZERO, found: Ok(Way::Route(route)) });
    Probed { way: route, connects, ..Probed::new(HOST) }
}

fn pinged(at: Probed) -> Probed {
    let ping = Ping { sent: 3, replies: vec![Duration::from_millis(10)], ..Ping::default() };
    Probed { ping: Some(Step { took: Duration::ZERO, found: Ok(ping) }), ..at }
}

fn neighbour(address: IpAddr, is_peer: bool, state: NeighbourState, at: Probed) -> Probed {
    Probed { neighbour: Some(Neighbour { address, is_peer, state, link_address: None, may_be_unheard: false }), ..at }
}

fn walked(walks: Vec<Walk>, at: Probed) -> Probed {
    Probed { walks, ..at }
}

fn on_the_way(change: impl FnOnce(&mut Route), mut at: Probed) -> Probed {
    if let Some(Step { found: Ok(Way::Route(route)), .. }) = &mut at.way {
        change(route);
    }
    at
}

fn without_a_way(errno: i32) -> Probed {
    let route = Some(Step { took: Duration::ZERO, found: Ok(Way::None { errno }) });
    Probed { way: route, ..at(vec![failed(errno)]) }
}

fn diagnosis(addresses: Vec<Probed>) -> Diagnosis {
    let names = Names { addresses: addresses.iter().map(|it| it.address).collect(), ..Names::default() };
    Diagnosis {
        host: "web.example".to_owned(),
        ports: vec![PORT],
        ports_assumed: false,
        began: jiff::Timestamp::UNIX_EPOCH,
        took: Duration::from_secs(1),
        interrupted: false,
        names: Some(names),
        addresses,
        left_out: Vec::new(),
    }
}

fn verdict(diagnosis: &Diagnosis) -> [&'static str; 4] {
    let it = conclude(diagnosis);
    [
        it.reach.name(),
        it.cause.map_or("-", |it| it.name()),
        it.confidence.map_or("-", |it| it.name()),
        it.scope.map_or("-", |it| it.name()),
    ]
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn one_address_fails_in_every_way() {
    use nix::libc::{ECONNREFUSED, EHOSTUNREACH, EINVAL, ENETUNREACH, EPERM, ETIMEDOUT};
    let open = || connect(80, OPEN);
    let reset = || failed(ECONNREFUSED);
    let silent = || failed(ETIMEDOUT);
    let quiet = || connect(80, Tried::Silent);
    let answer = |ttl| End::Answered { ttl, reset: false };
    let rst = |ttl| End::Answered { ttl, reset: true };
    let syn = ProbeKind::Syn(PORT);
    let rows = [
        ("it opens", at(vec![connect(PORT, OPEN)]), ["reachable", "-", "-", "-"]),
        ("RST, nothing to compare", at(vec![reset()]), ["unreachable", "port_closed", "possible", "port"]),
        (
            "RST, another opens, and no TTL was seen",
            at(vec![reset(), open()]),
            ["unreachable", "port_closed", "possible", "port"],
        ),
        (
            "RST with the host's TTL",
            at(vec![answered(57, Flags::RST | Flags::ACK, reset()), answered(57, Flags::SYN | Flags::ACK, open())]),
            ["unreachable", "port_closed", "possible", "port"],
        ),
        (
            "RST with another's TTL",
            at(vec![answered(250, Flags::RST | Flags::ACK, reset()), answered(57, Flags::SYN | Flags::ACK, open())]),
            ["unreachable", "firewall_reject", "likely", "port"],
        ),
        (
            "RST from one hop nearer: those ports may be forwarded",
            walked(
                vec![walk(syn, &[ROUTER], rst(2)), walk(ProbeKind::Syn(80), &[ROUTER, FAR], answer(3))],
                at(vec![reset(), open()]),
            ),
            ["unreachable", "firewall_reject", "possible", "port"],
        ),
        (
            "RST from nearer than the host",
            walked(
                vec![walk(syn, &[], rst(1)), walk(ProbeKind::Syn(80), &[ROUTER, FAR], answer(3))],
                at(vec![reset(), open()]),
            ),
            ["unreachable", "firewall_reject", "likely", "port"],
        ),
        (
            "RST faster than light",
            at(vec![Connect { took: Duration::from_micros(300), ..reset() }, open()]),
            ["unreachable", "firewall_reject", "possible", "port"],
        ),
        (
            "RST without a SYN",
            at(vec![seen(0, reset()), seen(1, open())]),
            ["unreachable", "firewall_reject", "likely", "port"],
        ),
        (
            "admin-prohibited",
            at(vec![icmp(3, 13, ROUTER, EHOSTUNREACH)]),
            ["unreachable", "firewall_reject", "certain", "unknown"],
        ),
        (
            "admin-prohibited, another is silent",
            at(vec![icmp(3, 13, ROUTER, EHOSTUNREACH), quiet()]),
            ["unreachable", "firewall_reject", "certain", "host"],
        ),
        (
            "admin-prohibited, another opens",
            at(vec![icmp(3, 13, ROUTER, EHOSTUNREACH), open()]),
            ["unreachable", "firewall_reject", "certain", "port"],
        ),
        (
            "port-unreachable to a SYN",
            at(vec![icmp(3, 3, HOST, ECONNREFUSED), quiet()]),
            ["unreachable", "firewall_reject", "likely", "host"],
        ),
        (
            "protocol-unreachable to a SYN",
            at(vec![icmp(3, 2, HOST, ECONNREFUSED), quiet()]),
            ["unreachable", "firewall_reject", "likely", "host"],
        ),
        (
            "this host's own ICMP",
            at(vec![icmp(3, 13, OWN, EHOSTUNREACH), open()]),
            ["unreachable", "firewall_reject", "certain", "port"],
        ),
        (
            "host-unreachable by a router that looked for it",
            at(vec![Connect { took: Duration::from_secs(3), ..icmp(3, 1, ROUTER, EHOSTUNREACH) }]),
            ["unreachable", "host_down", "likely", "host"],
        ),
        (
            "host-unreachable by a router that did not",
            at(vec![icmp(3, 1, ROUTER, EHOSTUNREACH)]),
            ["unreachable", "firewall_reject", "possible", "unknown"],
        ),
        (
            "host-unreachable while another opens",
            at(vec![icmp(3, 1, ROUTER, EHOSTUNREACH), open()]),
            ["unreachable", "firewall_reject", "likely", "port"],
        ),
        (
            "host-unreachable by this host, the gateway's silence",
            neighbour(ROUTER, false, NeighbourState::Failed, at(vec![icmp(3, 1, OWN, EHOSTUNREACH)])),
            ["unreachable", "gateway_down", "certain", "everything"],
        ),
        (
            "host-unreachable by this host, the host's silence",
            neighbour(HOST, true, NeighbourState::Failed, at(vec![icmp(3, 1, OWN, EHOSTUNREACH)])),
            ["unreachable", "host_down", "certain", "host"],
        ),
        (
            "net-unreachable",
            at(vec![icmp(3, 0, FAR, ENETUNREACH)]),
            ["unreachable", "network_unreachable", "likely", "network"],
        ),
        (
            "time exceeded with a whole TTL",
            at(vec![icmp(11, 0, FAR, EHOSTUNREACH)]),
            ["unreachable", "network_unreachable", "likely", "network"],
        ),
        ("no route", without_a_way(ENETUNREACH), ["unreachable", "no_route", "certain", "network"]),
        ("blackhole", without_a_way(EINVAL), ["unreachable", "no_route", "certain", "network"]),
        (
            "interface down",
            on_the_way(|it| it.up = false, at(vec![silent()])),
            ["unreachable", "no_route", "certain", "everything"],
        ),
        (
            "no carrier",
            on_the_way(|it| it.carrier = false, at(vec![silent()])),
            ["unreachable", "no_route", "certain", "everything"],
        ),
        (
            "no carrier, and so no answer to ARP",
            on_the_way(
                |it| (it.gateway, it.carrier) = (None, false),
                neighbour(HOST, true, NeighbourState::Failed, at(vec![silent()])),
            ),
            ["unreachable", "no_route", "certain", "everything"],
        ),
        ("a program forbids it", at(vec![failed(EPERM), open()]), ["unreachable", "connect_failed", "certain", "port"]),
        (
            "silence, no SYN left",
            at(vec![seen(0, silent()), seen(1, open())]),
            ["unreachable", "dropped_by_local_firewall", "likely", "port"],
        ),
        (
            "silence, no SYN left to the host",
            at(vec![seen(0, silent()), seen(0, quiet())]),
            ["unreachable", "dropped_by_local_firewall", "likely", "host"],
        ),
        (
            "silence, another port opens",
            at(vec![seen(4, silent()), open()]),
            ["unreachable", "firewall_drop", "likely", "port"],
        ),
        (
            "silence, another port is closed",
            at(vec![silent(), connect(22, Tried::Failed(ECONNREFUSED))]),
            ["unreachable", "firewall_drop", "possible", "port"],
        ),
        (
            "silence in the middle of the way",
            walked(
                vec![walk(syn, &[ROUTER], End::Dies), walk(ProbeKind::Syn(80), &[ROUTER, FAR], answer(3))],
                at(vec![silent(), open()]),
            ),
            ["unreachable", "firewall_drop", "likely", "port"],
        ),
        (
            "silence at its end",
            walked(
                vec![walk(syn, &[ROUTER, FAR], End::Dies), walk(ProbeKind::Syn(80), &[ROUTER, FAR], answer(3))],
                at(vec![silent(), open()]),
            ),
            ["unreachable", "firewall_drop", "likely", "port"],
        ),
        (
            "silence from the first hop on, nobody watched",
            walked(
                vec![walk(syn, &[], End::Dies), walk(ProbeKind::Syn(80), &[ROUTER], answer(2))],
                at(vec![silent(), open()]),
            ),
            ["unreachable", "dropped_by_local_firewall", "likely", "port"],
        ),
        (
            "silence from the first hop on, SYNs left",
            walked(
                vec![walk(syn, &[], End::Dies), walk(ProbeKind::Syn(80), &[ROUTER], answer(2))],
                at(vec![seen(4, silent()), open()]),
            ),
            ["unreachable", "firewall_drop", "likely", "port"],
        ),
        (
            "silence but for echo",
            pinged(at(vec![silent(), quiet()])),
            ["unreachable", "firewall_drop", "likely", "host"],
        ),
        (
            "silence but for the link",
            neighbour(HOST, true, NeighbourState::Reachable, at(vec![silent(), quiet()])),
            ["unreachable", "firewall_drop", "likely", "host"],
        ),
        (
            "silence on the link",
            neighbour(HOST, true, NeighbourState::Incomplete, at(vec![silent()])),
            ["unreachable", "host_down", "certain", "host"],
        ),
        ("silence", at(vec![silent(), quiet()]), ["unreachable", "host_down", "possible", "host"]),
        (
            "silence, ICMP to another port",
            at(vec![silent(), Connect { port: 80, is_asked: false, ..icmp(3, 0, FAR, ENETUNREACH) }]),
            ["unreachable", "network_unreachable", "likely", "network"],
        ),
        (
            "silence, ICMP to the walk",
            walked(
                vec![walk(
                    syn,
                    &[ROUTER],
                    match icmp(3, 13, FAR, EHOSTUNREACH).icmp {
                        Some(icmp) => End::Rejected { ttl: 2, icmp },
                        None => End::Dies,
                    },
                )],
                at(vec![silent(), open()]),
            ),
            ["unreachable", "firewall_reject", "likely", "port"],
        ),
        ("nothing yet", at(vec![]), ["unfinished", "-", "-", "-"]),
    ];
    for (what, at, expected) in rows {
        assert_eq!(verdict(&diagnosis(vec![at])), expected, "{what}");
    }
}

#[test]
fn addresses_and_ports_are_weighed_together() {
    use nix::libc::{ECONNREFUSED, ENETUNREACH, ETIMEDOUT};
    let other = |at: Probed| Probed { address: FAR, ..at };
    let dead = || at(vec![failed(ETIMEDOUT), connect(80, Tried::Silent)]);
    let fine = || at(vec![connect(PORT, OPEN)]);
    let closed = || at(vec![failed(ECONNREFUSED)]);
    let rows = [
        ("one of two works", vec![dead(), other(fine())], ["partly", "host_down", "possible", "host"]),
        ("one of two has no way", vec![without_a_way(ENETUNREACH), other(fine())], ["reachable", "-", "-", "-"]),
        (
            "the one that answers is told",
            vec![dead(), other(closed())],
            ["unreachable", "port_closed", "possible", "port"],
        ),
        (
            "no way is told only if that is all",
            vec![without_a_way(ENETUNREACH), other(dead())],
            ["unreachable", "host_down", "possible", "host"],
        ),
        (
            "no way anywhere",
            vec![without_a_way(ENETUNREACH), other(without_a_way(ENETUNREACH))],
            ["unreachable", "no_route", "certain", "network"],
        ),
    ];
    for (what, addresses, expected) in rows {
        assert_eq!(verdict(&diagnosis(addresses)), expected, "{what}");
    }

    let usual = |connects| Diagnosis { ports: vec![443, 80], ports_assumed: true, ..diagnosis(vec![at(connects)]) };
    let closed = connect(443, Tried::Failed(ECONNREFUSED));
    assert_eq!(verdict(&usual(vec![closed.clone(), connect(80, OPEN)])), ["reachable", "-", "-", "-"]);
    let both = usual(vec![closed, connect(80, Tried::Failed(ECONNREFUSED))]);
    assert_eq!(verdict(&both)[..2], ["unreachable", "port_closed"]);
}

#[test]
fn a_name_without_an_address_is_no_attempt() {
    let resolver = |result: Result<Vec<IpAddr>, DnsFailure>| {
        let answer = Answer { took: Duration::ZERO, over_tcp: false, result };
        Resolver { address: ROUTER, zone: None, asked: "web.example".to_owned(), v4: answer.clone(), v6: answer }
    };
    let system = Some(Step { took: Duration::ZERO, found: Err("Name or service not known".to_owned()) });
    for (answer, text) in [
        (Err(DnsFailure::NxDomain), "there is no name"),
        (Err(DnsFailure::Silent), "no resolver answers"),
        (Err(DnsFailure::ServFail), "DNS is broken"),
        (Err(DnsFailure::Refused), "refuses to answer"),
        (Ok(Vec::new()), "exists and has no address"),
        (Err(DnsFailure::Other("x".to_owned())), "has no address here"),
    ] {
        let mut diagnosis = diagnosis(Vec::new());
        diagnosis.names = Some(Names { system: system.clone(), resolvers: vec![resolver(answer)], ..Names::default() });
        let it = conclude(&diagnosis);
        assert_eq!((it.reach.name(), it.cause), ("unresolved", None));
        assert!(it.headline.contains(text), "{}", it.headline);
    }
    let mut diagnosis = diagnosis(Vec::new());
    diagnosis.names = None;
    assert_eq!(verdict(&diagnosis), ["unfinished", "-", "-", "-"]);
}
