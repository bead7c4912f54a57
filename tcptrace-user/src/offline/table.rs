//! The store of a capture's conversations: a slab, an index by flow, and a list in the order of first packets.
//!
//! The index is an open-addressing table of numbers, eight bytes each, at most half full. Half of a number is of the
//! flow's hash, so that looking for a flow reads one cache line, and growing reads no conversation. Slots are given out
//! in chunks that never move. Knows nothing of how a conversation is reported.

use tcptrace_core::flow::Endpoint;

use super::{
    conversation::Conversation,
    slot::{Links, Slot},
};

/// An entry of the index: the lower half of the flow's hash, and its slot plus one. Zero is no entry.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    const NONE: Self = Self(0);

    fn new(hash: u32, slot: Slot) -> Self {
        Self(u64::from(hash) << 32 | (u64::from(slot.0) + 1))
    }

    fn hash(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn slot(self) -> Slot {
        Slot((self.0 as u32).wrapping_sub(1))
    }
}

/// Conversations in a chunk: 256 KiB.
const CHUNK: usize = 1 << 10;

pub(super) struct Table {
    /// A power of two of them.
    index: Vec<Entry>,
    chunks: Vec<Vec<Conversation>>,
    /// Slots that were given back, by [`Links::after`].
    free: Slot,
    first: Slot,
    last: Slot,
    open: usize,
    ended: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            index: vec![Entry::NONE; 1 << 10],
            chunks: Vec::new(),
            free: Slot::NONE,
            first: Slot::NONE,
            last: Slot::NONE,
            open: 0,
            ended: 0,
        }
    }

    /// Conversations that the index knows.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Those that have ended and are not removed yet.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    #[inline]
    pub(super) fn get(&self, Slot(slot): Slot) -> &Conversation {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, Slot(slot): Slot) -> &mut Conversation {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// The open conversation of a flow, and whether `src` is the one that it has as its client.
    #[inline]
    pub(super) fn find(&self, hash: u64, src: Endpoint, dst: Endpoint) -> Option<(Slot, bool)> {
        let mask = self.index.len() - 1;
        let mut at = hash as u32 as usize & mask;
        loop {
            let entry = self.index[at];
            if entry == Entry::NONE {
                return None;
            }
            if entry.hash() == hash as u32 {
                let it = &self.get(entry.slot()).handshake;
                if it.client() == src && it.server() == dst {
                    return Some((entry.slot(), true));
                }
                if it.client() == dst && it.server() == src {
                    return Some((entry.slot(), false));
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a conversation, the last in order, that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, mut conversation: Conversation) -> Slot {
        if (self.open + 1) * 2 > self.index.len() {
            self.grow();
        }
        conversation.links = Links { before: self.last, after: Slot::NONE };
        let slot = match self.free.some() {
            Some(slot) => {
                self.free = self.get(slot).links.after;
                *self.get_mut(slot) = conversation;
                slot
            }
            None => self.push(conversation),
        };
        match self.last.some() {
            Some(last) => self.get_mut(last).links.after = slot,
            None => self.first = slot,
        }
        self.last = slot;
        self.place(Entry::new(hash as u32, slot));
        self.open += 1;
        slot
    }

    fn push(&mut self, conversation: Conversation) -> Slot {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = &mut self.chunks[before / CHUNK];
        chunk.push(conversation);
        Slot((before + chunk.len() - 1) as u32)
    }

    /// Takes a conversation out of the index: it has ended, and keeps its place in the order.
    pub(super) fn end(&mut self, hash: u64, slot: Slot) {
        let mask = self.index.len() - 1;
        let entry = Entry::new(hash as u32, slot);
        let mut hole = hash as u32 as usize & mask;
        while self.index[hole] != entry {
            hole = (hole + 1) & mask;
        }
        // Those behind it close up, but for those that are where they belong or would come before that.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let entry = self.index[at];
            if entry == Entry::NONE {
                break;
            }
            let from_home = at.wrapping_sub(entry.hash() as usize) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.index[hole] = entry;
                hole = at;
            }
        }
        self.index[hole] = Entry::NONE;
        self.open -= 1;
        self.ended += 1;
    }

    /// Removes a conversation that has ended.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Links { before, after } = self.get(slot).links;
        match before.some() {
            Some(before) => self.get_mut(before).links.after = after,
            None => self.first = after,
        }
        match after.some() {
            Some(after) => self.get_mut(after).links.before = before,
            None => self.last = before,
        }
        let free = self.free;
        let it = self.get_mut(slot);
        (it.cold, it.packets) = (None, None);
        it.links.after = free;
        self.free = slot;
        self.ended -= 1;
    }

    /// All there are, in the order of first packets.
    pub(super) fn in_order(&self) -> impl Iterator<Item = Slot> {
        std::iter::successors(self.first.some(), |slot| self.get(*slot).links.after.some())
    }

    /// Those that have not ended, in no order.
    pub(super) fn all_open(&self) -> impl Iterator<Item = Slot> {
        self.index.iter().filter(|it| **it != Entry::NONE).map(|it| it.slot())
    }

    fn place(&mut self, entry: Entry) {
        let mask = self.index.len() - 1;
        let mut at = entry.hash() as usize & mask;
        while self.index[at] != Entry::NONE {
            at = (at + 1) & mask;
        }
        self.index[at] = entry;
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![Entry::NONE; self.index.len() * 2];
        for entry in std::mem::replace(&mut self.index, larger) {
            if entry != Entry::NONE {
                self.place(entry);
            }
        }
    }
}
