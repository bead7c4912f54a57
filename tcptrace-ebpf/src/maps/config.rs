//! The data that is fixed when the programs load: the configuration, and the filter.
#![expect(unsafe_code, reason = "the loader writes the configuration, which the compiler must not take for known")]

use aya_ebpf::{macros::map, maps::Array};
use tcptrace_core::{
    config::Config,
    event::Telling,
    flood::Policy,
    flow::HashKey,
    predicate::{self, Test},
    segment::{Flags, Located},
};

use super::forget;

/// Read-only to the programs, so the verifier knows each field. It is read field by field: a copy of the whole would
/// take 136 of the stack's 512 bytes.
#[unsafe(no_mangle)]
pub(crate) static CONFIG: Config = Config::UNSET;

#[map]
static FILTER: Array<Test> = Array::with_max_entries(predicate::LENGTH as u32, 0);

/// A field of [`CONFIG`], as userspace set it.
macro_rules! config {
    ($($field:tt).+) => {
        // SAFETY: an aligned field of a static, which nobody writes after loading.
        unsafe { (&raw const $crate::maps::CONFIG.$($field).+).read_volatile() }
    };
}
pub(crate) use config;

#[inline(always)]
pub(crate) fn hash_key() -> HashKey {
    HashKey(config!(hash_key.0), config!(hash_key.1))
}

#[inline(always)]
pub(crate) fn telling() -> Telling {
    Telling { all: config!(tell_all) != 0, stall_after: config!(stall_after) }
}

#[inline(always)]
pub(crate) fn policy() -> Policy {
    Policy { burst: config!(flood.burst), leak: config!(flood.leak), sum: config!(flood.sum) }
}

/// Whether the programs that look into tunnels are those that are attached.
#[inline(always)]
pub(crate) fn looks_into_tunnels() -> bool {
    config!(decap) != 0
}

/// Whether the filter wants an attempt with this SYN or SYN/ACK.
#[inline(always)]
pub(crate) fn wants(segment: &Located) -> bool {
    if config!(filtered) == 0 {
        return true;
    }
    let back = u64::from(segment.flags.any(Flags::ACK));
    let mut next = 0;
    for _ in 0..predicate::LENGTH {
        let Some(test) = FILTER.get(next) else { break };
        // Known to the verifier, each test's two successors would be followed apart.
        next = forget(test.next(segment.src, segment.dst, back) as usize, segment.src.addr.lo as usize) as u32;
    }
    next == predicate::ACCEPT as u32
}
