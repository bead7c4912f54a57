//! Puts a committed BPF object where the code embeds it. The build scripts of `tcptrace-user` and of `tests` share this file.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::exit,
};

use crate::prebuilt::ALL;

/// Names another object for the tool than the committed one.
const OVERRIDE: &str = "TCPTRACE_BPF";

/// Copies the object into OUT_DIR. Where the sources are at hand and have changed since it was built, that is an error:
/// a tool with other programs than its sources say would be found out by nobody.
pub(crate) fn embed(name: &str, workspace: &Path) {
    if let Err(error) = copy(name, workspace) {
        eprintln!("error: {error}");
        exit(1);
    }
}

fn copy(name: &str, workspace: &Path) -> Result<(), String> {
    let object = ALL.iter().find(|object| object.name == name).ok_or("there is no such object")?;
    println!("cargo:rerun-if-env-changed={OVERRIDE}");
    let named = env::var_os(OVERRIDE).filter(|_| *object == ALL[0]).map(PathBuf::from);
    let file = named.clone().unwrap_or_else(|| object.file(workspace));
    for path in [&file, &object.origin(workspace), &workspace.join(object.source)] {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    for name in ["Cargo.lock", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", workspace.join(name).display());
    }
    // A published package has no sources of the kernel programs beside it.
    if named.is_none() && workspace.join(object.source).join("src").exists() {
        let is_current = object.is_current(workspace).map_err(|error| format!("cannot read the sources: {error}"))?;
        if !is_current {
            return Err(format!(
                "{}/{name}.o is not what {} makes now; `cargo xtask build` builds it anew",
                object.folder, object.source
            ));
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join(object.name);
    fs::copy(&file, &out).map_err(|error| format!("cannot copy {}: {error}", file.display()))?;
    Ok(())
}
