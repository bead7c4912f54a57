//! `mutants`: changes the judge, the handshake machine and the desk, one comparison, guard or return at a time, and
//! holds that the pure suites notice.
//!
//! It runs by hand and in `extra`, because it takes an hour. A change that no suite notices fails it, unless
//! docs/decisions/015-mutants.md says why nothing can notice it.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    folders,
    need::{Need, Source, supply_unless_answered},
    process::command,
};

/// The share of changes, in percent, that the suites have to notice before any is argued.
const CAUGHT: usize = 95;
const ARGUED: &str = "docs/decisions/015-mutants.md";

/// What is changed, and the suites that have to notice.
struct Area {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// The package of the suites, and which of them; none: all.
    tests: &'static str,
    suites: &'static [&'static str],
}

const AREAS: [Area; 3] = [
    Area {
        name: "judge",
        package: "tcptrace-verdict",
        files: &[
            "tcptrace-user/verdict/src/rules/*.rs",
            "tcptrace-user/verdict/src/case.rs",
            "tcptrace-user/verdict/src/scope.rs",
            "tcptrace-user/verdict/src/past.rs",
        ],
        tests: "tcptrace-verdict",
        suites: &[],
    },
    Area {
        name: "machine",
        package: "tcptrace-ebpf",
        files: &["tcptrace-ebpf/src/handshake/*.rs"],
        tests: "tcptrace-scenario",
        suites: &[],
    },
    Area {
        name: "desk",
        package: "tcptrace-user",
        files: &["tcptrace-user/src/desk/*.rs"],
        tests: "tcptrace-tests",
        suites: &["desk", "findings"],
    },
];

/// All areas, or those that are named.
pub(crate) fn run(names: &[String]) -> Result<()> {
    for name in names {
        ensure!(AREAS.iter().any(|area| area.name == name), "'{name}' is no area; these are: judge, machine, desk");
    }
    supply_unless_answered("cargo mutants --version", &CARGO_MUTANTS)?;
    let argued =
        fs::read_to_string(folders::workspace().join(ARGUED)).with_context(|| format!("cannot read {ARGUED}"))?;
    let wanted = |area: &&Area| names.is_empty() || names.iter().any(|name| area.name == name);
    let mut failed = Vec::new();
    for area in AREAS.iter().filter(wanted) {
        if let Err(error) = area.run(&argued) {
            println!("{}: {error:#}", area.name);
            failed.push(area.name);
        }
    }
    ensure!(failed.is_empty(), "not noticed: see above, {}", failed.join(" and "));
    Ok(())
}

impl Area {
    fn run(&self, argued: &str) -> Result<()> {
        let output = folders::workspace().join("target/mutants").join(self.name);
        fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
        // It fails if one survives, which is decided here.
        self.command(&output).status().context("cannot start cargo mutants")?;
        let list = |name: &str| lines(&output.join("mutants.out").join(name));
        let (caught, missed) = (list("caught.txt")?.len() + list("timeout.txt")?.len(), list("missed.txt")?);
        let all = caught + missed.len();
        ensure!(all > 0, "nothing was changed; {} has what cargo mutants said", output.display());
        println!("{}: {caught} of {all} changes noticed", self.name);
        let survivors: BTreeSet<String> = missed.iter().map(|line| without_place(line)).collect();
        let silent: Vec<_> = survivors.into_iter().filter(|line| !argued.contains(&format!("`{line}`"))).collect();
        ensure!(silent.is_empty(), "no suite notices, and {ARGUED} does not say why:\n  {}", silent.join("\n  "));
        ensure!(caught * 100 >= all * CAUGHT, "{caught} of {all} are less than {CAUGHT} %");
        Ok(())
    }

    fn command(&self, output: &Path) -> Command {
        let line = format!("cargo mutants --package {} --test-package {}", self.package, self.tests);
        let mut cargo = command(&line);
        cargo
            .args(["--baseline", "skip", "--timeout", "120", "--no-times", "--colors", "never", "--output"])
            .arg(output);
        cargo.args(self.files.iter().flat_map(|file| ["--file", file]));
        if !self.suites.is_empty() {
            cargo.arg("--").args(self.suites.iter().flat_map(|suite| ["--test", suite]));
        }
        eprintln!("$ {cargo:?}");
        cargo
    }
}

/// The lines of a list; none if there is no such list.
fn lines(path: &Path) -> Result<Vec<String>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// A change without line and column, which move: `past.rs: replace > with >= in Host::life`.
fn without_place(line: &str) -> String {
    let Some((path, what)) = line.split_once(": ") else { return line.to_owned() };
    let file = path.split(':').next().unwrap_or(path);
    format!("{file}: {what}")
}

static CARGO_MUTANTS: Need = Need {
    what: "cargo-mutants",
    why: "changes the code, to see whether a test notices",
    from: Source::Command("cargo install cargo-mutants --version 27.1.0 --locked"),
};

#[cfg(test)]
mod tests {
    use super::without_place;

    #[test]
    fn a_change_is_named_without_its_place() {
        let line = "tcptrace-user/verdict/src/past.rs:120:33: replace > with >= in Host::life";
        assert_eq!(without_place(line), "tcptrace-user/verdict/src/past.rs: replace > with >= in Host::life");
        assert_eq!(without_place("odd"), "odd");
    }
}
