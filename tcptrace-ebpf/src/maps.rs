//! The kernel side's data: its kinds, its sizes, and the behaviour of each when it is full.
//!
//! | map | holds | when full |
//! | --- | --- | --- |
//! | `SETS`, `SLOTS`, `OUTERS` | attempts, [`WAYS`] a set | its oldest settled attempt goes, else its oldest, counted |
//! | `COUNTERS` | counters | they wrap |
//! | `ACCOUNTS` | each CPU's accounts of listeners | the listener that opens more attempts that lead nowhere stays |
//! | `PRESSURE` | the sum of what a CPU lets in | accounts become coarser |
//! | `EVENTS` | transitions worth telling | the event is counted as lost, by kind |
//! | `PACKETS` | the packets of attempts, if evidence is asked for | the packet is counted as lost |
//! | `FILTER` | the filter, a test an entry | a filter that does not fit stays in userspace |
//!
//! The maps of what the host knows beside the packets are in `sockets` and `dropped`.
//!
//! Sizes are set at loading, as is all of [`config`]. Each subject has a module.
#![expect(unsafe_code, reason = "helpers and assembly")]

mod accounts;
mod config;
mod events;
mod table;
mod version;

use core::arch::asm;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use tcptrace_core::handshake::Nanos;

pub(crate) use self::{
    accounts::{admit, drop_waiting_notes, note_opening, settle, waiting_notes},
    config::{CONFIG, config, hash_key, looks_into_tunnels, wants},
    events::{Trigger, WholePacket, count, count_unmatched, keep, tell, tell_replaced},
    table::{LockedSet, SetRef, set_of},
    version::{begin, end},
};

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h): userspace reads the table without a system call an entry.
pub(crate) const MMAPABLE: u32 = 1 << 10;

#[inline(always)]
pub(crate) fn now() -> Nanos {
    // SAFETY: a helper without arguments.
    Nanos(unsafe { bpf_ktime_get_ns() })
}

/// A number that the verifier knows nothing of any more; `unknown` is one that it never knew anything of.
#[inline(always)]
pub(crate) fn forget(number: usize, unknown: usize) -> usize {
    let mut forgotten = number;
    // SAFETY: two operations on a register that undo each other.
    unsafe { asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) forgotten, in(reg) unknown, options(pure, nomem, nostack)) };
    forgotten
}
