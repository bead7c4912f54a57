//! The signals that tracing obeys.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that tracing obeys.
pub(super) struct Signals {
    pub(super) interrupt: Signal,
    pub(super) terminate: Signal,
    pub(super) hangup: Option<Signal>,
    pub(super) user1: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            // nohup(1) has it ignored: that stays so.
            hangup: if is_ignored(libc::SIGHUP) { None } else { Some(signal(SignalKind::hangup())?) },
            user1: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Waits for one that ends tracing.
pub(super) async fn ended(interrupt: &mut Signal, terminate: &mut Signal, hangup: &mut Option<Signal>) {
    let hung_up = async {
        match hangup {
            Some(it) => it.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hung_up => {}
    }
}

#[expect(unsafe_code, reason = "std does not tell how a signal is handled")]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: sigaction fills a structure of integers and asks for no change.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}
