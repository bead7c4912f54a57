//! One JSON object a line, versioned: the contract with programs. An unknown value is null; the reason is in `trust` or in
//! the state of the attempt.
//!
//! The schema is generated from the structs that are written (`schema`), so the two cannot differ.

mod attempt;
mod connect;
mod finding;
mod part;
mod schema;
mod short;
mod summary;
mod why;
mod word;

pub(crate) use connect::line as connect;

pub use attempt::{line, write};
pub use schema::schema;
pub use word::VERSION;
