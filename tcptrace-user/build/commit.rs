//! The commit that the program is built from, for `--version -v`: from git, or from what `cargo package` wrote down.
//!
//! It never fails a build: without either, the commit is "unknown".

use std::{fs, path::Path, process::Command};

/// What the program is built from, seen from the package. The build script watches all of it.
const BUILT_FROM: [&str; 4] = [".", "../tcptrace-ebpf", "../Cargo.toml", "../Cargo.lock"];

/// Says what the build script has to look at again: the commit moves without a change of this package's files, and a
/// change of a file makes the tree one that no commit has.
pub(crate) fn publish(package: &Path) {
    let packaged = fs::read_to_string(package.join(".cargo_vcs_info.json")).ok();
    let commit = packaged.as_deref().map_or_else(|| from_git(package), from_cargo);
    println!("cargo:rustc-env=TCPTRACE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit in the file that `cargo package` adds.
fn from_cargo(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("\"sha1\": \"")?;
    let (sha1, rest) = rest.split_once('"')?;
    Some(shown(sha1, rest.contains("\"dirty\": true")))
}

fn from_git(package: &Path) -> Option<String> {
    // A package that was unpacked inside somebody's repository is no part of it.
    git(package, &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    for name in ["HEAD", "logs/HEAD", "packed-refs"] {
        let file = git(package, &["rev-parse", "--git-path", name])?;
        // Cargo would run the script each time for a file that is not there.
        if package.join(&file).exists() {
            println!("cargo:rerun-if-changed={}", package.join(&file).display());
        }
    }
    println!("cargo:rerun-if-changed={}", package.display());
    let mut status = vec!["status", "--porcelain", "--untracked-files=no", "--"];
    status.extend(BUILT_FROM);
    let changes = git(package, &status)?;
    Some(shown(&git(package, &["rev-parse", "HEAD"])?, !changes.is_empty()))
}

fn shown(commit: &str, is_changed: bool) -> String {
    if is_changed { format!("{commit}, with changes") } else { commit.to_owned() }
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("--no-optional-locks").current_dir(folder).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
