//! Builds the kernel programs with aya-build and leaves the object in OUT_DIR, where `live` embeds it.

use std::{env, process::Command};

use anyhow::{Result, bail};
use aya_build::{Package, Toolchain};

/// The name under which xtask links Debian's compiler, which ships `core` for BPF, into rustup.
const DEBIAN: &str = "debian-bpf";

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=TCPTRACE_BPF_TOOLCHAIN");
    let toolchain = toolchain()?;
    aya_build::build_ebpf(
        [Package { name: "tcptrace-ebpf", root_dir: "../tcptrace-ebpf", ..Package::default() }],
        Toolchain::Custom(&toolchain),
    )
}

/// `TCPTRACE_BPF_TOOLCHAIN`, else Debian's compiler if linked, else a nightly that has `rust-src`.
fn toolchain() -> Result<String> {
    if let Ok(named) = env::var("TCPTRACE_BPF_TOOLCHAIN") {
        return Ok(named);
    }
    let Ok(list) = Command::new("rustup").args(["toolchain", "list"]).output() else {
        return Ok(DEBIAN.to_owned()); // no rustup: aya-build uses the cargo on PATH
    };
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    if list.lines().any(|line| line.starts_with(DEBIAN)) {
        return Ok(DEBIAN.to_owned());
    }
    let components =
        Command::new("rustup").args(["component", "list", "--installed", "--toolchain", "nightly"]).output();
    if components.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("rust-src")) {
        return Ok("nightly".to_owned());
    }
    bail!(
        "no compiler for BPF: `cargo xtask setup` installs one, or `rustup toolchain install nightly --component rust-src`"
    )
}
