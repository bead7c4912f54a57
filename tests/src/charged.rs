//! What the kernel charges for maps.

use std::{collections::BTreeMap, fs};

use anyhow::{Result, ensure};
use nix::unistd::Pid;

/// Bytes of a process's maps, each once.
///
/// # Errors
/// When there is no such process, or it has none.
pub fn of_process(pid: Pid) -> Result<u64> {
    let mut charged = BTreeMap::new();
    for fd in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        // Some are closed meanwhile.
        let info = fs::read_to_string(fd.path()).unwrap_or_default();
        let field = |name: &str| -> Option<u64> {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        charged.extend(field("map_id").zip(field("memlock")));
    }
    ensure!(!charged.is_empty(), "the process has no maps");
    Ok(charged.values().sum())
}
