//! The suite `judge`: the same evidence at both doors, as packets that the tracer follows and as what the steps of
//! `diagnose` found, for every cause that both can reach. Cause, confidence, scope and next step have to be the same.
//!
//! Pure: packets, host facts and findings are written down here. That each door makes them of real packets, the suites
//! `causes` and `probe` show in the lab.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use nix::libc::{ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};
use tcptrace::probe::conclusion::conclude;
use tcptrace::probe::diagnosis::{
    Agreed, Answered, Connect, Diagnosis, IcmpError, Names, Neighbour, NeighbourState, Probed, Route, Source, Step,
    Tried, Way, Wire,
};
use tcptrace::track::{Losses, Tracker};
use tcptrace_core::{
    event::Event,
    flow::Endpoint,
    handshake::{Handshake, Nanos, Point, Side},
    segment::{self, Flags, Icmp, Options, Segment},
    seq::Seq,
};
use tcptrace_verdict::{case::Case, judge, past::Past};
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{self, Local, Missing},
    report::Report,
    words::addr,
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PORT: u16 = 6036;
const OTHER: u16 = 80;
const BEGAN: u64 = 10_000_000_000_000;
/// Each answer takes so long.
const ROUND_TRIP: Duration = Duration::from_millis(10);
const LOOK_UP: Duration = Duration::from_millis(3060);
const SYN_ACK_TTL: u8 = 57;

/// The end of one connection attempt.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Opens,
    /// A RST/ACK with this TTL.
    Rst(u8),
    /// An ICMP error of this type and code.
    Error(u8, u8, IpAddr),
    /// Host-unreachable, after the time that a look-up of the link address takes.
    LateError(IpAddr),
    /// Three SYNs, and no answer.
    Silent,
    /// The same, and no SYN was seen leaving this host.
    Unseen,
}

/// The next hop that does not answer ARP.
#[derive(Clone, Copy, Debug)]
enum Absent {
    Nobody,
    Host,
    Gateway,
}

/// The evidence, before either door has it in its form.
#[derive(Clone, Copy, Debug)]
struct Evidence {
    asked: Ends,
    /// What became of another port of the same host.
    other: Option<Ends>,
    absent: Absent,
}

/// Cause, confidence, scope and the first of the next steps.
type Said = (String, String, String, String);

/// The attempts as packets make them: through the core's machine, the tracker and the recent past.
fn by_packets(evidence: Evidence) -> Said {
    let mut past = Past::default();
    if let Some(other) = evidence.other {
        let attempt = traced(OTHER, other);
        past.note(&attempt.handshake, attempt.outcome);
    }
    let attempt = traced(PORT, evidence.asked);
    past.note(&attempt.handshake, attempt.outcome);
    let neighbour = |is_peer, address| facts::Neighbour {
        is_peer,
        address,
        failed: true,
        link_addresses: Vec::new(),
        is_fixed: false,
        may_be_unheard: false,
    };
    let local = Local {
        client_here: Ok(true),
        server_here: Ok(false),
        drops: Ok(Vec::new()),
        left: if matches!(evidence.asked, Ends::Unseen) { Ok(0) } else { Err(Missing::NotAsked) },
        neighbour: Ok(match evidence.absent {
            Absent::Nobody => None,
            Absent::Host => Some(neighbour(true, SERVER)),
            Absent::Gateway => Some(neighbour(false, GATEWAY)),
        }),
        ..Local::unknown(Missing::NotAsked)
    };
    let verdict = judge(&Case { attempt: &attempt, local: &local, past: &past, checks: 0 });
    (
        verdict.cause.name().to_owned(),
        verdict.confidence.name().to_owned(),
        verdict.scope.extent.name().to_owned(),
        verdict.next[0].clone(),
    )
}

/// One attempt, packet by packet.
fn traced(port: u16, ends: Ends) -> Attempt {
    let client = Endpoint { addr: addr(CLIENT), port: 40_000 + port };
    let server = Endpoint { addr: addr(SERVER), port };
    let segment = |flags, src, dst, ttl| Segment {
        src,
        dst,
        flags: Flags(flags),
        seq: Seq(if flags == Flags::SYN { 7 } else { 0 }),
        ack: Seq(if flags & Flags::ACK == 0 { 0 } else { 8 }),
        window: 0,
        ttl,
        payload: 0,
        has_id: false,
        has_options: false,
        options: Options::default(),
    };
    let after = |time: Duration| Nanos(BEGAN + u64::try_from(time.as_nanos()).unwrap());
    let (way_out, way_in) = (Point::egress(2), Point::ingress(2));
    let syn = segment(Flags::SYN, client, server, 64);
    let answer = |flags, ttl| segment(flags, server, client, ttl);
    let mut tracker = Tracker::new(Nanos(1), 3_000_000_000, false);
    tracker.note_losses(Nanos(1), Losses::default());
    let mut handshake = Handshake::open(&syn, Nanos(BEGAN), way_out);
    let mut from = server.addr;
    let transition = match ends {
        Ends::Opens => {
            handshake.step(Side::Server, &answer(Flags::SYN | Flags::ACK, SYN_ACK_TTL), after(ROUND_TRIP), way_in);
            let ack = Segment { seq: Seq(8), ack: Seq(1), ..segment(Flags::ACK, client, server, 64) };
            handshake.step(Side::Client, &ack, after(ROUND_TRIP), way_out)
        }
        Ends::Rst(ttl) => {
            handshake.step(Side::Server, &answer(Flags::RST | Flags::ACK, ttl), after(ROUND_TRIP), way_in)
        }
        Ends::Error(kind, code, router) => {
            from = addr(router);
            let icmp = Icmp { v6: false, kind, code };
            let error = segment::IcmpError { from, icmp, src: client, dst: server, seq: Seq(7) };
            handshake.icmp(Side::Client, &error, after(ROUND_TRIP))
        }
        Ends::LateError(router) => {
            from = addr(router);
            let icmp = Icmp { v6: false, kind: 3, code: 1 };
            let error = segment::IcmpError { from, icmp, src: client, dst: server, seq: Seq(7) };
            handshake.icmp(Side::Client, &error, after(LOOK_UP))
        }
        Ends::Silent | Ends::Unseen => {
            handshake.step(Side::Client, &syn, after(Duration::from_secs(1)), way_out);
            handshake.step(Side::Client, &syn, after(Duration::from_secs(3)), way_out)
        }
    };
    let event = Event { handshake, time: handshake.last_seen(), from, ..Event::default() };
    drop(tracker.event(transition, &event));
    match tracker.close(&handshake, handshake.last_seen(), false) {
        Report::Attempt(attempt) => attempt,
        other => panic!("an attempt was expected, not {other:?}"),
    }
}

/// The same as `diagnose` finds it: by connect(2), its error queue, a packet socket and the neighbour table.
fn by_probe(evidence: Evidence) -> Said {
    let neighbour = |is_peer, address| {
        Some(Neighbour { address, is_peer, state: NeighbourState::Failed, link_address: None, may_be_unheard: false })
    };
    let source = Source { address: CLIENT, prefix: 24, flags: vec!["permanent"], label: None };
    let route = Route {
        gateway: Some(GATEWAY),
        interface: "eth0".to_owned(),
        index: 2,
        up: true,
        carrier: true,
        mtu: 1500,
        is_local: false,
        source: Some(source),
    };
    let mut connects = vec![tried(PORT, evidence.asked)];
    connects.extend(evidence.other.map(|other| tried(OTHER, other)));
    let probed = Probed {
        way: Some(Step { took: Duration::ZERO, found: Ok(Way::Route(route)) }),
        neighbour: match evidence.absent {
            Absent::Nobody => None,
            Absent::Host => neighbour(true, SERVER),
            Absent::Gateway => neighbour(false, GATEWAY),
        },
        connects,
        ..Probed::new(SERVER)
    };
    let diagnosis = Diagnosis {
        host: SERVER.to_string(),
        ports: vec![PORT],
        ports_assumed: false,
        began: jiff::Timestamp::UNIX_EPOCH,
        took: Duration::from_secs(4),
        interrupted: false,
        names: Some(Names { addresses: vec![SERVER], ..Names::default() }),
        addresses: vec![probed],
        left_out: Vec::new(),
    };
    let verdict = conclude(&diagnosis);
    (
        verdict.cause.unwrap().name().to_owned(),
        verdict.confidence.unwrap().name().to_owned(),
        verdict.scope.unwrap().name().to_owned(),
        verdict.next.unwrap(),
    )
}

fn tried(port: u16, ends: Ends) -> Connect {
    let agreed = Agreed { rtt: ROUND_TRIP, ..Agreed::default() };
    let answer = |flags, ttl| Answered { flags: Flags(flags), ttl, window: 0, options: Options::default() };
    let (result, icmp, syns, answer) = match ends {
        Ends::Opens => (Tried::Open(agreed), None, 1, Some(answer(Flags::SYN | Flags::ACK, SYN_ACK_TTL))),
        Ends::Rst(ttl) => (Tried::Failed(ECONNREFUSED), None, 1, Some(answer(Flags::RST | Flags::ACK, ttl))),
        Ends::Error(kind, code, router) => {
            let errno = if code == 0 { ENETUNREACH } else { EHOSTUNREACH };
            let icmp = Icmp { v6: false, kind, code };
            (Tried::Failed(errno), Some(IcmpError { from: Some(router), icmp, errno, mtu: None }), 1, None)
        }
        Ends::LateError(router) => {
            let icmp = Icmp { v6: false, kind: 3, code: 1 };
            let error = IcmpError { from: Some(router), icmp, errno: EHOSTUNREACH, mtu: None };
            (Tried::Failed(EHOSTUNREACH), Some(error), 1, None)
        }
        Ends::Silent => (Tried::Failed(ETIMEDOUT), None, 3, None),
        Ends::Unseen => (Tried::Failed(ETIMEDOUT), None, 0, None),
    };
    let is_silent = matches!(ends, Ends::Silent | Ends::Unseen);
    Connect {
        port,
        is_asked: port == PORT,
        took: match ends {
            Ends::LateError(_) => LOOK_UP,
            _ if is_silent => Duration::from_millis(3600),
            _ => ROUND_TRIP,
        },
        result,
        icmp,
        retries: if is_silent { 2 } else { 0 },
        from: Some(SocketAddr::new(CLIENT, 40_000 + port)),
        wire: Some(Wire { syns, offered: None, answer }),
        listener: Err(Missing::NotAsked),
    }
}

#[test]
fn the_same_evidence_gets_the_same_verdict_at_both_doors() {
    use Ends::{Error, LateError, Opens, Rst, Silent, Unseen};
    let alone = |asked| Evidence { asked, other: None, absent: Absent::Nobody };
    let beside = |other, asked| Evidence { asked, other: Some(other), absent: Absent::Nobody };
    let rows = [
        ("a RST like the host's SYN/ACKs", beside(Opens, Rst(57)), ["port_closed", "possible", "port"]),
        ("a RST, and nothing to compare it with", alone(Rst(57)), ["port_closed", "possible", "port"]),
        ("a RST as on every other port", beside(Rst(57), Rst(57)), ["port_closed", "possible", "host"]),
        ("a RST from far nearer", beside(Opens, Rst(250)), ["firewall_reject", "likely", "port"]),
        ("a RST from one hop nearer", beside(Opens, Rst(58)), ["firewall_reject", "possible", "port"]),
        ("admin-prohibited", beside(Opens, Error(3, 13, ROUTER)), ["firewall_reject", "certain", "port"]),
        ("admin-prohibited alone", alone(Error(3, 13, ROUTER)), ["firewall_reject", "certain", "unknown"]),
        ("port-unreachable", beside(Silent, Error(3, 3, SERVER)), ["firewall_reject", "likely", "host"]),
        ("protocol-unreachable", beside(Opens, Error(3, 2, ROUTER)), ["firewall_reject", "likely", "port"]),
        ("host-unreachable, contradicted", beside(Opens, Error(3, 1, ROUTER)), ["firewall_reject", "likely", "port"]),
        ("host-unreachable at once", beside(Silent, Error(3, 1, ROUTER)), ["firewall_reject", "possible", "host"]),
        ("host-unreachable at once, alone", alone(Error(3, 1, ROUTER)), ["firewall_reject", "possible", "unknown"]),
        (
            "host-unreachable beside a RST",
            beside(Rst(57), Error(3, 1, ROUTER)),
            ["firewall_reject", "possible", "port"],
        ),
        (
            "host-unreachable of the host itself",
            beside(Opens, Error(3, 1, SERVER)),
            ["firewall_reject", "likely", "port"],
        ),
        ("host-unreachable after a look-up", beside(Silent, LateError(ROUTER)), ["host_down", "likely", "host"]),
        ("the same of the host itself", beside(Opens, LateError(SERVER)), ["host_down", "likely", "port"]),
        ("net-unreachable", beside(Silent, Error(3, 0, ROUTER)), ["network_unreachable", "likely", "network"]),
        ("time-exceeded", alone(Error(11, 0, ROUTER)), ["network_unreachable", "likely", "network"]),
        ("silence beside an answer", beside(Opens, Silent), ["firewall_drop", "likely", "port"]),
        ("silence beside a RST", beside(Rst(57), Silent), ["firewall_drop", "possible", "port"]),
        ("silence on every port", beside(Silent, Silent), ["host_down", "possible", "host"]),
        ("silence, and nothing else tried", alone(Silent), ["unknown", "possible", "unknown"]),
        ("no answer to ARP", Evidence { absent: Absent::Host, ..alone(Unseen) }, ["host_down", "certain", "host"]),
        (
            "no answer to ARP by the gateway",
            Evidence { absent: Absent::Gateway, ..alone(Unseen) },
            ["gateway_down", "certain", "everything"],
        ),
        (
            "no answer to ARP, and SYNs left",
            Evidence { absent: Absent::Host, ..alone(Silent) },
            ["host_down", "possible", "host"],
        ),
        (
            "no answer to ARP by the gateway, and SYNs left",
            Evidence { absent: Absent::Gateway, ..alone(Silent) },
            ["gateway_down", "possible", "everything"],
        ),
        ("no SYN seen leaving", beside(Opens, Unseen), ["dropped_by_local_firewall", "likely", "port"]),
        ("an error of this host itself", beside(Opens, Error(3, 13, CLIENT)), ["firewall_reject", "certain", "port"]),
    ];
    for (what, evidence, expected) in rows {
        let (packets, probe) = (by_packets(evidence), by_probe(evidence));
        assert_eq!(packets, probe, "packets and probe differ: {what}");
        assert_eq!([&*packets.0, &*packets.1, &*packets.2], expected, "{what}");
    }
}
