//! The output for people and programs: text lines, JSON lines and their schema, the summary, the pages of `explain`.
//!
//! This crate renders and decides nothing. `json` and `text` do not know each other; the parts that both need are above
//! them.
#![warn(missing_docs, clippy::missing_errors_doc, clippy::wildcard_enum_match_arm)]

pub mod explain;
pub mod finding;
mod format;
pub mod json;
mod setting;
pub mod summary;
pub mod text;

pub use format::Format;
pub use setting::{Latest, Setting};
