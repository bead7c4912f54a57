//! Why, while tracing: what hosts did of late, what this host knows, put to the rules.

use tcptrace_core::{
    handshake::{Nanos, State},
    outcome::Outcome,
};

use super::table::Table;
use crate::{
    attempt::Attempt,
    cli::LocalFacts,
    diagnose::{Case, Causes, Local, Missing, Why, diagnose, history::History},
    host::Host,
    noise::Checks,
    track::Report,
};

/// Between two looks at what was established, at least; and so many times as long as the last look took.
const LOOK: u64 = 250_000_000;
const PAUSE: u64 = 50;

/// What verdicts rest on.
pub struct Diagnosis {
    history: History,
    /// This host, where it is asked.
    host: Option<Host>,
    pub checks: Checks,
    /// Lines told, by cause.
    pub causes: Causes,
    /// By set: its version when it was last read.
    versions: Vec<u64>,
    /// When the table was last read, and when it may be again.
    looked: Nanos,
    next: Nanos,
}

impl Diagnosis {
    /// Asks this host as far as is wanted.
    #[must_use]
    pub fn new(local: LocalFacts) -> Self {
        let host = match local {
            LocalFacts::All => Some(Host::new()),
            LocalFacts::Own => Some(Host::own()),
            LocalFacts::Off => None,
        };
        Self {
            history: History::default(),
            host,
            checks: Checks::default(),
            causes: Causes::default(),
            versions: Vec::new(),
            looked: Nanos(0),
            next: Nanos(0),
        }
    }

    /// To be called at each sweep.
    pub fn tick(&mut self, now: Nanos) {
        if let Some(host) = &mut self.host {
            host.tick(now);
        }
    }

    /// Takes note of what became of an attempt, told or not.
    pub fn note(&mut self, report: &Report) {
        let it = report.attempt();
        match report {
            // What completes is read from the table: most of it is never told.
            Report::Open(_) => {}
            Report::Stall(_) => self.history.note(&it.handshake, it.outcome),
            Report::Attempt(_) => {
                if !it.outcome.is_open() {
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
        let verdict = diagnose(&Case { it, local: &local, history: &self.history, checks });
        self.causes.count(&verdict);
        it.why = Some(Box::new(Why { verdict, local }));
    }

    /// What this host knows of an attempt.
    fn local(&mut self, it: &Attempt, now: Nanos) -> Local {
        let Some(host) = &mut self.host else { return Local::unknown(Missing::NotAsked) };
        host.fill(&it.handshake, now)
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
