//! What people and programs read: text lines, JSON lines, the summary. Rendering only: nothing here decides.

pub mod connect;
pub mod explain;
pub mod finding;
pub mod json;
mod short;
pub mod summary;
pub mod text;
pub mod why;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::clock::Clock;

/// What rendering needs beside the report itself.
#[derive(Clone, Debug)]
pub struct Setting {
    pub clock: Clock,
    /// Interface names by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Those whose packets may have gone either way: a capture need not tell.
    pub undirected: BTreeSet<u32>,
    /// Text lines carry the date.
    pub dated: bool,
}

impl Setting {
    /// A moment of the kernel's clock as a point in time.
    #[must_use]
    pub fn timestamp(&self, at: Nanos) -> Timestamp {
        Timestamp::from_nanosecond(self.clock.wall(at)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// An interface's name; its number where it has gone.
    #[must_use]
    pub fn interface(&self, index: u32) -> String {
        self.interface_name(index).into_owned()
    }

    /// The same, lent where it is known.
    fn interface_name(&self, index: u32) -> Cow<'_, str> {
        self.interfaces.get(&index).map_or_else(|| format!("#{index}").into(), Cow::from)
    }
}
