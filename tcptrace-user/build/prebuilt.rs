//! The committed BPF objects: which there are, what they are made of, and whether they still are.
//!
//! The build scripts of `tcptrace-user` and of `tests` embed them, and `xtask` builds them: all three share this file. It
//! compiles nothing and runs nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// A BPF object that is committed, so that no user needs a compiler for BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// The package that it is built from.
    pub(crate) package: &'static str,
    /// The package's binary, and the object's name.
    pub(crate) name: &'static str,
    /// The package's folder.
    pub(crate) source: &'static str,
    /// The folder where it is committed.
    pub(crate) folder: &'static str,
}

/// What the tool loads, and what makes packets for benches and lab.
pub(crate) const ALL: [Object; 2] = [
    Object {
        package: "tcptrace-ebpf",
        name: "tcptrace-bpf",
        source: "tcptrace-ebpf",
        folder: "tcptrace-user/prebuilt",
    },
    Object { package: "tcptrace-tests-bpf", name: "tcptrace-driver", source: "tests/bpf", folder: "tests/prebuilt" },
];

/// Packages of the lock file that an object is made of, by the beginning of their names.
const LOCKED: [&str; 3] = ["aya-ebpf", "aya-log-common", "aya-log-ebpf"];

impl Object {
    /// The object.
    pub(crate) fn file(&self, workspace: &Path) -> PathBuf {
        workspace.join(self.folder).join(format!("{}.o", self.name))
    }

    /// What it was made of: the digest of its sources, then the tools.
    pub(crate) fn origin(&self, workspace: &Path) -> PathBuf {
        workspace.join(self.folder).join(format!("{}.origin", self.name))
    }

    /// The digest that its sources have now: source files and manifest, the packages that the lock file pins for it, and
    /// the profiles.
    pub(crate) fn digest(&self, workspace: &Path) -> io::Result<String> {
        let mut hash = Sha256::new();
        let mut add = |name: &str, content: &[u8]| {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(content);
        };
        let source = workspace.join(self.source);
        let mut files = vec![source.join("Cargo.toml")];
        list(&source.join("src"), &mut files)?;
        files.sort();
        for file in files {
            let name = file.strip_prefix(workspace).unwrap_or(&file).to_string_lossy().into_owned();
            add(&name, &fs::read(&file)?);
        }
        let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
        let is_used =
            |entry: &&str| LOCKED.iter().any(|name| entry.trim_start().starts_with(&format!("name = \"{name}")));
        for entry in lock.split("[[package]]").filter(is_used) {
            add("Cargo.lock", entry.trim().as_bytes());
        }
        let manifest = fs::read_to_string(workspace.join("Cargo.toml"))?;
        add("Cargo.toml", manifest.find("[profile").map_or("", |at| &manifest[at..]).as_bytes());
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digest of the sources that the committed object was made of; `None` where none is committed.
    pub(crate) fn recorded(&self, workspace: &Path) -> Option<String> {
        let origin = fs::read_to_string(self.origin(workspace)).ok()?;
        Some(origin.lines().find_map(|line| line.strip_prefix("sources "))?.to_owned())
    }

    /// Whether the committed object is made of the sources as they are now.
    pub(crate) fn is_current(&self, workspace: &Path) -> io::Result<bool> {
        Ok(self.file(workspace).exists() && self.recorded(workspace) == Some(self.digest(workspace)?))
    }
}

/// Adds the files below a folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
