//! tcptrace's userspace: live tracing, captures, tracking, reports.
//!
//! Two ways in: `live` (the only place that knows aya) with `track`, and `offline` over `capture`. Both make an
//! [`attempt::Attempt`] of each handshake, which `report` renders; it does not know where packets came from.

pub mod attempt;
pub mod capture;
pub mod checklist;
pub mod cli;
pub mod clock;
pub mod diagnose;
pub mod evidence;
pub mod explain;
pub mod filter;
pub mod flood;
pub mod host;
pub mod live;
pub mod noise;
pub mod offline;
pub mod output;
pub mod overtaken;
pub mod race;
pub mod report;
pub mod scan;
pub mod track;
