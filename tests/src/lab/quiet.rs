//! Keeping floods away from tests that they would disturb, among all test programs of the machine.
//!
//! Drops are noted for the whole machine, and a flood's drops take the places and the budget of others that nobody
//! follows (`tcptrace_core::drops`). A test that rests on such a drop stays quiet; a flood waits until nobody does.

use std::{env, fs::File};

/// No flood runs until this is dropped, or its process ends.
#[derive(Debug)]
pub struct Quiet {
    _locked: File,
}

impl Quiet {
    /// Waits until no flood runs. Others may be quiet at the same time.
    #[must_use]
    pub fn begin() -> Self {
        Self { _locked: locked(File::lock_shared) }
    }
}

/// A flood of real packets: while it lasts, nobody is quiet. Benches and the demo run alone and need none.
#[derive(Debug)]
pub struct Noise {
    _locked: File,
}

impl Noise {
    /// Waits until nobody is quiet, and until no other flood runs.
    #[must_use]
    pub fn begin() -> Self {
        Self { _locked: locked(File::lock) }
    }
}

fn locked(lock: fn(&File) -> std::io::Result<()>) -> File {
    let path = env::temp_dir().join("tcptrace-lab-quiet");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.unwrap_or_else(|error| panic!("cannot open '{}': {error}", path.display()));
    lock(&file).unwrap_or_else(|error| panic!("cannot lock '{}': {error}", path.display()));
    file
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_flood_waits_until_nobody_is_quiet() {
        let (first, second) = (Quiet::begin(), Quiet::begin());
        let is_loud = AtomicBool::new(false);
        thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let _noise = Noise::begin();
                is_loud.store(true, Ordering::SeqCst);
            });
            drop(first);
            thread::yield_now();
            assert!(!is_loud.load(Ordering::SeqCst) && !flood.is_finished(), "one is quiet still");
            drop(second);
        });
        assert!(is_loud.into_inner());
    }
}
