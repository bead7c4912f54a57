//! What joins an incident, what only `--all` lists, what an ignore list accepts, and what makes the exit code 3.

use std::io::Write as _;

use jiff::tz::TimeZone;
use tcptrace::{
    desk::{Asked, Desk, Disposition, FailOn, FindingId, Harmless, Surroundings, Wanted, World},
    ignore::IgnoreList,
};
use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Nanos,
};
use tcptrace_vocabulary::{
    attempt::{Attempt, OtherHalf, Stalled, StalledBy},
    cause::{Cause, Confidence},
    facts::{Local, Missing, Process},
    incident::Phase,
    network::Network,
    outcome::Outcome,
    report::Report,
    scope::{Extent, Scope},
    verdict::{Unsent, Verdict, Why},
};

use super::{SECOND, SERVER, Stub, asked, at, attempt};

/// A world with a verdict on each failure, and one thing more.
#[derive(Clone, Copy, Default)]
struct Judging {
    is_wide: bool,
    is_check: bool,
    is_half: bool,
    is_overtaken: bool,
    is_unknown: bool,
    waits: bool,
}

impl Surroundings for Judging {
    fn answers(&mut self, _: Network, _: Nanos) -> bool {
        false
    }
    fn is_here(&mut self, _: Addr) -> bool {
        false
    }
}

const HALF: OtherHalf = OtherHalf {
    client: Endpoint { addr: Addr::v4(1), port: 1 },
    server: Endpoint { addr: Addr::v4(2), port: 2 },
    is_before: false,
};

impl World for Judging {
    fn is_wanted(&mut self, _: &Report) -> Wanted {
        if self.is_unknown { Wanted::Unknown } else { Wanted::Yes }
    }
    fn race(&mut self, _: &Attempt, _: Nanos) -> Option<Nanos> {
        None
    }
    fn is_overtaken(&mut self, _: &Attempt, _: Nanos) -> bool {
        self.is_overtaken
    }
    fn other_half(&mut self, _: &Attempt) -> Option<OtherHalf> {
        self.is_half.then_some(HALF)
    }
    fn first_half(&mut self, _: &Attempt, now: Nanos) -> Option<Nanos> {
        self.waits.then(|| Nanos(now.0 + SECOND))
    }
    fn is_half_of_another(&mut self, _: &Attempt) -> bool {
        self.is_half
    }
    fn explain(&mut self, attempt: &mut Attempt, _: u32) {
        let verdict = verdict(
            if self.is_check { Cause::HealthCheck } else { Cause::HostDown },
            Confidence::Likely,
            if self.is_wide { Extent::Host } else { Extent::Port },
        );
        let local = Local::unknown(Missing::NotAsked);
        attempt.why = Some(Box::new(Why { verdict, local, recorded: false }));
    }
}

fn verdict(cause: Cause, confidence: Confidence, extent: Extent) -> Verdict {
    let scope = Scope { extent, evidence: Vec::new() };
    Verdict { cause, confidence, evidence: Vec::new(), scope, next: Vec::new() }
}

const PLAIN: Judging =
    Judging { is_wide: false, is_check: false, is_half: false, is_overtaken: false, is_unknown: false, waits: false };

fn failed(port: u16) -> Report {
    Report::Attempt(attempt(1, port, at(0), Outcome::NoReply))
}

/// What became of a report, and the number of its incident.
fn decide(desk: &mut Desk, report: Report, mut world: Judging) -> (Disposition, Option<u64>) {
    let (disposition, settled) = desk.decide(report, false, &mut world, at(0));
    (disposition, settled.and_then(|it| it.report.attempt().incident))
}

/// Two clients do not look alike to a finding, and the same port is one incident.
#[test]
fn the_first_of_an_incident_is_a_line() {
    let mut desk = Desk::new(asked(true));
    assert!(!desk.has_incidents());
    assert_eq!(decide(&mut desk, failed(443), PLAIN), (Disposition::Print, Some(0)));
    assert_eq!(decide(&mut desk, failed(443), PLAIN), (Disposition::Fold(FindingId(0)), Some(0)));
    assert_eq!(decide(&mut desk, failed(80), PLAIN), (Disposition::Print, Some(1)));
    // A wider incident says itself what its first failure was.
    let wide = Judging { is_wide: true, ..PLAIN };
    assert_eq!(decide(&mut desk, failed(80), wide), (Disposition::Fold(FindingId(2)), Some(2)));
    assert!(desk.has_incidents());
    let counts = desk.incidents();
    assert_eq!((counts.begun, counts.running, counts.merged), (3, 1, 0));
    let line = |desk: &mut Desk| desk.decide(failed(443), false, &mut { PLAIN }, at(0)).1.map(|it| it.is_line);
    let mut lines = Desk::new(asked(true));
    assert_eq!((line(&mut lines), line(&mut lines)), (Some(true), Some(false)));
    let mut each = Desk::new(Asked { each: true, ..asked(true) });
    for _ in 0..2 {
        assert_eq!(decide(&mut each, failed(443), PLAIN), (Disposition::Print, Some(0)));
    }
}

/// Incidents count what worked since they began, and have the number as they end.
#[test]
fn an_incident_has_a_share_that_worked() {
    let mut desk = Desk::new(asked(true));
    decide(&mut desk, failed(443), PLAIN);
    desk.see_success(Endpoint { addr: SERVER, port: 443 }, at(1));
    let begun = desk.look_at_incidents(at(2));
    assert_eq!(begun.iter().map(|it| it.phase).collect::<Vec<_>>(), [Phase::Begun]);
    let ended = desk.end_incidents(at(3));
    assert_eq!(ended.iter().map(|it| (it.phase, it.worked)).collect::<Vec<_>>(), [(Phase::Ended, 1)]);
}

#[test]
fn what_is_no_failure_joins_none() {
    let all = || Desk::new(Asked { all: true, ..asked(true) });
    let joins = |report, world| decide(&mut all(), report, world);
    assert_eq!(joins(failed(443), PLAIN), (Disposition::Print, Some(0)));
    for (world, why) in [
        (Judging { is_check: true, ..PLAIN }, "a health check"),
        (Judging { is_half: true, ..PLAIN }, "one half of an attempt"),
        (Judging { is_overtaken: true, ..PLAIN }, "it lost a race"),
    ] {
        assert_eq!(joins(failed(443), world), (Disposition::Print, None), "{why}");
    }
    let reset = Report::Attempt(attempt(1, 443, at(0), Outcome::ResetByClient));
    assert_eq!(joins(reset, PLAIN), (Disposition::Print, None), "a client that ends a connection by a RST");
    // Without `--all`, none of them is a line; what looks like a check once has failed.
    let mut desk = Desk::new(asked(true));
    assert_eq!(decide(&mut desk, failed(80), Judging { is_check: true, ..PLAIN }), (Disposition::Print, Some(0)));
    let mut desk = Desk::new(asked(true));
    let half = Judging { is_half: true, ..PLAIN };
    assert_eq!(decide(&mut desk, failed(443), half), (Disposition::Count(Harmless::Worked), None));
    assert!(!desk.is_failed(None, &[]) && desk.totals().by_outcome[Outcome::NoReply as usize] == 1);
}

#[test]
fn a_translated_attempt_has_another_half() {
    let translated = |is_half| {
        let mut desk = Desk::new(Asked { all: true, ..asked(true) });
        let (_, it) = desk.decide(failed(443), false, &mut Judging { is_half, ..PLAIN }, at(0));
        it.expect("a line").report.attempt().translated
    };
    assert_eq!((translated(true), translated(false)), (Some(HALF), None));
    let (_, alone) = Desk::new(asked(true)).decide(failed(443), false, &mut Stub, at(0));
    assert_eq!(alone.expect("a line").report.attempt().translated, None, "nobody looks for one");
    let mut live = Desk::new(asked(false));
    let held = live.decide(failed(443), true, &mut Judging { waits: true, ..PLAIN }, at(0)).0;
    assert_eq!(held, Disposition::Hold { until: at(1) }, "the first half may still come");
}

/// One that stalled and came through belongs to what failed around it; live, unless its opening was a line.
#[test]
fn what_recovers_joins_what_failed() {
    let recovers = |is_capture, all, report: fn(Attempt) -> Report| {
        let mut desk = Desk::new(Asked { all, each: true, ..asked(is_capture) });
        decide(&mut desk, failed(443), PLAIN);
        let it = attempt(1, 443, at(0), Outcome::Established);
        let stalled = Some(Stalled { at: at(3), by: StalledBy::ThirdSyn });
        decide(&mut desk, report(Attempt { recovered: true, stalled, ..it }), PLAIN).1
    };
    assert_eq!(recovers(true, false, Report::Attempt), Some(0));
    assert_eq!(recovers(true, true, Report::Attempt), Some(0));
    assert_eq!(recovers(false, true, Report::Open), Some(0));
    assert_eq!(recovers(false, true, Report::Attempt), None, "it was told as it opened");
    assert_eq!(recovers(false, false, Report::Attempt), Some(0));
}

fn list() -> IgnoreList {
    let text = "[[ignore]]\nfilter = \"dst port 81\"\nsymptom = \"silence\"\nreason = \"off\"\nuntil = 2027-01-31\n\
                [[ignore]]\nfilter = \"dst port 82\"\nreason = \"off\"\nuntil = 2027-01-31\n";
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("room");
    IgnoreList::read(file.path(), &TimeZone::UTC).expect("a list")
}

#[test]
fn an_accepted_failure_is_counted_and_is_no_failure() {
    let accepted = |desk: &Desk| desk.ignored(at(0)).iter().map(|it| it.attempts).collect::<Vec<_>>();
    let new = |all| Desk::new(Asked { all, ignored: list(), ..asked(true) });
    let mut desk = new(false);
    let ignored = |entry| (Disposition::Count(Harmless::Ignored { entry }), None);
    assert_eq!(decide(&mut desk, failed(81), PLAIN), ignored(0));
    assert_eq!(decide(&mut desk, failed(82), PLAIN), ignored(1));
    assert_eq!(decide(&mut desk, failed(82), PLAIN), ignored(1));
    let Report::Attempt(stalls) = failed(82) else { panic!("an attempt") };
    assert_eq!(decide(&mut desk, Report::Stall(stalls), PLAIN), ignored(1));
    assert_eq!(accepted(&desk), [1, 2], "a stall is counted at its end");
    assert!(!desk.is_failed(None, &[]) && desk.totals().ignored == 3 && !desk.has_incidents());
    assert_eq!(desk.totals().servers.len(), 0, "it is no failure of its server");
    let refused = Report::Attempt(attempt(1, 81, at(0), Outcome::Refused));
    assert_eq!(decide(&mut desk, refused, PLAIN).0, Disposition::Print, "another symptom");
    assert!(desk.is_failed(None, &[]));
    let mut all = new(true);
    assert_eq!(decide(&mut all, failed(81), PLAIN), (Disposition::Print, None));
    assert_eq!(accepted(&all), [0, 0]);
}

fn call(port: u16) -> Unsent {
    Unsent {
        called: at(0),
        client: None,
        server: Endpoint { addr: SERVER, port },
        process: Process::default(),
        errno: None,
        incident: None,
        verdict: verdict(Cause::NoRoute, Confidence::Certain, Extent::Port),
    }
}

#[test]
fn calls_join_and_are_accepted_as_attempts_are() {
    let mut desk = Desk::new(Asked { ignored: list(), count: Some(2), ..asked(false) });
    let mut decide = |port| {
        let mut call = call(port);
        (desk.receive_unsent(&mut call, Wanted::Yes, at(0)), call.incident)
    };
    assert_eq!(decide(443), (Disposition::Print, Some(0)));
    assert_eq!(decide(443), (Disposition::Fold(FindingId(0)), Some(0)));
    assert_eq!(decide(82), (Disposition::Count(Harmless::Ignored { entry: 1 }), None));
    assert_eq!(decide(81), (Disposition::Print, Some(1)), "only its silence is accepted");
    assert_eq!(decide(80), (Disposition::Surplus, None), "two lines are printed");
    assert_eq!((desk.ignored(at(0))[1].attempts, desk.totals().unlisted), (1, 0));
    let mut all = Desk::new(Asked { all: true, each: true, ignored: list(), ..asked(false) });
    let mut call = call(82);
    for _ in 0..2 {
        assert_eq!(all.receive_unsent(&mut call, Wanted::Yes, at(0)), Disposition::Print);
    }
}

/// So many attempts of one incident that ended so, and calls where any failure counts.
#[test]
fn so_many_of_one_incident_fail() {
    let fails = |outcome, count, reports: &[u16], calls: u64| {
        let mut desk = Desk::new(Asked { fail_on: vec![FailOn { outcome, count }], ..asked(true) });
        for port in reports {
            decide(&mut desk, failed(*port), PLAIN);
        }
        for _ in 0..calls {
            desk.receive_unsent(&mut call(443), Wanted::Yes, at(0));
        }
        desk.is_failed(None, &[])
    };
    let silence = Some(Outcome::NoReply);
    assert!(!fails(None, 3, &[443; 2], 0) && fails(None, 3, &[443; 3], 0));
    assert!(!fails(silence, 3, &[443; 2], 0) && fails(silence, 3, &[443; 3], 0));
    assert!(!fails(Some(Outcome::Refused), 3, &[443; 3], 0), "they ended otherwise");
    assert!(!fails(None, 3, &[443, 443, 80], 0), "two incidents");
    assert!(!fails(None, 3, &[], 2) && fails(None, 3, &[], 3));
    assert!(!fails(silence, 1, &[], 3), "a call has no outcome");
}

#[test]
fn what_is_of_nobody_known_is_counted_once() {
    let mut desk = Desk::new(asked(true));
    let unknown = Judging { is_unknown: true, ..PLAIN };
    let Report::Attempt(it) = failed(443) else { panic!("an attempt") };
    assert_eq!(decide(&mut desk, Report::Stall(it), unknown), (Disposition::Unlisted, None));
    assert_eq!(desk.totals().unlisted, 0);
    assert_eq!(decide(&mut desk, failed(443), unknown), (Disposition::Unlisted, None));
    assert_eq!(decide(&mut desk, failed(443), unknown), (Disposition::Unlisted, None));
    assert_eq!(desk.totals().unlisted, 2);
    assert_eq!(desk.totals().by_outcome.iter().sum::<u64>(), 0, "and nowhere else");
}
