//! `tcptrace explain`: the meaning of a word in a report, how to confirm it, and what to do about it.
//!
//! Each word has a text file beside this one, so that a text can be corrected without reading Rust. A page describes
//! any attempt with that word. The next step for one attempt comes from `tcptrace_verdict::next`.

mod layout;
mod topic;

pub use topic::{Topic, Word};

/// The text about one word, or the list of all, in lines of at most `width` columns.
#[must_use]
pub fn text(topic: Option<Topic>, width: usize) -> String {
    topic.map_or_else(|| list(width), |topic| layout::page(topic.text(), width))
}

/// Every word with its sentence, grouped by kind.
fn list(width: usize) -> String {
    let mut text = String::new();
    for (heading, is_of) in [
        ("## Outcomes: how an attempt ended", (|it| matches!(it, Topic::Outcome(_))) as fn(&Topic) -> bool),
        ("## Causes: why it failed", |it| matches!(it, Topic::Cause(_))),
        ("## Confidences: how sure a cause is", |it| matches!(it, Topic::Confidence(_))),
        ("## Scopes: how far the failure reaches", |it| matches!(it, Topic::Scope(_))),
        ("## Drop reasons: why this host's kernel dropped a packet", |it| matches!(it, Topic::Drop(_))),
        ("## Other first words of a line", |it| matches!(it, Topic::Word(_))),
    ] {
        text += layout::page(heading, width).trim_start_matches('\n');
        Topic::all().filter(is_of).for_each(|it| text += &layout::entry(it.name(), it.sentence(), width));
        text.push('\n');
    }
    text + &layout::page("`tcptrace explain WORD` says how to confirm it, and what to do.", width)
}
