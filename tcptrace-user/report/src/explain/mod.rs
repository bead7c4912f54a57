//! `tcptrace explain`: what a word of a report means, how to make sure, what to do about it.
//!
//! The texts are files beside this one, one a word, so that who knows better can mend them without reading Rust. They
//! are for an attempt as such and know nothing of any: what to do about one line, `tcptrace_verdict::next` says.

mod layout;
mod topic;

pub use topic::{Topic, Word};

/// The text about one word, or the list of all, in lines of at most `width` columns.
#[must_use]
pub fn text(topic: Option<Topic>, width: usize) -> String {
    topic.map_or_else(|| list(width), |topic| layout::page(topic.text(), width))
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
