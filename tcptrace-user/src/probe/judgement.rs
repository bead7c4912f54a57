//! One address and one port: why the connect failed. Pure, like `verdict`, whose part it is.
//!
//! Order matters: what the kernel says for certain comes first (no route, an ICMP error, a RST), silence last, which is
//! told apart by what else of the host answers, by what left this host, and by how far it got.

use std::{net::IpAddr, time::Duration};

use tcptrace_vocabulary::{
    cause::{
        Cause,
        Confidence::{self, Certain, Likely, Possible},
    },
    errno::errno_name,
    icmp::icmp_reason,
};

use super::{
    diagnosis::{
        By, Connect, Diagnosis, End, IcmpError, Neighbour, NeighbourState, Ping, Probed, Route, Tried, Walk, Way,
    },
    verdict::Scope,
};

/// Why one port of one address cannot be reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judgement {
    pub(super) cause: Cause,
    pub(super) confidence: Confidence,
    pub(super) scope: Scope,
    pub(super) port: u16,
    pub(super) address: IpAddr,
    pub(super) errno: Option<i32>,
    pub(super) by: Option<IpAddr>,
    pub(super) headline: String,
    pub(super) evidence: Vec<String>,
    pub(super) next: String,
    pub(super) has_way: bool,
}

/// What a judgement says, before it is known of whom.
struct Why {
    cause: Cause,
    confidence: Confidence,
    scope: Scope,
    by: Option<IpAddr>,
    evidence: Vec<String>,
}

impl Why {
    fn new(cause: Cause, confidence: Confidence, scope: Scope, evidence: impl Into<String>) -> Self {
        Self { cause, confidence, scope, by: None, evidence: vec![evidence.into()] }
    }

    fn by(mut self, by: Option<IpAddr>) -> Self {
        self.by = by;
        self
    }

    fn and(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }
}

/// Judges; `None` where the connect has no end yet, or a good one.
pub(super) fn of(diagnosis: &Diagnosis, at: &Probed, port: u16) -> Option<Judgement> {
    let connect = at.connects.iter().find(|it| it.port == port)?;
    let errno = match connect.result {
        Tried::Open(_) => return None,
        Tried::Failed(errno) => errno,
        Tried::Silent => 0,
    };
    let why = no_way(at, connect)
        .or_else(|| by_icmp(at, connect))
        .or_else(|| by_rst(at, connect))
        .or_else(|| by_neighbour(at))
        .or_else(|| local(diagnosis, at, connect))
        .unwrap_or_else(|| silence(at, connect));
    let Why { cause, confidence, scope, by, evidence } = why;
    let headline = headline(cause, &at.name(), port);
    let next = next(cause, at, port, by);
    let has_way = matches!(way(at), Some(Way::Route(_)));
    let address = at.address;
    let errno = Some(errno);
    Some(Judgement { cause, confidence, scope, port, address, errno, by, headline, evidence, next, has_way })
}

fn way(at: &Probed) -> Option<&Way> {
    at.route.as_ref()?.found.as_ref().ok()
}

fn route(at: &Probed) -> Option<&Route> {
    match way(at)? {
        Way::Route(route) => Some(route),
        Way::None { .. } => None,
    }
}

/// Routing does not let it go, or the interface is not there for it.
fn no_way(at: &Probed, connect: &Connect) -> Option<Why> {
    const CAUSE: Cause = Cause::NoRouteOrLocalBlock;
    if let Some(Way::None { errno }) = way(at) {
        let what = match *errno {
            libc::ENETUNREACH => "this host has no route to it",
            libc::EACCES => "a route of the kind 'prohibit' forbids it",
            libc::EINVAL => "a route of the kind 'blackhole' swallows it",
            libc::EHOSTUNREACH => "a route of the kind 'unreachable' forbids it",
            _ => "routing refuses it",
        };
        return Some(Why::new(CAUSE, Certain, Scope::Network, format!("{what} ({})", errno_name(*errno))));
    }
    let route = route(at)?;
    if !route.up || !route.carrier {
        let what = if route.up { "has no carrier" } else { "is down" };
        return Some(Why::new(CAUSE, Certain, Scope::Everything, format!("interface {} {what}", route.interface)));
    }
    if connect.icmp.is_some() {
        return None;
    }
    let scope = if answered(at, connect.port).is_some() { Scope::Port } else { Scope::Host };
    match connect.result {
        Tried::Failed(errno @ (libc::EPERM | libc::EACCES)) => {
            let what =
                format!("connect(2) is forbidden here ({}): by a BPF program, a security module", errno_name(errno));
            Some(Why::new(CAUSE, Certain, scope, what))
        }
        Tried::Failed(errno @ libc::EADDRNOTAVAIL) => {
            let what = format!("this host has no source port or address left for it ({})", errno_name(errno));
            Some(Why::new(CAUSE, Certain, Scope::Host, what))
        }
        Tried::Failed(errno @ (libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTUNREACH | libc::EINVAL))
            if connect.took < Duration::from_millis(2) && neighbour_failed(at).is_none() =>
        {
            Some(Why::new(
                CAUSE,
                Likely,
                Scope::Network,
                format!("the local stack refuses at once ({})", errno_name(errno)),
            ))
        }
        _ => None,
    }
}

/// An ICMP error says it, and who.
fn by_icmp(at: &Probed, connect: &Connect) -> Option<Why> {
    let icmp = connect.icmp?;
    let word = icmp_reason(icmp.icmp);
    let from = icmp.from.map_or_else(|| "somebody".to_owned(), |it| it.to_string());
    let told = format!("ICMP {word} from {from}");
    let is_own = icmp.from.is_some_and(|it| it.is_loopback() || Some(it) == own(at));
    let others = answered(at, connect.port);
    let scope = if others.is_some() { Scope::Port } else { Scope::Host };
    if is_own && icmp.is_host() {
        // This host's own account of a neighbour that does not answer.
        return by_neighbour(at).map(|it| it.and(told.clone())).or_else(|| {
            Some(Why::new(Cause::HostDown, Likely, Scope::Host, format!("{told}, this host: no answer on the link")))
        });
    }
    if is_own && !route(at).is_some_and(|it| it.is_local) {
        return Some(
            Why::new(Cause::NoRouteOrLocalBlock, Certain, scope, format!("{told}: this host's own rules"))
                .by(icmp.from),
        );
    }
    let why = if icmp.is_prohibited() || icmp.is_port() {
        Why::new(Cause::FirewallReject, Certain, scope, told)
    } else if icmp.is_host() {
        Why::new(Cause::HostDown, Certain, Scope::Host, format!("{told}, the last router before it"))
    } else if icmp.is_time_exceeded() {
        Why::new(Cause::NetworkUnreachable, Certain, Scope::Network, format!("{told}: routers send it in a circle"))
    } else {
        Why::new(Cause::NetworkUnreachable, Certain, Scope::Network, told)
    };
    Some(match others {
        Some(other) => why.by(icmp.from).and(also(other)),
        None => why.by(icmp.from),
    })
}

/// The address that this host sends from.
fn own(at: &Probed) -> Option<IpAddr> {
    Some(route(at)?.source.as_ref()?.address)
}

/// A RST: the host's own, or one that does not fit it.
fn by_rst(at: &Probed, connect: &Connect) -> Option<Why> {
    if !connect.is_reset() {
        return None;
    }
    let is_local = route(at).is_some_and(|it| it.is_local);
    if connect.wire.is_some_and(|it| it.syns == 0) && !is_local {
        let what = "a RST came for a SYN that never left this host: its own rules reset it";
        return Some(Why::new(Cause::NoRouteOrLocalBlock, Certain, Scope::Port, what));
    }
    let opened = at.connects.iter().filter(|it| matches!(it.result, Tried::Open(_))).min_by_key(|it| it.took);
    let rst = connect.wire.and_then(|it| it.answer);
    let syn_ack = at
        .connects
        .iter()
        .filter(|it| matches!(it.result, Tried::Open(_)))
        .find_map(|it| Some((it.port, it.wire?.answer?)));
    let reject = |confidence, what: String| Some(Why::new(Cause::FirewallReject, confidence, Scope::Port, what));
    if let Some((rst, (port, syn_ack))) = rst.zip(syn_ack)
        && rst.ttl != syn_ack.ttl
    {
        return reject(
            Likely,
            format!("the RST has TTL {}, the SYN/ACK of port {port} {}: another box sent it", rst.ttl, syn_ack.ttl),
        );
    }
    if let Some((near, far, by)) = compared(at, connect.port)
        && let (Some(near), Some(far)) = (near.answered_at(), far.answered_at())
        && near < far
    {
        return reject(Certain, format!("the RST comes from {near} hops away, {} from {far}", answer_of(by)));
    }
    // Where the TTLs are the same, time is what a busy machine took.
    if let Some(open) = opened.filter(|_| rst.zip(syn_ack).is_none())
        && open.took > Duration::from_millis(2)
        && connect.took * 3 < open.took
    {
        return reject(
            Likely,
            format!(
                "the RST came after {}, the SYN/ACK of port {} after {}",
                ms(connect.took),
                open.port,
                ms(open.took)
            ),
        );
    }
    let told = rst.map_or_else(|| "a RST".to_owned(), |it| format!("a RST with TTL {}", it.ttl));
    Some(match (syn_ack, opened) {
        (Some((port, _)), _) if rst.is_some() => {
            // A rule of the host itself would look the same.
            Why::new(Cause::PortClosed, Likely, Scope::Port, format!("{told}, as the SYN/ACK of port {port}"))
        }
        (_, Some(open)) => Why::new(Cause::PortClosed, Likely, Scope::Port, format!("{told}, and {}", also(open))),
        _ if is_local => Why::new(Cause::PortClosed, Certain, Scope::Port, format!("{told} from this host itself")),
        // Its other ports say so as well, or they would be told.
        _ => Why::new(Cause::PortClosed, Likely, Scope::Port, format!("{told}, within {}", ms(connect.took))),
    })
}

fn neighbour_failed(at: &Probed) -> Option<&Neighbour> {
    at.neighbour.as_ref().filter(|it| matches!(it.state, NeighbourState::Failed | NeighbourState::Incomplete))
}

/// Nobody answers for the link-layer address.
fn by_neighbour(at: &Probed) -> Option<Why> {
    let neighbour = neighbour_failed(at)?;
    let asked = if neighbour.address.is_ipv4() { "ARP" } else { "neighbour solicitations" };
    Some(if neighbour.is_host {
        Why::new(
            Cause::HostDown,
            Certain,
            Scope::Host,
            format!("{} does not answer {asked} on this link", neighbour.address),
        )
    } else {
        let told = format!("the gateway {} does not answer {asked}: nothing leaves this link", neighbour.address);
        Why::new(Cause::NoRouteOrLocalBlock, Certain, Scope::Everything, told).by(Some(neighbour.address))
    })
}

/// The SYN was not seen leaving.
fn local(diagnosis: &Diagnosis, at: &Probed, connect: &Connect) -> Option<Why> {
    let left = |it: &Connect| it.wire.map(|wire| wire.syns > 0);
    if left(connect)? {
        return None;
    }
    let (mut same, mut all) = (at.connects.iter(), diagnosis.addresses.iter().flat_map(|it| &it.connects));
    let scope = if same.any(|it| left(it) == Some(true)) {
        Scope::Port
    } else if all.any(|it| left(it) == Some(true)) {
        Scope::Host
    } else if diagnosis.addresses.len() > 1 {
        Scope::Everything
    } else {
        Scope::Host
    };
    let what = "no SYN was seen leaving this host: its own rules drop it";
    Some(Why::new(Cause::NoRouteOrLocalBlock, Certain, scope, what))
}

/// No answer: who else is silent, and how far it gets.
fn silence(at: &Probed, connect: &Connect) -> Why {
    let silent = match connect.retries {
        0 => format!("no answer within {:.1} s", connect.took.as_secs_f64()),
        more => format!("no answer to {} SYNs in {:.1} s", u32::from(more) + 1, connect.took.as_secs_f64()),
    };
    let walked = at.walks.iter().find(|it| it.by == By::Syn(connect.port));
    let last = walked.and_then(Walk::last);
    if let Some(End::Rejected { icmp, .. }) = walked.map(|it| &it.end) {
        return rejected_elsewhere(icmp, silent, "to other SYNs for the port");
    }
    // Routers send few ICMP errors a second (RFC 1812, section 4.3.2.8): one port may hear what another does not.
    if answered(at, connect.port).is_none()
        && let Some(icmp) = at.connects.iter().find_map(|it| it.icmp).or_else(|| ping(at)?.error)
    {
        return rejected_elsewhere(&icmp, silent, "to others, and routers do not send one to each");
    }
    if let Some((walk, other, by)) = compared(at, connect.port)
        && let Some(far) = other.answered_at()
    {
        return dies(
            walk.last(),
            other.hops.first().and_then(|it| it.from),
            far,
            by,
            connect,
            silent,
            scope_of_silence(at, connect),
        );
    }
    let reach = last.map(|(ttl, from)| format!("SYNs get as far as {from} (hop {ttl})"));
    let why = match (answered(at, connect.port), pinged(at)) {
        (Some(other), _) => Why::new(Cause::FirewallDrop, Likely, Scope::Port, silent).and(also(other)),
        (None, Some(what)) => Why::new(Cause::FirewallDrop, Likely, Scope::Host, silent).and(what),
        (None, None) => {
            let others = at.connects.iter().filter(|it| it.is_silent()).count().saturating_sub(1);
            let tried = format!("nor on {others} other ports, nor to echo requests");
            let why = Why::new(Cause::HostDown, Possible, Scope::Host, silent).and(tried);
            why.and("a firewall that drops everything looks the same")
        }
    };
    match reach {
        Some(reach) => why.by(last.map(|it| it.1)).and(reach),
        None => why,
    }
}

fn scope_of_silence(at: &Probed, connect: &Connect) -> Scope {
    if answered(at, connect.port).is_some() { Scope::Port } else { Scope::Host }
}

/// A router rejected other probes where it was silent to the connect.
fn rejected_elsewhere(icmp: &IcmpError, silent: String, whom: &str) -> Why {
    let from = icmp.from.map_or_else(|| "a router".to_owned(), |it| it.to_string());
    let told = format!("ICMP {} from {from} {whom}", icmp_reason(icmp.icmp));
    let (cause, scope) = if icmp.is_prohibited() || icmp.is_port() {
        (Cause::FirewallReject, Scope::Port)
    } else if icmp.is_host() {
        (Cause::HostDown, Scope::Host)
    } else {
        (Cause::NetworkUnreachable, Scope::Network)
    };
    Why::new(cause, Likely, scope, silent).and(told).by(icmp.from)
}

/// SYNs to this port die, something else to the same host is answered from `far` hops away.
fn dies(
    last: Option<(u8, IpAddr)>,
    first_of_other: Option<IpAddr>,
    far: u8,
    by: By,
    connect: &Connect,
    silent: String,
    scope: Scope,
) -> Why {
    let other = answer_of(by);
    match last {
        Some((ttl, from)) if ttl + 1 < far => Why::new(Cause::FirewallDrop, Certain, scope, silent)
            .and(format!("SYNs to it get as far as {from} (hop {ttl}) and no farther, {other} comes from hop {far}"))
            .and("that router, or the next, filters")
            .by(Some(from)),
        Some((ttl, from)) => Why::new(Cause::FirewallDrop, Likely, scope, silent)
            .and(format!(
                "SYNs to it get as far as {from} (hop {ttl}), the last before the host; {other} comes from hop {far}"
            ))
            .and("that router or the host itself filters, or the host's accept queue is full")
            .by(Some(from)),
        None if first_of_other.is_some() && connect.wire.is_none() => {
            let what = format!("not even the first router sees SYNs to it, and {other} comes from hop {far}");
            Why::new(Cause::NoRouteOrLocalBlock, Likely, scope, silent).and(what)
        }
        None => Why::new(Cause::FirewallDrop, Likely, scope, silent)
            .and(format!("{other} comes from hop {far}"))
            .by(first_of_other),
    }
}

/// The walk to the port, and the one to compare it with.
fn compared(at: &Probed, port: u16) -> Option<(&Walk, &Walk, By)> {
    let walk = at.walks.iter().find(|it| it.by == By::Syn(port))?;
    let other = at.walks.iter().find(|it| it.by != By::Syn(port))?;
    Some((walk, other, other.by))
}

fn answer_of(by: By) -> String {
    match by {
        By::Syn(port) => format!("the answer of port {port}"),
        By::Echo => "the echo reply".to_owned(),
    }
}

/// Another port of the same address that TCP answered from; one that opens says more.
fn answered(at: &Probed, port: u16) -> Option<&Connect> {
    let others = || at.connects.iter().filter(move |it| it.port != port && it.is_answered());
    others().find(|it| matches!(it.result, Tried::Open(_))).or_else(|| others().next())
}

fn also(other: &Connect) -> String {
    let does = if other.is_reset() { "answers with a RST" } else { "opens" };
    format!("port {} {does}", other.port)
}

/// The host is there, by something other than TCP.
fn pinged(at: &Probed) -> Option<String> {
    if ping(at).is_some_and(|it| !it.replies.is_empty()) {
        return Some("it answers echo requests, and no port that was tried".to_owned());
    }
    let neighbour = at.neighbour.as_ref().filter(|it| it.is_host && it.state == NeighbourState::Reachable)?;
    Some(format!("{} answers on the link, and on no port that was tried", neighbour.address))
}

fn ping(at: &Probed) -> Option<&Ping> {
    at.ping.as_ref()?.found.as_ref().ok()
}

fn ms(it: Duration) -> String {
    format!("{:.1} ms", it.as_secs_f64() * 1e3)
}

fn headline(cause: Cause, address: &str, port: u16) -> String {
    match cause {
        Cause::PortClosed => format!("nothing listens on port {port} of {address}"),
        Cause::FirewallReject => format!("a firewall rejects connections to port {port} of {address}"),
        Cause::FirewallDrop => format!("SYNs to port {port} of {address} are dropped without a word"),
        Cause::HostDown => format!("{address} does not answer"),
        Cause::NetworkUnreachable => format!("the network has no way to {address}"),
        Cause::NoRouteOrLocalBlock => format!("SYNs to port {port} of {address} do not leave this host"),
        _ => format!("port {port} of {address} cannot be reached"),
    }
}

fn next(cause: Cause, at: &Probed, port: u16, by: Option<IpAddr>) -> String {
    let address = at.name();
    let is_local = route(at).is_some_and(|it| it.is_local);
    match (cause, by) {
        (Cause::PortClosed, _) if is_local => {
            format!("start the service; `ss -ltn 'sport = :{port}'` shows who listens")
        }
        (Cause::PortClosed, _) => {
            format!("on {address}: is the service running, and on this address? `ss -ltn 'sport = :{port}'` shows it")
        }
        (Cause::FirewallReject, Some(by)) => format!("ask whoever runs {by} to allow TCP port {port}"),
        (Cause::FirewallReject, None) => {
            format!("ask whoever runs the firewall before {address} to allow TCP port {port}")
        }
        (Cause::FirewallDrop, Some(by)) => {
            format!(
                "look at the rules of {by} and of {address} for TCP port {port}; a capture on {address} tells which"
            )
        }
        (Cause::FirewallDrop, None) => format!("look at the rules before and on {address} for TCP port {port}"),
        (Cause::HostDown, Some(by)) => {
            format!("is {address} switched on, and is it the right address? {by} is the last router that spoke")
        }
        (Cause::HostDown, None) => format!("is {address} switched on, and is it the right address?"),
        (Cause::NetworkUnreachable, Some(by)) => format!("ask whoever runs the router {by} for its route to {address}"),
        (Cause::NetworkUnreachable, None) => format!("ask whoever runs the network for the route to {address}"),
        (Cause::NoRouteOrLocalBlock, Some(by)) if neighbour_failed(at).is_some() => {
            format!("is the gateway {by} switched on, and is it the right one? `ip neigh`, `ip route`")
        }
        (Cause::NoRouteOrLocalBlock, _) => match route(at) {
            None => format!(
                "`ip route get {}`, `ip rule` and `ip route show table all` show what decides",
                address.replace('%', " dev ")
            ),
            Some(route) if !route.carrier => format!("`ip link show {}`: cable, switch port, driver", route.interface),
            Some(_) => "`nft list ruleset` or `iptables-save` on this host show the output rules".to_owned(),
        },
        _ => format!("a capture on {address} tells more"),
    }
}
