//! The suite `live`: the tracer in the lab, on failures made for real. One test a row, both IP versions in each, named
//! after the outcome and how it comes about.
//!
//! It runs the binary that `TCPTRACE_BIN` names, or this workspace's release build, and needs root.

mod aborted;
mod any;
mod attached;
mod bridge;
mod choice;
mod churn;
mod closed;
mod ends;
mod established;
mod evidence;
mod faults;
mod flood;
mod frames;
mod half_open;
mod hooks;
mod interfaces;
mod limits;
mod log;
mod netns;
mod no_reply;
mod odd;
mod privilege;
mod refused;
mod rewrite;
mod scale;
mod unreachable;
mod view;
