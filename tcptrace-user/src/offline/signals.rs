//! The signals that a run obeys: end and report what was read (SIGINT, SIGTERM), sum up so far (SIGUSR1), open the file
//! of `--log` anew (SIGHUP, which ends a run without such a file).
//!
//! At the second signal to end, it ends at once.

use std::{
    io, process,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{exit, limit, runtime};

static STOP: AtomicBool = AtomicBool::new(false);
static SUMMARY: AtomicBool = AtomicBool::new(false);
static REOPEN: AtomicBool = AtomicBool::new(false);

/// Listens from now on; to SIGHUP where there is a file to open anew.
pub(super) fn listen(reopens: bool) -> io::Result<()> {
    let runtime = runtime::current_thread()?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut user1 = signal(SignalKind::user_defined1())?;
    let mut hangup = if reopens { Some(signal(SignalKind::hangup())?) } else { None };
    if reopens {
        // A file that may not become longer is an error of its own then, and does not kill.
        drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
    }
    drop(inside);
    let listen = async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => stop(),
                _ = terminate.recv() => stop(),
                _ = user1.recv() => SUMMARY.store(true, Relaxed),
                () = hung_up(&mut hangup) => REOPEN.store(true, Relaxed),
            }
        }
    };
    limit::thread(move || runtime.block_on(listen))?;
    Ok(())
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(it) => drop(it.recv().await),
        None => std::future::pending().await,
    }
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

/// Whether the file of `--log` is to be opened anew, once for each time.
pub(super) fn reopen_asked() -> bool {
    REOPEN.load(Relaxed) && REOPEN.swap(false, Relaxed)
}
