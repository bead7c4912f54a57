//! Calls of connect(2) that put no SYN on the wire: which they are, and why.
//!
//! Told only where this host itself says why: a call whose SYN left by an interface that is not traced looks the same.

use std::collections::HashMap;

use tcptrace_core::{
    flow::Endpoint,
    handshake::{Handshake, Nanos, Side},
};
use tcptrace_verdict::{
    case::keeps_from_the_wire,
    next::{at_gateway, filled},
};
use tcptrace_vocabulary::{
    cause::{Cause, Confidence},
    facts::Process,
    scope::{Extent, Scope},
    verdict::{Unsent, Verdict},
    words::ip,
};

use super::{
    connects::{Connect, Connects, Sent},
    drops::Drops,
};
use crate::host::{Host, Route};

/// How long a call may be without a SYN: with Fast Open it waits for the first data.
const UNSENT: u64 = 3_000_000_000;
/// How long a SYN may take to the wire: longer than ARP and neighbour discovery try (three times a second).
const UNSEEN: u64 = 4_000_000_000;
/// How long calls are looked at: attempts of which the race is asked for were given patience first.
const RECENT: u64 = 30_000_000_000;
/// How long what was read of them is kept.
const KEPT: u64 = 250_000_000;
/// Calls of one process to one port that are compared.
const RIVALS: usize = 64;
/// Calls that are made within this time, by one process to one port, are one try of several addresses (RFC 8305).
const RACE: u64 = 1_000_000_000;

/// Calls explained at a look: each asks the kernel several times, and any process can make them by the thousand.
const EXPLAINED: usize = 16;

/// Calls of late, by network namespace, process and port.
#[derive(Debug, Default)]
pub struct Recent {
    read: Nanos,
    calls: Vec<Connect>,
    by_port: HashMap<(u64, u32, u16), Vec<usize>>,
}

impl Recent {
    /// Reads them again, unless they were just read.
    pub fn read(&mut self, connects: &Connects, now: Nanos) {
        if now.since(self.read) < KEPT {
            return;
        }
        let calls = connects.recent(Nanos(now.0.saturating_sub(RECENT)));
        let mut by_port = HashMap::<_, Vec<_>>::new();
        for (index, it) in calls.iter().enumerate() {
            by_port.entry((it.netns, it.pid, it.asked.port)).or_default().push(index);
        }
        *self = Self { read: now, calls, by_port };
    }

    /// Whether the same process asked another address of the same port at about the same time, and `works` for that one.
    pub fn is_overtaken(&self, connect: &Connect, works: impl Fn(Sent) -> bool) -> bool {
        let rivals = self.by_port.get(&(connect.netns, connect.pid, connect.asked.port)).map_or(&[][..], Vec::as_slice);
        // Who asks more addresses at a time is no browser.
        rivals.iter().take(RIVALS).map(|index| &self.calls[*index]).any(|other| {
            other.asked.addr != connect.asked.addr
                && other.called.since(connect.called).max(connect.called.since(other.called)) <= RACE
                && other.sent.is_some_and(&works)
        })
    }
}

/// Which calls were looked at.
#[derive(Debug, Default)]
pub struct Calls {
    /// By the socket's cookie: when it called.
    done: HashMap<u64, Nanos>,
    /// Calls of which another of the same process took the place: happy eyeballs.
    pub overtaken: u64,
    /// Calls that were too many to be explained.
    pub unexplained: u64,
}

impl Calls {
    /// Calls of a network namespace each of which should have shown by now; `is_seen` says whether a SYN did.
    pub fn look(
        &mut self,
        recent: &Recent,
        netns: u64,
        now: Nanos,
        is_seen: impl Fn(Endpoint, Endpoint) -> bool,
    ) -> Vec<Connect> {
        self.done.retain(|_, called| now.since(*called) < 2 * RECENT);
        let mut found = Vec::new();
        for it in recent.calls.iter().filter(|it| it.netns == netns) {
            let is_due = match it.sent {
                None => now.since(it.called) >= UNSENT,
                Some(sent) => now.since(sent.at) >= UNSEEN,
            };
            if !is_due || self.done.insert(it.cookie, it.called) == Some(it.called) {
                continue;
            }
            if it.sent.is_some_and(|sent| is_seen(sent.client, sent.server)) {
                continue;
            }
            // The winner's SYN may have left by an interface that is not traced.
            if recent.is_overtaken(it, |sent| it.sent.is_none() || is_seen(sent.client, sent.server)) {
                self.overtaken += 1;
            } else if found.len() < EXPLAINED {
                found.push(*it);
            } else {
                self.unexplained += 1;
            }
        }
        found
    }
}

/// Why a call put no SYN on the wire, where this host says why.
pub fn explain(it: &Connect, process: Process, host: &mut Host, drops: Option<&Drops>, now: Nanos) -> Option<Unsent> {
    let Said { cause, confidence, evidence, extent, next } = match it.sent {
        Some(sent) => kept(it, sent, host, drops, now)?,
        None => refused(it, host)?,
    };
    let server = it.asked;
    let scope = Scope { extent, evidence: Vec::new() };
    let next = next.unwrap_or_else(|| filled(cause, server, it.sent.map(|it| it.client.addr), None));
    let verdict = Verdict { cause, confidence, evidence: vec![evidence], scope, next };
    Some(Unsent { called: it.called, client: it.sent.map(|it| it.client), server, process, verdict })
}

struct Said {
    cause: Cause,
    confidence: Confidence,
    evidence: String,
    extent: Extent,
    /// The next steps, where they are not those of the cause alone.
    next: Option<Vec<String>>,
}

/// TCP sent it, and no interface saw it.
fn kept(it: &Connect, sent: Sent, host: &mut Host, drops: Option<&Drops>, now: Nanos) -> Option<Said> {
    let dropped = drops
        .and_then(|drops| drops.of_flow(sent.client, sent.server, it.called, Some(it.netns)).ok())
        .unwrap_or_default();
    // What a receiver on this host dropped was sent.
    let kept = dropped.iter().find(|it| it.from == Side::Client && keeps_from_the_wire(&it.reason));
    let reason = kept.map(|it| it.reason.as_str());
    let attempt = Handshake {
        client_addr: sent.client.addr,
        client_port: sent.client.port,
        server_addr: sent.server.addr,
        server_port: sent.server.port,
        first_syn: it.called,
        ..Handshake::default()
    };
    let neighbour = host.fill(&attempt, now).neighbour.ok().flatten();
    let is_lost = |it: &str| it.starts_with("NEIGH_");
    if let Some(neighbour) = neighbour.filter(|it| it.failed || reason.is_some_and(is_lost)) {
        let what = if neighbour.address.is_ipv4() { "ARP" } else { "neighbour discovery" };
        let (whom, cause, extent, next) = if neighbour.is_peer {
            ("it", Cause::HostDown, Extent::Host, None)
        } else {
            // Nothing is known of the server behind it.
            let next = at_gateway(neighbour.address, ip(sent.server.addr));
            ("the gateway to it", Cause::NoRouteOrLocalBlock, Extent::Everything, Some(next))
        };
        let evidence =
            format!("the SYN waited for the link address of {}: {whom} does not answer {what}", neighbour.address);
        return Some(Said { cause, confidence: Confidence::Certain, evidence, extent, next });
    }
    let evidence = format!("TCP sent the SYN, and this host dropped it ({})", reason?);
    let (cause, confidence) = (Cause::NoRouteOrLocalBlock, Confidence::Certain);
    Some(Said { cause, confidence, evidence, extent: Extent::Unknown, next: None })
}

/// The call itself failed.
fn refused(connect: &Connect, host: &mut Host) -> Option<Said> {
    let name = ip(connect.asked.addr);
    let (confidence, evidence) = match host.route(name).ok()? {
        Route::Unreachable => (Confidence::Certain, format!("no route to {name}")),
        Route::Blackhole => (Confidence::Certain, format!("the route to {name} is a black hole")),
        Route::Prohibit => (Confidence::Certain, format!("the route to {name} prohibits it")),
        Route::Local | Route::Through { .. } => (
            Confidence::Possible,
            "connect(2) made no SYN, and there is a route now: it is new, no local port was left, or a program refused it"
                .to_owned(),
        ),
    };
    Some(Said { cause: Cause::NoRouteOrLocalBlock, confidence, evidence, extent: Extent::Unknown, next: None })
}
