//! Processes by number and by the socket that they hold: name, systemd unit, container.
//!
//! The names that processes give themselves are hostile: they are cut in length and otherwise kept as they are; whoever
//! prints them escapes them. Finding a socket's owner means reading every process's descriptors. So only listeners are
//! looked for, at most once a second, and for a bounded time: the next search begins where this one stopped.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
    time::{Duration, Instant},
};

use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::facts::{Fact, Missing, Process};

use super::{
    cgroup::{self, Marks},
    names::Names,
};

/// For how long a process is what it was: numbers are used again, programs are replaced (execve(2)).
const KEPT: u64 = 1_000_000_000;
/// The number of processes that are kept.
const MOST: usize = 4096;
/// The shortest time between two searches.
const SEARCH_EVERY: u64 = 1_000_000_000;
/// The longest that one takes.
const SEARCH: Duration = Duration::from_millis(50);
/// Descriptors of one process that are looked at: those that listen are opened early, and have low numbers.
const DESCRIPTORS: usize = 1024;
/// Bytes of a name.
const LENGTH: u64 = 256;
/// Bytes of a list of cgroups.
const CGROUPS: u64 = 16 * 1024;

/// The processes and owners that were found.
#[derive(Debug, Default)]
pub(super) struct Processes {
    by_pid: HashMap<u32, (Nanos, Fact<Process>)>,
    owners: HashMap<u32, u32>,
    searched: Option<Nanos>,
    /// The process at which the last search ran out of time.
    resume: u32,
    /// Whether one's descriptors could not be read.
    refused: bool,
    names: Names,
}

impl Processes {
    /// Has names of containers looked up below another root than `/`.
    pub(super) fn read_names_below(&mut self, root: &Path) {
        self.names = Names::below(root);
        self.by_pid.clear();
    }

    /// The process of this number.
    #[expect(clippy::wildcard_enum_match_arm, reason = "any other error is a failure")]
    pub(super) fn get(&mut self, pid: u32, now: Nanos) -> Fact<Process> {
        if let Some((read, process)) = self.by_pid.get(&pid)
            && now.since(*read) < KEPT
        {
            return process.clone();
        }
        if self.by_pid.len() >= MOST {
            self.by_pid.clear();
        }
        let read = read(pid).map(|(process, marks)| {
            let container = marks.map(|marks| self.names.container(&marks, now));
            Process { container, ..process }
        });
        let process = read.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Missing::Privilege,
            ErrorKind::NotFound => Missing::Gone,
            // ESRCH: it ends while it is read.
            _ if error.raw_os_error() == Some(libc::ESRCH) => Missing::Gone,
            _ => Missing::Failed,
        });
        self.by_pid.insert(pid, (now, process.clone()));
        process
    }

    /// The process that holds a socket; `wanted` are all sockets that are worth remembering while looking for it.
    pub(super) fn of_socket(&mut self, inode: u32, wanted: impl Iterator<Item = u32>, now: Nanos) -> Fact<Process> {
        let known = self.owners.get(&inode).copied();
        let due = self.searched.is_none_or(|searched| now.since(searched) >= SEARCH_EVERY);
        if known.is_none_or(|pid| !runs(pid)) && due {
            self.searched = Some(now);
            self.search(&wanted.chain([inode]).filter(|&it| it != 0).collect());
        }
        match self.owners.get(&inode) {
            Some(&pid) => self.get(pid, now),
            None if self.refused => Err(Missing::Privilege),
            None if self.resume != 0 => Err(Missing::Failed),
            None => Err(Missing::Gone),
        }
    }

    /// Among several processes that share a socket, takes the one with the lowest number: a server's first process, not
    /// its workers. But not the first of all, which holds sockets for others to inherit.
    fn search(&mut self, wanted: &HashSet<u32>) {
        let Ok(entries) = fs::read_dir("/proc") else { return };
        let pids = entries.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let mut pids: Vec<u32> = pids.collect();
        // From where the last search ended, around to it; the first of all at the end.
        pids.sort_unstable_by_key(|&pid| (pid < self.resume, pid));
        pids.sort_by_key(|&pid| pid == 1);
        if self.resume == 0 {
            self.owners.clear();
            self.refused = false;
        } else {
            self.owners.retain(|inode, _| wanted.contains(inode));
        }
        self.resume = 0;
        let begun = Instant::now();
        for pid in pids {
            if begun.elapsed() > SEARCH {
                self.resume = pid;
                return;
            }
            let descriptors = match fs::read_dir(format!("/proc/{pid}/fd")) {
                Ok(descriptors) => descriptors,
                Err(error) => {
                    self.refused |= error.kind() == ErrorKind::PermissionDenied;
                    continue;
                }
            };
            for descriptor in descriptors.flatten().take(DESCRIPTORS) {
                if let Some(inode) = socket(&descriptor.path()).filter(|it| wanted.contains(it)) {
                    self.owners.entry(inode).or_insert(pid);
                }
            }
        }
    }
}

/// Whether who held a socket may hold it still. To look through its descriptors each time would cost too much.
fn runs(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// `socket:[4711]`, as the kernel shows a descriptor of one.
fn socket(descriptor: &Path) -> Option<u32> {
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A process, and the marks of its container.
fn read(pid: u32) -> io::Result<(Process, Option<Marks>)> {
    let text = |file: &str, most: u64| {
        let mut bytes = Vec::new();
        File::open(format!("/proc/{pid}/{file}"))?.take(most).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let comm = text("comm", LENGTH)?;
    let cgroup::Place { unit, container } = cgroup::place(&text("cgroup", CGROUPS).unwrap_or_default());
    let process = Process {
        pid,
        command: command(comm.trim_end_matches('\n'), &text("cmdline", LENGTH).unwrap_or_default()),
        unit: unit.map(|it| it.chars().take(LENGTH as usize).collect()),
        container: None,
        is_gone: false,
    };
    Ok((process, container))
}

/// `comm` is cut off after 15 bytes (TASK_COMM_LEN). The program's name in the command line is whole, but a process may
/// write anything there, so it counts only where it begins with `comm`.
fn command(comm: &str, command_line: &str) -> String {
    let first = command_line.split(['\0', ' ']).next().unwrap_or_default();
    let name = first.rsplit('/').next().unwrap_or_default();
    if comm.len() >= 15 && name.len() > comm.len() && name.starts_with(comm) {
        name.to_owned()
    } else {
        comm.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_the_longer_name() {
        for (comm, line, expected) in [
            ("nginx", "nginx: master process /usr/sbin/nginx", "nginx"),
            ("systemd-resolve", "/lib/systemd/systemd-resolved\0--x", "systemd-resolved"),
            ("systemd-resolve", "", "systemd-resolve"),
            ("fifteen-letters", "/bin/another-program", "fifteen-letters"),
            ("bash", "-bash\0", "bash"),
            ("", "", ""),
            ("\x1b[2J", "x", "\x1b[2J"),
        ] {
            assert_eq!(command(comm, line), expected);
        }
    }

    #[test]
    fn this_process_is_known_and_none_is_gone() {
        let mut processes = Processes::default();
        let own = processes.get(std::process::id(), Nanos(1)).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert!(!own.command.is_empty() && own.command.len() <= LENGTH as usize);
        // Above the kernel's limit of numbers (PID_MAX_LIMIT).
        assert_eq!(processes.get(1 << 23, Nanos(1)), Err(Missing::Gone));
    }
}
