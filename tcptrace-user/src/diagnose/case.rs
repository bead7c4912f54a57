//! What a rule looks at: an attempt, what this host knows of it, what others did around the same time.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, Side},
    outcome::Outcome,
};

use super::{
    history::{Around, History, Host, Life},
    local::{Counters, Dropped, Listener, Local, Neighbour},
};
use crate::{attempt::Attempt, report::endpoint};

/// One attempt in its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub it: &'a Attempt,
    pub local: &'a Local,
    pub history: &'a History,
    /// How often this client asked this port in this way of late: SYN, SYN/ACK, RST without data.
    pub checks: u32,
}

/// Reasons for which rules of this host drop a packet (enum skb_drop_reason, include/net/dropreason-core.h): netfilter,
/// TC and XDP programs, cgroup programs, IPsec policy, reverse path filter, security modules. Not SOCKET_FILTER: that drops a
/// raw socket's own copy.
pub(crate) const RULES: [&str; 8] = [
    "NETFILTER_DROP",
    "TC_INGRESS",
    "TC_EGRESS",
    "XDP",
    "BPF_CGROUP_EGRESS",
    "XFRM_POLICY",
    "IP_RPFILTER",
    "SECURITY_HOOK",
];
/// And for want of memory.
pub(crate) const MEMORY: [&str; 3] = ["PROTO_MEM", "NOMEM", "PFMEMALLOC"];

fn is_rule(reason: &str) -> bool {
    RULES.contains(&reason)
}

/// Whether a packet on its way out was kept for this reason: by a rule, or below IP. TCP's own reasons are a receiver's.
#[must_use]
pub fn keeps_from_the_wire(reason: &str) -> bool {
    is_rule(reason) || reason.starts_with("NEIGH_") || reason.starts_with("QDISC_")
}

impl<'a> Case<'a> {
    pub(super) const fn hs(&self) -> &'a Handshake {
        &self.it.handshake
    }

    pub(super) const fn server(&self) -> Endpoint {
        self.hs().server()
    }

    /// The moment around which others are looked at.
    pub(super) fn at(&self) -> Nanos {
        self.hs().last_seen()
    }

    pub(super) fn host(&self) -> Option<&'a Host> {
        self.history.host(self.server().addr)
    }

    /// When it began and was last seen: what others are compared with.
    pub(super) fn around(&self) -> Around {
        Around::of(self.hs())
    }

    /// Whether the server's host was heard of late.
    pub(super) fn life(&self) -> Life {
        self.host().map_or(Life::Never, |it| it.life(self.around()))
    }

    /// Whether a fact is known of it.
    pub(super) const fn has(&self, fact: u32) -> bool {
        self.hs().facts.any(fact)
    }

    /// Whether the server itself was heard in this attempt.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.it.outcome, Outcome::Refused | Outcome::Challenged) || self.hs().answer.tries > 0
    }

    /// Whether an end is known to be on this host.
    pub(super) fn is_here(&self, side: Side) -> bool {
        let known = match side {
            Side::Client => self.local.client_here,
            Side::Server => self.local.server_here,
        };
        known == Ok(true)
    }

    /// The reason for which a rule of this host dropped a packet of `side`.
    pub(super) fn dropped_by_rule(&self, side: Side) -> Option<&'a str> {
        self.any_drop(side, is_rule)
    }

    /// The same of a SYN that this host had translated, and what it was by then.
    pub(super) fn dropped_by_rule_after_translation(&self) -> Option<String> {
        self.dropped_after_translation(is_rule)
    }

    /// Why the link address of the one to whom this host forwards the SYN is not known.
    pub(super) fn lost_after_translation(&self) -> Option<String> {
        self.dropped_after_translation(|it| it.starts_with("NEIGH_"))
    }

    /// The one to whom this host forwards the SYN, where it dropped it for that one.
    pub(super) fn translated_to(&self) -> Option<Addr> {
        let drops = self.local.drops.as_ref().ok()?;
        drops.iter().find_map(|it| it.translated).map(|(_, to)| to.addr)
    }

    fn dropped_after_translation(&self, wanted: fn(&str) -> bool) -> Option<String> {
        let mut drops = self.local.drops.as_ref().ok()?.iter().filter(|it| wanted(&it.reason));
        drops.find_map(|it| {
            let (from, to) = it.translated?;
            Some(format!("{}, translated to {} → {}", it.reason, endpoint(from), endpoint(to)))
        })
    }

    /// How many packets of `side` this host dropped for want of memory, and the reasons that it gave.
    pub(super) fn dropped_for_memory(&self, side: Side) -> Option<(u64, Vec<&'a str>)> {
        let these = self.drops(side).filter(|it| MEMORY.contains(&it.reason.as_str()));
        let (counts, reasons): (Vec<_>, Vec<_>) = these.map(|it| (it.count, it.reason.as_str())).unzip();
        (!counts.is_empty()).then(|| (counts.iter().sum(), reasons))
    }

    /// Why a packet of the client's was dropped, because its listener's queue was full (Linux 6.14).
    pub(super) fn dropped_for_queue(&self) -> Option<&'a str> {
        self.any_drop(Side::Client, |it| it == "TCP_LISTEN_OVERFLOW")
    }

    /// Why this host dropped a packet on its way out.
    pub(super) fn dropped_on_its_way_out(&self, side: Side) -> Option<&'a str> {
        self.any_drop(side, keeps_from_the_wire)
    }

    /// Whether TCP found no socket for the client's packet.
    pub(super) fn dropped_without_socket(&self) -> Option<&'a str> {
        self.any_drop(Side::Client, |it| it == "NO_SOCKET")
    }

    /// Why this host dropped a packet of `side`, where `wanted` holds of the reason.
    pub(super) fn any_drop(&self, side: Side, wanted: fn(&str) -> bool) -> Option<&'a str> {
        self.drops(side).map(|it| it.reason.as_str()).find(|it| wanted(it))
    }

    /// The packets of `side` that this host dropped, as they came by.
    fn drops(&self, side: Side) -> impl Iterator<Item = &'a Dropped> {
        let drops = self.local.drops.as_ref().map_or(&[][..], Vec::as_slice);
        drops.iter().filter(move |it| it.from == side && it.translated.is_none())
    }

    /// The other end, where it is a neighbour that two link-layer addresses claim.
    pub(super) fn two_hosts(&self) -> Option<&'a Neighbour> {
        let neighbour = self.local.neighbour.as_ref().ok()?.as_ref()?;
        (neighbour.is_peer && neighbour.link_addresses.len() > 1).then_some(neighbour)
    }

    /// The router to the other end, where nobody answers for it.
    pub(super) fn silent_gateway(&self) -> Option<Addr> {
        let neighbour = self.local.neighbour.as_ref().ok()?.as_ref()?;
        (neighbour.failed && !neighbour.is_peer).then(|| neighbour.addr())
    }

    /// Who listens on the server's port, if that is known and somebody does.
    pub(super) fn listener(&self) -> Option<&'a Listener> {
        self.local.listener.as_ref().ok()?.as_ref()
    }

    pub(super) fn counters(&self) -> Counters {
        self.local.counters.unwrap_or_default()
    }

    /// Whether the client asked again after it had been answered.
    pub(super) fn asks_on(&self) -> bool {
        let hs = self.hs();
        hs.answer.tries > 0 && hs.last_syn > hs.first_answer && !self.has(Facts::CROSSED)
    }
}

/// How many routers a packet has passed, by the TTL that is left of 64, 128 or 255: what systems begin with.
#[must_use]
pub const fn hops(ttl: u8) -> u8 {
    match ttl {
        0..=64 => 64 - ttl,
        65..=128 => 128 - ttl,
        129.. => 255 - ttl,
    }
}
