//! What CAP_PERFMON is worth: without it the verifier guards against speculation (Spectre v1), by masks and barriers or by
//! refusing.
//!
//! It refuses ours. A header's length is a number in a register, and then only a constant within the instruction may be
//! added to a packet pointer ("pointer arithmetic with it prohibited for !root"; `sanitize_ptr_alu` in
//! kernel/bpf/verifier.c has masks for the stack and map values alone); and the compiler copies padding, which only with
//! the capability may be read before it is written ("invalid read from stack"). So no row of ours can be measured without
//! it, nor the driver: here are the refusals, and what the empty program costs, which has nothing to guard.

use std::thread;

use anyhow::Result;
use caps::{CapSet, Capability};
use serde_json::{Value, json};
use tcptrace::live::{
    kernel::{Kernel, Program, Settings},
    load::LoadError,
};
use tcptrace_tests::frames;

use crate::{
    PROGRAMS,
    driver::{Driver, Hook, Rival},
    report::{DECILE, quantile},
    rows::DATA,
};

pub(crate) struct Unprivileged {
    /// By program: what the verifier says, `None` if it loads.
    refusals: Vec<(Program, Option<String>)>,
    /// Nanoseconds of the empty program with its driver, by hook: loaded with, and without.
    empty: Vec<(Hook, [f64; 2])>,
}

impl Unprivileged {
    pub(crate) fn measure(rival: &Rival, rounds: usize, batches: u32) -> Result<Self> {
        let refusals = without(|| PROGRAMS.map(|it| Ok((it, refusal(it)?))).into_iter().collect::<Result<_>>())?;
        let other = without(Rival::load)?;
        let mut empty = Vec::new();
        for hook in [Hook::Xdp, Hook::Tc] {
            let mut driver = Driver::new(hook, &DATA, &[rival.program(hook)?, other.program(hook)?])?;
            let mut times = [const { Vec::new() }; 2];
            for _ in 0..rounds {
                for (all, round) in times.iter_mut().zip(driver.run(&frames::data(4, 64), batches, None)?) {
                    all.extend(round);
                }
            }
            empty.push((hook, times.map(|it| quantile(&it, DECILE))));
        }
        Ok(Self { refusals, empty })
    }

    pub(crate) fn print(&self) {
        println!("without CAP_PERFMON:");
        for (program, refusal) in &self.refusals {
            println!("{:<20}{}", program.name(), refusal.as_deref().unwrap_or("loads"));
        }
        for (hook, [with, without]) in &self.empty {
            let name = format!("empty, {}", hook.name());
            println!("{name:<20}{without:.1} ns, {with:.1} with it: {:.2} times", without / with);
        }
    }

    pub(crate) fn json(&self) -> Value {
        let refusals = self.refusals.iter().map(|(it, why)| json!({ "name": it.name(), "refused": why }));
        let empty = self.empty.iter().map(|(hook, [with, without])| {
            json!({ "hook": hook.name(), "with_ns": with, "without_ns": without, "ratio": without / with })
        });
        json!({ "programs": refusals.collect::<Vec<_>>(), "empty": empty.collect::<Vec<_>>() })
    }
}

/// Does something in a thread that lacks the capability, and the one that stands for all.
fn without<T: Send>(what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            caps::drop(None, CapSet::Effective, Capability::CAP_PERFMON)?;
            caps::drop(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)?;
            what()
        });
        thread.join().expect("it does not panic")
    })
}

/// The last thing that the verifier says before its statistics.
fn refusal(program: Program) -> Result<Option<String>> {
    let mut kernel = Kernel::load(&Settings { max_attempts: 64, ..Settings::default() })?;
    let loaded = match Hook::of(program) {
        Hook::Xdp => kernel.xdp(program).map(drop),
        Hook::Tc => kernel.classifier(program).map(drop),
    };
    Ok(match loaded {
        Ok(()) => None,
        Err(LoadError::Kernel { reason, .. }) => {
            let lines = reason.lines().flat_map(|it| it.split("\\n"));
            let said = lines.take_while(|it| !it.starts_with("verification time") && !it.starts_with("processed "));
            said.last().map(str::to_owned)
        }
        Err(error) => Some(error.to_string()),
    })
}
