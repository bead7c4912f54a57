//! `run`: builds, then becomes tcptrace, so that Ctrl-C, signals and exit codes reach the terminal unchanged.
//!
//! It does not parse tcptrace's arguments: it knows the few that need no root, and asks for root otherwise.

use std::process::Command;

use anyhow::Result;

use crate::{build, process, root};

const WITHOUT_ROOT: [&str; 5] = ["-r", "-h", "--help", "-V", "--version"];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let binary = build::binary()?;
    let mut tcptrace = if needs_root(args) { root::command(&binary)? } else { Command::new(binary) };
    Err(process::become_it(tcptrace.args(args)))
}

fn needs_root(args: &[String]) -> bool {
    !args.iter().any(|arg| WITHOUT_ROOT.contains(&arg.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_a_file_needs_no_root() {
        for (line, expected) in [("", true), ("-i eth0", true), ("-n -r x.pcap", false), ("--help", false)] {
            let args = line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(needs_root(&args), expected, "{line}");
        }
    }
}
