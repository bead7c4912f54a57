//! A frame of any bytes: found, read, and nothing more.

use tcptrace_core::segment::{Found, Link, Segment, locate};

/// Panics where it does not hold.
pub(crate) fn check(frame: &[u8]) {
    for link in [Link::Ethernet, Link::Ip] {
        if let Found::Tcp(located) = locate(frame, link) {
            let segment = Segment::read(frame, &located);
            assert_eq!(segment.flags, located.flags);
        }
    }
}
