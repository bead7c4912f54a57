//! `setup`: looks for a compiler and a linker for BPF, supplies what is missing, and says which compiler it is.
//!
//! The choice itself is `toolchain`'s. Elsewhere than on Debian it installs nothing: it says what to run.

use std::env;

use anyhow::{Result, ensure};

use crate::{
    debian::{self, System},
    need,
    process::{ask, exists},
    toolchain::{self, COMPILER, LLVM, Machine, Toolchain},
};

pub(crate) fn run() -> Result<()> {
    bpf_toolchain().map(drop)
}

/// The compiler for BPF, there and ready.
pub(crate) fn bpf_toolchain() -> Result<Toolchain> {
    let (toolchain, needs) = toolchain::choose(&look())?;
    if !needs.is_empty() {
        need::supply(&needs)?;
        let (_, still) = toolchain::choose(&look())?;
        let names = still.iter().map(|need| need.what).collect::<Vec<_>>().join(", ");
        ensure!(still.is_empty(), "installed, yet not found: {names}; is cargo's bin directory first on PATH?");
    }
    eprintln!("BPF compiler: {} ({})", toolchain.name(), toolchain.reason());
    Ok(toolchain)
}

fn look() -> Machine {
    let rustup_list = ask("rustup toolchain list");
    let toolchains = rustup_list.as_deref().unwrap_or_default();
    let has = |name: &str| toolchains.lines().any(|line| line.split(' ').next() == Some(name));
    let rust_src = || ask("rustup component list --installed --toolchain nightly");
    Machine {
        named: env::var(toolchain::OVERRIDE).ok(),
        packaged: packaged(),
        c_compiler: exists("cc"),
        compiler: debian::installed(COMPILER.packages()),
        linked: has(toolchain::DEBIAN),
        llvm: debian::installed(LLVM.packages()),
        rustup: rustup_list.is_some(),
        rust_src: toolchains.contains("nightly") && rust_src().is_some_and(|list| list.contains("rust-src")),
        linker: ask("bpf-linker --version").as_deref().and_then(toolchain::linker_version),
    }
}

/// On Debian 12 lists that lack the packages are only old. Elsewhere only the lists can tell whether they exist.
fn packaged() -> bool {
    match System::here() {
        System::Bookworm => true,
        System::Relative => debian::available(COMPILER.packages()) && debian::available(LLVM.packages()),
        System::Other => false,
    }
}
