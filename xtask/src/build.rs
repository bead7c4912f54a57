//! `build`: the release binary, with the kernel programs inside. For the other commands: the same, and where it is.
//!
//! It does not build the kernel programs by itself: tcptrace-user's build script does, so that plain cargo works too.

use std::{
    env, io,
    path::{self, Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    process::{self, command},
    setup,
};

/// The variable in which tests, demo and benches find the binary.
pub(crate) const BINARY: &str = "TCPTRACE_BIN";

pub(crate) fn run() -> Result<()> {
    println!("{}", binary()?.display());
    Ok(())
}

/// Builds the release binary; its absolute path.
pub(crate) fn binary() -> Result<PathBuf> {
    setup::bpf_toolchain()?;
    process::run(&mut command("cargo build --release -p tcptrace-user"))?;
    Ok(target()?.join("release/tcptrace"))
}

/// The folder of all that is built, downloaded or unpacked.
pub(crate) fn target() -> Result<PathBuf> {
    target_directory().context("no current directory, so the target folder's path is not known")
}

/// The workspace's root.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

fn target_directory() -> io::Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => path::absolute(directory),
        None => Ok(workspace().join("target")),
    }
}
