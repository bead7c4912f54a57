//! The cause of a failure with what it rests on, as text and as JSON.

use std::fmt::Write as _;

use serde::Serialize;
use tcptrace_vocabulary::{
    attempt::Attempt,
    cause::Cause,
    facts::{Aborts, Dropped, Fact, Local, Missing, Process},
    scope::Extent,
    verdict::{Verdict, Why},
    words::mac,
};

use crate::{json::Endpoint, text::DIM};

/// The column at which a cause stands: below the outcome.
const INDENT: &str = "              ";

/// What stands below an attempt's line: cause and evidence, then what to do. Nothing where nobody asked why; `quiet` has
/// the word alone, on the same line.
#[must_use]
pub fn text(it: &Attempt, quiet: bool) -> String {
    let Some(why) = it.why.as_deref() else { return String::new() };
    verdict(&why.verdict, who(&why.local), quiet)
}

/// The same of a verdict, and of who is at the ends.
pub(super) fn verdict(verdict: &Verdict, who: Option<String>, quiet: bool) -> String {
    let word = match verdict.cause {
        Cause::Unknown => "cause unknown".to_owned(),
        cause => format!("{}, {}", cause.name(), verdict.confidence.name()),
    };
    if quiet {
        return format!("  ({word})");
    }
    let scope = match verdict.scope.extent {
        Extent::Attempt => ", this attempt only",
        Extent::Client => ", this client only",
        Extent::Port => ", this port only",
        Extent::Host => ", this host only",
        Extent::Network => ", this network",
        Extent::Everything => ", everything from here",
        Extent::Unknown => "",
    };
    let evidence: Vec<_> = verdict.evidence.iter().chain(&verdict.scope.evidence).map(String::as_str).collect();
    let mut text = format!("\n{INDENT}{word}{scope}: {}", evidence.join("; "));
    if let Some(who) = who {
        let _ = write!(text, "; {who}");
    }
    if let Some(next) = verdict.next.first() {
        let _ = write!(text, "\n{INDENT}{DIM}→ {next}{DIM:#}");
    }
    text
}

/// The same within the comment of a packet.
#[must_use]
pub fn comment(it: &Attempt) -> String {
    let Some(why) = it.why.as_deref() else { return String::new() };
    let Verdict { cause, confidence, evidence, .. } = &why.verdict;
    match cause {
        Cause::Unknown => String::new(),
        _ => format!("; {}, {}: {}", cause.name(), confidence.name(), evidence.join("; ")),
    }
}

/// The processes at the ends that are on this host.
fn who(local: &Local) -> Option<String> {
    let client = local.process.as_ref().ok().map(|it| format!("asked by {}", name(it)));
    let listener = local.listener.as_ref().ok().and_then(Option::as_ref);
    let listener = listener.and_then(|it| it.process.as_ref().ok()).map(|it| format!("{} listens", name(it)));
    let all: Vec<_> = client.into_iter().chain(listener).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// A process chooses its own name: what it holds is escaped.
pub(super) fn name(it: &Process) -> String {
    let place = it.container.as_ref().or(it.unit.as_ref()).map(|it| format!(", {}", it.escape_debug()));
    format!("{} (pid {}{})", it.command.escape_debug(), it.pid, place.unwrap_or_default())
}

#[derive(Serialize)]
pub(super) struct CauseLine<'a> {
    name: &'static str,
    confidence: &'static str,
    evidence: &'a [String],
    next: &'a [String],
}

#[derive(Serialize)]
pub(super) struct ScopeLine<'a> {
    extent: &'static str,
    evidence: &'a [String],
}

#[derive(Serialize)]
pub(super) struct LocalLine<'a> {
    client_here: Option<bool>,
    server_here: Option<bool>,
    process: Option<ProcessLine<'a>>,
    socket: Option<&'static str>,
    /// Null where that is not known.
    listening: Option<bool>,
    listener: Option<ListenerLine<'a>>,
    drops: Option<Vec<DropLine<'a>>>,
    counters: Option<CounterLine>,
    aborts: Option<AbortLine>,
    neighbour: Option<NeighbourLine>,
}

#[derive(Serialize)]
pub(super) struct ProcessLine<'a> {
    pid: u32,
    command: &'a str,
    unit: Option<&'a str>,
    container: Option<&'a str>,
}

#[derive(Serialize)]
struct ListenerLine<'a> {
    process: Option<ProcessLine<'a>>,
    queue: u32,
    queue_max: u32,
    sockets: u32,
}

#[derive(Serialize)]
struct DropLine<'a> {
    from: &'static str,
    reason: &'a str,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    translated: Option<TranslatedLine>,
}

/// The ends of a packet as this host had made them.
#[derive(Serialize)]
struct TranslatedLine {
    client: Endpoint,
    server: Endpoint,
}

#[derive(Serialize)]
struct CounterLine {
    listen_overflows: u64,
    listen_drops: u64,
    syncookies_sent: u64,
    syn_queue_drops: u64,
    abort_on_memory: u64,
    memory_pressures: u64,
    challenge_acks: u64,
    memory_pages: u64,
    memory_limit: u64,
}

#[derive(Serialize)]
struct AbortLine {
    for_memory: u64,
    otherwise: u64,
}

#[derive(Serialize)]
struct NeighbourLine {
    ip: String,
    is_peer: bool,
    failed: bool,
    link_addresses: Vec<String>,
}

/// A fact that is not known.
#[derive(Serialize)]
pub(super) struct MissingLine {
    fact: &'static str,
    why: &'static str,
}

impl<'a> CauseLine<'a> {
    pub(super) fn of(it: &'a Verdict) -> Self {
        Self { name: it.cause.name(), confidence: it.confidence.name(), evidence: &it.evidence, next: &it.next }
    }
}

impl<'a> ScopeLine<'a> {
    pub(super) fn of(it: &'a Verdict) -> Self {
        let it = &it.scope;
        Self { extent: it.extent.name(), evidence: &it.evidence }
    }
}

impl<'a> LocalLine<'a> {
    /// `None` where nobody asked this host.
    pub(super) fn of(why: &'a Why) -> Option<Self> {
        let it = &why.local;
        if it.client_here == Err(Missing::NotAsked) {
            return None;
        }
        Some(Self {
            client_here: it.client_here.ok(),
            server_here: it.server_here.ok(),
            process: it.process.as_ref().ok().map(ProcessLine::of),
            socket: it.socket.as_ref().ok().and_then(Option::as_ref).map(|it| it.state),
            listening: it.listener.as_ref().ok().map(Option::is_some),
            listener: it.listener.as_ref().ok().and_then(Option::as_ref).map(|it| ListenerLine {
                process: it.process.as_ref().ok().map(ProcessLine::of),
                queue: it.queue,
                queue_max: it.queue_max,
                sockets: it.sockets,
            }),
            drops: it.drops.as_ref().ok().map(|drops| {
                let line = |it: &'a Dropped| DropLine {
                    from: match it.from {
                        tcptrace_core::handshake::Side::Client => "client",
                        tcptrace_core::handshake::Side::Server => "server",
                    },
                    reason: &it.reason,
                    count: it.count,
                    translated: it.translated.map(|(client, server)| TranslatedLine {
                        client: Endpoint::of(client),
                        server: Endpoint::of(server),
                    }),
                };
                drops.iter().map(line).collect()
            }),
            counters: it.counters.as_ref().ok().map(|it| CounterLine {
                listen_overflows: it.listen_overflows,
                listen_drops: it.listen_drops,
                syncookies_sent: it.syncookies_sent,
                syn_queue_drops: it.syn_queue_drops,
                abort_on_memory: it.abort_on_memory,
                memory_pressures: it.memory_pressures,
                challenge_acks: it.challenge_acks,
                memory_pages: it.memory_pages,
                memory_limit: it.memory_limit,
            }),
            aborts: it.aborts.ok().map(|Aborts { for_memory, otherwise }| AbortLine { for_memory, otherwise }),
            neighbour: it.neighbour.as_ref().ok().and_then(Option::as_ref).map(|it| NeighbourLine {
                ip: it.address.to_string(),
                is_peer: it.is_peer,
                failed: it.failed,
                link_addresses: it.link_addresses.iter().map(mac).collect(),
            }),
        })
    }
}

impl<'a> ProcessLine<'a> {
    pub(super) fn of(it: &'a Process) -> Self {
        Self { pid: it.pid, command: &it.command, unit: it.unit.as_deref(), container: it.container.as_deref() }
    }
}

/// Facts that were asked for and are not known.
pub(super) fn missing(why: Option<&Why>) -> Vec<MissingLine> {
    fn note<T>(into: &mut Vec<MissingLine>, fact: &'static str, it: &Fact<T>) {
        match it {
            // Of an end that is elsewhere nothing is to be known here.
            Ok(_) | Err(Missing::NotAsked | Missing::Elsewhere) => {}
            Err(why) => into.push(MissingLine { fact, why: why.name() }),
        }
    }
    let mut missing = Vec::new();
    if let Some(Why { local: it, .. }) = why {
        note(&mut missing, "ends", &it.client_here);
        note(&mut missing, "process", &it.process);
        note(&mut missing, "socket", &it.socket);
        note(&mut missing, "listener", &it.listener);
        note(&mut missing, "drops", &it.drops);
        note(&mut missing, "counters", &it.counters);
        note(&mut missing, "neighbour", &it.neighbour);
    }
    missing
}
