//! `check`: what can be said about the code without running it: format, lints, documentation, generated files, arrows
//! between rooms, dependencies.
//!
//! The kernel programs are linted by their own compiler, with the flags by which they are compiled: the host's
//! clippy sees an empty `main` there. Nothing is fixed here.

use std::env;

use anyhow::Result;

use crate::{
    arrows, folders, generated,
    need::{Need, Source, supply_unless_answered},
    object,
    process::{self, command},
    setup,
    toolchain::Toolchain,
};

pub(crate) fn run() -> Result<()> {
    let toolchain = setup::bpf_toolchain()?;
    supply_unless_answered("cargo fmt --version", &RUSTFMT)?;
    supply_unless_answered("cargo clippy --version", &CLIPPY)?;
    supply_unless_answered("cargo deny --version", &DENY)?;

    process::run(&mut command("cargo fmt --all --check"))?;
    process::run(&mut command("cargo clippy --workspace --all-targets -- -D warnings"))?;
    kernel_programs(&toolchain)?;
    process::run(command("cargo doc --no-deps --workspace").env("RUSTDOCFLAGS", "-Dwarnings"))?;
    generated::check()?;
    object::check(&toolchain)?;
    arrows::run(true)?;
    dependencies()
}

fn kernel_programs(toolchain: &Toolchain) -> Result<()> {
    let clippy = format!("{}cargo clippy", object::rustup(toolchain));
    match toolchain {
        Toolchain::Debian => supply_unless_answered(&format!("{clippy} --version"), &CLIPPY_DEBIAN)?,
        Toolchain::Nightly => supply_unless_answered(&format!("{clippy} --version"), &CLIPPY_NIGHTLY)?,
        Toolchain::Named(_) => {}
    }
    let core = object::core(toolchain)?;
    process::run(
        command(&format!(
            "{clippy} -p tcptrace-ebpf -p tcptrace-tests-bpf --bins --release --target bpfel-unknown-none {core}"
        ))
        .args(["--", "-D", "warnings"])
        .env("RUSTFLAGS", object::ARCH),
    )
}

/// Advisories come from the network: a gate that depends on it fails for reasons that are not in the change.
fn dependencies() -> Result<()> {
    let deny = |line| process::run(command(line).current_dir(folders::workspace()));
    deny("cargo deny check bans licenses sources")?;
    if env::var_os("CI").is_some() {
        eprintln!("advisories skipped: CI is set, and their database is fetched from the network");
        return Ok(());
    }
    if let Err(error) = deny("cargo deny fetch db") {
        eprintln!("advisories skipped: their database cannot be fetched: {error:#}");
        return Ok(());
    }
    deny("cargo deny check --disable-fetch advisories")
}

static RUSTFMT: Need =
    Need { what: "rustfmt", why: "checks the format", from: Source::Command("rustup component add rustfmt") };

static CLIPPY: Need =
    Need { what: "clippy", why: "lints what runs on the host", from: Source::Command("rustup component add clippy") };

static CLIPPY_DEBIAN: Need = Need {
    what: "clippy for Debian's compiler",
    why: "lints the kernel programs",
    from: Source::Packages(&["rust-web-clippy"]),
};

static CLIPPY_NIGHTLY: Need = Need {
    what: "clippy for nightly",
    why: "lints the kernel programs",
    from: Source::Command("rustup component add clippy --toolchain nightly"),
};

static DENY: Need = Need {
    what: "cargo-deny 0.20.2",
    why: "checks the licences and origins of dependencies",
    from: Source::Command("cargo install cargo-deny --version 0.20.2 --locked"),
};
