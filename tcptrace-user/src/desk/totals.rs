//! The totals of the summary. Each report changes them once, after its disposition; nothing is ever taken back.

use std::collections::HashMap;

use tcptrace_core::flow::Endpoint;
use tcptrace_verdict::patterns::Harmless;
use tcptrace_vocabulary::{attempt::Attempt, outcome::Outcome, report::Report, verdict::Causes};

use super::{Asked, Disposition};

/// Counts by outcome.
pub type ByOutcome = [u64; Outcome::ALL.len()];

/// The totals of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Attempts that ended, printed or not.
    pub by_outcome: ByOutcome,
    pub stalls: u64,
    pub recovered: u64,
    /// Verdicts printed, by cause.
    pub causes: Causes,
    pub servers: Servers,
    /// Attempts that are no failures, by why.
    pub health_checks: u64,
    pub overtaken: u64,
    pub probes: u64,
    /// Attempts that the ignore list accepts.
    pub ignored: u64,
    /// Attempts, and calls without a SYN, of processes that are not known, where attempts are listed by their processes.
    pub unlisted: u64,
    /// Attempts that a finding stands for.
    pub folded: u64,
}

impl Totals {
    /// Counts a report whose disposition is decided.
    pub(super) fn note(&mut self, report: &Report, disposition: Disposition, asked: &Asked) {
        if disposition == Disposition::Unlisted {
            self.unlisted += u64::from(matches!(report, Report::Attempt(_)));
            return;
        }
        if matches!(disposition, Disposition::Hold { .. } | Disposition::NotOurs) {
            return;
        }
        let attempt = report.attempt();
        match report {
            Report::Stall(_) => self.stalls += 1,
            Report::Open(_) => self.recovered += u64::from(attempt.recovered),
            Report::Attempt(_) => self.note_end(attempt, disposition, asked),
        }
    }

    fn note_end(&mut self, attempt: &Attempt, disposition: Disposition, asked: &Asked) {
        let outcome = attempt.outcome;
        self.by_outcome[outcome as usize] += 1;
        if asked.is_capture {
            // A capture's stalls come with their ends.
            self.stalls += u64::from(attempt.stalled.is_some());
            self.recovered += u64::from(attempt.recovered);
        } else if outcome == Outcome::Established && !asked.all {
            self.recovered += u64::from(attempt.recovered);
        }
        let mut is_servers = true;
        match disposition {
            Disposition::Count(Harmless::HealthCheck) => {
                (self.health_checks, is_servers) = (self.health_checks + 1, false);
            }
            Disposition::Count(Harmless::Ignored { .. }) => (self.ignored, is_servers) = (self.ignored + 1, false),
            Disposition::Count(Harmless::Probe) => (self.probes, is_servers) = (self.probes + 1, false),
            Disposition::Count(Harmless::Overtaken) => self.overtaken += 1,
            Disposition::Fold(_) => self.folded += 1,
            Disposition::Print
            | Disposition::Surplus
            | Disposition::Count(Harmless::Worked)
            | Disposition::Hold { .. }
            | Disposition::Unlisted
            | Disposition::NotOurs => {}
        }
        // Live the kernel's table has the connections of each server.
        if is_servers && (outcome.is_failure() || asked.is_capture && outcome.is_open()) {
            self.servers.count(attempt.handshake.server(), outcome, asked.servers);
        }
    }

    /// Counts an attempt that never becomes a report, because nothing went wrong and nobody asked for all.
    pub fn note_worked(&mut self, server: Endpoint, outcome: Outcome, capacity: usize) {
        self.by_outcome[outcome as usize] += 1;
        if outcome.is_open() {
            self.servers.count(server, outcome, capacity);
        }
    }
}

/// Ends by server and outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    by_server: HashMap<Endpoint, ByOutcome>,
    /// Servers that were dropped because there were too many.
    pub forgotten: u64,
}

impl Servers {
    /// Counts an end. Where there are too many servers those with the fewest ends make room: a port scan makes
    /// thousands with one each.
    fn count(&mut self, server: Endpoint, outcome: Outcome, capacity: usize) {
        let mut least = 1;
        while self.by_server.len() >= capacity.max(1) && !self.by_server.contains_key(&server) {
            let before = self.by_server.len();
            self.by_server.retain(|_, ends| ends.iter().sum::<u64>() > least);
            self.forgotten += (before - self.by_server.len()) as u64;
            least *= 2;
        }
        self.by_server.entry(server).or_default()[outcome as usize] += 1;
    }

    /// The number of servers that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_server.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_server.is_empty()
    }

    /// The kept ones, each with its ends.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, ByOutcome)> {
        self.by_server.iter().map(|(&server, &ends)| (server, ends))
    }
}
