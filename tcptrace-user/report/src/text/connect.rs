//! The line of a connect(2) that put no SYN on the wire, for people.

use tcptrace_vocabulary::{errno::errno_name, verdict::Unsent, words::endpoint};

use super::{
    columns::{RED, head, with_story},
    why,
};
use crate::Setting;

/// A line, without its end, styled, and below it the cause.
#[must_use]
pub(crate) fn connect(unsent: &Unsent, setting: &Setting, quiet: bool, verbose: bool) -> String {
    let client = unsent.client.map_or_else(|| "*".to_owned(), endpoint);
    let whom = format!("{client} → {}", setting.server(unsent.server));
    let errno = unsent.errno.map_or_else(String::new, |errno| format!(", {}", errno_name(errno)));
    let head = head(setting, unsent.called, RED, "not_sent", &whom, None);
    let story = format!("connect(2) by {}, no SYN{errno}", why::name(&unsent.process));
    with_story(&head, &story, quiet) + &why::verdict(&unsent.verdict, false, quiet, verbose)
}
