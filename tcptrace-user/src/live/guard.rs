//! Takes TC filters off when their owner is killed: kernels before 6.6 have no TC link that would.
//!
//! A small process of the same program, in a process group of its own, waits for the end of its standard input, which
//! the owner holds open. When the owner is gone, it removes the owner's filters, and the clsact qdisc if the owner
//! added it and nobody uses it.

use std::{
    io::Read as _,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};

use super::{clsact, kernel::Program};

/// The hidden subcommand that runs a guard.
pub const SUBCOMMAND: &str = "clsact-guard";

/// A running guard; dropping it lets it do its work and waits for that.
pub struct Guard(Child);

impl Guard {
    /// Starts a guard over these programs' filters on an interface.
    pub(super) fn start(index: u32, programs: &[u32], added_qdisc: bool) -> anyhow::Result<Self> {
        let child = Command::new("/proc/self/exe")
            .arg(SUBCOMMAND)
            .arg(index.to_string())
            .arg(added_qdisc.to_string())
            .args(programs.iter().map(u32::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start the guard that detaches when this process is killed")?;
        Ok(Self(child))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing can be done about a guard that fails, and it has said so itself.
        let _ = self.0.wait();
    }
}

/// Runs the subcommand.
///
/// # Errors
/// When the kernel refuses to list or to remove filters.
pub fn run(index: u32, added_qdisc: bool, programs: &[u32]) -> anyhow::Result<()> {
    // A signal that ends a whole control group (systemd) ends the owner as well: this process outlives it.
    // Blocked and not ignored, which is the same for a process of one thread, and safe to ask for.
    SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]).thread_block()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for program in Program::ALL {
        for filter in clsact::stale_filters(index, program.name())? {
            if filter.prog_id.is_some_and(|id| programs.contains(&id)) {
                clsact::delete_filter(&filter)?;
            }
        }
    }
    if added_qdisc {
        clsact::remove_if_empty(index)?;
    }
    Ok(())
}
