//! A diagnosis as the judge takes it: each connect is an attempt, the other connects are its recent past, and the
//! findings of the other steps are facts of this host.
//!
//! It judges nothing: the rules of `tcptrace_verdict` do, the same as for packets.

use std::{net::IpAddr, time::Duration};

use tcptrace_core::{
    flow::Addr,
    handshake::{End, Facts, Handshake, Nanos, Offer, State},
    segment::Flags,
};
use tcptrace_verdict::{
    case::Case,
    past::{Past, RECENT},
};
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{self, Call, Fact, Hop, Local, Missing, OtherWalk, ProbeKind, Rejection, Signs},
    outcome::Outcome,
    verdict::Verdict,
    words::addr,
};

use super::diagnosis::{
    Connect, Diagnosis, End as WalkEnd, IcmpError, Neighbour, NeighbourState, Probed, Tried, Walk, Way,
};

/// When every connect is taken to have begun; far enough from zero that the past has room before it.
const BEGAN: Nanos = Nanos(2 * RECENT);

/// Judges one port of one address; `None` where its connect opened, or has no end yet.
pub(super) fn judge(diagnosis: &Diagnosis, at: &Probed, port: u16) -> Option<Verdict> {
    let connect = at.connects.iter().find(|it| it.port == port)?;
    if connect.is_open() {
        return None;
    }
    let (attempt, local, past) = (attempt(at, connect)?, local(at, connect), past(diagnosis, at));
    Some(tcptrace_verdict::judge(&Case { attempt: &attempt, local: &local, past: &past, checks: 0 }))
}

fn attempt(at: &Probed, connect: &Connect) -> Option<Attempt> {
    let handshake = handshake(at, connect);
    let icmp_from = connect.icmp.and_then(|icmp| icmp.from);
    Some(Attempt { icmp_from: icmp_from.map(addr), ..Attempt::from_handshake(handshake, Outcome::of(&handshake)?) })
}

/// One connect as the core's state would be, had it seen the packets. A TTL that nobody saw is 0.
fn handshake(at: &Probed, connect: &Connect) -> Handshake {
    let own = connect.from.map(|from| from.ip()).or_else(|| Some(at.route()?.source.as_ref()?.address));
    let seen = connect.wire.map_or(0, |wire| u8::try_from(wire.syns).unwrap_or(u8::MAX));
    let sent = Handshake {
        client_addr: own.map_or_else(Addr::default, addr),
        client_port: connect.from.map_or(0, |from| from.port()),
        server_addr: addr(at.address),
        server_port: connect.port,
        first_syn: BEGAN,
        last_syn: BEGAN,
        syn: Offer { tries: connect.retries.saturating_add(1).max(seen), ..Offer::default() },
        state: State::SynSent as u8,
        ..Handshake::default()
    };
    let answer = connect.wire.and_then(|wire| wire.answer);
    let ended = after(connect.took);
    match (connect.result, connect.icmp) {
        (Tried::Open(agreed), _) => {
            // The kernel's own measure has no share of this process's waiting in it.
            let answered = after(if agreed.rtt.is_zero() { connect.took } else { agreed.rtt.min(connect.took) });
            Handshake {
                first_answer: answered,
                last_answer: answered,
                ended: answered,
                answered_try: 1,
                answer: Offer { ttl: answer.map_or(0, |answer| answer.ttl), tries: 1, ..Offer::default() },
                end: End { flags: Flags::ACK, ..End::default() },
                state: State::Established as u8,
                ..sent
            }
        }
        (Tried::Failed(_) | Tried::Silent, Some(IcmpError { icmp, .. })) => {
            Handshake { ended, facts: Facts(Facts::UNREACHABLE), icmp_kind: icmp.kind, icmp_code: icmp.code, ..sent }
        }
        (Tried::Failed(_) | Tried::Silent, None) if connect.is_reset() => {
            let unseen = End { flags: Flags::RST | Flags::ACK, ..End::default() };
            let rst = answer.filter(|answer| answer.flags.any(Flags::RST));
            let end = rst.map_or(unseen, |rst| End { flags: rst.flags.0, ttl: rst.ttl, window: rst.window });
            Handshake { ended, end, state: State::Refused as u8, ..sent }
        }
        (Tried::Failed(_) | Tried::Silent, None) => sent,
    }
}

fn after(took: Duration) -> Nanos {
    Nanos(BEGAN.0 + u64::try_from(took.as_nanos()).unwrap_or(u64::MAX >> 1))
}

/// All connects to this address. From the host's other addresses, only those that answered, and those whose SYNs did
/// not leave: silence of the others says nothing of anybody else.
fn past(diagnosis: &Diagnosis, at: &Probed) -> Past {
    let mut past = Past::default();
    for other in &diagnosis.addresses {
        for connect in &other.connects {
            let is_kept = connect.wire.is_some_and(|wire| wire.syns == 0);
            if other.address != at.address && !connect.is_answered() && !is_kept {
                continue;
            }
            let handshake = handshake(other, connect);
            if let Some(outcome) = Outcome::of(&handshake) {
                past.note(&handshake, outcome);
            }
        }
    }
    past
}

fn local(at: &Probed, connect: &Connect) -> Local {
    let errno = match connect.result {
        Tried::Failed(errno) => Some(errno),
        Tried::Open(_) | Tried::Silent => None,
    };
    // A RST and an ICMP error have an errno as well, and are reported by themselves.
    let errno = errno.filter(|_| connect.icmp.is_none() && !connect.is_reset());
    Local {
        client_here: Ok(true),
        server_here: at.route().map(|route| route.is_local).ok_or(Missing::NotAsked),
        neighbour: at.neighbour.as_ref().map(|it| Some(neighbour(it))).ok_or(Missing::NotAsked),
        call: Ok(Call { errno, took: connect.took }),
        left: connect.wire.map(|wire| wire.syns).ok_or(Missing::Privilege),
        listener: connect.listener.clone(),
        way: way(at),
        walk: walk(at, connect.port),
        signs: Ok(signs(at, connect.port)),
        ..Local::unknown(Missing::NotAsked)
    }
}

fn neighbour(neighbour: &Neighbour) -> facts::Neighbour {
    facts::Neighbour {
        is_peer: neighbour.is_peer,
        address: neighbour.address,
        failed: matches!(neighbour.state, NeighbourState::Failed | NeighbourState::Incomplete),
        link_addresses: neighbour.link_address.into_iter().collect(),
        is_fixed: neighbour.state == NeighbourState::Fixed,
        may_be_unheard: neighbour.may_be_unheard,
    }
}

fn way(at: &Probed) -> Fact<facts::Way> {
    let step = at.way.as_ref().ok_or(Missing::NotAsked)?;
    Ok(match step.found.as_ref().map_err(|_| Missing::Failed)? {
        Way::Route(route) => {
            facts::Way::Link { interface: route.interface.clone(), up: route.up, carrier: route.carrier }
        }
        Way::None { errno } => facts::Way::Nowhere { errno: *errno },
    })
}

fn rejection(error: &IcmpError) -> Rejection {
    Rejection { icmp: error.icmp, from: error.from.map(addr) }
}

/// The walk to the port, beside another that was answered.
fn walk(at: &Probed, port: u16) -> Fact<facts::Walk> {
    let walk = at.walks.iter().find(|it| it.by == ProbeKind::Syn(port)).ok_or(Missing::NotAsked)?;
    let other = at.walks.iter().find(|it| it.by != ProbeKind::Syn(port));
    let other = other.and_then(|other| {
        let first = other.hops.first().and_then(|hop| hop.from).map(addr);
        Some(OtherWalk { sent: other.by, answered: other.answered_at()?, first })
    });
    let rejected = match &walk.end {
        WalkEnd::Rejected { icmp, .. } => Some(rejection(icmp)),
        WalkEnd::Answered { .. } | WalkEnd::Dies | WalkEnd::Unsent(_) => None,
    };
    let last = walk.last().map(|(hops, from)| Hop { hops, from: addr(from) });
    Ok(facts::Walk { last, answered: walk.answered_at(), rejected, other })
}

fn signs(at: &Probed, port: u16) -> Signs {
    let ping = at.ping.as_ref().and_then(|step| step.found.as_ref().ok());
    let link = at.neighbour.as_ref().is_some_and(|it| it.is_peer && it.state == NeighbourState::Reachable);
    // Routers send few ICMP errors a second (RFC 1812, section 4.3.2.8): one port may hear what another does not.
    let rejected = at.connects.iter().find_map(|it| it.icmp).or_else(|| ping?.error);
    Signs {
        echo: ping.is_some_and(|ping| !ping.replies.is_empty()),
        link,
        rejected: rejected.filter(|_| !at.is_answered(port)).map(|error| rejection(&error)),
    }
}

/// The address that rejects, that does not answer on the link, or that is the last on the way to have spoken.
pub(super) fn by(at: &Probed, port: u16) -> Option<IpAddr> {
    let connect = at.connects.iter().find(|it| it.port == port)?;
    if let Some(icmp) = connect.icmp {
        return icmp.from;
    }
    let facts = local(at, connect);
    if let Ok(Some(neighbour)) = facts.neighbour
        && neighbour.failed
        && !neighbour.is_peer
    {
        return Some(neighbour.address);
    }
    if connect.is_reset() || facts.left == Ok(0) {
        return None;
    }
    let rejected = facts.walk.ok().and_then(|walk| walk.rejected).or(facts.signs.ok().and_then(|signs| signs.rejected));
    if let Some(from) = rejected.and_then(|rejection| rejection.from) {
        return Some(tcptrace_vocabulary::words::ip(from));
    }
    let walk = at.walks.iter().find(|it| it.by == ProbeKind::Syn(port));
    walk.and_then(Walk::last).map(|(_, from)| from)
}
