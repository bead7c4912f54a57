//! `--netns`: finds the network namespace that a word names, and moves this process into it.
//!
//! Only the network namespace: files, processes and users stay those of this process. It comes before the first thread,
//! which inherits the namespace; sockets, netlink, BPF and /proc then show that one.
//! <https://man7.org/linux/man-pages/man2/setns.2.html>

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, setns};
use tcptrace_vocabulary::facts::Netns;

use crate::{
    exit::{self, ExitCode},
    host::{RunningContainer, command, containers},
    limit,
};

/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";
/// The number of names that an error lists.
const SHOWN: usize = 16;

/// Why a network namespace cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot trace in netns '{}': no name, process or container is called so; {}; {}",
        .wanted.escape_debug(), listed("names", .names), listed("containers", .containers)
    )]
    Unknown { wanted: String, names: Vec<String>, containers: Vec<String> },
    #[error(
        "cannot trace in netns '{}': several containers begin with it; {}",
        .wanted.escape_debug(), listed("give more of one of these", .containers)
    )]
    Ambiguous { wanted: String, containers: Vec<String> },
    #[error("cannot trace in netns '{}': {} is no network namespace; {}", .wanted.escape_debug(), .path.display(), listed("names", .names))]
    NoNetns { wanted: String, path: PathBuf, names: Vec<String> },
    #[error(
        "cannot trace in netns '{}': {error}; it needs CAP_SYS_ADMIN, and CAP_SYS_PTRACE for a process of another user: \
         run tcptrace with sudo",
        .wanted.escape_debug()
    )]
    Privilege { wanted: String, error: io::Error },
    #[error(
        "cannot trace in netns '{}': cannot open {}: {}",
        .wanted.escape_debug(), .path.display(), limit::explained(.error)
    )]
    Failed { wanted: String, path: PathBuf, error: io::Error },
}

impl ExitCode for Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Unknown { .. } | Self::Ambiguous { .. } | Self::NoNetns { .. } => exit::USAGE,
            Self::Privilege { .. } => exit::PRIVILEGE,
            Self::Failed { .. } => exit::RUNTIME,
        }
    }
}

fn listed(what: &str, all: &[String]) -> String {
    if all.is_empty() {
        return format!("{what}: none");
    }
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = all.len().saturating_sub(SHOWN);
    if more == 0 { format!("{what}: {shown}") } else { format!("{what}: {shown} and {more} more") }
}

/// Moves the calling thread, and whatever threads it starts, into the network namespace that a word names. The files with
/// names of containers are below a directory: `/` but in tests.
///
/// # Errors
/// If nothing or several things are called so, or the namespace cannot be entered.
pub fn enter(wanted: &str, names_below: &Path) -> Result<Netns, Error> {
    let containers = || containers(names_below);
    let (path, netns) = find(wanted, &containers)?;
    let entered = File::open(&path).and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?));
    entered.map(|()| netns).map_err(|error| failure(wanted, path, error, &containers))
}

fn failure(wanted: &str, path: PathBuf, error: io::Error, containers: &impl Fn() -> Vec<RunningContainer>) -> Error {
    let wanted = wanted.to_owned();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Error::Privilege { wanted, error },
        // A name that `ip netns add` did not finish, another kind of namespace, or another file.
        Some(libc::EINVAL) => Error::NoNetns { wanted, path, names: names() },
        Some(libc::ENOENT | libc::ESRCH | libc::ENOTDIR) => unknown(wanted, &containers()),
        _ => Error::Failed { wanted, path, error },
    }
}

/// The file of the namespace, and its words. A path has a slash, as a pod does, and is there; a name comes before a
/// process, that before a container.
fn find(wanted: &str, containers: &impl Fn() -> Vec<RunningContainer>) -> Result<(PathBuf, Netns), Error> {
    let is_pod = || !Path::new(wanted).exists() && containers().iter().any(|it| it.is_called(wanted));
    if wanted.contains('/') && !is_pod() {
        let enter = format!("nsenter --net={wanted}");
        return Ok((wanted.into(), Netns { name: format!("netns {wanted}"), enter }));
    }
    let named = Path::new(NAMES).join(wanted);
    if names().iter().any(|name| name == wanted) {
        let (name, enter) = (format!("netns {wanted}"), format!("ip netns exec {wanted}"));
        return Ok((named, Netns { name, enter }));
    }
    let process = wanted.parse::<u32>().ok().filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
    if let Some(pid) = process {
        return Ok(of_process(pid, &format!("process {pid} ({})", command(pid))));
    }
    let container = container(wanted, &containers())?;
    Ok(of_process(container.pid, &format!("container {} ({})", container.best_name(), container.command)))
}

fn of_process(pid: u32, what: &str) -> (PathBuf, Netns) {
    let netns = Netns { name: format!("the netns of {what}"), enter: format!("nsenter -t {pid} -n") };
    (format!("/proc/{pid}/ns/net").into(), netns)
}

/// The only container that is called so, or else the only one whose id or name begins so. Those of a pod that is called
/// so share its namespace.
fn container(wanted: &str, all: &[RunningContainer]) -> Result<RunningContainer, Error> {
    let called: Vec<_> = all.iter().filter(|it| it.is_called(wanted)).collect();
    let beginning: Vec<_> = all.iter().filter(|it| !wanted.is_empty() && it.begins_with(wanted)).collect();
    match (called.as_slice(), beginning.as_slice()) {
        (&[only], _) | (&[], &[only]) => Ok(only.clone()),
        (&[first, ..], _) if wanted.contains('/') => Ok(first.clone()),
        (&[], &[]) => Err(unknown(wanted.to_owned(), all)),
        (&[], several) | (several, _) => Err(Error::Ambiguous {
            wanted: wanted.to_owned(),
            containers: several.iter().map(|it| shown(it)).collect(),
        }),
    }
}

fn unknown(wanted: String, all: &[RunningContainer]) -> Error {
    Error::Unknown { wanted, names: names(), containers: all.iter().map(shown).collect() }
}

fn shown(container: &RunningContainer) -> String {
    let name = container.names.first().map(|it| format!("{} ", it.escape_debug())).unwrap_or_default();
    format!("{name}{} ({})", container.short().escape_debug(), container.command)
}

/// The names that `ip netns` knows, in their order.
fn names() -> Vec<String> {
    let files = fs::read_dir(NAMES).into_iter().flatten().flatten();
    let mut names: Vec<_> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: &[&str]) -> Vec<RunningContainer> {
        let of = of.iter().zip(7..);
        let command = || "nginx".to_owned();
        of.map(|(id, pid)| RunningContainer { id: (*id).to_owned(), names: Vec::new(), pid, command: command() })
            .collect()
    }

    #[test]
    fn a_container_is_found_by_the_beginning_of_its_id() {
        let all = ids(&["3f9a1c", "3f9b", "web", "web2"]);
        for (wanted, pid) in
            [("3f9a1c", Some(7)), ("3f9a", Some(7)), ("3f", None), ("web", Some(9)), ("x", None), ("", None)]
        {
            assert_eq!(container(wanted, &all).ok().map(|it| it.pid), pid, "{wanted}");
        }
        let named = |id: &str, names: &[&str]| RunningContainer {
            names: names.iter().map(|&it| it.to_owned()).collect(),
            ..ids(&[id]).remove(0)
        };
        let pods = [named("1a", &["nginx", "shop/web-0"]), named("1b", &["log", "shop/web-0"]), named("2", &["nginx"])];
        assert_eq!(container("shop/web-0", &pods).ok().map(|it| it.id), Some("1a".to_owned()), "either will do");
        assert_eq!(container("log", &pods).ok().map(|it| it.id), Some("1b".to_owned()));
        let error = container("nginx", &pods).expect_err("there are two").to_string();
        assert!(error.ends_with("give more of one of these: nginx 1a (nginx), nginx 2 (nginx)"), "{error}");
        let error = container("3f", &all).expect_err("there are two").to_string();
        let expected = "cannot trace in netns '3f': several containers begin with it; give more of one of these: 3f9a1c \
                        (nginx), 3f9b (nginx)";
        assert_eq!(error, expected);
    }

    #[test]
    fn an_unknown_word_is_answered_with_what_exists() {
        let error = |names: &[&str], containers: &[&str]| {
            let owned = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect();
            Error::Unknown { wanted: "wbe".to_owned(), names: owned(names), containers: owned(containers) }.to_string()
        };
        assert_eq!(
            error(&["db", "web"], &["3f9a1c (nginx)"]),
            "cannot trace in netns 'wbe': no name, process or container is called so; names: db, web; containers: 3f9a1c \
             (nginx)"
        );
        let none =
            "cannot trace in netns 'wbe': no name, process or container is called so; names: none; containers: none";
        assert_eq!(error(&[], &[]), none);
        assert!(error(&["x"; 20], &[]).contains("x and 4 more; containers"));
    }
}
