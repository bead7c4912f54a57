//! What diagnosis costs: `cargo xtask bench why`.
//!
//! `packets`: the programs that see packets, with the hooks of connect(2) and of drops beside them and without. `pairs`:
//! connections of the host itself, which pass those hooks. `failures`: ten thousand refused connects a second, told by a
//! tracer that has one core. `pure`: a verdict and a look at the host, as functions. Without `--bench`, which
//! `cargo bench` passes, everything runs once, for a moment.

#[expect(dead_code, reason = "it is shared, and nobody uses all of it")]
#[path = "../packet/driver.rs"]
mod driver;
mod failures;
mod packets;
mod pairs;
mod pure;

use anyhow::{Context as _, Result};
use tcptrace_tests::{
    figures::{Account, Options},
    lab::Lab,
};

fn main() -> Result<()> {
    let options = Options::read(9)?;
    let mut account = Account::default();
    packets::measure(&options, &mut account).context("packets")?;
    let lab = Lab::new();
    pairs::measure(&lab, &options, &mut account).context("pairs")?;
    failures::measure(&lab, &options, &mut account).context("failures")?;
    pure::measure(&lab, &options, &mut account).context("verdicts")?;
    account.print(&options);
    Ok(())
}
