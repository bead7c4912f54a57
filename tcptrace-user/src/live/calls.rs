//! Calls of connect(2) that put no SYN on the wire: which they are, and why.
//!
//! Told only where this host itself says why: a call whose SYN left by an interface that is not traced looks the same.

use std::collections::HashMap;

use tcptrace_core::{
    flow::Endpoint,
    handshake::{Handshake, Nanos, Side},
};

use super::{
    connects::{Connect, Connects, Sent},
    drops::Drops,
};
use crate::{
    diagnose::{Cause, Confidence, Extent, Process, Scope, Unsent, Verdict, steps},
    host::{Host, Route},
    report::ip,
};

/// How long a call may be without a SYN.
const UNSENT: u64 = 1_000_000_000;
/// How long a SYN may take to the wire: longer than ARP and neighbour discovery try (three times a second).
const UNSEEN: u64 = 4_000_000_000;
/// How long calls are looked at.
const RECENT: u64 = 15_000_000_000;
/// Calls that are made within this time, by one process to one port, are one try of several addresses (RFC 8305).
pub const RACE: u64 = 1_000_000_000;

/// Which calls were looked at.
#[derive(Debug, Default)]
pub struct Calls {
    /// By the socket's cookie: when it called.
    done: HashMap<u64, Nanos>,
    /// Calls of which another of the same process took the place: happy eyeballs.
    pub overtaken: u64,
}

impl Calls {
    /// Calls each of which should have shown by now; `is_seen` says whether a SYN did.
    pub fn look(
        &mut self,
        connects: &Connects,
        now: Nanos,
        is_seen: impl Fn(Endpoint, Endpoint) -> bool,
    ) -> Vec<Connect> {
        let recent = connects.recent(Nanos(now.0.saturating_sub(RECENT)));
        self.done.retain(|_, called| now.since(*called) < 2 * RECENT);
        let mut found = Vec::new();
        for it in &recent {
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
            if is_overtaken(it, &recent, &is_seen) {
                self.overtaken += 1;
            } else {
                found.push(*it);
            }
        }
        found
    }
}

/// Whether the same process asked another address of the same port at about the same time, and `works` for that one.
pub fn is_overtaken(it: &Connect, recent: &[Connect], works: impl Fn(Endpoint, Endpoint) -> bool) -> bool {
    recent.iter().any(|other| {
        (other.pid, other.asked.port) == (it.pid, it.asked.port)
            && other.asked.addr != it.asked.addr
            && other.called.since(it.called).max(it.called.since(other.called)) <= RACE
            && other.sent.is_some_and(|sent| works(sent.client, sent.server))
    })
}

/// Why a call put no SYN on the wire, where this host says why.
pub fn explain(
    it: &Connect,
    process: Process,
    host: &mut Host,
    is_own: bool,
    drops: Option<&Drops>,
    now: Nanos,
) -> Option<Unsent> {
    let (cause, confidence, evidence, extent) = match it.sent {
        Some(sent) => kept(it, sent, host, drops, now)?,
        // Of other namespaces the routes are not asked for.
        None => refused(it, host).filter(|_| is_own)?,
    };
    let server = it.asked;
    let scope = Scope { extent, evidence: Vec::new() };
    let next = steps(cause, server, it.sent.map(|it| it.client.addr), None);
    let verdict = Verdict { cause, confidence, evidence: vec![evidence], scope, next };
    Some(Unsent { called: it.called, client: it.sent.map(|it| it.client), server, process, verdict })
}

type Said = (Cause, Confidence, String, Extent);

/// TCP sent it, and no interface saw it.
fn kept(it: &Connect, sent: Sent, host: &mut Host, drops: Option<&Drops>, now: Nanos) -> Option<Said> {
    let dropped = drops
        .and_then(|drops| drops.of_flow(sent.client, sent.server, it.called, Some(it.netns)).ok())
        .unwrap_or_default();
    let reason = dropped.iter().find(|it| it.from == Side::Client).map(|it| it.reason.as_str());
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
        let (whom, extent) =
            if neighbour.is_peer { ("it", Extent::Host) } else { ("the gateway to it", Extent::Everything) };
        let evidence =
            format!("the SYN waited for the link address of {}: {whom} does not answer {what}", neighbour.address);
        return Some((Cause::HostDown, Confidence::Certain, evidence, extent));
    }
    let evidence = format!("TCP sent the SYN, and this host dropped it ({})", reason?);
    Some((Cause::NoRouteOrLocalBlock, Confidence::Certain, evidence, Extent::Unknown))
}

/// The call itself failed.
fn refused(it: &Connect, host: &mut Host) -> Option<Said> {
    let name = ip(it.asked.addr);
    let (confidence, evidence) = match host.route(name).ok()? {
        Route::Unreachable => (Confidence::Certain, format!("no route to {name}")),
        Route::Blackhole => (Confidence::Certain, format!("the route to {name} is a black hole")),
        Route::Prohibit => (Confidence::Certain, format!("the route to {name} prohibits it")),
        Route::Local | Route::Through { .. } => (
            Confidence::Likely,
            "connect(2) made no SYN though there is a route: no local port is left, or a program refused it".to_owned(),
        ),
    };
    Some((Cause::NoRouteOrLocalBlock, confidence, evidence, Extent::Unknown))
}
