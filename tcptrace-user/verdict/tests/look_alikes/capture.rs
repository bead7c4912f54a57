//! What only a capture shows: checksums, echoes of timestamps, link-layer addresses, and what it lacks as a whole.

use tcptrace_core::{
    handshake::{End, Facts, Handshake, Nanos, Offer, State},
    segment::{Flags, Kind},
};
use tcptrace_vocabulary::{
    attempt::{Checksums, Noted, Sums},
    cause::{
        Cause::{
            AsymmetricPath, BadChecksum, ClientVanished, DuplicateIp, HealthCheck, HostDown, OptionsBlocked, Unknown,
        },
        Confidence::{Likely, Possible},
    },
    facts::{Local, Missing},
    verdict::Verdict,
};

use super::{Said, short, tried};
use crate::common::{
    Around, CLIENT, NOW, OTHER_CLIENT, PORT_80, SECOND, SERVER, answered, established, silent, verdict,
};

/// So many SYN/ACKs after the SYN, and no ACK.
fn half_open(tries: u8) -> Handshake {
    let it = answered(SECOND / 50);
    Handshake { answer: Offer { tries, ..it.answer }, ..it }
}

/// The client's RST to the SYN/ACK.
fn reset() -> Handshake {
    let it = answered(SECOND / 50);
    let end = End { ttl: 64, window: 0, flags: Flags::RST };
    Handshake { ended: Nanos(it.last_answer.0 + 1), end, state: State::Aborted as u8, ..it }
}

fn sums(syns: (u8, u8), answers: (u8, u8)) -> Noted {
    let of = |(wrong, other)| Sums { wrong, other };
    let sums = Checksums { syns: of(syns), answers: of(answers), is_of_tunnel: false };
    Noted { sums, ..Noted::default() }
}

fn with(it: Handshake, noted: Noted) -> Verdict {
    verdict(it, &Around { noted, some_right: true, ..Around::default() })
}

#[test]
fn packets_are_damaged_if_each_that_nobody_took_has_a_wrong_sum() {
    let each = |count, what| {
        format!("the checksum of TCP is wrong in each of {count} {what}: the receiver drops such a packet")
    };
    let damaged = |it: Handshake, noted, words: String| {
        let said = with(it, noted);
        assert_eq!((short(&said), &said.evidence[0]), ((BadChecksum, Likely), &words), "{said:#?}");
    };
    let none = (0, 0);
    damaged(tried(3, 3), sums((3, 0), none), each(3, "SYNs"));
    damaged(half_open(2), sums((0, 1), (2, 0)), each(2, "SYN/ACKs"));
    let unproven = verdict(tried(3, 3), &Around { noted: sums((3, 0), none), ..Around::default() });
    assert_eq!(short(&unproven), (BadChecksum, Possible), "none is right: addresses may have been rewritten");
    for (it, noted, why) in [
        (tried(3, 3), sums((2, 1), none), "one SYN is right"),
        (tried(3, 3), sums(none, (2, 0)), "they are not what was lost"),
        (half_open(2), sums((0, 1), (1, 1)), "one SYN/ACK is right"),
        (established(CLIENT, SERVER), sums((1, 0), (1, 0)), "it opened"),
    ] {
        assert_ne!(with(it, noted).cause, BadChecksum, "{why}");
    }
    let tunnel = Noted { sums: Checksums { is_of_tunnel: true, ..sums((3, 0), none).sums }, ..Noted::default() };
    assert!(with(tried(3, 3), tunnel).evidence[0].contains("of the UDP header of a tunnel is wrong"));
    // What is damaged was dropped for that, and not for its port; and the other end cannot have vanished.
    let beside = Around { worked: vec![established(CLIENT, PORT_80)], noted: sums((3, 0), none), ..Around::default() };
    assert_eq!(short(&verdict(tried(3, 3), &beside)), (BadChecksum, Possible));
    assert_ne!(with(half_open(3), sums(none, (3, 0))).cause, ClientVanished);
}

/// A card computes sums later, and whoever accepts one shows that his was right.
#[test]
fn a_wrong_sum_that_was_accepted_is_none() {
    let accepted = |it: Handshake, noted| {
        let bytes = vec![(it, noted)];
        let around = Around { noted: sums((3, 0), (0, 0)), bytes, some_right: true, ..Around::default() };
        verdict(tried(3, 3), &around).cause != BadChecksum
    };
    let open = established(OTHER_CLIENT, PORT_80);
    let half_open = Handshake { client_addr: OTHER_CLIENT, ..half_open(2) };
    let unseen = Handshake { facts: Facts(Facts::ANSWER_UNSEEN), answer: Offer::default(), ..open };
    let (none, right, wrong) = ((0, 0), (0, 1), (1, 0));
    assert!(accepted(half_open, sums(wrong, none)), "its SYN was answered");
    assert!(accepted(open, sums(right, wrong)), "its SYN/ACK was acknowledged");
    assert!(!accepted(open, sums(right, right)), "they were right");
    assert!(!accepted(silent(OTHER_CLIENT, PORT_80), sums(wrong, none)), "nobody answered");
    assert!(!accepted(half_open, sums(right, wrong)), "nobody acknowledged");
    assert!(!accepted(unseen, sums(right, wrong)), "another SYN/ACK may have been acknowledged");
    let first_right = vec![(half_open, sums(wrong, none)), (open, sums(right, right))];
    let around = Around { noted: sums((3, 0), none), bytes: first_right, some_right: true, ..Around::default() };
    assert_ne!(verdict(tried(3, 3), &around).cause, BadChecksum, "once is enough");
}

#[test]
fn an_echo_of_another_timestamp_is_refused() {
    let echoes = |it: Handshake, first, last| {
        with(it, Noted { echo: Some(1000), clock: Some((first, last)), ..Noted::default() })
    };
    let asks_on =
        Handshake { last_syn: Nanos(NOW.0 + SECOND), syn: Offer { tries: 2, ..half_open(1).syn }, ..half_open(1) };
    let longest = 130_000;
    for it in [reset(), asks_on] {
        assert_eq!(short(&echoes(it, 1000 + longest + 1, 1000 + longest + 1)), (OptionsBlocked, Likely));
        let near = short(&echoes(it, 1000 + longest, 1000 + longest));
        assert_ne!(near, (OptionsBlocked, Likely), "a SYN before the capture may have had it");
    }
    let said = echoes(reset(), 900_000, 900_000).evidence;
    assert!(
        said[0].ends_with("the timestamp 1000, and the client's SYNs had 900000: a client refuses that"),
        "{said:?}"
    );
    let said = echoes(reset(), 900_000, 901_000).evidence;
    assert!(said[0].contains("SYNs had 900000 to 901000"), "{said:?}");
    for (it, why) in [
        (established(CLIENT, SERVER), "the client took it"),
        (half_open(1), "the client says nothing"),
        (silent(CLIENT, SERVER), "it is another attempt's"),
    ] {
        assert_ne!(echoes(it, 900_000, 900_000).cause, OptionsBlocked, "{why}");
    }
}

/// Two hosts have the client's address, or one host has two cards: one that asks on after its own RST did not send it.
#[test]
fn a_reset_of_another_card_is_another_hosts_if_the_client_asks_on() {
    let macs = Some(([1; 6], [2; 6]));
    let judged = |it: Handshake, reset_by_another, checks| {
        let noted = Noted { reset_by_another, ..Noted::default() };
        short(&verdict(it, &Around { noted, checks, ..Around::default() }))
    };
    let asked = |nanos: u64| {
        let it = reset();
        Handshake { last_syn: Nanos(it.ended.0 + nanos - 1), syn: Offer { tries: 2, ..it.syn }, ..it }
    };
    assert_eq!(judged(asked(2), macs, 0), (DuplicateIp, Likely));
    assert_eq!(judged(asked(1), macs, 0), (DuplicateIp, Possible), "at the same time");
    assert_eq!(judged(asked(0), macs, 0), (DuplicateIp, Possible), "before it");
    assert_ne!(judged(reset(), None, 0).0, DuplicateIp);
    assert_ne!(judged(established(CLIENT, SERVER), macs, 0).0, DuplicateIp, "it opened");
    assert_eq!(judged(reset(), None, 3), (HealthCheck, Likely));
    assert_eq!(judged(reset(), macs, 3), (DuplicateIp, Possible), "the client did not look");
}

/// A capture that was filtered by flags or by direction lacks what nobody lacked on the wire.
#[test]
fn what_a_capture_cannot_show_is_not_missing() {
    let seen = |it: Handshake, worked: Vec<Handshake>, segments: &[(Kind, bool)]| -> Verdict {
        verdict(it, &Around { worked, segments: segments.to_vec(), ..Around::default() })
    };
    let other_port = || vec![silent(CLIENT, PORT_80)];
    let (syn, answer, ack) = ((Kind::Syn, false), (Kind::SynAck, false), (Kind::Ack, false));
    let said = |it, worked, segments: &[_]| -> Said { short(&seen(it, worked, segments)) };
    assert_eq!(said(tried(3, 3), other_port(), &[syn, answer]), (HostDown, Possible));
    let filtered = seen(tried(3, 3), other_port(), &[syn, ack]);
    assert_eq!(filtered.cause, Unknown);
    let lacks = "no SYN/ACK of anybody is in this capture: filtered, it cannot show that nothing answered";
    assert!(filtered.evidence.iter().any(|it| it == lacks), "{filtered:#?}");

    assert_eq!(said(half_open(3), Vec::new(), &[syn, answer, ack]), (ClientVanished, Likely));
    let doubted = seen(half_open(3), Vec::new(), &[syn, answer]);
    assert_eq!(short(&doubted), (ClientVanished, Possible));
    let lacks = "no packet without SYN is in this capture: filtered by flags, it cannot show the final ACK";
    assert_eq!(doubted.evidence[1], lacks);
    let early = seen(half_open(2), Vec::new(), &[syn, answer]);
    assert_eq!((early.cause, early.evidence[0].as_str()), (Unknown, lacks));

    let unasked = Handshake {
        syn: Offer::default(),
        answer: Offer { tries: 2, ..answered(0).answer },
        state: State::Unsolicited as u8,
        ..answered(0)
    };
    assert_eq!(said(unasked, Vec::new(), &[answer, (Kind::Ack, true), ack]), (AsymmetricPath, Likely));
    let one_way = seen(unasked, Vec::new(), &[answer, ack]);
    assert_eq!(short(&one_way), (AsymmetricPath, Possible));
    assert!(one_way.evidence[1].starts_with("no connection in this capture has packets of both sides"));
}

/// An error of the client's host about its own SYN, where it is known whose host that is.
#[test]
fn an_error_is_the_clients_own_where_its_host_sent_it() {
    let first = |it: Handshake, local: Local| {
        let it = Handshake { ended: Nanos(NOW.0 + SECOND / 1000), ..it };
        let from = Some(it.client_addr);
        verdict(it, &Around { icmp_from: from, local: Some(local), ..Around::default() }).evidence[0].clone()
    };
    let it = crate::common::unreachable(3, 3);
    let ends = |client, server| Local { client_here: client, server_here: server, ..Local::unknown(Missing::NotAsked) };
    let capture = || Local::unknown(Missing::NotAsked);
    let sent = "sent ICMP port-unreach from 198.51.100.2";
    assert_eq!(first(it, ends(Ok(true), Ok(false))), format!("this host itself {sent}"));
    assert_eq!(first(it, capture()), format!("198.51.100.2 itself {sent}"));
    for (it, local, why) in [
        (it, ends(Ok(true), Ok(true)), "the server's rules may say so"),
        (it, ends(Ok(false), Ok(true)), "the client is elsewhere"),
        (it, ends(Ok(false), Ok(false)), "both are"),
        (Handshake { client_addr: tcptrace_core::flow::Addr::v4(0x7f00_0001), ..it }, capture(), "both ends have it"),
    ] {
        assert!(first(it, local).starts_with("ICMP port-unreach"), "{why}");
    }
}
