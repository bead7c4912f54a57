//! The terminal: what is told to the reader, and the tracer's own output as it comes.
//!
//! One thread prints both. Their order is certain, since a scene waits for the last line of the report that it caused
//! before the next one is narrated.

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

    /// Waits for the report of an incident, the first line of which has all these words in it. A verdict may follow at
    /// once.
    pub(crate) fn wait_for_finding(&self, words: &[&str]) {
        self.wait_for(&words.join(" "), |streams| {
            let mut lines = streams.stdout.iter().skip_while(|line| !has(line, words));
            lines.any(|line| line.contains("[incident "))
        });
        thread::sleep(Duration::from_millis(100));
        self.wait_for("what follows", |_| true);
    }

    /// Waits for the whole report of an attempt, the first line of which has all these words in it. Its other lines may
    /// come later: without them the next scene's narration would stand between them.
    pub(crate) fn wait_for_report(&self, words: &[&str]) {
        self.wait_for(&words.join(" "), |streams| is_whole(&streams.stdout, words));
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

/// A report of an attempt ends with its next step: an indented line with an arrow.
fn is_whole(lines: &[String], words: &[&str]) -> bool {
    let Some(first) = lines.iter().position(|line| has(line, words)) else { return false };
    lines[first + 1..].iter().take_while(|line| line.starts_with(' ')).any(|line| line.contains('→'))
}

fn has(line: &str, words: &[&str]) -> bool {
    words.iter().all(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_whole_with_its_next_step() {
        let lines =
            ["1 refused a → b:80", "   port_closed, likely", "   → see who listens", "2 refused a → b:81", "   x"];
        let lines = lines.map(str::to_owned);
        for (length, words, expected) in
            [(1, "b:80", false), (2, "b:80", false), (3, "b:80", true), (4, "b:81", false), (5, "b:81", false)]
        {
            assert_eq!(is_whole(&lines[..length], &["refused", words]), expected, "{words} of {length}");
        }
    }
}
