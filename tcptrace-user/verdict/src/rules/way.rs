//! This host's own way to the other end: its routes, its ports, its call, its gateway. By its own word.

use std::{net::IpAddr, time::Duration};

use tcptrace_core::handshake::Side;
use tcptrace_vocabulary::{
    errno::errno_name,
    facts::{Call, Dropped, Missing, Way},
    icmp::Meaning,
    outcome::Outcome,
    words::ip,
};

use super::{Judgement, Proof, certain, likely, possible, reject::error, silence::silent_next_hop};
use crate::case::{Case, Part};

/// Routing leads nowhere: for the call, for the SYN, or for the answer to it.
pub(super) fn no_route(case: &Case<'_>) -> Option<Judgement> {
    if !matches!(case.attempt.outcome, Outcome::NoReply | Outcome::Refused | Outcome::Unreachable) {
        return None;
    }
    // What answered was reached.
    let was_answered = case.attempt.outcome == Outcome::Refused
        || case.attempt.outcome == Outcome::Unreachable && case.attempt.icmp_from.is_some() && !case.is_own_error();
    (!was_answered)
        .then(|| nowhere(case))
        .flatten()
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
    let is_free = !case.listener()?.is_full();
    if !is_silent || !is_free || !case.is_here(Side::Server) || grew < case.hs().syn.tries.into() {
        return None;
    }
    let grew = format!("OutNoRoutes grew by {grew}: this host has no route for its SYN/ACK");
    match case.local.drops.as_ref().map(Vec::is_empty) {
        Ok(true) => likely([grew, "the SYN came in, a socket listens, and no packet was dropped".to_owned()]),
        Ok(false) => None,
        // A rule may have dropped the SYN.
        Err(_) => possible([grew, "the SYN came in, and a socket listens".to_owned()]),
    }
}

/// The route itself, or the interface that it names.
fn nowhere(case: &Case<'_>) -> Option<Judgement> {
    let errno = match &case.local.way {
        Ok(Way::Nowhere { errno }) => *errno,
        Ok(Way::Link { interface, up: false, .. }) => {
            return certain(Proof::LinkDown, [format!("interface {interface} is down")]);
        }
        Ok(Way::Link { interface, carrier: false, .. }) => {
            return certain(Proof::LinkDown, [format!("interface {interface} has no carrier")]);
        }
        Ok(Way::Link { .. } | Way::Many) => return None,
        Err(why) => return nowhere_then(case, *why),
    };
    let what = match errno {
        libc::ENETUNREACH => "this host has no route to it",
        libc::EACCES => "a 'prohibit' route forbids it",
        libc::EINVAL => "a 'blackhole' route drops it",
        libc::EHOSTUNREACH => "an 'unreachable' route forbids it",
        _ => "routing refuses it",
    };
    certain(Proof::RoutingRefuses, [format!("{what} ({})", errno_name(errno))])
}

/// The call stopped where TCP asks for a route, and routing has changed since.
fn nowhere_then(case: &Case<'_>, why: Missing) -> Option<Judgement> {
    (case.local.made == Ok(false) && why == Missing::Gone && case.local.call.is_err()).then_some(())?;
    likely([
        "connect(2) ended where TCP asks for a route".to_owned(),
        "routing has changed since: there may be a route now".to_owned(),
    ])
}

/// connect(2) failed sooner than any other host can answer.
fn refused_at_once(case: &Case<'_>) -> Option<Judgement> {
    /// No answer of another host is as fast as the local stack's.
    const AT_ONCE: Duration = Duration::from_millis(2);
    let Call { errno, took } = case.local.call.ok()?;
    match errno? {
        errno @ (libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTUNREACH | libc::EINVAL)
            if took < AT_ONCE && case.local.made != Ok(true) && case.silent_neighbour().is_none() =>
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
        case.dropped_on_its_way_out(side).filter(|it| is_here && it.reason == "IP_OUTNOROUTES")
    };
    let said = |part, dropped: &Dropped, what: &str| {
        let evidence = [format!("{what} ({})", dropped.reason)];
        // A try that found a route was lost in another way.
        let is_all = case.is_of_all_tries(part, dropped);
        if is_all { certain(Proof::DroppedWithoutRoute, evidence) } else { likely(evidence) }
    };
    if let Some(dropped) = no_route(Side::Client) {
        return said(Part::Syn, dropped, "this host has no route for its own SYN");
    }
    let dropped = no_route(Side::Server)?;
    said(Part::Answer, dropped, "the SYN came in, and this host has no route for its SYN/ACK")
}

/// connect(2) found no local port, or no address. The errno has no other meaning there.
pub(super) fn no_local_port(case: &Case<'_>) -> Option<Judgement> {
    let errno = case.local.call.ok()?.errno.filter(|errno| *errno == libc::EADDRNOTAVAIL)?;
    let (port, name) = (case.hs().client_port, errno_name(errno));
    let evidence = match (case.local.made, port) {
        (Ok(false), 1..) => format!("its local port {port} is already in use towards that server ({name})"),
        (Ok(false), 0) => format!("no local port is left towards that server ({name})"),
        (Ok(true) | Err(_), _) => format!("this host has no local port or address left for it ({name})"),
    };
    certain(Proof::NoPort, [evidence])
}

/// connect(2) failed by itself, and neither routing nor ports are why.
pub(super) fn connect_failed(case: &Case<'_>) -> Option<Judgement> {
    if !matches!(case.attempt.outcome, Outcome::NoReply | Outcome::Unreachable) {
        return None;
    }
    if case.local.way == Ok(Way::Many) {
        let address = ip(case.server().addr);
        let evidence = format!("{address} is a broadcast or multicast address: TCP connects to none (ENETUNREACH)");
        return certain(Proof::NotOneHost, [evidence]);
    }
    match (case.local.call.ok().and_then(|call| call.errno), &case.local.made) {
        (None, _) => not_made(case),
        (Some(errno), Ok(false)) => refused_by_program(case, errno),
        (Some(errno @ (libc::EPERM | libc::EACCES)), Err(_)) => forbidden(case, errno),
        // The errors that come for a SYN are not of its making.
        (Some(_), Ok(true) | Err(_)) => None,
    }
}

/// TCP never saw the call: routing was not asked, and no port. What remains is the refusal that the hook read.
fn refused_by_program(case: &Case<'_>, errno: i32) -> Option<Judgement> {
    if errno == libc::EADDRNOTAVAIL || matches!(case.local.way, Ok(Way::Nowhere { .. })) {
        return None;
    }
    let evidence = format!("a BPF program of the caller's cgroup refuses the call ({})", errno_name(errno));
    certain(Proof::RefusedByProgram, [evidence])
}

/// Somebody on this host forbids the call. With EPERM no route and no packet does that; with EACCES a 'prohibit' route
/// does (`fib_props`) and an ICMPv6 error (`tab_unreach`, net/ipv6/icmp.c). A broadcast address gives ENETUNREACH: TCP
/// never asks for SO_BROADCAST. Who it was, the errno does not say.
fn forbidden(case: &Case<'_>, errno: i32) -> Option<Judgement> {
    let name = errno_name(errno);
    let who = "a BPF program, a seccomp filter or a security module forbids connect(2)";
    match (errno, &case.local.way) {
        _ if case.meaning().is_some() => None,
        (libc::EACCES, Ok(Way::Nowhere { .. })) => None,
        (libc::EACCES, Err(_)) => likely([format!("{who}, or a 'prohibit' route does ({name})")]),
        _ => certain(Proof::Forbidden, [format!("{who} here ({name})")]),
    }
}

/// TCP made no SYN for the call, and neither routing nor ports were why.
fn not_made(case: &Case<'_>) -> Option<Judgement> {
    if case.local.made != Ok(false) {
        return None;
    }
    if is_link_local(ip(case.server().addr)) {
        return likely([
            "connect(2) made no SYN: a link-local address needs an interface, as in fe80::1%eth0".to_owned()
        ]);
    }
    possible([
        "connect(2) made no SYN, and there is a route".to_owned(),
        "a program refused the call, this host has no address to send from, or Fast Open waits for data".to_owned(),
    ])
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

/// The next hop does not answer on the link. It says nothing of the server.
pub(super) fn gateway_down(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome == Outcome::Unreachable {
        // This host's own error about its own SYN: it looked for the gateway, and found nobody.
        let is_own = case.is_own_error() && case.meaning() == Some(Meaning::HostUnreachable);
        let gateway = case.silent_gateway().filter(|_| is_own)?;
        return silent_next_hop(case, gateway, Proof::SilentGateway, error(case));
    }
    if case.attempt.outcome != Outcome::NoReply {
        return None;
    }
    if let Some(gateway) = case.silent_gateway() {
        return silent_next_hop(case, gateway, Proof::SilentGateway, None);
    }
    without_next_hop(case)
}

/// A packet of the handshake was dropped for want of its next hop's link address, and who that is, is not known.
fn without_next_hop(case: &Case<'_>) -> Option<Judgement> {
    let is_next_hop = |it: &&Dropped| it.reason.starts_with("NEIGH_");
    if case.is_here(Side::Client)
        && let Some(Dropped { reason, .. }) = case.dropped_on_its_way_out(Side::Client).filter(is_next_hop)
    {
        return possible([format!("this host dropped its own SYN: no link address for the next hop ({reason})")]);
    }
    let Dropped { reason, .. } = case.dropped_on_its_way_out(Side::Server).filter(is_next_hop)?;
    if !case.is_here(Side::Server) {
        return None;
    }
    likely([format!("this host dropped its SYN/ACK: the next hop to the client has no link address ({reason})")])
}
