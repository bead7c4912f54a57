//! The candidates: one question and one deed each, over maps that only the measured one gets entries for.
//!
//! They are reduced to the same work, to the losers' advantage: a key is the flow's hash, eight octets, where an exact one
//! takes 36; nothing settles, and nobody asks for the time.
#![expect(unsafe_code, reason = "map values are raw memory")]

use core::{
    intrinsics,
    intrinsics::AtomicOrdering::SeqCst,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{
    Global,
    helpers::{bpf_get_smp_processor_id, bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, BloomFilter, HashMap, LruHashMap},
};
use tcptrace_core::{
    flow::Endpoint,
    handshake::Handshake,
    pressure::Standing,
    table::{self, PENDING, Set, Slot, WAYS},
};

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h).
const MMAPABLE: u32 = 1 << 10;
const SPINS: u32 = 1024;
/// Tables that [`EveryCpu`] looks through at most.
const MAX_TABLES: u32 = 64;

#[map]
static SETS: Array<Set> = Array::with_max_entries(1, MMAPABLE);
#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(1, MMAPABLE);
#[map]
static BITS: Array<u64> = Array::with_max_entries(1, MMAPABLE);
#[map]
static BLOOM: BloomFilter<u64> = BloomFilter::with_max_entries(1, 0);
#[map]
static FOURS: Array<[Way; FOUR]> = Array::with_max_entries(1, MMAPABLE);
#[map]
static HASH: HashMap<u64, Handshake> = HashMap::with_max_entries(1, 0);
#[map]
static LRU_HASH: LruHashMap<u64, Handshake> = LruHashMap::with_max_entries(1, 0);
/// The keys in [`HASH`], in the order in which they came.
#[map]
static KEYS: Array<u64> = Array::with_max_entries(1, 0);
/// How many keys came; or a word to exchange.
#[map]
static WORD: Array<u64> = Array::with_max_entries(1, 0);

/// The number of slots, a power of two, less one.
#[unsafe(no_mangle)]
static SLOT_MASK: Global<u64> = Global::new(0);
/// The number of bits, a power of two, less one.
#[unsafe(no_mangle)]
static BIT_MASK: Global<u64> = Global::new(0);
/// The number of tables, one a CPU.
#[unsafe(no_mangle)]
static TABLES: Global<u32> = Global::new(1);

/// What a program asks of its table.
pub(crate) trait Table {
    /// Whether a handshake may be pending under a flow's hash.
    fn may_be_pending(hash: u64) -> bool;

    /// Keeps an attempt; false where there is no room. What only answers questions keeps nothing, but has the hash made.
    #[inline(always)]
    fn keep(hash: u64, _: &Handshake) -> bool {
        hash != 0
    }
}

/// What all others do as well.
pub(crate) struct Nothing;

impl Table for Nothing {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        hash == 0
    }
}

/// What the tool has: sets of eight slots, their tags in a directory, a lock a set.
pub(crate) struct Directory;

impl Table for Directory {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        has_pending(set_of(hash), hash)
    }

    #[inline(always)]
    fn keep(hash: u64, it: &Handshake) -> bool {
        let index = set_of(hash);
        let Some(set) = SETS.get_ptr_mut(index) else { return false };
        // SAFETY: a map value, which is never freed.
        let version = unsafe { &raw mut (*set).version };
        // SAFETY: as above.
        let Some(held) = (unsafe { lock(version) }) else { return false };
        // SAFETY: as above; the lock is held.
        let is_kept = fill(unsafe { &mut *set }, index, hash, it);
        // x86-64's stores keep their order; nor may the compiler change it.
        compiler_fence(Ordering::Release);
        // SAFETY: as above; nobody else changes the version while it is odd.
        unsafe { version.write_volatile(held + 1) };
        is_kept
    }
}

/// The number of the hash's set in a table.
#[inline(always)]
fn set_of(hash: u64) -> u32 {
    (hash & (SLOT_MASK.load() / WAYS as u64)) as u32
}

#[inline(always)]
fn has_pending(set: u32, hash: u64) -> bool {
    SETS.get(set).is_some_and(|it| it.has_pending(table::tag(hash)))
}

/// Makes a version odd, an aligned word of a map value.
#[inline(always)]
unsafe fn lock(version: *mut u64) -> Option<u64> {
    for _ in 0..SPINS {
        // SAFETY: the caller's.
        let seen = unsafe { version.read_volatile() };
        // SAFETY: as above.
        if seen & 1 == 0 && unsafe { exchange(version, seen, seen + 1) } {
            return Some(seen + 1);
        }
    }
    None
}

/// Puts an attempt into its slot of a set, or into that of the oldest.
#[inline(always)]
fn fill(set: &mut Set, index: u32, hash: u64, it: &Handshake) -> bool {
    let tag = table::tag(hash);
    let slot = |way: usize| SLOTS.get_ptr_mut(index * WAYS as u32 + (way & (WAYS - 1)) as u32);
    let client = Endpoint { addr: it.client_addr, port: it.client_port };
    let server = Endpoint { addr: it.server_addr, port: it.server_port };
    let own = (0..WAYS).find(|&way| {
        // SAFETY: a map value, which is never freed.
        let is_of = |slot: *mut Slot| unsafe { &*slot }.handshake.side(client, server).is_some();
        set.lane(way) & !PENDING == tag && slot(way).is_some_and(is_of)
    });
    let way = own.unwrap_or_else(|| set.to_replace());
    let Some(slot) = slot(way) else { return false };
    // SAFETY: as above.
    unsafe { slot.write(Slot { handshake: *it, standing: Standing::NOWHERE }) };
    set.set_lane(way, tag | PENDING);
    set.renew(way);
    true
}

/// A bit for each hash, in front of whatever table.
pub(crate) struct Bits;

impl Bits {
    #[inline(always)]
    fn of(hash: u64) -> (Option<*mut u64>, u64) {
        let bit = hash & BIT_MASK.load();
        (BITS.get_ptr_mut((bit / 64) as u32), 1 << (bit % 64))
    }
}

impl Table for Bits {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        let (word, bit) = Self::of(hash);
        // SAFETY: an aligned word of a map value.
        word.is_some_and(|it| unsafe { *it } & bit != 0)
    }

    #[inline(always)]
    fn keep(hash: u64, _: &Handshake) -> bool {
        let (word, bit) = Self::of(hash);
        let Some(word) = word else { return false };
        // Without what was there before, which would make a loop of it.
        // SAFETY: an aligned word of a map value.
        unsafe { intrinsics::atomic_or::<u64, u64, { SeqCst }>(word, bit) };
        true
    }
}

/// The kernel's own filter, with as many hashes as it takes unless told.
pub(crate) struct Bloom;

impl Table for Bloom {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        BLOOM.contains(hash).is_ok()
    }

    #[inline(always)]
    fn keep(hash: u64, _: &Handshake) -> bool {
        BLOOM.insert(hash, 0).is_ok()
    }
}

const FOUR: usize = 4;

/// A slot with its tag in it.
#[repr(C)]
struct Way {
    /// Half of the hash, above the age in jiffies; zero while it is empty.
    tag: u64,
    handshake: Handshake,
}

const _: () = assert!(size_of::<Way>() == 128);

/// Sets of four slots in one array, without directory and lock: the oldest slot's tag is exchanged.
pub(crate) struct FourWays;

impl FourWays {
    #[inline(always)]
    fn set(hash: u64) -> Option<*mut [Way; FOUR]> {
        FOURS.get_ptr_mut((hash & (SLOT_MASK.load() / FOUR as u64)) as u32)
    }

    #[inline(always)]
    fn tag(hash: u64) -> u64 {
        hash >> 32 | 1
    }
}

impl Table for FourWays {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        // SAFETY: a map value, which is never freed.
        Self::set(hash).is_some_and(|set| unsafe { &*set }.iter().any(|it| it.tag >> 32 == Self::tag(hash)))
    }

    #[inline(always)]
    fn keep(hash: u64, it: &Handshake) -> bool {
        let Some(set) = Self::set(hash) else { return false };
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_jiffies64() } as u32;
        // The age of what is replaced, its way, and its tag.
        let mut chosen = (0, 0, 0);
        for way in 0..FOUR {
            // SAFETY: an aligned word of a map value.
            let tag = unsafe { (&raw mut (*set)[way].tag).read_volatile() };
            let is_own = tag == 0 || tag >> 32 == Self::tag(hash);
            let age = if is_own { u64::MAX } else { u64::from(now.wrapping_sub(tag as u32)) };
            if way == 0 || age > chosen.0 {
                chosen = (age, way, tag);
            }
        }
        let (_, way, seen) = chosen;
        // SAFETY: a map value, and one of its ways.
        let way = unsafe { &raw mut (*set)[way & (FOUR - 1)] };
        let tag = Self::tag(hash) << 32 | u64::from(now);
        // SAFETY: as above; who exchanged the tag writes.
        unsafe {
            let is_taken = exchange(&raw mut (*way).tag, seen, tag);
            if is_taken {
                (&raw mut (*way).handshake).write(*it);
            }
            is_taken
        }
    }
}

/// A directory and slots for each CPU, which alone writes them, without lock; asked for what this CPU saw.
pub(crate) struct OwnCpu;

impl OwnCpu {
    #[inline(always)]
    fn set_of(hash: u64) -> u32 {
        // SAFETY: a helper without arguments.
        first_set(unsafe { bpf_get_smp_processor_id() }) + set_of(hash)
    }
}

impl Table for OwnCpu {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        has_pending(Self::set_of(hash), hash)
    }

    #[inline(always)]
    fn keep(hash: u64, it: &Handshake) -> bool {
        let index = Self::set_of(hash);
        // SAFETY: a map value, which is never freed and which this CPU alone writes.
        SETS.get_ptr_mut(index).is_some_and(|set| fill(unsafe { &mut *set }, index, hash, it))
    }
}

/// The first of a CPU's sets.
#[inline(always)]
fn first_set(cpu: u32) -> u32 {
    cpu * (SLOT_MASK.load() as u32 / WAYS as u32 + 1)
}

/// The same, asked for what any CPU saw: the other direction of a flow runs on another.
pub(crate) struct EveryCpu;

impl Table for EveryCpu {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        (0..MAX_TABLES)
            .take_while(|&cpu| cpu < TABLES.load())
            .any(|cpu| has_pending(first_set(cpu) + set_of(hash), hash))
    }
}

/// The kernel's hash table, its entries allocated at first, that refuses what is too many.
pub(crate) struct HashRefuses;

impl Table for HashRefuses {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        HASH.get_ptr(hash).is_some()
    }

    #[inline(always)]
    fn keep(hash: u64, it: &Handshake) -> bool {
        HASH.insert(hash, it, 0).is_ok()
    }
}

/// The same, with a ring of keys beside it that says which is the oldest: that one is deleted first.
pub(crate) struct HashOldest;

impl Table for HashOldest {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        HashRefuses::may_be_pending(hash)
    }

    #[inline(always)]
    fn keep(hash: u64, it: &Handshake) -> bool {
        let Some(came) = WORD.get_ptr_mut(0) else { return false };
        // SAFETY: an aligned word of a map value.
        let place = unsafe { *came };
        // SAFETY: as above.
        if !unsafe { exchange(came, place, place + 1) } {
            return false;
        }
        let place = place & SLOT_MASK.load();
        let Some(key) = KEYS.get_ptr_mut(place as u32) else { return false };
        // SAFETY: as above; whose turn it is has the place to itself.
        let oldest = unsafe { key.replace(hash) };
        if oldest != 0 {
            let _ = HASH.remove(oldest);
        }
        HashRefuses::keep(hash, it)
    }
}

/// The kernel's hash table that evicts.
pub(crate) struct LruHash;

impl Table for LruHash {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        LRU_HASH.get_ptr(hash).is_some()
    }

    #[inline(always)]
    fn keep(hash: u64, it: &Handshake) -> bool {
        LRU_HASH.insert(hash, it, 0).is_ok()
    }
}

/// No table, but what one may need: the time.
pub(crate) struct Clock;

impl Table for Clock {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        // SAFETY: a helper without arguments.
        hash == unsafe { bpf_ktime_get_ns() }
    }
}

/// The time of the last tick, in nanoseconds.
pub(crate) struct CoarseClock;

impl Table for CoarseClock {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        // SAFETY: a helper without arguments.
        hash == unsafe { bpf_ktime_get_coarse_ns() }
    }
}

/// The number of the last tick.
pub(crate) struct Jiffies;

impl Table for Jiffies {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        // SAFETY: a helper without arguments.
        hash == unsafe { bpf_jiffies64() }
    }
}

/// A compare-and-exchange that nobody contends for.
pub(crate) struct Exchange;

impl Table for Exchange {
    #[inline(always)]
    fn may_be_pending(hash: u64) -> bool {
        // SAFETY: an aligned word of a map value.
        WORD.get_ptr_mut(0).is_some_and(|it| unsafe { !exchange(it, *it, hash) })
    }
}

/// Replaces `old` by `new`, an aligned word of a map value, and whether that is what was there.
#[inline(always)]
unsafe fn exchange(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's.
    unsafe { intrinsics::atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, old, new).1 }
}
