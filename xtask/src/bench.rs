//! `bench`: what a packet costs, in the kernel and beside its rivals. Arguments go to the benchmark.
//!
//! It sets no limits: the goals stand in the benchmark itself.

use anyhow::Result;

use crate::{
    build,
    process::{self, command},
    root,
};

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut bench = command("cargo bench -p tcptrace-tests --bench packet --");
    bench.args(args).env(build::BINARY, build::binary()?);
    root::runs_as_root(&mut bench)?;
    process::run(&mut bench)
}
