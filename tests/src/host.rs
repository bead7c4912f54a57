//! Which machine it is: what a benchmark says beside its figures.

use std::fs;

use serde_json::{Value, json};

/// The processor's name.
#[must_use]
pub fn processor() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown processor".to_owned(), |(_, model)| model.to_owned())
}

/// The kernel's release.
#[must_use]
pub fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or("unknown".to_owned(), |it| it.trim().to_owned())
}

/// Both.
#[must_use]
pub fn json() -> Value {
    json!({ "processor": processor(), "kernel": kernel() })
}
