//! Where the workspace lies, and where what is built goes.

use std::{
    env, io,
    path::{self, Path, PathBuf},
};

use anyhow::{Context as _, Result};

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
