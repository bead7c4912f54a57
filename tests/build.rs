//! Puts the driver, the kernel programs that make packets, where `tcptrace_tests::generator` embeds it.

#[path = "../tcptrace-user/build/embed.rs"]
mod embed;
#[path = "../tcptrace-user/build/prebuilt.rs"]
mod prebuilt;

use std::path::Path;

fn main() {
    embed::embed("tcptrace-driver", Path::new(env!("CARGO_MANIFEST_DIR")));
}
