//! The signals that tracing obeys.

use std::{fs, io};

use nix::sys::signal::{
    SigSet, SigmaskHow,
    Signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that tracing obeys.
pub(super) struct Signals {
    pub(super) interrupt: Signal,
    pub(super) terminate: Signal,
    pub(super) hangup: Option<Signal>,
    /// SIGHUP, where it is to open the file of `--log` anew.
    pub(super) reopen: Option<Signal>,
    pub(super) user1: Signal,
}

impl Signals {
    pub(super) fn listen(reopens: bool) -> io::Result<Self> {
        if reopens {
            // A file that may not become longer is an error of its own then, and does not kill.
            drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
        }
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            // nohup(1) has it ignored: that stays so, unless a file is to be opened anew.
            hangup: if reopens || is_ignored(libc::SIGHUP) { None } else { Some(signal(SignalKind::hangup())?) },
            reopen: if reopens { Some(signal(SignalKind::hangup())?) } else { None },
            user1: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Waits for one that ends tracing.
pub(super) async fn ended(interrupt: &mut Signal, terminate: &mut Signal, hangup: &mut Option<Signal>) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = came(hangup) => {}
    }
}

/// Waits for a signal; for ever where it is not listened to.
pub(super) async fn came(signal: &mut Option<Signal>) {
    match signal {
        Some(it) => drop(it.recv().await),
        None => std::future::pending().await,
    }
}

/// Does something during which no signal comes to the calling thread: the verifier gives up a program with EAGAIN when
/// one does. Signals wait for it.
pub(super) fn held<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let signals = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];
    let before = SigSet::from_iter(signals).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let done = work();
    before.thread_set_mask()?;
    done
}

/// Whether this process was started with a signal ignored (`SigIgn` of proc(5), a bit a signal from the lowest on). One
/// that cannot be known counts as not ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    is_in_mask(&status, signal)
}

fn is_in_mask(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_by_its_bit() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        for (signal, expected) in [(libc::SIGHUP, true), (libc::SIGPIPE, true), (libc::SIGINT, false)] {
            assert_eq!(is_in_mask(status, signal), expected, "{signal}");
        }
        assert!(!is_in_mask("", libc::SIGHUP));
    }
}
