//! A background process whose output is read as it comes, by line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command_log::shell_line;

/// Both streams of a process, line by line.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
    ended: usize,
}

/// How a process ended, with all that it said.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    /// Standard output.
    pub lines: Vec<String>,
    pub stderr: String,
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    line: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    streams: Mutex<Streams>,
    changed: Condvar,
}

impl Process {
    pub(super) fn spawn(argv: &[String]) -> Self {
        let mut child = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run '{}': {error}", argv[0]));
        let shared = Arc::<Shared>::default();
        shared.collect(child.stdout.take().expect("stdout is piped"), |streams| &mut streams.stdout);
        shared.collect(child.stderr.take().expect("stderr is piped"), |streams| &mut streams.stderr);
        Self { child, line: shell_line(argv), shared }
    }

    /// `ip netns exec` becomes the program it starts, so this is the program's own.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Everything said so far.
    pub fn streams(&self) -> Streams {
        self.shared.lock().clone()
    }

    /// The first `Some` that `probe` makes of the output so far, tried again whenever a line comes. Panics when
    /// `timeout` passes or the process ends first; the drop that follows prints the output.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, timeout: Duration, mut probe: impl FnMut(&Streams) -> Option<T>) -> T {
        let deadline = Instant::now() + timeout;
        let mut streams = self.shared.lock();
        loop {
            if let Some(value) = probe(&streams) {
                return value;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let why = match streams.ended {
                2 => "its output ended",
                _ if left.is_zero() => "time is up",
                _ => "",
            };
            assert!(why.is_empty(), "waited up to {timeout:?} for {what}: {why}: {}", self.line);
            streams = self.shared.wait(streams, left);
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("cannot send {signal} to {}: {error}", self.line));
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn finish(mut self, timeout: Duration) -> Finished {
        // Its output ends when it does, and a condition variable can wait for that with a time limit.
        let deadline = Instant::now() + timeout;
        let mut streams = self.shared.lock();
        while streams.ended < 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still running after {timeout:?}: {}", self.line);
            streams = self.shared.wait(streams, left);
        }
        let Streams { stdout, stderr, .. } = streams.clone();
        drop(streams);
        let status = self.child.wait().unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.line));
        Finished { status, lines: stdout, stderr: stderr.iter().map(|line| format!("{line}\n")).collect() }
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.signal(Signal::SIGINT);
        self.finish(Duration::from_secs(30))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}\n{}", self.line, self.shared.lock());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, Streams>, timeout: Duration) -> MutexGuard<'a, Streams> {
        self.changed.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    fn collect(self: &Arc<Self>, stream: impl Read + Send + 'static, pick: fn(&mut Streams) -> &mut Vec<String>) {
        let shared = Arc::clone(self);
        thread::spawn(move || {
            // By bytes: a line that is not UTF-8 must not end the reading.
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                pick(&mut shared.lock()).push(String::from_utf8_lossy(&line).into_owned());
                shared.changed.notify_all();
            }
            shared.lock().ended += 1;
            shared.changed.notify_all();
        });
    }
}

impl std::fmt::Display for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stdout:\n  {}\nstderr:\n  {}", self.stdout.join("\n  "), self.stderr.join("\n  "))
    }
}
