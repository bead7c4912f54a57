//! Random numbers that nobody outside can guess.
//!
//! An attacker who chooses addresses must not know where they fall in a table, so its hash takes a random key. It comes
//! from a system call: an empty root has no /dev/urandom.
//! <https://man7.org/linux/man-pages/man2/getrandom.2.html>

use std::io;

use tcptrace_core::flow::HashKey;

/// A new random key.
///
/// # Errors
/// If the kernel gives no random numbers: a filter of system calls that refuses getrandom(2), and no /dev/urandom.
pub(crate) fn hash_key() -> io::Result<HashKey> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| io::Error::other(format!("no random numbers for the key of a table (getrandom): {error}")))?;
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
