//! A filter of any text: read, or a mistake that points at it; and what is read reads itself again.
#![no_main]

#[path = "../../../tcptrace-user/src/filter/mod.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
mod filter;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match filter::Filter::parse(text) {
        Ok(it) => {
            let again = filter::Filter::parse(&it.to_string()).expect("its own text is a filter");
            assert_eq!(again.to_string(), it.to_string());
        }
        Err(mistake) => assert!(!mistake.to_string().is_empty()),
    }
});
