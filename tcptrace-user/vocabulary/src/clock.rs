//! Moments of one clock as the time of day. Nothing here reads a clock.

use tcptrace_core::handshake::Nanos;

/// Nanoseconds between the Unix epoch and the zero of the clock that moments are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock(pub i128);

impl Clock {
    /// The clock of a capture, which counts from the epoch.
    pub const EPOCH: Self = Self(0);

    /// Nanoseconds since the epoch.
    #[must_use]
    pub fn wall(self, at: Nanos) -> i128 {
        self.0 + i128::from(at.0)
    }
}
