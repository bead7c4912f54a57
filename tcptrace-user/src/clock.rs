//! The kernel's monotonic clock, which events carry, and the time of day that belongs to it.

use std::time::{SystemTime, UNIX_EPOCH};

use tcptrace_core::handshake::Nanos;
pub use tcptrace_vocabulary::clock::Clock;

/// How far the time of day may be slewed before it is read anew: until then, one moment has one name in every line.
const STEP: u128 = 1_000_000;

/// The clock as it is now.
#[must_use]
pub fn now() -> Clock {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
    Clock(wall - i128::from(monotonic().0))
}

/// Follows the time of day where it was set or has drifted away.
pub fn follow(clock: &mut Clock) {
    let now = now();
    if now.0.abs_diff(clock.0) > STEP {
        *clock = now;
    }
}

/// The monotonic clock, as `bpf_ktime_get_ns` reads it.
#[must_use]
#[expect(unsafe_code, reason = "std's Instant does not tell its number")]
pub fn monotonic() -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
