//! Puts the kernel object where `live` embeds it: the committed one, or the one that TCPTRACE_BPF names.
//!
//! It builds none: `cargo xtask build` does, where the kernel programs changed.

mod embed;
mod prebuilt;

use std::path::Path;

fn main() {
    embed::embed("tcptrace-bpf", &Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
}
