//! An array of the kernel's, mapped: reading it costs no system call.
#![expect(unsafe_code, reason = "memory shared with the kernel is mapped and read in place")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::NonNull,
    slice,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed},
        fence,
    },
};

use aya::maps::{MapData, MapError};
use tcptrace_core::connect;

/// Tries to read a record whole.
const TRIES: usize = 8;

/// A map's memory, read-only and shared.
pub struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is read through atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps an array of `T`.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new<T>(map: &MapData) -> Result<Self, MapError> {
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

    /// The memory, as words that others write.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for as long as `self` lives, aligned to a page; others write it, hence the atomics.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// A record of `OCTETS`, whole, of an array of records that begin with their version: odd while it is written.
    /// `None` where it is being written at every try.
    #[must_use]
    pub fn record<const OCTETS: usize>(&self, index: usize) -> Option<[u8; OCTETS]> {
        let words = &self.words()[index * (OCTETS / 8)..][..OCTETS / 8];
        for _ in 0..TRIES {
            let version = words[0].load(Acquire);
            let octets = copy(words);
            fence(Acquire);
            if version & 1 == 0 && words[0].load(Relaxed) == version {
                return Some(octets);
            }
        }
        None
    }

    /// The same of records that begin with the sum of their other words.
    #[must_use]
    pub fn summed<const OCTETS: usize>(&self, index: usize) -> Option<[u8; OCTETS]> {
        let words = &self.words()[index * (OCTETS / 8)..][..OCTETS / 8];
        (0..TRIES).map(|_| copy(words)).find(|octets| {
            let mut words = octets.chunks_exact(8).map(|it| u64::from_ne_bytes(it.try_into().expect("eight")));
            let sum = words.next();
            sum == Some(connect::sum(words))
        })
    }
}

fn copy<const OCTETS: usize>(words: &[AtomicU64]) -> [u8; OCTETS] {
    let mut octets = [0; OCTETS];
    for (to, from) in octets.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&from.load(Relaxed).to_ne_bytes());
    }
    octets
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the very mapping that `new` made.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}
