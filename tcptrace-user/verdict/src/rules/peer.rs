//! The behaviour of the client: it fell silent, gave up, or only looked.

use tcptrace_core::handshake::{Facts, Side};
use tcptrace_vocabulary::{
    outcome::Outcome,
    ttl::hops,
    words::{count, ip},
};

use super::{Judgement, likely, possible, sender::Sender};
use crate::{
    case::{Case, Part},
    past::Host,
    patterns::checks::{self, REPEATED},
};

/// Clients that leave one port half-open before it counts as a flood.
const MANY: usize = 8;
/// Linux sends seven SYNs before it gives up by itself (tcp_syn_retries), Windows three. Fewer than seven hint at a
/// timeout of the application.
const LADDER: u8 = 7;
/// Linux's second try; an answer that takes longer has outlived many a timeout.
const LATE: u64 = 1_000_000_000;
/// Seconds: two lost SYNs cost three (RFC 6298: one, and two).
const PATIENT: f64 = 3.5;

pub(super) fn syn_flood(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome != Outcome::HalfOpen || case.is_here(Side::Client) {
        return None;
    }
    let server = case.server();
    let clients = case.host()?.half_open_clients(server.port, case.at());
    if clients < MANY {
        return None;
    }
    let many = format!("{clients} clients or more left port {} of {} half-open", server.port, ip(server.addr));
    let counts = case.host()?.port(server.port, case.at());
    match case.growth(|counters| counters.syncookies_sent) {
        0 if counts.half_open > counts.answered => likely([many, format!("{} completed", counts.answered)]),
        0 => possible([many]),
        cookies => likely([many, format!("this host sent {} meanwhile", count(cookies, "SYN cookie"))]),
    }
}

pub(super) fn client_vanished(case: &Case<'_>) -> Option<Judgement> {
    let hs = case.hs();
    if case.is_here(Side::Client) {
        return None;
    }
    let answers = format!("{} sent, and the client stayed silent", count(hs.answer.tries.into(), "SYN/ACK"));
    let outcome = case.attempt.outcome;
    if outcome == Outcome::HalfOpen {
        return silent_after_answer(case, answers);
    }
    if outcome == Outcome::ResetOnAnswer && hs.answer.tries > 2 {
        return likely([answers, "then the server gave up".to_owned()]);
    }
    if outcome == Outcome::ResetOnAnswer && !Sender::of_reset(case).may_be_another() {
        return possible([answers, "then the server itself gave up".to_owned()]);
    }
    if outcome == Outcome::Aborted && is_answered_by_another(case) {
        return likely([format!(
            "the RST to the SYN/ACK has TTL {}, the SYN had {}: the host at that address did not send the SYN",
            hs.end.ttl, hs.syn.ttl
        )]);
    }
    None
}

fn silent_after_answer(case: &Case<'_>, answers: String) -> Option<Judgement> {
    if case.has(Facts::ANSWER_UNREACHABLE) {
        let error = "an ICMP error came back for the SYN/ACK: the host at that address did not send the SYN";
        return likely([error.to_owned(), answers]);
    }
    // Its ACK may be under way.
    let is_early = case.attempt.trust.still_open && case.attempt.stalled.is_none();
    match case.hs().answer.tries {
        _ if case.asks_on() => None,
        3.. => likely([answers]),
        _ if is_early => None,
        _ => possible([answers]),
    }
}

/// The tries stop before the kernel's own ladder does, or the answer finds nobody who waits for it.
pub(super) fn application_gave_up(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome == Outcome::NoReply {
        return stopped_early(case);
    }
    if case.attempt.outcome == Outcome::Aborted && case.hs().answer.tries > 0 { hung_up(case) } else { None }
}

/// The SYNs stop before the kernel stops by itself.
fn stopped_early(case: &Case<'_>) -> Option<Judgement> {
    let hs = case.hs();
    // TCP had something to drop: it was answered, by another way.
    let is_answered =
        case.dropped_without_socket(Part::Ack).is_some() || case.host().is_some_and(Host::answers_another_way);
    if is_answered || case.attempt.trust.still_open || case.is_here(Side::Server) {
        return None;
    }
    let tried = hs.last_syn.since(hs.first_syn) as f64 / 1e9;
    let tries = count(hs.syn.tries.into(), "SYN");
    let stopped = format!("stopped after {tries} in {tried:.1} s: the application's connect timeout");
    match (case.is_here(Side::Client), case.local.syn_tries) {
        (true, Ok(ladder)) if u32::from(hs.syn.tries) < ladder && case.local.socket == Ok(None) => {
            let found = [stopped, format!("the kernel would have sent {}", count(ladder.into(), "SYN"))];
            // An application that waited for longer than lost packets take has cause to give up.
            if tried < PATIENT { likely(found) } else { possible(found) }
        }
        (true, _) => None,
        (false, _) if hs.syn.tries < LADDER => possible([stopped]),
        (false, _) => None,
    }
}

/// The client reset what was answered.
fn hung_up(case: &Case<'_>) -> Option<Judgement> {
    let hs = case.hs();
    if case.is_here(Side::Client) && case.local.socket == Ok(None) {
        return likely(["the answer found no socket: the application had closed it".to_owned()]);
    }
    let waited = hs.first_answer.since(hs.first_syn);
    if waited >= LATE {
        let waited = waited as f64 / 1e9;
        return likely([format!("the answer came after {waited:.1} s, and nobody waited for it any more")]);
    }
    let is_check = checks::is_check(hs, case.attempt.outcome, case.attempt.seen.1) && case.checks < REPEATED;
    if !is_check {
        return None;
    }
    possible(["the client reset at the answer: it gave up, or only checked the port".to_owned()])
}

/// Whether another machine than the one that asked took the answer.
fn is_answered_by_another(case: &Case<'_>) -> bool {
    let hs = case.hs();
    hs.answer.tries > 0 && !case.has(Facts::RECOVERING) && hops(hs.end.ttl) != hops(hs.syn.ttl)
}

/// SYN, SYN/ACK, perhaps ACK, RST, no data: a port looked at.
pub(super) fn health_check(case: &Case<'_>) -> Option<Judgement> {
    if !checks::is_check(case.hs(), case.attempt.outcome, case.attempt.seen.1) {
        return None;
    }
    let shape = "SYN, SYN/ACK, RST within a second, no data".to_owned();
    if case.checks >= REPEATED {
        return likely([shape, format!("{} lately by this client", count(case.checks.into(), "time"))]);
    }
    if case.attempt.outcome == Outcome::ResetByClient { possible([shape]) } else { None }
}

/// Accepted, and reset before the server sent a byte.
pub(super) fn no_backend(_case: &Case<'_>) -> Option<Judgement> {
    None
}
