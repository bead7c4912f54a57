//! The deeds of this host itself: its rules, its listeners, its memory. By its own word, and only where an end is here.

use tcptrace_core::{handshake::Side, segment::Flags};

use tcptrace_vocabulary::{facts::Aborts, outcome::Outcome, words::count};

use super::{Judgement, certain, likely, peer, possible, reject::silence, sender::answer_of};
use crate::case::{Case, is_firewall_reason};

/// A SYN that finds the accept queue full is dropped (`tcp_conn_request`, net/ipv4/tcp_input.c), and so is a final ACK
/// (`tcp_v4_syn_recv_sock`, net/ipv4/tcp_ipv4.c), after which the SYN/ACK is sent again.
pub(super) fn listen_queue_full(case: &Case<'_>) -> Option<Judgement> {
    let repeated = peer::repeated(case);
    let again = repeated.is_some();
    let was_silent =
        case.attempt.outcome == Outcome::NoReply || case.hs().syn.tries > 1 && case.attempt.outcome.is_open();
    if !(was_silent || again) || case.dropped_by_rule(Side::Client).is_some() {
        return None;
    }
    if !case.is_here(Side::Server) {
        return possible(repeated?);
    }
    let mut evidence = Vec::new();
    let overflows = case.growth(|counters| counters.listen_overflows);
    let full = case.listener().filter(|it| it.is_full());
    if let Some(it) = full {
        evidence.push(format!("the accept queue is full: {} wait, the limit is {}", it.queue, it.queue_max));
    }
    if overflows > 0 {
        evidence.push(format!("ListenOverflows grew by {overflows} meanwhile"));
    }
    evidence.extend(repeated.into_iter().flatten().take(1));
    let answers = case.listener().is_some();
    if let Some(reason) = case.dropped_for_queue() {
        evidence.insert(0, format!("this host dropped a packet ({reason}): the accept queue was full"));
        return certain(evidence);
    }
    match (full.is_some(), overflows > 0, again) {
        // Without the reasons of drops, rules may have dropped it as well.
        (true, true, _) | (_, true, true) if case.local.drops.is_ok() => certain(evidence),
        (true, ..) | (_, true, true) => likely(evidence),
        // The overflows may be another listener's.
        (false, true, false) if answers && case.any_drop(Side::Client, |_| true).is_none() => possible(evidence),
        // A queue with room repeats nothing: it is TCP_DEFER_ACCEPT, or the ACK did not come.
        (false, false, true) if !answers => possible(evidence),
        _ => None,
    }
}

/// A SYN that finds the queue of half-open connections full is dropped, unless a cookie can answer it
/// (`tcp_conn_request`, net/ipv4/tcp_input.c).
pub(super) fn syn_queue_full(case: &Case<'_>) -> Option<Judgement> {
    let was_silent =
        case.attempt.outcome == Outcome::NoReply || case.hs().syn.tries > 1 && case.attempt.outcome.is_open();
    let drops = case.growth(|counters| counters.syn_queue_drops);
    let is_other = case.any_drop(Side::Client, |_| true).is_some();
    if !was_silent || drops == 0 || is_other || !case.is_here(Side::Server) {
        return None;
    }
    let grew = format!("TCPReqQFullDrop grew by {drops}: a queue of half-open connections was full");
    // The counter is the whole network namespace's.
    match &case.local.listener {
        Ok(Some(listener)) if !listener.is_full() => likely([grew]),
        Ok(Some(_)) | Err(_) => possible([grew]),
        Ok(None) => None,
    }
}

/// The packet whose loss makes the outcome, and its sender: the SYN that nobody answered, perhaps only the first ones, or
/// the SYN/ACK that nobody acknowledged.
fn lost_packet(case: &Case<'_>) -> Option<(Side, &'static str)> {
    let outcome = case.attempt.outcome;
    if outcome == Outcome::NoReply || outcome.is_open() && case.hs().syn.tries > 1 {
        return Some((Side::Client, "SYN"));
    }
    (outcome == Outcome::HalfOpen).then_some((Side::Server, "SYN/ACK"))
}

/// A rule or a policy of this host dropped a packet of the handshake, without an answer.
pub(super) fn dropped_by_local_firewall(case: &Case<'_>) -> Option<Judgement> {
    if case.lacks_conntrack().is_some() {
        return None;
    }
    let (side, what) = lost_packet(case).filter(|(side, _)| *side == Side::Client || !case.is_here(Side::Client))?;
    let dropped = |reason: &str| [format!("this host dropped the {what} after it passed the interface ({reason})")];
    match case.dropped_by_rule_elsewhere(side) {
        Some(reason) => certain(dropped(&reason)),
        None if case.attempt.outcome == Outcome::NoReply => dropped_on_its_way_out(case)
            .or_else(|| unsent(case))
            // By its number and one of its ends.
            .or_else(|| likely(dropped(&case.dropped_by_rule_after_translation()?))),
        None if side == Side::Client => likely(dropped(&case.dropped_by_rule_after_translation()?)),
        None => None,
    }
}

/// A rule dropped the SYN on its way out, or the SYN/ACK.
fn dropped_on_its_way_out(case: &Case<'_>) -> Option<Judgement> {
    // If both ends are here, a SYN that came by had left already.
    let is_own = case.is_here(Side::Client) && (!case.is_here(Side::Server) || case.hs().syn.tries == 0);
    let kept = |side| case.dropped_on_its_way_out(side).filter(|reason| is_rule(reason));
    if is_own && let Some(reason) = kept(Side::Client) {
        return certain([format!("this host dropped its own SYN ({reason})")]);
    }
    let reason = kept(Side::Server).filter(|_| case.is_here(Side::Server))?;
    certain([format!("the SYN came in, and this host dropped its own SYN/ACK ({reason})")])
}

/// Whether a rule or policy is behind a drop: a filter, or the discipline of an interface's queue.
fn is_rule(reason: &str) -> bool {
    is_firewall_reason(reason) || reason.starts_with("QDISC_")
}

/// No SYN was seen leaving, by this host or by the first router: that answers what is too old when it comes in, before
/// its rules see it (`ip_forward`, net/ipv4/ip_forward.c).
fn unsent(case: &Case<'_>) -> Option<Judgement> {
    // Without a link address nothing leaves either, and that is no rule. Nor does a call whose SYN was never made.
    if case.never_left() && case.silent_neighbour().is_none() && case.local.made != Ok(false) {
        // Translated or wrapped (IPsec), it may have left unseen.
        return likely(["no SYN for it was seen leaving: this host's own rules drop or redirect it".to_owned()]);
    }
    let other = case.is_lost_before_first_router()?;
    let (answer, far) = (answer_of(other), case.walk()?.other?.answered);
    likely([format!("SYNs to the port miss even the first router; {answer} comes from hop {far}"), silence(case)])
}

/// Connection tracking dropped a packet that no rule dropped: its table is full. The counters are of a whole namespace.
pub(super) fn conntrack_full(case: &Case<'_>) -> Option<Judgement> {
    case.lacks_conntrack().filter(|it| it.no_room).map(|it| likely(it.evidence))?
}

/// Address translation dropped a packet, because no port was free for it.
pub(super) fn nat_exhausted(case: &Case<'_>) -> Option<Judgement> {
    case.lacks_conntrack().filter(|it| !it.no_room).map(|it| likely(it.evidence))?
}

/// The way back to the sender uses another interface than the packet came in on. Only IPv4 has this reason.
pub(super) fn reverse_path_filter(case: &Case<'_>) -> Option<Judgement> {
    let (side, what) = lost_packet(case)?;
    let reason = case.any_drop(side, |reason| reason == "IP_RPFILTER")?;
    certain([format!("this host dropped the {what}: its route back to the sender uses another interface ({reason})")])
}

/// The packet came in with a wrong checksum, its own or that of the tunnel around it.
pub(super) fn bad_checksum(case: &Case<'_>) -> Option<Judgement> {
    let (side, what) = lost_packet(case)?;
    let reason = case.any_drop(side, |reason| matches!(reason, "TCP_CSUM" | "UDP_CSUM" | "IP_CSUM"))?;
    certain([format!("this host dropped the {what}: its checksum is wrong ({reason})")])
}

/// The SYN/ACK came in at the interface, and the socket waits for it still.
pub(super) fn answer_lost_locally(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome != Outcome::HalfOpen || !case.is_here(Side::Client) || case.hs().server_point.is_egress() {
        return None;
    }
    if let Some(reason) = case.dropped_by_rule(Side::Server) {
        return certain([format!("this host dropped the SYN/ACK after it came in ({reason})")]);
    }
    match &case.local.socket {
        Ok(Some(socket)) if socket.state == "SYN-SENT" => {
            let answers = count(case.hs().answer.tries.into(), "SYN/ACK");
            likely([format!("{answers} came in, and the socket is still in SYN-SENT")])
        }
        _ => None,
    }
}

/// A handshake needs none of the memory that tcp_mem limits: where that is at its limit, SYNs are answered, and closed
/// ports refuse. Only two things fail: a packet for which there was no memory at all, and a connection that is closed
/// with data to send, which is reset.
pub(super) fn out_of_memory(case: &Case<'_>) -> Option<Judgement> {
    let (syns, answers) = (case.hs().syn.tries, case.hs().answer.tries);
    let outcome = case.attempt.outcome;
    if outcome == Outcome::NoReply {
        return dropped_for_memory(case, Side::Client, syns).or_else(|| dropped_for_memory(case, Side::Server, syns));
    }
    if outcome == Outcome::HalfOpen {
        return dropped_for_memory(case, Side::Server, answers);
    }
    if outcome == Outcome::ResetByServer {
        return reset_for_memory(case, Side::Server);
    }
    if outcome == Outcome::ResetByClient { reset_for_memory(case, Side::Client) } else { None }
}

fn dropped_for_memory(case: &Case<'_>, side: Side, tries: u8) -> Option<Judgement> {
    let (count, reasons) = case.dropped_for_memory(side)?;
    let reasons = reasons.join(", ");
    let evidence = format!("this host dropped {count} of {tries} tries for want of memory ({reasons})");
    // The others were lost in another way.
    if count >= u64::from(tries) { certain([evidence]) } else { possible([evidence]) }
}

/// close(2) with much to send above tcp_mem, or among more than tcp_max_orphans, resets (`tcp_check_oom`,
/// net/ipv4/tcp.c); so does the timer of a socket that was closed before (`tcp_out_of_resources`,
/// net/ipv4/tcp_timer.c). Either sends a RST with an ACK and counts it, and so does whatever else makes TCP reset by
/// itself: the counter does not name the connection.
fn reset_for_memory(case: &Case<'_>, side: Side) -> Option<Judgement> {
    let (Aborts { for_memory, otherwise }, flags) = (case.local.aborts.ok()?, case.hs().end.flags);
    if !case.is_here(side) || flags & Flags::RST == 0 || flags & Flags::ACK == 0 || for_memory == 0 {
        return None;
    }
    let grew = format!("TCPAbortOnMemory grew by {for_memory} at the reset");
    match otherwise {
        0 => likely([grew, "TCP counted no other reason to reset then".to_owned()]),
        _ => possible([grew, format!("TCP reset {otherwise} for other reasons then")]),
    }
}
