//! The client: floods, clients that fell silent or gave up, checks, proxies.

use tcptrace_core::{
    drops::Kind,
    flow::Addr,
    handshake::{End, Facts, Handshake, Nanos, Offer, Side, State},
    segment::Flags,
};
use tcptrace_verdict::{case::Case, judge, past::Past};
use tcptrace_vocabulary::{
    attempt::{Attempt, Stalled, StalledBy, Trust},
    cause::{
        Cause::{ApplicationGaveUp, ClientVanished, HealthCheck, MiddleboxReset, NoBackend, SynFlood, Unknown},
        Confidence::{Likely, Possible},
    },
    facts::{Aborts, Counters, Dropped, Local, Missing, Socket},
    outcome::Outcome,
    verdict::Verdict,
};

use super::{Said, beside, said, short, told, tried};
use crate::common::{
    Around, CLIENT, NOW, OTHER_CLIENT, SECOND, SERVER, ZERO, answered, dropped, established, here, refused, verdict,
};

/// The client's RST to the SYN/ACK, which came so many nanoseconds after the SYN.
fn aborted(after: u64, ttl: u8, flags: u8) -> Handshake {
    let it = answered(after);
    let end = End { ttl, window: 0, flags };
    Handshake { ended: Nanos(it.last_answer.0 + 1), end, state: State::Aborted as u8, ..it }
}

/// The verdict beside a flood of single SYNs, from a second before the attempt to a second after.
fn flooded(it: Handshake, still_open: bool) -> Verdict {
    let mut past = Past::default();
    past.note_flood(SERVER, Nanos(NOW.0 - SECOND), Nanos(NOW.0 + SECOND));
    let outcome = Outcome::to_the_end(&it).expect("an attempt");
    past.note(&it, outcome);
    let attempt = Attempt { trust: Trust { still_open, ..Trust::default() }, ..Attempt::from_handshake(it, outcome) };
    judge(&Case { attempt: &attempt, local: &Local::unknown(Missing::NotAsked), past: &past, checks: 0 })
}

#[test]
fn a_single_syn_within_a_flood_is_of_it() {
    assert_eq!(short(&flooded(tried(1, 0), false)), (SynFlood, Likely));
    for (it, still_open, why) in [
        (tried(2, 1), false, "a flood's client never comes again"),
        (tried(1, 0), true, "it may come again"),
        (Handshake { first_syn: Nanos(NOW.0 + 2 * SECOND), ..tried(1, 2) }, false, "the flood is over"),
        (refused(60, 0, Flags::RST | Flags::ACK), false, "it was answered"),
    ] {
        assert_ne!(flooded(it, still_open).cause, SynFlood, "{why}");
    }
}

/// Eight clients left the port half-open.
#[test]
fn many_clients_are_a_flood_if_few_complete() {
    let half_open = |number| Handshake { client_addr: Addr::v4(number), ..answered(SECOND / 50) };
    let completed = |number| established(Addr::v4(100 + number), SERVER);
    let with = |left: u32, opened: u32, local: Option<Local>| {
        let worked = (1..left).map(half_open).chain((0..opened).map(completed)).collect();
        verdict(half_open(0), &Around { worked, local, ..Around::default() })
    };
    let eight = with(8, 0, None);
    assert_eq!(short(&eight), (SynFlood, Likely));
    assert_eq!(eight.evidence, ["8 clients or more left port 6036 of 203.0.113.2 half-open", "0 completed"]);
    assert_ne!(with(7, 0, None).cause, SynFlood, "seven are few");
    assert_eq!(short(&with(8, 7, None)), (SynFlood, Likely));
    assert_eq!(short(&with(8, 8, None)), (SynFlood, Possible), "as many completed");
    let cookies = || Local { counters: Ok(Counters { syncookies_sent: 1, ..ZERO }), ..here(true) };
    let sent = with(8, 8, Some(cookies()));
    assert_eq!(short(&sent), (SynFlood, Likely));
    assert_eq!(sent.evidence[1], "this host sent 1 SYN cookie meanwhile");
    let client = Local { client_here: Ok(true), server_here: Ok(false), ..cookies() };
    assert_ne!(with(8, 0, Some(client)).cause, SynFlood, "this host is the client");
}

/// Clients that send their SYN again wait for an answer: their way back is broken.
#[test]
fn many_clients_that_ask_again_are_no_flood() {
    let half_open = |number, tries| {
        let it = Handshake { client_addr: Addr::v4(number), ..answered(SECOND / 50) };
        Handshake {
            syn: Offer { tries, ..it.syn },
            last_syn: Nanos(it.last_syn.0 + u64::from(tries - 1) * SECOND),
            ..it
        }
    };
    let with = |own, others| {
        let worked = (1..20).map(|number| half_open(number, others)).collect();
        beside(half_open(0, own), worked)
    };
    assert_eq!(with(1, 1), (SynFlood, Likely));
    assert_ne!(with(6, 6).0, SynFlood);
    assert_ne!(with(1, 6).0, SynFlood, "the others ask again");
    assert_ne!(with(6, 1).0, SynFlood, "it asks again itself");
}

#[test]
fn a_server_gives_up_after_three_answers() {
    let reset = |tries, ttl| {
        let it = answered(SECOND / 50);
        let end = End { ttl, window: 0, flags: Flags::RST };
        let answer = Offer { tries, ..it.answer };
        Handshake { answer, ended: Nanos(it.last_answer.0 + 1), end, state: State::ResetOnAnswer as u8, ..it }
    };
    assert_eq!(beside(reset(3, 60), Vec::new()), (ClientVanished, Likely));
    assert_eq!(beside(reset(2, 60), Vec::new()), (ClientVanished, Possible));
    assert_eq!(beside(reset(2, 62), Vec::new()), (MiddleboxReset, Likely), "from nearer");
    assert_eq!(beside(reset(2, 50), Vec::new()), (MiddleboxReset, Possible), "from farther away");
    assert_eq!(said(reset(3, 60), here(false)).0, Unknown, "this host is the client");
}

#[test]
fn a_silent_client_is_waited_for_while_the_attempt_is_open() {
    let with = |it: Handshake, still_open, stalled| {
        let mut past = Past::default();
        past.note(&it, Outcome::HalfOpen);
        let attempt = Attempt {
            stalled,
            trust: Trust { still_open, ..Trust::default() },
            ..Attempt::from_handshake(it, Outcome::HalfOpen)
        };
        let local = Local::unknown(Missing::NotAsked);
        short(&judge(&Case { attempt: &attempt, local: &local, past: &past, checks: 0 }))
    };
    let sent = |tries| {
        let it = answered(SECOND / 50);
        Handshake { answer: Offer { tries, ..it.answer }, ..it }
    };
    let stalled = Some(Stalled { at: NOW, by: StalledBy::Silence });
    assert_eq!(with(sent(1), false, None), (ClientVanished, Possible));
    assert_eq!(with(sent(1), true, None).0, Unknown, "its ACK may be under way");
    assert_eq!(with(sent(1), true, stalled), (ClientVanished, Possible));
    assert_eq!(with(sent(3), true, None), (ClientVanished, Likely));
    // A SYN after the SYN/ACK shows that the client did not hear it; one in the same nanosecond does not.
    let asks = |nanos| Handshake { last_syn: Nanos(sent(3).first_answer.0 + nanos), ..sent(3) };
    assert_eq!(with(asks(0), false, None), (ClientVanished, Likely));
    assert_ne!(with(asks(1), false, None).0, ClientVanished);
}

/// The port takes eight seconds to answer, and the client stopped before that.
#[test]
fn a_client_gave_up_if_it_stopped_before_the_port_answers() {
    let slow = || {
        let it = established(OTHER_CLIENT, SERVER);
        let at = Nanos(it.first_syn.0 + 8 * SECOND);
        vec![Handshake { first_answer: at, last_answer: at, ended: at, ..it }]
    };
    let with = |local: Local| verdict(tried(3, 3), &Around { worked: slow(), local: Some(local), ..Around::default() });
    let gone = || Local { socket: Ok(None), syn_tries: Ok(7), ..here(false) };
    let it = with(gone());
    assert_eq!(short(&it), (ApplicationGaveUp, Likely));
    assert_eq!(
        it.evidence,
        [
            "the client stopped within 7.0 s; the port answers after 8.0 s",
            "the client stopped after 3 SYNs in 3.0 s; its kernel would have sent 7"
        ]
    );
    assert_eq!(with(Local { syn_tries: Ok(3), ..gone() }).evidence.len(), 1, "as many as its kernel sends");
    let elsewhere = Local { client_here: Ok(false), ..gone() };
    assert_eq!((short(&with(elsewhere.clone())), with(elsewhere).evidence.len()), ((ApplicationGaveUp, Possible), 1));
    let unread = Local { socket: Err(Missing::Failed), ..gone() };
    assert_eq!(short(&with(unread)), (ApplicationGaveUp, Possible));
    let no_socket = Dropped { packet: Kind::Ack, ..dropped(Side::Client, "NO_SOCKET").remove(0) };
    for (local, why) in [
        (Local { drops: Ok(vec![no_socket]), ..gone() }, "it was answered by another way"),
        (Local { server_here: Ok(true), ..gone() }, "the server is here"),
    ] {
        assert_ne!(with(local).cause, ApplicationGaveUp, "{why}");
    }
    // That it stopped is a fact of a silent attempt that is over.
    let stops = |it: &Verdict| it.evidence.iter().any(|it| it.starts_with("the client stopped after"));
    assert!(stops(&told(tried(3, 3), gone())));
    let open = Around { local: Some(gone()), still_open: true, ..Around::default() };
    assert!(!stops(&verdict(tried(3, 3), &open)), "it may go on");
    assert!(!stops(&told(tried(0, 0), gone())), "no SYN was seen");
    let wrong = Handshake { facts: Facts(Facts::CHALLENGED), ..tried(3, 3) };
    assert!(!stops(&told(wrong, gone())), "it was answered");
}

#[test]
fn a_reset_at_the_answer_is_told_by_who_waited() {
    let quick = || aborted(SECOND / 10, 64, Flags::RST | Flags::ACK);
    let socket = |it| Local { socket: it, ..here(false) };
    assert_eq!(said(quick(), socket(Ok(None))), (ApplicationGaveUp, Likely));
    assert_eq!(
        told(quick(), socket(Ok(None))).evidence[0],
        "the answer found no socket: the application had closed it"
    );
    let alive = Some(Socket { state: "SYN-SENT", cookie: 1, inode: 2, uid: 0 });
    assert_eq!(said(quick(), socket(Ok(alive))), (ApplicationGaveUp, Possible));
    let elsewhere = Local { client_here: Ok(false), ..socket(Ok(None)) };
    assert_eq!(said(quick(), elsewhere), (ApplicationGaveUp, Possible), "no socket of this host");

    let late = verdict(aborted(2 * SECOND, 64, Flags::RST | Flags::ACK), &Around::default());
    assert_eq!(short(&late), (ApplicationGaveUp, Likely));
    assert_eq!(late.evidence[0], "the answer came after 2.0 s, and nobody waited for it any more");
    assert_eq!(beside(aborted(SECOND, 64, Flags::RST), Vec::new()), (ApplicationGaveUp, Likely));
    // A RST without ACK is a kernel's that knows no socket; within a tenth of a second nobody gave up.
    assert_eq!(beside(aborted(SECOND - 1, 64, Flags::RST), Vec::new()).0, Unknown);
    assert_eq!(beside(aborted(SECOND / 50, 64, Flags::RST), Vec::new()), (ApplicationGaveUp, Possible));

    // Without a SYN/ACK nobody gave up at one, and no stranger answered it.
    let none = Offer::default();
    let unanswered = |ttl| Handshake { answer: none, ..aborted(SECOND / 10, ttl, Flags::RST | Flags::ACK) };
    assert_ne!(said(unanswered(64), socket(Ok(None))).0, ApplicationGaveUp);
    assert_ne!(beside(unanswered(50), Vec::new()).0, ClientVanished);
    assert_eq!(beside(aborted(SECOND / 10, 50, Flags::RST), Vec::new()), (ClientVanished, Possible));
}

#[test]
fn a_check_repeats_itself() {
    let with = |it, checks| {
        let it = verdict(it, &Around { checks, ..Around::default() });
        (it.cause, it.confidence)
    };
    let look = || aborted(SECOND / 50, 64, Flags::RST);
    assert_eq!(with(look(), 2), (ApplicationGaveUp, Possible));
    assert_eq!(with(look(), 3), (HealthCheck, Likely));
    let opened = Handshake { facts: Facts(Facts::CLIENT_RST), ..established(CLIENT, SERVER) };
    let opened = Handshake { end: End { ttl: 64, flags: Flags::RST | Flags::ACK, ..opened.end }, ..opened };
    assert_eq!(with(opened, 1), (HealthCheck, Possible));
    assert_eq!(with(opened, 3), (HealthCheck, Likely));
}

/// Accepted and reset 4 ms later; the first look at the counters found no want of memory.
#[test]
fn a_backend_is_missed_where_memory_is_not() {
    let it = established(CLIENT, SERVER);
    let end = End { ttl: 60, window: 0, flags: Flags::RST | Flags::ACK };
    let it = Handshake { facts: Facts(Facts::SERVER_RST), end, ..it };
    let outcome = Outcome::to_the_end(&it).expect("an attempt");
    let with = |for_memory, local: Local| -> (Said, String) {
        let last = Nanos(it.ended.0 + SECOND / 250);
        let attempt = Attempt { seen: (it.first_syn, last), ..Attempt::from_handshake(it, outcome) };
        let local = Local { aborts: Ok(Aborts { for_memory, otherwise: 1 }), ..local };
        let it = judge(&Case { attempt: &attempt, local: &local, past: &Past::default(), checks: 0 });
        (short(&it), it.evidence[0].clone())
    };
    let words = "the server accepted, and reset after 4.0 ms, before it sent a byte".to_owned();
    assert_eq!(with(0, here(true)), ((NoBackend, Possible), words.clone()));
    assert_ne!(with(1, here(true)).0.0, NoBackend);
    assert_eq!(with(1, here(false)), ((NoBackend, Possible), words), "this host's memory is not the server's");
}
