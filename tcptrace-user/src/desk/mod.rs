//! The stage between "found" and "printed", for live tracing and for captures: patterns, held reports, and the totals.
//!
//! Pure: no clock, socket or file. Time is an argument, and a [`World`] looks up everything else. It prints nothing:
//! its caller prints what it returns.

mod consider;
mod totals;

use std::collections::VecDeque;

use consider::consider_unsent;
pub use consider::{Disposition, View, Wanted, consider};
use tcptrace_core::{
    flow::Endpoint,
    handshake::{Handshake, Nanos},
};
use tcptrace_report::{
    finding::Finding,
    summary::{Ignored, IncidentCounts},
};
use tcptrace_verdict::patterns::{
    Claim, Pattern as _,
    avoided::Networks,
    checks::{Checks, Probes},
    flood::{Floods, Passage},
    incident::{Failure, Incidents},
    lifecycle::Numbers,
    scan::Scans,
};
pub use tcptrace_verdict::patterns::{FindingId, Harmless, Surroundings};
use tcptrace_vocabulary::outcome::Outcome;
use tcptrace_vocabulary::{
    attempt::{Attempt, OtherHalf},
    cause::Cause,
    incident::{Incident, Symptom},
    report::Report,
    verdict::Unsent,
};
pub use totals::{ByOutcome, Servers, Totals};

use crate::ignore::IgnoreList;

/// Reports held at once; more are decided by what is known.
const HELD: usize = 1 << 13;

/// What makes the exit code 3 (`--fail-on`): so many attempts of one incident that ended so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailOn {
    /// `None`: any failure and any finding.
    pub outcome: Option<Outcome>,
    /// From 1 on.
    pub count: u64,
}

impl FailOn {
    /// Any failure and any finding.
    pub const ANY: Self = Self { outcome: None, count: 1 };

    /// One attempt with this outcome.
    #[must_use]
    pub const fn one(outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), count: 1 }
    }

    /// Whether an attempt that ended so counts.
    #[must_use]
    pub fn covers(self, outcome: Outcome) -> bool {
        self.outcome.map_or_else(|| outcome.is_failure(), |wanted| wanted == outcome)
    }

    /// Whether there are enough among attempts that belong together.
    fn is_reached(self, ends: &ByOutcome, not_sent: u64) -> bool {
        let ends = Outcome::ALL.into_iter().filter(|it| self.covers(*it)).map(|it| ends[it as usize]);
        let not_sent = if self.outcome.is_none() { not_sent } else { 0 };
        ends.sum::<u64>() + not_sent >= self.count
    }
}

/// The options of a desk, from the command line.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `--all`.
    pub all: bool,
    /// Every failure is a line of its own: `--each`, and JSON. Otherwise the first of an incident is.
    pub each: bool,
    /// `--count`: lines printed at most.
    pub count: Option<u64>,
    pub fail_on: Vec<FailOn>,
    /// A capture knows what comes later, and every connection's end; live, the kernel counts connections.
    pub is_capture: bool,
    /// Servers that have a total of their own.
    pub servers: usize,
    /// `--ignore`: failures that are accepted.
    pub ignored: IgnoreList,
}

impl Asked {
    /// Whether an incident has so many attempts that the exit code is 3.
    fn is_reached(&self, incident: &Incident) -> bool {
        self.fail_on.iter().any(|wanted| wanted.is_reached(&incident.outcomes, incident.not_sent))
    }
}

/// The lookups that a desk needs.
pub trait World: Surroundings {
    /// Whether a report is wanted: the filter includes it, every hook was there when it began, and it is of a process
    /// that is wanted.
    fn is_wanted(&mut self, report: &Report) -> Wanted;

    /// Until when another address may still overtake an attempt that has failed; `None` where none can.
    fn race(&mut self, attempt: &Attempt, now: Nanos) -> Option<Nanos>;

    /// Whether another address of the same port answered before this one, so that nobody waits for it.
    fn is_overtaken(&mut self, attempt: &Attempt, now: Nanos) -> bool;

    /// The other half of a translated attempt.
    fn other_half(&mut self, _attempt: &Attempt) -> Option<OtherHalf> {
        None
    }

    /// Until when the first half of a translated attempt may still come, of which this would be the second.
    fn first_half(&mut self, _attempt: &Attempt, _now: Nanos) -> Option<Nanos> {
        None
    }

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

struct Patterns {
    floods: Floods,
    scans: Scans,
    networks: Networks,
    checks: Checks,
    probes: Probes,
    incidents: Incidents,
}

impl Default for Patterns {
    fn default() -> Self {
        let numbers = Numbers::default();
        Self {
            floods: Floods::numbered(&numbers),
            scans: Scans::numbered(&numbers),
            networks: Networks::numbered(&numbers),
            checks: Checks::default(),
            probes: Probes::default(),
            incidents: Incidents::numbered(&numbers),
        }
    }
}

/// A report that is settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// With its verdict and its incident.
    pub report: Report,
    /// Whether it is printed. If not, its incident stands for it.
    pub is_line: bool,
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

    /// Notes that an attempt worked, and when it began: incidents of its server say which share still works.
    pub fn see_success(&mut self, server: Endpoint, began: Nanos) {
        self.patterns.incidents.note_success(server, began);
    }

    /// Takes a report in; returns it if it is a line, or one more of an incident.
    pub fn receive(&mut self, report: Report, world: &mut impl World, now: Nanos) -> Option<Settled> {
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
    ) -> (Disposition, Option<Settled>) {
        let is_full = self.is_full();
        let mut scene = Scene { patterns: &mut self.patterns, asked: &self.asked, world, may_wait, is_full };
        let mut disposition = consider(&report, &mut scene, now);
        let is_settled = disposition == Disposition::Print;
        if is_settled {
            let attempt = report.attempt_mut();
            attempt.translated = world.other_half(attempt);
            if attempt.wants_cause() {
                world.explain(attempt, self.patterns.checks.count(&attempt.handshake));
                attempt.why.iter().for_each(|why| self.totals.causes.count(&why.verdict));
            }
            if !self.is_harmless(&report, world, now) {
                disposition = self.join(&mut report, now);
            }
        }
        self.totals.note(&report, disposition, &self.asked);
        self.found |= self.is_found(&report, disposition);
        match disposition {
            Disposition::Print => {
                self.printed += u64::from(!matches!(report, Report::Stall(_)) && !is_sequel(&self.asked, &report));
            }
            Disposition::Hold { until } => {
                self.held.push_back((until, report));
                return (disposition, None);
            }
            Disposition::Count(Harmless::Overtaken) => {
                self.patterns.networks.note(&report, world, now);
            }
            Disposition::Count(Harmless::Ignored { entry }) => {
                if matches!(report, Report::Attempt(_)) {
                    self.asked.ignored.count(entry);
                }
            }
            Disposition::Count(Harmless::HealthCheck | Harmless::Probe | Harmless::Worked)
            | Disposition::Fold(_)
            | Disposition::Surplus
            | Disposition::Unlisted
            | Disposition::NotOurs => {}
        }
        let is_line = disposition == Disposition::Print;
        (disposition, is_settled.then_some(Settled { report, is_line }))
    }

    /// Whether only `--all` lists a report: it is of no incident then.
    fn is_harmless(&self, report: &Report, world: &mut impl World, now: Nanos) -> bool {
        let attempt = report.attempt();
        if !self.asked.all || !attempt.is_trouble() {
            return false;
        }
        let is_check = attempt.why.as_deref().is_some_and(|why| why.verdict.cause == Cause::HealthCheck);
        is_check
            || ignored(&self.asked, report).is_some()
            || world.is_half_of_another(attempt)
            || world.is_overtaken(attempt, now)
    }

    /// Joins a report to its incident, which may stand for it.
    fn join(&mut self, report: &mut Report, now: Nanos) -> Disposition {
        let attempt = report.attempt();
        let (is_end, is_capture) = (matches!(report, Report::Attempt(_)), self.asked.is_capture);
        let mut failure = Failure::of(attempt, is_end, is_capture).filter(|_| attempt.is_trouble());
        // What was in trouble and came through belongs to what failed around it.
        if failure.is_none() && !is_sequel(&self.asked, report) {
            failure = Failure::of_recovered(attempt, is_capture);
        }
        let Some(failure) = failure else { return Disposition::Print };
        let (incident, is_first) = self.patterns.incidents.note(&failure, now);
        self.found |= self.asked.is_reached(incident);
        // A wider incident says itself what its first failure was.
        let is_first = is_first && incident.took_over == 0;
        let id = FindingId(incident.id);
        report.attempt_mut().incident = Some(id.0);
        if self.asked.each || is_first { Disposition::Print } else { Disposition::Fold(id) }
    }

    /// Decides what was held until now; with `all`, whatever is held. Returns what is a line, or one more of an
    /// incident.
    pub fn due(&mut self, now: Nanos, all: bool, world: &mut impl World) -> Vec<Settled> {
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

    /// Whether an incident is running, whose end has to be seen.
    #[must_use]
    pub fn has_incidents(&self) -> bool {
        self.patterns.incidents.are_on()
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

    /// Incidents to print: those that began since the last look, have news, or are over by now.
    pub fn look_at_incidents(&mut self, now: Nanos) -> Vec<Incident> {
        self.patterns.incidents.look(now)
    }

    /// The end of the run, at a moment: incidents to print.
    pub fn end_incidents(&mut self, now: Nanos) -> Vec<Incident> {
        self.patterns.incidents.end(now)
    }

    /// The end of the run: findings to print.
    pub fn end(&mut self) -> Vec<Finding> {
        let Patterns { floods, scans, networks, .. } = &mut self.patterns;
        let found = findings(floods.end(), scans.end(), networks.end());
        self.note_findings(found)
    }

    fn note_findings(&mut self, found: Vec<Finding>) -> Vec<Finding> {
        let attempts = |finding: &Finding| match finding {
            Finding::Flood(flood) => flood.attempts,
            Finding::Scan(scan) => scan.attempts,
            Finding::Avoided(avoided) => avoided.attempts,
        };
        // A finding is reported before any of its attempts has ended.
        let is_reached = |it: &Finding, wanted: &FailOn| wanted.count == 1 || wanted.is_reached(&attempts(it), 0);
        let any: Vec<_> = self.asked.fail_on.iter().filter(|it| it.outcome.is_none()).collect();
        self.found |= found.iter().any(|it| any.iter().any(|wanted| is_reached(it, wanted)));
        found
    }

    /// Takes in a connect(2) that put no SYN on the wire; returns what becomes of it.
    pub fn receive_unsent(&mut self, unsent: &mut Unsent, wanted: Wanted, now: Nanos) -> Disposition {
        let client = unsent.client.unwrap_or_default();
        let ignored = self.asked.ignored.find(client, unsent.server, Symptom::Local, unsent.called);
        let mut disposition = consider_unsent(wanted, ignored.filter(|_| !self.asked.all), self.is_full());
        if let Disposition::Count(Harmless::Ignored { entry }) = disposition {
            self.asked.ignored.count(entry);
        }
        self.totals.unlisted += u64::from(disposition == Disposition::Unlisted);
        if disposition == Disposition::Print {
            let (incident, is_first) = self.patterns.incidents.note(&Failure::of_call(unsent), now);
            let id = FindingId(incident.id);
            self.found |= self.asked.is_reached(incident);
            unsent.incident = Some(id.0);
            if self.asked.each || is_first {
                self.printed += 1;
            } else {
                disposition = Disposition::Fold(id);
            }
            self.totals.causes.count(&unsent.verdict);
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

    /// How many incidents began, and what became of them.
    #[must_use]
    pub fn incidents(&self) -> IncidentCounts {
        let it = &self.patterns.incidents;
        IncidentCounts { begun: it.begun(), running: it.running(), merged: it.merged() }
    }

    /// The entries of the ignore list, with what each accepted.
    #[must_use]
    pub fn ignored(&self, now: Nanos) -> Vec<Ignored> {
        self.asked.ignored.counted(now)
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
        let names = |outcome| self.asked.fail_on.iter().any(|it| it.count == 1 && it.covers(outcome));
        let worked = |ends: &ByOutcome| {
            let named = self.asked.fail_on.iter().filter(|it| it.outcome.is_some_and(|outcome| !outcome.is_failure()));
            named.into_iter().any(|it| it.is_reached(ends, 0))
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
            Disposition::Count(
                Harmless::HealthCheck | Harmless::Overtaken | Harmless::Probe | Harmless::Ignored { .. },
            )
            | Disposition::Hold { .. }
            | Disposition::Surplus
            | Disposition::Unlisted
            | Disposition::NotOurs => false,
        };
        let Report::Attempt(attempt) = report else { return false };
        counts && self.asked.fail_on.iter().any(|it| it.count == 1 && it.covers(attempt.outcome))
    }
}

/// The entry of the ignore list that accepts a failure.
fn ignored(asked: &Asked, report: &Report) -> Option<usize> {
    let attempt = report.attempt();
    let hs = &attempt.handshake;
    asked.ignored.find(hs.client(), hs.server(), Symptom::of(attempt.outcome)?, hs.first_syn)
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

    fn is_wanted(&mut self, report: &Report) -> Wanted {
        self.world.is_wanted(report)
    }

    fn ignored(&mut self, report: &Report) -> Option<usize> {
        ignored(self.asked, report)
    }

    fn probe(&mut self, report: &Report, now: Nanos) -> Claim {
        self.patterns.probes.note(report, self.world, now)
    }

    fn check(&mut self, report: &Report, now: Nanos) -> Claim {
        self.patterns.checks.note(report, self.world, now)
    }

    fn race(&mut self, attempt: &Attempt, now: Nanos) -> Option<Nanos> {
        self.world.race(attempt, now).or_else(|| self.world.first_half(attempt, now))
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
