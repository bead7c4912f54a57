//! The fuzzer's way into `checks/segment.rs`.
#![no_main]

#[path = "../checks/segment.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| check::check(frame));
