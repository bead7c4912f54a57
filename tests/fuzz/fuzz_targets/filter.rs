//! The fuzzer's way into `checks/filter.rs`.
#![no_main]

#[path = "../checks/filter.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|text: &str| check::check(text));
