//! tcptrace's core: bytes → segment → handshake → event.
//!
//! One library for the kernel programs, the offline reader, the tests and the fuzzers. It knows no map, clock, helper,
//! socket or allocator; time and the place of observation are arguments.
#![cfg_attr(not(test), no_std)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod admission;
pub mod config;
pub mod connect;
pub mod drops;
pub mod event;
pub mod flood;
pub mod flow;
pub mod handshake;
pub mod hooks;
pub mod packet;
pub mod predicate;
pub mod pressure;
pub mod segment;
pub mod seq;
pub mod snapshot;
pub mod table;
pub mod tunnel;
