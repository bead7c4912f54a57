//! The suite `incidents`: what begins an incident, what joins it, when it has news, and when it is over. Pure: a clock is
//! a number.

mod common;

use common::{CLIENT, NOW, OTHER_CLIENT, SECOND, answered, established, silent};
use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos},
};
use tcptrace_verdict::patterns::incident::{Ended, Failure, Incidents, Stall};
use tcptrace_vocabulary::{
    attempt::{Attempt, Stalled, StalledBy},
    cause::{
        Cause::{self, FirewallDrop, HostDown, PortClosed, Unknown},
        Confidence::{self, Certain, Likely, Possible},
    },
    facts::{Local, Missing, Process},
    incident::{Incident, Phase, Place, Role, Symptom},
    outcome::Outcome,
    scope::{Extent, Scope},
    verdict::{Unsent, Verdict, Why},
};

/// Clients that are counted separately, and attempts that worked that are kept between two looks.
const CLIENTS: u32 = 256;
const SUCCESSES: u32 = 1 << 17;
const HOUR: u64 = 3600;

const WEB: Endpoint = Endpoint { addr: Addr::v4(0x0a01_0001), port: 80 };
const TLS: Endpoint = Endpoint { port: 443, ..WEB };
const NEXT: Endpoint = Endpoint { addr: Addr::v4(0x0a01_0002), port: 80 };

fn verdict(cause: Cause, confidence: Confidence, extent: Extent) -> Verdict {
    let scope = Scope { extent, evidence: Vec::new() };
    Verdict { cause, confidence, evidence: Vec::new(), scope, next: Vec::new() }
}

fn port() -> Verdict {
    verdict(FirewallDrop, Likely, Extent::Port)
}

fn at(seconds: u64) -> Nanos {
    Nanos(NOW.0 + seconds * SECOND)
}

fn failure(server: Endpoint, verdict: &Verdict, when: Nanos) -> Failure<'_> {
    Failure {
        began: when,
        last: when,
        client: Some(CLIENT),
        server,
        role: Role::Client,
        symptom: Symptom::Silence,
        process: None,
        verdict,
        stall: Stall::None,
        ended: Some(Ended::As(Outcome::NoReply)),
    }
}

/// Notes a failure at its own time; the incident's number, and whether it is the first there.
fn note(incidents: &mut Incidents, it: &Failure<'_>) -> (u64, bool) {
    let (told, is_first) = incidents.note(it, it.began);
    (told.id, is_first)
}

fn phases(of: &[Incident]) -> Vec<(u64, Phase)> {
    of.iter().map(|it| (it.id, it.phase)).collect()
}

fn why(local: Local) -> Option<Box<Why>> {
    Some(Box::new(Why { verdict: port(), local, recorded: false }))
}

fn attempt(it: Handshake, local: Local) -> Attempt {
    Attempt { why: why(local), ..Attempt::from_handshake(it, Outcome::of(&it).expect("an attempt")) }
}

fn ends(client: bool, server: bool) -> Local {
    Local { client_here: Ok(client), server_here: Ok(server), ..Local::unknown(Missing::NotAsked) }
}

const fn stalled(at: Nanos) -> Option<Stalled> {
    Some(Stalled { at, by: StalledBy::ThirdSyn })
}

#[test]
fn a_failure_is_an_attempt_with_a_verdict() {
    let it = attempt(silent(CLIENT, WEB), ends(true, false));
    let said = Failure::of(&it, true, false).expect("a failure");
    assert_eq!((said.began, said.client, said.server), (NOW, Some(CLIENT), WEB));
    assert_eq!((said.symptom, said.stall), (Symptom::Silence, Stall::None));
    assert_eq!(said.ended, Some(Ended::As(Outcome::NoReply)));
    assert!(Failure::of(&Attempt { why: None, ..it.clone() }, true, false).is_none(), "nobody asked why");
    assert!(Failure::of(&attempt(established(CLIENT, WEB), ends(true, false)), true, false).is_none(), "it worked");
    let waits = Attempt { stalled: stalled(at(3)), ..it };
    let stall = |is_end, is_capture| {
        let it = Failure::of(&waits, is_end, is_capture).expect("a failure");
        (it.stall, it.ended.is_some())
    };
    assert_eq!(stall(false, false), (Stall::Begins, false));
    assert_eq!(stall(true, false), (Stall::Ends, true));
    assert_eq!(stall(true, true), (Stall::Whole, true), "a capture's is known with its end");
}

#[test]
fn a_failure_is_of_the_end_that_is_here() {
    let role = |local| Failure::of(&attempt(silent(CLIENT, WEB), local), true, false).expect("a failure").role;
    assert_eq!(role(ends(true, false)), Role::Client);
    assert_eq!(role(ends(true, true)), Role::Client);
    assert_eq!(role(ends(false, true)), Role::Server);
    assert_eq!(role(ends(false, false)), Role::Between);
    assert_eq!(role(Local::unknown(Missing::NotAsked)), Role::Between, "nobody knows");
}

/// What recovered looks as it did when it stalled: answered by then, or not.
#[test]
fn an_attempt_recovers_from_what_it_looked_like() {
    let it = established(CLIENT, WEB);
    let first_answer = it.first_answer;
    let recovered = |it: Handshake, when: Option<Nanos>, recovered| {
        let stalled = when.and_then(stalled);
        let it = Attempt { stalled, recovered, ..attempt(it, ends(true, false)) };
        Failure::of_recovered(&it, false).map(|it| (it.symptom, it.stall, it.ended))
    };
    let from = |symptom, stall| Some((symptom, stall, Some(Ended::Recovered)));
    assert_eq!(recovered(it, Some(at(3)), true), from(Symptom::Unfinished, Stall::Ends));
    assert_eq!(recovered(it, Some(first_answer), true), from(Symptom::Unfinished, Stall::Ends));
    let before = Nanos(first_answer.0 - 1);
    assert_eq!(recovered(it, Some(before), true), from(Symptom::Silence, Stall::Ends), "it was answered later");
    let unseen = Handshake { answer: silent(CLIENT, WEB).answer, first_answer: Nanos(0), ..it };
    assert_eq!(recovered(unseen, Some(at(3)), true), from(Symptom::Silence, Stall::Ends), "nobody saw an answer");
    assert_eq!(recovered(it, None, true), from(Symptom::Silence, Stall::None));
    assert_eq!(recovered(it, Some(at(3)), false), None, "it was in no trouble");
    let half_open = Handshake { server_addr: WEB.addr, ..answered(SECOND / 50) };
    assert_eq!(recovered(half_open, Some(at(3)), true), None, "it never opened");
}

/// A failure that is certainly of another cause is no part of a wider incident: a port that a rule rejects stays that.
#[test]
fn what_has_a_cause_of_its_own_stays_apart() {
    let host = verdict(HostDown, Likely, Extent::Host);
    let joins = |it: Verdict| {
        let mut incidents = Incidents::default();
        note(&mut incidents, &failure(WEB, &host, at(0)));
        note(&mut incidents, &failure(TLS, &it, at(1))) == (0, false)
    };
    assert!(joins(verdict(PortClosed, Likely, Extent::Port)));
    assert!(joins(verdict(HostDown, Certain, Extent::Port)));
    assert!(!joins(verdict(PortClosed, Certain, Extent::Port)));
    let taken = |it: Verdict| {
        let mut incidents = Incidents::default();
        note(&mut incidents, &failure(TLS, &it, at(0)));
        note(&mut incidents, &failure(WEB, &host, at(1)));
        incidents.running() == 1
    };
    assert!(taken(verdict(PortClosed, Likely, Extent::Port)));
    assert!(!taken(verdict(PortClosed, Certain, Extent::Port)));
}

#[test]
fn what_worked_since_it_began_is_counted_at_the_next_look() {
    let (mut incidents, it) = (Incidents::default(), port());
    assert!(!incidents.are_on());
    incidents.note_success(WEB, at(5));
    assert!(incidents.look(at(5)).is_empty(), "no incident runs");
    note(&mut incidents, &failure(WEB, &it, at(10)));
    assert!(incidents.are_on());
    for seconds in [9, 10, 11, 12] {
        incidents.note_success(WEB, at(seconds));
    }
    incidents.note_success(TLS, at(11));
    incidents.look(at(11));
    let worked = |incidents: &mut Incidents, seconds| {
        note(incidents, &failure(WEB, &port(), at(seconds)));
        incidents.note(&failure(WEB, &port(), at(seconds)), at(seconds)).0.worked
    };
    assert_eq!(worked(&mut incidents, 11), 2, "as it began, and since");
    incidents.look(at(12));
    assert_eq!(worked(&mut incidents, 12), 3);
}

#[test]
fn a_bounded_number_of_successes_waits_for_a_look() {
    let worked = |waiting| {
        let (mut incidents, it) = (Incidents::default(), port());
        note(&mut incidents, &failure(WEB, &it, at(0)));
        (0..waiting).for_each(|_| incidents.note_success(WEB, at(HOUR)));
        incidents.note_success(WEB, at(1));
        incidents.look(at(2));
        incidents.end(at(3)).last().expect("it ended").worked
    };
    assert_eq!(worked(SUCCESSES - 1), 1);
    assert_eq!(worked(SUCCESSES), 0);
}

#[test]
fn incidents_are_counted_while_they_run_and_when_they_are_cut() {
    let (mut incidents, it) = (Incidents::default(), port());
    note(&mut incidents, &failure(WEB, &it, at(0)));
    note(&mut incidents, &failure(NEXT, &it, at(0)));
    assert_eq!((incidents.begun(), incidents.running(), incidents.merged()), (2, 2, 0));
    let ended = incidents.end(at(1));
    let both = [(0, Phase::Begun), (1, Phase::Begun), (0, Phase::Ended), (1, Phase::Ended)];
    assert_eq!(phases(&ended), both);
    assert!(ended.iter().all(|it| it.is_cut == (it.phase == Phase::Ended)));
    assert_eq!((incidents.begun(), incidents.running(), incidents.are_on()), (2, 2, false));
}

/// Its end says what an update would have said.
#[test]
fn the_end_of_the_run_brings_nothing_to_mind() {
    let (mut incidents, it) = (Incidents::default(), port());
    note(&mut incidents, &failure(WEB, &it, at(0)));
    note(&mut incidents, &failure(WEB, &it, at(9)));
    assert_eq!(phases(&incidents.end(at(10))), [(0, Phase::Begun), (0, Phase::Ended)]);
}

/// Ten seconds of quiet end a short incident, and the next failure begins another.
#[test]
fn a_failure_after_the_quiet_begins_another() {
    let begins = |nanos: u64| {
        let (mut incidents, it) = (Incidents::default(), port());
        note(&mut incidents, &failure(WEB, &it, at(0)));
        note(&mut incidents, &failure(NEXT, &it, Nanos(at(5).0 + nanos)));
        let it = note(&mut incidents, &failure(WEB, &it, Nanos(at(0).0 + nanos)));
        (it, incidents.running(), phases(&incidents.end(at(11))).into_iter().filter(|it| it.0 == 0).count())
    };
    assert_eq!(begins(10 * SECOND - 1), ((0, false), 2, 2));
    assert_eq!(begins(10 * SECOND), ((2, true), 2, 2));
    let (mut incidents, it) = (Incidents::default(), port());
    note(&mut incidents, &failure(WEB, &it, at(0)));
    note(&mut incidents, &failure(WEB, &it, at(60)));
    let ended = incidents.look(at(60));
    assert_eq!(ended.iter().find(|it| it.phase == Phase::Ended).map(|it| it.at), Some(at(60)));
}

/// The quiet is as long as it lasted, and no longer than ten minutes.
#[test]
fn an_incident_is_over_after_as_long_as_it_lasted() {
    let is_over = |lasted: u64, quiet: u64, stall| {
        let (mut incidents, it) = (Incidents::default(), port());
        let step = 9;
        for seconds in (0..lasted).step_by(step).chain([lasted]) {
            note(&mut incidents, &failure(WEB, &it, at(seconds)));
        }
        let last = Failure { stall, ended: None, ..failure(WEB, &it, at(lasted)) };
        if stall != Stall::None {
            note(&mut incidents, &last);
        }
        incidents.look(at(lasted + quiet)).iter().any(|it| it.phase == Phase::Ended)
    };
    assert!(!is_over(0, 9, Stall::None) && is_over(0, 10, Stall::None));
    assert!(!is_over(30, 29, Stall::None) && is_over(30, 30, Stall::None));
    assert!(!is_over(900, 599, Stall::None) && is_over(900, 600, Stall::None));
    // One that stalls may still end: it is waited for, but not forever.
    assert!(!is_over(0, 10, Stall::Begins) && !is_over(0, 599, Stall::Begins) && is_over(0, 600, Stall::Begins));
}

#[test]
fn clients_are_told_apart_up_to_a_number() {
    let clients = |of: u32| {
        let (mut incidents, it) = (Incidents::default(), port());
        for number in (0..of).chain([0]) {
            note(&mut incidents, &Failure { client: Some(Addr::v4(number)), ..failure(WEB, &it, at(0)) });
        }
        incidents.note(&Failure { client: None, ..failure(WEB, &it, at(0)) }, at(0)).0.clients
    };
    assert_eq!((clients(1), clients(2)), (1, 2));
    assert_eq!((clients(CLIENTS), clients(CLIENTS + 1)), (CLIENTS as usize, CLIENTS as usize));
}

#[test]
fn the_surest_verdict_stands_and_of_those_the_last() {
    let cause = |first, then| {
        let [first, then] = [(HostDown, first), (FirewallDrop, then)].map(|(it, sure)| verdict(it, sure, Extent::Port));
        let mut incidents = Incidents::default();
        note(&mut incidents, &failure(WEB, &first, at(0)));
        incidents.note(&failure(WEB, &then, at(1)), at(1)).0.verdict.cause
    };
    assert_eq!(cause(Likely, Possible), HostDown);
    assert_eq!(cause(Likely, Likely), FirewallDrop);
    assert_eq!(cause(Possible, Likely), FirewallDrop);
}

#[test]
fn each_failure_is_counted_by_how_it_ended() {
    let (mut incidents, it) = (Incidents::default(), port());
    let with = |stall, ended| Failure { stall, ended, ..failure(WEB, &it, at(0)) };
    let mut counted = |stall, ended| {
        let it = incidents.note(&with(stall, ended), at(0)).0;
        (it.stalls, it.waiting, it.recovered, it.not_sent, it.outcomes[Outcome::NoReply as usize])
    };
    let silence = Some(Ended::As(Outcome::NoReply));
    assert_eq!(counted(Stall::Begins, None), (1, 1, 0, 0, 0));
    assert_eq!(counted(Stall::Begins, None), (2, 2, 0, 0, 0));
    assert_eq!(counted(Stall::Ends, silence), (2, 1, 0, 0, 1));
    assert_eq!(counted(Stall::Ends, Some(Ended::Recovered)), (2, 0, 1, 0, 1));
    assert_eq!(counted(Stall::Ends, Some(Ended::Recovered)), (2, 0, 2, 0, 1), "it began before tracing did");
    assert_eq!(counted(Stall::Whole, silence), (3, 0, 2, 0, 2));
    assert_eq!(counted(Stall::Whole, silence), (4, 0, 2, 0, 3));
    assert_eq!(counted(Stall::None, Some(Ended::NotSent)), (4, 0, 2, 1, 3));
    assert_eq!(counted(Stall::None, Some(Ended::NotSent)), (4, 0, 2, 2, 3));
}

/// A rate is taken of ten seconds, in which a stall counts as it begins.
#[test]
fn a_rate_is_of_failures_as_they_begin() {
    let rate = |stall, seconds: u64| {
        let (mut incidents, it) = (Incidents::default(), port());
        for number in 0..20 {
            let it = Failure { stall, ..failure(WEB, &it, Nanos(NOW.0 + number * SECOND / 4)) };
            note(&mut incidents, &it);
        }
        incidents.look(at(seconds));
        incidents.note(&failure(WEB, &it, at(seconds)), at(seconds)).0.rate
    };
    assert_eq!((rate(Stall::None, 9), rate(Stall::None, 10)), (0.0, 2.0));
    assert_eq!((rate(Stall::Begins, 10), rate(Stall::Whole, 10), rate(Stall::Ends, 10)), (2.0, 2.0, 0.0));
    let late = rate(Stall::None, 12);
    assert!((late - 20.0 / 12.0).abs() < 1e-9, "{late}");
}

/// A rate that rises by a decade is news; that it falls again, or stays, is none.
#[test]
fn a_rate_is_news_by_the_decade() {
    let (mut incidents, it, mut now) = (Incidents::default(), port(), 0);
    let mut is_news = |failures: u64| {
        for number in 0..failures {
            note(&mut incidents, &failure(WEB, &it, Nanos(at(now).0 + number * 10 * SECOND / failures)));
        }
        now += 10;
        incidents.look(at(now)).iter().any(|it| it.phase == Phase::Update)
    };
    assert!(is_news(5), "it is brought to mind after ten seconds");
    assert!(!is_news(9), "less than one a second");
    assert!(is_news(10), "one a second");
    assert!(!is_news(99) && is_news(100), "ten");
    assert!(is_news(10), "it is brought to mind after a minute");
    assert!(!is_news(100), "it was ten before");
    assert!(is_news(1000), "a hundred");
}

#[test]
fn the_second_client_is_news_once() {
    let (mut incidents, it) = (Incidents::default(), port());
    let with = |client| Failure { client: Some(client), ..failure(WEB, &it, at(0)) };
    note(&mut incidents, &with(CLIENT));
    assert_eq!(phases(&incidents.look(at(1))), [(0, Phase::Begun)]);
    note(&mut incidents, &with(CLIENT));
    assert!(incidents.look(at(2)).is_empty());
    note(&mut incidents, &with(OTHER_CLIENT));
    let news = incidents.look(at(3));
    assert_eq!((phases(&news), news[0].clients), (vec![(0, Phase::Update)], 2));
    note(&mut incidents, &with(Addr::v4(9)));
    assert!(incidents.look(at(4)).is_empty() && incidents.look(at(5)).is_empty());
}

#[test]
fn a_cause_is_new_until_it_was_reported() {
    let mut incidents = Incidents::default();
    let (first, then) = (verdict(Unknown, Possible, Extent::Port), port());
    let other = |verdict, client| Failure { client: Some(client), ..failure(WEB, verdict, at(1)) };
    note(&mut incidents, &failure(WEB, &first, at(0)));
    assert!(!incidents.look(at(0))[0].is_cause_new);
    note(&mut incidents, &other(&then, OTHER_CLIENT));
    assert!(incidents.look(at(1))[0].is_cause_new);
    note(&mut incidents, &failure(WEB, &then, at(9)));
    let news = incidents.look(at(10));
    assert_eq!((news.len(), news[0].is_cause_new), (1, false));
}

/// After ten seconds, a minute, ten minutes, and every hour.
#[test]
fn what_goes_on_is_brought_to_mind() {
    let (mut incidents, it, mut told) = (Incidents::default(), port(), Vec::new());
    for seconds in (0..=2 * HOUR + 10).step_by(5) {
        note(&mut incidents, &failure(WEB, &it, at(seconds)));
        let news = incidents.look(at(seconds));
        told.extend(news.iter().filter(|it| it.phase == Phase::Update).map(|_| seconds));
    }
    assert_eq!(told, [10, 60, 600, HOUR, 2 * HOUR]);
}

/// Only what still fails, and has failed since.
#[test]
fn what_stopped_is_not_brought_to_mind() {
    let updates = |last: u64, looks: &[u64]| {
        let (mut incidents, it) = (Incidents::default(), port());
        for seconds in (0..last).step_by(5).chain([last]) {
            note(&mut incidents, &failure(WEB, &it, at(seconds)));
        }
        let news = looks.iter().flat_map(|seconds| incidents.look(at(*seconds))).collect::<Vec<_>>();
        news.iter().filter(|it| it.phase == Phase::Update).count()
    };
    assert_eq!(updates(51, &[60]), 1);
    assert_eq!(updates(50, &[60]), 0, "the last was ten seconds ago");
    assert_eq!(updates(51, &[10, 60]), 1, "by then each was counted");
    assert_eq!(updates(0, &[9]), 0);
}

/// Its beginning says what it took over.
#[test]
fn what_was_taken_over_is_no_news() {
    let host = verdict(HostDown, Likely, Extent::Host);
    let begins = |clients: &[Addr]| {
        let (mut incidents, it) = (Incidents::default(), port());
        for client in clients {
            note(&mut incidents, &Failure { client: Some(*client), ..failure(TLS, &it, at(0)) });
        }
        incidents.look(at(0));
        let wide = Failure { client: Some(clients[0]), last: at(5), ..failure(WEB, &host, at(1)) };
        incidents.note(&wide, at(1));
        (incidents, host.clone())
    };
    let (mut two, _) = begins(&[CLIENT, OTHER_CLIENT]);
    assert!(two.look(at(2)).iter().all(|it| it.phase != Phase::Update));
    let (mut one, host) = begins(&[CLIENT]);
    assert!(one.look(at(2)).iter().all(|it| it.phase != Phase::Update));
    note(&mut one, &Failure { client: Some(OTHER_CLIENT), ..failure(WEB, &host, at(2)) });
    assert_eq!(phases(&one.look(at(3))), [(1, Phase::Update)], "a second client");
    // Two failures, and both were reported: the one that was taken over, and the one that began it.
    let (mut again, _) = begins(&[CLIENT]);
    assert!(again.look(at(11)).iter().all(|it| it.phase != Phase::Update));
    let (mut third, host) = begins(&[CLIENT]);
    note(&mut third, &failure(WEB, &host, at(6)));
    assert!(third.look(at(11)).iter().any(|it| it.phase == Phase::Update));
}

#[test]
fn counts_of_the_narrower_are_the_widers() {
    let local = |server, verdict, ended, stall| Failure {
        symptom: Symptom::Local,
        stall,
        ended,
        ..failure(server, verdict, at(0))
    };
    let (it, host) = (port(), verdict(HostDown, Likely, Extent::Host));
    let network = verdict(HostDown, Likely, Extent::Network);
    let mut incidents = Incidents::default();
    for server in [WEB, TLS, NEXT] {
        for ended in [Some(Ended::NotSent), Some(Ended::Recovered), Some(Ended::As(Outcome::NoReply))] {
            note(&mut incidents, &local(server, &it, ended, Stall::None));
        }
        note(&mut incidents, &local(server, &it, None, Stall::Begins));
        note(&mut incidents, &local(server, &it, None, Stall::Begins));
        incidents.note_success(server, at(0));
    }
    incidents.look(at(0));
    let sums = |it: &Incident| {
        let silent = it.outcomes[Outcome::NoReply as usize];
        [it.not_sent, it.recovered, it.stalls, it.waiting, it.worked, silent, it.took_over]
    };
    let ended = Some(Ended::NotSent);
    let wide = incidents.note(&local(WEB, &host, ended, Stall::None), at(1)).0;
    assert_eq!((sums(wide), wide.place), ([3, 2, 4, 4, 2, 2, 2], Place::Host(WEB.addr)));
    let wider = incidents.note(&local(NEXT, &network, ended, Stall::None), at(2)).0;
    assert_eq!(sums(wider), [5, 3, 6, 6, 3, 3, 4], "the host's, its two ports', and the other host's port's");
    assert_eq!(wider.causes.counts(), [("firewall_drop", 9), ("host_down", 2)]);
}

/// A call that put no SYN on the wire.
#[test]
fn a_call_without_a_syn_is_a_failure_of_this_host() {
    let call = Unsent {
        called: NOW,
        client: None,
        server: WEB,
        process: Process::default(),
        errno: None,
        incident: None,
        verdict: port(),
    };
    let it = Failure::of_call(&call);
    assert_eq!((it.began, it.last, it.client, it.server), (NOW, NOW, None, WEB));
    assert_eq!((it.role, it.symptom), (Role::Client, Symptom::Local));
    assert_eq!((it.stall, it.ended), (Stall::None, Some(Ended::NotSent)));
}
