//! Puts a committed BPF object where the code embeds it. The build scripts of `tcptrace-user` and of `tests` share this file.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::exit,
};

use crate::prebuilt::{ALL, Object};

/// Names another object for the tool than the committed one.
const OVERRIDE: &str = "TCPTRACE_BPF";

/// Copies the object into OUT_DIR. Where the sources are at hand and have changed since it was built, that is an error:
/// a tool with other programs than its sources say would be found out by nobody.
pub(crate) fn embed(name: &str, package: &Path) {
    if let Err(error) = copy(name, package) {
        eprintln!("error: {error}");
        exit(1);
    }
}

fn copy(name: &str, package: &Path) -> Result<(), String> {
    let object = ALL.iter().find(|object| object.name == name).ok_or("there is no such object")?;
    println!("cargo:rerun-if-env-changed={OVERRIDE}");
    let named = env::var_os(OVERRIDE).filter(|_| *object == ALL[0]).map(PathBuf::from);
    // Not by the workspace: the folder of a published package has the version in its name.
    let file = named.clone().unwrap_or_else(|| package.join("prebuilt").join(format!("{name}.o")));
    println!("cargo:rerun-if-changed={}", file.display());
    let workspace = package.join("..");
    // A published package has no sources of the kernel programs beside it.
    if workspace.join(object.source).join("src").exists() {
        look_again(object, &workspace);
        if named.is_none() {
            hold_to_sources(object, &workspace)?;
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join(object.name);
    fs::copy(&file, &out).map_err(|error| format!("cannot copy {}: {error}", file.display()))?;
    Ok(())
}

/// Has cargo run the build script again when what the object is made of changes.
fn look_again(object: &Object, workspace: &Path) {
    let ours = [object.origin(workspace), workspace.join(object.source)];
    for path in ours.into_iter().chain(["Cargo.lock", "Cargo.toml"].map(|name| workspace.join(name))) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

fn hold_to_sources(object: &Object, workspace: &Path) -> Result<(), String> {
    let is_current = object.is_current(workspace).map_err(|error| format!("cannot read the sources: {error}"))?;
    if is_current {
        return Ok(());
    }
    Err(format!(
        "{}/{}.o is not what {} makes now; `cargo xtask build` builds it anew",
        object.folder, object.name, object.source
    ))
}
