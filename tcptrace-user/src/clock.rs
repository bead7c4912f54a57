//! The kernel's monotonic clock, which events carry, as the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use tcptrace_core::handshake::Nanos;

/// Nanoseconds between the epoch and the monotonic clock's zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock(i128);

/// How far the time of day may be slewed before it is read anew: until then, one moment has one name in every line.
const STEP: u128 = 1_000_000;

impl Clock {
    /// A capture's clock, which counts from the epoch.
    pub const EPOCH: Self = Self(0);

    /// The offset as it is now.
    #[must_use]
    pub fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_nanos() as i128);
        Self(wall - i128::from(monotonic().0))
    }

    /// Follows the time of day where it was set or has drifted away.
    pub fn follow(&mut self) {
        let now = Self::now();
        if now.0.abs_diff(self.0) > STEP {
            *self = now;
        }
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub fn wall(self, at: Nanos) -> i128 {
        self.0 + i128::from(at.0)
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
