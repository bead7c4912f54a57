//! The fuzzer's way into `checks/capture.rs`.
#![no_main]

#[path = "../../../tcptrace-user/src/capture/mod.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
mod capture;
#[path = "../checks/capture.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| check::check(octets));
