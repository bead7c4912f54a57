//! `tcptrace explain`: prints a page of `tcptrace_report::explain`, as wide as the terminal.

use std::io::Write as _;

use tcptrace_report::explain::{Topic, text};

use crate::output;

/// Prints the text about one word, or the list of all.
pub fn run(topic: Option<Topic>) {
    // A reader that has seen enough (`| head`) is no error.
    let _ = anstream::stdout().write_all(text(topic, output::width(false)).as_bytes());
}
