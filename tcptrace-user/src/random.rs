//! Random numbers that nobody outside can guess.
//!
//! An attacker who chooses addresses must not know where they fall in a table, so its hash takes a random key.
//! <https://man7.org/linux/man-pages/man4/urandom.4.html>

use std::{fs::File, io, io::Read as _};

use tcptrace_core::flow::HashKey;

const SOURCE: &str = "/dev/urandom";

/// A new random key.
///
/// # Errors
/// If the kernel's source of random numbers cannot be read: a chroot or container without `/dev`, no free descriptor.
pub(crate) fn hash_key() -> io::Result<HashKey> {
    let mut bytes = [0; 16];
    File::open(SOURCE).and_then(|mut source| source.read_exact(&mut bytes)).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read {SOURCE}, for the key of a table: {error}"))
    })?;
    let bits = u128::from_ne_bytes(bytes);
    Ok(HashKey((bits >> 64) as u64, bits as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ() {
        let (one, other) = (hash_key().expect("a key"), hash_key().expect("a key"));
        assert!(one.0 != other.0 && one.1 != other.1);
    }
}
