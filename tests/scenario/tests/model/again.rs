//! What goes beside the table of transitions: one packet seen twice, outcomes by state and facts, numbers of enums.

use std::fmt::Write;

use tcptrace_core::{
    handshake::{Facts, Handshake, Nanos, Side, State, Transition},
    segment::Flags,
};
use tcptrace_vocabulary::outcome::Outcome;

use crate::attempt::{ELSEWHERE, HERE, SECOND, attempt, effect, segment};

/// What counts as the same packet again, by time and place.
#[test]
fn again() {
    let mut table = String::new();
    for (name, side, state, flags, last) in [
        ("SYN", Side::Client, State::SynSent, Flags::SYN, 10 * SECOND),
        ("SYN", Side::Client, State::Established, Flags::SYN, 10 * SECOND),
        ("SYN/ACK", Side::Server, State::SynReceived, Flags::SYN | Flags::ACK, 11 * SECOND),
        ("SYN/ACK", Side::Server, State::Established, Flags::SYN | Flags::ACK, 11 * SECOND),
    ] {
        writeln!(table, "\n{name} in {state:?}").expect("a String takes it");
        for (after, nanos) in
            [("0", 0), ("999,999 ns", 999_999), ("1 ms", 1_000_000), ("199 ms", 199_999_999), ("200 ms", 200_000_000)]
        {
            let at = |point| effect(&attempt(state, 0), side, &segment(side, flags, 0, 0), Nanos(last + nanos), point);
            writeln!(table, "  {after:<12} here: {:<24} elsewhere: {}", at(HERE), at(ELSEWHERE))
                .expect("a String takes it");
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
        .set_description("The same packet again: at the point where it was counted, and at another point of the host.");
    settings.bind(|| insta::assert_snapshot!("again", table));
}

/// The outcome of a state, by the facts that came with it.
#[test]
fn outcomes() {
    let outcome = |state, facts| Outcome::of(&attempt(state, facts)).map(Outcome::name);
    assert_eq!(outcome(State::Free, 0), None);
    assert_eq!(outcome(State::SynSent, 0), Some("no_reply"));
    assert_eq!(outcome(State::SynSent, Facts::WRONG_ANSWER), Some("wrong_answer"));
    assert_eq!(outcome(State::SynSent, Facts::WRONG_ANSWER | Facts::CHALLENGED), Some("challenged"));
    assert_eq!(outcome(State::SynSent, Facts::UNREACHABLE | Facts::CHALLENGED), Some("unreachable"));
    // Once there is an answer, what stood in its way is history.
    for facts in [0, Facts::UNREACHABLE, Facts::CHALLENGED, Facts::WRONG_ANSWER, u32::MAX] {
        assert_eq!(outcome(State::SynReceived, facts), Some("half_open"));
        assert_eq!(outcome(State::Established, facts), Some("established"));
        assert_eq!(outcome(State::Refused, facts), Some("refused"));
        // A RST refused it first, and what the client resets then is an answer that came too late.
        let aborted = if facts & Facts::RECOVERING > 0 { "refused" } else { "aborted" };
        assert_eq!(outcome(State::Aborted, facts), Some(aborted));
        assert_eq!(outcome(State::ResetOnAnswer, facts), Some("reset_on_answer"));
        assert_eq!(outcome(State::Unsolicited, facts), Some("answer_only"));
    }
}

/// Numbers and enums agree, on both sides of the boundary.
#[test]
fn numbers_name_states_and_transitions() {
    for (number, state) in State::ALL.into_iter().enumerate() {
        assert_eq!(state as usize, number);
        assert_eq!(Handshake { state: number as u8, ..Handshake::default() }.state(), state);
    }
    for number in State::ALL.len() as u8..=255 {
        assert_eq!(Handshake { state: number, ..Handshake::default() }.state(), State::Free);
    }
    for (number, transition) in Transition::ALL.into_iter().enumerate() {
        assert_eq!(transition as usize, number);
    }
}
