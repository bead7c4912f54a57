//! `tcptrace explain`: prints a page of `tcptrace_report::explain`, as wide as the terminal.

use std::io::Write as _;

use tcptrace_report::explain::{Topic, text};

/// Columns where there is no terminal, and the most that are pleasant to read.
const COLUMNS: usize = 100;
/// A terminal that is narrower has no room for names and sentences side by side anyway.
const FEWEST: usize = 40;

/// Prints the text about one word, or the list of all.
pub fn run(topic: Option<Topic>) {
    let width = terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| usize::from(width.0));
    // A reader that has seen enough (`| head`) is no error.
    let _ = anstream::stdout().write_all(text(topic, width.clamp(FEWEST, COLUMNS)).as_bytes());
}
