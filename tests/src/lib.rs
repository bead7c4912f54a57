//! The tests: what they share.

pub mod prog_run;
