//! tcptrace's userspace: live tracing, captures, the command `diagnose`.
//!
//! Two ways in: `live` (the only place that knows aya) with `track`, and `offline` over captures. Both make an
//! [`tcptrace_vocabulary::attempt::Attempt`] of each handshake. `tcptrace_report` renders it, and does not know where
//! packets came from.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod cli;
pub mod clock;
pub mod desk;
pub mod duration;
pub mod exit;
pub mod explain;
pub mod failure;
pub mod generate;
pub mod host;
pub mod ignore;
pub mod limit;
pub mod live;
pub mod log_file;
pub mod netlink;
pub mod netns;
pub mod offline;
pub mod output;
pub mod probe;
mod random;
pub mod recorder;
pub mod runtime;
pub mod selection;
mod socket;
pub mod track;
pub mod version;
