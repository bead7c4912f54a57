//! tcptrace's userspace: live tracing, tracking, reports.
//!
//! Arrows go one way: `live` (the only place that knows aya) feeds `track`, `track` feeds `report`. Nothing behind
//! `live` knows where packets came from.

pub mod attempt;
pub mod cli;
pub mod clock;
pub mod live;
pub mod output;
pub mod report;
pub mod track;
