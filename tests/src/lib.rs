//! The tests: what they share.

pub mod allocations;
pub mod charged;
pub mod contract;
pub mod cpu;
pub mod figures;
pub mod folder;
pub mod frames;
pub mod generator;
pub mod host;
pub mod lab;
pub mod memory;
pub mod pcap;
pub mod prog_run;
pub use tcptrace_scenario as scenario;
pub mod traffic;
pub mod translated;
pub mod tunnels;
