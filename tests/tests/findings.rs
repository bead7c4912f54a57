//! What many attempts have in common is told once: when floods and scans begin and end, which attempts they stand for, and
//! their lines. The golden file is `snapshots/findings.snap`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::tz::TimeZone;
use serde_json::json;
use tcptrace::clock::Clock;
use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos, Point, State},
    pressure::Width,
};
use tcptrace_report::{Latest, Setting, finding::Finding};
use tcptrace_tests::contract;
use tcptrace_verdict::patterns::{
    Claim, Pattern, Surroundings,
    avoided::{Avoided, Networks},
    flood::{Flood, Floods, Passage, Passed},
    scan::{Scan, Scans},
};
use tcptrace_vocabulary::{
    attempt::{Attempt, Stalled, StalledBy},
    network::Network,
    outcome::Outcome,
    report::Report,
};

const SECOND: u64 = 1_000_000_000;
/// 2023-11-14 22:13:20 UTC.
const START: u64 = 1_700_000_000 * SECOND;
const SERVER: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 443 };
const IN: Point = Point::ingress(2);
const OUT: Point = Point::egress(2);

const fn at(seconds: u64) -> Nanos {
    Nanos(START + seconds * SECOND)
}

/// Which networks answer; no address is of this host.
struct Around<F>(F);

impl<F: Fn(Network) -> bool> Surroundings for Around<F> {
    fn answers(&mut self, network: Network, _at: Nanos) -> bool {
        self.0(network)
    }

    fn is_here(&mut self, _address: Addr) -> bool {
        false
    }
}

/// A look at the floods after so much came by.
fn look(floods: &mut Floods, now: Nanos, passages: Vec<Passage>, cookies: Option<u64>) -> Vec<Flood> {
    floods.feed(passages, cookies);
    floods.look(now)
}

/// Whether a finding stands for a report.
fn is_folded(floods: &mut Floods, report: &Report) -> bool {
    is_folded_at(floods, report, at(0))
}

fn is_folded_at(pattern: &mut impl Pattern, report: &Report, now: Nanos) -> bool {
    matches!(pattern.note(report, &mut Around(|_| false), now), Claim::Fold(_))
}

fn client(number: u32) -> Addr {
    Addr::v4(0x0a00_0000 | number << 8 | 7)
}

/// A second's worth of a flood.
fn passage(point: Point, clients: impl IntoIterator<Item = Addr>) -> Passage {
    Passage {
        scope: Width::Listener,
        owner: SERVER,
        point,
        since: at(0),
        opens: 100_000,
        answers: 0,
        passed_over: 99_900,
        completed: 0,
        clients: clients.into_iter().collect(),
    }
}

fn attempt(from: Endpoint, to: Endpoint, first_syn: Nanos, outcome: Outcome) -> Attempt {
    let handshake = Handshake {
        client_addr: from.addr,
        client_port: from.port,
        server_addr: to.addr,
        server_port: to.port,
        first_syn,
        last_syn: first_syn,
        state: State::SynSent as u8,
        ..Handshake::default()
    };
    Attempt::from_handshake(handshake, outcome)
}

fn failed(to: Endpoint, first_syn: Nanos) -> Attempt {
    attempt(Endpoint { addr: client(1), port: 40_000 }, to, first_syn, Outcome::NoReply)
}

fn states(told: &[Flood]) -> Vec<bool> {
    told.iter().map(|it| it.is_over).collect()
}

#[test]
fn a_flood_is_told_twice() {
    let mut floods = Floods::default();
    for second in 1..=20 {
        let told = look(&mut floods, at(second), vec![passage(IN, [client(second as u32)])], Some(second * 10));
        assert_eq!(states(&told), if second == 1 { vec![false] } else { vec![] }, "second {second}");
    }
    // A pause is none of its end.
    assert!(look(&mut floods, at(29), vec![], Some(300)).is_empty() && floods.are_on());
    look(&mut floods, at(30), vec![passage(IN, [])], Some(300));
    let told = look(&mut floods, at(40), vec![], Some(300));
    assert_eq!((states(&told), floods.are_on()), (vec![true], false));
    let [flood] = &told[..] else { unreachable!("it is one") };
    let passed = Passed { opens: 2_100_000, over: 2_097_900, ..Passed::default() };
    assert_eq!((flood.passed(), flood.lasted()), (passed, 30 * SECOND));
    assert_eq!((flood.cookies, flood.sources().sample, flood.sources().networks), (Some(290), 20, 20));
    assert!((flood.peak - 100_000.0).abs() < 1.0, "{}", flood.peak);
    // The next is another.
    look(&mut floods, at(50), vec![Passage { since: at(49), ..passage(IN, []) }], None);
    assert_eq!((floods.all().len(), floods.end().len(), floods.end().len()), (2, 1, 0));
}

/// Until the kernel side knows better, a flood of a network looks like one of some hosts of it.
#[test]
fn what_a_flood_seemed_to_be_is_part_of_it() {
    let part = |scope, addr| Passage { scope, owner: Endpoint { addr, port: 0 }, ..passage(IN, []) };
    let host = part(Width::Host, SERVER.addr);
    let network = part(Width::Network, Addr::v4(0xcb00_7100));
    let elsewhere = part(Width::Host, Addr::v4(0xc633_6402));
    for (first, second) in [
        (vec![host.clone(), elsewhere.clone()], vec![network.clone()]),
        (vec![elsewhere.clone()], vec![network.clone(), host.clone()]),
    ] {
        let mut floods = Floods::default();
        assert!(look(&mut floods, at(0), first, None).is_empty());
        look(&mut floods, at(1), second, None);
        let left: Vec<_> = floods.all().iter().map(|it| (it.scope, it.owner, it.packets())).collect();
        let expected = [(&elsewhere, 100_000), (&network, 200_000)];
        assert_eq!(left, expected.map(|(it, packets)| (it.scope, it.owner, packets)));
    }
    // What was told stays.
    let mut floods = Floods::default();
    look(&mut floods, at(0), vec![host.clone()], None);
    assert_eq!(look(&mut floods, at(2), vec![host], None).len(), 1);
    look(&mut floods, at(3), vec![network], None);
    assert_eq!(floods.all().len(), 2);
}

/// What happened at another interface, after it, or well is none of it.
#[test]
fn a_coarse_flood_stands_for_what_its_accounts_saw() {
    let mut floods = Floods::default();
    let all = Passage { scope: Width::Everything, owner: Endpoint::default(), ..passage(IN, []) };
    (1..=5).for_each(|second| drop(look(&mut floods, at(second), vec![all.clone()], None)));
    let attempt = |point, second, outcome| {
        let mut it = Attempt { outcome, ..failed(SERVER, at(second)) };
        (it.handshake.client_point, it.handshake.server_point) = (point, point);
        Report::Attempt(it)
    };
    assert!(is_folded(&mut floods, &attempt(IN, 3, Outcome::Refused)));
    assert!(!is_folded(&mut floods, &attempt(Point::ingress(7), 3, Outcome::Refused)), "elsewhere");
    assert!(!is_folded(&mut floods, &attempt(IN, 8, Outcome::Refused)), "later");
    assert!(!is_folded(&mut floods, &attempt(IN, 3, Outcome::Established)), "well");
}

/// What was over within the second, and stands for nothing that failed, is not told; what stands for something is.
#[test]
fn a_short_flood_is_told_if_it_stands_for_something() {
    let few = Passage { passed_over: 50, opens: 500, ..passage(IN, []) };
    for (it, fails, told) in [(few.clone(), false, 0), (few, true, 1), (passage(IN, []), false, 1)] {
        let mut floods = Floods::default();
        look(&mut floods, at(0), vec![it], None);
        if fails {
            assert!(is_folded(&mut floods, &Report::Attempt(failed(SERVER, at(0)))));
        }
        let lines: usize = (1..20).map(|second| look(&mut floods, at(second), vec![], None).len()).sum();
        assert_eq!((lines, floods.all().len()), (told, told));
    }
}

/// Handshakes that complete after the last SYN count, and do not make it last.
#[test]
fn what_completes_later_counts() {
    let mut floods = Floods::default();
    (1..=3).for_each(|second| drop(look(&mut floods, at(second), vec![passage(IN, [])], None)));
    let late = Passage { opens: 0, passed_over: 0, completed: 70_000, ..passage(IN, []) };
    look(&mut floods, at(5), vec![late], None);
    let it = &floods.all()[0];
    assert_eq!((it.last, it.passed().completed, it.packets()), (at(3), 70_000, 300_000));
}

/// Each CPU draws as many clients, whatever it saw: they are weighed by that.
#[test]
fn clients_are_weighed_by_what_their_cpu_saw() {
    let mut floods = Floods::default();
    let busy = passage(IN, (0..10).map(client));
    let idle = Passage { opens: 20, passed_over: 0, ..passage(IN, std::iter::repeat_n(client(99), 10)) };
    look(&mut floods, at(1), vec![busy, idle], None);
    let flood = floods.all().remove(0);
    let sources = flood.sources();
    assert_eq!(sources.sample, 20);
    assert!(sources.top().iter().all(|(addr, share)| *addr != client(99) && *share < 0.11), "{:?}", sources.top());
}

#[test]
fn what_is_forwarded_is_counted_once() {
    let count = |points: &[Point], answers: &[Point]| {
        let mut floods = Floods::default();
        let answers = answers.iter().map(|it| Passage { answers: 100_000, ..passage(*it, []) });
        look(&mut floods, at(1), points.iter().map(|it| passage(*it, [])).chain(answers).collect(), None);
        let flood = &floods.all()[0];
        let passed = flood.passed();
        assert_eq!(passed.over, passed.opens / 100_000 * 99_900);
        (passed.opens, flood.is_of_answers(), flood.leaves())
    };
    assert_eq!(count(&[IN, Point::egress(3)], &[]), (100_000, false, false), "a router");
    assert_eq!(count(&[IN, OUT], &[]), (100_000, false, false), "the loopback");
    assert_eq!(count(&[OUT], &[]), (100_000, false, true), "it leaves this host");
    assert_eq!(count(&[IN, Point::ingress(3)], &[]), (200_000, false, false), "by two ways");
    // A server's answers to SYNs that are not followed are no flood of their own.
    assert_eq!(count(&[IN], &[OUT, OUT, OUT]), (100_000, false, false));
    assert_eq!(count(&[], &[IN]), (100_000, true, false), "backscatter");
}

/// Whoever floods one listener after the other fills no memory, and every end is told.
#[test]
fn many_floods_are_bounded() {
    let mut floods = Floods::default();
    let (mut began, mut over) = (0, 0);
    for second in 0..2000u16 {
        let server = Endpoint { port: second, ..SERVER };
        let since = at(u64::from(second) - u64::from(second > 0));
        let it = Passage { owner: server, since, ..passage(IN, (0..10).map(client)) };
        for flood in look(&mut floods, at(u64::from(second) + 1), vec![it], None) {
            assert!(flood.peak <= 100_000.0, "{}", flood.peak);
            if flood.is_over { over += 1 } else { began += 1 }
        }
    }
    over += floods.end().len();
    assert_eq!((began, over, floods.all().len(), floods.forgotten()), (2000, 2000, 1024, 976));
}

#[test]
fn a_flood_stands_for_its_attempts_only() {
    let mut floods = Floods::default();
    let early = failed(SERVER, at(0));
    assert!(!is_folded(&mut floods, &Report::Attempt(early.clone())), "nothing is flooded");
    look(&mut floods, at(5), vec![Passage { since: at(4), ..passage(IN, []) }], None);
    let other = Endpoint { port: 80, ..SERVER };
    let long_ago = Nanos(START - 10 * SECOND);
    for (it, expected) in [
        (failed(SERVER, at(4)), true),
        (failed(SERVER, at(3)), true),
        (failed(other, at(4)), false),
        (failed(SERVER, long_ago), false),
        // It was told as stalled, and so is its end.
        (Attempt { stalled: Some(Stalled { at: at(3), by: StalledBy::ThirdSyn }), ..failed(SERVER, at(2)) }, false),
        (Attempt { stalled: Some(Stalled { at: at(7), by: StalledBy::Silence }), ..failed(SERVER, at(4)) }, true),
    ] {
        assert_eq!(is_folded(&mut floods, &Report::Attempt(it.clone())), expected, "{it:?}");
    }
    assert_eq!(floods.all()[0].attempts[Outcome::NoReply as usize], 3);
    // A stall is no end.
    assert!(is_folded(&mut floods, &Report::Stall(failed(SERVER, at(4)))));
    assert_eq!(floods.all()[0].attempts[Outcome::NoReply as usize], 3);
    // Long after it, those that it left behind are its own, and new ones are not.
    look(&mut floods, at(60), vec![], None);
    assert!(is_folded(&mut floods, &Report::Attempt(failed(SERVER, at(5)))));
    assert!(!is_folded(&mut floods, &Report::Attempt(failed(SERVER, at(60)))));
}

/// However long it lasts, and from wherever: memory is bounded.
#[test]
fn sources_are_sampled_and_bounded() {
    let mut floods = Floods::default();
    for second in 1..=200 {
        look(&mut floods, at(second), vec![passage(IN, (0..200).map(|it| client(second as u32 * 200 + it)))], None);
    }
    let flood = floods.all().remove(0);
    let sources = flood.sources();
    assert_eq!((sources.sample, sources.networks, sources.top()), (40_000, 1 << 14, vec![]));
    let mut floods = Floods::default();
    look(&mut floods, at(1), vec![passage(IN, (0..10).map(|it| client(it / 8)))], None);
    assert_eq!(floods.all()[0].sources().top(), [(client(0), 0.8), (client(1), 0.2)]);
}

fn scan(scans: &mut Scans, host: Addr, ports: std::ops::Range<u16>, now: Nanos) -> usize {
    let taken =
        ports.map(|port| is_folded_at(scans, &Report::Attempt(failed(Endpoint { addr: host, port }, now)), now));
    taken.filter(|it| *it).count()
}

#[test]
fn a_scan_is_told_twice() {
    let mut scans = Scans::default();
    assert_eq!(scan(&mut scans, SERVER.addr, 0..1000, at(1)), 1000 - 31);
    let told = scans.look(at(2));
    assert_eq!(told.iter().map(|it| (it.ports, it.is_over)).collect::<Vec<_>>(), [(32, false)]);
    // The same port again is no other, and what succeeds is none of it.
    assert_eq!(scan(&mut scans, SERVER.addr, 5..6, at(3)), 1);
    // A port that fails a third time is told again.
    assert_eq!(scan(&mut scans, SERVER.addr, 5..6, at(3)), 0);
    let good = Attempt { outcome: Outcome::Established, recovered: true, ..failed(SERVER, at(3)) };
    assert!(!is_folded_at(&mut scans, &Report::Attempt(good), at(3)));
    assert!(scans.look(at(62)).is_empty());
    let told = scans.look(at(63));
    let [it] = &told[..] else { panic!("{told:?}") };
    assert_eq!((it.ports, it.is_over, it.attempts[Outcome::NoReply as usize]), (1000, true, 970));
    assert_eq!(scans.all().len(), 1);
}

/// For ports that do not answer, the stalls are reported first.
#[test]
fn a_scan_of_the_silent_is_told_twice() {
    let mut scans = Scans::default();
    let stalled = Some(Stalled { at: at(4), by: StalledBy::Silence });
    let attempts = (0..10_000).map(|port| Attempt { stalled, ..failed(Endpoint { port, ..SERVER }, at(1)) });
    let mut told = 0;
    for it in attempts.clone() {
        told += usize::from(!is_folded_at(&mut scans, &Report::Stall(it), Nanos(at(4).0 + 1)));
    }
    assert_eq!((told, scans.look(at(5)).len()), (31, 1));
    for it in attempts {
        told += usize::from(!is_folded_at(&mut scans, &Report::Attempt(it), at(9)));
    }
    assert_eq!(told, 31);
    assert_eq!(scans.end()[0].ports, 10_000);
}

#[test]
fn many_failures_are_no_scan() {
    let mut scans = Scans::default();
    // One port, however often; ports one by one in an hour; hosts one by one.
    assert_eq!((0..1000).map(|_| scan(&mut scans, SERVER.addr, 80..81, at(1))).sum::<usize>(), 0);
    assert_eq!((0..200u16).map(|it| scan(&mut scans, client(2), it..it + 1, at(u64::from(it) * 3))).sum::<usize>(), 0);
    assert_eq!((0..1000).map(|it| scan(&mut scans, client(it), 80..81, at(1))).sum::<usize>(), 0);
    assert!(scans.end().is_empty());
}

/// A hundred thousand pairs of hosts fail: most are not kept in mind, and each of their attempts is told.
#[test]
fn pairs_are_bounded() {
    let mut scans = Scans::default();
    let taken: usize = (0..100_000).map(|it| scan(&mut scans, Addr::v4(it), 0..2, at(1))).sum();
    assert_eq!(taken, 0);
    // Those are forgotten in time.
    assert_eq!(scan(&mut scans, SERVER.addr, 0..40, at(63)), 9);
}

/// An attempt of which nobody waits for the end, so many minutes after the start.
fn lost(networks: &mut Networks, minute: u64, server: Addr, answers: bool) {
    let attempt = failed(Endpoint { addr: server, port: 443 }, at(60 * minute));
    networks.note(&Report::Attempt(attempt), &mut Around(|_| answers), at(60 * minute));
}

fn told(networks: &mut Networks, minute: u64) -> Vec<(Network, bool, u64)> {
    let told = networks.look(at(60 * minute));
    told.iter().map(|it| (it.network, it.is_over, it.attempts.iter().sum())).collect()
}

#[test]
fn a_network_that_is_gone_round_is_told_twice() {
    let mut networks = Networks::default();
    let network = Network::of(SERVER.addr);
    (0..3).for_each(|it| lost(&mut networks, it, SERVER.addr, false));
    assert_eq!(told(&mut networks, 3), [(network, false, 3)]);
    (3..50).for_each(|it| lost(&mut networks, it, SERVER.addr, false));
    assert_eq!((told(&mut networks, 108), told(&mut networks, 109)), (vec![], vec![(network, true, 50)]));
    // The next is over as soon as something answers.
    (200..204).for_each(|it| lost(&mut networks, it, SERVER.addr, it == 203));
    assert_eq!(told(&mut networks, 204), [(network, false, 3), (network, true, 3)]);
    assert_eq!((networks.all().len(), networks.end().len()), (2, 0));
}

#[test]
fn few_networks_or_seldom_are_none() {
    let mut networks = Networks::default();
    (0..100).for_each(|it| lost(&mut networks, 6 * it, SERVER.addr, false));
    (0..100).for_each(|it| lost(&mut networks, 700 + it, SERVER.addr, true));
    let mut late = failed(SERVER, at(0));
    late.handshake.answer.tries = 1;
    (0..9).for_each(|_| {
        networks.note(&Report::Attempt(late.clone()), &mut Around(|_| false), at(0));
    });
    assert!(networks.end().is_empty());
}

/// Memory is bounded, whatever is lost where.
/// A dead address in a network that answers: two losses may be races, the third is a failure each time.
#[test]
fn a_server_that_never_wins_is_dead() {
    struct World {
        network: bool,
        since: bool,
    }
    impl Surroundings for World {
        fn answers(&mut self, _: Network, _: Nanos) -> bool {
            self.network
        }
        fn answered_since(&mut self, _: Addr, _: Nanos) -> bool {
            self.since
        }
        fn is_here(&mut self, _: Addr) -> bool {
            false
        }
    }
    let lose = |minutes: &[u64], at_minute: u64, network, since| {
        let (mut networks, mut world) = (Networks::default(), World { network, since });
        for minute in minutes {
            networks.note(&Report::Attempt(failed(SERVER, at(minute * 60))), &mut world, at(minute * 60));
        }
        networks.is_dead(SERVER, at(at_minute * 60), &mut world)
    };
    assert!(lose(&[0, 1], 2, true, false));
    assert!(!lose(&[0], 1, true, false), "two may be races");
    assert!(!lose(&[0, 1], 2, true, true), "it answered since the first");
    assert!(!lose(&[0, 1], 2, false, false), "nothing there answers: its network is avoided");
    assert!(!lose(&[0, 1], 11, true, false), "the first is too long ago");
    assert!(lose(&[0, 1, 2, 3], 4, true, false));
}

#[test]
fn networks_are_bounded() {
    let mut networks = Networks::default();
    for number in 0..10_000u32 {
        let addr = Addr { hi: 0x2001_0db8_0000_0000 | u64::from(number), lo: 1 };
        let report = Report::Attempt(failed(Endpoint { addr, port: 443 }, at(1)));
        (0..3).for_each(|_| {
            networks.note(&report, &mut Around(|it: Network| it.prefix == 0), at(1));
        });
    }
    let told = networks.end();
    assert!(told.len() <= 2 * (1 << 10), "{}", told.len());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn lines_are_as_they_were() {
    let busy = |it: u32| if it.is_multiple_of(4) { client(it) } else { client(0) };
    let flood = |it: Passage, attempts: &[(Outcome, u64)]| {
        let mut floods = Floods::default();
        look(&mut floods, at(1), vec![it], Some(0));
        let mut flood = look(&mut floods, at(2), vec![], Some(12)).pop().unwrap_or_else(|| floods.all()[0].clone());
        attempts.iter().for_each(|(outcome, count)| flood.attempts[*outcome as usize] = *count);
        Finding::Flood(Box::new(flood))
    };
    let mut scanned = Scan {
        id: 3,
        client: client(1),
        host: SERVER.addr,
        began: at(0),
        last: at(3),
        at: at(63),
        is_over: false,
        is_cut: false,
        ports: 65_536,
        attempts: [0; Outcome::ALL.len()],
    };
    scanned.attempts[Outcome::Refused as usize] = 65_000;
    scanned.attempts[Outcome::NoReply as usize] = 505;
    let v6 = Addr { hi: 0x2001_0db8_0000_0000, lo: 1 };
    let mut attempts = [0; Outcome::ALL.len()];
    (attempts[Outcome::NoReply as usize], attempts[Outcome::Unreachable as usize]) = (3, 1);
    let round = |network| Avoided {
        id: 7,
        is_cut: false,
        network,
        began: at(0),
        last: at(300),
        at: at(300),
        is_over: false,
        clients: 2,
        attempts,
    };
    let coarse = |scope, addr| {
        let clients = [client(1), client(2)];
        Passage { scope, owner: Endpoint { addr, port: 0 }, ..passage(IN, clients) }
    };
    let findings = [
        flood(passage(IN, (0..50).map(client)), &[(Outcome::NoReply, 90), (Outcome::HalfOpen, 10)]),
        flood(passage(IN, (0..40).map(busy)), &[]),
        flood(Passage { completed: 99_999, ..passage(OUT, []) }, &[]),
        flood(Passage { answers: 100_000, ..passage(IN, [client(1)]) }, &[]),
        flood(Passage { owner: Endpoint { addr: v6, port: 80 }, completed: 40, ..passage(IN, [v6]) }, &[]),
        flood(coarse(Width::Host, SERVER.addr), &[]),
        flood(coarse(Width::Network, Addr::v4(0xcb00_7100)), &[(Outcome::Refused, 3)]),
        flood(coarse(Width::WideNetwork, Addr { lo: 0, ..v6 }), &[]),
        flood(coarse(Width::Client, client(1)), &[]),
        flood(coarse(Width::Everything, Addr::default()), &[]),
        Finding::Scan(scanned.clone()),
        Finding::Scan(Scan { host: v6, is_over: true, ..scanned }),
        Finding::Avoided(round(Network::of(v6))),
        Finding::Avoided(Avoided { is_over: true, clients: 1, ..round(Network::of(SERVER.addr)) }),
        Finding::Avoided(round(Network::family(v6))),
        Finding::Avoided(round(Network::family(SERVER.addr))),
    ];
    let setting = Setting {
        clock: Clock::EPOCH,
        interfaces: BTreeMap::from([(2, "eth0".to_owned())]),
        undirected: BTreeSet::new(),
        zone: TimeZone::UTC,
        width: 100,
        services: BTreeMap::new(),
        is_capture: false,
        latest: Latest::default(),
    };
    let mut golden = String::new();
    for it in findings {
        let line = serde_json::from_str(&it.line(&setting)).expect("a line is JSON");
        contract::hold(&line);
        assert_eq!(line["v"], json!(1));
        let text: String =
            it.text(&setting, false).split("\x1b[").flat_map(|it| it.split_once('m').map(|it| it.1)).collect();
        let _ = writeln!(golden, "{text}\n{}\n{line:#}\n", it.plain());
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("findings", golden));
}
