//! The terminal: what is told to the reader, and the tracer's own output as it comes.

use std::cell::Cell;
use std::env;
use std::io::{self, IsTerminal as _};
use std::thread;
use std::time::Duration;

use tcptrace_tests::lab::{Ns, Process, Streams, Tracer};

/// The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// For the reader to read.
const PAUSE: Duration = Duration::from_millis(700);

const NARRATION: &str = "\x1b[36m";
const COMMAND: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Says what happens next.
pub(crate) fn narrate(line: &str) {
    thread::sleep(PAUSE);
    println!();
    styled(NARRATION, &format!("# {line}"));
}

fn styled(style: &str, line: &str) {
    if colours() { println!("{style}{line}{PLAIN}") } else { println!("{line}") }
}

fn colours() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A tracer in one of the lab's namespaces, whose output appears on the terminal unchanged.
pub(crate) struct Shown {
    process: Process,
    /// Lines already shown, of standard output and of standard error.
    shown: Cell<(usize, usize)>,
}

impl Shown {
    /// Starts it, and waits until it traces.
    pub(crate) fn start(ns: &Ns) -> Self {
        styled(COMMAND, "$ tcptrace --iface eth0 --local own");
        let color = if colours() { "always" } else { "never" };
        let binary = Tracer::binary();
        let process = ns.spawn([&*binary.to_string_lossy(), "--iface", "eth0", "--local", "own", "--color", color]);
        let shown = Self { process, shown: Cell::default() };
        shown.wait_for("the banner", |streams| streams.stderr.iter().any(|line| line.contains("Ctrl-C")));
        shown
    }

    /// Waits for a line with all these words in it.
    pub(crate) fn wait_for_line(&self, words: &[&str]) {
        self.wait_for(&words.join(" "), |streams| {
            streams.stdout.iter().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }

    fn wait_for(&self, what: &str, happened: impl Fn(&Streams) -> bool) {
        self.process.wait_for(what, PATIENCE, |streams| {
            self.show(&streams.stdout, &streams.stderr);
            happened(streams).then_some(())
        });
    }

    fn show(&self, stdout: &[String], stderr: &[String]) {
        let (out, err) = self.shown.replace((stdout.len(), stderr.len()));
        for line in stderr[err..].iter().chain(&stdout[out..]) {
            println!("{line}");
        }
    }

    /// Ctrl-C, and the summary.
    pub(crate) fn stop(self) {
        narrate("Ctrl-C.");
        let Self { process, shown } = self;
        let (out, err) = shown.get();
        let finished = process.stop();
        finished.lines[out..].iter().for_each(|line| println!("{line}"));
        finished.stderr.lines().skip(err).for_each(|line| println!("{line}"));
        assert!(finished.status.success(), "the tracer ended with {}", finished.status);
    }
}
