//! Addresses, numbers and names in words, the same in text, in JSON and in evidence.
//!
//! Whole lines are rendered by `tcptrace-report`.

use std::net::{IpAddr, Ipv6Addr};

use tcptrace_core::{
    flow::{Addr, Endpoint},
    segment::{Flags, Options},
};

/// An address as the standard library knows it, IPv4 as such.
#[must_use]
pub fn ip(addr: Addr) -> IpAddr {
    Ipv6Addr::from(addr.octets()).to_canonical()
}

/// The same the other way round: an address as the core has it, IPv4 in its mapped form.
#[must_use]
pub fn addr(ip: IpAddr) -> Addr {
    let octets = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let whole = u128::from(octets);
    Addr { hi: (whole >> 64) as u64, lo: whole as u64 }
}

/// `address:port`, with brackets around IPv6.
#[must_use]
pub fn endpoint(endpoint: Endpoint) -> String {
    std::net::SocketAddr::new(ip(endpoint.addr), endpoint.port).to_string()
}

/// A number of things, in words.
#[must_use]
pub fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The name of a segment by its flags: `RST/ACK`.
#[must_use]
pub fn flag_names(flags: u8) -> String {
    let names: Vec<_> = [(Flags::SYN, "SYN"), (Flags::FIN, "FIN"), (Flags::RST, "RST"), (Flags::ACK, "ACK")]
        .into_iter()
        .filter_map(|(bit, name)| (flags & bit != 0).then_some(name))
        .collect();
    if names.is_empty() { "none".to_owned() } else { names.join("/") }
}

/// The options that both sides must send for them to hold (RFC 2018, RFC 7323, RFC 3168, RFC 8684), with their names in
/// JSON and in text.
pub const NEGOTIATED: [(u8, &str, &str); 5] = [
    (Options::WINDOW_SCALE, "window_scale", "ws"),
    (Options::SACK_PERMITTED, "sack_permitted", "sack"),
    (Options::TIMESTAMPS, "timestamps", "ts"),
    (Options::ECN, "ecn", "ecn"),
    (Options::MPTCP, "mptcp", "mptcp"),
];

/// A link-layer address as people write it.
#[must_use]
pub fn mac(address: &[u8; 6]) -> String {
    address.map(|it| format!("{it:02x}")).join(":")
}
