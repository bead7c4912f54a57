//! The kernel's table, mapped read-only: the sweep costs no system call an entry.
//!
//! Slots change while they are read. Every word is loaded atomically, and their set's version before and after says
//! whether the words belong together; a set that keeps changing is left for the next sweep.

use std::{
    array,
    mem::offset_of,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed},
        fence,
    },
};

use aya::maps::{MapData, MapError};
use tcptrace_core::{
    flow::{self, Endpoint, HashKey},
    handshake::{Handshake, Nanos, State},
    table::{self, LANES, PENDING, Set, Slot, WAYS},
    tunnel::Outer,
};

use super::{decode, mapping::Mapping};
use crate::track::InTable;

const SET_WORDS: usize = size_of::<Set>() / 8;
const SLOT_WORDS: usize = size_of::<Slot>() / 8;
const OUTER_WORDS: usize = size_of::<Outer>() / 8;
/// The offset of a set's version, in words.
const VERSION: usize = offset_of!(Set, version) / 8;
/// The pending bits of a word of tags.
const EVERY_PENDING: u64 = 0x0001_0001_0001_0001 * PENDING as u64;
/// Tries to read a set whole.
const TRIES: usize = 8;
/// Between two of them, where it is worth waiting.
const A_MOMENT: std::time::Duration = std::time::Duration::from_micros(100);

/// The table, as it is now.
pub struct Table {
    sets: Mapping,
    slots: Mapping,
    /// Present where programs look into tunnels.
    outers: Option<Mapping>,
    key: HashKey,
    /// By set.
    looks: Vec<Look>,
    /// The last look at all of them, and the count of changes before it.
    overview: Overview,
    changes: Option<u64>,
}

/// The result of a look at the whole table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The number of pending attempts.
    pub pending: usize,
    /// When the first of them is due for another look.
    pub due: Nanos,
}

/// The last look at a set.
#[derive(Clone, Copy)]
struct Look {
    version: u64,
    due: Nanos,
}

impl Table {
    /// Maps the arrays, in which flows are found by `key`.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map(sets: &MapData, slots: &MapData, outers: Option<&MapData>, key: HashKey) -> Result<Self, MapError> {
        let (sets, slots) = (Mapping::new::<Set>(sets)?, Mapping::new::<Slot>(slots)?);
        let outers = outers.map(Mapping::new::<Outer>).transpose()?;
        let looks = vec![Look { version: 0, due: Nanos(u64::MAX) }; sets.words().len() / SET_WORDS];
        let overview = Overview { pending: 0, due: Nanos(u64::MAX) };
        Ok(Self { sets, slots, outers, key, looks, overview, changes: None })
    }

    /// Number of slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sets.words().len() / SET_WORDS * WAYS
    }

    /// Bytes of memory in the kernel.
    #[must_use]
    pub fn size(&self) -> usize {
        let outers = self.outers.as_ref().map_or(0, |it| it.words().len());
        (self.sets.words().len() + self.slots.words().len() + outers) * 8
    }

    /// Every attempt that is pending.
    pub fn pending(&self) -> impl Iterator<Item = Handshake> {
        self.all(|lane| lane & PENDING != 0)
    }

    /// Looks at pending attempts; `look` says when each is due for another. `changes` is a count, if there is one, that
    /// grows with each change of a set before its lock is given back: while it stays the same and none is due, nothing
    /// is read. Sets that have not changed since and where none is due are passed over: of a table full of the silent,
    /// the directory is read and no slot.
    pub fn each_pending(
        &mut self,
        now: Nanos,
        changes: Option<u64>,
        mut look: impl FnMut(&Handshake) -> Nanos,
    ) -> Overview {
        if changes.is_some() && changes == self.changes && now < self.overview.due {
            return self.overview;
        }
        let mut looks = std::mem::take(&mut self.looks);
        let mut all = Overview { pending: 0, due: Nanos(u64::MAX) };
        for (set, last) in looks.iter_mut().enumerate() {
            let directory = &self.sets.words()[set * SET_WORDS..][..SET_WORDS];
            let version = directory[VERSION].load(Acquire);
            let tags = &directory[..WAYS / LANES];
            all.pending +=
                tags.iter().map(|it| (it.load(Relaxed) & EVERY_PENDING).count_ones() as usize).sum::<usize>();
            if last.version != version || now >= last.due {
                *last = match self.read(set, |lane| lane & PENDING != 0) {
                    // The slots may be newer than the version: the set is then read again, and no harm done.
                    Some(found) => {
                        let due = found.iter().flatten().map(&mut look).min();
                        Look { version, due: due.unwrap_or(Nanos(u64::MAX)) }
                    }
                    // Its change may have been counted before this look.
                    None => Look { version, due: now },
                };
            }
            all.due = all.due.min(last.due);
        }
        self.looks = looks;
        (self.overview, self.changes) = (all, changes);
        all
    }

    /// Shows every attempt of the sets that have changed since `versions` were theirs, and notes those they have now.
    pub fn each_changed(&self, versions: &mut Vec<u64>, mut show: impl FnMut(&Handshake)) {
        versions.resize(self.looks.len(), 0);
        for (set, last) in versions.iter_mut().enumerate() {
            let version = self.sets.words()[set * SET_WORDS + VERSION].load(Acquire);
            if *last == version {
                continue;
            }
            // A set that is too busy to be read comes with the next look.
            if let Some(found) = self.read(set, |lane| lane != 0) {
                found.iter().flatten().for_each(&mut show);
                *last = version;
            }
        }
    }

    /// Every attempt, pending or settled, that no other has replaced.
    pub fn attempts(&self) -> impl Iterator<Item = Handshake> {
        self.all(|lane| lane != 0)
    }

    /// An attempt as it is now.
    #[must_use]
    pub fn find(&self, handshake: &Handshake) -> InTable {
        let hash = flow::hash(self.key, handshake.client(), handshake.server());
        let sets = self.sets.words().len() / SET_WORDS;
        let Some(set) = self.read(hash as usize & (sets - 1), |lane| lane & !PENDING == table::tag(hash)) else {
            return InTable::Busy;
        };
        let is_it = |found: &Handshake| {
            (found.client(), found.server(), found.isn) == (handshake.client(), handshake.server(), handshake.isn)
        };
        set.into_iter().flatten().find(is_it).map_or(InTable::Gone, InTable::Here)
    }

    /// Whether an attempt of a flow is in the table.
    #[must_use]
    pub fn has(&self, client: Endpoint, server: Endpoint) -> bool {
        // A set that is too busy to be read may well have it.
        self.of_flow(client, server).is_none_or(|it| it.is_some())
    }

    /// Whether it completed the handshake.
    #[must_use]
    pub fn has_established(&self, client: Endpoint, server: Endpoint) -> bool {
        self.of_flow(client, server).flatten().is_some_and(|it| it.state() == State::Established)
    }

    /// The attempt of a flow, if there is one; `None` where that could not be read.
    fn of_flow(&self, client: Endpoint, server: Endpoint) -> Option<Option<Handshake>> {
        let hash = flow::hash(self.key, client, server);
        let set = hash as usize & (self.sets.words().len() / SET_WORDS - 1);
        let found = self.read(set, |lane| lane & !PENDING == table::tag(hash))?;
        Some(found.into_iter().flatten().find(|it| (it.client(), it.server()) == (client, server)))
    }

    /// The tunnel that an attempt came by, while it is in the table.
    #[must_use]
    pub fn outer(&self, handshake: &Handshake) -> Option<Outer> {
        let outers = self.outers.as_ref()?.words();
        let hash = flow::hash(self.key, handshake.client(), handshake.server());
        let set = hash as usize & (self.sets.words().len() / SET_WORDS - 1);
        let version = || self.sets.words()[set * SET_WORDS + VERSION].load(Acquire);
        for _ in 0..TRIES {
            let before = version();
            let Some(found) = self.read(set, |lane| lane & !PENDING == table::tag(hash)) else {
                // Its lock is held by a writer that has just reported the attempt, on a processor that something else
                // keeps.
                std::thread::sleep(A_MOMENT);
                continue;
            };
            let is_it = |found: &Option<Handshake>| {
                found.is_some_and(|found| {
                    (found.client(), found.server(), found.isn)
                        == (handshake.client(), handshake.server(), handshake.isn)
                })
            };
            let way = found.iter().position(is_it)?;
            let outer = words(&outers[(set * WAYS + way) * OUTER_WORDS..][..OUTER_WORDS]);
            fence(Acquire);
            if version() == before {
                return Some(decode::outer(&mut &outer[..])).filter(|it| it.kind().is_some());
            }
        }
        None
    }

    fn all(&self, wanted: impl Fn(u16) -> bool + Copy) -> impl Iterator<Item = Handshake> {
        let sets = self.sets.words().len() / SET_WORDS;
        (0..sets).flat_map(move |set| self.read(set, wanted).into_iter().flatten().flatten())
    }

    /// The attempts of a set whose lanes are wanted; `None` where it changes all the time.
    fn read(&self, set: usize, wanted: impl Fn(u16) -> bool) -> Option<[Option<Handshake>; WAYS]> {
        let directory = &self.sets.words()[set * SET_WORDS..][..SET_WORDS];
        let slots = &self.slots.words()[set * WAYS * SLOT_WORDS..][..WAYS * SLOT_WORDS];
        for _ in 0..TRIES {
            let version = directory[VERSION].load(Acquire);
            let lane = |way: usize| (directory[way / LANES].load(Relaxed) >> (way % LANES * 16)) as u16;
            let found =
                array::from_fn(|way| wanted(lane(way)).then(|| words(&slots[way * SLOT_WORDS..][..SLOT_WORDS])));
            fence(Acquire);
            if version & 1 == 0 && directory[VERSION].load(Relaxed) == version {
                return Some(found.map(|octets| decode::handshake(&mut &octets?[..])));
            }
        }
        None
    }
}

/// As many bytes as there are words, up to a slot's.
fn words(from: &[AtomicU64]) -> [u8; SLOT_WORDS * 8] {
    let mut octets = [0; SLOT_WORDS * 8];
    for (to, from) in octets.chunks_exact_mut(8).zip(from) {
        to.copy_from_slice(&from.load(Relaxed).to_ne_bytes());
    }
    octets
}
