//! The context that rendering needs beside the report itself: a clock, interface names, the date.

use std::{
    borrow::Cow,
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{Timestamp, tz::TimeZone};
use tcptrace_core::{flow::Endpoint, handshake::Nanos};
use tcptrace_vocabulary::{clock::Clock, words::endpoint};

/// The context that rendering needs beside the report itself.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The clock that the report's moments are counted by.
    pub clock: Clock,
    /// Interface names by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Interfaces whose packets may have gone either way: a capture need not record the direction.
    pub undirected: BTreeSet<u32>,
    /// The zone of the times in text.
    pub zone: TimeZone,
    /// Columns of a line of text; what is longer continues on the next line.
    pub width: usize,
    /// Names of TCP ports, which text prints beside those of servers; empty if it is not to.
    pub services: BTreeMap<u16, String>,
    /// Whether a capture is read: its attempts are in the order of their first packets, and text dates them so. Live,
    /// text dates them by what is reported.
    pub is_capture: bool,
    /// The latest moment that a line of text had.
    pub latest: Latest,
}

/// The latest moment that a line of text had, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Latest(Cell<u64>);

/// A line that is earlier than another one above it by more than this is marked.
const OUT_OF_ORDER: u64 = 1_000_000_000;

impl Setting {
    /// Whether a line of text comes much later than its moment: below lines of a later one.
    pub(crate) fn is_late(&self, at: Nanos) -> bool {
        let latest = self.latest.0.get();
        self.latest.0.set(latest.max(at.0));
        latest.saturating_sub(at.0) > OUT_OF_ORDER
    }

    /// A server's address and port, with the port's name if names are wanted: `203.0.113.2:443 (https)`.
    pub(crate) fn server(&self, server: Endpoint) -> String {
        let name = self.services.get(&server.port).map(|name| format!(" ({})", name.escape_debug()));
        endpoint(server) + &name.unwrap_or_default()
    }

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
