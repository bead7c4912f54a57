//! `fuzz`: runs the fuzz targets, each for a while, from the corpus that is kept in tests/fuzz/corpus.
//!
//! By hand, and in a short form in `extra`: its findings depend on how long it looks. It needs nightly, for the
//! sanitizer. New inputs that are worth keeping go to tests/fuzz/found and not into the repository's corpus, which
//! every test run reads; it says how to add them.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    need::{Need, Source, supply_unless_answered},
    process::{self, command},
};

const TARGETS: [&str; 4] = ["segment", "handshake", "capture", "filter"];
/// The time of each target.
const SECONDS: u32 = 600;

/// `fuzz [TARGET] [SECONDS]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    supply_unless_answered("rustc +nightly --version", &NIGHTLY)?;
    supply_unless_answered("cargo fuzz --version", &CARGO_FUZZ)?;
    let seconds = args.iter().find_map(|it| it.parse().ok()).unwrap_or(SECONDS);
    let named = |target: &&&str| args.iter().all(|it| it.parse::<u32>().is_ok() || it == **target);
    for target in TARGETS.iter().filter(named) {
        let found = format!("tests/fuzz/found/{target}");
        fs::create_dir_all(&found).with_context(|| format!("cannot make {found}"))?;
        let line =
            format!("cargo +nightly fuzz run --fuzz-dir tests/fuzz {target} {found} tests/fuzz/corpus/{target} --");
        let limits = [format!("-max_total_time={seconds}"), "-rss_limit_mb=1024".to_owned()];
        process::run(command(&line).args(limits)).with_context(|| format!("'{target}' was broken: see above"))?;
    }
    println!(
        "to keep of what was found what reaches further than the corpus, for each target: \
         cargo +nightly fuzz run --fuzz-dir tests/fuzz TARGET tests/fuzz/corpus/TARGET tests/fuzz/found/TARGET -- -merge=1"
    );
    Ok(())
}

static NIGHTLY: Need = Need {
    what: "nightly",
    why: "the sanitizer that the fuzzer looks through is nightly's",
    from: Source::Command("rustup toolchain install nightly --profile minimal"),
};

static CARGO_FUZZ: Need = Need {
    what: "cargo-fuzz",
    why: "builds and runs the fuzz targets",
    from: Source::Command("cargo install cargo-fuzz --version 0.13.2 --locked"),
};
