//! The use of the processors, and for how long: threads to the nanosecond, the machine in ticks.
//!
//! A thread's time counts nobody else's work, so it can be measured on a machine that others use too.
//! <https://docs.kernel.org/scheduler/sched-stats.html>

use std::{fs, num::NonZero, path::Path, thread, time::Duration};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// USER_HZ is 100 wherever eBPF is.
const TICK: Duration = Duration::from_millis(10);

/// What a process has used so far, all its threads that live; nothing if it has ended.
#[must_use]
pub fn of_process(pid: Pid) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|it| running(&it.path().join("schedstat"))).sum()
}

/// What this thread has used so far.
#[must_use]
pub fn of_this_thread() -> Duration {
    running(Path::new("/proc/thread-self/schedstat"))
}

/// What was done on this machine so far, by whomever: everything but idling and waiting for disks.
#[must_use]
pub fn of_machine() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u32> = ticks.filter_map(|it| it.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are users too.
    let busy: u32 = ticks.iter().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, it)| it).sum();
    TICK * busy
}

/// Keeps this thread on one processor, counted from zero; where there are fewer, on one that there is.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn stay_on(processor: usize) -> nix::Result<()> {
    sched_setaffinity(Pid::from_raw(0), &only(processor)?)
}

/// The same with all threads of a process, and those that they start.
///
/// # Errors
/// As above.
pub fn keep_on(process: Pid, processor: usize) -> nix::Result<()> {
    let set = only(processor)?;
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut threads = threads.filter_map(|it| it.file_name().to_str()?.parse().ok());
    threads.try_for_each(|it| sched_setaffinity(Pid::from_raw(it), &set))
}

fn only(processor: usize) -> nix::Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(processor % thread::available_parallelism().map_or(1, NonZero::get))?;
    Ok(set)
}

/// The first field: the time on a processor.
fn running(schedstat: &Path) -> Duration {
    let line = fs::read_to_string(schedstat).unwrap_or_default();
    let time = line.split_whitespace().next().and_then(|it| it.parse().ok());
    Duration::from_nanos(time.unwrap_or(0))
}
