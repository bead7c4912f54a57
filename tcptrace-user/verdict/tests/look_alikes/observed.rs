//! What is said where no rule fits: the facts, each with the one that takes it away.

use tcptrace_core::{
    handshake::{End, Facts, Handshake, Nanos, Offer, Side, State},
    segment::Flags,
};
use tcptrace_vocabulary::{
    cause::{Cause::Unknown, Confidence::Possible},
    facts::{Local, Missing},
};

use super::{later, short, tried};
use crate::common::{
    Around, CLIENT, SECOND, SERVER, answered, dropped, earlier, established, here, listener, silent, verdict,
};

#[track_caller]
fn words(it: Handshake, around: Around) -> String {
    let said = verdict(it, &around);
    assert_eq!(short(&said), (Unknown, Possible), "{said:#?}");
    said.evidence.join("; ")
}

fn bare(it: Handshake) -> String {
    words(it, Around::default())
}

#[test]
fn a_packet_that_was_dropped_has_a_sender() {
    let local = |side| Local { drops: Ok(dropped(side, "ODD")), ..Local::unknown(Missing::NotAsked) };
    let said = |side| words(tried(1, 0), Around { local: Some(local(side)), ..Around::default() });
    assert!(said(Side::Client).starts_with("this host dropped a client packet (ODD)"));
    assert!(said(Side::Server).starts_with("this host dropped a server packet (ODD)"));
}

#[test]
fn a_host_went_if_nothing_came() {
    let worked = || vec![earlier(established(CLIENT, SERVER), 60)];
    let went = "203.0.113.2 answered 60 s before the first SYN, and not since";
    assert!(words(tried(1, 0), Around { worked: worked(), ..Around::default() }).contains(went));
    let gave_up = Handshake { state: State::Aborted as u8, ..tried(1, 0) };
    assert!(!words(gave_up, Around { worked: worked(), ..Around::default() }).contains("answered"));
}

#[test]
fn an_ack_of_another_number_is_ignored_or_reset() {
    let half_open = Handshake { facts: Facts(Facts::ACK_IGNORED), ..answered(SECOND / 50) };
    let end = End { ttl: 60, window: 0, flags: Flags::RST };
    let ended = Nanos(half_open.last_answer.0 + 1);
    let reset = Handshake { end, ended, state: State::ResetOnAnswer as u8, ..half_open };
    assert_eq!(bare(half_open), "an ACK came that does not acknowledge this SYN/ACK: the server ignores it");
    assert_eq!(bare(reset), "an ACK came that does not acknowledge this SYN/ACK: the server resets");
    let open = words(answered(SECOND / 50), Around { still_open: true, ..Around::default() });
    assert!(!open.contains("an ACK came"), "{open}");
    assert!(!bare(Handshake { facts: half_open.facts, ..tried(1, 0) }).contains("an ACK came"), "it was not answered");
}

#[test]
fn data_is_lost_if_the_server_shows_no_sign_of_it() {
    let it = established(CLIENT, SERVER);
    let said = |facts| {
        let (syn, answer) = (Offer { tries: 2, ..it.syn }, Offer { tries: 2, ..it.answer });
        bare(Handshake { facts: Facts(Facts::TWO_ANSWERS | facts), syn, answer, ..it })
    };
    let two = "2 SYN/ACKs with different sequence numbers answered 2 SYNs";
    let lost = format!("{two}, and the client's data was never acknowledged");
    assert_eq!(said(Facts::CLIENT_DATA), lost);
    assert_eq!(said(0), two, "nothing was sent");
    assert_eq!(said(Facts::CLIENT_DATA | Facts::SERVER_DATA), two);
    assert_eq!(said(Facts::CLIENT_DATA | Facts::DATA_ACKED), two);
}

#[test]
fn other_attempts_of_the_client_are_counted() {
    let said = |it, worked| words(it, Around { worked, ..Around::default() });
    let opened = |seconds| later(established(CLIENT, SERVER), seconds);
    let one = "1 other attempt of this client to this port was answered meanwhile";
    let two = "2 other attempts of this client to this port were answered meanwhile";
    assert!(said(tried(3, 3), vec![opened(1)]).contains(one));
    assert!(said(tried(3, 3), vec![opened(1), opened(2)]).contains(two));
    assert!(!bare(tried(3, 3)).contains("meanwhile"));
    let gave_up = Handshake { state: State::Aborted as u8, ..silent(CLIENT, SERVER) };
    assert!(!said(gave_up, vec![opened(1)]).contains("meanwhile"), "it was not silence that it met");
}

/// A listener with room waits for data if it repeats itself, and a silent one does not.
#[test]
fn a_listener_waits_for_data_if_it_repeats_itself() {
    let local = || Some(Local { listener: Ok(listener(0)), ..here(true) });
    let it = established(CLIENT, SERVER);
    let last_answer = Nanos(it.ended.0 + SECOND);
    let again = Handshake { last_answer, answer: Offer { tries: 2, ..it.answer }, ..it };
    let waits = "the SYN/ACK came again, and 0 of 1 wait in the queue: TCP_DEFER_ACCEPT, or a lost ACK";
    let said = words(again, Around { local: local(), ..Around::default() });
    assert!(said.contains(waits), "{said}");
    assert!(!words(tried(1, 0), Around { local: local(), ..Around::default() }).contains("came again"));
}
