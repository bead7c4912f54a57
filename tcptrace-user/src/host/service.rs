//! The service behind a port, beyond its socket: who listens there or did, and what its process suffers.
//!
//! The kernel keeps no trace of a listener that has gone, so those of this namespace are remembered while they are there.
//! Files of cgroups, versions 1 and 2, are read when an attempt fails, and never asked of a manager. A file that cannot
//! be read is no trouble. <https://docs.kernel.org/admin-guide/cgroup-v2.html>

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::facts::{Process, Service, Trouble};

use super::namespaces::Id;

/// Ports of which the last listener is remembered.
const MOST: usize = 4096;
/// The share of periods or of time, in percent, from which on a process counts as throttled or starved.
const MUCH: u64 = 10;

/// The last known listeners, by namespace and port.
#[derive(Debug, Default)]
pub(super) struct Services {
    seen: HashMap<(Id, u16), Seen>,
}

/// A listener's process when it was first seen.
#[derive(Debug)]
struct Seen {
    process: Process,
    groups: Groups,
    last: Nanos,
    kills: Option<u64>,
    all_kills: Option<u64>,
    /// Periods in which it was throttled, and all periods.
    periods: (u64, u64),
}

impl Services {
    /// A process listens on a port.
    pub(super) fn saw(&mut self, at: Id, port: u16, process: &Process, now: Nanos) {
        if let Some(seen) = self.seen.get_mut(&(at, port)).filter(|seen| seen.process.pid == process.pid) {
            seen.last = now;
        } else if self.seen.len() < MOST || self.seen.contains_key(&(at, port)) {
            self.seen.insert((at, port), Seen::new(process, now));
        }
    }

    /// What is wrong with who listens on a port, or did last; none where nothing is.
    pub(super) fn of(&self, at: Id, port: u16, listens: bool, now: Nanos) -> Option<Service> {
        let seen = self.seen.get(&(at, port))?;
        let troubles = if listens { seen.suffers() } else { seen.ended(now) };
        (!troubles.is_empty()).then(|| Service { process: seen.process.clone(), listens, troubles })
    }
}

impl Seen {
    fn new(process: &Process, now: Nanos) -> Self {
        let groups = Groups::of(process.pid);
        Self {
            process: process.clone(),
            last: now,
            kills: groups.kills(),
            all_kills: all_kills(),
            periods: groups.periods().unwrap_or_default(),
            groups,
        }
    }

    /// What keeps a process that is there from its work.
    fn suffers(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        if state(self.process.pid).is_some_and(|state| matches!(state, 'T' | 't')) {
            troubles.push(Trouble::Stopped);
        }
        let kills = self.groups.kills().zip(self.kills).map_or(0, |(now, then)| now.saturating_sub(then));
        if kills > 0 {
            troubles.push(Trouble::KilledForMemory { kills, is_own: true });
        }
        if let Some((throttled, all)) = self.groups.periods() {
            let (throttled, all) = (throttled.saturating_sub(self.periods.0), all.saturating_sub(self.periods.1));
            if all > 0 && throttled * 100 >= all * MUCH {
                troubles.push(Trouble::Throttled { periods: throttled, of: all });
            }
        }
        for resource in ["cpu", "memory", "io"] {
            let percent = self.groups.pressure(resource).filter(|percent| u64::from(*percent) >= MUCH);
            troubles.extend(percent.map(|percent| Trouble::Starved { resource, percent }));
        }
        troubles
    }

    /// What became of a process that does not listen any more.
    fn ended(&self, now: Nanos) -> Vec<Trouble> {
        if state(self.process.pid).is_some_and(|state| state != 'Z') {
            return vec![Trouble::StoppedListening];
        }
        let grew = |now: Option<u64>, then: Option<u64>| now?.checked_sub(then?).filter(|kills| *kills > 0);
        // A manager removes the cgroup of what has ended; the sum of the whole host stays.
        let own = grew(self.groups.kills(), self.kills).map(|kills| Trouble::KilledForMemory { kills, is_own: true });
        let any = || grew(all_kills(), self.all_kills).map(|kills| Trouble::KilledForMemory { kills, is_own: false });
        let killed = own.or_else(|| self.groups.are_gone().then(any)?);
        let seconds = now.since(self.last) / 1_000_000_000;
        std::iter::once(Trouble::Ended { seconds }).chain(killed).collect()
    }
}

/// The cgroups of a process, by the folders that the kernel shows them in.
#[derive(Debug, Default)]
struct Groups {
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
}

impl Groups {
    /// `ip netns exec` hides them behind a sysfs of its own: whoever called it sees them then, or the first process.
    fn of(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let seen_by = |who: &str, root: &str| {
            let mounts = fs::read_to_string(format!("/proc/{who}/mountinfo")).unwrap_or_default();
            Self::parse(&text, &mounts).below(root)
        };
        let parent = nix::unistd::getppid().to_string();
        let views = ["self", &parent, "1"].into_iter().map(|who| seen_by(who, &format!("/proc/{who}/root")));
        let mut views = views.filter(|groups| !groups.are_gone());
        views.next().unwrap_or_else(|| seen_by("self", "/"))
    }

    /// The same folders where somebody else's root is.
    fn below(self, root: &str) -> Self {
        let below = |it: PathBuf| Path::new(root).join(it.strip_prefix("/").unwrap_or(&it));
        let Self { unified, memory, cpu } = self;
        Self { unified: unified.map(below), memory: memory.map(below), cpu: cpu.map(below) }
    }

    /// Of the root nobody is told: everybody is in it.
    fn parse(text: &str, mounts: &str) -> Self {
        let mut groups = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next().filter(|path| *path != "/")) else {
                continue;
            };
            let has = |name: &str| controllers.split(',').any(|it| it == name);
            let folder = |kind: &str| Some(mount(mounts, kind)?.join(path.trim_start_matches('/')));
            if controllers.is_empty() {
                groups.unified = folder("");
            }
            if has("memory") {
                groups.memory = folder("memory");
            }
            if has("cpu") {
                groups.cpu = folder("cpu");
            }
        }
        groups
    }

    /// Whether no folder of them is there any more.
    fn are_gone(&self) -> bool {
        [&self.unified, &self.memory, &self.cpu].into_iter().flatten().all(|folder| !folder.exists())
    }

    fn read(folder: Option<&PathBuf>, file: &str) -> Option<String> {
        fs::read_to_string(folder?.join(file)).ok()
    }

    /// Processes that were killed for want of memory.
    fn kills(&self) -> Option<u64> {
        let text = Self::read(self.unified.as_ref(), "memory.events")
            .or_else(|| Self::read(self.memory.as_ref(), "memory.oom_control"))?;
        value(&text, "oom_kill")
    }

    /// Periods of its quota in which it was throttled, and all periods.
    fn periods(&self) -> Option<(u64, u64)> {
        let of = |text: &str| Some((value(text, "nr_throttled")?, value(text, "nr_periods")?));
        let unified = Self::read(self.unified.as_ref(), "cpu.stat").and_then(|text| of(&text));
        unified.or_else(|| of(&Self::read(self.cpu.as_ref(), "cpu.stat")?))
    }

    /// The share of the last ten seconds in which some of it waited for a resource, in percent.
    fn pressure(&self, resource: &str) -> Option<u8> {
        let text = Self::read(self.unified.as_ref(), &format!("{resource}.pressure"))?;
        let some = text.lines().find_map(|line| line.strip_prefix("some avg10="))?;
        Some(some.split([' ', '.']).next()?.parse::<u8>().ok()?.min(100))
    }
}

/// The place of the mount of cgroup2 (`kind` is empty), or of a controller of version 1:
/// `id parent device root place options [tag]... - type source options`.
fn mount(mounts: &str, kind: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = after.split(' ');
        let (name, options) = (words.next()?, words.nth(1).unwrap_or_default());
        let is_it = if kind.is_empty() {
            name == "cgroup2"
        } else {
            name == "cgroup" && options.split(',').any(|option| option == kind)
        };
        is_it.then(|| Path::new(before.split(' ').nth(4).unwrap_or_default()).to_owned())
    })
}

/// A number in a text of lines of a name and a number.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Processes of this host that were killed for want of memory.
fn all_kills() -> Option<u64> {
    value(&fs::read_to_string("/proc/vmstat").ok()?, "oom_kill")
}

/// A process's state, behind its name in parentheses (proc_pid_stat(5)); none where it is gone.
fn state(pid: u32) -> Option<char> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_of_both_versions_are_found_by_their_mounts() {
        let mounts = "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
                      32 30 0:28 / /sys/fs/cgroup/memory rw shared:4 - cgroup memory rw,memory\n\
                      33 30 0:29 / /sys/fs/cgroup/cpu rw - cgroup cpu rw,cpu,cpuacct\nbroken\n";
        let groups = Groups::parse("4:memory:/a/b\n1:cpu,cpuacct:/c\n9:name=systemd:/d\n0::/e.service\n", mounts);
        assert_eq!(groups.memory, Some("/sys/fs/cgroup/memory/a/b".into()));
        assert_eq!(groups.cpu, Some("/sys/fs/cgroup/cpu/c".into()));
        assert_eq!(groups.unified, Some("/sys/fs/cgroup/unified/e.service".into()));
        let root = Groups::parse("4:memory:/\n0::/\nnonsense\n", mounts);
        assert!(root.memory.is_none() && root.unified.is_none() && root.kills().is_none());
    }

    #[test]
    fn numbers_are_taken_by_their_whole_name() {
        let text = "oom 7\noom_kill 3\noom_group_kill 9\n";
        assert_eq!(
            (value(text, "oom_kill"), value(text, "kill"), value("oom_kill x", "oom_kill")),
            (Some(3), None, None)
        );
    }

    #[test]
    fn this_process_runs_and_one_that_never_was_is_gone() {
        assert!(state(std::process::id()).is_some_and(|state| "RSD".contains(state)));
        assert_eq!(state(1 << 23), None);
    }

    #[test]
    fn who_listened_last_is_remembered() {
        let process = |pid| Process { pid, command: "web".to_owned(), ..Process::default() };
        let mut services = Services::default();
        services.saw(1, 80, &process(std::process::id()), Nanos(1));
        services.saw(1, 80, &process(1 << 23), Nanos(2));
        let gone = services.of(1, 80, false, Nanos(5_000_000_002)).expect("it has ended");
        assert_eq!((gone.process.pid, &gone.troubles[0]), (1 << 23, &Trouble::Ended { seconds: 5 }));
        assert_eq!(services.of(1, 81, false, Nanos(3)), None, "nobody was seen there");
    }
}
