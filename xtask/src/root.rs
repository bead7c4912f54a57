//! Commands as root: this program keeps its own user, and puts `sudo` in front of the few commands that need root.
//!
//! It keeps no credentials and asks for none: sudo does that.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::process;

/// The words to put in front of a command that needs root: none for root, `sudo ` for others who have it.
pub(crate) fn prefix() -> Result<&'static str> {
    if is_root() {
        return Ok("");
    }
    ensure!(process::exists("sudo"), "not root, and there is no sudo: run this as root, or install sudo");
    Ok("sudo ")
}

/// A command that runs this program as root.
pub(crate) fn command(program: &Path) -> Result<Command> {
    let mut command = match prefix()?.trim() {
        "" => return Ok(Command::new(program)),
        sudo => Command::new(sudo),
    };
    command.arg(program);
    Ok(command)
}

/// The same, and the program gets this program's environment, which sudo would clear.
pub(crate) fn command_with_environment(program: &Path) -> Result<Command> {
    let mut command = match prefix()?.trim() {
        "" => return Ok(Command::new(program)),
        sudo => Command::new(sudo),
    };
    command.arg("-E").arg(program);
    Ok(command)
}

/// Has cargo run what it built (tests, benches, binaries) as root, and keeps the building itself with the user.
pub(crate) fn runs_as_root(cargo: &mut Command) -> Result<()> {
    if !prefix()?.is_empty() {
        cargo.env(runner_variable(&host()?), "sudo -E");
    }
    Ok(())
}

/// The host's target triple, as rustc names it.
pub(crate) fn host() -> Result<String> {
    let version = process::ask("rustc -vV").context("`rustc -vV` failed, so the host's name is not known")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// The owner of a process's own directory is its effective user; asking the C library would take unsafe code.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

fn runner_variable(host: &str) -> String {
    format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace(['-', '.'], "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runner_is_named_after_the_host() {
        assert_eq!(runner_variable("x86_64-unknown-linux-gnu"), "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER");
    }
}
