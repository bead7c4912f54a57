//! `mutants`: changes the judge, the handshake machine and the desk, one comparison, guard or return at a time, and
//! holds that the pure suites notice.
//!
//! It takes hours, because each change is compiled anew; `extra` makes one in forty, others each day. A change that no
//! suite notices fails it, unless docs/decisions/015-mutants.md says why nothing can notice it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    folders,
    need::{Need, Source, supply_unless_answered},
    process::command,
};

/// The share of changes, in percent, that the suites have to notice before any is argued.
const CAUGHT: usize = 95;
/// The parts of which `extra` makes one.
const SHARDS: u64 = 40;
const ARGUED: &str = "docs/decisions/015-mutants.md";

/// What is changed, and the suites that have to notice.
struct Area {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// The package of the suites, and which of them; none: all.
    tests: &'static str,
    suites: &'static [&'static str],
    /// The kinds of changes that change nothing there, by what cargo mutants calls them; see [`ARGUED`].
    without: &'static [&'static str],
}

const AREAS: [Area; 3] = [
    Area {
        name: "judge",
        package: "tcptrace-verdict",
        files: &[
            "tcptrace-user/verdict/src/rules/*.rs",
            "tcptrace-user/verdict/src/case.rs",
            "tcptrace-user/verdict/src/clients.rs",
            "tcptrace-user/verdict/src/clocks.rs",
            "tcptrace-user/verdict/src/near.rs",
            "tcptrace-user/verdict/src/observed.rs",
            "tcptrace-user/verdict/src/past.rs",
            "tcptrace-user/verdict/src/place.rs",
            "tcptrace-user/verdict/src/scope.rs",
            "tcptrace-user/verdict/src/twins.rs",
            "tcptrace-user/verdict/src/view.rs",
            "tcptrace-user/verdict/src/patterns/checks.rs",
            "tcptrace-user/verdict/src/patterns/incident/*.rs",
            "tcptrace-user/verdict/src/patterns/lifecycle.rs",
            "tcptrace-user/verdict/src/patterns/race.rs",
        ],
        tests: "tcptrace-verdict",
        suites: &[],
        without: &[],
    },
    Area {
        name: "machine",
        package: "tcptrace-ebpf",
        files: &["tcptrace-ebpf/src/handshake/*.rs"],
        tests: "tcptrace-scenario",
        suites: &[],
        // Facts, flags and options are bits, and each `|` there joins bits that differ.
        without: &[r"replace \| with \^"],
    },
    Area {
        name: "desk",
        package: "tcptrace-user",
        files: &["tcptrace-user/src/desk/*.rs"],
        tests: "tcptrace-tests",
        suites: &["desk", "findings"],
        without: &[],
    },
];

/// All changes of all areas, or of those that are named.
pub(crate) fn run(names: &[String]) -> Result<()> {
    make(names, None)
}

/// One change in forty of each area: another one each day.
pub(crate) fn sample() -> Result<()> {
    let days = SystemTime::UNIX_EPOCH.elapsed().context("the clock is before 1970")?.as_secs() / (24 * 60 * 60);
    make(&[], Some(days % SHARDS))
}

/// Makes all changes, or one of [`SHARDS`] parts of them.
fn make(names: &[String], shard: Option<u64>) -> Result<()> {
    for name in names {
        ensure!(AREAS.iter().any(|area| area.name == name), "'{name}' is no area; these are: judge, machine, desk");
    }
    supply_unless_answered("cargo mutants --version", &CARGO_MUTANTS)?;
    let argued =
        fs::read_to_string(folders::workspace().join(ARGUED)).with_context(|| format!("cannot read {ARGUED}"))?;
    // A name may go on in the next line.
    let argued = argued.split_whitespace().collect::<Vec<_>>().join(" ");
    let wanted = |area: &&Area| names.is_empty() || names.iter().any(|name| area.name == name);
    let mut failed = Vec::new();
    for area in AREAS.iter().filter(wanted) {
        if let Err(error) = area.run(&argued, shard) {
            println!("{}: {error:#}", area.name);
            failed.push(area.name);
        }
    }
    ensure!(failed.is_empty(), "not noticed: see above, {}", failed.join(" and "));
    Ok(())
}

impl Area {
    fn run(&self, argued: &str, shard: Option<u64>) -> Result<()> {
        let output = folders::workspace().join("target/mutants").join(self.name);
        fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
        let began = Instant::now();
        // It fails if one survives, which is decided here.
        let sharded = shard.map(|it| format!("--shard={it}/{SHARDS}"));
        let sharding = sharded.is_some().then_some("--sharding=round-robin");
        let mut command = self.command(&output);
        command.args(sharded.as_deref().into_iter().chain(sharding));
        eprintln!("$ {command:?}");
        command.status().context("cannot start cargo mutants")?;
        let list = |name: &str| lines(&output.join("mutants.out").join(name));
        let (caught, missed) = (list("caught.txt")?.len() + list("timeout.txt")?.len(), list("missed.txt")?);
        let all = caught + missed.len();
        ensure!(all > 0, "nothing was changed; {} has what cargo mutants said", output.display());
        let (unviable, minutes) = (list("unviable.txt")?.len(), began.elapsed().as_secs() / 60);
        println!("{}: {caught} of {all} changes noticed, {unviable} do not compile; {minutes} minutes", self.name);
        let silent = beyond(&missed, argued);
        ensure!(silent.is_empty(), "no suite notices, and {ARGUED} does not say why:\n  {}", silent.join("\n  "));
        // A part may be small, and what is argued survives in it as well.
        ensure!(shard.is_some() || caught * 100 >= all * CAUGHT, "{caught} of {all} are less than {CAUGHT} %");
        Ok(())
    }

    fn command(&self, output: &Path) -> Command {
        let line = format!("cargo mutants --package {} --test-package {}", self.package, self.tests);
        let mut cargo = command(&line);
        cargo
            .args(["--baseline", "skip", "--timeout", "120", "--no-times", "--colors", "never", "--output"])
            .arg(output);
        cargo.args(self.files.iter().flat_map(|file| ["--file", file]));
        cargo.args(self.without.iter().flat_map(|kind| ["--exclude-re", kind]));
        // Behind `--` they would count for the tests' run only, and each change would link every suite of the package.
        cargo.args(self.suites.iter().map(|suite| format!("--cargo-arg=--test={suite}")));
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

/// The survivors that are not argued, each without its place and with how many there are. Several changes of one function
/// may have one name: as many of them may survive as the argument names (`×3`), so that the next one is seen.
fn beyond(missed: &[String], argued: &str) -> Vec<String> {
    let mut survivors = BTreeMap::<String, usize>::new();
    for line in missed {
        *survivors.entry(without_place(line)).or_default() += 1;
    }
    let silent = survivors.into_iter().filter_map(|(name, survive)| {
        let allowed = times_argued(&name, argued);
        (survive > allowed).then(|| format!("{name}: {survive} survive, {allowed} are argued"))
    });
    silent.collect()
}

/// How often a change is argued: once where its name stands between backticks, or as often as `×` after it says.
fn times_argued(name: &str, argued: &str) -> usize {
    let Some((_, rest)) = argued.split_once(&format!("`{name}`")) else { return 0 };
    let times = rest.strip_prefix(" ×").map(|it| it.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default());
    times.map_or(1, |it| it.parse().unwrap_or(1))
}

static CARGO_MUTANTS: Need = Need {
    what: "cargo-mutants",
    why: "changes the code, to see whether a test notices",
    from: Source::Command("cargo install cargo-mutants --version 27.1.0 --locked"),
};

#[cfg(test)]
mod tests {
    use super::{beyond, without_place};

    #[test]
    fn a_change_is_named_without_its_place() {
        let line = "tcptrace-user/verdict/src/past.rs:120:33: replace > with >= in Host::life";
        assert_eq!(without_place(line), "tcptrace-user/verdict/src/past.rs: replace > with >= in Host::life");
        assert_eq!(without_place("odd"), "odd");
    }

    #[test]
    fn as_many_may_survive_as_are_argued() {
        let argued = "- `a.rs: replace | with ^ in f` ×2\n- `a.rs: replace < with <= in g`\n";
        let missed = |lines: &[&str]| beyond(&lines.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(), argued);
        let [first, second] = ["a.rs:1:2: replace | with ^ in f", "a.rs:9:2: replace | with ^ in f"];
        assert!(missed(&[first, second, "a.rs:3:1: replace < with <= in g"]).is_empty(), "wherever they stand");
        let third = "a.rs:1:9: replace | with ^ in f";
        assert_eq!(missed(&[first, second, third]), ["a.rs: replace | with ^ in f: 3 survive, 2 are argued"]);
        assert_eq!(missed(&["b.rs:1:2: replace | with ^ in f"]).len(), 1, "of another file");
        assert_eq!(missed(&["a.rs:1:2: replace | with & in f"]).len(), 1, "another change");
    }
}
