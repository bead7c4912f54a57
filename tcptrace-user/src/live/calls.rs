//! Calls of connect(2) that put no SYN on the wire: which calls these are, and the facts about them for the judge.
//!
//! They are reported only where this host itself proves it. A call whose SYN left by an untraced interface looks the
//! same.

use std::collections::HashMap;

use tcptrace_core::{
    flow::Endpoint,
    handshake::{Handshake, Nanos, State},
};
use tcptrace_verdict::{case::Case, judge, past::Past};
use tcptrace_vocabulary::{
    attempt::Attempt,
    cause::{Cause, Confidence},
    facts::{Dropped, Fact, Local, Missing, Place, Process, Way},
    outcome::Outcome,
    verdict::{Unsent, Verdict},
    words::ip,
};

use super::{
    connects::{Connect, Connects, HandedOver},
    drops::{self, Drops},
};
use crate::host::{Host, Route};

/// The longest that a call may be without a SYN: with Fast Open it waits for the first data.
const UNSENT: u64 = 3_000_000_000;
/// The longest that a SYN may take to the wire: longer than ARP and neighbour discovery try (three times a second).
const UNSEEN: u64 = 4_000_000_000;
/// Older calls are not read. An attempt is held for a while before its race is decided, so this has to be longer.
const CALLS_READ: u64 = 30_000_000_000;
/// The time for which a reading of the calls is kept.
const KEPT: u64 = 250_000_000;
/// Calls of one process to one port that are compared.
const RIVALS: usize = 64;
/// Calls that are made within this time, by one process to one port, are one try of several addresses (RFC 8305).
const RIVAL_WINDOW: u64 = 1_000_000_000;

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
        let calls = connects.recent(Nanos(now.0.saturating_sub(CALLS_READ)));
        let mut by_port = HashMap::<_, Vec<_>>::new();
        for (index, it) in calls.iter().enumerate() {
            by_port.entry((it.netns, it.pid, it.asked.port)).or_default().push(index);
        }
        *self = Self { read: now, calls, by_port };
    }

    /// Whether the same process asked another address of the same port at about the same time, and `works` for that
    /// one.
    pub fn is_overtaken(&self, connect: &Connect, works: impl Fn(HandedOver) -> bool) -> bool {
        let rivals = self.by_port.get(&(connect.netns, connect.pid, connect.asked.port)).map_or(&[][..], Vec::as_slice);
        // A process that connects to more addresses at a time is no browser.
        rivals.iter().take(RIVALS).map(|index| &self.calls[*index]).any(|other| {
            other.asked.addr != connect.asked.addr
                && other.called.since(connect.called).max(connect.called.since(other.called)) <= RIVAL_WINDOW
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
    pub unexamined: u64,
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
        self.done.retain(|_, called| now.since(*called) < 2 * CALLS_READ);
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
                self.unexamined += 1;
            }
        }
        found
    }
}

/// The causes that keep a SYN on this host.
const IS_OWN: [Cause; 8] = [
    Cause::NoRoute,
    Cause::NoLocalPort,
    Cause::ConnectFailed,
    Cause::GatewayDown,
    Cause::DroppedByLocalFirewall,
    Cause::ConntrackFull,
    Cause::NatExhausted,
    Cause::FirewallReject,
];

/// Why a call put no SYN on the wire; `None` where nothing on this host proves that it did not.
pub fn explain(
    connect: &Connect,
    process: Process,
    host: &mut Host,
    drops: Fact<&Drops>,
    past: &Past,
    now: Nanos,
) -> Option<Unsent> {
    let handshake = handshake(connect);
    let attempt = Attempt::from_handshake(handshake, Outcome::NoReply);
    let local = match connect.sent {
        Some(sent) => on_its_way(connect, sent, &handshake, host, drops, now),
        None => not_made(connect, host),
    };
    let verdict = judge(&Case { attempt: &attempt, local: &local, past, checks: 0 });
    let Verdict { cause, confidence, .. } = verdict;
    let is_proven = IS_OWN.contains(&cause) || cause == Cause::HostDown && confidence == Confidence::Certain;
    let client = connect.sent.map(|sent| sent.client);
    is_proven.then_some(Unsent { called: connect.called, client, server: connect.asked, process, verdict })
}

/// The call as an attempt of which no packet was seen.
fn handshake(connect: &Connect) -> Handshake {
    let client = connect.sent.map(|sent| sent.client).unwrap_or_default();
    let server = connect.sent.map_or(connect.asked, |sent| sent.server);
    Handshake {
        client_addr: client.addr,
        client_port: client.port,
        server_addr: server.addr,
        server_port: server.port,
        first_syn: connect.called,
        last_syn: connect.called,
        state: State::SynSent as u8,
        ..Handshake::default()
    }
}

/// The facts of this host about a SYN that TCP made, and that no traced interface saw.
fn on_its_way(
    connect: &Connect,
    sent: HandedOver,
    handshake: &Handshake,
    host: &mut Host,
    drops: Fact<&Drops>,
    now: Nanos,
) -> Local {
    let drops =
        drops.and_then(|drops| drops.of_flow((sent.client, sent.server), None, connect.called, Some(connect.netns)));
    // Its own namespace was looked into, and no other; and since the call these ports are its own.
    let at_home = |drop| Dropped { place: Place::Client, fits: Some(true), ..drop };
    let mut local = Local {
        drops: drops.map(|drops| drops.into_iter().map(at_home).collect()),
        client_here: Ok(true),
        made: Ok(true),
        ..host.fill(handshake, now)
    };
    drops::look_where(host, &mut local, handshake, now);
    local
}

/// The facts of this host about a call for which TCP made no SYN: where routing leads by now.
fn not_made(connect: &Connect, host: &mut Host) -> Local {
    let way = host.route(ip(connect.asked.addr)).and_then(|route| match route {
        Route::Nowhere { errno } => Ok(Way::Nowhere { errno }),
        // The state of the interface was not read.
        Route::Local | Route::Through { .. } => Err(Missing::NotAsked),
    });
    Local { client_here: Ok(true), made: Ok(false), left: Ok(0), way, ..Local::unknown(Missing::NotAsked) }
}
