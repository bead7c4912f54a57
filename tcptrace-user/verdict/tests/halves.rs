//! Which half of a translated attempt is reported, by how both ended. Pure.

mod common;

use common::{CLIENT, NOW, SERVER, silent};
use tcptrace_core::{flow::Addr, flow::Endpoint, handshake::Handshake, handshake::Nanos, segment::Options};
use tcptrace_verdict::past::Past;
use tcptrace_vocabulary::outcome::Outcome;

const BEHIND: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7109), port: SERVER.port };

fn half(server: Endpoint, after: u64) -> Handshake {
    let mut it = silent(CLIENT, server);
    it.first_syn = Nanos(NOW.0 + after);
    it.isn.0 = 4711;
    it.syn.options = Options::TIMESTAMPS;
    it
}

/// Whether the first and the second half stand back, where both ended so.
fn stand_back(first: Outcome, second: Outcome) -> (bool, bool) {
    let (one, other) = (half(SERVER, 0), half(BEHIND, 100_000));
    let mut past = Past::default();
    for (half, outcome) in [(&one, first), (&other, second)] {
        if outcome.is_open() { past.note_half(half, outcome) } else { past.note(half, outcome) }
    }
    assert_eq!(past.other_half(&one).map(|it| (it.server, it.is_before)), Some((BEHIND, false)));
    (past.is_half_of_another(&one, first), past.is_half_of_another(&other, second))
}

#[test]
fn two_that_ended_in_the_same_way_are_reported_once() {
    for outcome in
        [Outcome::NoReply, Outcome::Refused, Outcome::HalfOpen, Outcome::ResetByServer, Outcome::ResetByClient]
    {
        assert_eq!(stand_back(outcome, outcome), (false, true), "{outcome:?}");
    }
}

#[test]
fn the_half_that_came_to_something_stands_for_the_silent_one() {
    assert_eq!(stand_back(Outcome::NoReply, Outcome::Refused), (true, false));
    assert_eq!(stand_back(Outcome::NoReply, Outcome::Established), (true, false));
    assert_eq!(stand_back(Outcome::Refused, Outcome::NoReply), (false, true));
}

/// A RST that only one half saw is news: the other half is a connection that works.
#[test]
fn a_connection_that_one_half_saw_reset_is_reported() {
    assert_eq!(stand_back(Outcome::Established, Outcome::ResetByServer), (false, false));
    assert_eq!(stand_back(Outcome::ResetByServer, Outcome::Established), (false, false));
    assert_eq!(stand_back(Outcome::ResetByServer, Outcome::ResetByClient), (false, false));
}

#[test]
fn the_end_of_a_half_that_opened_may_still_come() {
    let (one, other) = (half(SERVER, 0), half(BEHIND, 100_000));
    let mut past = Past::default();
    assert!(past.lacks_other_half(&other), "it was not seen");
    past.note(&one, Outcome::Established);
    assert!(past.lacks_other_half(&other));
    past.note_half(&one, Outcome::ResetByServer);
    assert!(!past.lacks_other_half(&other));
}
