//! The object with the kernel programs, as this binary carries it: its bytes, its digest, its programs by name.
//!
//! `kernel` loads it. All that is said about it here is read from these very bytes.

use aya_obj::Object;
use sha2::{Digest as _, Sha256};

/// The object that build.rs took from tcptrace-ebpf.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-bpf"));

/// The object's SHA-256, in hexadecimal digits.
#[must_use]
pub fn sha256() -> String {
    Sha256::digest(OBJECT).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names of the object's programs, in alphabetical order.
#[must_use]
pub fn programs() -> Vec<String> {
    let object = Object::parse(OBJECT).expect("the embedded object can be read");
    let mut names: Vec<_> = object.programs.into_keys().collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use tcptrace_core::hooks::Program;

    use super::*;

    #[test]
    fn every_program_of_the_table_is_there() {
        let programs = programs();
        for program in Program::ALL {
            assert!(programs.iter().any(|name| name == program.name()), "{}: {programs:?}", program.name());
        }
    }
}
