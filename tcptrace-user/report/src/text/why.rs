//! The cause of a failure with its evidence, below the line of an attempt.

use std::fmt::Write as _;

use tcptrace_vocabulary::{attempt::Attempt, cause::Cause, facts::Process, scope::Extent, verdict::Verdict};

use super::columns::{DIM, INDENT};

/// Sentences of evidence that a report has without `-v`: the first are the strongest.
const SENTENCES: usize = 3;

/// The text below an attempt's line: cause and evidence, then what to do. It is empty without a verdict; `quiet` puts
/// the word alone on the same line.
#[must_use]
pub(super) fn text(attempt: &Attempt, quiet: bool, verbose: bool) -> String {
    let Some(why) = attempt.why.as_deref() else { return String::new() };
    verdict(&why.verdict, why.recorded, quiet, verbose)
}

/// The same for a verdict, and whether it was recorded.
pub(super) fn verdict(verdict: &Verdict, recorded: bool, quiet: bool, verbose: bool) -> String {
    let mut word = if verdict.cause == Cause::Unknown {
        "cause unknown".to_owned()
    } else {
        format!("{}, {}", verdict.cause.name(), verdict.confidence.name())
    };
    word.push_str(if recorded { ", as recorded" } else { "" });
    if quiet {
        return format!("  ({word})");
    }
    let extent = verdict.scope.extent;
    let scope = if extent == Extent::Unknown { String::new() } else { format!(", {}", extent.words()) };
    let most = if verbose { usize::MAX } else { SENTENCES };
    let evidence = verdict.evidence.iter().chain(&verdict.scope.evidence).map(String::as_str);
    let evidence: Vec<_> = evidence.take(most).collect();
    let mut text = format!("\n{INDENT}{word}{scope}: {}", evidence.join("; "));
    if let Some(next) = verdict.next.first() {
        let _ = write!(text, "\n{INDENT}{DIM}→ {next}{DIM:#}");
    }
    text
}

/// The processes at the ends that are on this host.
pub(super) fn who(attempt: &Attempt) -> Option<String> {
    let local = &attempt.why.as_deref()?.local;
    let client = local.process.as_ref().ok().map(|it| format!("{} connects", name(it)));
    let listener = local.listener.as_ref().ok().and_then(Option::as_ref);
    let listener = listener.and_then(|it| it.process.as_ref().ok()).map(|it| format!("{} listens", name(it)));
    let all: Vec<_> = client.into_iter().chain(listener).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// A process by name and pid. A process chooses its own name, so it is escaped.
pub(super) fn name(process: &Process) -> String {
    let place = process.container.as_ref().or(process.unit.as_ref()).map(|place| format!(", {}", place.escape_debug()));
    format!("{} (pid {}{})", process.command.escape_debug(), process.pid, place.unwrap_or_default())
}
