//! The desk: what becomes of a report, by a table; and that the same events make the same lines and the same totals live
//! and in a capture.

mod counts;
mod joined;

use tcptrace::desk::{
    Asked, Desk, Disposition, FailOn, FindingId, Harmless, Surroundings, View, Wanted, World, consider,
};
use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{End, Handshake, Nanos, Offer, Point, State},
    pressure::Width,
    segment::Flags,
};
use tcptrace_verdict::patterns::{Claim, flood::Passage};
use tcptrace_vocabulary::{
    attempt::{Attempt, Stalled, StalledBy},
    cause::{Cause, Confidence},
    facts::Process,
    network::Network,
    outcome::Outcome,
    report::Report,
    scope::{Extent, Scope},
    verdict::{Unsent, Verdict},
};

const SECOND: u64 = 1_000_000_000;
const SERVER: Addr = Addr::v4(0xcb00_7102);

const fn at(seconds: u64) -> Nanos {
    Nanos(1_000 * SECOND + seconds * SECOND)
}

/// An attempt of a client's host to a port.
fn attempt(client: u32, port: u16, first_syn: Nanos, outcome: Outcome) -> Attempt {
    let handshake = Handshake {
        client_addr: Addr::v4(0x0a00_0000 + client),
        client_port: 40_000,
        server_addr: SERVER,
        server_port: port,
        first_syn,
        last_syn: first_syn,
        client_point: Point::egress(2),
        syn: Offer { tries: 1, ttl: 64, ..Offer::default() },
        state: State::SynSent as u8,
        ..Handshake::default()
    };
    Attempt::from_handshake(handshake, outcome)
}

/// SYN, SYN/ACK, RST: the look of a health check.
fn check(client: u32, first_syn: Nanos) -> Attempt {
    let mut attempt = attempt(client, 80, first_syn, Outcome::Aborted);
    let hs = &mut attempt.handshake;
    hs.answer = Offer { tries: 1, ttl: 64, ..Offer::default() };
    hs.first_answer = Nanos(first_syn.0 + SECOND / 1000);
    hs.end = End { flags: Flags::RST | Flags::ACK, ttl: 64, ..End::default() };
    attempt.seen.1 = Nanos(first_syn.0 + SECOND / 500);
    attempt
}

/// What the decision is told.
#[derive(Clone, Copy)]
struct Told {
    all: bool,
    full: bool,
    sequel: bool,
    wanted: Wanted,
    ignored: Option<usize>,
    wait: bool,
    probe: Claim,
    check: Claim,
    race: Option<Nanos>,
    finding: Claim,
    overtaken: bool,
    half: bool,
}

const NOTHING: Told = Told {
    all: false,
    full: false,
    sequel: false,
    wanted: Wanted::Yes,
    ignored: None,
    wait: true,
    probe: Claim::None,
    check: Claim::None,
    race: None,
    finding: Claim::None,
    overtaken: false,
    half: false,
};

impl View for Told {
    fn lists_all(&self) -> bool {
        self.all
    }
    fn may_wait(&self) -> bool {
        self.wait
    }
    fn is_full(&self) -> bool {
        self.full
    }
    fn is_sequel(&self, _: &Report) -> bool {
        self.sequel
    }
    fn is_wanted(&mut self, _: &Report) -> Wanted {
        self.wanted
    }
    fn ignored(&mut self, _: &Report) -> Option<usize> {
        self.ignored
    }
    fn probe(&mut self, _: &Report, _: Nanos) -> Claim {
        self.probe
    }
    fn check(&mut self, _: &Report, _: Nanos) -> Claim {
        self.check
    }
    fn race(&mut self, _: &Attempt, _: Nanos) -> Option<Nanos> {
        self.race
    }
    fn finding(&mut self, _: &Report, _: Nanos) -> Claim {
        self.finding
    }
    fn is_overtaken(&mut self, _: &Attempt, _: Nanos) -> bool {
        self.overtaken
    }
    fn is_half_of_another(&mut self, _: &Attempt) -> bool {
        self.half
    }
}

#[test]
fn what_becomes_of_a_report() {
    let failed = Report::Attempt(attempt(1, 443, at(0), Outcome::NoReply));
    let stall = Report::Stall(attempt(1, 443, at(0), Outcome::NoReply));
    let late = Some(Stalled { at: at(3), by: StalledBy::Silence });
    let stalled = Report::Attempt(Attempt { stalled: late, ..attempt(1, 443, at(0), Outcome::NoReply) });
    let worked = Report::Attempt(attempt(1, 443, at(0), Outcome::Closed));
    let (until, fold) = (at(30), Claim::Fold(FindingId(7)));
    let hold = Claim::Hold { until };
    let counted = |harmless| Disposition::Count(harmless);
    let probe = Told { probe: Claim::Count(Harmless::Probe), ..NOTHING };
    let checked = Told { check: Claim::Count(Harmless::HealthCheck), ..NOTHING };
    let may_be_check = Told { check: hold, ..NOTHING };
    let racing = Told { race: Some(until), ..NOTHING };
    let lost = Told { overtaken: true, ..NOTHING };
    let folded = Told { finding: fold, ..NOTHING };
    let full = Told { full: true, ..NOTHING };
    let half = Told { half: true, ..NOTHING };
    let accepted = Told { ignored: Some(4), ..NOTHING };
    let table = [
        ("a failure", &failed, NOTHING, Disposition::Print),
        ("a stall", &stall, NOTHING, Disposition::Print),
        ("excluded by the filter", &failed, Told { wanted: Wanted::No, ..folded }, Disposition::NotOurs),
        ("of nobody known", &failed, Told { wanted: Wanted::Unknown, ..folded }, Disposition::Unlisted),
        ("it worked", &worked, NOTHING, counted(Harmless::Worked)),
        ("it worked, and all are listed", &worked, Told { all: true, ..NOTHING }, Disposition::Print),
        ("it is accepted", &failed, accepted, counted(Harmless::Ignored { entry: 4 })),
        ("it is accepted, and all are listed", &failed, Told { all: true, ..accepted }, Disposition::Print),
        ("a probe", &failed, probe, counted(Harmless::Probe)),
        ("a probe, and all are listed", &failed, Told { all: true, ..probe }, Disposition::Print),
        ("a check", &failed, checked, counted(Harmless::HealthCheck)),
        ("perhaps a check", &failed, may_be_check, Disposition::Hold { until }),
        ("perhaps a check, and it was held", &failed, Told { wait: false, ..may_be_check }, Disposition::Print),
        ("its race goes on", &failed, racing, Disposition::Hold { until }),
        ("its race goes on, and it was held", &failed, Told { wait: false, ..racing }, Disposition::Print),
        ("a stall is not held", &stall, racing, Disposition::Print),
        ("it lost a race", &failed, lost, counted(Harmless::Overtaken)),
        ("it lost a race, and all are listed", &failed, Told { all: true, ..lost }, Disposition::Print),
        ("a finding stands for it", &failed, folded, Disposition::Fold(FindingId(7))),
        ("a finding, and all are listed", &failed, Told { all: true, ..folded }, Disposition::Fold(FindingId(7))),
        ("a finding comes before a race", &failed, Told { overtaken: true, ..folded }, Disposition::Fold(FindingId(7))),
        ("half of an attempt that worked", &failed, half, counted(Harmless::Worked)),
        ("half of it, which stalls", &stall, half, counted(Harmless::Worked)),
        ("half of it, and all are listed", &failed, Told { all: true, ..half }, Disposition::Print),
        ("after the last line", &failed, full, Disposition::Surplus),
        ("after the last line, a stall", &stall, full, Disposition::Surplus),
        ("after the last line, the end of a stall", &stalled, full, Disposition::Print),
        (
            "after the last line, an end whose opening was listed",
            &worked,
            Told { all: true, sequel: true, ..full },
            Disposition::Print,
        ),
        ("after the last line, a finding's", &failed, Told { full: true, ..folded }, Disposition::Surplus),
    ];
    for (name, report, mut told, expected) in table {
        assert_eq!(consider(report, &mut told, at(1)), expected, "{name}");
    }
}

/// A world in which port 8443 loses its races, port 9 is not wanted, and nothing else answers.
struct Stub;

impl Surroundings for Stub {
    fn answers(&mut self, _: Network, _: Nanos) -> bool {
        false
    }
    fn is_here(&mut self, _: Addr) -> bool {
        false
    }
}

impl World for Stub {
    fn is_wanted(&mut self, report: &Report) -> Wanted {
        if report.attempt().handshake.server_port == 9 { Wanted::No } else { Wanted::Yes }
    }
    fn race(&mut self, attempt: &Attempt, _: Nanos) -> Option<Nanos> {
        (attempt.handshake.server_port == 8443).then(|| Nanos(attempt.handshake.first_syn.0 + SECOND))
    }
    fn is_overtaken(&mut self, attempt: &Attempt, _: Nanos) -> bool {
        attempt.handshake.server_port == 8443
    }
    fn explain(&mut self, _: &mut Attempt, _: u32) {}
}

/// A day's worth: single failures, checks, a scan, a flood, lost races, what nobody wants.
fn events() -> Vec<Attempt> {
    let singles = (0..5).map(|it| attempt(it, 443, at(u64::from(it) * 20), Outcome::Refused));
    let checks = (0..6).map(|it| check(200, at(it * 10)));
    let twice = (0..2).map(|it| check(201, at(it * 10)));
    let scan = (0..50).map(|it| attempt(300, 1000 + it, at(200), Outcome::Refused));
    let flood = (0..80).map(|it| attempt(1000 + it * 256, 25, at(300), Outcome::NoReply));
    let races = (0..4).map(|it| attempt(400 + it, 8443, at(400 + u64::from(it)), Outcome::NoReply));
    let unwanted = (0..3).map(|it| attempt(500, 9, at(500 + it), Outcome::NoReply));
    let mut events: Vec<_> =
        singles.chain(checks).chain(twice).chain(scan).chain(flood).chain(races).chain(unwanted).collect();
    events.sort_by_key(|it| it.handshake.first_syn);
    events
}

fn passage() -> Passage {
    Passage {
        scope: Width::Listener,
        owner: Endpoint { addr: SERVER, port: 25 },
        point: Point::egress(2),
        since: at(300),
        opens: 80,
        answers: 0,
        passed_over: 0,
        completed: 0,
        clients: (0..80).map(|it| Addr::v4(0x0a00_0000 + 1000 + it * 256)).collect(),
    }
}

/// The desk at the end, and the lines in the order of their attempts.
fn run(asked: Asked) -> (Desk, Vec<Line>) {
    let (is_capture, mut desk) = (asked.is_capture, Desk::new(asked));
    let events = events();
    let mut printed = Vec::new();
    if is_capture {
        events.iter().for_each(|it| desk.see(it));
    }
    for event in events {
        let now = event.handshake.first_syn;
        if now == at(300) {
            desk.feed(vec![passage()], None);
            drop(desk.look(now));
        }
        if !is_capture {
            desk.see(&event);
            printed.extend(desk.due(now, false, &mut Stub));
        }
        printed.extend(desk.receive(Report::Attempt(event), &mut Stub, now));
        drop(desk.look(now));
    }
    printed.extend(desk.due(at(1000), true, &mut Stub));
    drop(desk.end());
    let mut lines: Vec<_> = printed
        .iter()
        .map(|it| it.report.attempt())
        .map(|it| (it.handshake.first_syn, it.handshake.server_port, it.outcome))
        .collect();
    lines.sort_unstable_by_key(|(at, port, _)| (*at, *port));
    (desk, lines)
}

fn asked(is_capture: bool) -> Asked {
    Asked { fail_on: vec![FailOn::ANY], is_capture, servers: 1 << 10, ..Asked::default() }
}

/// A line: when its attempt began, the server's port, how it ended.
type Line = (Nanos, u16, Outcome);

/// Live and of a capture, the same events.
fn both(all: bool) -> [(Desk, Vec<Line>); 2] {
    [false, true].map(|is_capture| run(Asked { all, ..asked(is_capture) }))
}

#[test]
fn live_and_captures_decide_alike() {
    let [(live, live_lines), (capture, capture_lines)] = both(false);
    assert_eq!(live_lines, capture_lines);
    assert_eq!(live.totals(), capture.totals());
    assert_eq!(live.findings(), capture.findings());
}

#[test]
fn with_all_a_capture_lists_what_findings_stand_for_too() {
    let [(live, live_lines), (capture, capture_lines)] = both(true);
    assert!(live_lines.iter().all(|line| capture_lines.contains(line)));
    assert_eq!(capture_lines.len() as u64, live_lines.len() as u64 + live.totals().folded);
    assert_eq!(live.totals().by_outcome, capture.totals().by_outcome);
    assert_eq!((live.findings(), capture.totals().folded), (capture.findings(), 0));
}

#[test]
fn totals_are_what_the_dispositions_were() {
    let (desk, lines) = run(asked(true));
    let totals = desk.totals();
    // Five that failed, two that only looked like checks, 31 ports before there was a scan.
    assert_eq!(lines.len(), 5 + 2 + 31);
    assert_eq!((totals.health_checks, totals.overtaken, totals.probes, totals.folded), (6, 4, 0, 19 + 80));
    assert_eq!(totals.by_outcome.iter().sum::<u64>(), lines.len() as u64 + 6 + 4 + 19 + 80, "each once");
    let servers: u64 = totals.servers.iter().flat_map(|(_, ends)| ends).sum();
    assert_eq!(servers, lines.len() as u64 + 4 + 19 + 80, "a check is no failure of its server");
    let types: Vec<_> =
        desk.findings().iter().map(|it| format!("{it:?}").split('(').next().map(str::to_owned)).collect();
    assert_eq!(types, ["Flood", "Scan", "Avoided"].map(|it| Some(it.to_owned())));
}

/// Whether the exit code is 3 after one report.
fn fails(event: Attempt, asked: Asked, seen: usize) -> bool {
    let mut desk = Desk::new(asked);
    (0..seen).for_each(|_| desk.see(&event));
    let now = event.handshake.first_syn;
    drop(desk.receive(Report::Attempt(event), &mut Stub, now));
    drop(desk.due(now, true, &mut Stub));
    desk.is_failed(None, &[])
}

/// An exit code of 3 has a line to go with it.
#[test]
fn what_is_not_printed_does_not_fail() {
    for is_capture in [false, true] {
        let any = || asked(is_capture);
        assert!(fails(attempt(1, 443, at(0), Outcome::NoReply), any(), 1));
        assert!(!fails(attempt(1, 8443, at(0), Outcome::NoReply), any(), 1), "it lost a race");
        assert!(!fails(check(1, at(0)), any(), 3), "a check");
        assert!(fails(check(1, at(0)), any(), 1), "no check yet");
        assert!(!fails(attempt(1, 9, at(0), Outcome::NoReply), any(), 1), "excluded");
        assert!(!fails(attempt(1, 443, at(0), Outcome::NoReply), Asked { count: Some(0), ..any() }, 1), "surplus");
        let closed = || attempt(1, 443, at(0), Outcome::Closed);
        assert!(!fails(closed(), any(), 1), "it worked");
        assert!(fails(closed(), Asked { fail_on: vec![FailOn::one(Outcome::Closed)], ..any() }, 1), "it is named");
    }
    assert!(run(asked(true)).0.is_failed(None, &[]) && run(asked(false)).0.is_failed(None, &[]), "folded");
}

/// A failure whose event the ring had no room for has no line, and `--fail-on` hears of it all the same.
#[test]
fn a_lost_failure_fails() {
    let fails =
        |fail_on, lost: &[Outcome]| Desk::new(Asked { fail_on: vec![fail_on], ..asked(false) }).is_failed(None, lost);
    assert!(fails(FailOn::ANY, &[Outcome::Refused]));
    assert!(fails(FailOn::one(Outcome::Refused), &[Outcome::Refused]));
    assert!(!fails(FailOn::one(Outcome::NoReply), &[Outcome::Refused]));
    assert!(!fails(FailOn::ANY, &[]));
}

/// A call that sent no SYN is a line like any other: for `--count`, for `--fail-on`, for the totals.
#[test]
fn an_unsent_call_is_decided_like_a_report() {
    let verdict = Verdict {
        cause: Cause::NoRoute,
        confidence: Confidence::Certain,
        evidence: Vec::new(),
        scope: Scope { extent: Extent::Unknown, evidence: Vec::new() },
        next: Vec::new(),
    };
    let process = Process { pid: 1, command: "curl".to_owned(), ..Process::default() };
    let mut unsent = Unsent {
        called: at(0),
        client: None,
        server: Endpoint::default(),
        process,
        errno: None,
        verdict,
        incident: None,
    };
    let mut desk = Desk::new(Asked { count: Some(1), ..asked(false) });
    assert_eq!(desk.receive_unsent(&mut unsent, Wanted::No, at(1)), Disposition::NotOurs);
    assert_eq!(desk.receive_unsent(&mut unsent, Wanted::Unknown, at(1)), Disposition::Unlisted);
    assert_eq!(desk.totals().unlisted, 1);
    assert!(!desk.is_failed(None, &[]) && !desk.is_full());
    assert_eq!(desk.receive_unsent(&mut unsent, Wanted::Yes, at(1)), Disposition::Print);
    assert!(desk.is_failed(None, &[]) && desk.is_full());
    assert_eq!(desk.receive_unsent(&mut unsent, Wanted::Yes, at(1)), Disposition::Surplus);
    assert_eq!(desk.totals().causes.counts(), [("no_route", 1)]);
}

/// Servers are bounded, and what does not fit is counted.
#[test]
fn servers_are_bounded() {
    let mut desk = Desk::new(Asked { servers: 100, ..asked(true) });
    for it in 0..10_000u32 {
        let mut event = attempt(1, 443, at(u64::from(it) * 100), Outcome::Refused);
        event.handshake.server_addr = Addr::v4(it << 8);
        drop(desk.receive(Report::Attempt(event), &mut Stub, at(u64::from(it) * 100)));
    }
    let servers = &desk.totals().servers;
    assert!(servers.len() <= 100);
    assert_eq!(servers.len() as u64 + servers.forgotten, 10_000);
}
