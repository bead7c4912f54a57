//! Taking turns among all test programs of the machine, for what needs a processor and not time.
//!
//! A tracer's start does: the kernel verifies its programs, a second or so of one processor. Two dozen that start at once
//! are each many times slower, and none of them is ready within a limit that suits one. With turns all are ready no later,
//! and most of them much earlier. What waits for packets and timers takes no turn.

use std::env;
use std::fs::File;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A turn, which ends when it is dropped, or when its process ends.
#[derive(Debug)]
pub(super) struct Turn {
    _locked: File,
}

impl Turn {
    /// Waits for it. As many run at a time as there are processors.
    pub(super) fn take() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let places = thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let place = process::id().wrapping_add(NUMBER.fetch_add(1, Ordering::Relaxed)) % places;
        let path = env::temp_dir().join(format!("tcptrace-lab-turn-{place}"));
        let file = File::options().create(true).append(true).open(&path);
        let file = file.unwrap_or_else(|error| panic!("cannot open '{}': {error}", path.display()));
        file.lock().unwrap_or_else(|error| panic!("cannot lock '{}': {error}", path.display()));
        Self { _locked: file }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn no_more_turns_at_a_time_than_processors() {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..processors * 4 {
                scope.spawn(|| {
                    let _turn = Turn::take();
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        let most = most.into_inner();
        assert!((1..=processors).contains(&most), "{most} of {processors}");
    }
}
