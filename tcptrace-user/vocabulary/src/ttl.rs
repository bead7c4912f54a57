//! The time to live of a packet (hop limit in IPv6), and the distance it stands for.

/// The number of routers that a packet has passed, by the TTL that is left of 64, 128 or 255, where systems begin.
#[must_use]
pub const fn hops(ttl: u8) -> u8 {
    match ttl {
        0..=64 => 64 - ttl,
        65..=128 => 128 - ttl,
        129.. => 255 - ttl,
    }
}
