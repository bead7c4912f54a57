//! A capture of any octets: it ends, what it lends is no longer than what it was given, and damage says where it is.
#![no_main]

#[path = "../../../tcptrace-user/src/capture/mod.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
mod capture;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Ok(mut reader) = capture::Reader::new(octets) else { return };
    let mut records = 0;
    while let Some(record) = reader.next() {
        records += 1;
        match record {
            Ok(packet) => {
                assert!(packet.octets.len() <= octets.len());
                let _ = capture::payload(packet.link, packet.octets);
            }
            Err(damage) => assert!(!damage.to_string().is_empty()),
        }
    }
    assert!(records <= octets.len());
});
