//! The suite `probe`: `tcptrace diagnose` in the lab, on hosts that cannot be reached for real reasons.
//!
//! Every verdict is held against what a socket of the test's own gets, and every object against the schema. It runs the
//! binary that `TCPTRACE_BIN` names, or this workspace's release build, and needs root.

mod beside;
mod causes;
mod families;
mod link_local;
mod matrix;
mod names;
mod output;
mod table;
mod told;
