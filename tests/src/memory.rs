//! What a process has in memory, by its own account: <https://docs.kernel.org/filesystems/proc.html>.

use std::fs;

use anyhow::{Context as _, Result};
use nix::unistd::Pid;

/// Bytes of a process that are resident, but for its view of the kernel's maps.
///
/// # Errors
/// When it has ended.
pub fn resident(pid: Pid) -> Result<u64> {
    let mut sum = 0;
    let mut counts = true;
    for line in fs::read_to_string(format!("/proc/{pid}/smaps"))?.lines() {
        match line.split_once(':') {
            Some(("Rss", value)) if counts => sum += octets(value)?,
            // A mapping's first line: addresses, then its name.
            Some((head, _)) if head.contains('-') => counts = !line.contains("bpf-map"),
            _ => {}
        }
    }
    Ok(sum)
}

/// The most that was ever resident, views included, in bytes.
///
/// # Errors
/// When it has ended.
pub fn peak(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    octets(status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak in the status")?)
}

fn octets(kilobytes: &str) -> Result<u64> {
    Ok(kilobytes.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
