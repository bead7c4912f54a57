//! Puts the kernel object where `live` embeds it: the committed one, or the one that TCPTRACE_BPF names. Says for
//! `--version -v` what is built: the commit and the target.
//!
//! It builds no object: `cargo xtask build` does, where the kernel programs changed.

mod commit;
mod embed;
mod prebuilt;

use std::{env, path::Path};

fn main() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    embed::embed("tcptrace-bpf", package);
    commit::publish(package);
    println!("cargo:rustc-env=TCPTRACE_TARGET={}", env::var("TARGET").unwrap_or_default());
}
