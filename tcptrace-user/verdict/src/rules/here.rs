//! What this host itself did: its rules, its listeners, its memory. By its own word, and only where an end is here.

use tcptrace_core::{
    handshake::{Facts, Side},
    segment::Flags,
};
use tcptrace_vocabulary::{facts::Aborts, outcome::Outcome};

use super::{Found, certain, likely, possible};
use crate::case::Case;

/// The SYN was dropped on its way out, or the SYN/ACK was.
pub(super) fn no_route_or_local_block(case: &Case<'_>) -> Option<Found> {
    if case.it.outcome != Outcome::NoReply {
        return None;
    }
    if case.is_here(Side::Client)
        && !case.is_here(Side::Server)
        && let Some(reason) = case.dropped_on_its_way_out(Side::Client)
    {
        return certain([format!("this host dropped its own SYN ({reason})")]);
    }
    let reason = case.dropped_on_its_way_out(Side::Server).filter(|_| case.is_here(Side::Server))?;
    certain([format!("the SYN came in, and this host dropped its own SYN/ACK ({reason})")])
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
        Outcome::NoReply => (Side::Client, "SYN"),
        it if it.is_open() && case.hs().syn.tries > 1 => (Side::Client, "SYN"),
        Outcome::HalfOpen if !case.is_here(Side::Client) => (Side::Server, "SYN/ACK"),
        _ => return None,
    };
    let dropped = |reason: &str| [format!("this host dropped the {what} after it came by the interface ({reason})")];
    match case.dropped_by_rule_elsewhere(side) {
        Some(reason) => certain(dropped(&reason)),
        // By its number and one of its ends.
        None if side == Side::Client => likely(dropped(&case.dropped_by_rule_after_translation()?)),
        None => None,
    }
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

/// A handshake needs none of the memory that tcp_mem limits: where that is at its limit, SYNs are answered, and closed
/// ports refuse. What fails is a packet for which there was no memory at all, and a connection that is closed with data to
/// send: it is reset.
pub(super) fn out_of_memory(case: &Case<'_>) -> Option<Found> {
    let (syns, answers) = (case.hs().syn.tries, case.hs().answer.tries);
    match case.it.outcome {
        Outcome::NoReply => {
            dropped_for_memory(case, Side::Client, syns).or_else(|| dropped_for_memory(case, Side::Server, syns))
        }
        Outcome::HalfOpen => dropped_for_memory(case, Side::Server, answers),
        Outcome::ResetByServer => reset_for_memory(case, Side::Server),
        Outcome::ResetByClient => reset_for_memory(case, Side::Client),
        _ => None,
    }
}

fn dropped_for_memory(case: &Case<'_>, side: Side, tries: u8) -> Option<Found> {
    let (count, reasons) = case.dropped_for_memory(side)?;
    let reasons = reasons.join(", ");
    let evidence = format!("of {tries} tries this host dropped {count} for want of memory ({reasons})");
    // The others were lost in another way.
    if count >= u64::from(tries) { certain([evidence]) } else { possible([evidence]) }
}

/// close(2) with much to send above tcp_mem, or among more than tcp_max_orphans, resets (`tcp_check_oom`, net/ipv4/tcp.c);
/// so does the timer of what was closed before (`tcp_out_of_resources`, net/ipv4/tcp_timer.c). Either sends a RST with an
/// ACK and counts it, and so does whatever else makes TCP reset by itself: what is counted is no connection's in particular.
fn reset_for_memory(case: &Case<'_>, side: Side) -> Option<Found> {
    let (Aborts { for_memory, otherwise }, flags) = (case.local.aborts.ok()?, case.hs().end.flags);
    if !case.is_here(side) || flags & Flags::RST == 0 || flags & Flags::ACK == 0 || for_memory == 0 {
        return None;
    }
    let grew = format!("TCPAbortOnMemory grew by {for_memory} as it was reset");
    match otherwise {
        0 => likely([grew, "no other reason of TCP's to reset was counted then".to_owned()]),
        _ => possible([grew, format!("{otherwise} were reset for other reasons then")]),
    }
}
