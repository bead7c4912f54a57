//! The packets of an attempt that this host's kernel dropped, and the reason that it gave.
//!
//! A packet that a firewall translates is dropped with other addresses than it was traced with. A translated SYN is
//! found by its number, a later packet is not. A packet that was dropped before it had an IP header, for want of a
//! route for example, is not found either: the connect that sent it is known then (`connects`).

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    programs::{RawTracePoint, raw_trace_point::RawTracePointLink},
};
use tcptrace_core::{
    drops::{self, FlowDrops, group},
    flow::{self, Endpoint, HashKey},
    handshake::{Handshake, Nanos, Side},
    seq::Seq,
};
use tcptrace_vocabulary::facts::{Dropped, Fact, Local, Missing, Place};

use super::{
    btf::{Btf, Error},
    decode,
    load::{array, loaded},
    mapping::Mapping,
    source::Unavailable,
};
use crate::host::{Host, Leg, Lost};

const WHAT: &str = "drop reasons";
/// In the object and in the kernel's list of programs, and the tracepoint's.
const PROGRAM: &str = "kfree_skb";
const PREFIX: &str = "SKB_DROP_REASON_";

/// Reasons that are none: not dropped; consumed; thrown away with a socket's queue; or nobody says why, and then most
/// often because the packet was done with.
const NO_REASONS: [&str; 4] =
    ["SKB_NOT_DROPPED_YET", "SKB_CONSUMED", "SKB_DROP_REASON_QUEUE_PURGE", "SKB_DROP_REASON_NOT_SPECIFIED"];

/// The fields and numbers that the program reads of the running kernel.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) head: u32,
    pub(super) network_header: u32,
    pub(super) protocol: u32,
    pub(super) iif: u32,
    pub(super) dev: u32,
    pub(super) sk: u32,
    pub(super) dst: u32,
    pub(super) dst_dev: u32,
    pub(super) dev_net: u32,
    pub(super) sock_net: u32,
    pub(super) net_cookie: u32,
    pub(super) skipped: [u32; 4],
    /// Reasons by number, without their prefix.
    reasons: BTreeMap<u32, String>,
}

impl Layout {
    /// The running kernel's.
    pub(super) fn of(btf: &Btf) -> Result<Self, Error> {
        let field_of = |of: &str, name: &str, size| {
            let it = btf.field(of, name)?;
            // A field of another size is another field.
            (it.size == size).then_some(it.offset).ok_or_else(|| Error::Missing(format!("{of}.{name} as expected")))
        };
        let field = |name: &str, size| field_of("sk_buff", name, size);
        let all = btf.enumerators("skb_drop_reason")?;
        // This kernel drops no packet for a reason that it does not have.
        let number = |name| all.iter().find(|(it, _)| *it == name).map_or(u32::MAX, |(_, number)| *number);
        let named = |&(name, number): &(&str, u32)| Some((number, name.strip_prefix(PREFIX)?.to_owned()));
        Ok(Self {
            head: field("head", 8)?,
            network_header: field("network_header", 2)?,
            protocol: field("protocol", 2)?,
            iif: field("skb_iif", 4)?,
            dev: field("dev", 8)?,
            sk: field("sk", 8)?,
            dst: field("_skb_refdst", 8)?,
            dst_dev: field_of("dst_entry", "dev", 8)?,
            // The size is that of the one member, a pointer, that `possible_net_t` has.
            dev_net: field_of("net_device", "nd_net", 8)?,
            sock_net: field_of("sock_common", "skc_net", 8)?,
            net_cookie: field_of("net", "net_cookie", 8)?,
            skipped: NO_REASONS.map(number),
            reasons: all.iter().filter_map(named).collect(),
        })
    }
}

/// The kernel's drops, as they are noted from now on. Dropping it takes the hook off.
pub struct Drops {
    records: Mapping,
    key: HashKey,
    reasons: BTreeMap<u32, String>,
    _link: RawTracePointLink,
}

impl Drops {
    pub(super) fn attach(ebpf: &mut Ebpf, layout: Result<Layout, String>, key: HashKey) -> Result<Self, Unavailable> {
        let layout = layout.map_err(|reason| Unavailable::new(WHAT, Missing::Kernel, reason))?;
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Unavailable::refused(WHAT, PROGRAM, error, (Missing::Failed, format!("{PROGRAM}: {error}")))
        };
        let records = Mapping::new::<FlowDrops>(array(ebpf, "DROPS")).map_err(|error| failed(&error))?;
        let program: &mut RawTracePoint =
            ebpf.program_mut(PROGRAM).and_then(|it| it.try_into().ok()).expect("a raw tracepoint");
        loaded(program.load(), PROGRAM).map_err(|error| Unavailable::load(WHAT, &error))?;
        // A tracepoint that does not give a reason yet refuses a program that asks for one.
        let no_reason = || (Missing::Kernel, "the tracepoint gives none before Linux 5.17".to_owned());
        let attached = program.attach(PROGRAM);
        let id = attached.map_err(|error| Unavailable::refused(WHAT, PROGRAM, &error, no_reason()))?;
        let link = program.take_link(id).map_err(|error| failed(&error))?;
        Ok(Self { records, key, reasons: layout.reasons, _link: link })
    }

    /// The drops of an attempt since its first SYN was seen, newest first; only those `within` one network namespace,
    /// by its cookie, if it is given. An empty list is evidence only while `drops_unnoted` does not grow.
    ///
    /// # Errors
    /// [`Missing::Gone`] where another flow has taken the place that this one would have had since then,
    /// [`Missing::Failed`] where the record could not be read whole.
    pub fn of(&self, handshake: &Handshake, within: Option<u64>) -> Fact<Vec<Dropped>> {
        // Without a SYN there is no ISN either.
        let isn = (handshake.syn.tries > 0).then_some(handshake.isn);
        let found = self.of_flow((handshake.client(), handshake.server()), isn, handshake.first_syn, within)?;
        if !found.iter().any(|it| it.packet == drops::Kind::Syn) {
            let translated = self.of_translated(handshake, within);
            // What is known of the flow itself stays known.
            return if found.is_empty() { translated } else { Ok([found, translated.unwrap_or_default()].concat()) };
        }
        Ok(found)
    }

    /// The drops of an attempt's SYNs after one of its ends was translated: found by their number, and the other end.
    fn of_translated(&self, handshake: &Handshake, within: Option<u64>) -> Fact<Vec<Dropped>> {
        let (none, isn) = drops::ends_of_isn(handshake.isn);
        let record = self.record(none, isn).ok_or(Missing::Failed)?;
        let has_it = |drops: &[drops::Drops]| drops.iter().any(|it| it.count > 0 && it.isn == handshake.isn);
        if ![group(0, true), group(1, true)].iter().any(|&it| has_it(&record.drops[it])) {
            // Another number has the place that this one would have had.
            let is_taken = record.version > 0 && record.newest() >= handshake.first_syn;
            return if is_taken { Err(Missing::Gone) } else { Ok(Vec::new()) };
        }
        let ends = record.ends();
        let (client, server) = (handshake.client(), handshake.server());
        let sender = match ends {
            [a, b] if a == client && b != server || b == server && a != client => 0,
            [a, b] if b == client && a != server || a == server && b != client => 1,
            _ => return Ok(Vec::new()),
        };
        let translated = Some((ends[sender], ends[1 - sender]));
        let found = self.kept(&record, sender, Side::Client, Some(handshake.isn), handshake.first_syn, within);
        // Others have SYNs with other numbers there.
        Ok(found.filter(|it| it.fits == Some(true)).map(|drop| Dropped { translated, ..drop }).collect())
    }

    /// The record that a flow has its place with, whosever it is.
    fn record(&self, a: Endpoint, b: Endpoint) -> Option<FlowDrops> {
        let places = self.records.words().len() * 8 / size_of::<FlowDrops>();
        let place = flow::hash(self.key, a, b) as usize & (places - 1);
        Some(decode::flow_drops(&self.records.record(place)?))
    }

    /// The part of a record about the packets that one of its ends sent.
    fn kept(
        &self,
        record: &FlowDrops,
        sender: usize,
        from: Side,
        isn: Option<Seq>,
        since: Nanos,
        within: Option<u64>,
    ) -> impl Iterator<Item = Dropped> {
        let is_within = move |netns| within.is_none_or(|it| it == netns);
        let wanted = move |it: &drops::Drops| it.count > 0 && it.at >= since && is_within(it.netns);
        let drops = [true, false].into_iter().flat_map(move |has_syn| record.drops[group(sender, has_syn)]);
        drops.filter(wanted).map(move |it| Dropped {
            at: it.at,
            from,
            packet: it.kind(),
            fits: isn.map(|isn| isn == it.isn),
            reason: self.reason(it.reason),
            count: it.count.into(),
            place: Place::Unknown,
            netns: it.netns,
            within: None,
            translated: None,
        })
    }

    /// The same of a flow, the client first: of attempts of which no packet came by, and so no number is known, those
    /// since its connect(2).
    ///
    /// # Errors
    /// As above.
    pub fn of_flow(
        &self,
        (client, server): (Endpoint, Endpoint),
        isn: Option<Seq>,
        since: Nanos,
        within: Option<u64>,
    ) -> Fact<Vec<Dropped>> {
        let record = self.record(client, server).ok_or(Missing::Failed)?;
        let ends = record.ends();
        if ends != [client.min(server), client.max(server)] {
            return if record.version > 0 && record.newest() >= since { Err(Missing::Gone) } else { Ok(Vec::new()) };
        }
        let mut drops = Vec::new();
        for (sender, end) in ends.into_iter().enumerate() {
            let from = if end == client { Side::Client } else { Side::Server };
            drops.extend(self.kept(&record, sender, from, isn, since, within));
        }
        drops.sort_by_key(|it| std::cmp::Reverse(it.at));
        Ok(drops)
    }

    /// The names of the kernel's reasons.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.reasons.values().map(String::as_str)
    }

    /// Those of subsystems that are modules (enum skb_drop_reason_subsys, in the upper half) have numbers only.
    fn reason(&self, number: u32) -> String {
        self.reasons.get(&number).cloned().unwrap_or_else(|| format!("{}:{}", number >> 16, number & 0xffff))
    }
}

/// The counters and rules of the network namespace that dropped a packet of the handshake: only they can say why.
pub(super) fn look_where(host: &mut Host, local: &mut Local, hs: &Handshake, now: Nanos) {
    const ASKED: [&str; 5] = ["NETFILTER_DROP", "IP_RPFILTER", "TCP_CSUM", "UDP_CSUM", "IP_CSUM"];
    let is_asked = |it: &Dropped| it.fits != Some(false) && ASKED.contains(&it.reason.as_str());
    let Some(drop) = local.drops.iter_mut().flatten().find(|it| is_asked(it)) else { return };
    // Those of another namespace would say that nothing grew.
    local.counters = host.counters_of(drop.netns, (hs.first_syn, hs.last_seen()), now);
    if drop.reason != ASKED[0] {
        return;
    }
    // A translation that found no free port ends with the one that it tried last: another attempt's.
    if local.counters.as_ref().is_ok_and(|it| it.conntrack_insert_failed > 0) {
        drop.translated = None;
    }
    let (client, server) = drop.translated.unwrap_or((hs.client(), hs.server()));
    let (src, dst) = if drop.from == Side::Client { (client, server) } else { (server, client) };
    let leg = match (drop.place, drop.from) {
        (Place::Client, Side::Client) | (Place::Server, Side::Server) => Leg::Out,
        (Place::Client, Side::Server) | (Place::Server, Side::Client) => Leg::In,
        (Place::Between, _) => Leg::Through,
        (Place::Unknown, _) => Leg::Unknown,
    };
    let lost = Lost { src, dst, kind: drop.packet, leg };
    local.rules = host.suspects(drop.netns, &lost, hs.first_syn, now);
}
