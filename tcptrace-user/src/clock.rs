//! The kernel's monotonic clock, which events carry, and the time of day that belongs to it.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use tcptrace_core::handshake::Nanos;
pub use tcptrace_vocabulary::clock::Clock;

/// The most that the time of day may be slewed before it is read anew: until then, one moment has one name in every
/// line.
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
///
/// # Panics
/// Never: every kernel has that clock.
#[must_use]
pub fn monotonic() -> Nanos {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every kernel has a monotonic clock");
    Nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
