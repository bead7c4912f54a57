//! The stage between "found" and "printed", for live tracing and for captures: patterns, held reports, and the totals.
//!
//! Pure: no clock, socket or file. Time is an argument, and a [`World`] looks up everything else. It prints nothing:
//! its caller prints what it returns.

mod consider;
mod totals;

use std::collections::VecDeque;

use consider::consider_unsent;
pub use consider::{Disposition, View, consider};
use tcptrace_core::handshake::{Handshake, Nanos};
use tcptrace_report::finding::Finding;
use tcptrace_verdict::patterns::{
    Claim, Pattern as _,
    avoided::Networks,
    checks::{Checks, Probes},
    flood::{Floods, Passage},
    scan::Scans,
};
pub use tcptrace_verdict::patterns::{FindingId, Harmless, Surroundings};
use tcptrace_vocabulary::outcome::Outcome;
use tcptrace_vocabulary::{attempt::Attempt, report::Report, verdict::Unsent};
pub use totals::{ByOutcome, Servers, Totals};

/// Reports held at once; more are decided by what is known.
const HELD: usize = 1 << 13;

/// The reports that make the exit code 3 (`--fail-on`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// Any failure and any finding.
    Any,
    Outcome(Outcome),
}

impl FailOn {
    /// Whether it is an attempt that ended so.
    #[must_use]
    pub fn covers(self, outcome: Outcome) -> bool {
        match self {
            Self::Any => outcome.is_failure(),
            Self::Outcome(wanted) => wanted == outcome,
        }
    }
}

/// The options of a desk, from the command line.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `--all`.
    pub all: bool,
    /// `--count`: lines printed at most.
    pub count: Option<u64>,
    pub fail_on: Vec<FailOn>,
    /// A capture knows what comes later, and every connection's end; live, the kernel counts connections.
    pub is_capture: bool,
    /// Servers that have a total of their own.
    pub servers: usize,
}

/// The lookups that a desk needs.
pub trait World: Surroundings {
    /// Whether a report is wanted: the filter includes it, and every hook was there when it began.
    fn is_ours(&mut self, report: &Report) -> bool;

    /// Until when another address may still overtake an attempt that has failed; `None` where none can.
    fn race(&mut self, attempt: &Attempt, now: Nanos) -> Option<Nanos>;

    /// Whether another address of the same port answered before this one, so that nobody waits for it.
    fn is_overtaken(&mut self, attempt: &Attempt, now: Nanos) -> bool;

    /// Whether it is one half of a translated attempt whose other half came to something.
    fn is_half_of_another(&mut self, _attempt: &Attempt) -> bool {
        false
    }

    /// Says why an attempt failed; `checks`: how often its client looked at that port of late.
    fn explain(&mut self, attempt: &mut Attempt, checks: u32);
}

/// Decides what becomes of each report, and counts it.
#[derive(Default)]
pub struct Desk {
    asked: Asked,
    patterns: Patterns,
    /// In the order in which they came.
    held: VecDeque<(Nanos, Report)>,
    totals: Totals,
    printed: u64,
    found: bool,
}

#[derive(Default)]
struct Patterns {
    floods: Floods,
    scans: Scans,
    networks: Networks,
    checks: Checks,
    probes: Probes,
}

impl Desk {
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        Self { asked, ..Self::default() }
    }

    /// Notes that an attempt ended, whatever becomes of its report: a health check is known by those before it.
    pub fn see(&mut self, attempt: &Attempt) {
        self.patterns.checks.see(&attempt.handshake, attempt.outcome, attempt.seen.1);
    }

    /// The same, of an attempt that may not become a report.
    pub fn see_end(&mut self, handshake: &Handshake, outcome: Outcome, last: Nanos) {
        self.patterns.checks.see(handshake, outcome, last);
    }

    /// Takes a report in; returns it if it is to be printed.
    pub fn receive(&mut self, report: Report, world: &mut impl World, now: Nanos) -> Option<Report> {
        let may_wait = !self.asked.is_capture && self.held.len() < HELD;
        self.decide(report, may_wait, world, now).1
    }

    /// The same, with what became of it.
    pub fn decide(
        &mut self,
        mut report: Report,
        may_wait: bool,
        world: &mut impl World,
        now: Nanos,
    ) -> (Disposition, Option<Report>) {
        let is_full = self.is_full();
        let mut scene = Scene { patterns: &mut self.patterns, asked: &self.asked, world, may_wait, is_full };
        let disposition = consider(&report, &mut scene, now);
        self.totals.note(&report, disposition, &self.asked);
        self.found |= self.is_found(&report, disposition);
        match disposition {
            Disposition::Print => {
                self.printed += u64::from(!matches!(report, Report::Stall(_)) && !is_sequel(&self.asked, &report));
                let attempt = report.attempt_mut();
                if attempt.wants_cause() {
                    world.explain(attempt, self.patterns.checks.count(&attempt.handshake));
                    attempt.why.iter().for_each(|why| self.totals.causes.count(&why.verdict));
                }
                return (disposition, Some(report));
            }
            Disposition::Hold { until } => self.held.push_back((until, report)),
            Disposition::Count(Harmless::Overtaken) => {
                self.patterns.networks.note(&report, world, now);
            }
            Disposition::Count(Harmless::HealthCheck | Harmless::Probe | Harmless::Worked)
            | Disposition::Fold(_)
            | Disposition::Surplus
            | Disposition::NotOurs => {}
        }
        (disposition, None)
    }

    /// Decides what was held until now; with `all`, whatever is held. Returns what is to be printed.
    pub fn due(&mut self, now: Nanos, all: bool, world: &mut impl World) -> Vec<Report> {
        let (due, held) = std::mem::take(&mut self.held).into_iter().partition(|(until, _)| all || *until <= now);
        self.held = held;
        let due: VecDeque<(Nanos, Report)> = due;
        due.into_iter().filter_map(|(_, report)| self.decide(report, false, world, now).1).collect()
    }

    /// Whether anything is held.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether a flood is running.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        self.patterns.floods.are_on()
    }

    /// Brings what came by for flooded listeners; `cookies`: SYN cookies that this host has ever sent, if it is known.
    pub fn feed(&mut self, passages: Vec<Passage>, cookies: Option<u64>) {
        self.patterns.floods.feed(passages, cookies);
    }

    /// Brings what came by for one flooded listener of a capture, up to a moment; returns findings to print.
    pub fn flood(&mut self, passage: Passage, until: Nanos) -> Vec<Finding> {
        self.patterns.floods.feed(vec![passage], None);
        let found = findings(self.patterns.floods.look(until), Vec::new(), Vec::new());
        self.note_findings(found)
    }

    /// Findings to print: those that began since the last look, and those that are over by now.
    pub fn look(&mut self, now: Nanos) -> Vec<Finding> {
        let Patterns { floods, scans, networks, .. } = &mut self.patterns;
        let found = findings(floods.look(now), scans.look(now), networks.look(now));
        self.note_findings(found)
    }

    /// The end of the run: findings to print.
    pub fn end(&mut self) -> Vec<Finding> {
        let Patterns { floods, scans, networks, .. } = &mut self.patterns;
        let found = findings(floods.end(), scans.end(), networks.end());
        self.note_findings(found)
    }

    fn note_findings(&mut self, found: Vec<Finding>) -> Vec<Finding> {
        self.found |= !found.is_empty() && self.asked.fail_on.contains(&FailOn::Any);
        found
    }

    /// Takes in a connect(2) that put no SYN on the wire; returns what becomes of it. `is_ours`: the filter includes
    /// it.
    pub fn receive_unsent(&mut self, unsent: &Unsent, is_ours: bool) -> Disposition {
        let disposition = consider_unsent(is_ours, self.is_full());
        if disposition == Disposition::Print {
            self.printed += 1;
            self.totals.causes.count(&unsent.verdict);
            self.found |= self.asked.fail_on.contains(&FailOn::Any);
        }
        disposition
    }

    /// Every finding of the run, as it is now.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        findings(self.patterns.floods.all(), self.patterns.scans.all(), self.patterns.networks.all())
    }

    /// The number of findings that are not kept any more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.patterns.floods.forgotten() + self.patterns.scans.forgotten() + self.patterns.networks.forgotten()
    }

    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Whether `--count` lines are printed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.asked.count.is_some_and(|count| self.printed >= count)
    }

    /// Whether the exit code is 3. Connections that worked are never printed without `--all`; `connections` counts
    /// their ends by outcome. `lost` has the outcomes of failures whose reports were lost.
    #[must_use]
    pub fn is_failed(&self, connections: Option<&ByOutcome>, lost: &[Outcome]) -> bool {
        let names = |outcome| self.asked.fail_on.iter().any(|it| it.covers(outcome));
        let worked = |ends: &ByOutcome| {
            Outcome::ALL.into_iter().any(|it| !it.is_failure() && ends[it as usize] > 0 && names(it))
        };
        self.found || connections.is_some_and(worked) || lost.iter().copied().any(names)
    }

    /// Whether a report that became this makes the exit code 3: an end that is printed or that a finding stands for, or
    /// one that worked and whose outcome `--fail-on` names.
    fn is_found(&self, report: &Report, disposition: Disposition) -> bool {
        let counts = match disposition {
            Disposition::Print | Disposition::Fold(_) => true,
            // One half of an attempt that worked is no failure.
            Disposition::Count(Harmless::Worked) => !report.attempt().outcome.is_failure(),
            Disposition::Count(Harmless::HealthCheck | Harmless::Overtaken | Harmless::Probe)
            | Disposition::Hold { .. }
            | Disposition::Surplus
            | Disposition::NotOurs => false,
        };
        let Report::Attempt(attempt) = report else { return false };
        counts && self.asked.fail_on.iter().any(|it| it.covers(attempt.outcome))
    }
}

/// Whether a report is the end of an attempt that was reported as it opened.
fn is_sequel(asked: &Asked, report: &Report) -> bool {
    let Report::Attempt(attempt) = report else { return false };
    !asked.is_capture && asked.all && attempt.outcome.is_open()
}

fn findings(
    floods: Vec<tcptrace_verdict::patterns::flood::Flood>,
    scans: Vec<tcptrace_verdict::patterns::scan::Scan>,
    networks: Vec<tcptrace_verdict::patterns::avoided::Avoided>,
) -> Vec<Finding> {
    let floods = floods.into_iter().map(|it| Finding::Flood(Box::new(it)));
    floods.chain(scans.into_iter().map(Finding::Scan)).chain(networks.into_iter().map(Finding::Avoided)).collect()
}

/// A desk's patterns and its world, as one report meets them.
struct Scene<'a, W> {
    patterns: &'a mut Patterns,
    asked: &'a Asked,
    world: &'a mut W,
    may_wait: bool,
    is_full: bool,
}

impl<W: World> View for Scene<'_, W> {
    fn lists_all(&self) -> bool {
        self.asked.all
    }

    fn may_wait(&self) -> bool {
        self.may_wait
    }

    fn is_full(&self) -> bool {
        self.is_full
    }

    fn is_sequel(&self, report: &Report) -> bool {
        is_sequel(self.asked, report)
    }

    fn is_ours(&mut self, report: &Report) -> bool {
        self.world.is_ours(report)
    }

    fn probe(&mut self, report: &Report, now: Nanos) -> Claim {
        self.patterns.probes.note(report, self.world, now)
    }

    fn check(&mut self, report: &Report, now: Nanos) -> Claim {
        self.patterns.checks.note(report, self.world, now)
    }

    fn race(&mut self, attempt: &Attempt, now: Nanos) -> Option<Nanos> {
        self.world.race(attempt, now)
    }

    fn finding(&mut self, report: &Report, now: Nanos) -> Claim {
        let mut claim = self.patterns.floods.note(report, self.world, now);
        if claim == Claim::None {
            claim = self.patterns.scans.note(report, self.world, now);
        }
        // A capture is read to its end, and `--all` asks for all of it: the finding is reported beside its attempts.
        // Live, a flood would fill the terminal.
        if self.asked.all && self.asked.is_capture { Claim::None } else { claim }
    }

    fn is_half_of_another(&mut self, attempt: &Attempt) -> bool {
        self.world.is_half_of_another(attempt)
    }

    fn is_overtaken(&mut self, attempt: &Attempt, now: Nanos) -> bool {
        let (server, began) = (attempt.handshake.server(), attempt.handshake.first_syn);
        // Whoever tries a dead address first each time has a failure each time.
        self.world.is_overtaken(attempt, now) && !self.patterns.networks.is_dead(server, began, self.world)
    }
}
