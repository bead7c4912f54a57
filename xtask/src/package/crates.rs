//! The crates of the last commit as a registry would have them: packed, unpacked and built from that, with no compiler
//! for BPF on PATH.
//!
//! It publishes nothing.

use std::{env, ffi::OsString, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    folders, object,
    prebuilt::ALL,
    process::{self, ask, command},
};

/// The core alone is not to be published yet; the others get it from its own package.
const CORE: &str = "tcptrace-ebpf";
const OTHERS: [&str; 6] = [
    "tcptrace-capture",
    "tcptrace-filter",
    "tcptrace-report",
    "tcptrace-verdict",
    "tcptrace-vocabulary",
    "tcptrace-user",
];

pub(super) fn check() -> Result<()> {
    let folder = folders::target()?.join("crates");
    // Cargo writes into the lock file that a patch is not used, so this is not done in the workspace itself.
    let source = folder.join("source");
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("cannot empty {}", source.display()))?;
    }
    process::run(command("git clone --quiet").arg(folders::workspace()).arg(&source))?;
    let package = |cargo: &mut Command| {
        cargo.arg("--target-dir").arg(&folder).current_dir(&source);
        // Stable, whatever this workspace's configuration allows its own crates.
        cargo.env("RUSTC_BOOTSTRAP", "-1").env("PATH", path_without_bpf()?);
        process::run(cargo)
    };
    let line = "cargo package --quiet --allow-dirty";
    package(command(line).args(["--package", CORE]))?;
    let packed = folder.join(format!("package/{CORE}-{}", env!("CARGO_PKG_VERSION")));
    let mut others = command(line);
    others.arg("--config").arg(format!("patch.crates-io.{CORE}.path='{}'", packed.display()));
    package(others.args(OTHERS.iter().flat_map(|name| ["--package", name])))?;
    version(&folder)
}

/// What was built from the packages names the committed object and the commit.
fn version(folder: &Path) -> Result<()> {
    let told = process::output(Command::new(folder.join("debug/tcptrace")).args(["--version", "-v"]))?;
    let digest = object::digest(&fs::read(ALL[0].file(folders::workspace()))?);
    let commit = ask("git rev-parse HEAD").context("`git rev-parse HEAD` failed")?;
    for part in [digest.as_str(), commit.trim()] {
        ensure!(told.contains(part), "no {part} in:\n{told}");
    }
    Ok(())
}

/// This PATH without folders that have bpf-linker, and with the toolchain's own cargo before rustup's.
fn path_without_bpf() -> Result<OsString> {
    let sysroot = ask("rustc --print sysroot").context("`rustc --print sysroot` failed")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let others = env::split_paths(&path).filter(|folder| !folder.join("bpf-linker").exists());
    Ok(env::join_paths([Path::new(sysroot.trim()).join("bin")].into_iter().chain(others))?)
}
