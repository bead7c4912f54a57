//! The behaviour of the client: it fell silent, gave up, or only looked.

use std::iter;

use tcptrace_core::handshake::{Facts, Side};
use tcptrace_vocabulary::{
    facts::Onward,
    outcome::Outcome,
    ttl::hops,
    words::{count, endpoint, ip},
};

use super::{Judgement, likely, possible, sender::Sender};
use crate::{
    case::{Case, Part},
    past::Host,
    patterns::checks::{self, REPEATED},
};

/// Clients that leave one port half-open before it counts as a flood.
const MANY: usize = 8;
/// Linux's second try; an answer that takes longer has outlived many a timeout.
const LATE: u64 = 1_000_000_000;

pub(super) fn syn_flood(case: &Case<'_>) -> Option<Judgement> {
    let hs = case.hs();
    let is_single = case.attempt.outcome == Outcome::NoReply && hs.syn.tries == 1 && !case.attempt.trust.still_open;
    if is_single && !case.is_half_of_another() && case.past.is_flooded(case.server(), hs.first_syn) {
        let port = case.server().port;
        return likely([format!("many clients sent port {port} a single SYN each, and never came again")]);
    }
    // A client that asks again is one that waits, and many of them are an outage.
    let is_single = case.attempt.outcome == Outcome::HalfOpen && hs.syn.tries <= 1;
    // Where no ACK can be seen, what completed looks the same.
    if !is_single || case.is_here(Side::Client) || case.past.view().lacks_acks().is_some() {
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
    // An ACK of another number is no silence.
    if case.has(Facts::ACK_IGNORED) || case.damaged().is_some() {
        return None;
    }
    if outcome == Outcome::HalfOpen {
        return silent_after_answer(case, answers);
    }
    // Its SYN came again: it is not silent.
    if case.asks_on() {
        return None;
    }
    if outcome == Outcome::ResetOnAnswer && hs.answer.tries > 2 {
        return likely([answers, "then the server gave up".to_owned()]);
    }
    if outcome == Outcome::ResetOnAnswer && !Sender::of_reset(case).may_be_another() {
        return possible([answers, "then the server itself gave up".to_owned()]);
    }
    if outcome == Outcome::Aborted && is_answered_by_another(case) {
        // A scanner's raw SYN has any TTL, and its kernel's RST the system's.
        return possible([
            format!("the RST to the SYN/ACK has TTL {}, the SYN had {}", hs.end.ttl, hs.syn.ttl),
            "the SYN was forged, or a scanner sent it past its own kernel".to_owned(),
        ]);
    }
    None
}

fn silent_after_answer(case: &Case<'_>, answers: String) -> Option<Judgement> {
    // A rule of the client's may reject the SYN/ACK; the client repeats its SYN then.
    if case.has(Facts::ANSWER_UNREACHABLE) && !case.asks_on() {
        let error = "an ICMP error came back for the SYN/ACK: its source may be forged, or a router kept it";
        return possible([error.to_owned(), answers]);
    }
    // Its ACK may be under way.
    let is_early = case.attempt.trust.still_open && case.attempt.stalled.is_none();
    let doubt = case.past.view().lacks_acks();
    match (case.hs().answer.tries, doubt) {
        _ if case.asks_on() => None,
        // A server sends its SYN/ACK again if it has no ACK, or no room for the connection.
        (3.., Some(doubt)) => possible([answers, doubt]),
        (_, Some(_)) => None,
        (tries, None) => unacknowledged(case, answers, tries, is_early),
    }
}

/// The client never acknowledged a SYN/ACK, in a capture that shows others' ACKs, or live.
fn unacknowledged(case: &Case<'_>, answers: String, tries: u8, is_early: bool) -> Option<Judgement> {
    match tries {
        3.. if case.host().is_some_and(|host| host.answered(case.hs(), case.attempt.outcome).own > 0) => {
            possible([answers, "the client's other attempts to this port were answered meanwhile".to_owned()])
        }
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

/// The SYNs stopped sooner than the port answers anybody. Where nothing of it ever answered, that they stopped is a fact
/// and no cause.
fn stopped_early(case: &Case<'_>) -> Option<Judgement> {
    // TCP had something to drop: it was answered, by another way.
    let is_answered =
        case.dropped_without_socket(Part::Ack).is_some() || case.host().is_some_and(Host::answers_another_way);
    if is_answered || case.attempt.trust.still_open || case.is_here(Side::Server) {
        return None;
    }
    let (waited, fastest) = outpaced(case)?;
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let evidence: Vec<_> = iter::once(format!(
        "the client stopped within {:.1} s; the port answers after {:.1} s",
        seconds(waited),
        seconds(fastest)
    ))
    .chain(stopped(case))
    .collect();
    let is_known = case.is_here(Side::Client) && case.local.socket == Ok(None);
    if is_known { likely(evidence) } else { possible(evidence) }
}

/// The longest time that a client can have waited whose SYNs stopped, and the shortest that the port takes to answer,
/// where that is longer. The next SYN would have come after twice the time, or a second (RFC 6298, section 2).
pub(super) fn outpaced(case: &Case<'_>) -> Option<(u64, u64)> {
    let tried = case.hs().last_syn.since(case.hs().first_syn);
    let waited = tried.saturating_mul(2).saturating_add(LATE);
    let fastest = case.host()?.fastest_of(case.server().port)?;
    (fastest > waited && !case.attempt.trust.still_open).then_some((waited, fastest))
}

/// That the SYNs of an attempt stopped.
pub(crate) fn stopped(case: &Case<'_>) -> Option<String> {
    let hs = case.hs();
    if case.attempt.outcome != Outcome::NoReply || case.attempt.trust.still_open || hs.syn.tries == 0 {
        return None;
    }
    let tried = hs.last_syn.since(hs.first_syn) as f64 / 1e9;
    let tries = count(hs.syn.tries.into(), "SYN");
    let ladder = case.local.syn_tries.ok().filter(|it| case.is_here(Side::Client) && u32::from(hs.syn.tries) < *it)?;
    Some(format!("the client stopped after {tries} in {tried:.1} s; its kernel would have sent {ladder}"))
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
    if !is_check || case.attempt.noted.reset_by_another.is_some() {
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
    let is_check = checks::is_check(case.hs(), case.attempt.outcome, case.attempt.seen.1);
    if !is_check || case.attempt.noted.reset_by_another.is_some() {
        return None;
    }
    let shape = "SYN, SYN/ACK, RST within a second, no data".to_owned();
    if case.checks >= REPEATED {
        return likely([shape, format!("{} lately by this client", count(case.checks.into(), "time"))]);
    }
    if case.attempt.outcome == Outcome::ResetByClient { possible([shape]) } else { None }
}

/// Names of programs that accept connections for others.
const PROXIES: [&str; 13] = [
    "docker-proxy",
    "rootlessport",
    "slirp4netns",
    "pasta",
    "envoy",
    "haproxy",
    "nginx",
    "traefik",
    "kube-proxy",
    "caddy",
    "socat",
    "squid",
    "linkerd2-proxy",
];

/// Accepted, and reset before the server sent a byte: a proxy whose backend is away. A service that refuses a client
/// does the same.
pub(super) fn no_backend(case: &Case<'_>) -> Option<Judgement> {
    let wants_memory = case.is_here(Side::Server) && case.local.aborts.is_ok_and(|it| it.for_memory > 0);
    if !case.attempt.is_unserved() || wants_memory {
        return None;
    }
    let after = case.attempt.seen.1.since(case.hs().ended) as f64 / 1e6;
    let evidence = format!("the server accepted, and reset after {after:.1} ms, before it sent a byte");
    if let Ok(Some(onward)) = &case.local.onward {
        return likely([backend_failed(onward), evidence]);
    }
    let proxy = case.listener().and_then(|it| it.process.as_ref().ok()).map(|it| it.command.as_str());
    match proxy.filter(|name| case.is_here(Side::Server) && PROXIES.contains(name)) {
        Some(name) => likely([format!("{name} accepts for somebody else"), evidence]),
        None => possible([evidence, "a proxy without a backend, or a service that sends clients away".to_owned()]),
    }
}

/// The failed attempt of the process that accepted.
fn backend_failed(onward: &Onward) -> String {
    let how = match onward.outcome {
        Some(Outcome::Refused) => "was refused",
        Some(Outcome::Unreachable) => "could not be reached",
        Some(_) => "did not answer",
        None => "could not even be asked: connect(2) failed",
    };
    format!("the process that accepted called {} meanwhile, which {how}", endpoint(onward.server))
}

/// The SYN/ACK came again although the final ACK had passed, and nothing shows that the ACK came through. On the wire a
/// full accept queue, a listener that waits for data (TCP_DEFER_ACCEPT) and an ACK that is lost farther on are the same.
pub(super) fn repeated(case: &Case<'_>) -> Option<[String; 2]> {
    // With another number it is another host's.
    if !case.attempt.was_answered_again() || case.has(Facts::TWO_ANSWERS) {
        return None;
    }
    if case.host().is_some_and(|it| it.completes_meanwhile(case.hs())) {
        return None;
    }
    let other = if case.has(Facts::CLIENT_DATA) {
        "an ACK that is lost farther on looks the same"
    } else {
        "TCP_DEFER_ACCEPT, which waits for data, and a lost ACK look the same"
    };
    Some(["the server repeated the SYN/ACK after the final ACK passed".to_owned(), other.to_owned()])
}
