//! The service behind the port, where it is on this host: evidence and next steps beside those of the cause. It decides
//! no cause: a process that is stopped leaves its queue full, and the queue is what the packets met.

use tcptrace_vocabulary::{
    cause::Cause,
    facts::{Container, Process, Service, Trouble},
};

use crate::case::Case;

/// What is wrong with the service, and what to do about it: a sentence and a step each.
pub(super) fn troubles(case: &Case<'_>, cause: Cause) -> Vec<(String, String)> {
    if !matches!(cause, Cause::PortClosed | Cause::ListenQueueFull) {
        return Vec::new();
    }
    let Ok(Some(service)) = &case.local.service else { return Vec::new() };
    // It listens there still, on another address.
    let listens = case.local.listening_at.as_ref().is_ok_and(|it| !it.is_empty());
    let troubles = service.troubles.iter().filter(|it| !(listens && matches!(it, Trouble::StoppedListening)));
    troubles.map(|trouble| of(service, trouble)).collect()
}

fn of(service: &Service, trouble: &Trouble) -> (String, String) {
    let Process { pid, command, unit, container, .. } = &service.process;
    let place = container.as_ref().map(|it| format!(", {}", it.words())).unwrap_or_default();
    let who = format!("{command} (pid {pid}{place})");
    let owner = container.as_ref().map(Container::words).or_else(|| unit.clone());
    let whose = owner.map_or_else(|| "its cgroup".to_owned(), |owner| format!("the cgroup of {owner}"));
    let status = match unit.as_ref().filter(|_| container.is_none()) {
        Some(unit) => format!("on this host: systemctl status {unit}; journalctl -u {unit} -n 50"),
        None => format!("on this host: find out why {who} ended, and start it again"),
    };
    match trouble {
        Trouble::Stopped => (
            format!("{who}, which listens there, is stopped by a signal or a debugger (state T)"),
            format!("on this host: kill -CONT {pid}; and find out who stopped it"),
        ),
        Trouble::StoppedListening => (
            format!("{who} listened there and is still running: it closed its socket"),
            format!("on this host: read the log of {who}; ss -ltnp | grep pid={pid}, shows where it listens now"),
        ),
        Trouble::Ended { seconds } => {
            (format!("{who} listened there, was last seen {seconds} s ago, and has ended"), status)
        }
        Trouble::KilledForMemory { kills, is_own } => {
            let whose = if *is_own { whose } else { "this host".to_owned() };
            let what = if *kills == 1 { "process" } else { "processes" };
            (
                format!("the kernel killed {kills} {what} of {whose} for want of memory (oom_kill) meanwhile"),
                format!("on this host: journalctl -k --grep oom-kill; give {whose} more memory, or find the leak"),
            )
        }
        Trouble::Throttled { periods, of } => (
            format!("{whose} was throttled in {periods} of {of} periods (cpu.stat)"),
            format!("on this host: raise cpu.max (CPUQuota=) of {whose}"),
        ),
        Trouble::Starved { resource, percent } => (
            format!("{who} waited for {resource} in {percent} % of the last 10 s ({resource}.pressure)"),
            format!("on this host: find what uses up {resource}: systemd-cgtop"),
        ),
    }
}
