//! The containers of this host, by the cgroups of its processes.
//!
//! A runtime is never asked: it may be none that this program knows, and its socket is a privilege of its own.
//! <https://man7.org/linux/man-pages/man7/cgroups.7.html>

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    cgroup::{self, Marks},
    names::Names,
};
use crate::clock;

/// A container, and the process by which it is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningContainer {
    /// All digits of its id, or its name where the runtime goes by that (LXC).
    pub id: String,
    /// The names that people know it by: its own, and its pod's with the namespace (`shop/web-0`). Empty where no file
    /// has them.
    pub names: Vec<String>,
    /// The number of its oldest process, as this process sees it.
    pub pid: u32,
    /// That process's name.
    pub command: String,
}

impl RunningContainer {
    /// Whether it is called that: by a name, or by the whole id.
    #[must_use]
    pub fn is_called(&self, word: &str) -> bool {
        self.id == word || self.names.iter().any(|name| name == word)
    }

    /// Whether the word is the beginning of its id or of a name.
    #[must_use]
    pub fn begins_with(&self, word: &str) -> bool {
        self.id.starts_with(word) || self.names.iter().any(|name| name.starts_with(word))
    }

    /// A name, or else the id as people write it. Escaped.
    #[must_use]
    pub fn best_name(&self) -> String {
        self.names.first().map_or_else(|| self.short(), String::as_str).escape_debug().to_string()
    }

    /// The id as people write it.
    #[must_use]
    pub fn short(&self) -> &str {
        cgroup::short(&self.id)
    }
}

/// All containers that have a process, by their ids. The files with their names are below `root`: `/` but in tests.
#[must_use]
pub fn containers(root: &Path) -> Vec<RunningContainer> {
    let mut oldest: BTreeMap<String, (u64, u32, Marks)> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok()) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let Some(marks) = read("cgroup").and_then(|text| cgroup::place(&text).container) else { continue };
        let Some(started) = read("stat").and_then(|text| started(&text)) else { continue };
        let oldest = oldest.entry(marks.id.clone()).or_insert((started, pid, marks));
        (oldest.0, oldest.1) = (oldest.0, oldest.1).min((started, pid));
    }
    let (mut names, now) = (Names::below(root), clock::monotonic());
    let mut container = |(id, (_, pid, marks)): (String, (u64, u32, Marks))| {
        let known = names.container(&marks, now);
        let pod = known.pod.map(|it| format!("{}/{}", it.namespace, it.name));
        RunningContainer { id, names: known.name.into_iter().chain(pod).collect(), pid, command: command(pid) }
    };
    oldest.into_iter().map(&mut container).collect()
}

/// The name of a process; empty if it has ended.
#[must_use]
pub fn command(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().escape_debug().to_string()
}

/// When a process started, in ticks since the boot: field 22 of its `stat`, of which the second may contain anything.
fn started(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_called_by_its_id_or_a_name() {
        let id = "3f9a1c0b5e7d4a2f8c6b1e0d9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f00".to_owned();
        let named =
            RunningContainer { id: id.clone(), names: vec!["web".to_owned()], pid: 7, command: "nginx".to_owned() };
        assert_eq!(named.short(), "3f9a1c0b5e7d");
        for (word, is_called, begins) in
            [(&*id, true, true), ("web", true, true), ("3f9a", false, true), ("we", false, true), ("f9a", false, false)]
        {
            assert_eq!((named.is_called(word), named.begins_with(word)), (is_called, begins), "{word}");
        }
    }

    #[test]
    fn the_start_of_a_process_is_read_behind_any_name() {
        let own = fs::read_to_string("/proc/self/stat").expect("a process has one");
        assert!(started(&own).is_some());
        let fields: Vec<_> = (3..30).map(|number| number.to_string()).collect();
        assert_eq!(started(&format!("7 (a) b (c) {}", fields.join(" "))), Some(22));
        assert_eq!(started("7 (a"), None);
    }
}
