//! What the suites of the judge share: attempts, what else there was around them, and facts of this host. Whatever a
//! suite needs alone stands there.
#![allow(dead_code, reason = "each suite uses a part of it")]

use tcptrace_core::{
    drops::Kind,
    flow::{Addr, Endpoint},
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, Side, State},
    segment::{Flags, Kind as SegmentKind},
};
use tcptrace_verdict::{case::Case, judge, past::Past, proof::Proof};
use tcptrace_vocabulary::{
    attempt::{Attempt, Noted, Trust},
    cause::{Cause, Confidence},
    facts::{Counters, Dropped, Listener, Local, Missing, Place, Suspect},
    outcome::Outcome,
    scope::Extent,
    verdict::Verdict,
};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const NOW: Nanos = Nanos(10_000 * SECOND);
pub(crate) const CLIENT: Addr = Addr::v4(0xc633_6402);
pub(crate) const OTHER_CLIENT: Addr = Addr::v4(0xc633_6403);
pub(crate) const SERVER: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 6036 };

/// One SYN without an answer, a minute ago.
pub(crate) fn silent(client: Addr, server: Endpoint) -> Handshake {
    Handshake {
        client_addr: client,
        client_port: 40_000,
        server_addr: server.addr,
        server_port: server.port,
        first_syn: NOW,
        last_syn: NOW,
        client_point: Point::egress(2),
        syn: Offer { ttl: 64, tries: 1, ..Offer::default() },
        state: State::SynSent as u8,
        ..Handshake::default()
    }
}

/// Its SYN/ACK, so many nanoseconds later, with TTL 60.
pub(crate) fn answered(after: u64) -> Handshake {
    let it = silent(CLIENT, SERVER);
    let at = Nanos(it.first_syn.0 + after);
    Handshake {
        first_answer: at,
        last_answer: at,
        server_point: Point::ingress(2),
        answer: Offer { ttl: 60, tries: 1, ..Offer::default() },
        answered_try: 1,
        state: State::SynReceived as u8,
        ..it
    }
}

pub(crate) fn established(client: Addr, server: Endpoint) -> Handshake {
    let it = answered(SECOND / 50);
    Handshake {
        client_addr: client,
        server_addr: server.addr,
        server_port: server.port,
        ended: Nanos(it.last_answer.0 + 1),
        end: End { flags: Flags::ACK, ..End::default() },
        state: State::Established as u8,
        ..it
    }
}

pub(crate) fn refused(ttl: u8, window: u16, flags: u8) -> Handshake {
    let it = silent(CLIENT, SERVER);
    let ended = Nanos(it.first_syn.0 + SECOND / 50);
    Handshake { ended, end: End { ttl, window, flags }, state: State::Refused as u8, ..it }
}

pub(crate) fn unreachable(kind: u8, code: u8) -> Handshake {
    let it = silent(CLIENT, SERVER);
    Handshake { ended: NOW, facts: Facts(Facts::UNREACHABLE), icmp_kind: kind, icmp_code: code, ..it }
}

/// What there is beside an attempt.
#[derive(Default)]
pub(crate) struct Around {
    pub(crate) worked: Vec<Handshake>,
    pub(crate) local: Option<Local>,
    pub(crate) checks: u32,
    pub(crate) answered_from: Option<Addr>,
    pub(crate) icmp_from: Option<Addr>,
    pub(crate) still_open: bool,
    pub(crate) lost: u64,
    /// What the bytes of its packets show, and those of others; whether any packet has the right checksum.
    pub(crate) noted: Noted,
    pub(crate) bytes: Vec<(Handshake, Noted)>,
    pub(crate) some_right: bool,
    /// The segments of the capture: the kind, and whether it is of a conversation whose other side was seen. None: live.
    pub(crate) segments: Vec<(SegmentKind, bool)>,
}

pub(crate) fn verdict(handshake: Handshake, around: &Around) -> Verdict {
    with_case(handshake, around, judge)
}

/// What makes the verdict certain.
pub(crate) fn proof(handshake: Handshake, around: &Around) -> Option<Proof> {
    with_case(handshake, around, tcptrace_verdict::proof)
}

fn with_case<T>(handshake: Handshake, around: &Around, of: impl FnOnce(&Case<'_>) -> T) -> T {
    let outcome = Outcome::to_the_end(&handshake).expect("an attempt");
    let mut history = Past::default();
    for it in &around.worked {
        history.note(it, Outcome::of(it).expect("an attempt"));
    }
    history.note(&handshake, outcome);
    for (it, noted) in around.bytes.iter().chain([&(handshake, around.noted)]) {
        history.note_bytes(it, Outcome::to_the_end(it).expect("an attempt"), noted);
    }
    if around.some_right {
        history.note_checksum(true);
    }
    around.segments.iter().for_each(|(kind, is_reply)| history.note_segment(*kind, *is_reply));
    let attempt = Attempt {
        icmp_from: around.icmp_from,
        answered_from: around.answered_from,
        noted: around.noted,
        trust: Trust { still_open: around.still_open, events_lost: around.lost, ..Trust::default() },
        ..Attempt::from_handshake(handshake, outcome)
    };
    let unknown = Local::unknown(Missing::NotAsked);
    let local = around.local.as_ref().unwrap_or(&unknown);
    of(&Case { attempt: &attempt, local, past: &history, checks: around.checks })
}

#[track_caller]
pub(crate) fn assert_said(said: &Verdict, cause: Cause, confidence: Confidence, extent: Extent) {
    assert_eq!((said.cause, said.confidence, said.scope.extent), (cause, confidence, extent), "{said:#?}");
    assert!(!said.next.is_empty() && said.next.iter().all(|it| !it.contains('{')), "{said:#?}");
    assert!(!said.scope.evidence.is_empty() && (cause == Cause::Unknown || !said.evidence.is_empty()), "{said:#?}");
}

pub(crate) const PORT_80: Endpoint = Endpoint { port: 80, ..SERVER };
pub(crate) const NEIGHBOUR: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7109), port: 443 };
pub(crate) const FAR: Endpoint = Endpoint { addr: Addr::v4(0x0808_0808), port: 443 };

pub(crate) fn here(server: bool) -> Local {
    Local {
        client_here: Ok(!server),
        server_here: Ok(server),
        rules: Ok(vec![suspect(None)]),
        counters: Ok(ZERO),
        ..Local::unknown(Missing::Elsewhere)
    }
}

pub(crate) fn suspect(grew: Option<u64>) -> Suspect {
    let (table, chain) = ("t".to_owned(), "i".to_owned());
    Suspect { hook: "input", family: "inet", table, chain, handle: Some(5), rejects: false, packets: grew, grew }
}

/// A rule that answers what it drops.
pub(crate) fn rejecting() -> Vec<Suspect> {
    vec![Suspect { rejects: true, ..suspect(None) }]
}

pub(crate) fn listener(queue: u32) -> Option<Listener> {
    Some(Listener { process: Err(Missing::Gone), queue, queue_max: 1, sockets: 1, apart: None })
}

pub(crate) fn dropped(from: Side, reason: &str) -> Vec<Dropped> {
    vec![Dropped {
        at: NOW,
        from,
        packet: if from == Side::Client { Kind::Syn } else { Kind::SynAck },
        fits: Some(true),
        reason: reason.to_owned(),
        count: 1,
        place: Place::Unknown,
        netns: 0,
        within: None,
        translated: None,
    }]
}

/// The same so many seconds earlier.
pub(crate) fn earlier(it: Handshake, seconds: u64) -> Handshake {
    let before = |at: Nanos| Nanos(at.0.saturating_sub(seconds * SECOND));
    let (first_syn, last_syn, ended) = (before(it.first_syn), before(it.last_syn), before(it.ended));
    let (first_answer, last_answer) = (before(it.first_answer), before(it.last_answer));
    Handshake { first_syn, last_syn, first_answer, last_answer, ended, ..it }
}

pub(crate) const ZERO: Counters = Counters {
    is_conntrack_known: true,
    listen_overflows: 0,
    listen_drops: 0,
    syncookies_sent: 0,
    syn_queue_drops: 0,
    abort_on_memory: 0,
    memory_pressures: 0,
    challenge_acks: 0,
    reverse_path_drops: 0,
    no_routes_out: 0,
    checksum_errors: 0,
    conntrack_drops: 0,
    conntrack_insert_failed: 0,
    conntrack_entries: 0,
    conntrack_limit: 0,
    memory_pages: 0,
    memory_limit: 0,
};
