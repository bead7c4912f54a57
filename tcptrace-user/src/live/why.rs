//! Verdicts while tracing: the recent past of hosts and the facts of this host, put to the rules; and the desk's
//! lookups.

use std::path::Path;

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos, State},
};
use tcptrace_filter::Filter;
use tcptrace_verdict::{
    case::Case,
    judge,
    past::Past,
    patterns::checks::{PROBE_HOPS, is_probe},
};
use tcptrace_vocabulary::{
    attempt::{Attempt, OtherHalf},
    facts::{Listener, Local, Missing, Netns},
    network::Network,
    outcome::Outcome,
    report::Report,
    verdict::{Unsent, Why},
};

use super::{
    caller::{call_of, process},
    calls::{self, Calls, Recent, Whereabouts},
    connects::{Connects, HandedOver},
    drops::{self, Drops},
    kernel::Kernel,
    listed::{self, Listed},
    onward::Failures,
    source::Unavailable,
    table::Table,
};
use crate::{
    clock::monotonic,
    desk::{Surroundings, Wanted, World},
    host::{Host, LocalFacts},
    selection::Selection,
};

/// The shortest pause between two looks at established attempts; and the pause as a multiple of the last look's
/// duration.
const LOOK: u64 = 250_000_000;
/// Attempts that worked, kept between two looks at the incidents.
const SUCCESSES: usize = 1 << 14;
/// The time for which the first half of a translated attempt is waited for: its report is on its way.
const HOLD_FOR_HALF: u64 = 100_000_000;
const PAUSE: u64 = 50;

/// The time for which an attempt is held back whose rivals may still succeed: they begin within a second (`calls.rs`),
/// and need a round trip.
const HOLD_FOR_RIVAL: u64 = 1_500_000_000;

/// The facts that verdicts rest on.
pub struct Judge {
    past: Past,
    here: Option<ThisHost>,
    established: Established,
    /// Attempts that worked, for the incidents.
    successes: Vec<(Nanos, Endpoint)>,
}

/// Which connections of the kernel's table the past has.
#[derive(Default)]
struct Established {
    /// By set: its version when it was last read.
    versions: Vec<u64>,
    /// When the table was last read, and when it may be again.
    looked: Nanos,
    next: Nanos,
}

/// This host, where it is asked.
struct ThisHost {
    host: Host,
    connects: Result<Connects, Unavailable>,
    drops: Result<Drops, Unavailable>,
    calls: Calls,
    recent: Recent,
    failures: Failures,
    /// The cookie of the one network namespace that is asked; `None` for all of them.
    within: Option<u64>,
    /// The number of drops that were not noted, and when that was last seen to grow.
    unnoted: (u64, Nanos),
    listed: Listed,
}

impl Judge {
    /// Asks this host as far as is wanted.
    ///
    /// `netns` is the network namespace of the calling thread, where that has a name.
    #[must_use]
    pub fn new(local: LocalFacts, names_below: Option<&Path>, netns: Option<Netns>, kernel: &mut Kernel) -> Self {
        let host = match local {
            LocalFacts::All => Some(Host::new()),
            LocalFacts::Own => Some(Host::own()),
            LocalFacts::Off => None,
        };
        let here = host.map(|mut host| {
            names_below.into_iter().for_each(|root| host.read_names_below(root));
            host.name_own(netns);
            let (connects, drops) = (kernel.attach_connects(), kernel.attach_drops());
            let within = (local == LocalFacts::Own).then(|| host.own_cookie());
            ThisHost {
                host,
                connects,
                drops,
                calls: Calls::default(),
                recent: Recent::default(),
                failures: Failures::default(),
                within,
                unnoted: (0, Nanos(0)),
                listed: Listed::default(),
            }
        });
        Self { past: Past::default(), here, established: Established::default(), successes: Vec::new() }
    }

    /// The facts that stay unknown, a line each.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let Some(here) = &self.here else { return Vec::new() };
        let connects = here.connects.as_ref().err();
        let attached = here.connects.as_ref().ok();
        let ends = attached.and_then(|connects| connects.ends.as_ref().err());
        let errors = attached.and_then(|connects| connects.errors.as_ref().err());
        connects
            .into_iter()
            .chain(ends)
            .chain(errors)
            .chain(here.drops.as_ref().err())
            .map(ToString::to_string)
            .collect()
    }

    /// To be called at each sweep: calls of connect(2) that put no SYN on the wire.
    pub fn tick(&mut self, now: Nanos, table: &Table, drops_unnoted: Option<u64>) -> Vec<Unsent> {
        let Some(here) = &mut self.here else { return Vec::new() };
        match drops_unnoted {
            Some(count) if count <= here.unnoted.0 => {}
            Some(count) => here.unnoted = (count, now),
            // There may have been some.
            None => here.unnoted.1 = now,
        }
        here.host.tick(now);
        self.unsent(now, table, None)
    }

    /// The same when tracing has ended: calls that were made before `ended`, whatever may still come of them.
    pub fn unsent_at_end(&mut self, now: Nanos, table: &Table, ended: Nanos) -> Vec<Unsent> {
        self.unsent(now, table, Some(ended))
    }

    fn unsent(&mut self, now: Nanos, table: &Table, ended: Option<Nanos>) -> Vec<Unsent> {
        let Some(ThisHost { host, connects: Ok(connects), drops, calls, recent, failures, .. }) = &mut self.here else {
            return Vec::new();
        };
        if connects.ends.is_err() {
            return Vec::new();
        }
        let past = &self.past;
        recent.read(connects, now);
        // In other namespaces neither the interfaces are traced nor the routes known.
        let netns = host.own_cookie();
        let is_seen = |client, server| table.has(client, server);
        let are_lost = calls.are_lost(recent, netns, (now, ended));
        let whereabouts = are_lost.then(|| Whereabouts::look(connects, host));
        calls.look(recent, netns, (now, ended), whereabouts.as_ref(), is_seen, |call, way| {
            let process = process(host, call, now);
            let drops = drops.as_ref().map_err(|off| off.missing);
            let unsent = calls::explain(call, process, host, drops, past, now, way);
            unsent.iter().for_each(|it| failures.note_unsent(&it.process, it.called, it.server));
            unsent
        })
    }

    /// Whether an attempt is a probe of a hop walk that this host makes; not where this host is not asked.
    pub fn is_probe(&mut self, attempt: &Attempt) -> bool {
        let is_walk = attempt.handshake.syn.ttl <= PROBE_HOPS;
        is_walk && is_probe(&attempt.handshake, attempt.outcome) && self.is_here(attempt.handshake.client_addr)
    }

    fn is_here(&mut self, address: Addr) -> bool {
        self.here.as_mut().is_some_and(|here| here.host.has(address))
    }

    /// Calls of connect(2) that put no SYN on the wire because another address had answered.
    #[must_use]
    pub fn overtaken_calls(&self) -> u64 {
        self.here.as_ref().map_or(0, |it| it.calls.overtaken)
    }

    /// Calls that were too many to be explained.
    #[must_use]
    pub fn unexamined(&self) -> u64 {
        self.here.as_ref().map_or(0, |it| it.calls.unexamined)
    }

    /// Takes note of how an attempt ended, reported or not.
    pub fn note(&mut self, report: &Report) {
        let attempt = report.attempt();
        match report {
            // Completed attempts are read from the table: most of them are never reported.
            Report::Open(_) => {}
            Report::Stall(_) => self.past.note(&attempt.handshake, attempt.outcome),
            Report::Attempt(_) => {
                if attempt.outcome.is_open() {
                    self.past.note_half(&attempt.handshake, attempt.outcome);
                } else if attempt.stalled.is_none() {
                    // A stalled attempt was noted as it stalled.
                    self.past.note(&attempt.handshake, attempt.outcome);
                }
            }
        }
    }

    /// The facts of this host about an attempt.
    fn local(&mut self, attempt: &Attempt, now: Nanos) -> Local {
        let Some(here) = &mut self.here else { return Local::unknown(Missing::NotAsked) };
        let hs = &attempt.handshake;
        let mut local = here.host.fill(hs, now);
        if attempt.outcome == Outcome::ResetByServer {
            local.aborts = here.host.aborts(hs.server_addr, attempt.seen.1, now);
        } else if attempt.outcome == Outcome::ResetByClient {
            local.aborts = here.host.aborts(hs.client_addr, attempt.seen.1, now);
        }
        local.drops = here.drops.as_ref().map_err(|off| off.missing).and_then(|it| it.of(hs, here.within));
        for drop in local.drops.iter_mut().flatten() {
            drop.place = here.host.place(drop.netns, hs.client_addr, hs.server_addr, now);
            drop.within = here.host.netns(drop.netns, now);
        }
        if let Some(from) = attempt.icmp_from {
            local.error_from = here.host.namespace_of(from, now);
        }
        drops::look_where(&mut here.host, &mut local, hs, now);
        // An empty list is no fact then.
        if local.drops.as_ref().is_ok_and(Vec::is_empty) && here.unnoted.1 >= hs.first_syn {
            local.drops = Err(Missing::Gone);
        }
        local.process = match &here.connects {
            Ok(connects) if local.client_here == Ok(true) => {
                let call = call_of(connects, &here.recent, hs, || local.socket.clone());
                call.map(|call| process(&mut here.host, &call, now))
            }
            Ok(_) => Err(Missing::Elsewhere),
            Err(off) => Err(off.missing),
        };
        if let Ok(process) = &local.process {
            here.failures.note(process, attempt);
        }
        if attempt.is_unserved()
            && let Ok(Some(Listener { process: Ok(process), .. })) = &local.listener
        {
            local.onward =
                here.connects.as_ref().map_err(|off| off.missing).map(|_| here.failures.of(process, attempt));
        }
        local
    }

    /// Whether an attempt is listed by the processes at its ends.
    fn is_selected(&mut self, attempt: &Attempt, selection: &Selection, now: Nanos) -> Wanted {
        let Some(ThisHost { host, connects, recent, listed, .. }) = &mut self.here else { return Wanted::Unknown };
        let connects = connects.as_ref().map_err(|off| off.missing);
        listed.decide(attempt.id(), || selection.wants(&listed::processes(host, connects, recent, attempt, now)))
    }

    /// Attempts that were established since this was last asked, as far as there was room: when each began, and its
    /// server. Looks for more if they are wanted.
    pub fn successes(&mut self, table: &Table, are_wanted: bool) -> Vec<(Nanos, Endpoint)> {
        if are_wanted {
            self.look(table);
        }
        std::mem::take(&mut self.successes)
    }

    /// Reads what was established since the last look: sets that have changed.
    fn look(&mut self, table: &Table) {
        let now = monotonic();
        let Established { versions, looked, next } = &mut self.established;
        if now < *next {
            return;
        }
        table.each_changed(versions, |it| {
            if it.state() == State::Established && it.ended > *looked {
                self.past.note(it, Outcome::to_the_end(it).unwrap_or(Outcome::Established));
                if self.successes.len() < SUCCESSES {
                    self.successes.push((it.first_syn, it.server()));
                }
            }
        });
        *looked = now;
        *next = Nanos(now.0 + LOOK.max(monotonic().since(now) * PAUSE));
    }
}

/// The lookups of the desk while tracing.
pub struct Here<'a> {
    pub judge: &'a mut Judge,
    pub table: &'a Table,
    pub filter: Option<&'a Filter>,
    pub selection: &'a Selection,
    /// When the last hook was attached.
    pub started: Nanos,
}

impl Surroundings for Here<'_> {
    fn answered_since(&mut self, host: Addr, since: Nanos) -> bool {
        self.judge.past.answered_since(host, since)
    }

    fn answers(&mut self, network: Network, at: Nanos) -> bool {
        self.judge.look(self.table);
        self.judge.past.is_heard(network.addresses(), at)
    }

    fn has_opened(&mut self, server: Endpoint) -> bool {
        self.judge.look(self.table);
        self.judge.past.host(server.addr).is_some_and(|host| host.has_opened(server.port))
    }

    fn has_two_hosts(&mut self, handshake: &Handshake) -> bool {
        let (client, at) = (handshake.client_addr, handshake.client_point);
        let Some(here) = self.judge.here.as_ref().filter(|_| !at.is_egress()) else { return false };
        here.host.is_claimed_twice(client, at.ifindex(), monotonic())
    }

    fn is_here(&mut self, address: Addr) -> bool {
        self.judge.is_here(address)
    }
}

impl World for Here<'_> {
    fn is_wanted(&mut self, report: &Report) -> Wanted {
        let attempt = report.attempt();
        let hs = &attempt.handshake;
        // A SYN was sent while a hook was still missing, by which its answer may have come.
        let is_before = attempt.outcome == Outcome::NoReply && hs.last_syn < self.started;
        let is_ours = !is_before && self.filter.is_none_or(|filter| filter.matches(hs.client(), hs.server()));
        match is_ours {
            false => Wanted::No,
            true if self.selection.is_empty() => Wanted::Yes,
            true => self.judge.is_selected(attempt, self.selection, monotonic()),
        }
    }

    fn race(&mut self, attempt: &Attempt, now: Nanos) -> Option<Nanos> {
        let hs = &attempt.handshake;
        let is_soon = matches!(attempt.outcome, Outcome::Aborted | Outcome::Unreachable)
            && now.since(hs.first_syn) < HOLD_FOR_RIVAL;
        if !is_soon || hs.syn.tries != 1 || !hs.client_point.is_egress() {
            return None;
        }
        let Some(ThisHost { connects: Ok(connects), host, recent, .. }) = &mut self.judge.here else { return None };
        let is_known = call_of(connects, recent, hs, || host.socket_of(hs, now)).is_ok();
        is_known.then(|| Nanos(now.0 + HOLD_FOR_RIVAL))
    }

    /// Happy eyeballs (RFC 8305): one SYN, another address of the same port answered its process, and nobody waits for
    /// what this one comes to.
    fn is_overtaken(&mut self, attempt: &Attempt, now: Nanos) -> bool {
        let hs = &attempt.handshake;
        let is_lost = matches!(attempt.outcome, Outcome::NoReply | Outcome::Aborted | Outcome::Unreachable);
        if !is_lost || hs.syn.tries != 1 || !hs.client_point.is_egress() {
            return false;
        }
        let Some(ThisHost { connects: Ok(connects), host, recent, .. }) = &mut self.judge.here else { return false };
        recent.read(connects, now);
        let Ok(call) = call_of(connects, recent, hs, || host.socket_of(hs, now)) else { return false };
        let works = |it: HandedOver| self.table.has_established(it.client, it.server);
        // A host without that family hears so for its first address; within a family something is wrong with this one.
        if attempt.outcome == Outcome::Unreachable {
            return recent.is_overtaken_by_other_family(&call, works);
        }
        recent.is_overtaken(&call, works)
    }

    fn other_half(&mut self, attempt: &Attempt) -> Option<OtherHalf> {
        let hs = &attempt.handshake;
        // Only one half may be traced.
        let asked = || self.judge.here.as_mut()?.host.other_half(hs, monotonic());
        self.judge.past.other_half(hs).or_else(asked)
    }

    /// The second half of a translated attempt ends first: the answer passes there before it is translated back. A SYN that
    /// is seen on its way out, and that no process here asked for, may be one.
    fn first_half(&mut self, attempt: &Attempt, now: Nanos) -> Option<Nanos> {
        let hs = &attempt.handshake;
        let may_come = self.judge.past.lacks_other_half(hs);
        if !attempt.is_trouble() || !hs.client_point.is_egress() || !may_come {
            return None;
        }
        // Looking for a socket is dear, and a client that is elsewhere has none.
        let is_here = self.judge.is_here(hs.client_addr);
        let Some(ThisHost { connects: Ok(connects), host, recent, .. }) = &mut self.judge.here else { return None };
        let is_forwarded = !is_here || call_of(connects, recent, hs, || host.socket_of(hs, now)).is_err();
        is_forwarded.then(|| Nanos(now.0 + HOLD_FOR_HALF))
    }

    fn is_half_of_another(&mut self, attempt: &Attempt) -> bool {
        self.judge.look(self.table);
        // The other half stands for it only if it is listed.
        let filter = self.filter;
        let is_listed = |it: OtherHalf| filter.is_none_or(|filter| filter.matches(it.client, it.server));
        self.selection.is_empty()
            && self.judge.past.other_half(&attempt.handshake).is_some_and(is_listed)
            && self.judge.past.is_half_of_another(&attempt.handshake, attempt.outcome)
    }

    fn explain(&mut self, attempt: &mut Attempt, checks: u32) {
        self.judge.look(self.table);
        let local = self.judge.local(attempt, monotonic());
        let verdict = judge(&Case { attempt, local: &local, past: &self.judge.past, checks });
        attempt.why = Some(Box::new(Why { verdict, local, recorded: false }));
    }
}
