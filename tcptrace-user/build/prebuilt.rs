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

    /// Its own digest, that of its sources, and the tools that made it, a line each.
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
        Ok(hex(&hash.finalize()))
    }

    /// Whether the committed object is the one that its origin names, and made of the sources as they are now.
    pub(crate) fn is_current(&self, workspace: &Path) -> io::Result<bool> {
        let (file, origin) = (self.file(workspace), self.origin(workspace));
        if !file.exists() || !origin.exists() {
            return Ok(false);
        }
        let origin = fs::read_to_string(origin)?;
        let has = |line: String| origin.lines().any(|found| found == line);
        let object = hex(&Sha256::digest(fs::read(file)?));
        Ok(has(format!("object {object}")) && has(format!("sources {}", self.digest(workspace)?)))
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
