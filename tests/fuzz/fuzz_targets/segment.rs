//! A frame of any octets: found, read, and nothing more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcptrace_core::segment::{Found, Link, Segment, locate};

fuzz_target!(|frame: &[u8]| {
    for link in [Link::Ethernet, Link::Ip] {
        if let Found::Tcp(located) = locate(frame, link) {
            let segment = Segment::read(frame, &located);
            assert_eq!(segment.flags, located.flags);
        }
    }
});
