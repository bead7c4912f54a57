//! What the kernel side keeps, how much of it, and what happens when it is full.
//!
//! | map | holds | when full |
//! | --- | --- | --- |
//! | `SETS`, `SLOTS` | the attempts, [`WAYS`] to a set | the set's oldest settled attempt makes room, else its oldest, counted |
//! | `TALLY` | counters | they wrap |
//! | `EVENTS` | transitions worth telling | the event is counted as lost, by kind |
//!
//! Both sides of one attempt may come by on two CPUs at once, so a slot is stepped under its lock. Whoever finds it
//! taken tries [`SPINS`] times and then counts the segment as lost: nothing here waits. A lane of the directory changes
//! only under its slot's lock, which makes an atomic XOR enough to change it beside its neighbours.
#![expect(unsafe_code, reason = "map values are raw memory shared with other CPUs")]

use core::{arch::asm, intrinsics, intrinsics::AtomicOrdering::SeqCst, ptr};

use aya_ebpf::{
    Global,
    helpers::bpf_ktime_get_ns,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tcptrace_core::{
    event::{Counter, Event, TRANSITIONS, Tally, Telling, VERSION},
    flow::{Addr, Endpoint, HashKey},
    handshake::{Handshake, Nanos, Point, Transition},
    segment::Kind,
    seq::Seq,
    table::{LANES, PENDING, Set, Slot, WAYS, shift},
};

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h): userspace reads the table without a system call an entry.
const MMAPABLE: u32 = 1 << 10;

/// Attempts to take a slot's lock. Its holder runs some hundred instructions.
const SPINS: u32 = 64;

#[map]
static SETS: Array<Set> = Array::with_max_entries(1, MMAPABLE);
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(WAYS as u32, MMAPABLE);
#[map]
static TALLY: PerCpuArray<Tally> = PerCpuArray::with_max_entries(1, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

// Set before the programs load; the verifier treats them as constants. Map sizes are set then as well.
#[unsafe(no_mangle)]
static HASH_KEY_0: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static HASH_KEY_1: Global<u64> = Global::new(0);
/// Number of sets, a power of two, less one.
#[unsafe(no_mangle)]
static SET_MASK: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static STALL_AFTER: Global<u64> = Global::new(3_000_000_000);
#[unsafe(no_mangle)]
static TELL_ALL: Global<u8> = Global::new(0);

#[inline(always)]
pub(crate) fn hash_key() -> HashKey {
    HashKey(HASH_KEY_0.load(), HASH_KEY_1.load())
}

#[inline(always)]
fn telling() -> Telling {
    Telling { all: TELL_ALL.load() != 0, stall_after: STALL_AFTER.load() }
}

#[inline(always)]
pub(crate) fn now() -> Nanos {
    // SAFETY: a helper without arguments.
    Nanos(unsafe { bpf_ktime_get_ns() })
}

/// This CPU's counters.
#[inline(always)]
pub(crate) fn tally() -> Option<&'static mut Tally> {
    // SAFETY: a per-CPU value, and programs on one CPU do not preempt each other. On PREEMPT_RT they may: the cost is a
    // lost increment.
    TALLY.get_ptr_mut(0).map(|it| unsafe { &mut *it })
}

#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(tally) = tally() {
        tally.counters[counter as usize] += 1;
    }
}

/// Counts a segment that belongs to no attempt and opens none.
#[inline(always)]
pub(crate) fn count_unmatched(kind: Kind) {
    match kind {
        Kind::SynAck => count(Counter::AnswerUnmatched),
        Kind::Rst => count(Counter::RstUnmatched),
        Kind::Fin => count(Counter::FinUnmatched),
        Kind::Syn | Kind::Ack | Kind::Null => {}
    }
}

/// A set of the table, found by a flow's hash.
#[derive(Clone, Copy)]
pub(crate) struct SetRef {
    set: *mut Set,
    index: u32,
}

#[inline(always)]
pub(crate) fn set_of(hash: u64) -> Option<SetRef> {
    let index = (hash & SET_MASK.load()) as u32;
    Some(SetRef { set: SETS.get_ptr_mut(index)?, index })
}

impl SetRef {
    /// The directory as it is now. Other CPUs may change it at once: what it says is a hint until a slot is held.
    #[inline(always)]
    pub(crate) fn directory(&self) -> &Set {
        // SAFETY: a map value, which is never freed; words are read whole.
        unsafe { &*self.set }
    }

    /// The way whose slot holds a flow's attempt, as far as can be told without holding it.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u16, src: Endpoint, dst: Endpoint) -> Option<usize> {
        for way in 0..WAYS {
            if self.directory().lane(way) & !PENDING == tag {
                // SAFETY: a map value; what another CPU writes meanwhile is found out under the lock.
                let handshake = unsafe { &(*self.slot(way)?).handshake };
                if handshake.side(src, dst).is_some() {
                    return Some(way);
                }
            }
        }
        None
    }

    #[inline(always)]
    fn slot(&self, way: usize) -> Option<*mut Slot> {
        SLOTS.get_ptr_mut(self.index * WAYS as u32 + way as u32)
    }

    /// Takes the slot of a way.
    #[inline(always)]
    pub(crate) fn lock(&self, way: usize) -> Option<Held> {
        let slot = self.slot(way)?;
        // SAFETY: `slot` is a map value; the version is read and exchanged whole.
        let version = unsafe { ptr::addr_of_mut!((*slot).version) };
        for _ in 0..SPINS {
            // SAFETY: as above.
            let seen = unsafe { ptr::read_volatile(version) };
            // SAFETY: as above.
            if seen & 1 == 0 && unsafe { exchange(version, seen, seen + 1) } {
                return Some(Held { set: self.set, slot, way, version: seen });
            }
        }
        count(Counter::Contended);
        None
    }
}

/// A slot under its lock. [`Held::release`] gives it back; there is no Drop, so that the verifier sees every path.
pub(crate) struct Held {
    set: *mut Set,
    slot: *mut Slot,
    way: usize,
    version: u64,
}

impl Held {
    #[inline(always)]
    pub(crate) fn handshake(&mut self) -> &mut Handshake {
        // SAFETY: the lock is held, and userspace only reads.
        unsafe { &mut (*self.slot).handshake }
    }

    /// The lane as it is now: nobody else changes it.
    #[inline(always)]
    pub(crate) fn lane(&self) -> u16 {
        // SAFETY: a map value, read whole.
        unsafe { (*self.set).lane(self.way) }
    }

    /// Makes the lane say what the slot holds.
    #[inline(always)]
    pub(crate) fn set_lane(&mut self, lane: u16) {
        let change = (self.lane() ^ lane) as u64;
        if change != 0 {
            // SAFETY: a map value; the index is below the number of words.
            unsafe {
                let word = ptr::addr_of_mut!((*self.set).tags[(self.way / LANES) & 1]);
                intrinsics::atomic_xor::<u64, u64, { SeqCst }>(word, change << shift(self.way));
            }
        }
    }

    /// Counts whose place is about to be taken.
    #[inline(always)]
    pub(crate) fn count_replaced(&self) {
        match self.lane() {
            0 => {}
            it if it & PENDING == 0 => count(Counter::ReplacedSettled),
            _ => count(Counter::ReplacedPending),
        }
    }

    /// Fills the slot with a new attempt, whose lane becomes `tag`, pending.
    #[inline(always)]
    pub(crate) fn open(&mut self, tag: u16, handshake: Handshake, seconds: u16) {
        *self.handshake() = handshake;
        // SAFETY: a map value; see `Set::born` for why no lock is needed.
        unsafe { (*self.set).born[self.way & (WAYS - 1)] = seconds };
        self.set_lane(tag | PENDING);
    }

    #[inline(always)]
    pub(crate) fn release(self) {
        // SAFETY: a map value. An exchange rather than a store: it orders what was written before it on every CPU.
        unsafe {
            exchange(ptr::addr_of_mut!((*self.slot).version), self.version + 1, self.version + 2);
        }
    }
}

/// Replaces `old` by `new`, and whether that is what was there. Ordered on every CPU against all before and after it.
#[inline(always)]
unsafe fn exchange(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's: an aligned word of a map value.
    unsafe { intrinsics::atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, old, new).1 }
}

/// A number that the verifier knows nothing of any more; `unknown` is one that it never knew anything of.
#[inline(always)]
pub(crate) fn forget(number: usize, unknown: usize) -> usize {
    let mut it = number;
    // SAFETY: two operations on a register that undo each other.
    unsafe { asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) it, in(reg) unknown, options(pure, nomem, nostack)) };
    it
}

/// Seconds modulo 2¹⁶, the unit of [`Set::born`].
#[inline(always)]
pub(crate) fn seconds(now: Nanos) -> u16 {
    (now.0 / 1_000_000_000) as u16
}

/// The packet behind a transition, as an event tells it.
#[derive(Clone, Copy)]
pub(crate) struct Cause {
    pub(crate) from: Addr,
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) window: u16,
    pub(crate) flags: u8,
    pub(crate) ttl: u8,
}

/// Counts a transition, and tells it if it is worth telling.
#[inline(always)]
pub(crate) fn tell(transition: Transition, handshake: &Handshake, cause: &Cause, time: Nanos, point: Point) {
    let index = forget(transition as usize, time.0 as usize) & (TRANSITIONS - 1);
    if let Some(tally) = tally() {
        tally.count(index, handshake);
    }
    if !telling().tells(transition, handshake) {
        return;
    }
    match EVENTS.reserve::<Event>(0) {
        Some(mut record) => {
            let Cause { from, seq, ack, window, flags, ttl } = *cause;
            record.write(Event {
                version: VERSION,
                transition: transition as u8,
                size: size_of::<Event>() as u16,
                point,
                time,
                handshake: *handshake,
                from,
                seq,
                ack,
                window,
                flags,
                ttl,
                pad: 0,
            });
            record.submit(0);
        }
        None => {
            if let Some(tally) = tally() {
                tally.lose(index);
            }
        }
    }
}
