//! The compiler and linker of static binaries: zig, by cargo-zigbuild, in a folder of the project's.
//!
//! zstd is C. Debian's musl-tools compile it for the machine's own architecture only; zig does for both.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    folders,
    need::{Need, Source, supply_unless_answered},
    object,
    process::{self, ask, command},
};

/// What pip installs: another compiler makes other bytes.
const PINNED: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

/// zig, there and ready.
pub(super) struct Zig {
    folder: PathBuf,
}

/// Installs what is missing, into `target/tools`.
pub(super) fn supply() -> Result<Zig> {
    let folder = folders::target()?.join("tools").join(PINNED.join("-").replace("==", "-"));
    if !folder.join("ziglang/zig").is_file() {
        supply_unless_answered("python3 -m pip --version", &PIP)?;
        let unfinished = folder.with_file_name("unfinished");
        // An earlier try may have left half of it there.
        let _ = fs::remove_dir_all(&unfinished);
        eprintln!("missing here: zig, which compiles and links static binaries; it goes into {}", folder.display());
        let mut pip = command("python3 -m pip install --quiet --target");
        process::run(pip.arg(&unfinished).args(PINNED))?;
        fs::rename(&unfinished, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(Zig { folder })
}

impl Zig {
    /// The folder of the C library that is linked.
    pub(super) fn musl(&self) -> PathBuf {
        self.folder.join("ziglang/lib/libc/musl")
    }

    /// Builds the program for a target, with these settings of cargo's; the path of the binary.
    pub(super) fn build(&self, target: &'static str, settings: &[&str]) -> Result<PathBuf> {
        if !has_std(target)? {
            ensure!(process::exists("rustup"), "this rustc has no std for {target}, and there is no rustup to add it");
            process::run(&mut command(&format!("rustup target add {target}")))?;
        }
        // Beside other builds, whose settings are not these.
        let folder = folders::target()?.join("static");
        let mut cargo = Command::new(self.folder.join("bin/cargo-zigbuild"));
        cargo.args(["zigbuild", "--release", "--locked", "--package", "tcptrace-user", "--bin", "tcptrace"]);
        cargo.args(["--target", target, "--target-dir"]).arg(&folder).current_dir(folders::workspace());
        cargo.args(settings.iter().flat_map(|setting| ["--config", setting]));
        cargo.env("CARGO_ZIGBUILD_ZIG_PATH", self.folder.join("ziglang/zig"));
        cargo.env("CARGO_ENCODED_RUSTFLAGS", object::remapped(folders::workspace())?.join("\x1f"));
        process::run(&mut cargo)?;
        Ok(folder.join(target).join("release/tcptrace"))
    }
}

fn has_std(target: &str) -> Result<bool> {
    let folder = ask(&format!("rustc --print target-libdir --target {target}"));
    let folder = folder.with_context(|| format!("this rustc knows no target {target}"))?;
    Ok(Path::new(folder.trim()).is_dir())
}

static PIP: Need = Need {
    what: "pip",
    why: "brings zig, which compiles and links static binaries",
    from: Source::Packages(&["python3-pip"]),
};
