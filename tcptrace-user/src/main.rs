//! The command line of tcptrace.
fn main() {}
