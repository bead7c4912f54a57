//! The steps under way: one line on a terminal's standard error, gone when there is something to print.
//!
//! It has a thread of its own, as in `output`: a terminal that is stopped (Ctrl-S) holds up no step. Where standard
//! error is no terminal, or one that cannot erase, nothing is written.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use crate::{
    limit,
    output::{self, plain},
};

/// The pause between two looks; a step that is over sooner is not worth a line.
const EACH: Duration = Duration::from_millis(100);
/// The longest that the end waits for a terminal that does not read.
const LAST_WAIT: Duration = Duration::from_millis(500);
/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;
/// Back to the line's begin, and what is there erased (ECMA-48, CR and EL).
const CLEAR: &str = "\r\x1b[K";

/// The steps under way, in their order; a step is as many times in it as it runs.
#[derive(Clone, Default)]
pub(super) struct Steps(Arc<Mutex<Vec<String>>>);

/// A step under way, until it is dropped.
pub(super) struct Running {
    of: Steps,
    step: String,
}

impl Steps {
    pub(super) fn begin(&self, step: &str) -> Running {
        self.change(|all| all.push(step.to_owned()));
        Running { of: self.clone(), step: step.to_owned() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The line, in less than `columns` columns: a full one would run into the next line, where it is not erased.
    fn line(&self, host: &str, took: Duration, columns: u16) -> String {
        let mut told = BTreeSet::new();
        let mut steps = self.change(|all| all.clone());
        steps.retain(|it| told.insert(it.clone()));
        let colon = if steps.is_empty() { "" } else { ": " };
        let line = format!("{host}, {:.1} s{colon}{}", took.as_secs_f64(), steps.join(", "));
        plain(&line).chars().take(usize::from(columns).saturating_sub(1)).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.of.change(|all| {
            let at = all.iter().position(|it| *it == self.step);
            at.map(|at| all.remove(at));
        });
    }
}

/// The line, as long as it is there.
pub(super) struct Progress {
    end: Sender<()>,
    ended: Receiver<()>,
}

impl Progress {
    /// Shows it, where somebody sees it.
    pub(super) fn show(steps: &Steps, host: &str) -> Option<Self> {
        if !output::erases() {
            return None;
        }
        let ((end, over), (finished, ended)) = (channel(), channel());
        let (steps, host) = (steps.clone(), host.to_owned());
        limit::thread(move || {
            let began = Instant::now();
            while over.recv_timeout(EACH) == Err(RecvTimeoutError::Timeout) {
                let columns = terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS, |(width, _)| width.0);
                let _ = write!(io::stderr(), "{CLEAR}{}", steps.line(&host, began.elapsed(), columns));
            }
            let _ = write!(io::stderr(), "{CLEAR}");
            let _ = finished.send(());
        })
        .ok()?;
        Some(Self { end, ended })
    }

    /// Takes it away.
    pub(super) fn clear(self) {
        drop(self.end);
        let _ = self.ended.recv_timeout(LAST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_each_step_once_and_ends_before_the_terminal_does() {
        let steps = Steps::default();
        let took = Duration::from_millis(1240);
        assert_eq!(steps.line("a.example", took, 80), "a.example, 1.2 s");
        let (ping, _again, _hops) = (steps.begin("ping"), steps.begin("ping"), steps.begin("hops"));
        assert_eq!(steps.line("a.example", took, 80), "a.example, 1.2 s: ping, hops");
        drop(ping);
        assert_eq!(steps.line("\x1b[2J", took, 80), "\\u{1b}[2J, 1.2 s: ping, hops");
        assert_eq!(steps.line("a.example", took, 12), "a.example, ");
    }
}
