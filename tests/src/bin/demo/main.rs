//! A newcomer's look at tcptrace: each failure made for real in the lab, one after another, and what the tracer says.
//!
//! Nothing is simulated: stacks, rules and packets are the kernel's. The suite `live` tests what is shown here.

mod failures;
mod stage;

use std::process::{Command, ExitCode};

use nix::sys::signal::{SigSet, Signal};
use tcptrace_tests::lab;

/// The argument of the process that does the work.
const WORKER: &str = "show";

fn main() -> ExitCode {
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGINT);
    if std::env::args().nth(1).as_deref() == Some(WORKER) {
        interrupts.thread_unblock().expect("SIGINT can be unblocked");
        failures::show();
        return ExitCode::SUCCESS;
    }
    // Ctrl-C reaches the worker and ends it; what it leaves is removed here, which is why this process lets it pass.
    interrupts.thread_block().expect("SIGINT can be blocked");
    let program = std::env::current_exe().expect("/proc is mounted");
    let shown = Command::new(program).arg(WORKER).status().expect("a program that runs can be started");
    lab::remove_stale();
    if shown.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
