//! Attempts listed by the process at one of their ends: `--process`, `--unit`, `--container`, `--pod`.
//!
//! Pure: it gets the processes and looks none up. A name that is not known is never read as "no".

use tcptrace_vocabulary::facts::{Container, Fact, Pod, Process};

use crate::{desk::Wanted, exit};

/// Processes are to select, and none is looked up.
#[derive(Debug, thiserror::Error)]
#[error("--process, --unit, --container and --pod go by processes, and --local off looks none up: leave it out")]
pub struct NoProcesses;

impl exit::ExitCode for NoProcesses {
    fn exit_code(&self) -> u8 {
        exit::USAGE
    }
}

/// The patterns of the command line. A process is wanted if it matches one pattern of each kind that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub processes: Vec<Pattern>,
    /// With or without `.service`.
    pub units: Vec<Pattern>,
    /// By name or by id.
    pub containers: Vec<Pattern>,
    /// `NAME` or `NAMESPACE/NAME`.
    pub pods: Vec<Pattern>,
}

/// A name in which `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it is the whole of a name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (mut pieces, mut rest) = (self.0.split('*'), name);
        let first = pieces.next().unwrap_or_default();
        let Some(mut last) = pieces.next_back() else { return name == first };
        let Some(after) = rest.strip_prefix(first) else { return false };
        rest = after;
        for piece in pieces {
            let Some((_, after)) = rest.split_once(piece) else { return false };
            rest = after;
        }
        last = last.trim_start_matches('*');
        rest.ends_with(last)
    }

    /// Whether it is an id of a container, as long as anybody writes it.
    fn is_id(&self, id: &str) -> bool {
        let is_hex = self.0.bytes().all(|it| it.is_ascii_hexdigit());
        is_hex && self.0.len() >= id.len() && self.0.starts_with(id)
    }
}

impl Selection {
    /// Whether every attempt is listed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.units.is_empty() && self.containers.is_empty() && self.pods.is_empty()
    }

    /// Whether an attempt is listed, by the processes at its ends: `Ok(None)` where nobody is, or the end is elsewhere
    /// and the other here.
    #[must_use]
    pub fn wants(&self, ends: &[Fact<Option<Process>>]) -> Wanted {
        if self.is_empty() {
            return Wanted::Yes;
        }
        let each = ends.iter().map(|end| match end {
            Ok(Some(process)) => self.of(process),
            Ok(None) => Wanted::No,
            Err(_) => Wanted::Unknown,
        });
        each.reduce(|one, other| match (one, other) {
            (Wanted::Yes, _) | (_, Wanted::Yes) => Wanted::Yes,
            (Wanted::Unknown, _) | (_, Wanted::Unknown) => Wanted::Unknown,
            (Wanted::No, Wanted::No) => Wanted::No,
        })
        .unwrap_or(Wanted::Unknown)
    }

    /// Every kind that is given has to match.
    fn of(&self, process: &Process) -> Wanted {
        let Process { command, unit, container, is_gone, .. } = process;
        let is_unnamed = container.as_ref().map_or(*is_gone, |it| it.name.is_none());
        let has_pod = container.as_ref().is_some_and(|it| it.pod.is_some());
        let kinds = [
            // The kernel's own name is cut off (TASK_COMM_LEN).
            kind(&self.processes, Some(command), *is_gone && command.len() >= COMM, |it, command| it.matches(command)),
            kind(&self.units, unit.as_ref(), *is_gone && unit.is_none(), |it, unit| is_unit(it, unit)),
            kind(&self.containers, container.as_ref(), is_unnamed, is_container),
            kind(&self.pods, container.as_ref().and_then(|it| it.pod.as_ref()), is_unnamed && !has_pod, is_pod),
        ];
        let all = kinds.into_iter().reduce(|one, other| match (one, other) {
            (Wanted::No, _) | (_, Wanted::No) => Wanted::No,
            (Wanted::Unknown, _) | (_, Wanted::Unknown) => Wanted::Unknown,
            (Wanted::Yes, Wanted::Yes) => Wanted::Yes,
        });
        all.unwrap_or(Wanted::Yes)
    }
}

/// Letters of a process's name in the kernel.
const COMM: usize = 15;

/// Whether one of the patterns of a kind matches what a process has of that kind. `may_match`: it has, or may have, a name
/// that is not known.
fn kind<T>(patterns: &[Pattern], has: Option<&T>, may_match: bool, matches: impl Fn(&Pattern, &T) -> bool) -> Wanted {
    let is_matched = has.is_some_and(|has| patterns.iter().any(|it| matches(it, has)));
    match (patterns.is_empty() || is_matched, may_match) {
        (true, _) => Wanted::Yes,
        (false, true) => Wanted::Unknown,
        (false, false) => Wanted::No,
    }
}

fn is_unit(pattern: &Pattern, unit: &str) -> bool {
    pattern.matches(unit) || unit.strip_suffix(".service").is_some_and(|unit| pattern.matches(unit))
}

fn is_container(pattern: &Pattern, container: &Container) -> bool {
    let is_named = container.name.as_ref().is_some_and(|name| pattern.matches(name));
    is_named || pattern.matches(&container.id) || pattern.is_id(&container.id)
}

fn is_pod(pattern: &Pattern, Pod { namespace, name }: &Pod) -> bool {
    pattern.matches(name) || pattern.matches(&format!("{namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use tcptrace_vocabulary::facts::Missing;

    use super::*;

    #[test]
    fn patterns() {
        for (pattern, yes, no) in [
            ("nginx", &["nginx"][..], &["nginx2", "anginx", ""][..]),
            ("nginx*", &["nginx", "nginx-2"], &["anginx"]),
            ("*nginx", &["nginx", "my-nginx"], &["nginx2"]),
            ("*", &["", "anything"], &[]),
            ("**", &["", "anything"], &[]),
            ("a*b*c", &["abc", "aXbYc", "abbc"], &["ab", "acb", "abcd"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("", &[""], &["x"]),
        ] {
            let pattern = Pattern::new(pattern);
            yes.iter().for_each(|it| assert!(pattern.matches(it), "{pattern:?} {it}"));
            no.iter().for_each(|it| assert!(!pattern.matches(it), "{pattern:?} {it}"));
        }
    }

    fn selection(process: &str, unit: &str, container: &str, pod: &str) -> Selection {
        let some = |it: &str| it.split_whitespace().map(Pattern::new).collect();
        Selection { processes: some(process), units: some(unit), containers: some(container), pods: some(pod) }
    }

    fn nginx() -> Process {
        let pod = Some(Pod { namespace: "shop".to_owned(), name: "web-0".to_owned() });
        let container = Container { id: "3f9a1c0b5e7d".to_owned(), name: Some("web".to_owned()), pod, enter: None };
        Process {
            pid: 812,
            command: "nginx".to_owned(),
            unit: Some("web.service".to_owned()),
            container: Some(container),
            is_gone: false,
        }
    }

    #[test]
    fn one_of_each_kind_has_to_match() {
        for (wanted, expected) in [
            (selection("", "", "", ""), Wanted::Yes),
            (selection("nginx", "", "", ""), Wanted::Yes),
            (selection("curl ngin*", "", "", ""), Wanted::Yes),
            (selection("curl", "", "", ""), Wanted::No),
            (selection("", "web", "", ""), Wanted::Yes),
            (selection("", "web.service", "", ""), Wanted::Yes),
            (selection("", "web.scope", "", ""), Wanted::No),
            (selection("", "", "web", ""), Wanted::Yes),
            (selection("", "", "3f9a1c0b5e7d", ""), Wanted::Yes),
            (selection("", "", "3f9a1c0b5e7d4a2f8c6b", ""), Wanted::Yes),
            (selection("", "", "3f9a", ""), Wanted::No),
            (selection("", "", "3f9a*", ""), Wanted::Yes),
            (selection("", "", "", "web-0"), Wanted::Yes),
            (selection("", "", "", "shop/*"), Wanted::Yes),
            (selection("", "", "", "other/web-0"), Wanted::No),
            (selection("nginx", "web", "web", "web-*"), Wanted::Yes),
            (selection("nginx", "web", "web", "api-*"), Wanted::No),
        ] {
            assert_eq!(wanted.wants(&[Ok(Some(nginx()))]), expected, "{wanted:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_no_no() {
        let plain = || Process { pid: 7, command: "curl".to_owned(), ..Process::default() };
        let gone = || Process { is_gone: true, ..plain() };
        let id = || Some(Container { id: "3f9a1c0b5e7d".to_owned(), ..Container::default() });
        let unnamed = || Process { container: id(), ..plain() };
        let [curl, unit, web, pod] =
            [("curl", "", "", ""), ("", "web", "", ""), ("", "", "web", ""), ("", "", "", "web-0")]
                .map(|(process, unit, container, pod)| selection(process, unit, container, pod));
        for (wanted, ends, expected) in [
            (&curl, [Ok(Some(plain())), Ok(None)], Wanted::Yes),
            (&curl, [Ok(Some(nginx())), Ok(None)], Wanted::No),
            (&curl, [Ok(Some(nginx())), Ok(Some(plain()))], Wanted::Yes),
            (&curl, [Ok(Some(nginx())), Err(Missing::Privilege)], Wanted::Unknown),
            (&curl, [Err(Missing::Elsewhere), Err(Missing::Elsewhere)], Wanted::Unknown),
            (&curl, [Ok(Some(gone())), Ok(None)], Wanted::Yes),
            (&unit, [Ok(Some(gone())), Ok(None)], Wanted::Unknown),
            (&unit, [Ok(Some(plain())), Ok(None)], Wanted::No),
            (&web, [Ok(Some(gone())), Ok(None)], Wanted::Unknown),
            (&pod, [Ok(Some(gone())), Ok(None)], Wanted::Unknown),
            (&pod, [Ok(Some(Process { unit: None, is_gone: true, ..nginx() })), Ok(None)], Wanted::Yes),
            (&web, [Ok(Some(unnamed())), Ok(None)], Wanted::Unknown),
            (&pod, [Ok(Some(unnamed())), Ok(None)], Wanted::Unknown),
            (&curl, [Ok(Some(unnamed())), Ok(None)], Wanted::Yes),
            (
                &curl,
                [Ok(Some(Process { command: "a-name-of-fiftee".to_owned(), ..gone() })), Ok(None)],
                Wanted::Unknown,
            ),
            (&curl, [Ok(Some(Process { command: "wget".to_owned(), ..gone() })), Ok(None)], Wanted::No),
        ] {
            assert_eq!(wanted.wants(&ends), expected, "{wanted:?} {ends:?}");
        }
    }
}
