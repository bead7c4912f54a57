//! The context that rendering needs beside the report itself: a clock, interface names, the date.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::clock::Clock;

/// The context that rendering needs beside the report itself.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The clock that the report's moments are counted by.
    pub clock: Clock,
    /// Interface names by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Interfaces whose packets may have gone either way: a capture need not record the direction.
    pub undirected: BTreeSet<u32>,
    /// Whether text lines carry the date.
    pub dated: bool,
}

impl Setting {
    /// A moment of the kernel's clock as a point in time.
    #[must_use]
    pub fn timestamp(&self, at: Nanos) -> Timestamp {
        Timestamp::from_nanosecond(self.clock.wall(at)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// An interface's name, or `#` and its index if the interface is gone.
    #[must_use]
    pub fn interface(&self, index: u32) -> String {
        self.interface_name(index).into_owned()
    }

    /// The same, borrowed if the name is known.
    pub(crate) fn interface_name(&self, index: u32) -> Cow<'_, str> {
        self.interfaces.get(&index).map_or_else(|| format!("#{index}").into(), Cow::from)
    }
}
