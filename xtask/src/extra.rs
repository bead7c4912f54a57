//! `extra`: what takes large downloads, guests or long runs, and is therefore no part of `test`.
//!
//! It runs before an issue is called resolved, and by hand after a change of what its parts cover. All parts run, also
//! when one fails.

use anyhow::{Result, ensure};

use crate::{fuzz, kernels, mutants, package};

/// For each fuzz target: long enough for what a change of a parser breaks at once. `fuzz` alone looks for longer.
const FUZZ_SECONDS: &str = "60";

pub(crate) fn run() -> Result<()> {
    let results = [
        ("kernels", kernels::run()),
        ("package", package::run(true)),
        ("fuzz", fuzz::run(&[FUZZ_SECONDS.to_owned()])),
        ("mutants", mutants::sample()),
    ];
    let mut failed = Vec::new();
    for (name, result) in results {
        if let Err(error) = result {
            println!("{name}: FAILED: {error:#}");
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(" and "));
    println!("extra: ok");
    Ok(())
}
