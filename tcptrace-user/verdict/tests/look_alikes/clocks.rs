//! The clocks behind an address, asked directly: how far a timestamp may be behind, and for how long it counts.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos},
};
use tcptrace_verdict::past::Past;
use tcptrace_vocabulary::{
    attempt::Noted,
    cause::{Cause::Unknown, Confidence::Possible},
    outcome::Outcome,
};

use super::short;
use crate::common::{Around, CLIENT, NOW, SECOND, SERVER, earlier, established, silent, verdict};

/// [`Past`] keeps so many pairs of addresses, and answered SYNs of each.
const PAIRS: u32 = 1 << 12;
const SYNS: u64 = 8;
/// The last timestamp that was answered, five seconds before.
const AHEAD: u32 = 1_005_000;

fn noted(first: u32, last: u32) -> Noted {
    Noted { clock: Some((first, last)), ..Noted::default() }
}

/// A SYN with a timestamp that was answered so many seconds before.
fn answered(seconds: u64, stamp: u32) -> (Handshake, Noted) {
    (earlier(established(CLIENT, SERVER), seconds), noted(stamp, stamp))
}

fn past(of: &[(Handshake, Noted)]) -> Past {
    let mut past = Past::default();
    of.iter().for_each(|(it, noted)| past.note_bytes(it, Outcome::Established, noted));
    past
}

/// One clock, five seconds of which are five thousand ticks.
fn one_clock() -> [(Handshake, Noted); 2] {
    [answered(10, 1_000_000), answered(5, AHEAD)]
}

fn ahead(of: &[(Handshake, Noted)], first: u32, last: u32) -> Option<(Nanos, u32)> {
    past(of).clock_ahead(&silent(CLIENT, SERVER), &noted(first, last))
}

const fn before(seconds: u64) -> Nanos {
    Nanos(NOW.0 - seconds * SECOND)
}

#[test]
fn a_clock_is_ahead_by_three_ticks_and_less_than_half_of_all() {
    let is_ahead = |stamp: u32| ahead(&one_clock(), stamp, stamp);
    let half = 1 << 31;
    assert_eq!(is_ahead(500), Some((before(5), AHEAD)));
    assert_eq!(is_ahead(AHEAD - 3), Some((before(5), AHEAD)));
    assert_eq!(is_ahead(AHEAD - 2), None, "packets change places");
    assert_eq!(is_ahead(AHEAD), None);
    assert_eq!(is_ahead(AHEAD + 5000), None, "it goes on");
    assert_eq!(is_ahead(AHEAD.wrapping_sub(half - 1)), Some((before(5), AHEAD)));
    assert_eq!(is_ahead(AHEAD.wrapping_sub(half)), None, "behind or ahead, nobody knows");
    assert_eq!(ahead(&one_clock(), 500, AHEAD + 1), None, "the last SYN is not behind");
    assert_eq!(ahead(&one_clock(), AHEAD + 1, 500), None, "nor is the first");
}

#[test]
fn one_clock_shows_in_two_syns() {
    assert_eq!(ahead(&one_clock()[1..], 500, 500), None);
    assert_eq!(ahead(&[], 500, 500), None);
    let reversed = [answered(5, AHEAD), answered(10, 1_000_000)];
    assert_eq!(ahead(&reversed, 500, 500), Some((before(5), AHEAD)), "whichever was noted first");
    // Two thousand ticks a second, and a second more.
    let most = 5 * 2000 + 1000;
    let apart = |ticks: u32| ahead(&[answered(10, 1_000_000), answered(5, 1_000_000 + ticks)], 500, 500).is_some();
    assert!(apart(most) && !apart(most + 1));
    let back = [answered(10, AHEAD), answered(5, 1_000_000)];
    assert_eq!(ahead(&back, 500, 500), None, "it went back before");
}

#[test]
fn a_server_remembers_a_clock_for_a_minute() {
    let at = |nanos: u64| {
        let mut of = one_clock();
        for (it, _) in &mut of {
            let moment = Nanos(it.first_syn.0 - 55 * SECOND - nanos);
            (it.first_syn, it.last_syn) = (moment, moment);
        }
        ahead(&of, 500, 500).is_some()
    };
    assert!(at(0) && !at(1));
}

#[test]
fn a_syn_of_the_same_nanosecond_is_not_before_it() {
    let now = answered(0, AHEAD + 5000);
    let all = [&one_clock()[..], &[now]].concat();
    assert_eq!(ahead(&all, 500, 500), Some((before(5), AHEAD)));
}

#[test]
fn the_last_eight_syns_are_kept() {
    let with = |good: u64| {
        let odd = answered(100, 700_000_000);
        let all = (0..good).map(|number| answered(20 - number, 1_000_000 + 1000 * number as u32));
        ahead(&[odd].into_iter().chain(all).collect::<Vec<_>>(), 500, 500).is_some()
    };
    assert!(!with(SYNS - 2) && !with(SYNS - 1), "another clock's SYN is among them");
    assert!(with(SYNS), "it was forgotten");
}

#[test]
fn too_many_pairs_are_forgotten_together() {
    let pair = |number: u32| {
        let server = Endpoint { addr: Addr::v4(number), ..SERVER };
        (earlier(established(CLIENT, server), 5), noted(AHEAD, AHEAD))
    };
    let others: Vec<_> = (1..PAIRS).map(pair).collect();
    let full = [&one_clock()[..], &others].concat();
    let is_known = |all: &[(Handshake, Noted)]| ahead(all, 500, 500).is_some();
    assert!(is_known(&[&one_clock()[..], &others[..2]].concat()));
    assert!(is_known(&full));
    assert!(is_known(&[&full[..], &[answered(4, AHEAD + 1000)]].concat()), "it is one of them");
    assert!(!is_known(&[&full[..], &[pair(PAIRS)]].concat()));
}

/// A server that takes two clocks for one ignores the slower: that stands with what nobody can explain.
#[test]
fn a_slower_clock_is_said_of_silence() {
    let it = silent(CLIENT, SERVER);
    let words = |it: Handshake, stamp| {
        let around = Around { noted: noted(stamp, stamp), bytes: one_clock().to_vec(), ..Around::default() };
        let said = verdict(it, &around);
        assert_eq!(short(&said), (Unknown, Possible), "{said:#?}");
        said.evidence.join("; ")
    };
    let slower = words(it, 500);
    assert!(
        slower.contains("its timestamp 500 is behind 1005000 of 198.51.100.2's SYN 5.0 s before, which was answered"),
        "{slower}"
    );
    assert!(!words(it, AHEAD + 5000).contains("timestamp"));
    let gone = Handshake { state: tcptrace_core::handshake::State::Aborted as u8, ..it };
    assert!(!words(gone, 500).contains("timestamp"), "the client gave up by itself");
}
