//! The tracker: which attempts are told, when, and how often. Events and table are made by hand here; the lab makes
//! them for real.

use tcptrace::track::{InTable, Losses, Tracker};
use tcptrace_core::{
    event::Event,
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, Point, State, Transition},
    segment::{Flags, Options, Segment},
    seq::Seq,
};
use tcptrace_vocabulary::{
    attempt::{Attempt, StalledBy},
    outcome::Outcome,
    report::Report,
};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_000 * SECOND;
const STALL_AFTER: u64 = 3 * SECOND;

fn at(seconds: f64) -> Nanos {
    Nanos(START + (seconds * 1e9) as u64)
}

fn tracker() -> Tracker {
    Tracker::new(at(0.0), STALL_AFTER, false)
}

/// An attempt from this port whose SYN was sent at `syns`, the answers at `answers`.
fn attempt(port: u16, state: State, syns: &[f64], answers: &[f64]) -> Handshake {
    let syn = Segment {
        src: Endpoint { addr: Addr::v4(0xc633_6402), port },
        dst: Endpoint { addr: Addr::v4(0xcb00_7102), port: 80 },
        flags: Flags(Flags::SYN),
        seq: Seq(u32::MAX),
        ack: Seq(0),
        window: 64_240,
        ttl: 64,
        payload: 0,
        has_id: false,
        has_options: true,
        options: Options::default(),
    };
    let mut it = Handshake::open(&syn, at(syns[0]), Point::egress(2));
    it.state = state as u8;
    it.syn.tries = syns.len() as u8;
    it.last_syn = at(syns[syns.len() - 1]);
    it.answer.tries = answers.len() as u8;
    if let (Some(first), Some(last)) = (answers.first(), answers.last()) {
        it.first_answer = at(*first);
        it.last_answer = at(*last);
    }
    it
}

fn event(handshake: Handshake, seconds: f64) -> Event {
    Event { handshake, time: at(seconds), from: Addr::v4(0xc633_6401), ..Event::default() }
}

fn stall(report: Option<Report>) -> Attempt {
    match report {
        Some(Report::Stall(it)) => it,
        other => panic!("a stall was expected, not {other:?}"),
    }
}

fn end(report: Option<Report>) -> Attempt {
    match report {
        Some(Report::Attempt(it)) => it,
        other => panic!("an end was expected, not {other:?}"),
    }
}

/// What a sweep tells when the table holds just this.
fn sweep(tracker: &mut Tracker, seconds: f64, it: Handshake) -> Option<Report> {
    let now = at(seconds);
    let looked = if it.state().is_pending() { tracker.look(&it, now).0 } else { None };
    let found = |asked: &Handshake| if asked.isn == it.isn { InTable::Here(it) } else { InTable::Gone };
    let mut reports: Vec<_> = looked.into_iter().chain(tracker.sweep(now, found)).collect();
    assert!(reports.len() <= 1, "{reports:?}");
    reports.pop()
}

#[test]
fn no_reply_stalls_at_the_third_syn_and_ends_once() {
    let mut tracker = tracker();
    let it = attempt(1, State::SynSent, &[0.0, 1.0, 3.0], &[]);
    let stalled = stall(tracker.event(Transition::SynRetried, &event(it, 3.0)));
    assert_eq!((stalled.outcome, stalled.stalled.map(|it| it.by)), (Outcome::NoReply, Some(StalledBy::ThirdSyn)));
    assert!(stalled.trust.still_open);
    // The next SYN may come four seconds later on classic Linux: silence until then is no end.
    assert_eq!(sweep(&mut tracker, 13.9, it), None);
    let ended = end(sweep(&mut tracker, 14.0, it));
    assert_eq!((ended.outcome, ended.handshake.syn.tries, ended.recovered), (Outcome::NoReply, 3, false));
    assert_eq!(sweep(&mut tracker, 14.3, it), None, "told once");
    assert_eq!(sweep(&mut tracker, 1000.0, it), None, "however long it stays in the table");
    assert_eq!(tracker.finish(|_| InTable::Here(it)), []);
}

#[test]
fn no_reply_that_tries_again_after_its_end_is_told_again() {
    let mut tracker = tracker();
    let once = attempt(1, State::SynSent, &[0.0], &[]);
    stall(sweep(&mut tracker, 3.0, once));
    // Stacks that wait three seconds for their second try have made it by then.
    assert_eq!(sweep(&mut tracker, 4.9, once), None);
    end(sweep(&mut tracker, 5.0, once));
    let again = attempt(1, State::SynSent, &[0.0, 67.0], &[]);
    assert_eq!(sweep(&mut tracker, 67.1, again), None);
    let ended = end(sweep(&mut tracker, 67.0 + 2.0 * 67.0 + 5.1, again));
    assert_eq!((ended.id(), ended.handshake.syn.tries), (end_id(), 2));
}

fn end_id() -> u64 {
    tcptrace_vocabulary::attempt::id(&attempt(1, State::SynSent, &[0.0], &[]))
}

#[test]
fn silence_after_two_syns_is_a_stall() {
    let mut tracker = tracker();
    let it = attempt(1, State::SynSent, &[0.0, 1.0], &[]);
    assert_eq!(sweep(&mut tracker, 3.9, it), None);
    let stalled = stall(sweep(&mut tracker, 4.0, it));
    assert_eq!(stalled.stalled.map(|it| it.by), Some(StalledBy::Silence));
}

#[test]
fn half_open_stalls_at_the_third_syn_ack() {
    let mut tracker = tracker();
    let it = attempt(1, State::SynReceived, &[0.0], &[0.001, 1.0, 3.0]);
    let stalled = stall(tracker.event(Transition::AnswerRetried, &event(it, 3.0)));
    assert_eq!((stalled.outcome, stalled.stalled.map(|it| it.by)), (Outcome::HalfOpen, Some(StalledBy::ThirdSynAck)));
    let ended = tracker.finish(|_| InTable::Here(it)).pop();
    let ended = end(ended);
    assert!(ended.trust.still_open, "tracing ended before it did");
}

#[test]
fn established_after_a_stall_recovers_and_is_forgotten() {
    let mut tracker = tracker();
    stall(tracker.event(Transition::SynRetried, &event(attempt(1, State::SynSent, &[0.0, 1.0, 2.0], &[]), 2.0)));
    let mut it = attempt(1, State::Established, &[0.0, 1.0, 2.0], &[2.001]);
    it.ended = at(2.002);
    let ended = end(tracker.event(Transition::Completed, &event(it, 2.002)));
    assert!(ended.recovered && ended.stalled.is_some());
    assert_eq!(sweep(&mut tracker, 60.0, it), None);
}

#[test]
fn established_at_once_is_not_recovered() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::Established, &[0.0], &[0.001]);
    it.ended = at(0.002);
    assert!(!end(tracker.event(Transition::Completed, &event(it, 0.002))).recovered);
}

#[test]
fn established_whose_server_does_not_see_it_stalls_without_recovering() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::Established, &[0.0], &[0.001, 1.0, 3.0]);
    it.ended = at(0.002);
    let stalled = stall(tracker.event(Transition::AnswerRetried, &event(it, 3.0)));
    assert_eq!(stalled.outcome, Outcome::Established);
    assert_eq!(sweep(&mut tracker, 4.0, it), None);
    let ended = end(sweep(&mut tracker, 14.0, it));
    assert_eq!((ended.outcome, ended.recovered), (Outcome::Established, false));
    assert_eq!(sweep(&mut tracker, 15.0, it), None);
}

#[test]
fn refused_is_told_once_however_often_it_is_tried() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::Refused, &[0.0], &[]);
    it.ended = at(0.001);
    assert_eq!(end(tracker.event(Transition::Refused, &event(it, 0.001))).outcome, Outcome::Refused);
    it.syn.tries = 3;
    assert_eq!(sweep(&mut tracker, 60.0, it), None);
}

#[test]
fn unreachable_names_who_said_so_and_may_recover() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::SynSent, &[0.0], &[]);
    it.facts = Facts(Facts::UNREACHABLE);
    let ended = end(tracker.event(Transition::Unreachable, &event(it, 0.001)));
    assert_eq!((ended.outcome, ended.icmp_from), (Outcome::Unreachable, Some(Addr::v4(0xc633_6401))));
    it.state = State::Established as u8;
    it.ended = at(1.0);
    assert!(end(tracker.event(Transition::Completed, &event(it, 1.0))).recovered);
}

#[test]
fn challenged_is_told_when_it_falls_silent() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::SynSent, &[0.0], &[]);
    it.facts = Facts(Facts::CHALLENGED);
    assert_eq!(tracker.event(Transition::Challenged, &event(it, 0.001)), None);
    assert_eq!(end(sweep(&mut tracker, 5.5, it)).outcome, Outcome::Challenged);
}

#[test]
fn superseded_is_told_unless_it_was() {
    let mut tracker = tracker();
    let it = attempt(1, State::SynSent, &[0.0], &[]);
    assert_eq!(end(tracker.event(Transition::Superseded, &event(it, 1.0))).outcome, Outcome::NoReply);
    let told = attempt(2, State::SynSent, &[0.0], &[]);
    end(sweep(&mut tracker, 5.0, told));
    assert_eq!(tracker.event(Transition::Superseded, &event(told, 6.0)), None);
}

#[test]
fn unreachable_that_goes_on_trying_is_told_once() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::SynSent, &[0.0], &[]);
    it.facts = Facts(Facts::UNREACHABLE);
    end(tracker.event(Transition::Unreachable, &event(it, 0.001)));
    it.syn.tries = 2;
    it.last_syn = at(1.0);
    assert_eq!(sweep(&mut tracker, 60.0, it), None);
}

#[test]
fn refused_after_its_silence_was_told_is_told_anew() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::SynSent, &[0.0], &[]);
    assert_eq!(end(sweep(&mut tracker, 5.0, it)).outcome, Outcome::NoReply);
    it.state = State::Refused as u8;
    it.ended = at(6.0);
    assert_eq!(end(tracker.event(Transition::Refused, &event(it, 6.0))).outcome, Outcome::Refused);
}

#[test]
fn settled_in_the_table_without_an_event_is_told() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::SynSent, &[0.0, 1.0, 2.0], &[]);
    stall(tracker.event(Transition::SynRetried, &event(it, 2.0)));
    it.state = State::Refused as u8;
    it.ended = at(2.5);
    // Its event may be under way.
    assert_eq!(sweep(&mut tracker, 2.6, it), None);
    assert_eq!(end(sweep(&mut tracker, 3.5, it)).outcome, Outcome::Refused);
}

/// The sweep and the event that was under way tell one end, whichever comes first.
#[test]
fn refused_between_two_sweeps_is_told_once() {
    let mut tracker = tracker();
    let mut it = attempt(1, State::SynSent, &[0.0, 1.0, 2.0], &[]);
    stall(tracker.event(Transition::SynRetried, &event(it, 2.0)));
    it.state = State::Refused as u8;
    it.ended = at(2.5);
    assert_eq!(sweep(&mut tracker, 2.501, it), None);
    assert_eq!(end(tracker.event(Transition::Refused, &event(it, 2.5))).outcome, Outcome::Refused);
    assert_eq!(sweep(&mut tracker, 10.0, it), None);
}

#[test]
fn replaced_in_the_table_is_told_as_it_was() {
    let mut tracker = tracker();
    let it = attempt(1, State::SynSent, &[0.0, 1.0, 2.0], &[]);
    stall(tracker.event(Transition::SynRetried, &event(it, 2.0)));
    assert_eq!(tracker.sweep(at(2.1), |_| InTable::Busy), []);
    assert_eq!(tracker.sweep(at(2.2), |_| InTable::Gone), [], "an event may say what became of it");
    assert_eq!(tracker.sweep(at(2.3), |_| InTable::Here(it)), [], "it was not gone");
    assert_eq!(tracker.sweep(at(2.4), |_| InTable::Gone), []);
    let reports = tracker.sweep(at(3.4), |_| InTable::Gone);
    assert!(matches!(&reports[..], [Report::Attempt(ended)] if ended.outcome == Outcome::NoReply), "{reports:?}");
}

#[test]
fn losses_count_from_the_attempts_begin() {
    let mut tracker = tracker();
    tracker.note_losses(at(1.0), Losses { events: 5, attempts: 1 });
    let before = attempt(1, State::SynSent, &[0.5, 1.5, 2.5], &[]);
    let after = attempt(2, State::SynSent, &[1.5, 2.5, 3.5], &[]);
    let trust = |report| stall(report).trust;
    let first = trust(tracker.event(Transition::SynRetried, &event(before, 2.5)));
    assert_eq!((first.events_lost, first.attempts_lost), (5, 1));
    let second = trust(tracker.event(Transition::SynRetried, &event(after, 3.5)));
    assert_eq!((second.events_lost, second.attempts_lost), (0, 0));
}

#[test]
fn an_attempt_soon_after_the_start_may_be_an_older_one() {
    let mut tracker = tracker();
    let early = attempt(1, State::SynSent, &[1.0, 2.0, 3.0], &[]);
    let late = attempt(2, State::SynSent, &[65.0, 66.0, 67.0], &[]);
    assert!(stall(tracker.event(Transition::SynRetried, &event(early, 3.0))).trust.may_have_begun_earlier);
    assert!(!stall(tracker.event(Transition::SynRetried, &event(late, 67.0))).trust.may_have_begun_earlier);
}

/// More at once than can be kept in mind: all are told, and nothing of them is kept when they have given up.
#[test]
fn memory_is_bounded_and_what_does_not_fit_is_counted() {
    let mut tracker = tracker();
    let pending: Vec<_> = (0..70_000u32)
        .map(|n| Handshake { server_addr: Addr::v4(n), ..attempt(n as u16, State::SynSent, &[0.0], &[]) })
        .collect();
    let mut sweep = |seconds: f64| {
        let now = at(seconds);
        let looked = pending.iter().filter_map(|it| tracker.look(it, now).0).count();
        let swept = tracker.sweep(now, |asked| InTable::Here(*asked)).len();
        (looked + swept, tracker.untracked)
    };
    assert_eq!(sweep(3.0), (70_000, 70_000 - 65_536), "stalled");
    assert_eq!(sweep(5.0), (70_000, 70_000 - 65_536), "given up");
    assert_eq!(sweep(5.25), (0, 70_000 - 65_536));
    // There is room again.
    let late = attempt(1, State::SynSent, &[6.0, 7.0, 8.0], &[]);
    stall(tracker.event(Transition::SynRetried, &event(late, 8.0)));
    assert_eq!(tracker.untracked, 70_000 - 65_536);
}
