//! `demo`: tcptrace at work on failures made on purpose, in namespaces that disappear afterwards.
//!
//! The failures are in the tests crate: nothing is shown here that is not also tested.

use anyhow::Result;

use crate::{
    build,
    process::{self, command},
    root,
};

pub(crate) fn run() -> Result<()> {
    let mut demo = command("cargo run --release -p tcptrace-tests --bin demo");
    demo.env(build::BINARY, build::binary()?);
    root::runs_as_root(&mut demo)?;
    process::run(&mut demo)
}
