//! `bench`: the costs of tcptrace. A packet in the kernel, above an empty program (`packet`), and on two cores
//! (`cores`); watching under load, beside tcpdump (`live`); a flood, and the failures beside it (`flood`); the host's
//! own traffic (`host`); attempts in memory (`memory`); an event in userspace (`events`); a verdict, and the facts for
//! it (`why`); and reading a capture, beside other readers (`capture`).
//!
//! Their names choose among them, options go to all; other words choose rows of `packet`, which then runs alone if no
//! name does. With `--json` there is one document, an object of theirs. No limits are set here: the goals stand in the
//! benchmarks.

use std::process::Command;

use anyhow::Result;

use crate::{
    build,
    process::{self, command},
    root,
};

/// `packet` is the first, and the only one that takes words; of its rows, those of a flood go by `server`.
const BENCHES: [&str; 9] = ["packet", "cores", "live", "flood", "host", "memory", "events", "why", "capture"];

pub(crate) fn run(args: &[String]) -> Result<()> {
    let binary = build::binary()?;
    let (benches, args) = chosen(args);
    let json = args.iter().any(|it| *it == "--json");
    let mut documents = Vec::new();
    for bench in benches {
        let mut cargo = command("cargo bench -p tcptrace-tests --bench");
        cargo.arg(bench).arg("--").args(&args).env(build::BINARY, &binary);
        as_root(bench, &mut cargo)?;
        if json {
            documents.push(format!("\"{bench}\": {}", process::output(&mut cargo)?.trim_end()));
        } else {
            process::run(&mut cargo)?;
        }
    }
    if json {
        println!("{{\n{}\n}}", documents.join(",\n"));
    }
    Ok(())
}

/// The benches to run, and the arguments for them.
fn chosen(args: &[String]) -> (Vec<&'static str>, Vec<&String>) {
    let is_bench = |it: &&String| BENCHES.contains(&it.as_str());
    let named = |bench: &&str| args.iter().any(|it| it == bench);
    let (names, others): (Vec<_>, Vec<_>) = args.iter().partition(is_bench);
    if !names.is_empty() {
        (BENCHES.into_iter().filter(named).collect(), others)
    } else if has_words(&others) {
        (vec![BENCHES[0]], others)
    } else {
        (BENCHES.to_vec(), others)
    }
}

/// Whether there is more than options, and the number of rounds or seconds.
fn has_words(args: &[&String]) -> bool {
    let follows = |at: usize| at > 0 && ["--rounds", "--seconds"].contains(&args[at - 1].as_str());
    args.iter().enumerate().any(|(at, it)| !it.starts_with('-') && !follows(at))
}

/// All but `capture` load programs.
fn as_root(bench: &str, cargo: &mut Command) -> Result<()> {
    if bench == "capture" { Ok(()) } else { root::runs_as_root(cargo) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_chosen(line: &str, benches: &[&str], rest: &str) {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (chosen, others) = chosen(&args);
        assert_eq!(chosen, benches);
        assert_eq!(others, rest.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn words_choose() {
        assert_chosen("", &BENCHES, "");
        assert_chosen("--json --rounds 3", &BENCHES, "--json --rounds 3");
        assert_chosen("SYN pending --rounds 3", &["packet"], "SYN pending --rounds 3");
        assert_chosen("memory live --json", &["live", "memory"], "--json");
        assert_chosen("flood --seconds 3", &["flood"], "--seconds 3");
        assert_chosen("packet SYN", &["packet"], "SYN");
    }
}
