//! A connect(2) that put no SYN on the wire, as text and as JSON.

use tcptrace_vocabulary::verdict::Unsent;

use crate::{Setting, json, text};

/// A JSON line, without its end.
#[must_use]
pub fn line(unsent: &Unsent, setting: &Setting) -> String {
    json::connect(unsent, setting)
}

/// A line for people, without its end, styled, and below it the cause. `quiet` puts the cause's word on the same line.
#[must_use]
pub fn text(unsent: &Unsent, setting: &Setting, quiet: bool) -> String {
    text::connect(unsent, setting, quiet)
}
