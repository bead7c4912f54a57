//! The userspace of tcptrace.
pub mod live;
