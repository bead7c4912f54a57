//! Versions: words that are odd while their structure is changed. A lock, and a way to read without one.
#![expect(unsafe_code, reason = "words of map values are shared with other CPUs")]

use core::{
    intrinsics,
    intrinsics::AtomicOrdering::SeqCst,
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

/// Begins to change what a version is part of, and the version while it is changed; `None`: another is at it. For
/// records that are worth less than to wait for.
///
/// # Safety
/// An aligned word of a map value.
#[inline(always)]
pub(crate) unsafe fn begin(version: *mut u64) -> Option<u64> {
    // SAFETY: the caller's; the version is read and exchanged whole.
    unsafe {
        let seen = ptr::read_volatile(version);
        (seen & 1 == 0 && exchange(version, seen, seen + 1)).then_some(seen + 1)
    }
}

/// Ends that.
///
/// # Safety
/// As above, and the version is what it was made when it began.
#[inline(always)]
pub(crate) unsafe fn end(version: *mut u64, held: u64) {
    // SAFETY: the caller's; nobody else changes the version while it is odd.
    unsafe {
        if cfg!(bpf_target_arch = "x86_64") {
            // The processor does not reorder stores; nor may the compiler.
            compiler_fence(Ordering::Release);
            version.write_volatile(held + 1);
        } else {
            exchange(version, held, held + 1);
        }
    }
}

/// Replaces `old` by `new`, and whether that is what was there. Ordered on every CPU against all before and after it.
#[inline(always)]
pub(super) unsafe fn exchange(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's: an aligned word of a map value.
    unsafe { intrinsics::atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, old, new).1 }
}
