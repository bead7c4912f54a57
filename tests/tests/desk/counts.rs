//! The counts of a desk and their limits: held reports, printed lines, totals, servers, findings.

use tcptrace::desk::{Asked, ByOutcome, Desk, Disposition, FailOn, Surroundings, Totals, Wanted, World};
use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Nanos, Offer},
};
use tcptrace_verdict::patterns::{checks::is_probe_port, flood::Passage};
use tcptrace_vocabulary::{
    attempt::{Attempt, Stalled, StalledBy},
    network::Network,
    outcome::Outcome,
    report::Report,
};

use super::{SECOND, SERVER, Stub, asked, at, attempt, check, passage};

/// The reports that a desk holds at once.
const HELD: u32 = 1 << 13;
/// The findings of a kind that are kept.
const KEPT: u32 = 1024;

fn decide(desk: &mut Desk, report: Report) -> Disposition {
    desk.decide(report, false, &mut Stub, at(0)).0
}

fn racing(client: u32) -> Report {
    Report::Attempt(attempt(client, 8443, at(0), Outcome::NoReply))
}

fn ended(outcome: Outcome) -> Attempt {
    attempt(1, 443, at(0), outcome)
}

/// Live, one that may be overtaken waits, unless too many do; a capture knows what comes later.
#[test]
fn so_many_reports_are_held() {
    let mut live = Desk::new(asked(false));
    assert!(!live.waits());
    for client in 0..HELD {
        assert_eq!(live.receive(racing(client), &mut Stub, at(0)), None);
    }
    assert!(live.waits() && live.totals().overtaken == 0);
    assert_eq!(live.receive(racing(HELD), &mut Stub, at(0)), None);
    assert_eq!(live.totals().overtaken, 1, "there is no room to wait in");
    drop(live.due(at(0), false, &mut Stub));
    assert!(live.waits(), "their time has not come");
    drop(live.due(at(1), false, &mut Stub));
    assert!(!live.waits() && live.totals().overtaken == u64::from(HELD) + 1);

    let mut capture = Desk::new(asked(true));
    assert_eq!(capture.receive(racing(1), &mut Stub, at(0)), None);
    assert!(!capture.waits() && capture.totals().overtaken == 1);
}

/// An end that becomes no report is seen all the same.
#[test]
fn checks_are_known_by_ends_that_are_no_reports() {
    let mut desk = Desk::new(asked(true));
    let it = check(1, at(0));
    for _ in 0..3 {
        desk.see_end(&it.handshake, it.outcome, it.seen.1);
    }
    decide(&mut desk, Report::Attempt(it));
    assert_eq!(desk.totals().health_checks, 1);
}

/// A stall and an end that was announced are lines, and no attempts of their own.
#[test]
fn count_counts_each_attempt_once() {
    let full = |asked: Asked, reports: &[&Report]| {
        let mut desk = Desk::new(Asked { count: Some(2), ..asked });
        for report in reports {
            decide(&mut desk, (*report).clone());
        }
        desk.is_full()
    };
    let all = |is_capture| Asked { all: true, ..asked(is_capture) };
    let (stall, failure) = (Report::Stall(ended(Outcome::NoReply)), Report::Attempt(ended(Outcome::NoReply)));
    let (open, closed) = (Report::Open(ended(Outcome::Established)), Report::Attempt(ended(Outcome::Closed)));
    assert!(!full(asked(false), &[&failure]) && full(asked(false), &[&failure, &failure]));
    assert!(!full(asked(false), &[&stall, &failure]), "a stall, and its end");
    assert!(!full(all(false), &[&open, &closed]), "an opening, and its end");
    assert!(full(all(false), &[&open, &closed, &failure]));
    assert!(full(all(true), &[&closed, &closed]), "a capture has no openings");
    assert!(full(all(false), &[&failure, &failure]), "a failure was not announced");
    // After the last line, what was announced has its end.
    let mut desk = Desk::new(Asked { count: Some(1), ..all(false) });
    assert_eq!(decide(&mut desk, open.clone()), Disposition::Print);
    assert_eq!(decide(&mut desk, closed.clone()), Disposition::Print);
    assert_eq!(decide(&mut desk, open), Disposition::Surplus);
    let mut capture = Desk::new(Asked { count: Some(1), ..all(true) });
    assert_eq!(decide(&mut capture, closed.clone()), Disposition::Print);
    assert_eq!(decide(&mut capture, closed), Disposition::Surplus);
}

#[test]
fn stalls_and_recoveries_are_counted_where_they_are_reported() {
    let stalled = Some(Stalled { at: at(3), by: StalledBy::Silence });
    let trouble = |outcome| Attempt { stalled, recovered: true, ..ended(outcome) };
    let count = |asked: Asked, report: &Report| {
        let mut desk = Desk::new(asked);
        for _ in 0..2 {
            decide(&mut desk, report.clone());
        }
        (desk.totals().stalls, desk.totals().recovered)
    };
    let all = || Asked { all: true, ..asked(false) };
    assert_eq!(count(asked(false), &Report::Stall(trouble(Outcome::NoReply))), (2, 0));
    assert_eq!(count(all(), &Report::Open(trouble(Outcome::Established))), (0, 2));
    assert_eq!(count(all(), &Report::Open(ended(Outcome::Established))), (0, 0));
    let established = Report::Attempt(trouble(Outcome::Established));
    assert_eq!(count(asked(true), &established), (2, 2), "a capture's stalls come with their ends");
    assert_eq!(count(asked(false), &established), (0, 2));
    assert_eq!(count(all(), &established), (0, 0), "its opening was counted");
    assert_eq!(count(asked(false), &Report::Attempt(trouble(Outcome::Closed))), (0, 0), "so was this one's");
    assert_eq!(count(asked(true), &Report::Attempt(ended(Outcome::NoReply))), (0, 0));
}

/// Probes leave this host by a port and a TTL of their own.
#[test]
fn probes_of_this_host_are_counted() {
    let mut probe = attempt(1, 443, at(0), Outcome::NoReply);
    let server = Endpoint { addr: SERVER, port: 443 };
    probe.handshake.syn = Offer { ttl: 5, ..probe.handshake.syn };
    probe.handshake.client_port = (32_768..).find(|port| is_probe_port(*port, server, 5)).expect("a port");
    let mut desk = Desk::new(asked(false));
    for _ in 0..2 {
        drop(desk.receive(Report::Attempt(probe.clone()), &mut Home, at(0)));
    }
    let totals = desk.totals();
    assert_eq!((totals.probes, totals.by_outcome[Outcome::NoReply as usize]), (2, 2));
    assert!(totals.servers.is_empty(), "a probe is no failure of its server");
}

/// A world whose every address is this host's, where IPv4 works and each of its networks loses its races.
struct Home;

impl Surroundings for Home {
    fn answers(&mut self, network: Network, _: Nanos) -> bool {
        network.prefix == 0
    }
    fn is_here(&mut self, _: Addr) -> bool {
        true
    }
}

impl World for Home {
    fn is_wanted(&mut self, _: &Report) -> Wanted {
        Wanted::Yes
    }
    fn race(&mut self, _: &Attempt, _: Nanos) -> Option<Nanos> {
        None
    }
    fn is_overtaken(&mut self, attempt: &Attempt, _: Nanos) -> bool {
        attempt.handshake.server_port == 8443
    }
    fn explain(&mut self, _: &mut Attempt, _: u32) {}
}

#[test]
fn servers_have_the_ends_that_the_kernel_does_not_count() {
    let servers = |asked: Asked, outcome| {
        let mut desk = Desk::new(asked);
        decide(&mut desk, Report::Attempt(ended(outcome)));
        let servers = &desk.totals().servers;
        assert_eq!((servers.is_empty(), servers.len()), (servers.iter().next().is_none(), servers.iter().count()));
        servers.iter().map(|(server, ends)| (server.port, ends[outcome as usize])).collect::<Vec<_>>()
    };
    let all = |is_capture| Asked { all: true, ..asked(is_capture) };
    assert_eq!(servers(all(false), Outcome::Refused), [(443, 1)]);
    assert_eq!(servers(all(false), Outcome::Closed), [], "live, the kernel counts connections");
    assert_eq!(servers(all(true), Outcome::Refused), [(443, 1)]);
    assert_eq!(servers(all(true), Outcome::Closed), [(443, 1)]);
    assert_eq!(servers(all(true), Outcome::AnswerOnly), []);

    let mut totals = Totals::default();
    let server = Endpoint { addr: SERVER, port: 443 };
    for outcome in [Outcome::Closed, Outcome::Closed, Outcome::AnswerOnly] {
        totals.note_worked(server, outcome, 10);
    }
    let ends = |outcome| totals.by_outcome[outcome as usize];
    assert_eq!((ends(Outcome::Closed), ends(Outcome::AnswerOnly)), (2, 1));
    let (_, of_server) = totals.servers.iter().next().expect("a server");
    assert_eq!((of_server[Outcome::Closed as usize], of_server.iter().sum::<u64>()), (2, 2));
}

/// Those with the fewest ends go first: those with one, then with two, with four.
#[test]
fn busy_servers_stay() {
    let with = |ends: &[(u16, u64)], capacity| {
        let mut totals = Totals::default();
        for &(port, ends) in ends {
            let server = Endpoint { addr: SERVER, port };
            (0..ends).for_each(|_| totals.note_worked(server, Outcome::Closed, capacity));
        }
        let mut ports: Vec<_> = totals.servers.iter().map(|(server, _)| server.port).collect();
        ports.sort_unstable();
        (ports, totals.servers.forgotten)
    };
    assert_eq!(with(&[(1, 1), (2, 2), (3, 1)], 3), (vec![1, 2, 3], 0));
    assert_eq!(with(&[(1, 1), (2, 2), (3, 3), (4, 1)], 3), (vec![2, 3, 4], 1));
    assert_eq!(with(&[(1, 1), (2, 1), (3, 3), (4, 1)], 3), (vec![3, 4], 2), "both with one");
    assert_eq!(with(&[(1, 4), (2, 5), (3, 1)], 2), (vec![2, 3], 1), "four are few, five are not");
    assert_eq!(with(&[(1, 3), (2, 1)], 0), (vec![2], 1), "there is room for one");
}

/// A flood of 10 000 SYNs to this port.
fn flood(port: u16) -> Passage {
    Passage { owner: Endpoint { addr: SERVER, port }, passed_over: 10_000, ..passage() }
}

#[test]
fn findings_are_printed_once_begun_and_once_over() {
    let mut desk = Desk::new(asked(false));
    assert!(!desk.is_flooded() && desk.look(at(300)).is_empty() && !desk.is_failed(None, &[]));
    desk.feed(vec![flood(25)], None);
    assert!(desk.look(at(300)).is_empty(), "it has only begun");
    assert!(desk.is_flooded() && !desk.is_failed(None, &[]));
    assert_eq!(desk.end().len(), 1);
    assert!(!desk.is_flooded() && desk.is_failed(None, &[]), "it was found");

    let named = Asked { fail_on: vec![FailOn::one(Outcome::Refused)], ..asked(false) };
    let mut other = Desk::new(named);
    assert_eq!((other.flood(flood(25), at(300)).len(), other.look(at(320)).len()), (0, 1));
    assert!(!other.is_failed(None, &[]), "a finding has no outcome");
    // A capture brings a listener's flood as a whole.
    let mut capture = Desk::new(asked(true));
    drop(capture.flood(flood(25), at(300)));
    assert_eq!(capture.flood(Passage { since: at(305), ..flood(25) }, at(305)).len(), 1, "it has lasted a second");
}

/// Six of three kinds are not kept: two scans, one network, three floods.
#[test]
fn findings_are_bounded_and_what_is_gone_is_counted() {
    let mut desk = Desk::new(asked(true));
    assert_eq!(desk.forgotten(), 0);
    let mut now = at(1000);
    let receive = |desk: &mut Desk, mut it: Attempt, server: Addr, now| {
        it.handshake.server_addr = server;
        drop(desk.receive(Report::Attempt(it), &mut Home, now));
    };
    for client in 0..KEPT + 2 {
        for port in 0..32 {
            receive(&mut desk, attempt(client, 2000 + port, now, Outcome::Refused), Addr::v4(9), now);
        }
        now.0 += 61 * SECOND;
        drop(desk.look(now));
    }
    assert_eq!(desk.forgotten(), 2);
    for network in 0..KEPT + 1 {
        for _ in 0..3 {
            receive(&mut desk, attempt(1, 8443, now, Outcome::NoReply), Addr::v4(network << 8), now);
        }
        now.0 += 3601 * SECOND;
        drop(desk.look(now));
    }
    assert_eq!(desk.forgotten(), 2 + 1);
    let floods = (0..KEPT as u16 + 3).map(|port| Passage { since: now, ..flood(port) });
    desk.feed(floods.collect(), None);
    drop(desk.look(now));
    assert_eq!(desk.forgotten(), 2 + 1 + 3);
}

/// A connection that worked has no line, and makes the exit code 3 if `--fail-on` names its outcome.
#[test]
fn a_connection_that_is_named_fails() {
    let fails = |fail_on, outcome: Outcome, number| {
        let mut ends: ByOutcome = [0; Outcome::ALL.len()];
        ends[outcome as usize] = number;
        Desk::new(Asked { fail_on: vec![fail_on], ..asked(false) }).is_failed(Some(&ends), &[])
    };
    let closed = FailOn::one(Outcome::Closed);
    assert!(fails(closed, Outcome::Closed, 1) && fails(closed, Outcome::Closed, 2));
    assert!(!fails(closed, Outcome::Closed, 0) && !fails(closed, Outcome::ResetByClient, 1));
    assert!(!fails(FailOn::ANY, Outcome::Closed, 1), "it is no failure");
    assert!(!fails(FailOn::ANY, Outcome::Refused, 1), "its own line says so");
    assert!(!fails(FailOn::one(Outcome::Refused), Outcome::Refused, 1));
}
