//! Waiting for something to become true, without a guess at how long that takes.

use std::thread;
use std::time::{Duration, Instant};

/// The first `Some` that `probe` returns. Panics at the caller's line when `timeout` passes without one.
#[track_caller]
pub fn eventually<T>(timeout: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "it did not happen within {timeout:?}");
        thread::sleep(Duration::from_millis(2));
    }
}
