//! Why, while tracing: what hosts did of late, what this host knows, put to the rules.

use std::collections::VecDeque;

use tcptrace_core::handshake::{Nanos, State};
use tcptrace_verdict::{
    case::Case,
    diagnose,
    past::Past,
    patterns::{
        avoided::Networks,
        checks::{Checks, Probes, is_probe},
    },
};
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{Local, Missing, Process},
    outcome::Outcome,
    report::Report,
    verdict::{Causes, Unsent, Why},
};

use super::{
    calls::{self, Calls, Recent},
    connects::{Connect, Connects},
    drops::Drops,
    kernel::Kernel,
    source::Unavailable,
    table::Table,
};
use crate::host::{Host, LocalFacts};

/// Between two looks at what was established, at least; and so many times as long as the last look took.
const LOOK: u64 = 250_000_000;
const PAUSE: u64 = 50;
/// Between two looks at the calls of connect(2).
const CALLS: u64 = 1_000_000_000;

/// How long an attempt is held back whose rivals may still succeed: they begin within a second (`calls.rs`), and need a round
/// trip. And how many.
const RACE: u64 = 1_500_000_000;
const HELD: usize = 1 << 12;

/// What verdicts rest on.
pub struct Diagnosis {
    history: Past,
    here: Option<Here>,
    pub checks: Checks,
    pub probes: Probes,
    /// Attempts that failed while others of their process may still succeed.
    held: VecDeque<(Nanos, Report)>,
    /// Lines told, by cause.
    pub causes: Causes,
    /// By set: its version when it was last read.
    versions: Vec<u64>,
    /// When the table was last read, and when it may be again.
    looked: Nanos,
    next: Nanos,
}

/// This host, where it is asked.
struct Here {
    host: Host,
    connects: Result<Connects, Unavailable>,
    drops: Result<Drops, Unavailable>,
    calls: Calls,
    recent: Recent,
    /// The cookie of the one network namespace that is asked; `None` for all of them.
    within: Option<u64>,
    /// When calls were last looked at.
    called: Nanos,
    /// How many drops were not noted, and when that was last seen to grow.
    unnoted: (u64, Nanos),
}

impl Diagnosis {
    /// Asks this host as far as is wanted.
    #[must_use]
    pub fn new(local: LocalFacts, kernel: &mut Kernel) -> Self {
        let host = match local {
            LocalFacts::All => Some(Host::new()),
            LocalFacts::Own => Some(Host::own()),
            LocalFacts::Off => None,
        };
        let here = host.map(|mut host| {
            let (connects, drops) = (kernel.attach_connects(), kernel.attach_drops());
            let within = (local == LocalFacts::Own).then(|| host.own_cookie());
            Here {
                host,
                connects,
                drops,
                calls: Calls::default(),
                recent: Recent::default(),
                within,
                called: Nanos(0),
                unnoted: (0, Nanos(0)),
            }
        });
        Self {
            history: Past::default(),
            here,
            checks: Checks::default(),
            probes: Probes::default(),
            held: VecDeque::new(),
            causes: Causes::default(),
            versions: Vec::new(),
            looked: Nanos(0),
            next: Nanos(0),
        }
    }

    /// What stays unknown, a line each.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let Some(here) = &self.here else { return Vec::new() };
        let connects = here.connects.as_ref().err();
        connects.into_iter().chain(here.drops.as_ref().err()).map(ToString::to_string).collect()
    }

    /// To be called at each sweep: calls of connect(2) that put no SYN on the wire.
    pub fn tick(&mut self, now: Nanos, table: &Table, drops_unnoted: Option<u64>) -> Vec<Unsent> {
        let Some(here) = &mut self.here else { return Vec::new() };
        if let Some(count) = drops_unnoted.filter(|it| *it > here.unnoted.0) {
            here.unnoted = (count, now);
        }
        here.host.tick(now);
        let Here { host, connects: Ok(connects), drops, calls, recent, called, .. } = here else { return Vec::new() };
        if now.since(*called) < CALLS {
            return Vec::new();
        }
        *called = now;
        recent.read(connects, now);
        // Of other namespaces neither the interfaces are traced nor the routes known.
        let unsent = calls.look(recent, host.own_cookie(), now, |client, server| table.has(client, server));
        let unsent = unsent.iter().filter_map(|it| {
            let process = process(host, it, now);
            calls::explain(it, process, host, drops.as_ref().ok(), now)
        });
        let unsent: Vec<_> = unsent.collect();
        unsent.iter().for_each(|it| self.causes.count(&it.verdict));
        unsent
    }

    /// Whether an attempt was given up because another address of the same port had answered its process: happy eyeballs
    /// (RFC 8305). One SYN, and nobody waits for what it comes to.
    pub fn is_overtaken(&mut self, it: &Attempt, table: &Table, now: Nanos) -> bool {
        let hs = &it.handshake;
        let lost = matches!(it.outcome, Outcome::NoReply | Outcome::Aborted | Outcome::Unreachable);
        if !lost || hs.syn.tries != 1 || !hs.client_point.is_egress() {
            return false;
        }
        let Some(Here { connects: Ok(connects), recent, .. }) = &mut self.here else { return false };
        let Ok(call) = connects.by_flow(hs.client(), hs.server(), hs.first_syn) else { return false };
        recent.read(connects, now);
        recent.is_overtaken(&call, |it| table.has_established(it.client, it.server))
    }

    /// Holds back what failed at once on its way from here: other addresses are still being asked.
    pub fn holds(&mut self, report: &Report, now: Nanos) -> bool {
        let Report::Attempt(it) = report else { return false };
        let hs = &it.handshake;
        let is_soon = matches!(it.outcome, Outcome::Aborted | Outcome::Unreachable) && now.since(hs.first_syn) < RACE;
        if !is_soon || hs.syn.tries != 1 || !hs.client_point.is_egress() || self.held.len() >= HELD {
            return false;
        }
        let Some(Here { connects: Ok(connects), .. }) = &self.here else { return false };
        let is_held = connects.by_flow(hs.client(), hs.server(), hs.first_syn).is_ok();
        if is_held {
            self.held.push_back((now, report.clone()));
        }
        is_held
    }

    /// Reports that were held for long enough; with `all`, whatever is held: of races and of health checks.
    pub fn due(&mut self, now: Nanos, all: bool) -> Vec<Report> {
        let due = self.held.iter().take_while(|(at, _)| all || now.since(*at) >= RACE).count();
        let races: Vec<_> = self.held.drain(..due).map(|(_, report)| report).collect();
        races.into_iter().chain(self.checks.due(now, all)).collect()
    }

    /// Whether any is held.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.held.is_empty() || self.checks.waits()
    }

    /// Counts one that was, at its end, and takes note of its network.
    pub fn note_overtaken(&mut self, report: &Report, networks: &mut Networks, table: &Table, clock: fn() -> Nanos) {
        let (Report::Attempt(it), Some(here)) = (report, &mut self.here) else { return };
        here.calls.overtaken += 1;
        self.look(table, clock);
        let (history, at) = (&self.history, it.handshake.last_seen());
        networks.note(it, |network| history.is_heard(network.addresses(), at));
    }

    /// Whether an attempt is a probe of a hop walk that this host makes; not where this host is not asked.
    pub fn is_probe(&mut self, it: &Attempt) -> bool {
        let Some(here) = &mut self.here else { return false };
        is_probe(&it.handshake, it.outcome) && here.host.has(it.handshake.client_addr)
    }

    /// How many were, and how many calls of connect(2) that put no SYN on the wire.
    #[must_use]
    pub fn overtaken(&self) -> u64 {
        self.here.as_ref().map_or(0, |it| it.calls.overtaken)
    }

    /// Calls that were too many to be explained.
    #[must_use]
    pub fn unexplained(&self) -> u64 {
        self.here.as_ref().map_or(0, |it| it.calls.unexplained)
    }

    /// Takes note of what became of an attempt, told or not.
    pub fn note(&mut self, report: &Report) {
        let it = report.attempt();
        match report {
            // What completes is read from the table: most of it is never told.
            Report::Open(_) => {}
            Report::Stall(_) => self.history.note(&it.handshake, it.outcome),
            Report::Attempt(_) => {
                // Of what stalled, that was noted then.
                if !it.outcome.is_open() && it.stalled.is_none() {
                    self.history.note(&it.handshake, it.outcome);
                }
                self.checks.note(&it.handshake, it.outcome, it.seen.1);
            }
        }
    }

    /// Says why an attempt failed.
    pub fn explain(&mut self, it: &mut Attempt, table: &Table, clock: fn() -> Nanos) {
        self.look(table, clock);
        let local = self.local(it, clock());
        let checks = self.checks.count(&it.handshake);
        let verdict = diagnose(&Case { it, local: &local, past: &self.history, checks });
        self.causes.count(&verdict);
        it.why = Some(Box::new(Why { verdict, local }));
    }

    /// What this host knows of an attempt.
    fn local(&mut self, it: &Attempt, now: Nanos) -> Local {
        let Some(here) = &mut self.here else { return Local::unknown(Missing::NotAsked) };
        let hs = &it.handshake;
        let mut local = here.host.fill(hs, now);
        local.aborts = match it.outcome {
            Outcome::ResetByServer => here.host.aborts(hs.server_addr, it.seen.1, now),
            Outcome::ResetByClient => here.host.aborts(hs.client_addr, it.seen.1, now),
            _ => Err(Missing::NotAsked),
        };
        local.drops = here.drops.as_ref().map_err(|off| off.missing).and_then(|it| it.of(hs, here.within));
        for drop in local.drops.iter_mut().flatten() {
            drop.place = here.host.place(drop.netns, hs.client_addr, hs.server_addr, now);
        }
        // That nothing is noted is no fact then.
        if local.drops.as_ref().is_ok_and(Vec::is_empty) && here.unnoted.1 >= hs.first_syn {
            local.drops = Err(Missing::Gone);
        }
        local.process = match &here.connects {
            Ok(connects) if local.client_here == Ok(true) => {
                let call = connects.by_flow(hs.client(), hs.server(), hs.first_syn);
                call.map(|call| process(&mut here.host, &call, now))
            }
            Ok(_) => Err(Missing::Elsewhere),
            Err(off) => Err(off.missing),
        };
        local
    }

    /// Reads what was established since the last look: sets that have changed.
    fn look(&mut self, table: &Table, clock: fn() -> Nanos) {
        let now = clock();
        if now < self.next {
            return;
        }
        let since = self.looked;
        table.each_changed(&mut self.versions, |it| {
            if it.state() == State::Established && it.ended > since {
                self.history.note(it, Outcome::Established);
            }
        });
        self.looked = now;
        self.next = Nanos(now.0 + LOOK.max(clock().since(now) * PAUSE));
    }
}

/// Who called, by what is known of the process now, or else by what the hook noted.
fn process(host: &mut Host, it: &Connect, now: Nanos) -> Process {
    host.process(it.pid, now).unwrap_or_else(|_| Process {
        pid: it.pid,
        command: it.comm.to_string(),
        unit: None,
        container: None,
    })
}
