//! The clients of a port, asked directly: when each was answered, and how many of its attempts failed since.

use tcptrace_core::{
    handshake::{Facts, Handshake, Nanos, Offer, State},
    segment::Flags,
};
use tcptrace_verdict::past::{Answered, Past};
use tcptrace_vocabulary::outcome::Outcome;

use super::later;
use crate::common::{
    CLIENT, NOW, OTHER_CLIENT, PORT_80, SECOND, SERVER, answered, earlier, established, refused, silent, unreachable,
};

/// The times that are remembered one by one.
const TIMES: u64 = 8;

fn seen(of: &[Handshake], it: &Handshake) -> Answered {
    let mut past = Past::default();
    of.iter().chain([it]).for_each(|it| past.note(it, Outcome::of(it).expect("an attempt")));
    past.host(SERVER.addr).expect("a host").answered(it, Outcome::NoReply)
}

/// All of it at one moment of the clock.
fn at(it: Handshake, moment: u64) -> Handshake {
    let it = Handshake { first_syn: Nanos(moment), last_syn: Nanos(moment), ..it };
    if it.answer.tries == 0 {
        return it;
    }
    Handshake { first_answer: Nanos(moment), last_answer: Nanos(moment), ended: Nanos(moment), ..it }
}

#[test]
fn only_what_nothing_answered_has_failed() {
    let it = silent(CLIENT, SERVER);
    let failed = |others: &[Handshake]| seen(others, &it).own_failed_since;
    assert_eq!(failed(&[]), 1, "this one");
    assert_eq!(failed(&[it]), 1, "noted when it stalled, and again at its end");
    assert_eq!(failed(&[earlier(it, 30)]), 2);
    let opened = earlier(established(CLIENT, SERVER), 60);
    for other in [answered(SECOND / 50), refused(60, 0, Flags::RST | Flags::ACK), unreachable(3, 1)] {
        assert_eq!(failed(&[opened, earlier(other, 30)]), 1, "it was answered");
    }
    assert_eq!(failed(&[opened, earlier(it, 90)]), 1, "before it was answered");
    let last = opened.last_seen();
    assert_eq!(failed(&[opened, at(it, last.0)]), 1, "in the same nanosecond");
    assert_eq!(failed(&[opened, at(it, last.0 + 1)]), 2);
}

#[test]
fn an_answer_in_the_nanosecond_of_its_first_or_last_syn_is_of_that_time() {
    let it = Handshake { last_syn: Nanos(NOW.0 + SECOND), ..silent(CLIENT, SERVER) };
    let opened = |moment| {
        let it = seen(&[at(established(CLIENT, SERVER), moment)], &it);
        (it.own, it.own_before.is_some(), it.own_after.is_some())
    };
    assert_eq!(opened(NOW.0 - 1), (0, true, false));
    assert_eq!(opened(NOW.0), (1, false, false));
    assert_eq!(opened(NOW.0 + SECOND), (1, false, false));
    assert_eq!(opened(NOW.0 + SECOND + 1), (1, false, true));
}

/// Times that made room for others are spans, if no more than twenty seconds are between them.
#[test]
fn spans_are_of_answers_near_each_other() {
    let own = |first: [u64; 2], moment: u64| {
        let pushed = (0..TIMES).map(|number| 5000 + number);
        let of: Vec<_> =
            first.into_iter().chain(pushed).map(|it| at(established(CLIENT, SERVER), it * SECOND)).collect();
        let it = seen(&of, &at(silent(CLIENT, SERVER), moment * SECOND));
        (it.own, it.own_before)
    };
    assert_eq!(own([1000, 1020], 1010), (1, Some(Nanos(1000 * SECOND))));
    assert_eq!(own([1000, 1100], 1050), (0, Some(Nanos(1000 * SECOND))), "two spans, and a pause between them");
    assert_eq!(own([1100, 1000], 1050), (0, Some(Nanos(1000 * SECOND))), "in any order");
    // Five seconds after the clock began: what was never answered was not answered at zero.
    assert_eq!(own([15, 16], 5).1, None);
}

#[test]
fn a_port_has_opened_if_it_ever_did() {
    let opened = |of: &[Handshake]| {
        let mut past = Past::default();
        of.iter().for_each(|it| past.note(it, Outcome::of(it).expect("an attempt")));
        let host = past.host(SERVER.addr).expect("a host");
        (host.has_opened(SERVER.port), host.has_opened(PORT_80.port))
    };
    assert_eq!(opened(&[established(CLIENT, SERVER)]), (true, false));
    assert_eq!(opened(&[silent(CLIENT, SERVER), refused(60, 0, 0x14)]), (false, false));
    let first = Handshake { answer: Offer { ttl: 60, tries: 1, ..Offer::default() }, ..refused(60, 0, 0x14) };
    assert_eq!(opened(&[first]), (true, false), "a RST came before its own SYN/ACK");
}

#[test]
fn a_host_answered_since_a_moment() {
    let since = |it: Handshake, seconds: u64| {
        let mut past = Past::default();
        past.note(&it, Outcome::of(&it).expect("an attempt"));
        past.answered_since(SERVER.addr, Nanos(NOW.0 + seconds * SECOND))
    };
    let it = established(OTHER_CLIENT, SERVER);
    assert!(since(it, 0) && since(later(it, 600), 1) && !since(it, 1), "not before");
    assert!(!since(later(it, 601), 0), "nor long after");
    assert!(!since(silent(CLIENT, SERVER), 0));
    let crossed = Handshake { facts: Facts(Facts::RST_IGNORED), state: State::SynSent as u8, ..silent(CLIENT, SERVER) };
    assert!(since(crossed, 0), "a RST came");
}
