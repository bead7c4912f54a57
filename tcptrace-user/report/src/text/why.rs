//! The cause of a failure with its evidence, below the line of an attempt.

use std::fmt::Write as _;

use tcptrace_vocabulary::{
    attempt::Attempt,
    cause::Cause,
    facts::{Container, Fact, Netns, Process},
    scope::Extent,
    verdict::Verdict,
};

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
    let client = local.process.as_ref().ok().map(|it| format!("{} connects", named(it, &local.client_netns)));
    let listener = local.listener.as_ref().ok().and_then(Option::as_ref);
    let listener = listener.and_then(|it| it.process.as_ref().ok());
    let listener = listener.map(|it| format!("{} listens", named(it, &local.server_netns)));
    let all: Vec<_> = client.into_iter().chain(listener).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// A process, and the network namespace that it is in, where that has a name and the container does not say it.
fn named(process: &Process, within: &Fact<Option<Netns>>) -> String {
    let within = within.as_ref().ok().and_then(Option::as_ref).filter(|it| it.name.starts_with("netns "));
    match within.filter(|_| process.container.is_none()) {
        Some(within) => format!("{} in {}", name(process), within.name),
        None => name(process),
    }
}

/// A process by name and pid, and by its pod, its container or its unit. A process chooses its own name, so it is
/// escaped.
pub(super) fn name(process: &Process) -> String {
    let unit = || process.unit.as_ref().map(|unit| unit.escape_debug().to_string());
    let place = process.container.as_ref().map(Container::words).or_else(unit).map(|place| format!(", {place}"));
    format!("{} (pid {}{})", process.command.escape_debug(), process.pid, place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tcptrace_vocabulary::facts::{Missing, Pod};

    use super::*;

    #[test]
    fn a_process_by_its_narrowest_place() {
        let nginx = |unit: Option<&str>, container| Process {
            pid: 812,
            command: "nginx".to_owned(),
            unit: unit.map(str::to_owned),
            container,
            is_gone: false,
        };
        let container = |name: Option<&str>, pod| {
            Some(Container { id: "3f9a1c0b5e7d".to_owned(), name: name.map(str::to_owned), pod, enter: None })
        };
        let pod = Some(Pod { namespace: "shop".to_owned(), name: "web-0".to_owned() });
        let netns = |name: &str| Ok(Some(Netns { name: name.to_owned(), enter: String::new() }));
        for (process, within, expected) in [
            (nginx(None, None), Ok(None), "nginx (pid 812)"),
            (nginx(Some("nginx.service"), None), Ok(None), "nginx (pid 812, nginx.service)"),
            (nginx(Some("x\n"), None), Err(Missing::Elsewhere), "nginx (pid 812, x\\n)"),
            (
                nginx(Some("user@1000.service"), container(Some("web-1"), None)),
                Ok(None),
                "nginx (pid 812, container web-1)",
            ),
            (nginx(None, container(None, None)), Ok(None), "nginx (pid 812, container 3f9a1c0b5e7d)"),
            (nginx(None, container(Some("nginx"), pod)), netns("pod shop/web-0"), "nginx (pid 812, pod shop/web-0)"),
            (nginx(None, None), netns("netns web"), "nginx (pid 812) in netns web"),
            (nginx(None, None), netns("the netns of process 812"), "nginx (pid 812)"),
        ] {
            assert_eq!(named(&process, &within), expected);
        }
    }
}
