//! Chooses the compiler for BPF. The build scripts of `tcptrace-user` and of `tests` share it.

use std::{env, process::Command};

use anyhow::{Result, bail};

/// The name under which xtask links Debian's compiler, which ships `core` for BPF, into rustup.
const DEBIAN: &str = "debian-bpf";

/// `TCPTRACE_BPF_TOOLCHAIN`, else Debian's compiler if linked, else a nightly that has `rust-src`.
pub(crate) fn choose() -> Result<String> {
    println!("cargo:rerun-if-env-changed=TCPTRACE_BPF_TOOLCHAIN");
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
    if components.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains("rust-src")) {
        return Ok("nightly".to_owned());
    }
    bail!(
        "no compiler for BPF: `cargo xtask setup` installs one, or `rustup toolchain install nightly --component rust-src`"
    )
}
