//! What the kernel side keeps, how much of it, and what happens when it is full.
//!
//! | map | holds | when full |
//! | --- | --- | --- |
//! | `SETS`, `SLOTS` | the attempts, [`WAYS`] to a set | the set's oldest settled attempt makes room, else its oldest, counted |
//! | `TALLY` | counters | they wrap |
//! | `EVENTS` | transitions worth telling | the event is counted as lost, by kind |
//!
//! Both sides of one attempt may come by on two CPUs at once, so a set is looked through and changed under its lock.
//! Whoever finds it taken tries [`SPINS`] times and then counts the segment as lost: nobody waits for long. The
//! directory's tags are read without the lock as well, as a hint.
#![expect(unsafe_code, reason = "map values are raw memory shared with other CPUs")]

use core::{
    arch::asm,
    intrinsics,
    intrinsics::AtomicOrdering::SeqCst,
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

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
    table::{PENDING, Set, Slot, WAYS},
};

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h): userspace reads the table without a system call an entry.
const MMAPABLE: u32 = 1 << 10;

/// Attempts to take a set's lock. Its holder runs some hundred instructions.
const SPINS: u32 = 1024;

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
    /// Whether a pending attempt carries this tag, as far as can be told without the lock.
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
    pub(crate) fn lock(self) -> Option<Held> {
        // SAFETY: `set` is a map value; the version is read and exchanged whole.
        let version = unsafe { ptr::addr_of_mut!((*self.set).version) };
        for _ in 0..SPINS {
            // SAFETY: as above.
            let seen = unsafe { ptr::read_volatile(version) };
            // SAFETY: as above.
            if seen & 1 == 0 && unsafe { exchange(version, seen, seen + 1) } {
                return Some(Held { of: self, version: seen + 1 });
            }
        }
        count(Counter::Contended);
        None
    }
}

/// A set under its lock. [`Held::release`] gives it back; there is no Drop, so that the verifier sees every path.
pub(crate) struct Held {
    of: SetRef,
    version: u64,
}

impl Held {
    /// The directory.
    #[inline(always)]
    pub(crate) fn set(&mut self) -> &mut Set {
        // SAFETY: the lock is held; who reads without it reads words.
        unsafe { &mut *self.of.set }
    }

    /// A way's attempt.
    #[inline(always)]
    pub(crate) fn handshake(&mut self, way: usize) -> Option<&'static mut Handshake> {
        let slot = SLOTS.get_ptr_mut(self.of.index * WAYS as u32 + (way & (WAYS - 1)) as u32)?;
        // SAFETY: a map value, which is never freed; the lock is held, and userspace only reads.
        Some(unsafe { &mut (*slot).handshake })
    }

    /// The way that holds a flow's attempt.
    #[inline(always)]
    pub(crate) fn find(&mut self, tag: u16, src: Endpoint, dst: Endpoint) -> Option<usize> {
        (0..WAYS).find(|&way| {
            self.set().lane(way) & !PENDING == tag && self.handshake(way).is_some_and(|it| it.side(src, dst).is_some())
        })
    }

    /// The way whose slot a new attempt takes, counted as what is in it. An attempt that has been silent for longer than
    /// any stack waits between two tries is as good as settled.
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
            it if it & PENDING == 0 => count(Counter::ReplacedSettled),
            _ => count(Counter::ReplacedPending),
        }
        way
    }

    /// Everything written under the lock is seen by whoever takes it next, or finds the version unchanged.
    #[inline(always)]
    pub(crate) fn release(self) {
        // SAFETY: a map value; nobody else changes the version while it is odd.
        unsafe {
            let version = ptr::addr_of_mut!((*self.of.set).version);
            if cfg!(bpf_target_arch = "x86_64") {
                // The processor does not reorder stores; nor may the compiler.
                compiler_fence(Ordering::Release);
                version.write_volatile(self.version + 1);
            } else {
                exchange(version, self.version, self.version + 1);
            }
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
