//! The kernel's table, mapped read-only: the sweep costs no system call an entry.
//!
//! Slots change while they are read. Every word is loaded atomically, and a slot's version before and after says
//! whether the words belong together; one that keeps changing is left for the next sweep.
#![expect(unsafe_code, reason = "memory shared with the kernel is mapped and read in place")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, fence},
};

use aya::maps::{MapData, MapError};
use tcptrace_core::{
    flow::{self, HashKey},
    handshake::{Handshake, State},
    table::{LANES, PENDING, Set, Slot, WAYS},
};

use super::decode;

const SET_WORDS: usize = size_of::<Set>() / 8;
const SLOT_WORDS: usize = size_of::<Slot>() / 8;
/// Tries to read a slot whole.
const TRIES: usize = 8;

/// The table, as it is now.
pub struct Table {
    sets: Mapping,
    slots: Mapping,
    key: HashKey,
}

impl Table {
    /// Maps the two arrays, in which flows are found by `key`.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map(sets: &MapData, slots: &MapData, key: HashKey) -> Result<Self, MapError> {
        Ok(Self { sets: Mapping::new::<Set>(sets)?, slots: Mapping::new::<Slot>(slots)?, key })
    }

    /// Number of slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sets.words().len() / SET_WORDS * WAYS
    }

    /// Octets of memory in the kernel.
    #[must_use]
    pub fn size(&self) -> usize {
        (self.sets.words().len() + self.slots.words().len()) * 8
    }

    /// Every attempt that is pending.
    pub fn pending(&self) -> impl Iterator<Item = Handshake> {
        self.lanes().filter(|&(_, lane)| lane & PENDING != 0).filter_map(|(slot, _)| self.read(slot))
    }

    /// Every attempt, pending or settled, that no other has replaced.
    pub fn attempts(&self) -> impl Iterator<Item = Handshake> {
        self.lanes().filter(|&(_, lane)| lane != 0).filter_map(|(slot, _)| self.read(slot))
    }

    /// An attempt as it is now; `None` when another has replaced it.
    #[must_use]
    pub fn find(&self, it: &Handshake) -> Option<Handshake> {
        let hash = flow::hash(self.key, it.client(), it.server());
        let sets = self.sets.words().len() / SET_WORDS;
        let set = hash as usize & (sets - 1);
        (0..WAYS).filter_map(|way| self.read(set * WAYS + way)).find(|found| {
            found.state() != State::Free
                && (found.client(), found.server(), found.isn) == (it.client(), it.server(), it.isn)
        })
    }

    fn lanes(&self) -> impl Iterator<Item = (usize, u16)> {
        self.sets.words().chunks_exact(SET_WORDS).enumerate().flat_map(|(set, words)| {
            let tags = [words[0].load(Relaxed), words[1].load(Relaxed)];
            let ways = if tags == [0; 2] { 0 } else { WAYS };
            (0..ways).map(move |way| (set * WAYS + way, (tags[way / LANES] >> (way % LANES * 16)) as u16))
        })
    }

    fn read(&self, slot: usize) -> Option<Handshake> {
        let words = self.slots.words().get(slot * SLOT_WORDS..)?.first_chunk::<SLOT_WORDS>()?;
        for _ in 0..TRIES {
            let version = words[0].load(Acquire);
            let mut octets = [0; (SLOT_WORDS - 1) * 8];
            for (to, from) in octets.chunks_exact_mut(8).zip(&words[1..]) {
                to.copy_from_slice(&from.load(Relaxed).to_ne_bytes());
            }
            fence(Acquire);
            if version & 1 == 0 && words[0].load(Relaxed) == version {
                return decode::handshake(&mut &octets[..]);
            }
        }
        None
    }
}

/// A map's memory, read-only and shared.
struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is read through atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new<T>(map: &MapData) -> Result<Self, MapError> {
        let octets = map.info()?.max_entries() as usize * size_of::<T>();
        // SAFETY: a new mapping of a file descriptor that is open; the kernel checks length and protection.
        let start = unsafe {
            let fd = map.fd().as_fd().as_raw_fd();
            libc::mmap(std::ptr::null_mut(), octets, libc::PROT_READ, libc::MAP_SHARED, fd, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(MapError::IoError(io::Error::last_os_error()));
        }
        Ok(Self { start: NonNull::new(start.cast()).expect("mmap never maps page zero"), words: octets / 8 })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for as long as `self` lives, aligned to a page; others write it, hence the atomics.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the very mapping that `new` made.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}
