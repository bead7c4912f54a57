//! `reproduce`: builds the last commit twice, in two folders, and compares object and binary byte by byte.
//!
//! It proves something only about this machine's tools; `.origin` beside the object names those that made the committed one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    folders, object,
    prebuilt::ALL,
    process::{self, command},
    setup,
    toolchain::Toolchain,
};

pub(crate) fn run() -> Result<()> {
    let toolchain = setup::bpf_toolchain()?;
    let base = folders::target()?.join("reproduce");
    // Of different depth and length: both show in what keeps a path.
    let [first, second] = ["a", "b/deeper"].map(|folder| base.join(folder));
    let (first, second) = (built(&first, &toolchain)?, built(&second, &toolchain)?);
    for ((name, one), (_, other)) in first.iter().zip(&second) {
        ensure!(one == other, "{name}: two builds of one commit differ; they are kept in {}", base.display());
        println!("{name}: {} bytes, sha256 {}, twice the same", one.len(), object::digest(one));
    }
    fs::remove_dir_all(&base).with_context(|| format!("cannot remove {}", base.display()))
}

/// The objects and the binary of the last commit, built from nothing in a folder.
fn built(folder: &Path, toolchain: &Toolchain) -> Result<Vec<(&'static str, Vec<u8>)>> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    process::run(command("git clone --quiet").arg(folders::workspace()).arg(folder))?;
    let target = folder.join("target");
    let mut all = Vec::new();
    for object in ALL {
        all.push((object.name, object::made(&object, toolchain, folder, &target)?));
    }
    let mut cargo = command("cargo build --quiet --release --locked --package tcptrace-user");
    cargo.arg("--target-dir").arg(&target).current_dir(folder);
    process::run(cargo.env("CARGO_ENCODED_RUSTFLAGS", object::remapped(folder)?.join("\x1f")))?;
    let binary: PathBuf = target.join("release/tcptrace");
    all.push(("tcptrace", fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?));
    Ok(all)
}
