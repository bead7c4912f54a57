//! What holds for any packets in any order: invariants of the machine, as random tests.

use proptest::{collection::vec, prelude::*, sample};
use tcptrace_core::{
    event::{Counter, Telling},
    flow::{Addr, Endpoint, HashKey, handshake_id, hash},
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, Side, State, Transition},
    segment::{self, Flags, Found, Icmp, IcmpError, Link, Options, Segment},
    seq::Seq,
};
use tcptrace_scenario::{self as scenario, model::Model};
use tcptrace_vocabulary::outcome::Outcome;

const CLIENT: Endpoint = Endpoint { addr: Addr::v4(0xc633_6402), port: 40_000 };
const SERVER: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 443 };
const ISN: Seq = Seq(u32::MAX);
const SERVER_ISN: Seq = Seq(u32::MAX - 1);

/// Something that comes by after the first SYN.
#[derive(Clone, Debug)]
struct Shot {
    side: Side,
    flags: u8,
    /// Off the side's initial numbers.
    seq: u32,
    ack: u32,
    payload: u16,
    options: u8,
    /// An ICMP error about such a segment rather than the segment.
    icmp: bool,
    /// Nanoseconds since the one before.
    after: u64,
    point: Point,
}

fn shot() -> impl Strategy<Value = Shot> {
    let number = || prop_oneof![4 => Just(0u32), 4 => Just(1), 1 => Just(5000), 1 => any::<u32>()];
    let flags = prop_oneof![
        8 => sample::select(vec![Flags::SYN, Flags::SYN | Flags::ACK, Flags::ACK, Flags::RST, Flags::RST | Flags::ACK]),
        1 => any::<u8>(),
    ];
    let after = prop_oneof![Just(0u64), 0..2_000_000u64, 0..400_000_000u64, 0..70_000_000_000u64];
    let who = (prop_oneof![Just(Side::Client), Just(Side::Server)], flags, prop::bool::weighted(0.1));
    let rest = (prop_oneof![Just(0u16), any::<u16>()], any::<u8>(), after, 4..8u32);
    (who, number(), number(), rest).prop_map(|((side, flags, icmp), seq, ack, (payload, options, after, point))| Shot {
        side,
        flags,
        seq,
        ack,
        payload,
        options,
        icmp,
        after,
        point: Point(point),
    })
}

impl Shot {
    fn segment(&self) -> Segment {
        let (src, dst, own, peer) = match self.side {
            Side::Client => (CLIENT, SERVER, ISN, SERVER_ISN),
            Side::Server => (SERVER, CLIENT, SERVER_ISN, ISN),
        };
        Segment {
            src,
            dst,
            flags: Flags(self.flags),
            seq: own.add(self.seq),
            ack: peer.add(self.ack),
            window: 1000,
            ttl: 64,
            payload: self.payload,
            has_id: self.payload & 1 != 0,
            has_options: self.options & 1 != 0,
            options: Options { present: self.options, mss: 1460, window_scale: 7 },
        }
    }

    fn apply(&self, to: &mut Handshake, now: Nanos) -> Transition {
        let segment = self.segment();
        if self.icmp {
            let (src, dst, seq) = (segment.src, segment.dst, segment.seq);
            let icmp = Icmp { v6: false, kind: 3, code: 1 };
            return to.icmp(self.side, &IcmpError { from: SERVER.addr, icmp, src, dst, seq }, now);
        }
        to.step(self.side, &segment, now, self.point)
    }
}

fn opened(now: Nanos) -> Handshake {
    let syn = Shot {
        side: Side::Client,
        flags: Flags::SYN,
        seq: 0,
        ack: 0,
        payload: 0,
        options: Options::MSS,
        icmp: false,
        after: 0,
        point: Point(4),
    };
    Handshake::open(&syn.segment(), now, syn.point)
}

fn id(it: &Handshake) -> u64 {
    handshake_id(it.client(), it.server(), it.isn.0)
}

/// What one more segment may do to an attempt.
fn lawful(before: &Handshake, after: &Handshake, did: Transition, now: Nanos) -> Result<(), TestCaseError> {
    prop_assert!(State::ALL.iter().any(|it| *it as u8 == after.state));
    // What was no attempt leaves its slot free.
    prop_assert_eq!(Outcome::of(after).is_none(), after.state() == State::Free);
    if after.state() == State::Free {
        prop_assert_eq!((before.state(), did), (State::Unsolicited, Transition::Noted));
        return Ok(());
    }
    if did == Transition::Opened {
        // Its answer came first.
        prop_assert_eq!((before.state(), after.state()), (State::Unsolicited, State::SynReceived));
        return Ok(());
    }
    prop_assert_eq!(id(before), id(after));
    prop_assert_eq!(
        (before.client(), before.server(), before.first_syn),
        (after.client(), after.server(), after.first_syn)
    );
    prop_assert!(after.syn.tries >= before.syn.tries && after.answer.tries >= before.answer.tries, "tries fell");
    prop_assert_eq!(before.facts.0 & !after.facts.0, 0, "a fact was lost");
    prop_assert!(
        after.last_seen() <= now && after.first_syn <= after.last_syn && after.first_answer <= after.last_answer
    );
    prop_assert!(after.answer.tries > 0 || after.first_answer == Nanos(0));
    prop_assert!(after.state() != State::SynReceived || after.answer.tries > 0);
    if let Some(nanos) = after.syn_to_answer() {
        prop_assert!(nanos <= now.since(after.first_syn));
    }

    let moves = match did {
        // The first SYN/ACK may come after an ACK that completed without it.
        Transition::Answered if before.state() != State::Established => Some(State::SynReceived),
        Transition::Completed => Some(State::Established),
        Transition::Refused => Some(State::Refused),
        Transition::Aborted => Some(State::Aborted),
        Transition::ResetOnAnswer => Some(State::ResetOnAnswer),
        _ => None,
    };
    prop_assert_eq!(after.state(), moves.unwrap_or(before.state()), "{:?} led elsewhere", did);
    if moves.is_some() && !before.state().is_pending() {
        // The one way back: an answer to one whose SYN had been refused.
        prop_assert_eq!((before.state(), did), (State::Refused, Transition::Answered));
        prop_assert!(after.facts.any(Facts::RECOVERING) && after.end == End::default());
    }
    match did {
        Transition::SynRetried => prop_assert!(after.syn.tries == before.syn.tries.saturating_add(1)),
        Transition::SeenAgain | Transition::Superseded => prop_assert_eq!(before, after),
        _ => prop_assert_eq!(before.syn, after.syn),
    }
    Ok(())
}

/// Any attempt that memory could hold.
fn anything() -> impl Strategy<Value = Handshake> {
    let times = any::<[u64; 5]>();
    let numbers = (any::<[u32; 2]>(), any::<[u32; 2]>(), any::<u32>(), any::<[u8; 8]>());
    (times, numbers).prop_map(|(times, ([isn, server_isn], [here, there], facts, octets))| {
        let [first_syn, last_syn, first_answer, last_answer, ended] = times.map(Nanos);
        let [options, tries, answers, answered_try, state, icmp_kind, icmp_code, ttl] = octets;
        let offer = |tries| Offer { options, tries, ttl, ..Offer::default() };
        Handshake {
            client_addr: CLIENT.addr,
            server_addr: SERVER.addr,
            client_port: CLIENT.port,
            server_port: SERVER.port,
            first_syn,
            last_syn,
            first_answer,
            last_answer,
            ended,
            isn: Seq(isn),
            server_isn: Seq(server_isn),
            client_point: Point(here),
            server_point: Point(there),
            facts: Facts(facts),
            syn: offer(tries),
            answer: offer(answers),
            state,
            icmp_kind,
            icmp_code,
            answered_try,
            ..Handshake::default()
        }
    })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    any::<(u64, u64, u16)>().prop_map(|(hi, lo, port)| Endpoint { addr: Addr { hi, lo }, port })
}

fn config() -> ProptestConfig {
    // A failure worth keeping becomes a scenario.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_sequence_is_lawful(shots in vec(shot(), 1..40)) {
        let mut now = Nanos(1 << 40);
        let mut attempt = opened(now);
        for shot in &shots {
            now.0 += shot.after;
            let before = attempt;
            let did = shot.apply(&mut attempt, now);
            lawful(&before, &attempt, did, now)?;
        }
    }

    /// Even from memory that no sequence of segments leaves behind, and with a clock that runs backwards.
    #[test]
    fn step_is_total(start in anything(), shots in vec((shot(), any::<u64>()), 1..8)) {
        let mut attempt = start;
        for (shot, now) in &shots {
            shot.apply(&mut attempt, Nanos(*now));
            let _ = (attempt.syn_to_answer(), attempt.answer_to_ack(), attempt.unreachable(), attempt.last_seen());
            let _ = (Outcome::of(&attempt), id(&attempt));
            let telling = Telling { all: false, stall_after: *now };
            Transition::ALL.iter().for_each(|&it| { let _ = telling.tells(it, &attempt); });
        }
    }

    /// A packet that passes two points of this host within 200 ms (of the sight that was counted, which may be a
    /// mirror's, 1 ms before) does what it does once. (A FIN that completes is excepted: the machine takes its second
    /// sight for the first FIN.)
    #[test]
    fn a_second_sight_within_200_ms_counts_for_nothing(
        shots in vec((shot(), 0..199_000_000u64), 1..20),
    ) {
        let mut now = Nanos(1 << 40);
        let (mut once, mut twice) = (opened(now), opened(now));
        for (shot, later) in shots {
            let first = Shot { point: Point(4), ..shot };
            let second = Shot { point: Point(7), ..first.clone() };
            now.0 += first.after;
            let did = first.apply(&mut once, now);
            prop_assert_eq!(first.apply(&mut twice, now), did);
            if did == Transition::Superseded {
                // The caller opens another attempt; this one is over.
                break;
            }
            now.0 += later;
            let before = twice;
            let again = second.apply(&mut twice, now);
            prop_assert!(matches!(again, Transition::SeenAgain | Transition::Noted), "{:?} again is {:?}", did, again);
            prop_assert_eq!(Handshake { facts: before.facts, ..twice }, before);
            if first.flags & Flags::FIN == 0 {
                prop_assert_eq!(twice, once);
            }
            twice = once;
        }
    }

    /// Stalls are told once, however long the client goes on.
    #[test]
    fn a_stall_is_told_once(shots in vec(shot(), 1..60)) {
        let telling = Telling { all: false, stall_after: u64::MAX };
        let mut now = Nanos(1 << 40);
        let mut attempt = opened(now);
        let mut told = [0; Transition::ALL.len()];
        for shot in &shots {
            now.0 += shot.after;
            let did = shot.apply(&mut attempt, now);
            told[did as usize] += u32::from(telling.tells(did, &attempt));
        }
        let at_most_once = [Transition::SynRetried, Transition::AnswerRetried, Transition::Unreachable, Transition::Challenged];
        prop_assert!(at_most_once.iter().all(|it| told[*it as usize] <= 1), "{:?}", told);
    }

    #[test]
    fn hash_is_symmetric(key in any::<(u64, u64)>(), a in endpoint(), b in endpoint()) {
        let key = HashKey(key.0, key.1);
        prop_assert_eq!(hash(key, a, b), hash(key, b, a));
    }

    #[test]
    fn sides_are_told_apart(a in endpoint(), b in endpoint()) {
        let it = Handshake { client_addr: a.addr, client_port: a.port, server_addr: b.addr, server_port: b.port, ..Handshake::default() };
        prop_assert_eq!(it.side(a, b), Some(Side::Client));
        prop_assert_eq!(it.side(b, a), Some(if a == b { Side::Client } else { Side::Server }));
        prop_assert_eq!(it.side(Endpoint { port: a.port ^ 1, ..a }, b), None);
    }

    #[test]
    fn any_octets_are_something(octets in vec(any::<u8>(), 0..200)) {
        for link in [Link::Ethernet, Link::Ip] {
            if let Found::Tcp(located) = segment::locate(&octets[..], link) {
                let segment = Segment::read(&octets[..], &located);
                prop_assert_eq!((segment.src, segment.dst, segment.flags), (located.src, located.dst, located.flags));
            }
        }
    }

    /// Frames of the scenarios, broken: whatever they are taken for, the account adds up.
    #[test]
    fn every_frame_is_counted_once(
        frames in vec((sample::select(scenario::corpus()), vec((any::<sample::Index>(), any::<u8>()), 0..4), any::<sample::Index>()), 1..20),
    ) {
        let mut model = Model::new(Telling { all: true, stall_after: 0 });
        let count = frames.len() as u64;
        for (mut frame, edits, cut) in frames {
            for (index, octet) in edits {
                let at = index.index(frame.len());
                frame[at] = octet;
            }
            let length = frame.len() - cut.index(frame.len()) * cut.index(2);
            model.see(&frame[..length], Link::Ethernet, Nanos(1 << 40), Point(4));
        }
        let (seen, rest) = model.tally.counters.split_at(7);
        prop_assert_eq!(seen.iter().sum::<u64>(), count, "what a packet is: {:?}, and {:?}", seen, rest);
        let superseded = model.tally.transitions[Transition::Superseded as usize];
        // These count attempts, and no packets.
        let again = [Counter::SynAgain, Counter::AnswerAgain].map(|it| model.tally.counters[it as usize]);
        let unmatched: u64 = rest.iter().sum::<u64>() - again.iter().sum::<u64>();
        let stepped = model.tally.transitions.iter().sum::<u64>() - superseded;
        prop_assert!(stepped + unmatched <= seen[1] + seen[2]);
    }
}
