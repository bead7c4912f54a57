//! The rules of a network namespace that can have dropped a packet: nftables', and so iptables-nft's.
//!
//! A rule is a suspect if it drops or rejects, is reached from a hook where the packet was, compares nothing that the
//! packet does not have, and did not stand still if it counts. Address translation may have changed the packet, so a rule
//! that is left out proves nothing. Rules of iptables-legacy cannot be read here: where there are any, no suspect is
//! "unknown", not "none".

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs, io,
    net::IpAddr,
};

use tcptrace_core::{drops::Kind, flow::Endpoint, handshake::Nanos, segment::Flags};
use tcptrace_vocabulary::{
    facts::{Fact, Missing, Suspect},
    words::ip,
};

use super::missing;
use crate::netlink::{
    Channel,
    firewall::{self, Chain, Rule},
};

/// For how long what was read is used, at least and as a multiple of the time that reading took.
const KEPT: u64 = 2_000_000_000;
const PAUSE: u64 = 50;
/// Looks whose counts are kept.
const LOOKS: usize = 8;
/// The most suspects that are named.
const NAMED: usize = 8;

/// NFPROTO_ARP.
const ARP: u8 = 3;
/// NF_INET_* of a packet on its way: in, through and out.
const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
const INGRESS: u32 = 5;

/// A packet that was dropped.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub kind: Kind,
    /// Where it was on its way.
    pub leg: Leg,
}

/// The part of its way on which a packet was, in a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// To a socket.
    In,
    /// From a socket.
    Out,
    /// From one interface to another.
    Through,
    Unknown,
}

/// What a rule had counted, by family, table, chain and handle.
type Counts = HashMap<(u8, String, String, u64), u64>;

/// The firewall of a network namespace.
#[derive(Debug)]
pub(super) struct Firewall {
    channel: Fact<Channel>,
    has_legacy: bool,
    last: Fact<(Vec<Chain>, Vec<Rule>)>,
    next: Nanos,
    counted: VecDeque<(Nanos, Counts)>,
}

impl Firewall {
    /// In the network namespace of the calling thread.
    pub(super) fn open(now: Nanos) -> Self {
        let channel = Channel::netfilter().map_err(|error| missing(&error));
        let names = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        let is_used = |names: io::Result<String>| {
            names.map_or_else(|it| it.kind() != io::ErrorKind::NotFound, |it| !it.is_empty())
        };
        let has_legacy = ["ip_tables_names", "ip6_tables_names"].into_iter().any(|file| is_used(names(file)));
        let mut it =
            Self { channel, has_legacy, last: Err(Missing::NotAsked), next: Nanos(0), counted: VecDeque::new() };
        // What is counted later is growth.
        it.refresh(now);
        it
    }

    fn refresh(&mut self, now: Nanos) {
        if now < self.next {
            return;
        }
        let began = crate::clock::monotonic();
        self.last = match &mut self.channel {
            Ok(channel) => firewall::list(channel).map_err(|error| missing(&error.into())),
            Err(why) => Err(*why),
        };
        let took = crate::clock::monotonic().since(began);
        self.next = Nanos(now.0 + KEPT.max(took * PAUSE));
        if let Ok((_, rules)) = &self.last {
            let key = |it: &Rule| (it.family, it.table.clone(), it.chain.clone(), it.handle);
            let counts = rules.iter().filter_map(|it| Some((key(it), it.packets?))).collect();
            // The first one stays: it is older than most attempts.
            if self.counted.len() >= LOOKS {
                self.counted.remove(1);
            }
            self.counted.push_back((now, counts));
        }
    }

    /// The rules and policies that can have dropped a packet of an attempt that began at a moment.
    pub(super) fn suspects(&mut self, lost: &Lost, since: Nanos, now: Nanos) -> Fact<Vec<Suspect>> {
        // What was read before the packet was dropped has not counted it.
        if self.counted.back().is_none_or(|(read, _)| *read < since) {
            self.next = self.next.min(now);
        }
        self.refresh(now);
        let (chains, rules) = self.last.as_ref().map_err(|why| *why)?;
        let before = self.counted.iter().rev().find(|(read, _)| *read <= since).map(|(_, counts)| counts);
        let mut found = Vec::new();
        for base in chains.iter().filter(|it| lost.passes(it)) {
            let Some(hook) = base.hook.and_then(|number| hook(base.family, number)) else { continue };
            let reached = reached(base, rules);
            let suspects = rules.iter().filter(|it| reached(it) && lost.may_match(it));
            found.extend(suspects.filter_map(|rule| suspect(rule, hook, before)));
            let policy = Suspect {
                hook,
                family: family(base.family),
                table: base.table.clone(),
                chain: base.name.clone(),
                handle: None,
                rejects: false,
                packets: None,
                grew: None,
            };
            found.extend(base.policy_drops.then_some(policy));
        }
        if found.is_empty() && self.has_legacy {
            return Err(Missing::Kernel);
        }
        found.sort_by_key(|it| std::cmp::Reverse((it.grew.unwrap_or(0), it.packets.unwrap_or(0))));
        found.truncate(NAMED);
        Ok(found)
    }

    /// Whether a rule or policy may drop the answers of a neighbour: neighbour advertisements on their way in, or ARP
    /// replies. True where that is not known.
    pub(super) fn may_drop_neighbours(&mut self, of: IpAddr, now: Nanos) -> bool {
        self.refresh(now);
        let Ok((chains, rules)) = &self.last else { return true };
        let hears = |chain: &&Chain| match (chain.family, of) {
            (ARP, IpAddr::V4(_)) => true,
            // By interface, and on a bridge: of either family.
            (5 | 7, _) => true,
            (1 | 10, IpAddr::V6(_)) => matches!(chain.hook, Some(PREROUTING | INPUT | INGRESS)),
            (_, IpAddr::V4(_) | IpAddr::V6(_)) => false,
        };
        let may_drop = |chain: &Chain| {
            let reached = reached(chain, rules);
            chain.policy_drops || rules.iter().any(|it| it.drops && reached(it))
        };
        let is_hidden = of.is_ipv6() && self.has_legacy;
        is_hidden || chains.iter().filter(|it| it.hook.is_some()).filter(hears).any(may_drop)
    }
}

/// A rule as a suspect, unless it has counted nothing.
fn suspect(rule: &Rule, hook: &'static str, before: Option<&Counts>) -> Option<Suspect> {
    let Rule { family: number, table, chain, handle, rejects, packets, .. } = rule;
    // A rule that was not there had counted nothing.
    let counted = |counts: &Counts| counts.get(&(*number, table.clone(), chain.clone(), *handle)).copied().unwrap_or(0);
    let grew = packets.and_then(|packets| Some(packets.saturating_sub(counted(before?))));
    let (table, chain) = (table.clone(), chain.clone());
    let it = Suspect {
        hook,
        family: family(*number),
        table,
        chain,
        handle: Some(*handle),
        rejects: *rejects,
        packets: *packets,
        grew,
    };
    (*packets != Some(0) && grew != Some(0)).then_some(it)
}

/// Which rules are reached from a base chain.
fn reached<'a>(base: &'a Chain, rules: &'a [Rule]) -> impl Fn(&Rule) -> bool + use<'a> {
    let is_of_table = move |it: &Rule| it.family == base.family && it.table == base.table;
    let (mut reached, mut next, mut all) = (HashSet::from([&*base.name]), vec![&*base.name], false);
    while let Some(chain) = next.pop() {
        for rule in rules.iter().filter(|it| is_of_table(it) && it.chain == chain) {
            all |= rule.jumps_by_map;
            next.extend(rule.jumps.iter().map(String::as_str).filter(|&it| reached.insert(it)));
        }
    }
    move |rule: &Rule| is_of_table(rule) && (all || reached.contains(&*rule.chain))
}

impl Lost {
    /// Whether it comes by a chain.
    fn passes(&self, chain: &Chain) -> bool {
        let is_v4 = ip(self.src.addr).is_ipv4();
        let hooks: &[u32] = match (chain.family, self.leg) {
            (2, _) if !is_v4 => &[],
            (10, _) if is_v4 => &[],
            // By interface (ingress, egress), and on a bridge.
            (5 | 7, _) | (_, Leg::Unknown) => &[PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING, INGRESS],
            (1 | 2 | 10, Leg::In) => &[INGRESS, PREROUTING, INPUT],
            (1 | 2 | 10, Leg::Out) => &[OUTPUT, POSTROUTING],
            (1 | 2 | 10, Leg::Through) => &[INGRESS, PREROUTING, FORWARD, POSTROUTING],
            // ARP, and what comes later.
            _ => &[],
        };
        chain.hook.is_some_and(|hook| hooks.contains(&hook))
    }

    /// Whether a rule drops, and compares nothing that the packet does not have.
    fn may_match(&self, rule: &Rule) -> bool {
        let (network, transport) = (self.network_header(), self.tcp_header());
        let holds = |test: &firewall::Test| match test.base {
            1 => test.holds(&network),
            2 => test.holds(&transport),
            _ => None,
        };
        rule.drops && rule.tests.iter().all(|test| holds(test) != Some(false))
    }

    /// Each byte, and the bits of it that are known: the addresses.
    fn network_header(&self) -> Vec<(u8, u8)> {
        let octets = |end: Endpoint| match ip(end.addr) {
            IpAddr::V4(it) => it.octets().to_vec(),
            IpAddr::V6(it) => it.octets().to_vec(),
        };
        let (src, dst) = (octets(self.src), octets(self.dst));
        let begin = if src.len() == 4 { 12 } else { 8 };
        let known = src.into_iter().chain(dst).map(|it| (it, 0xff));
        std::iter::repeat_n((0, 0), begin).chain(known).collect()
    }

    /// The same: the ports and the flags of its kind.
    fn tcp_header(&self) -> Vec<(u8, u8)> {
        const ALL: u8 = Flags::FIN | Flags::SYN | Flags::RST | Flags::ACK;
        let flags = match self.kind {
            Kind::Syn => (Flags::SYN, ALL),
            Kind::SynAck => (Flags::SYN | Flags::ACK, ALL),
            Kind::Ack | Kind::Data => (Flags::ACK, ALL),
            Kind::Rst => (Flags::RST, ALL & !Flags::ACK),
            Kind::Fin => (Flags::FIN, ALL & !Flags::ACK),
        };
        let ports = [self.src.port.to_be_bytes(), self.dst.port.to_be_bytes()].concat();
        let mut header: Vec<_> = ports.into_iter().map(|it| (it, 0xff)).collect();
        header.resize(13, (0, 0));
        header.push(flags);
        header
    }
}

/// A family's word (NFPROTO_*, include/uapi/linux/netfilter.h).
const fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "other",
    }
}

/// A hook's word; `None`: another than those of packets.
fn hook(family: u8, number: u32) -> Option<&'static str> {
    Some(match (family, number) {
        (5, 0) | (1, INGRESS) => "ingress",
        (5, 1) => "egress",
        (_, PREROUTING) => "prerouting",
        (_, INPUT) => "input",
        (_, FORWARD) => "forward",
        (_, OUTPUT) => "output",
        (_, POSTROUTING) => "postrouting",
        _ => return None,
    })
}
