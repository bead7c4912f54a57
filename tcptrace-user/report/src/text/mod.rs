//! Lines for people, styled; `anstream` removes the styles where they are not wanted.

mod attempt;
mod columns;
mod connect;
mod finding;
mod incident;
mod recorded;
mod summary;
mod why;

pub(crate) use connect::connect;
pub(crate) use incident::incident;

pub use attempt::{line, verdict};
pub use columns::fold;
pub use recorded::recorded;
