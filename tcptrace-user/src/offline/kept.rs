//! The packets that would prove an attempt, kept until it is reported; with a bound on each attempt's and on all.

use tcptrace_capture::Direction;
use tcptrace_core::{handshake::Nanos, segment::Link, tunnel::Outer};

/// A packet as captured, for evidence.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    pub octets: &'a [u8],
    /// Its length on the wire.
    pub original: u32,
    /// A number of the caller's.
    pub interface: u32,
    pub direction: Option<Direction>,
    /// The tunnel that it came in.
    pub outer: Option<Outer>,
    /// The packet around it, from its Ethernet or IP header on, where it came in a tunnel.
    pub around: Option<(&'a [u8], Link)>,
}

/// A packet kept as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub at: Nanos,
    pub octets: Box<[u8]>,
    pub original: u32,
    pub interface: u32,
    pub direction: Option<Direction>,
}

/// Packets kept of an attempt at most: more than any stack's ladder of tries makes.
const MOST: usize = 64;
/// Bytes that all of them may have together, what keeping them costs included.
const ALL: usize = 64 << 20;

/// An attempt's packets.
#[derive(Debug, Default)]
pub(super) struct Packets {
    pub(super) packets: Vec<Kept>,
    /// Which packet decided.
    pub(super) decided: usize,
    /// Packets that were there and had to go for others'.
    pub(super) dropped: u64,
}

/// The room that is left for all.
#[derive(Debug, Default)]
pub(super) struct Room {
    used: usize,
    /// Packets since room was last made.
    since: usize,
}

impl Room {
    /// Whether another packet fits.
    pub(super) fn fits(&self, raw: &Raw<'_>) -> bool {
        self.used + cost(raw.octets.len()) <= ALL
    }

    /// Whether it is time to look for packets that can go. A look reads all conversations, so it waits until as many
    /// packets have come.
    pub(super) fn may_be_made(&mut self, conversations: usize) -> bool {
        let may = self.since >= conversations;
        if may {
            self.since = 0;
        }
        may
    }

    /// Gives back what packets had.
    pub(super) fn release(&mut self, packets: &[Kept]) {
        self.used -= packets.iter().map(|it| cost(it.octets.len())).sum::<usize>();
    }
}

/// With the allocator's part.
fn cost(octets: usize) -> usize {
    size_of::<Kept>() + 16 + octets
}

impl Packets {
    /// Keeps a packet that fits; false where the attempt has too many. `decides`: its outcome changed, and is not to be
    /// left out.
    pub(super) fn keep(&mut self, at: Nanos, raw: Raw<'_>, changed: bool, pending: bool, room: &mut Room) -> bool {
        let full = self.packets.len() == MOST;
        room.since += 1;
        if full && !changed {
            return false;
        }
        // A deciding packet takes the place of the last that did not decide.
        if full && let Some(last) = self.packets.pop() {
            room.release(&[last]);
        }
        if changed || pending {
            self.decided = self.packets.len();
        }
        let Raw { octets, original, interface, direction, .. } = raw;
        room.used += cost(octets.len());
        self.packets.push(Kept { at, octets: octets.into(), original, interface, direction });
        !full
    }

    /// Lets its packets go.
    pub(super) fn drop_all(&mut self, room: &mut Room) {
        room.release(&self.packets);
        self.dropped += self.packets.len() as u64;
        self.packets = Vec::new();
    }
}
