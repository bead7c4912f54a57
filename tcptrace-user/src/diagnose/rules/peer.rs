//! What the client did: fell silent, gave up, or only looked.

use tcptrace_core::{
    handshake::{Facts, Side},
    outcome::Outcome,
};

use super::{Found, likely, possible};
use crate::{
    diagnose::case::{Case, hops},
    noise::{self, REPEATED},
    report::{count, ip},
};

/// Clients that leave one port half-open before it counts as a flood.
const MANY: usize = 8;
/// Linux's second try; an answer that takes longer has outlived many a timeout.
const LATE: u64 = 1_000_000_000;

pub(super) fn syn_flood(case: &Case<'_>) -> Option<Found> {
    if case.it.outcome != Outcome::HalfOpen || case.is_here(Side::Client) {
        return None;
    }
    let server = case.server();
    let clients = case.host()?.half_open_clients(server.port, case.at());
    if clients < MANY {
        return None;
    }
    let many = format!("{clients} clients or more left port {} of {} half-open", server.port, ip(server.addr));
    match case.counters().syncookies_sent {
        0 => possible([many]),
        cookies => likely([many, format!("this host sent {} meanwhile", count(cookies, "SYN cookie"))]),
    }
}

pub(super) fn client_vanished(case: &Case<'_>) -> Option<Found> {
    let hs = case.hs();
    if case.is_here(Side::Client) {
        return None;
    }
    let answers = format!("{} sent, and the client stayed silent", count(hs.answer.tries.into(), "SYN/ACK"));
    match case.it.outcome {
        Outcome::HalfOpen if case.has(Facts::ANSWER_UNREACHABLE) => likely([
            "an ICMP error came back for the SYN/ACK: whoever has that address did not ask".to_owned(),
            answers,
        ]),
        Outcome::HalfOpen if case.asks_on() => None,
        Outcome::HalfOpen if hs.answer.tries > 2 => likely([answers]),
        Outcome::HalfOpen => possible([answers]),
        Outcome::ResetOnAnswer if hs.answer.tries > 2 => likely([answers, "then the server gave up".to_owned()]),
        Outcome::ResetOnAnswer if hops(hs.end.ttl) == hops(hs.answer.ttl) => {
            possible([answers, "then the server itself gave up".to_owned()])
        }
        Outcome::Aborted if hs.answer.tries > 0 && hops(hs.end.ttl) != hops(hs.syn.ttl) => possible([format!(
            "the RST to the SYN/ACK has TTL {}, the SYN had {}: whoever has that address did not ask",
            hs.end.ttl, hs.syn.ttl
        )]),
        _ => None,
    }
}

/// The tries stop before the kernel's own ladder does, or the answer finds nobody who waits for it.
pub(super) fn application_gave_up(case: &Case<'_>) -> Option<Found> {
    let hs = case.hs();
    let tried = hs.last_syn.since(hs.first_syn) as f64 / 1e9;
    let tries = count(hs.syn.tries.into(), "SYN");
    match case.it.outcome {
        Outcome::NoReply if !case.it.trust.still_open && hs.syn.tries < 6 && !case.is_here(Side::Server) => {
            let stopped = format!("stopped after {tries} at {tried:.1} s: a connect timeout of the application");
            if case.is_here(Side::Client) && case.local.socket == Ok(None) {
                likely([stopped, "its socket is closed".to_owned()])
            } else {
                possible([stopped])
            }
        }
        Outcome::Aborted if hs.answer.tries > 0 && hs.first_answer.since(hs.first_syn) >= LATE => {
            let waited = hs.first_answer.since(hs.first_syn) as f64 / 1e9;
            likely([format!("the answer came after {waited:.1} s and found nobody who waited for it")])
        }
        _ => None,
    }
}

/// SYN, SYN/ACK, perhaps ACK, RST, no data: a port looked at.
pub(super) fn health_check(case: &Case<'_>) -> Option<Found> {
    if !noise::is_check(case.hs(), case.it.outcome, case.it.seen.1) {
        return None;
    }
    let shape = "SYN, SYN/ACK, RST within a second, no data".to_owned();
    if case.checks >= REPEATED {
        likely([shape, format!("{} of late by this client", count(case.checks.into(), "time"))])
    } else {
        possible([shape])
    }
}
