//! The deeds of this host itself: its rules, its listeners, its memory. By its own word, and only where an end is here.

use std::time::Duration;
use tcptrace_core::{
    handshake::{Facts, Side},
    segment::Flags,
};

use tcptrace_vocabulary::{
    errno::errno_name,
    facts::{Aborts, Call, Way},
    icmp::Meaning,
    outcome::Outcome,
    words::count,
};

use super::{
    Judgement, certain, likely, possible,
    reject::{error, silence},
    sender::answer_of,
    silence::unanswered,
};
use crate::case::Case;

/// This host has no way for the SYN, or kept it, or kept the SYN/ACK.
pub(super) fn no_route_or_local_block(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    if outcome == Outcome::NoReply {
        return no_way(case)
            .or_else(|| refused_call(case))
            .or_else(|| silent_gateway(case))
            .or_else(|| dropped_on_its_way_out(case))
            .or_else(|| not_made(case))
            .or_else(|| unsent(case));
    }
    if outcome == Outcome::Refused {
        return no_way(case).or_else(|| refused_unsent(case));
    }
    if outcome == Outcome::Unreachable { no_way(case).or_else(|| said_by_itself(case)) } else { None }
}

/// Routing leads nowhere, or by an interface that does not work.
fn no_way(case: &Case<'_>) -> Option<Judgement> {
    let errno = match case.local.way.as_ref().ok()? {
        Way::Nowhere { errno } => *errno,
        Way::Link { interface, up: false, .. } => return certain([format!("interface {interface} is down")]),
        Way::Link { interface, carrier: false, .. } => {
            return certain([format!("interface {interface} has no carrier")]);
        }
        Way::Link { .. } => return None,
    };
    let what = match errno {
        libc::ENETUNREACH => "this host has no route to it",
        libc::EACCES => "a 'prohibit' route forbids it",
        libc::EINVAL => "a 'blackhole' route drops it",
        libc::EHOSTUNREACH => "an 'unreachable' route forbids it",
        _ => "routing refuses it",
    };
    certain([format!("{what} ({})", errno_name(errno))])
}

/// connect(2) failed before a SYN was made.
fn refused_call(case: &Case<'_>) -> Option<Judgement> {
    /// No answer of another host is as fast as the local stack's.
    const AT_ONCE: Duration = Duration::from_millis(2);
    let Call { errno, took } = case.local.call.ok()?;
    let errno = errno?;
    let name = errno_name(errno);
    match errno {
        libc::EPERM | libc::EACCES => {
            certain([format!("a BPF program or a security module forbids connect(2) here ({name})")])
        }
        libc::EADDRNOTAVAIL => certain([format!("this host has no source port or address left for it ({name})")]),
        libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTUNREACH | libc::EINVAL
            if took < AT_ONCE && case.silent_neighbour().is_none() =>
        {
            likely([format!("the local stack refuses at once ({name})")])
        }
        _ => None,
    }
}

/// The next hop does not answer on the link. It says nothing of the server.
fn silent_gateway(case: &Case<'_>) -> Option<Judgement> {
    let gateway = case.silent_gateway()?;
    certain([unanswered(gateway), "nothing leaves this link".to_owned()])
}

/// The SYN was dropped on its way out, or the SYN/ACK was.
fn dropped_on_its_way_out(case: &Case<'_>) -> Option<Judgement> {
    // If both ends are here, a SYN that came by had left already.
    let is_own = case.is_here(Side::Client) && (!case.is_here(Side::Server) || case.hs().syn.tries == 0);
    if is_own && let Some(reason) = case.dropped_on_its_way_out(Side::Client) {
        return certain([format!("this host dropped its own SYN ({reason})")]);
    }
    let reason = case.dropped_on_its_way_out(Side::Server).filter(|_| case.is_here(Side::Server))?;
    certain([format!("the SYN came in, and this host dropped its own SYN/ACK ({reason})")])
}

/// TCP made no SYN for the call, and routing by now would let it.
fn not_made(case: &Case<'_>) -> Option<Judgement> {
    if case.local.made != Ok(false) {
        return None;
    }
    possible([
        "connect(2) made no SYN, and there is a route now".to_owned(),
        "the route is new, no local port was left, or a program refused the call".to_owned(),
    ])
}

/// A RST came, and no SYN was seen leaving. A rule that translates the address and a tunnel that wraps the packet
/// (IPsec) hide a SYN just as well, and the RST is another host's then.
fn refused_unsent(case: &Case<'_>) -> Option<Judgement> {
    if !case.never_left() || case.is_here(Side::Server) {
        return None;
    }
    likely([
        "a RST answered, and no SYN for it was seen leaving: this host's own rules reject or redirect it".to_owned()
    ])
}

/// No SYN was seen leaving, by this host or by the first router.
fn unsent(case: &Case<'_>) -> Option<Judgement> {
    // Without a link address nothing leaves either, and that is no rule.
    if case.never_left() && case.silent_neighbour().is_none() {
        // Translated or wrapped (IPsec), it may have left unseen.
        return likely(["no SYN for it was seen leaving: this host's own rules drop or redirect it".to_owned()]);
    }
    let other = case.is_lost_before_first_router()?;
    let (answer, far) = (answer_of(other), case.walk()?.other?.answered);
    likely([format!("SYNs to the port miss even the first router; {answer} comes from hop {far}"), silence(case)])
}

/// This host answered its own SYN by an ICMP error: a rule of its own, or a next hop that it did not find.
fn said_by_itself(case: &Case<'_>) -> Option<Judgement> {
    let (meaning, error) = (case.meaning().filter(|_| case.is_own_error())?, error(case)?);
    if meaning != Meaning::HostUnreachable {
        return certain([format!("this host's rules sent {error}")]);
    }
    let gateway = case.silent_gateway()?;
    certain([unanswered(gateway), error])
}

/// A SYN that finds the accept queue full is dropped (`tcp_conn_request`, net/ipv4/tcp_input.c), and so is a final ACK
/// (`tcp_v4_syn_recv_sock`, net/ipv4/tcp_ipv4.c), after which the SYN/ACK is sent again.
pub(super) fn listen_queue_full(case: &Case<'_>) -> Option<Judgement> {
    // With another number it is another host's.
    let again = case.attempt.was_answered_again() && !case.has(Facts::TWO_ANSWERS);
    let again_evidence = "the server repeated the SYN/ACK after the final ACK passed".to_owned();
    let was_silent =
        case.attempt.outcome == Outcome::NoReply || case.hs().syn.tries > 1 && case.attempt.outcome.is_open();
    if !(was_silent || again) || case.dropped_by_rule(Side::Client).is_some() {
        return None;
    }
    if !case.is_here(Side::Server) {
        return if again { likely([again_evidence]) } else { None };
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
    if again {
        evidence.push(again_evidence);
    }
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
        (false, false, true) => likely(evidence),
        _ => None,
    }
}

/// Seen at the interface and dropped by a rule of this host: on its way in, or through.
pub(super) fn dropped_by_local_firewall(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    let (side, what) = if outcome == Outcome::NoReply || outcome.is_open() && case.hs().syn.tries > 1 {
        (Side::Client, "SYN")
    } else if outcome == Outcome::HalfOpen && !case.is_here(Side::Client) {
        (Side::Server, "SYN/ACK")
    } else {
        return None;
    };
    let dropped = |reason: &str| [format!("this host dropped the {what} after it passed the interface ({reason})")];
    match case.dropped_by_rule_elsewhere(side) {
        Some(reason) => certain(dropped(&reason)),
        // By its number and one of its ends.
        None if side == Side::Client => likely(dropped(&case.dropped_by_rule_after_translation()?)),
        None => None,
    }
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
