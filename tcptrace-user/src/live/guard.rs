//! Takes TC filters off when their owner is killed: kernels before 6.6 have no TC link that would.
//!
//! A small process of the same program, in a process group of its own, reads from its standard input which interfaces
//! have filters of its owner, and waits for the end of that, which the owner holds open. When the owner has done with an
//! interface, or is gone, it removes the owner's filters there, and the clsact qdisc if the owner added it and nobody
//! uses it. One process does for all interfaces.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};

use super::{clsact, kernel::Program};
use crate::output;

/// The hidden subcommand that runs a guard.
pub const SUBCOMMAND: &str = "clsact-guard";

/// A guard, started with the first interface; dropping it lets it do what is left and waits for that.
#[derive(Debug, Default)]
pub(super) struct Guard(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    child: Child,
    told: Option<ChildStdin>,
    done: BufReader<ChildStdout>,
}

/// An interface that is guarded; dropping it has the guard do its work there, and waits for that.
#[derive(Debug)]
pub(super) struct Guarded {
    guard: Arc<Guard>,
    index: u32,
}

impl Guard {
    /// Puts these programs' filters on an interface under guard.
    pub(super) fn watch(self: &Arc<Self>, index: u32, programs: &[u32], added_qdisc: bool) -> anyhow::Result<Guarded> {
        let mut running = self.running();
        if running.is_none() {
            *running =
                Some(Running::start().context("cannot start the guard that detaches when this process is killed")?);
        }
        let programs: String = programs.iter().map(|program| format!(" {program}")).collect();
        let line = format!("{index} {}{programs}\n", u8::from(added_qdisc));
        if let Some(running) = running.as_mut() {
            running.tell(&line).context("the guard that detaches when this process is killed has ended")?;
        }
        Ok(Guarded { guard: Arc::clone(self), index })
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start() -> io::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (told, done) = (child.stdin.take(), child.stdout.take());
        let done = done.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, told, done: BufReader::new(done) })
    }

    /// A line is written as a whole: it is shorter than what a pipe takes at once (`PIPE_BUF`).
    fn tell(&mut self, line: &str) -> io::Result<()> {
        self.told.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(line.as_bytes())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let mut running = self.guard.running();
        let Some(running) = running.as_mut() else { return };
        // Nothing can be done about a guard that fails, and it has said so itself.
        if running.tell(&format!("{}\n", self.index)).is_ok() {
            let _ = running.done.read_line(&mut String::new());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.told.take());
        let _ = self.child.wait();
    }
}

/// The filters of an owner on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Charge {
    added_qdisc: bool,
    programs: Vec<u32>,
}

/// Runs the subcommand.
///
/// # Errors
/// When a line of the owner cannot be read.
pub fn run() -> anyhow::Result<()> {
    // A signal that ends a whole control group (systemd) ends the owner as well: this process outlives it.
    // Blocked and not ignored, which is the same for a process of one thread, and safe to ask for.
    SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]).thread_block()?;
    let mut charges = BTreeMap::new();
    for line in io::stdin().lines() {
        if let Some((index, charge)) = note(&mut charges, &line?) {
            take_off(index, &charge);
            // The owner may be gone, which the next line shows.
            let _ = writeln!(io::stdout(), "{index}");
        }
    }
    charges.iter().for_each(|(index, charge)| take_off(*index, charge));
    Ok(())
}

/// Notes a line of the owner: an interface with its programs, or an interface alone that is done with, which is given
/// back. Half a line, of an owner that was killed, is none.
fn note(charges: &mut BTreeMap<u32, Charge>, line: &str) -> Option<(u32, Charge)> {
    let numbers: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    match &numbers[..] {
        [index] => charges.remove(index).map(|charge| (*index, charge)),
        [index, added_qdisc, programs @ ..] => {
            charges.insert(*index, Charge { added_qdisc: *added_qdisc != 0, programs: programs.to_vec() });
            None
        }
        [] => None,
    }
}

/// A failure on one interface is reported, and the others are still looked after.
fn take_off(index: u32, charge: &Charge) {
    if let Err(error) = try_take_off(index, charge) {
        output::say(&format!("{error:#}"));
    }
}

fn try_take_off(index: u32, Charge { added_qdisc, programs }: &Charge) -> anyhow::Result<()> {
    for program in Program::ALL {
        for filter in clsact::stale_filters(index, program.name())? {
            if filter.prog_id.is_some_and(|id| programs.contains(&id)) {
                clsact::delete_filter(&filter)?;
            }
        }
    }
    if *added_qdisc {
        clsact::remove_if_empty(index)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_owner_come_and_go() {
        let mut charges = BTreeMap::new();
        let charge = |added_qdisc, programs: &[u32]| Charge { added_qdisc, programs: programs.to_vec() };
        for (line, done) in [
            ("7 1 101 102", None),
            ("8 0 101", None),
            ("7", Some((7, charge(true, &[101, 102])))),
            ("7", None),
            ("", None),
            ("9 1 10x", None),
        ] {
            assert_eq!(note(&mut charges, line), done, "{line}");
        }
        assert_eq!(charges, BTreeMap::from([(8, charge(false, &[101]))]));
    }
}
