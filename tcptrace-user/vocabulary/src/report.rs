//! A report about an attempt, before anything decides whether it is printed.

use crate::attempt::Attempt;

/// Something to report.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// An attempt stalls; a line about its end follows.
    Stall(Attempt),
    /// An attempt is established; a line about its end follows.
    Open(Attempt),
    /// An attempt ended.
    Attempt(Attempt),
}

impl Report {
    /// The attempt that it is about.
    #[must_use]
    pub const fn attempt(&self) -> &Attempt {
        match self {
            Self::Stall(it) | Self::Open(it) | Self::Attempt(it) => it,
        }
    }

    /// The same, to add to it.
    pub const fn attempt_mut(&mut self) -> &mut Attempt {
        match self {
            Self::Stall(it) | Self::Open(it) | Self::Attempt(it) => it,
        }
    }
}
