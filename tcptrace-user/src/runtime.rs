//! The runtime of tokio: on the calling thread, and an error where tokio would panic.

use std::{io, os::unix::net::UnixStream};

use tokio::runtime::{Builder, Runtime};

/// Pairs of descriptors that a runtime and its signals take, and one to spare.
const PAIRS: usize = 4;

/// A runtime on the calling thread.
///
/// # Errors
/// When there are not enough descriptors left: tokio panics where it opens those for signals.
pub fn current_thread() -> io::Result<Runtime> {
    (0..PAIRS).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?;
    Builder::new_current_thread().enable_all().build()
}
