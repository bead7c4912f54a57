//! What this host itself did: its rules, its listeners, its memory. By its own word, and only where an end is here.

use tcptrace_core::{
    handshake::{Facts, Side},
    outcome::Outcome,
};

use super::{Found, certain, likely, possible};
use crate::diagnose::case::Case;

/// The SYN was dropped on its way out.
pub(super) fn no_route_or_local_block(case: &Case<'_>) -> Option<Found> {
    if case.it.outcome != Outcome::NoReply || !case.is_here(Side::Client) || case.is_here(Side::Server) {
        return None;
    }
    let reason = case.dropped_on_its_way_out(Side::Client)?;
    certain([format!("this host dropped its own SYN ({reason})")])
}

/// A SYN that finds the accept queue full is dropped (`tcp_conn_request`, net/ipv4/tcp_input.c), and so is a final ACK
/// (`tcp_v4_syn_recv_sock`, net/ipv4/tcp_ipv4.c), after which the SYN/ACK is sent again.
pub(super) fn listen_queue_full(case: &Case<'_>) -> Option<Found> {
    // With another number it is another host's.
    let again = case.it.was_answered_again() && !case.has(Facts::TWO_ANSWERS);
    let again_evidence = "the SYN/ACK was sent again after the final ACK had come by".to_owned();
    let was_silent = case.it.outcome == Outcome::NoReply || case.hs().syn.tries > 1 && case.it.outcome.is_open();
    if !(was_silent || again) || case.dropped_by_rule(Side::Client).is_some() {
        return None;
    }
    if !case.is_here(Side::Server) {
        return if again { likely([again_evidence]) } else { None };
    }
    let mut evidence = Vec::new();
    let overflows = case.counters().listen_overflows;
    let full = case.listener().filter(|it| it.is_full());
    if let Some(it) = full {
        evidence.push(format!("the accept queue is full: {} wait in it, and {} may", it.queue, it.queue_max));
    }
    if overflows > 0 {
        evidence.push(format!("ListenOverflows grew by {overflows} meanwhile"));
    }
    if again {
        evidence.push(again_evidence);
    }
    let answers = case.listener().is_some();
    if let Some(reason) = case.dropped_for_queue() {
        evidence.insert(0, format!("this host dropped a packet of it ({reason}): the accept queue was full"));
        return certain(evidence);
    }
    match (full.is_some(), overflows > 0, again) {
        // Without the reasons of drops, rules may have dropped it as well.
        (true, true, _) | (_, true, true) if case.local.drops.is_ok() => certain(evidence),
        (true, ..) | (_, true, true) => likely(evidence),
        // Of another listener, it may be.
        (false, true, false) if answers && case.any_drop(Side::Client, |_| true).is_none() => possible(evidence),
        (false, false, true) => likely(evidence),
        _ => None,
    }
}

/// Seen at the interface and dropped by a rule of this host: on its way in, or through.
pub(super) fn dropped_by_local_firewall(case: &Case<'_>) -> Option<Found> {
    let (side, what) = match case.it.outcome {
        Outcome::NoReply if !case.is_here(Side::Client) || case.is_here(Side::Server) => (Side::Client, "SYN"),
        it if it.is_open() && case.hs().syn.tries > 1 && !case.is_here(Side::Client) => (Side::Client, "SYN"),
        Outcome::HalfOpen if !case.is_here(Side::Client) => (Side::Server, "SYN/ACK"),
        _ => return None,
    };
    let reason = case.dropped_by_rule(side)?;
    certain([format!("this host dropped the {what} after it came by the interface ({reason})")])
}

/// The SYN/ACK came in at the interface, and the socket waits for it still.
pub(super) fn answer_lost_locally(case: &Case<'_>) -> Option<Found> {
    if case.it.outcome != Outcome::HalfOpen || !case.is_here(Side::Client) || case.hs().server_point.is_egress() {
        return None;
    }
    if let Some(reason) = case.dropped_by_rule(Side::Server) {
        return certain([format!("this host dropped the SYN/ACK after it came in ({reason})")]);
    }
    match &case.local.socket {
        Ok(Some(socket)) if socket.state == "SYN-SENT" => {
            likely([format!("{} SYN/ACKs came in, and the socket is in SYN-SENT still", case.hs().answer.tries)])
        }
        _ => None,
    }
}

/// TCP's memory is at its limit (tcp_mem), or ran out while the attempt was open.
pub(super) fn out_of_memory(case: &Case<'_>) -> Option<Found> {
    if !(case.is_here(Side::Client) || case.is_here(Side::Server)) {
        return None;
    }
    let counters = case.counters();
    if let Some(reason) = case.dropped_for_memory() {
        return certain([format!("this host dropped a packet of it for want of memory ({reason})")]);
    }
    if counters.abort_on_memory > 0 {
        return likely([format!("TCPAbortOnMemory grew by {} meanwhile", counters.abort_on_memory)]);
    }
    if counters.memory_limit > 0 && counters.memory_pages >= counters.memory_limit {
        let (pages, limit) = (counters.memory_pages, counters.memory_limit);
        return likely([format!("TCP takes {pages} pages of memory, and {limit} is the limit (tcp_mem)")]);
    }
    None
}
