//! Which test programs run beside which: groups, how many tests of one at a time, and running them.
//!
//! Most of the suites' time is spent waiting for the kernel's retry ladders, with the processors idle. So suites that
//! wait run many tests at once, beside each other and beside those that compute. A suite that measures, turns a limit
//! of the whole machine or looks at all of it runs when nothing else does. A program's output goes to a file and is
//! printed in one piece when it ends. It does not know cargo: `test` builds, and says what there is to run.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::root;

/// Suites that wait for most of their time, the longest first.
const WAITING: [&str; 6] = ["causes", "live", "probe", "ordinary", "offline", "tcptrace_tests"];
/// The number of waiting suites at a time.
const WAITING_AT_ONCE: usize = 2;
/// Tests of a waiting suite at a time, for each processor. Tracers start in turns (`tests/src/lab/turn.rs`): what is
/// bounded here is what they and the lab's programs compute afterwards.
const PER_PROCESSOR: usize = 3;
/// Suites that nothing may run beside, as every benchmark. A suite that turns a limit of the whole machine belongs
/// here;
/// `host` looks into all network namespaces of the machine, within a time that many labs would use up.
const ALONE: [&str; 1] = ["host"];
/// Memory for a waiting test: a laboratory, its programs and a tracer with its tables.
const MEGABYTES: usize = 400;

/// A test program that cargo has built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// The folder in which cargo would start it.
    pub(crate) folder: PathBuf,
    pub(crate) bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Waiting,
    Computing,
    Alone,
}

impl Suite {
    fn group(&self) -> Group {
        if self.bench || ALONE.contains(&self.name.as_str()) {
            Group::Alone
        } else if WAITING.contains(&self.name.as_str()) {
            Group::Waiting
        } else {
            Group::Computing
        }
    }
}

/// The number of tests of a waiting suite that run at a time on this machine.
pub(crate) fn tests_at_once() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_megabytes(&text));
    at_once(processors, memory.unwrap_or(0))
}

fn at_once(processors: usize, megabytes: usize) -> usize {
    (processors * PER_PROCESSOR).min(megabytes / MEGABYTES / WAITING_AT_ONCE).max(processors)
}

fn available_megabytes(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? / 1024)
}

/// Fails for a name in these groups that no suite has any more.
pub(crate) fn check_names(suites: &[Suite]) -> Result<()> {
    let named = |name: &&&str| suites.iter().any(|suite| suite.name == **name);
    let unknown = WAITING.iter().chain(&ALONE).filter(|name| !named(name)).copied().collect::<Vec<_>>();
    ensure!(unknown.is_empty(), "no suite is named {}: see the groups in xtask/src/suites.rs", unknown.join(" or "));
    Ok(())
}

/// Runs them all, also when one fails; an error names those that failed. `prepare` is applied to each.
pub(crate) fn run(suites: Vec<Suite>, outputs: &Path, prepare: &dyn Fn(&mut Command)) -> Result<()> {
    fs::create_dir_all(outputs).with_context(|| format!("cannot make {}", outputs.display()))?;
    let started = Instant::now();
    let (alone, others): (Vec<_>, Vec<_>) = suites.into_iter().partition(|suite| suite.group() == Group::Alone);
    let (mut waiting, computing): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|suite| suite.group() == Group::Waiting);
    waiting.sort_by_key(|suite| WAITING.iter().position(|name| *name == suite.name));
    let mut failed = beside(vec![lane(waiting, WAITING_AT_ONCE), lane(computing, 1)], outputs, prepare)?;
    failed.extend(beside(vec![lane(alone, 1)], outputs, prepare)?);
    eprintln!("all test programs took {} s", started.elapsed().as_secs());
    ensure!(
        failed.is_empty(),
        "failed: {}; what they printed is above, and in {}",
        failed.join(", "),
        outputs.display()
    );
    Ok(())
}

/// Suites of which `at_once` run at a time.
struct Lane {
    queue: VecDeque<Suite>,
    at_once: usize,
}

fn lane(suites: Vec<Suite>, at_once: usize) -> Lane {
    Lane { queue: suites.into(), at_once }
}

/// A program that runs. Dropping it kills it.
struct Running {
    suite: Suite,
    lane: usize,
    child: Child,
    output: PathBuf,
    started: Instant,
}

/// Runs lanes beside each other to their ends; those that failed.
fn beside(mut lanes: Vec<Lane>, outputs: &Path, prepare: &dyn Fn(&mut Command)) -> Result<Vec<String>> {
    let mut running = Vec::<Running>::new();
    let mut failed = Vec::new();
    loop {
        for (number, lane) in lanes.iter_mut().enumerate() {
            while running.iter().filter(|it| it.lane == number).count() < lane.at_once
                && let Some(suite) = lane.queue.pop_front()
            {
                running.push(Running::start(suite, number, outputs, prepare)?);
            }
        }
        if running.is_empty() {
            return Ok(failed);
        }
        let mut still = Vec::new();
        for mut it in running {
            match it.child.try_wait().with_context(|| format!("cannot wait for {}", it.suite.name))? {
                None => still.push(it),
                Some(status) if it.report(status)? => {}
                Some(_) => failed.push(it.suite.name.clone()),
            }
        }
        running = still;
        thread::sleep(Duration::from_millis(50));
    }
}

impl Running {
    fn start(suite: Suite, lane: usize, outputs: &Path, prepare: &dyn Fn(&mut Command)) -> Result<Self> {
        let kind = if suite.bench { "bench-" } else { "" };
        let output = outputs.join(format!("{kind}{}-{}.txt", suite.name, name_of(&suite.folder)));
        let file = File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
        let mut command = root::command_with_environment(&suite.program)?;
        command.current_dir(&suite.folder).env("CARGO_MANIFEST_DIR", &suite.folder);
        if suite.group() == Group::Waiting {
            command.env("RUST_TEST_THREADS", tests_at_once().to_string());
        }
        prepare(&mut command);
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {}", suite.program.display()))?;
        eprintln!("     Started {} ({})", suite.name, suite.program.display());
        Ok(Self { suite, lane, child, output, started: Instant::now() })
    }

    /// Prints all that the program printed; whether it succeeded.
    fn report(&self, status: ExitStatus) -> Result<bool> {
        let text = fs::read(&self.output).with_context(|| format!("cannot read {}", self.output.display()))?;
        let seconds = self.started.elapsed().as_secs();
        let ended = if status.success() { String::new() } else { format!("{} FAILED: {status}\n", self.suite.name) };
        println!(
            "     Running {} ({}): {seconds} s\n{}{ended}",
            self.suite.name,
            self.suite.program.display(),
            String::from_utf8_lossy(&text)
        );
        Ok(status.success())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing to one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn at_least_a_test_a_processor_and_no_more_than_memory_holds() {
        assert_eq!(at_once(2, 24_000), 6);
        assert_eq!(at_once(2, 3_200), 4);
        assert_eq!(at_once(4, 500), 4);
        assert_eq!(at_once(64, 64_000), 80);
        assert_eq!(available_megabytes("MemTotal: 9 kB\nMemAvailable:   20480 kB\n"), Some(20));
    }

    /// A program that is a shell script.
    fn suite(folder: &Path, name: &str, script: &str, bench: bool) -> Suite {
        let program = folder.join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Suite { name: name.to_owned(), program, folder: folder.to_owned(), bench }
    }

    #[test]
    fn all_run_and_those_that_fail_are_named() {
        let folder = env::temp_dir().join(format!("xtask-suites-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // `causes` can end only while `model` runs, and the bench only when both have ended.
        let suites = vec![
            suite(&folder, "speed", "[ -e causes.ended ] && [ -e model.ended ] && exit 3", true),
            suite(&folder, "model", "touch model.runs; echo $RUST_TEST_THREADS; touch model.ended", false),
            suite(&folder, "causes", "until [ -e model.runs ]; do sleep 0.01; done; touch causes.ended; exit 1", false),
        ];
        let error = run(suites, &folder.join("out"), &|_| {}).unwrap_err().to_string();
        assert!(error.starts_with("failed: causes, speed; "), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
