//! The signals that a run obeys: end and report what was read (SIGINT, SIGTERM), sum up so far (SIGUSR1).
//!
//! At the second signal to end, it ends at once.

use std::{
    io, process,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{exit, limit, runtime};

static STOP: AtomicBool = AtomicBool::new(false);
static SUMMARY: AtomicBool = AtomicBool::new(false);

/// Listens from now on.
pub(super) fn listen() -> io::Result<()> {
    let runtime = runtime::current_thread()?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut user1 = signal(SignalKind::user_defined1())?;
    drop(inside);
    let listen = async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => stop(),
                _ = terminate.recv() => stop(),
                _ = user1.recv() => SUMMARY.store(true, Relaxed),
            }
        }
    };
    limit::thread(move || runtime.block_on(listen))?;
    Ok(())
}

fn stop() {
    if STOP.swap(true, Relaxed) {
        process::exit(exit::RUNTIME.into());
    }
}

/// Whether reading is to end.
pub(super) fn stop_asked() -> bool {
    STOP.load(Relaxed)
}

/// Whether a summary was asked for, once for each time.
pub(super) fn summary_asked() -> bool {
    SUMMARY.load(Relaxed) && SUMMARY.swap(false, Relaxed)
}
