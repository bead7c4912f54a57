//! The attempts: sets found by a flow's hash, looked through and changed under their lock.
//!
//! Both sides of one attempt may come by on two CPUs at once. A CPU that finds the set taken tries [`SPINS`] times and
//! then counts the segment as lost: nobody waits for long. The directory's tags are also read without lock, as a hint.
#![expect(unsafe_code, reason = "map values are raw memory shared with other CPUs")]

use core::ptr;

use aya_ebpf::{macros::map, maps::Array};
use tcptrace_core::{
    event::Counter,
    flow::Endpoint,
    handshake::{Handshake, Nanos, State},
    seq::Seq,
    table::{PENDING, Set, Slot, WAYS},
    tunnel::Outer,
};

use super::{
    MMAPABLE,
    config::config,
    events::{count, counters},
    now, version,
};

/// Attempts to take a set's lock, each of which waits for as long as the clock takes to read, some 30 ns. Its holder
/// runs some hundred instructions.
const SPINS: u32 = 64;

#[map]
static SETS: Array<Set> = Array::with_max_entries(1, MMAPABLE);
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(WAYS as u32, MMAPABLE);
/// The tunnels of the attempts in [`SLOTS`], where programs look into tunnels; else one entry that nobody reads.
#[map]
static OUTERS: Array<Outer> = Array::with_max_entries(1, MMAPABLE);
/// A set of the table, found by a flow's hash.
#[derive(Clone, Copy)]
pub(crate) struct SetRef {
    set: *mut Set,
    index: u32,
}

#[inline(always)]
pub(crate) fn set_of(hash: u64) -> Option<SetRef> {
    let index = (hash & config!(set_mask)) as u32;
    Some(SetRef { set: SETS.get_ptr_mut(index)?, index })
}

impl SetRef {
    /// Whether a pending attempt carries this tag, as far as can be known without the lock.
    #[inline(always)]
    pub(crate) fn may_be_pending(self, tag: u16) -> bool {
        // SAFETY: a map value, which is never freed; its words are read whole.
        unsafe { &*self.set }.has_pending(tag)
    }

    /// Whether any attempt does.
    #[inline(always)]
    pub(crate) fn may_have(self, tag: u16) -> bool {
        // SAFETY: as above.
        unsafe { &*self.set }.has(tag)
    }

    /// Takes the set, unless other CPUs hold it all the time: then a segment is counted as lost.
    #[inline(always)]
    pub(crate) fn lock(self) -> Option<LockedSet> {
        // SAFETY: `set` is a map value; the version is read and exchanged whole.
        let version = unsafe { ptr::addr_of_mut!((*self.set).version) };
        for _ in 0..SPINS {
            // SAFETY: as above.
            let seen = unsafe { ptr::read_volatile(version) };
            // SAFETY: as above.
            if seen & 1 == 0 && unsafe { version::exchange(version, seen, seen + 1) } {
                return Some(LockedSet { of: self, version: seen + 1 });
            }
            // Many turns of a loop that does nothing would be many instructions to the verifier.
            let _ = now();
        }
        count(Counter::Contended);
        None
    }
}

/// A set under its lock. [`LockedSet::release`] gives it back; there is no Drop, so that the verifier sees every path.
pub(crate) struct LockedSet {
    of: SetRef,
    version: u64,
}

impl LockedSet {
    /// The directory.
    #[inline(always)]
    pub(crate) fn set(&mut self) -> &mut Set {
        // SAFETY: the lock is held; a reader without it reads words.
        unsafe { &mut *self.of.set }
    }

    /// A way's slot.
    #[inline(always)]
    pub(crate) fn slot(&mut self, way: usize) -> Option<&'static mut Slot> {
        let slot = SLOTS.get_ptr_mut(self.of.index * WAYS as u32 + (way & (WAYS - 1)) as u32)?;
        // SAFETY: a map value, which is never freed; the lock is held, and userspace only reads.
        Some(unsafe { &mut *slot })
    }

    /// A way's attempt.
    #[inline(always)]
    pub(crate) fn handshake(&mut self, way: usize) -> Option<&'static mut Handshake> {
        self.slot(way).map(|slot| &mut slot.handshake)
    }

    /// Whether a way's attempt began with this number.
    #[inline(always)]
    pub(crate) fn has_isn(&mut self, way: usize, isn: Seq) -> bool {
        self.handshake(way).is_some_and(|handshake| handshake.isn == isn)
    }

    /// Notes the tunnel that a way's attempt came by.
    #[inline(always)]
    pub(crate) fn set_outer(&mut self, way: usize, outer: Outer) {
        let index = self.of.index * WAYS as u32 + (way & (WAYS - 1)) as u32;
        if let Some(to) = OUTERS.get_ptr_mut(index) {
            // SAFETY: a map value, which is never freed; the lock is held, and userspace only reads.
            unsafe { to.write(outer) };
        }
    }

    /// The way that holds a flow's attempt.
    #[inline(always)]
    pub(crate) fn find(&mut self, tag: u16, src: Endpoint, dst: Endpoint) -> Option<usize> {
        (0..WAYS).find(|&way| {
            self.set().lane(way) & !PENDING == tag && self.handshake(way).is_some_and(|it| it.side(src, dst).is_some())
        })
    }

    /// The way that something less than an attempt may take: never that of one that is pending.
    #[inline(always)]
    pub(crate) fn spare_room(&mut self) -> Option<usize> {
        let way = self.set().to_replace();
        match self.set().lane(way) {
            0 => Some(way),
            lane if lane & PENDING == 0 => {
                count(Counter::ReplacedSettled);
                Some(way)
            }
            _ => None,
        }
    }

    /// The way whose slot a new attempt takes, counted as what is in it. An attempt that has been silent for longer
    /// than any stack waits between two tries is as good as settled; what nobody asked for is no loss.
    #[inline(always)]
    pub(crate) fn make_room(&mut self, now: Nanos) -> usize {
        let oldest = self.set().oldest();
        if self.set().lane(oldest) & PENDING != 0 && self.handshake(oldest).is_some_and(|it| it.is_dead(now)) {
            count(Counter::ReplacedSettled);
            return oldest;
        }
        let way = self.set().to_replace();
        match self.set().lane(way) {
            0 => {}
            lane if lane & PENDING == 0 => count(Counter::ReplacedSettled),
            _ => match self.handshake(way) {
                Some(oldest) if oldest.state() != State::Unsolicited => {
                    count(Counter::ReplacedPending);
                    if let Some(counters) = counters() {
                        counters.replaced_at_age(now.since(oldest.first_syn));
                    }
                }
                _ => count(Counter::ReplacedSettled),
            },
        }
        way
    }

    /// Everything written under the lock is seen by whoever takes it next, or finds the version unchanged.
    #[inline(always)]
    pub(crate) fn release(self) {
        // SAFETY: a map value, taken by [`SetRef::lock`].
        unsafe { version::end(ptr::addr_of_mut!((*self.of.set).version), self.version) };
    }
}
