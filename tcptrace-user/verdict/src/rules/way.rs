//! This host's own way to the other end: its routes, its ports, its call, its gateway. By its own word.

use std::time::Duration;
use tcptrace_core::handshake::Side;

use tcptrace_vocabulary::{
    errno::errno_name,
    facts::{Call, Way},
    icmp::Meaning,
    outcome::Outcome,
};

use super::{Judgement, certain, likely, possible, reject::error, silence::unanswered};
use crate::case::Case;

/// Routing leads nowhere: for the call, for the SYN, or for the answer to it.
pub(super) fn no_route(case: &Case<'_>) -> Option<Judgement> {
    if !matches!(case.attempt.outcome, Outcome::NoReply | Outcome::Refused | Outcome::Unreachable) {
        return None;
    }
    nowhere(case)
        .or_else(|| refused_at_once(case))
        .or_else(|| dropped_without_route(case))
        .or_else(|| unanswered_without_route(case))
}

/// The SYN came in, somebody listens, and nothing was dropped: TCP looks for the way back before it makes the SYN/ACK,
/// and counts that it has none (`inet_csk_route_req`, net/ipv4/inet_connection_sock.c). The counter is the whole
/// namespace's.
fn unanswered_without_route(case: &Case<'_>) -> Option<Judgement> {
    let grew = case.growth(|counters| counters.no_routes_out);
    let is_silent = case.attempt.outcome == Outcome::NoReply && case.hs().syn.tries > 0;
    let is_free = case.local.drops.as_ref().is_ok_and(Vec::is_empty) && !case.listener()?.is_full();
    if !is_silent || !is_free || !case.is_here(Side::Server) || grew < case.hs().syn.tries.into() {
        return None;
    }
    likely([
        format!("OutNoRoutes grew by {grew}: this host has no route for its SYN/ACK"),
        "the SYN came in, a socket listens, and no packet was dropped".to_owned(),
    ])
}

/// The route itself, or the interface that it names.
fn nowhere(case: &Case<'_>) -> Option<Judgement> {
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

/// connect(2) failed sooner than any other host can answer.
fn refused_at_once(case: &Case<'_>) -> Option<Judgement> {
    /// No answer of another host is as fast as the local stack's.
    const AT_ONCE: Duration = Duration::from_millis(2);
    let Call { errno, took } = case.local.call.ok()?;
    match errno? {
        errno @ (libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTUNREACH | libc::EINVAL)
            if took < AT_ONCE && case.silent_neighbour().is_none() =>
        {
            likely([format!("the local stack refuses at once ({})", errno_name(errno))])
        }
        _ => None,
    }
}

/// The kernel dropped a packet of the handshake because it found no route for it.
fn dropped_without_route(case: &Case<'_>) -> Option<Judgement> {
    let no_route = |side: Side| {
        let is_here = case.is_here(side);
        case.dropped_on_its_way_out(side).filter(|reason| is_here && *reason == "IP_OUTNOROUTES")
    };
    if let Some(reason) = no_route(Side::Client) {
        return certain([format!("this host has no route for its own SYN ({reason})")]);
    }
    let reason = no_route(Side::Server)?;
    certain([format!("the SYN came in, and this host has no route for its SYN/ACK ({reason})")])
}

/// connect(2) found no local port, or no address.
pub(super) fn no_local_port(case: &Case<'_>) -> Option<Judgement> {
    match case.local.call.ok()?.errno? {
        errno @ libc::EADDRNOTAVAIL => {
            certain([format!("this host has no local port or address left for it ({})", errno_name(errno))])
        }
        _ => None,
    }
}

/// connect(2) failed by itself, and neither routing nor ports are why.
pub(super) fn connect_failed(case: &Case<'_>) -> Option<Judgement> {
    if !matches!(case.attempt.outcome, Outcome::NoReply | Outcome::Unreachable) {
        return None;
    }
    match case.local.call.ok().and_then(|call| call.errno) {
        Some(errno @ (libc::EPERM | libc::EACCES)) => {
            let name = errno_name(errno);
            certain([format!("a BPF program or a security module forbids connect(2) here ({name})")])
        }
        Some(_) => None,
        None => not_made(case),
    }
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

/// The next hop does not answer on the link. It says nothing of the server.
pub(super) fn gateway_down(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome == Outcome::Unreachable {
        // This host's own error about its own SYN: it looked for the gateway, and found nobody.
        let is_own = case.is_own_error() && case.meaning() == Some(Meaning::HostUnreachable);
        let gateway = case.silent_gateway().filter(|_| is_own)?;
        return certain([unanswered(gateway), error(case)?]);
    }
    if case.attempt.outcome != Outcome::NoReply {
        return None;
    }
    if let Some(gateway) = case.silent_gateway() {
        return certain([unanswered(gateway), "nothing leaves this link".to_owned()]);
    }
    without_next_hop(case)
}

/// A packet of the handshake was dropped for want of its next hop's link address, and who that is, is not known.
fn without_next_hop(case: &Case<'_>) -> Option<Judgement> {
    let is_next_hop = |reason: &&str| reason.starts_with("NEIGH_");
    if case.is_here(Side::Client)
        && let Some(reason) = case.dropped_on_its_way_out(Side::Client).filter(is_next_hop)
    {
        return possible([format!("this host dropped its own SYN: no link address for the next hop ({reason})")]);
    }
    let reason = case.dropped_on_its_way_out(Side::Server).filter(is_next_hop)?;
    if !case.is_here(Side::Server) {
        return None;
    }
    likely([format!("this host dropped its SYN/ACK: the next hop to the client has no link address ({reason})")])
}
