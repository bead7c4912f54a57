//! The cause of a failure, its scope, and what this host knows of it: objects within a line.

use schemars::JsonSchema;
use serde::Serialize;
use tcptrace_core::{drops::Kind, handshake::Side};
use tcptrace_vocabulary::{
    cause::{Cause, Confidence},
    facts::{Aborts, Counters, Dropped, Fact, Listener, Missing, Neighbour, Process, Suspect},
    scope::{Extent, Scope},
    verdict::{Verdict, Why},
    words::mac,
};

use super::{part::Endpoint, short::Ip, word::Word};

/// Why it failed; null for what did not.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "cause", deny_unknown_fields)]
pub(super) struct CauseLine<'a> {
    name: Word<Cause>,
    /// certain: nothing else leaves this behind; possible: others do as well
    confidence: Word<Confidence>,
    /// what it rests on, for people
    evidence: &'a [String],
    /// what to do; if the cause is unknown, what would decide
    next: &'a [String],
    /// of captures that -w wrote: the verdict is the recorded one
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    recorded: bool,
}

/// How far it reaches, judged by what else was tried in the ten minutes around it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "scope", deny_unknown_fields)]
pub(super) struct ScopeLine<'a> {
    extent: Word<Extent>,
    evidence: &'a [String],
}

/// This host's facts about it; null in captures. For a null in it, trust.missing has the reason, or the end is elsewhere.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "local", deny_unknown_fields)]
pub(super) struct LocalLine<'a> {
    client_here: Option<bool>,
    server_here: Option<bool>,
    /// the network namespace that has the client's address, by name, where it is not the tracer's own
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    client_netns: Option<&'a str>,
    /// the same of the server's address
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    server_netns: Option<&'a str>,
    /// the process that called connect(2)
    process: Option<ProcessLine<'a>>,
    /// the state of the client's socket now, null where there is none
    socket: Option<&'static str>,
    /// whether a socket listens on the server's port; null where that is not known
    listening: Option<bool>,
    listener: Option<ListenerLine<'a>>,
    /// other addresses on which sockets listen on the server's port
    #[serde(skip_serializing_if = "Vec::is_empty")]
    listening_at: Vec<String>,
    drops: Option<Vec<DropLine<'a>>>,
    /// the firewall's rules and policies that can have dropped it, the most likely first; null where nobody looked
    rules: Option<Vec<RuleLine<'a>>>,
    counters: Option<CounterLine>,
    aborts: Option<AbortLine>,
    neighbour: Option<NeighbourLine>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "process", deny_unknown_fields)]
pub(super) struct ProcessLine<'a> {
    pid: u32,
    command: &'a str,
    unit: Option<&'a str>,
    /// the first 12 digits of its id; of LXC its name
    container: Option<&'a str>,
    /// the container's name, where a file of its runtime has it; in a pod, that of the pod's specification
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    container_name: Option<&'a str>,
    /// the name of its pod of Kubernetes
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pod: Option<&'a str>,
    /// the namespace of its pod
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    namespace: Option<&'a str>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct ListenerLine<'a> {
    process: Option<ProcessLine<'a>>,
    /// connections that wait for accept(2)
    queue: u32,
    /// how many may wait
    queue_max: u32,
    /// sockets that listen there (SO_REUSEPORT)
    sockets: u32,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct DropLine<'a> {
    from: Word<Side>,
    packet: Word<Kind>,
    /// whether its numbers are this attempt's; null where the number of its SYN is not known
    fits: Option<bool>,
    /// the kernel's word: enum skb_drop_reason
    reason: &'a str,
    count: u64,
    /// the network namespace that dropped it; null: the tracer's own, or it is not known
    netns: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TranslatedLine")]
    translated: Option<TranslatedLine>,
}

/// A rule of nftables (or iptables-nft), or a chain's policy, that drops or rejects.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct RuleLine<'a> {
    hook: &'a str,
    family: &'a str,
    table: &'a str,
    chain: &'a str,
    /// null: it is the chain's policy
    handle: Option<u64>,
    rejects: bool,
    /// what it has counted; null: it does not count
    packets: Option<u64>,
    /// the growth of that since a look before the attempt; null where there was none
    grew: Option<u64>,
}

/// The ends of the SYN when it was dropped, where this host had translated it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct TranslatedLine {
    client: Endpoint,
    server: Endpoint,
}

/// Growth of the kernel's counters since the attempt began; memory (pages) as it is now; the connection tracking table
/// at its fullest since then. conntrack_limit is 0 where there is no such table.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct CounterLine {
    listen_overflows: u64,
    listen_drops: u64,
    syncookies_sent: u64,
    syn_queue_drops: u64,
    abort_on_memory: u64,
    memory_pressures: u64,
    challenge_acks: u64,
    reverse_path_drops: u64,
    no_routes_out: u64,
    checksum_errors: u64,
    /// null where connection tracking could not be read
    conntrack_drops: Option<u64>,
    /// likewise
    conntrack_insert_failed: Option<u64>,
    conntrack_entries: u64,
    conntrack_limit: u64,
    memory_pages: u64,
    memory_limit: u64,
}

/// TCP's own resets within a second of a connection's RST, on the RST's sender: TCPAbortOnMemory;
/// TCPAbortOnClose, TCPAbortOnData, TCPAbortOnLinger and TCPAbortOnTimeout.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct AbortLine {
    for_memory: u64,
    otherwise: u64,
}

/// The link-layer neighbour by which the other end is reached.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct NeighbourLine {
    ip: Ip,
    /// it is the other end itself, and no router to it
    is_peer: bool,
    /// it answers neither ARP nor neighbour solicitations
    failed: bool,
    /// in the recent past, the newest first
    link_addresses: Vec<String>,
}

/// A fact of this host that was looked up and is not known.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "missing_fact", deny_unknown_fields)]
pub(super) struct MissingLine {
    fact: LocalFact,
    why: Word<Missing>,
}

/// The facts of this host that may be missing.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum LocalFact {
    Ends,
    Process,
    Socket,
    Listener,
    Drops,
    Counters,
    Neighbour,
}

impl<'a> CauseLine<'a> {
    pub(super) fn of(verdict: &'a Verdict, recorded: bool) -> Self {
        let Verdict { cause, confidence, evidence, next, .. } = verdict;
        Self { name: Word(*cause), confidence: Word(*confidence), evidence, next, recorded }
    }
}

impl<'a> ScopeLine<'a> {
    pub(super) fn of(verdict: &'a Verdict) -> Self {
        let Scope { extent, evidence } = &verdict.scope;
        Self { extent: Word(*extent), evidence }
    }
}

impl<'a> LocalLine<'a> {
    /// `None` in captures, where no host was looked at.
    pub(super) fn of(why: &'a Why) -> Option<Self> {
        let local = &why.local;
        if local.client_here == Err(Missing::NotAsked) {
            return None;
        }
        let listener = present(&local.listener);
        Some(Self {
            client_here: local.client_here.ok(),
            server_here: local.server_here.ok(),
            client_netns: present(&local.client_netns).map(|it| it.name.as_str()),
            server_netns: present(&local.server_netns).map(|it| it.name.as_str()),
            process: local.process.as_ref().ok().map(ProcessLine::of),
            socket: present(&local.socket).map(|socket| socket.state),
            listening: local.listener.as_ref().ok().map(Option::is_some),
            listener: listener.map(ListenerLine::of),
            drops: local.drops.as_ref().ok().map(|drops| drops.iter().map(DropLine::of).collect()),
            listening_at: local.listening_at.iter().flatten().map(ToString::to_string).collect(),
            rules: local.rules.as_ref().ok().map(|rules| rules.iter().map(RuleLine::of).collect()),
            counters: local.counters.as_ref().ok().map(CounterLine::of),
            aborts: local.aborts.ok().map(|Aborts { for_memory, otherwise }| AbortLine { for_memory, otherwise }),
            neighbour: present(&local.neighbour).map(NeighbourLine::of),
        })
    }
}

/// The fact, if it is known and there.
fn present<T>(fact: &Fact<Option<T>>) -> Option<&T> {
    fact.as_ref().ok().and_then(Option::as_ref)
}

impl<'a> ListenerLine<'a> {
    fn of(listener: &'a Listener) -> Self {
        let Listener { process, queue, queue_max, sockets, apart: _ } = listener;
        let process = process.as_ref().ok().map(ProcessLine::of);
        Self { process, queue: *queue, queue_max: *queue_max, sockets: *sockets }
    }
}

impl<'a> DropLine<'a> {
    fn of(dropped: &'a Dropped) -> Self {
        let ends = |(client, server)| TranslatedLine { client: Endpoint::of(client), server: Endpoint::of(server) };
        Self {
            from: Word(dropped.from),
            packet: Word(dropped.packet),
            fits: dropped.fits,
            reason: &dropped.reason,
            count: dropped.count,
            netns: dropped.within.as_ref().map(|within| within.name.as_str()),
            translated: dropped.translated.map(ends),
        }
    }
}

impl<'a> RuleLine<'a> {
    fn of(suspect: &'a Suspect) -> Self {
        let Suspect { hook, family, table, chain, handle, rejects, packets, grew } = suspect;
        let (handle, rejects, packets, grew) = (*handle, *rejects, *packets, *grew);
        Self { hook, family, table, chain, handle, rejects, packets, grew }
    }
}

impl CounterLine {
    fn of(counters: &Counters) -> Self {
        let Counters {
            listen_overflows,
            listen_drops,
            syncookies_sent,
            syn_queue_drops,
            abort_on_memory,
            memory_pressures,
            challenge_acks,
            reverse_path_drops,
            no_routes_out,
            checksum_errors,
            is_conntrack_known,
            conntrack_drops,
            conntrack_insert_failed,
            conntrack_entries,
            conntrack_limit,
            memory_pages,
            memory_limit,
        } = *counters;
        let known = |count| is_conntrack_known.then_some(count);
        Self {
            listen_overflows,
            listen_drops,
            syncookies_sent,
            syn_queue_drops,
            abort_on_memory,
            memory_pressures,
            challenge_acks,
            reverse_path_drops,
            no_routes_out,
            checksum_errors,
            conntrack_drops: known(conntrack_drops),
            conntrack_insert_failed: known(conntrack_insert_failed),
            conntrack_entries,
            conntrack_limit,
            memory_pages,
            memory_limit,
        }
    }
}

impl NeighbourLine {
    fn of(neighbour: &Neighbour) -> Self {
        Self {
            ip: Ip::of(neighbour.addr()),
            is_peer: neighbour.is_peer,
            failed: neighbour.failed,
            link_addresses: neighbour.link_addresses.iter().map(mac).collect(),
        }
    }
}

impl<'a> ProcessLine<'a> {
    pub(super) fn of(process: &'a Process) -> Self {
        let Process { pid, command, unit, container, is_gone: _ } = process;
        let pod = container.as_ref().and_then(|it| it.pod.as_ref());
        Self {
            pid: *pid,
            command,
            unit: unit.as_deref(),
            container: container.as_ref().map(|it| it.id.as_str()),
            container_name: container.as_ref().and_then(|it| it.name.as_deref()),
            pod: pod.map(|it| it.name.as_str()),
            namespace: pod.map(|it| it.namespace.as_str()),
        }
    }
}

/// The facts that were looked up and are not known.
pub(super) fn missing(why: Option<&Why>) -> Vec<MissingLine> {
    fn note<T>(into: &mut Vec<MissingLine>, fact: LocalFact, known: &Fact<T>) {
        match known {
            // Nothing can be known here about an end that is elsewhere.
            Ok(_) | Err(Missing::NotAsked | Missing::Elsewhere) => {}
            Err(why) => into.push(MissingLine { fact, why: Word(*why) }),
        }
    }
    let mut missing = Vec::new();
    if let Some(Why { local, .. }) = why {
        note(&mut missing, LocalFact::Ends, &local.client_here);
        note(&mut missing, LocalFact::Process, &local.process);
        note(&mut missing, LocalFact::Socket, &local.socket);
        note(&mut missing, LocalFact::Listener, &local.listener);
        note(&mut missing, LocalFact::Drops, &local.drops);
        note(&mut missing, LocalFact::Counters, &local.counters);
        note(&mut missing, LocalFact::Neighbour, &local.neighbour);
    }
    missing
}
