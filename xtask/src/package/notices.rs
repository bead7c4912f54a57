//! The licences of what is linked into a static binary: every crate, zstd's C, musl, and Rust's own library.
//!
//! Their texts come from the folders that were built; a text that several share is there once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    folders,
    process::{self, ask, command},
};

/// How the names of files with a licence begin.
const NAMES: [&str; 6] = ["licen", "unlicense", "copying", "copyright", "notice", "mit"];

/// All of it, for one target: each text, after the names of those that it covers.
pub(super) fn text(target: &str, musl: &Path) -> Result<String> {
    let mut holders = BTreeMap::<String, BTreeSet<String>>::new();
    let mut add = |name: &str, folder: &Path| -> Result<()> {
        for file in licences(folder)? {
            let text = String::from_utf8_lossy(&fs::read(&file)?).trim().to_owned();
            holders.entry(text).or_default().insert(name.to_owned());
        }
        Ok(())
    };
    for (name, folder) in linked(target)? {
        add(&name, &folder)?;
        // zstd-sys carries the C library in a folder of its own.
        if folder.join("zstd").is_dir() {
            add("zstd (C)", &folder.join("zstd"))?;
        }
    }
    add("musl", musl)?;
    let sysroot = ask("rustc --print sysroot").context("`rustc --print sysroot` failed")?;
    add("Rust's standard library", &Path::new(sysroot.trim()).join("share/doc/rust/licenses"))?;
    let parts = holders.iter().map(|(text, names)| {
        let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("{names}\n{}\n\n{text}\n", "-".repeat(72))
    });
    Ok(parts.collect::<Vec<_>>().join("\n\n"))
}

/// The crates that a target's binary is made of, with the licence that each names, and their folders.
fn linked(target: &str) -> Result<Vec<(String, PathBuf)>> {
    let line = "cargo tree --package tcptrace-user --edges normal --no-dedupe --prefix none --format";
    let tree = process::output(command(line).args(["{p}", "--target", target]).current_dir(folders::workspace()))?;
    let words = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ").replacen(" v", " ", 1);
    let used = tree.lines().map(words).collect::<BTreeSet<_>>();
    let line = format!("cargo metadata --format-version 1 --filter-platform {target}");
    let metadata = ask(&line).with_context(|| format!("`{line}` failed"))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo's metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo's metadata has no packages")?;
    Ok(packages.iter().filter_map(|package| entry(package, &used)).collect())
}

/// A package of cargo's metadata that is in use: its name, version and licence, and its folder.
fn entry(package: &Value, used: &BTreeSet<String>) -> Option<(String, PathBuf)> {
    let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
    if !used.contains(&name) {
        return None;
    }
    let licence = package["license"].as_str().unwrap_or("see the text");
    Some((format!("{name} ({licence})"), Path::new(package["manifest_path"].as_str()?).parent()?.to_owned()))
}

fn licences(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && NAMES.iter().any(|beginning| name.starts_with(beginning)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
