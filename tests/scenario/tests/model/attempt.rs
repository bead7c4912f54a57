//! Attempts in any state, segments with numbers in any place, and what the one does to the other, in words.

use std::fmt::Write;

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, Offer, Point, Side, State, Transition},
    segment::{Flags, Kind, Options, Segment},
    seq::Seq,
};
use tcptrace_scenario::words;

pub(crate) const CLIENT: Endpoint = Endpoint { addr: Addr::v4(0xc633_6402), port: 40_000 };
pub(crate) const SERVER: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 443 };
pub(crate) const ISN: Seq = Seq(u32::MAX);
pub(crate) const SERVER_ISN: Seq = Seq(u32::MAX - 7);
pub(crate) const HERE: Point = Point::ingress(2);
pub(crate) const ELSEWHERE: Point = Point::egress(3);
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Where a number lies: well below the expected one, one below it, on it, one beyond it, beyond the first flight.
pub(crate) const PLACES: [(&str, u32); 5] =
    [("old", 5u32.wrapping_neg()), ("below", 1u32.wrapping_neg()), ("right", 0), ("next", 1), ("far", 2_000_000)];

/// Facts that later segments may find, none first.
pub(crate) fn prior(state: State) -> Vec<u32> {
    let mut prior = vec![0, Facts::CHALLENGED, Facts::WRONG_ANSWER, Facts::UNREACHABLE, Facts::SYN_DATA];
    prior.extend([Facts::CROSSED, Facts::ODD_SYN, Facts::RECOVERING, Facts::STRAY]);
    if state == State::SynSent {
        prior.push(Facts::CROSSED | Facts::CLIENT_ANSWERED);
    }
    if answered(state) {
        prior.push(Facts::TWO_ANSWERS);
    }
    if state == State::Established {
        prior.push(Facts::ANSWER_UNSEEN);
    }
    prior
}

pub(crate) fn answered(state: State) -> bool {
    matches!(state, State::SynReceived | State::Established | State::ResetOnAnswer | State::Unsolicited)
}

/// An attempt in a state, as segments would have left it.
pub(crate) fn attempt(state: State, facts: u32) -> Handshake {
    let offer = Offer { window: 64_240, mss: 1460, options: Options::MSS, window_scale: 0, ttl: 64, tries: 1 };
    let answered = answered(state) && facts & Facts::ANSWER_UNSEEN == 0;
    let over = !matches!(state, State::Free | State::SynSent | State::SynReceived | State::Unsolicited);
    Handshake {
        client_addr: CLIENT.addr,
        server_addr: SERVER.addr,
        client_port: CLIENT.port,
        server_port: SERVER.port,
        first_syn: Nanos(10 * SECOND),
        last_syn: Nanos(10 * SECOND),
        isn: ISN,
        client_point: HERE,
        facts: Facts(facts),
        syn: if state == State::Unsolicited { Offer::default() } else { offer },
        answer: if answered { offer } else { Offer::default() },
        server_isn: if answered || facts & Facts::CROSSED != 0 { SERVER_ISN } else { Seq(0) },
        server_point: if answered { HERE } else { Point::default() },
        first_answer: Nanos(if answered { 11 * SECOND } else { 0 }),
        last_answer: Nanos(if answered { 11 * SECOND } else { 0 }),
        answered_try: u8::from(answered),
        ended: Nanos(if over { 12 * SECOND } else { 0 }),
        state: state as u8,
        ..Handshake::default()
    }
}

/// A segment whose numbers lie `seq` and `ack` off what is expected of its side.
pub(crate) fn segment(side: Side, flags: u8, seq: u32, ack: u32) -> Segment {
    let flags = Flags(flags);
    let (src, dst, own, peer) = match side {
        Side::Client => (CLIENT, SERVER, ISN, SERVER_ISN),
        Side::Server => (SERVER, CLIENT, SERVER_ISN, ISN),
    };
    let own = own.add(u32::from(!matches!(flags.kind(), Kind::Syn | Kind::SynAck)));
    let options = Options { present: Options::MSS, mss: 1460, window_scale: 0 };
    let (seq, ack) = (own.add(seq), peer.add(1).add(ack));
    Segment { src, dst, flags, seq, ack, window: 502, ttl: 57, payload: 0, has_id: false, has_options: false, options }
}

/// What a segment does: the attempt after it, and the transition.
pub(crate) fn step(before: &Handshake, side: Side, it: &Segment, now: Nanos, at: Point) -> (Handshake, Transition) {
    let mut after = *before;
    let transition = after.step(side, it, now, at);
    (after, transition)
}

/// The same in words.
pub(crate) fn effect(before: &Handshake, side: Side, it: &Segment, now: Nanos, at: Point) -> String {
    let (after, transition) = step(before, side, it, now, at);
    let mut effect = words::transition(transition);
    if after.state != before.state {
        write!(effect, " → {}", words::snake(&format!("{:?}", after.state()))).expect("a String takes it");
    }
    for (sign, facts) in [('+', after.facts.0 & !before.facts.0), ('-', before.facts.0 & !after.facts.0)] {
        words::facts(facts).iter().for_each(|fact| write!(effect, " {sign}{fact}").expect("a String takes it"));
    }
    for (name, before, after) in [("syn", before.syn, after.syn), ("answer", before.answer, after.answer)] {
        if before.tries != after.tries {
            write!(effect, " {name} {}", after.tries).expect("a String takes it");
        }
    }
    effect
}
