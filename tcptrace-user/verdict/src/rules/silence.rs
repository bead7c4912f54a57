//! Nobody answered: whether the port, the host or the way to it is dead.

use tcptrace_core::handshake::Side;
use tcptrace_vocabulary::{
    outcome::Outcome,
    words::{count, ip},
};

use super::{
    Found, certain, likely, possible,
    reject::{error, is_contradicted},
};
use crate::{case::Case, past::Life};

/// For so long a service may take to answer, and its queue to drain; two lost SYNs cost three seconds.
const LONG: u64 = 3_500_000_000;
/// No system begins with a TTL below this; who looks at a way does.
const SHORT: u8 = 32;

/// Silent, while the same host answers on another port, or others on this one.
pub(super) fn firewall_drop(case: &Case<'_>) -> Option<Found> {
    let (hs, server) = (case.hs(), case.server());
    let name = ip(server.addr);
    if case.it.outcome == Outcome::HalfOpen && case.asks_on() && !case.is_here(Side::Client) {
        return possible([format!(
            "the client asks again ({} SYNs) after {} SYN/ACKs: they do not reach it",
            hs.syn.tries, hs.answer.tries
        )]);
    }
    if case.it.outcome != Outcome::NoReply || case.is_here(Side::Server) {
        return None;
    }
    let host = case.host()?;
    let answered = host.answered(case.hs(), case.it.outcome);
    let counts = host.port(server.port, case.at());
    let heard = host.ports(server.port, case.around()).filter(|(_, life, _)| *life > Life::Never);
    let heard = heard.max_by_key(|(_, life, _)| *life);
    let is_alive = heard.is_some_and(|(_, life, _)| life.is_alive());
    if answered.own || counts.refused > 0 && is_alive || host.answers_another_way() {
        // It answers, and to this client: what got lost is a packet.
        return None;
    }
    if answered.others + answered.others_lately > 0 && hs.syn.tries > 1 {
        let evidence = [format!(
            "port {} of {name} answered others, and none of {} SYNs of this client",
            server.port, hs.syn.tries
        )];
        return if answered.others > 0 && hs.syn.tries > 2 { likely(evidence) } else { possible(evidence) };
    }
    let (port, life, _) = heard?;
    if !is_alive {
        return match life {
            Life::Before(last) if counts.answered + counts.refused == 0 && !host.fell(case.around()) => {
                possible([case.since(last), format!("that was port {port}, and port {} never did", server.port)])
            }
            _ => None,
        };
    }
    if counts.answered > 0 {
        // It did answer, and its queue may be full, or its service gone.
        return possible([format!("{name} answered on port {port}, and on port {} before", server.port)]);
    }
    let silent = counts.silent.max(1);
    let evidence = [
        format!("{name} is there: it answered on port {port}"),
        format!("port {} never did: {} silent", server.port, count(silent.into(), "attempt")),
    ];
    // Who never tries again has given up at once, or was answered by a way that nobody sees.
    if hs.syn.tries > 1 && u32::from(hs.syn.tries) + silent > 2 { likely(evidence) } else { possible(evidence) }
}

/// Silent on every port that was tried, or its neighbours cannot find it.
pub(super) fn host_down(case: &Case<'_>) -> Option<Found> {
    let (hs, server) = (case.hs(), case.server());
    let name = ip(server.addr);
    if matches!(case.it.outcome, Outcome::NoReply | Outcome::Unreachable)
        && let Some(reason) = case.no_neighbour_to_forward_to()
    {
        return likely([format!("this host forwards the SYN, and found no link address for it ({reason})")]);
    }
    if case.it.outcome == Outcome::Unreachable {
        let icmp = hs.unreachable()?;
        let away = matches!((icmp.v6, icmp.kind, icmp.code), (false, 3, 1 | 7) | (true, 1, 3));
        let who = if case.is_forwarded() {
            "of one behind it, to which it forwards the port"
        } else {
            "the router next to it cannot find it"
        };
        return if away && !is_contradicted(case) { likely([error(case, icmp), who.to_owned()]) } else { None };
    }
    let life = case.life();
    if case.it.outcome != Outcome::NoReply || case.is_here(Side::Server) || life == Life::Since {
        return None;
    }
    if let Ok(Some(neighbour)) = &case.local.neighbour
        && neighbour.failed
    {
        let what = if neighbour.address.is_ipv4() { "ARP" } else { "neighbour discovery" };
        let whom = if neighbour.is_peer { "it" } else { "the gateway to it" };
        return certain([format!("{whom} ({}) does not answer {what}", neighbour.address)]);
    }
    let host = case.host().filter(|it| !it.answers_another_way())?;
    let silent = host.ports(server.port, case.around()).find(|(_, life, counts)| !life.is_alive() && counts.silent > 0);
    match (silent, life) {
        (Some((port, ..)), Life::Never) => {
            likely([format!("{name} answered nothing: neither on port {} nor on port {port}", server.port)])
        }
        (Some((port, ..)), Life::Before(last)) => {
            // A rule that drops all of this client's packets looks the same.
            possible([case.since(last), format!("neither port {} nor port {port} answers now", server.port)])
        }
        (None, Life::Before(last)) if has_waited(case) => possible([case.since(last)]),
        _ => None,
    }
}

/// Whether silence has gone on for longer than a slow service keeps it.
fn has_waited(case: &Case<'_>) -> bool {
    let hs = case.hs();
    hs.last_syn.since(hs.first_syn) >= LONG || !case.it.trust.still_open && hs.syn.tries > 2
}

/// A router knows no way, or the packet's time ran out on it (RFC 792; RFC 4443, sections 3.1 and 3.3).
pub(super) fn network_unreachable(case: &Case<'_>) -> Option<Found> {
    if matches!(case.it.outcome, Outcome::NoReply | Outcome::Unreachable)
        && let Some(reason) = case.no_route_to_forward_by()
    {
        return certain([format!("this host is to forward the SYN, and has no route for it ({reason})")]);
    }
    let icmp = case.hs().unreachable().filter(|_| case.it.outcome == Outcome::Unreachable)?;
    match (icmp.v6, icmp.kind, icmp.code) {
        // Rules can be told to say so, too.
        (false, 3, 0 | 6 | 8 | 11) | (true, 1, 0 | 2) => likely([error(case, icmp)]),
        (false, 11, _) | (true, 3, _) if case.is_here(Side::Client) && case.hs().syn.ttl < SHORT => possible([
            error(case, icmp),
            format!("the SYN was sent with TTL {}: somebody looks at the way", case.hs().syn.ttl),
        ]),
        (false, 11, _) | (true, 3, _) => likely([error(case, icmp), "a loop, or a way that is too long".to_owned()]),
        _ => None,
    }
}
