//! `tcptrace explain`: what a word of a report means, how to make sure, what to do about it.
//!
//! The texts are files beside this one, one a word, so that who knows better can mend them without reading Rust. They
//! are for an attempt as such and know nothing of any: what to do about one line, `diagnose::next` says.

mod layout;
mod topic;

use std::io::Write as _;

pub use topic::{Topic, Word};

/// Columns where there is no terminal, and the most that are pleasant to read.
const COLUMNS: usize = 100;
/// A terminal that is narrower has no room for names and sentences side by side anyway.
const FEWEST: usize = 40;

/// Prints the text about one word, or the list of all.
pub fn run(topic: Option<Topic>) {
    let width = terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| usize::from(width.0));
    let width = width.clamp(FEWEST, COLUMNS);
    let text = topic.map_or_else(|| list(width), |it| layout::page(it.text(), width));
    // A reader that has seen enough (`| head`) is no error.
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Every word with its sentence, by what it is.
fn list(width: usize) -> String {
    let mut text = String::new();
    for (heading, is_of) in [
        ("## Outcomes: what became of an attempt", (|it| matches!(it, Topic::Outcome(_))) as fn(&Topic) -> bool),
        ("## Causes: why", |it| matches!(it, Topic::Cause(_))),
        ("## Confidences: how sure a cause is", |it| matches!(it, Topic::Confidence(_))),
        ("## Scopes: what fails along with an attempt", |it| matches!(it, Topic::Scope(_))),
        ("## Reasons for which this host's kernel drops packets", |it| matches!(it, Topic::Drop(_))),
        ("## And what lines begin with besides", |it| matches!(it, Topic::Word(_))),
    ] {
        text += layout::page(heading, width).trim_start_matches('\n');
        Topic::all().filter(is_of).for_each(|it| text += &layout::entry(it.name(), it.sentence(), width));
        text.push('\n');
    }
    text + &layout::page("`tcptrace explain NAME` tells how to confirm it, and what to do.", width)
}
