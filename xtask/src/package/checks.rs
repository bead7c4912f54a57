//! `package --check`: the packages do what is promised of them, on this machine and on an emulated one.
//!
//! It builds none. All checks run, also when one fails.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{DOCUMENTS, NOTICES, Package, SUMS, crates, empty_root};
use crate::{
    folders, object,
    prebuilt::ALL,
    process::{self, command},
    test,
    unpacked::{Program, Tool},
};

pub(super) fn run(packages: &[Package], all: &Path) -> Result<()> {
    let mut failed = Vec::new();
    let mut note = |name: String, result: Result<()>| match result {
        Ok(()) => println!("{name}: ok"),
        Err(error) => {
            println!("{name}: FAILED: {error:#}");
            failed.push(name);
        }
    };
    note("the archives' sums".to_owned(), sums(all));
    for package in packages {
        for (what, check) in CHECKS {
            note(format!("{}: {what}", package.target), check(package));
        }
        for (what, check) in NATIVE {
            let name = format!("{}: {what}", package.target);
            match package.is_native()? {
                true => note(name, check(package)),
                false => println!("{name}: left out: an emulated program cannot show it"),
            }
        }
    }
    note("the crates from their packages".to_owned(), crates::check());
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    Ok(())
}

/// A check of one package, and its name.
type Check = (&'static str, fn(&Package) -> Result<()>);

const CHECKS: [Check; 4] = [
    ("its sums", |package| sums(&package.folder)),
    ("its files", files),
    ("--version -v", version),
    ("the offline suite", |package| suite(package, &["--test", "offline"])),
];

/// QEMU passes no BPF on, is not there in an empty root, and is too slow for the time limits of `diagnose`.
const NATIVE: [Check; 2] = [
    ("an empty root, live and offline", empty_root::check),
    // By real DNS servers, and nsswitch.conf.
    ("names, as programs of this host resolve them", |package| suite(package, &["--test", "probe", "names::"])),
];

fn sums(folder: &Path) -> Result<()> {
    process::run(command("sha256sum --check --strict --quiet").arg(SUMS).current_dir(folder))
}

/// Licences, a page for each command, and completions of which this machine's shell can read one.
fn files(package: &Package) -> Result<()> {
    let pages = ["tcptrace.1", "tcptrace-diagnose.1", "tcptrace-explain.1", "tcptrace-generate.1", "tcptrace-schema.1"];
    let pages = pages.map(|name| format!("share/man/man1/{name}"));
    let names = DOCUMENTS.into_iter().chain([NOTICES, BASH, ZSH, FISH]).chain(pages.iter().map(String::as_str));
    for name in names {
        let size = fs::metadata(package.folder.join(name)).with_context(|| format!("no {name}"))?.len();
        ensure!(size > 0, "{name} is empty");
    }
    process::run(command("bash -n").arg(package.folder.join(BASH)))
}

const BASH: &str = "share/bash-completion/completions/tcptrace";
const ZSH: &str = "share/zsh/site-functions/_tcptrace";
const FISH: &str = "share/fish/vendor_completions.d/tcptrace.fish";

/// It names the committed object, by the digest of the file itself.
fn version(package: &Package) -> Result<()> {
    let told = process::output(Command::new(runner(package)?).args(["--version", "-v"]))?;
    let digest = object::digest(&fs::read(ALL[0].file(folders::workspace()))?);
    let commit = process::ask("git rev-parse HEAD").context("`git rev-parse HEAD` failed")?;
    let lines =
        [format!("target: {}", package.target), format!("kernel object: sha256 {digest}"), commit.trim().to_owned()];
    for line in lines {
        ensure!(told.contains(&line), "no '{line}' in:\n{told}");
    }
    Ok(())
}

fn suite(package: &Package, tests: &[&str]) -> Result<()> {
    let arguments = [&["-p", "tcptrace-tests"], tests].concat();
    test::run_of(&runner(package)?, &arguments.into_iter().map(str::to_owned).collect::<Vec<_>>())
}

/// A program that runs the package's binary here: the binary itself, or a script that has QEMU run it.
fn runner(package: &Package) -> Result<PathBuf> {
    let binary = package.binary();
    if package.is_native()? {
        return Ok(binary);
    }
    let emulator = emulator(package.architecture)?;
    let script = folders::target()?.join("static").join(package.architecture);
    let line = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", emulator.display(), binary.display());
    fs::write(&script, line).with_context(|| format!("cannot write {}", script.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// QEMU's program for one architecture; static, so that it needs no libraries.
fn emulator(architecture: &str) -> Result<PathBuf> {
    let program = if architecture == "aarch64" { "qemu-aarch64-static" } else { "qemu-x86_64-static" };
    let tool = Tool { program, why: "runs the binary of another architecture", package: "qemu-user-static" };
    Ok(Program::supply(&tool, &folders::target()?.join("tools"))?.path)
}
