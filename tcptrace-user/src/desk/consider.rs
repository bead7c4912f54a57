//! Decides what becomes of a report: printed, held, counted, folded into a finding, or none of ours. One decision,
//! which looks nothing up by itself and changes no total.
//!
//! Other places decide what never becomes a report: the kernel sends no event of what completes (`Telling`,
//! tcptrace-ebpf/src/event.rs), `Tracker` reports an attempt once (src/track.rs), and of calls of connect(2) only those
//! proven to have sent nothing are reports (src/live/calls.rs).

use tcptrace_core::handshake::Nanos;
use tcptrace_verdict::patterns::{Claim, FindingId, Harmless};
use tcptrace_vocabulary::{attempt::Attempt, report::Report};

/// The treatment of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is a line.
    Print,
    /// Something that may come until then decides; the report is considered again.
    Hold { until: Nanos },
    /// It is no failure, and only counted.
    Count(Harmless),
    /// A finding stands for it.
    Fold(FindingId),
    /// `--count` lines are printed already: it is only counted.
    Surplus,
    /// The filter excludes it, or it began before every hook was there: it is not even counted.
    NotOurs,
    /// Attempts are listed by their processes, and those of this one are not known: it is only counted.
    Unlisted,
}

/// Whether a report is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Yes,
    No,
    /// It depends on a process that is not known.
    Unknown,
}

/// The facts that the decision rests on. Each question is asked at most once a report, and only if the answers before
/// it leave it open: some are expensive, and a pattern takes note of what it is asked about.
pub trait View {
    /// `--all`: nothing is held, and nothing is left out as harmless.
    fn lists_all(&self) -> bool;

    /// Whether something that comes later may be waited for; not where the report was held already, nor in captures.
    fn may_wait(&self) -> bool;

    /// Whether `--count` lines are printed.
    fn is_full(&self) -> bool;

    /// Whether the report is the end of an attempt that was reported as it opened: it is no other attempt.
    fn is_sequel(&self, report: &Report) -> bool;

    fn is_wanted(&mut self, report: &Report) -> Wanted;

    /// The entry of the ignore list that accepts the failure.
    fn ignored(&mut self, report: &Report) -> Option<usize>;

    fn probe(&mut self, report: &Report, now: Nanos) -> Claim;

    fn check(&mut self, report: &Report, now: Nanos) -> Claim;

    /// Until when another address may still overtake an attempt that has failed; `None` where none can.
    fn race(&mut self, attempt: &Attempt, now: Nanos) -> Option<Nanos>;

    fn finding(&mut self, report: &Report, now: Nanos) -> Claim;

    fn is_overtaken(&mut self, attempt: &Attempt, now: Nanos) -> bool;

    /// Whether it is one half of a translated attempt, and the other half is reported or worked.
    fn is_half_of_another(&mut self, attempt: &Attempt) -> bool;
}

/// Decides what becomes of a report.
pub fn consider(report: &Report, view: &mut impl View, now: Nanos) -> Disposition {
    match view.is_wanted(report) {
        Wanted::Yes => {}
        Wanted::No => return Disposition::NotOurs,
        Wanted::Unknown => return Disposition::Unlisted,
    }
    let all = view.lists_all();
    if !all && let Some(entry) = view.ignored(report) {
        return Disposition::Count(Harmless::Ignored { entry });
    }
    if !all && let Some(harmless) = look_aside(report, view, now) {
        return harmless;
    }
    let attempt = report.attempt();
    let is_end = matches!(report, Report::Attempt(_));
    // Whatever was announced as stalled or open has its end reported all the same.
    let was_announced = is_end && (view.is_sequel(report) || attempt.stalled.is_some());
    if view.is_full() && !was_announced {
        return Disposition::Surplus;
    }
    if is_end && !all && !attempt.is_trouble() {
        return Disposition::Count(Harmless::Worked);
    }
    if !all && view.is_half_of_another(attempt) {
        return Disposition::Count(Harmless::Worked);
    }
    if let Claim::Fold(id) = view.finding(report, now) {
        return Disposition::Fold(id);
    }
    if !all && view.is_overtaken(attempt, now) {
        return Disposition::Count(Harmless::Overtaken);
    }
    Disposition::Print
}

/// The same for a connect(2) that put no SYN on the wire: nothing else stands for it, and nothing later changes it.
#[must_use]
pub(super) const fn consider_unsent(wanted: Wanted, ignored: Option<usize>, is_full: bool) -> Disposition {
    match (wanted, ignored, is_full) {
        (Wanted::No, ..) => Disposition::NotOurs,
        (Wanted::Unknown, ..) => Disposition::Unlisted,
        (Wanted::Yes, Some(entry), _) => Disposition::Count(Harmless::Ignored { entry }),
        (Wanted::Yes, None, true) => Disposition::Surplus,
        (Wanted::Yes, None, false) => Disposition::Print,
    }
}

/// Probes, checks, and what a race has not decided yet.
fn look_aside(report: &Report, view: &mut impl View, now: Nanos) -> Option<Disposition> {
    let may_wait = view.may_wait();
    for claim in [View::probe, View::check] as [fn(&mut _, &Report, Nanos) -> Claim; 2] {
        match claim(view, report, now) {
            Claim::Count(harmless) => return Some(Disposition::Count(harmless)),
            Claim::Hold { until } if may_wait => return Some(Disposition::Hold { until }),
            Claim::Fold(id) => return Some(Disposition::Fold(id)),
            Claim::Hold { .. } | Claim::None => {}
        }
    }
    let Report::Attempt(attempt) = report else { return None };
    let until = if may_wait { view.race(attempt, now) } else { None };
    until.map(|until| Disposition::Hold { until })
}
