//! Builds the driver, the kernel programs that make packets, and leaves the object in OUT_DIR.

#[path = "../tcptrace-user/build/toolchain.rs"]
mod toolchain;

use anyhow::Result;
use aya_build::{Package, Toolchain};

fn main() -> Result<()> {
    let toolchain = toolchain::choose()?;
    aya_build::build_ebpf(
        [Package { name: "tcptrace-tests-bpf", root_dir: "bpf", ..Package::default() }],
        Toolchain::Custom(&toolchain),
    )
}
