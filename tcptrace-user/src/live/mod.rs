//! Live tracing: load, attach, read events, sweep, detach.
//!
//! One task reads the ring in batches, tracks, sweeps and renders; a thread writes. No stage waits for a later one:
//! what finds no room is counted.

pub mod accounts;
pub mod btf;
mod caller;
pub mod calls;
mod cgroup;
pub mod choice;
pub mod clsact;
pub mod connects;
pub mod decode;
pub mod drops;
pub mod embedded;
pub mod events;
pub mod evidence;
pub mod findings;
pub mod guard;
pub mod hooks;
pub mod interfaces;
pub mod keep;
pub mod kernel;
mod listed;
pub mod load;
mod log;
pub mod mapping;
pub mod on_incident;
mod onward;
pub mod privilege;
pub mod session;
mod signals;
pub mod source;
pub mod table;
pub mod why;
