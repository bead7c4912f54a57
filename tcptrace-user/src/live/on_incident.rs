//! `--on-incident`: a command for each beginning and end of an incident.
//!
//! A small process of the same program, started before anything restricts the tracer, runs the commands one at a time,
//! each with the incident's JSON line on its standard input and a deadline. Nothing here holds up tracing: what does not
//! fit into the queue is skipped, and counted.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{SigSet, Signal, killpg},
    unistd::Pid,
};
use tcptrace_report::summary::Runs;

use crate::output;

/// The hidden subcommand that runs the commands.
pub const SUBCOMMAND: &str = "incident-runner";

/// The time that a command has.
const DEADLINE: Duration = Duration::from_secs(10);
/// The pause between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(10);
/// Incidents that wait for the command before theirs.
const QUEUE: usize = 64;
/// What the runner says of a command that succeeded, and, with its process group, of one that begins.
const SUCCEEDED: &str = "ok";
const BEGUN: &str = "begun ";

/// A running runner.
pub struct Runner {
    child: Child,
    queue: Option<SyncSender<String>>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    queued: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
    /// The process group of the command that runs; zero while none does.
    group: AtomicI32,
}

impl Runner {
    /// Starts the process that runs a command of the shell.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &str) -> anyhow::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args([SUBCOMMAND, "--", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the process that runs the command of --on-incident")?;
        let (queue, lines) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let stdin = child.stdin.take();
        let feeder = thread::spawn(move || stdin.into_iter().for_each(|stdin| feed(stdin, &lines)));
        let (results, counting) = (child.stdout.take(), Arc::clone(&counts));
        let counter = thread::spawn(move || {
            let results = results.into_iter().flat_map(|results| BufReader::new(results).lines().map_while(Result::ok));
            results.for_each(|result| counting.note(&result));
        });
        Ok(Self { child, queue: Some(queue), threads: vec![feeder, counter], counts })
    }

    /// Queues the JSON line of an incident that began or ended.
    pub fn run(&self, line: String) {
        if self.queue.as_ref().is_some_and(|queue| queue.try_send(line).is_ok()) {
            self.counts.queued.fetch_add(1, Relaxed);
        } else {
            self.counts.skipped.fetch_add(1, Relaxed);
        }
    }

    /// How often the command ran until now, and what came of it.
    #[must_use]
    pub fn counts(&self) -> Runs {
        let [runs, failed, skipped] =
            [&self.counts.ended, &self.counts.failed, &self.counts.skipped].map(|it| it.load(Relaxed));
        Runs { runs, failed, skipped }
    }

    /// Waits for the commands that are queued, as long as one of them may take. The one that runs then is killed, and those
    /// behind it are skipped.
    pub fn settle(&mut self) {
        self.queue = None;
        let deadline = Instant::now() + DEADLINE + Duration::from_secs(1);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        // The runner first: it would begin the next one.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.threads.drain(..).for_each(|it| drop(it.join()));
        if let group @ 1.. = self.counts.group.load(Relaxed) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let left = self.counts.queued.load(Relaxed).saturating_sub(self.counts.ended.load(Relaxed));
        self.counts.skipped.fetch_add(left, Relaxed);
        self.counts.queued.fetch_sub(left, Relaxed);
    }
}

impl Counts {
    /// Counts a result, and says the first failure.
    fn note(&self, result: &str) {
        if let Some(group) = result.strip_prefix(BEGUN) {
            return self.group.store(group.parse().unwrap_or(0), Relaxed);
        }
        self.group.store(0, Relaxed);
        self.ended.fetch_add(1, Relaxed);
        if result != SUCCEEDED && self.failed.fetch_add(1, Relaxed) == 0 {
            output::say(&format!("the command of --on-incident failed ({result}); further failures are only counted"));
        }
    }
}

/// Hands lines to the runner. One that has died reads nothing more.
fn feed(mut stdin: ChildStdin, lines: &Receiver<String>) {
    for line in lines {
        if writeln!(stdin, "{line}").is_err() {
            return;
        }
    }
}

/// Runs the subcommand: the command once for each line of standard input.
///
/// # Errors
/// When standard input cannot be read, or standard output cannot be written.
pub fn run(command: &str) -> anyhow::Result<()> {
    // The signals that end the tracer also reach this process where they reach a whole control group; the end of
    // standard input ends it. A command starts with no signal blocked (std::process).
    SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]).thread_block()?;
    for line in io::stdin().lines() {
        let result = once(command, &line?).err().unwrap_or_else(|| SUCCEEDED.to_owned());
        writeln!(io::stdout(), "{result}")?;
    }
    Ok(())
}

/// Runs the command once, and says why it failed. Its output goes to standard error: standard output is the tracer's.
fn once(command: &str, line: &str) -> Result<(), String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(io::stderr())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("/bin/sh: {error}"))?;
    let group = Pid::from_raw(child.id().cast_signed());
    let _ = writeln!(io::stdout(), "{BEGUN}{group}");
    // A command need not read it.
    let _ = child.stdin.take().map(|mut stdin| writeln!(stdin, "{line}"));
    let deadline = Instant::now() + DEADLINE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
            Ok(None) => {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.wait();
                return Err(format!("no end after {} s: killed", DEADLINE.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
