//! The facts that a rule looks at: an attempt, this host's knowledge of it, others' attempts around the same time.

use tcptrace_core::{
    drops::Kind,
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, Side},
};
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{Counters, Dropped, Listener, Local, Neighbour, Netns, Place, ProbeKind, Rejection, Suspect, Walk},
    icmp::Meaning,
    outcome::Outcome,
    words::{endpoint, ip},
};

use crate::past::{Around, Host, Life, Past};

/// One attempt in its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The attempt to explain.
    pub attempt: &'a Attempt,
    /// This host's facts about it.
    pub local: &'a Local,
    /// The record of hosts in the last ten minutes.
    pub past: &'a Past,
    /// The number of times that this client lately looked at this port in this way: SYN, SYN/ACK, RST without data.
    pub checks: u32,
}

/// Reasons for which rules of this host drop a packet (enum skb_drop_reason, include/net/dropreason-core.h): netfilter,
/// TC and XDP programs, cgroup programs, IPsec policy, security modules. Not SOCKET_FILTER: that
/// drops a raw socket's own copy.
pub const FIREWALL_REASONS: [&str; 7] =
    ["NETFILTER_DROP", "TC_INGRESS", "TC_EGRESS", "XDP", "BPF_CGROUP_EGRESS", "XFRM_POLICY", "SECURITY_HOOK"];
/// And for want of memory.
pub const MEMORY_REASONS: [&str; 3] = ["PROTO_MEM", "NOMEM", "PFMEMALLOC"];

pub(super) fn is_firewall_reason(reason: &str) -> bool {
    FIREWALL_REASONS.contains(&reason)
}

/// The packets of a handshake whose loss makes it fail. A drop of anything else is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The SYN with this attempt's ISN.
    Syn,
    /// What answers it: the SYN/ACK, or a RST.
    Answer,
    /// The final ACK, with or without data.
    Ack,
}

impl Part {
    /// Its sender.
    pub(super) const fn from(self) -> Side {
        match self {
            Self::Syn | Self::Ack => Side::Client,
            Self::Answer => Side::Server,
        }
    }

    /// Its name in evidence.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Syn => "SYN",
            Self::Answer => "SYN/ACK",
            Self::Ack => "final ACK",
        }
    }

    fn has(self, dropped: &Dropped) -> bool {
        let is_it = match self {
            Self::Syn => dropped.packet == Kind::Syn,
            Self::Answer => matches!(dropped.packet, Kind::SynAck | Kind::Rst),
            Self::Ack => matches!(dropped.packet, Kind::Ack | Kind::Data),
        };
        is_it && dropped.from == self.from() && dropped.fits != Some(false)
    }
}

/// Whether a packet on its way out was kept for this reason: by a rule, or below IP. TCP's own reasons are a
/// receiver's.
fn keeps_from_the_wire(reason: &str) -> bool {
    is_firewall_reason(reason)
        || reason.starts_with("NEIGH_")
        || reason.starts_with("QDISC_")
        || reason == "IP_OUTNOROUTES"
}

/// The SYNs that never got past a next hop without link address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    All,
    Some,
    Unknown,
}

/// What connection tracking lacked when it dropped a packet.
pub(super) struct Lack {
    /// Room in its table; otherwise a port to translate to.
    pub(super) no_room: bool,
    pub(super) evidence: Vec<String>,
}

impl<'a> Case<'a> {
    pub(super) const fn hs(&self) -> &'a Handshake {
        &self.attempt.handshake
    }

    pub(super) const fn server(&self) -> Endpoint {
        self.hs().server()
    }

    /// The moment around which others are looked at.
    pub(super) fn at(&self) -> Nanos {
        self.hs().last_seen()
    }

    pub(super) fn host(&self) -> Option<&'a Host> {
        self.past.host(self.server().addr)
    }

    /// When it began and was last seen: what others are compared with.
    pub(super) fn around(&self) -> Around {
        Around::of(self.hs())
    }

    /// Whether the server's host was heard of late.
    pub(super) fn life(&self) -> Life {
        self.host().map_or(Life::Never, |it| it.life(self.around()))
    }

    /// When the server's host was last heard before it.
    pub(super) fn heard_before(&self, last: Nanos) -> String {
        let seconds = self.hs().first_syn.since(last) as f64 / 1e9;
        format!("{} answered {seconds:.0} s before the first SYN, and not since", ip(self.server().addr))
    }

    /// Whether a fact is known of it.
    pub(super) const fn has(&self, fact: u32) -> bool {
        self.hs().facts.any(fact)
    }

    /// Whether the server itself was heard in this attempt.
    pub(super) fn is_alive(&self) -> bool {
        let spoke = matches!(self.attempt.outcome, Outcome::Refused | Outcome::Challenged);
        spoke && !self.never_left() || self.hs().answer.tries > 0
    }

    /// Whether an end is known to be on this host.
    pub(super) fn is_here(&self, side: Side) -> bool {
        let known = match side {
            Side::Client => self.local.client_here,
            Side::Server => self.local.server_here,
        };
        known == Ok(true)
    }

    /// The drop of this part by a rule of this host.
    pub(super) fn dropped_by_rule(&self, part: Part) -> Option<&'a Dropped> {
        self.drop_of(part, is_firewall_reason)
    }

    /// What connection tracking lacked, if it is behind a drop that looks like a rule's: a full table makes its drops
    /// grow alone, and a translation without a free port makes failed insertions grow with them (`nf_conntrack_alloc`,
    /// `__nf_conntrack_confirm`, net/netfilter/nf_conntrack_core.c).
    pub(super) fn lacks_conntrack(&self) -> Option<Lack> {
        let is_it = |reason: &str| reason == "NETFILTER_DROP";
        let is_dropped = [Part::Syn, Part::Answer, Part::Ack].iter().any(|&part| self.drop_of(part, is_it).is_some())
            || self.dropped_after_translation(is_it).is_some();
        // A rule whose count grew is the better guess: the table's counters are of all flows.
        let is_by_rule = self.suspects().iter().any(|it| it.grew.unwrap_or(0) > 0);
        let counters = self.local.counters.as_ref().ok().filter(|_| is_dropped && !is_by_rule)?;
        let (drops, failed) = (counters.conntrack_drops, counters.conntrack_insert_failed);
        let (entries, limit) = (counters.conntrack_entries, counters.conntrack_limit);
        if drops == 0 {
            return None;
        }
        if failed > 0 {
            let grew = format!("conntrack's insert_failed grew by {failed} and its drop by {drops}");
            let evidence = vec![grew, "translation found no free port".to_owned()];
            return Some(Lack { no_room: false, evidence });
        }
        // At its fullest since; entries end and others take their place while it is read.
        let is_full = limit > 0 && entries.saturating_mul(20) >= limit.saturating_mul(19);
        is_full.then(|| Lack {
            no_room: true,
            evidence: vec![
                format!("the connection tracking table has {entries} of {limit} entries"),
                format!("its drop counter grew by {drops}"),
            ],
        })
    }

    /// The same of a SYN that this host had translated, and what it was by then.
    pub(super) fn dropped_by_rule_after_translation(&self) -> Option<String> {
        self.dropped_after_translation(is_firewall_reason)
    }

    /// Why the link address of the one to whom this host forwards the SYN, translated or not, is not known.
    pub(super) fn no_neighbour_to_forward_to(&self) -> Option<String> {
        let wanted = |it: &str| it.starts_with("NEIGH_");
        self.dropped_after_translation(wanted).or_else(|| self.not_forwarded(wanted).map(|it| it.reason.clone()))
    }

    /// The drop of the SYN for which there is no route by which to forward it.
    pub(super) fn no_route_to_forward_by(&self) -> Option<&'a Dropped> {
        self.not_forwarded(|it| matches!(it, "IP_INNOROUTES" | "IP_OUTNOROUTES"))
    }

    /// Whether the server itself says that somebody is away: one to whom it forwards the port.
    pub(super) fn is_forwarded(&self) -> bool {
        self.attempt.icmp_from == Some(self.server().addr)
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

    /// The drops of this part for want of memory.
    pub(super) fn dropped_for_memory(&self, part: Part) -> Vec<&'a Dropped> {
        self.drops_of(part).filter(|it| MEMORY_REASONS.contains(&it.reason.as_str())).collect()
    }

    /// The drop by which this host kept a packet of `side` from leaving its namespace: the SYN, or what answers it.
    pub(super) fn dropped_on_its_way_out(&self, side: Side) -> Option<&'a Dropped> {
        let part = if side == Side::Client { Part::Syn } else { Part::Answer };
        self.drops_of(part).find(|it| self.is_at_home(it) && keeps_from_the_wire(&it.reason))
    }

    /// Whether a packet was dropped in its sender's own namespace, as far as that is known.
    pub(super) fn is_at_home(&self, dropped: &Dropped) -> bool {
        let home = if dropped.from == Side::Client { Place::Client } else { Place::Server };
        dropped.place == home || dropped.place == Place::Unknown && self.is_here(dropped.from)
    }

    /// The drop of the SYN that this host did not forward: not on its way out of the client's own namespace.
    fn not_forwarded(&self, wanted: fn(&str) -> bool) -> Option<&'a Dropped> {
        self.drops_of(Part::Syn).find(|it| !self.is_at_home(it) && wanted(&it.reason))
    }

    /// The rules and policies that can have dropped it, if any are known.
    pub(super) fn suspects(&self) -> &'a [Suspect] {
        self.local.rules.as_deref().unwrap_or_default()
    }

    /// Whether the rule that dropped it answers what it drops: every one that can have done it does, or the counter of
    /// one that does grew.
    pub(super) fn is_rejected_by_rule(&self) -> bool {
        let suspects = self.suspects();
        let is_seen = suspects.iter().any(|it| it.rejects && it.grew > Some(0));
        is_seen || !suspects.is_empty() && suspects.iter().all(|it| it.rejects)
    }

    /// Whether rules are known that can have dropped it, and none of them answers.
    pub(super) fn is_dropped_in_silence(&self) -> bool {
        !self.suspects().is_empty() && !self.suspects().iter().any(|it| it.rejects)
    }

    /// Whether connect(2) failed for an answer, whoever gave it.
    pub(super) fn is_call_answered(&self) -> bool {
        self.local.call.ok().and_then(|it| it.errno).is_some_and(|errno| errno != libc::ETIMEDOUT)
    }

    /// The namespace that dropped a packet of the handshake, if it is another than the tracer's own, or that has a name.
    pub(super) fn dropped_within(&self) -> Option<&'a Netns> {
        let mut drops = self.local.drops.iter().flatten().filter(|it| it.fits != Some(false));
        drops.find(|it| !it.reason.starts_with("NO_SOCKET"))?.within.as_ref()
    }

    /// Where a packet was dropped, in words.
    pub(super) fn whereabouts(&self, dropped: &Dropped) -> String {
        let (client, server) = (self.hs().client_addr, self.hs().server_addr);
        if let Some(within) = &dropped.within {
            return format!(", in {}", within.name);
        }
        match dropped.place {
            Place::Client if self.is_here(Side::Server) => format!(", in the namespace of {}", ip(client)),
            Place::Server if self.is_here(Side::Client) => format!(", in the namespace of {}", ip(server)),
            Place::Client | Place::Server | Place::Between | Place::Unknown => String::new(),
        }
    }

    /// Whether the drops are of every try: with fewer, another try was lost in another way. Without the attempt's number
    /// they may be of another attempt.
    pub(super) fn is_of_all_tries(&self, part: Part, dropped: &Dropped) -> bool {
        let tries = match part {
            // The last SYN was answered.
            Part::Syn if self.hs().answer.tries > 0 || self.attempt.outcome.is_open() => {
                self.hs().syn.tries.saturating_sub(1)
            }
            Part::Syn => self.hs().syn.tries,
            Part::Answer => self.hs().answer.tries,
            Part::Ack => 1,
        };
        dropped.fits == Some(true) && dropped.count >= tries.into()
    }

    /// The drop of the SYN, or of a later packet of the client's, for which TCP found no socket.
    pub(super) fn dropped_without_socket(&self, part: Part) -> Option<&'a Dropped> {
        self.drop_of(part, |it| it == "NO_SOCKET")
    }

    /// The drop of this part, where `wanted` holds of the reason.
    pub(super) fn drop_of(&self, part: Part, wanted: fn(&str) -> bool) -> Option<&'a Dropped> {
        self.drops_of(part).find(|it| wanted(&it.reason))
    }

    /// The drops of this part, as it came by.
    pub(super) fn drops_of(&self, part: Part) -> impl Iterator<Item = &'a Dropped> {
        let drops = self.local.drops.as_ref().map_or(&[][..], Vec::as_slice);
        drops.iter().filter(move |it| part.has(it) && it.translated.is_none())
    }

    /// The other end, where it is a neighbour that two link-layer addresses claim.
    pub(super) fn two_hosts(&self) -> Option<&'a Neighbour> {
        let neighbour = self.local.neighbour.as_ref().ok()?.as_ref()?;
        // An entry that an administrator set is nobody's claim.
        let claims = neighbour.link_addresses.len().saturating_sub(usize::from(neighbour.is_fixed));
        (neighbour.is_peer && claims > 1).then_some(neighbour)
    }

    /// The next hop to the other end, where it does not answer ARP or neighbour solicitations.
    pub(super) fn silent_neighbour(&self) -> Option<&'a Neighbour> {
        // A SYN that came by got past it. Other reasons of the kind (NEIGH_QUEUEFULL) drop packets while it is being asked.
        let is_dropped = || self.dropped_on_its_way_out(Side::Client).is_some_and(|it| it.reason == "NEIGH_FAILED");
        let is_lost = || self.hs().syn.tries == 0 && is_dropped();
        self.local.neighbour.as_ref().ok()?.as_ref().filter(|neighbour| neighbour.failed || is_lost())
    }

    /// How sure it is that a silent next hop is why: whether no SYN got past it, or at least one did not. Another route
    /// than the one that was looked up may lead there, by a mark, a user or a port.
    pub(super) fn kept_for_next_hop(&self) -> Kept {
        let drop = self.dropped_on_its_way_out(Side::Client).filter(|it| it.reason == "NEIGH_FAILED");
        let errno = self.local.call.ok().and_then(|it| it.errno);
        let is_said = drop.is_some() || errno == Some(libc::EHOSTUNREACH) || self.is_own_error();
        // The probe's own sockets go the way that was looked up. Where it may, it saw whether a SYN left.
        let is_probe = self.local.signs.is_ok() && self.local.left.is_err();
        let is_all = is_probe || self.never_left() || is_said && self.hs().syn.tries == 0;
        match (is_all, is_said) {
            (true, _) => Kept::All,
            (false, true) => Kept::Some,
            (false, false) => Kept::Unknown,
        }
    }

    /// The same, where it is a router to the server, and the server was not heard since the attempt began.
    pub(super) fn silent_gateway(&self) -> Option<&'a Neighbour> {
        let is_way = !self.is_here(Side::Server) && self.life() != Life::Since;
        self.silent_neighbour().filter(|neighbour| !neighbour.is_peer && is_way)
    }

    /// The meaning of the ICMP error that ended the attempt.
    pub(super) fn meaning(&self) -> Option<Meaning> {
        let icmp = self.hs().unreachable().filter(|_| self.attempt.outcome == Outcome::Unreachable)?;
        Some(Meaning::of(icmp))
    }

    /// Whether this host itself sent the ICMP error about its own SYN to another host.
    pub(super) fn is_own_error(&self) -> bool {
        let is_own = |from: Addr| from == self.hs().client_addr || ip(from).is_loopback();
        let from = self.attempt.icmp_from.filter(|_| self.attempt.outcome == Outcome::Unreachable);
        // In a capture the client's address is the client's host.
        let is_capture = self.local.client_here.is_err() && !ip(self.hs().client_addr).is_loopback();
        from.is_some_and(is_own) && (self.is_here(Side::Client) && !self.is_here(Side::Server) || is_capture)
    }

    /// The host that sent its own error, in words.
    pub(super) fn itself(&self) -> String {
        if self.is_here(Side::Client) { "this host".to_owned() } else { ip(self.hs().client_addr).to_string() }
    }

    /// Whether this host sent the ICMP error, as a router or as the server's.
    pub(super) fn is_error_of_this_host(&self) -> bool {
        self.local.error_from.is_ok() && self.attempt.outcome == Outcome::Unreachable && !self.is_own_error()
    }

    /// Whether it is known that none of the SYNs left this host.
    pub(super) fn never_left(&self) -> bool {
        self.local.left == Ok(0)
    }

    /// The distance that SYNs for the port got, where a walk shows it.
    pub(super) fn walk(&self) -> Option<&'a Walk> {
        self.local.walk.as_ref().ok()
    }

    /// Whether something else than TCP shows that the server is there: an echo reply, an answer on the link.
    pub(super) fn shows_signs(&self) -> Option<String> {
        let signs = self.local.signs.as_ref().ok()?;
        let name = ip(self.server().addr);
        if signs.echo {
            return Some(format!("{name} answers echo requests, but no tried port does"));
        }
        signs.link.then(|| format!("{name} answers on the link, but on no tried port"))
    }

    /// Whether not even the first router saw SYNs for the port, while another probe passed it; what that was.
    pub(super) fn is_lost_before_first_router(&self) -> Option<ProbeKind> {
        let walk = self.walk()?;
        let other = walk.other.filter(|other| other.first.is_some() && walk.answered.is_none())?;
        (walk.last.is_none() && self.local.left.is_err()).then_some(other.sent)
    }

    /// The ICMP error that other SYNs for the port got, or other probes to its host, and which of them.
    pub(super) fn rejected_elsewhere(&self) -> Option<(Rejection, &'static str)> {
        if let Some(rejection) = self.walk().and_then(|walk| walk.rejected) {
            return Some((rejection, "answered other SYNs for the port"));
        }
        let rejection = self.local.signs.as_ref().ok()?.rejected?;
        Some((rejection, "answered other probes; routers skip some"))
    }

    /// The listener on the server's port, if that is known and there is one.
    pub(super) fn listener(&self) -> Option<&'a Listener> {
        self.local.listener.as_ref().ok()?.as_ref()
    }

    /// The known growth of a counter of the kernel. A rule takes growth as evidence, and never its absence.
    pub(super) fn growth(&self, of: fn(&Counters) -> u64) -> u64 {
        self.local.counters.as_ref().map_or(0, of)
    }

    /// Whether each SYN, or each SYN/ACK, has a wrong checksum in this capture, where no such packet was ever accepted:
    /// its receiver dropped it. Packets of a side that were not captured are none of them.
    pub(super) fn damaged(&self) -> Option<Part> {
        let sums = self.attempt.noted.sums;
        let outcome = self.attempt.outcome;
        let is_syn = outcome == Outcome::NoReply && sums.syns.are_all_wrong();
        let is_answer = outcome == Outcome::HalfOpen && sums.answers.are_all_wrong();
        let lost = if is_syn { Some(Part::Syn) } else { is_answer.then_some(Part::Answer) };
        lost.filter(|_| !self.past.checksums().some_accepted)
    }

    /// Whether this host, or a bridge that it watches, translates the address that was asked: others may be behind it,
    /// one for each port.
    pub(super) fn is_translated(&self) -> bool {
        self.past.twin(self.hs()).is_some() || self.translated_to().is_some()
    }

    /// Whether it is one half of an attempt that was answered where its addresses are others: its silence is none.
    pub(super) fn is_half_of_another(&self) -> bool {
        self.past.is_half_of_another(self.hs(), self.attempt.outcome)
    }

    /// Whether the client asked again after it had been answered.
    pub(super) fn asks_on(&self) -> bool {
        let hs = self.hs();
        hs.answer.tries > 0 && hs.last_syn > hs.first_answer && !self.has(Facts::CROSSED)
    }
}
