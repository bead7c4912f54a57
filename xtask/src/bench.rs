//! `bench`: what a packet costs in the kernel, above an empty program; and what reading a capture costs, beside tcpdump
//! and tshark. Arguments go to the first; with a word that chooses rows there is no second.
//!
//! It sets no limits: the goals stand in the benchmark itself.

use anyhow::Result;

use crate::{
    build,
    process::{self, command},
    root,
};

pub(crate) fn run(args: &[String]) -> Result<()> {
    let binary = build::binary()?;
    let mut packet = command("cargo bench -p tcptrace-tests --bench packet --");
    packet.args(args).env(build::BINARY, &binary);
    root::runs_as_root(&mut packet)?;
    process::run(&mut packet)?;
    if !args.is_empty() {
        return Ok(());
    }
    process::run(command("cargo bench -p tcptrace-tests --bench capture").env(build::BINARY, &binary))
}
