//! The record of an attempt, read and written: its sides, points, times and facts. The suites `kept` and
//! `scenarios` show how packets change it.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, Offer, Point, Side, State, Transition},
    segment::{Flags, Icmp, IcmpError, Options, Segment},
    seq::Seq,
};
use tcptrace_vocabulary::outcome::Outcome;

const CLIENT: Endpoint = Endpoint { addr: Addr::v4(0xc633_6402), port: 40_000 };
const SERVER: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 443 };
const SECOND: u64 = 1_000_000_000;
const NOW: Nanos = Nanos(5 * SECOND);
const HERE: Point = Point::ingress(3);

/// A segment of one side, with numbers beyond those that it begins with.
fn segment(side: Side, flags: u8, seq: u32, ack: u32) -> Segment {
    let (src, dst) = if side == Side::Client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    Segment {
        src,
        dst,
        flags: Flags(flags),
        seq: Seq(100).add(seq),
        ack: Seq(100).add(ack),
        window: 1000,
        ttl: 64,
        payload: 0,
        has_id: false,
        has_options: false,
        options: Options { present: 0, mss: 0, window_scale: 0 },
    }
}

fn opened() -> Handshake {
    Handshake::open(&segment(Side::Client, Flags::SYN, 0, 0), NOW, HERE)
}

fn answered() -> Handshake {
    let mut it = opened();
    let answer = segment(Side::Server, Flags::SYN | Flags::ACK, 0, 1);
    assert_eq!(it.step(Side::Server, &answer, NOW, HERE), Transition::Answered);
    it
}

fn established() -> Handshake {
    let mut it = answered();
    let ack = segment(Side::Client, Flags::ACK, 1, 1);
    assert_eq!(it.step(Side::Client, &ack, NOW, HERE), Transition::Completed);
    it
}

/// A rule tells `1 << 14` from `1 << 15`, and an event carries them all.
#[test]
fn every_fact_is_a_bit_of_its_own() {
    let options = [Facts::WITHOUT_TIMESTAMPS, Facts::WITHOUT_FAST_OPEN, Facts::WITHOUT_MPTCP, Facts::WITHOUT_ECN];
    let others = [
        Facts::ANSWER_UNSEEN,
        Facts::CHALLENGED,
        Facts::WRONG_ANSWER,
        Facts::TWO_ANSWERS,
        Facts::CROSSED,
        Facts::ODD_SYN,
        Facts::SYN_DATA,
        Facts::FALLBACK,
        Facts::UNREACHABLE,
        Facts::ANSWER_UNREACHABLE,
        Facts::RST_IGNORED,
        Facts::STRAY,
        Facts::CLIENT_FIN,
        Facts::SERVER_FIN,
        Facts::CLIENT_RST,
        Facts::SERVER_RST,
        Facts::RECOVERING,
        Facts::CLIENT_ANSWERED,
        Facts::CLIENT_DATA,
        Facts::SERVER_DATA,
        Facts::ANSWER_REJECTED,
        Facts::ANSWER_ID,
        Facts::RST_ID,
        Facts::RST_OPTIONS,
        Facts::RST_SEQ,
        Facts::ACK_IGNORED,
        Facts::OUT_OF_ORDER,
        Facts::DATA_ACKED,
    ];
    let all: Vec<_> = options.into_iter().chain(others).collect();
    assert!(all.iter().all(|it| it.count_ones() == 1));
    assert_eq!((all.len(), all.iter().fold(0, |sum, it| sum | it)), (32, u32::MAX));
    assert_eq!(Facts::WITHOUT, options.iter().sum::<u32>());
}

/// An address or a port that is another's is of neither side, whichever of the four it is.
#[test]
fn a_side_is_known_by_two_addresses_and_two_ports() {
    let it = opened();
    assert_eq!(it.side(CLIENT, SERVER), Some(Side::Client));
    assert_eq!(it.side(SERVER, CLIENT), Some(Side::Server));
    assert_eq!((it.client(), it.server()), (CLIENT, SERVER));
    let stranger = Addr::v4(1);
    let others = |it: Endpoint| [Endpoint { addr: stranger, ..it }, Endpoint { port: 9, ..it }];
    for (client, server) in
        others(CLIENT).map(|it| (it, SERVER)).into_iter().chain(others(SERVER).map(|it| (CLIENT, it)))
    {
        assert_eq!(it.side(client, server), None, "{client:?} to {server:?}");
        assert_eq!(it.side(server, client), None, "{server:?} to {client:?}");
    }
    // Where both ends have one address, the ports tell them apart.
    let itself = Handshake { server_addr: CLIENT.addr, ..it };
    let server = Endpoint { addr: CLIENT.addr, ..SERVER };
    assert_eq!((itself.side(CLIENT, server), itself.side(server, CLIENT)), (Some(Side::Client), Some(Side::Server)));
    assert_eq!(itself.side(CLIENT, CLIENT), None);
}

#[test]
fn a_point_is_an_interface_and_a_direction() {
    for index in [1, 2, 3, 0x7fff_ffff] {
        let (coming, going) = (Point::ingress(index), Point::egress(index));
        assert_eq!((coming.ifindex(), going.ifindex()), (index, index));
        assert!(!coming.is_egress() && going.is_egress() && coming != going);
    }
}

/// Longer than three minutes no stack is silent.
#[test]
fn an_attempt_is_dead_after_three_minutes_of_silence() {
    let it = Handshake { last_answer: Nanos(7 * SECOND), ended: Nanos(6 * SECOND), ..opened() };
    assert_eq!(it.last_seen(), Nanos(7 * SECOND));
    assert!(!it.is_dead(Nanos(187 * SECOND)) && it.is_dead(Nanos(187 * SECOND + 1)) && !it.is_dead(Nanos(0)));
    let seen = |syn, answer, ended| {
        Handshake { last_syn: Nanos(syn), last_answer: Nanos(answer), ended: Nanos(ended), ..opened() }.last_seen()
    };
    assert_eq!([seen(3, 1, 2), seen(1, 3, 2), seen(1, 2, 3)], [Nanos(3); 3]);
}

/// A SYN/ACK whose SYN did not come by stands for the attempt, from that moment on.
#[test]
fn an_answer_without_a_syn_is_a_record_of_its_own() {
    let answer = Segment { has_id: true, ..segment(Side::Server, Flags::SYN | Flags::ACK, 5, 1) };
    let it = Handshake::unsolicited(&answer, NOW, HERE);
    assert_eq!((it.client(), it.server(), it.isn, it.server_isn), (CLIENT, SERVER, Seq(100), Seq(105)));
    assert_eq!([it.first_syn, it.last_syn, it.first_answer, it.last_answer], [NOW; 4]);
    assert_eq!((it.client_point, it.server_point, it.facts), (Point::default(), HERE, Facts(Facts::ANSWER_ID)));
    assert_eq!((it.syn, it.answer, it.state()), (Offer::default(), Offer::of(&answer), State::Unsolicited));
    assert_eq!((it.syn_to_answer(), it.answer_to_ack()), (None, None));
}

/// RSTs that do not acknowledge the SYN are counted, each once, until an ICMP error needs the byte.
#[test]
fn rsts_that_the_client_ignores_are_counted() {
    let rst = segment(Side::Server, Flags::RST | Flags::ACK, 0, 9);
    let mut it = opened();
    let see = |it: &mut Handshake, nanos, at| it.step(Side::Server, &rst, Nanos(NOW.0 + nanos), at);
    assert_eq!((it.ignored_resets(), Outcome::of(&it)), (0, Some(Outcome::NoReply)));
    assert_eq!(see(&mut it, 0, HERE), Transition::Noted);
    assert_eq!((it.ignored_resets(), it.ended, it.end.flags, it.server_point), (1, NOW, 0x14, HERE));
    see(&mut it, 1, Point::ingress(4));
    assert_eq!((it.ignored_resets(), it.server_point), (1, HERE), "the same packet at another interface");
    see(&mut it, SECOND, HERE);
    assert_eq!((it.ignored_resets(), it.ended), (2, Nanos(NOW.0 + SECOND)));
    let error = IcmpError {
        src: CLIENT,
        dst: SERVER,
        seq: it.isn,
        icmp: Icmp { v6: false, kind: 3, code: 13 },
        ..error_from(Addr::v4(1))
    };
    it.icmp(Side::Client, &error, Nanos(NOW.0 + 2 * SECOND));
    assert_eq!((it.ignored_resets(), it.icmp_code), (0, 13), "the byte has the error's code now");
    see(&mut it, 3 * SECOND, HERE);
    assert_eq!((it.icmp_code, it.ended), (13, Nanos(NOW.0 + 2 * SECOND)), "the error is the end");
    // A RST in the first fifth of a second of the clock is one as well.
    let mut early = Handshake { first_syn: Nanos(0), last_syn: Nanos(0), ..opened() };
    early.step(Side::Server, &rst, Nanos(1), Point::default());
    assert_eq!(early.ignored_resets(), 1);
}

fn error_from(from: Addr) -> IcmpError {
    IcmpError { from, src: SERVER, dst: CLIENT, seq: Seq(0), icmp: Icmp { v6: false, kind: 3, code: 1 } }
}

/// An error about a SYN/ACK quotes the number of one that came by.
#[test]
fn an_error_about_an_answer_needs_the_answer() {
    let error = |seq| IcmpError { seq, ..error_from(Addr::v4(1)) };
    let mut silent = opened();
    assert_eq!(silent.icmp(Side::Server, &error(Seq(0)), NOW), Transition::Noted);
    assert!(!silent.facts.any(Facts::ANSWER_UNREACHABLE), "there was no SYN/ACK");
    let mut other = answered();
    other.icmp(Side::Server, &error(Seq(101)), NOW);
    assert!(!other.facts.any(Facts::ANSWER_UNREACHABLE), "another connection's");
    let mut own = answered();
    own.icmp(Side::Server, &error(Seq(100)), NOW);
    assert!(own.facts.any(Facts::ANSWER_UNREACHABLE));
}

/// The first SYN with fewer options tells which: each of the four that people know by name.
#[test]
fn an_option_that_was_left_out_is_known_by_name() {
    for (option, fact) in [
        (Options::TIMESTAMPS, Facts::WITHOUT_TIMESTAMPS),
        (Options::FAST_OPEN, Facts::WITHOUT_FAST_OPEN),
        (Options::MPTCP, Facts::WITHOUT_MPTCP),
        (Options::ECN, Facts::WITHOUT_ECN),
        (Options::SACK_PERMITTED, 0),
        (Options::MSS, 0),
        (Options::WINDOW_SCALE, 0),
    ] {
        let syn = segment(Side::Client, Flags::SYN, 0, 0);
        let with = Segment { options: Options { present: option, ..syn.options }, ..syn };
        let mut it = Handshake::open(&with, NOW, HERE);
        it.step(Side::Client, &syn, Nanos(NOW.0 + SECOND), HERE);
        assert_eq!(it.facts, Facts(Facts::FALLBACK | fact), "{option:#x}");
    }
}

/// Data is seen by its length, with an ACK or with a FIN, whatever the numbers say.
#[test]
fn data_is_seen_by_its_length() {
    for (side, fact) in [(Side::Client, Facts::CLIENT_DATA), (Side::Server, Facts::SERVER_DATA)] {
        for flags in [Flags::ACK, Flags::FIN | Flags::ACK] {
            let has = |payload| {
                let mut it = established();
                it.step(side, &Segment { payload, ..segment(side, flags, 1, 1) }, NOW, HERE);
                it.facts.any(fact)
            };
            assert!(has(1) && has(u16::MAX) && !has(0), "{side:?} {flags:#x}");
        }
    }
}

#[test]
fn both_sides_have_to_close() {
    let fins = |facts| Facts(facts).has_both_fins();
    assert!(fins(Facts::CLIENT_FIN | Facts::SERVER_FIN) && fins(u32::MAX));
    assert!(!fins(Facts::CLIENT_FIN) && !fins(Facts::SERVER_FIN) && !fins(0));
}
