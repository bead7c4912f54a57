//! The clocks of pcapng: each interface has its own unit and its own beginning.
//!
//! A time before the Unix epoch counts as none: nothing was captured then.

/// The conversion of an interface's ticks to time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    tick: Tick,
    /// Nanoseconds from the Unix epoch to tick 0.
    offset: i128,
}

#[derive(Clone, Copy, Debug)]
enum Tick {
    /// Nanoseconds in a tick.
    Nanos(u64),
    /// One nanosecond's part.
    Part(u64),
    /// A second halved this many times.
    Halved(u32),
}

impl Clock {
    /// From the options if_tsresol and if_tsoffset.
    pub(super) fn new(resolution: u8, seconds: i64) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        let tick = match exponent {
            _ if resolution & 0x80 != 0 => Tick::Halved(exponent),
            0..=9 => Tick::Nanos(10_u64.pow(9 - exponent)),
            // For ticks too fine for this, 64 bits do not reach up to a nanosecond.
            _ => Tick::Part(10_u64.checked_pow(exponent - 9).unwrap_or(u64::MAX)),
        };
        Self { tick, offset: i128::from(seconds) * 1_000_000_000 }
    }

    /// Nanoseconds since the epoch, if they fit.
    #[inline]
    pub(super) fn time(self, ticks: u64) -> Option<u64> {
        let nanos = match self.tick {
            Tick::Nanos(unit) => u128::from(ticks) * u128::from(unit),
            Tick::Part(parts) => u128::from(ticks / parts),
            Tick::Halved(times) => (u128::from(ticks) * 1_000_000_000) >> times,
        };
        // At most 94 bits: the sum does not overflow.
        u64::try_from(nanos as i128 + self.offset).ok()
    }
}
