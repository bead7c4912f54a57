//! Builds the kernel programs with aya-build and leaves the object in OUT_DIR, where `live` embeds it.

mod toolchain;

use anyhow::Result;
use aya_build::{Package, Toolchain};

fn main() -> Result<()> {
    let toolchain = toolchain::choose()?;
    aya_build::build_ebpf(
        [Package { name: "tcptrace-ebpf", root_dir: "../tcptrace-ebpf", ..Package::default() }],
        Toolchain::Custom(&toolchain),
    )
}
