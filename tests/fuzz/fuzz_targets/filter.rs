//! The fuzzer's way into `checks/filter.rs`.
#![no_main]

#[path = "../../../tcptrace-user/src/filter/mod.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
mod filter;
#[path = "../checks/filter.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|text: &str| check::check(text));
