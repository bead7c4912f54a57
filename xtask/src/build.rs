//! `build`: the release binary, with the kernel programs inside. For the other commands: the same, and where it is.
//!
//! The kernel programs are committed as an object, and built anew only where their sources changed (`object`).

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    folders, object,
    process::{self, command},
};

/// The variable in which tests, demo and benches find the binary.
pub(crate) const BINARY: &str = "TCPTRACE_BIN";

pub(crate) fn run() -> Result<()> {
    println!("{}", binary()?.display());
    Ok(())
}

/// Builds the release binary; its absolute path.
pub(crate) fn binary() -> Result<PathBuf> {
    object::refresh()?;
    process::run(&mut command("cargo build --release -p tcptrace-user"))?;
    Ok(folders::target()?.join("release/tcptrace"))
}
