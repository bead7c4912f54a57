//! How near in time two attempts are, where one is to say something of the other.

use tcptrace_core::handshake::Nanos;

/// The recent time: this long before a moment, and this long after it.
pub const RECENT: u64 = 600_000_000_000;
/// A port that answered within this time before an attempt counts as alive, unless somebody asked it in vain since. A
/// person needs that long to try several ports by hand.
pub(crate) const LATELY: u64 = 20_000_000_000;

pub(crate) fn is_recent(moment: Nanos, at: Nanos) -> bool {
    at.since(moment) <= RECENT && moment.since(at) <= RECENT
}
