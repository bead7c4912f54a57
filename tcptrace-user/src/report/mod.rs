//! What people and programs read: text lines, JSON lines, the summary. Rendering only: nothing here decides.

pub mod connect;
pub mod finding;
pub mod json;
mod short;
pub mod summary;
pub mod text;
pub mod why;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use jiff::Timestamp;
use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Nanos,
    segment::{Flags, Icmp, Options},
};

use crate::clock::Clock;

/// What rendering needs beside the report itself.
#[derive(Clone, Debug)]
pub struct Setting {
    pub clock: Clock,
    /// Interface names by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Those whose packets may have gone either way: a capture need not tell.
    pub undirected: BTreeSet<u32>,
    /// Text lines carry the date.
    pub dated: bool,
}

impl Setting {
    /// A moment of the kernel's clock as a point in time.
    #[must_use]
    pub fn timestamp(&self, at: Nanos) -> Timestamp {
        Timestamp::from_nanosecond(self.clock.wall(at)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// An interface's name; its number where it has gone.
    #[must_use]
    pub fn interface(&self, index: u32) -> String {
        self.interface_name(index).into_owned()
    }

    /// The same, lent where it is known.
    fn interface_name(&self, index: u32) -> Cow<'_, str> {
        self.interfaces.get(&index).map_or_else(|| format!("#{index}").into(), Cow::from)
    }
}

/// An address as the standard library knows it, IPv4 as such.
#[must_use]
pub fn ip(addr: Addr) -> IpAddr {
    Ipv6Addr::from(addr.octets()).to_canonical()
}

/// `address:port`, with brackets around IPv6.
#[must_use]
pub fn endpoint(it: Endpoint) -> String {
    std::net::SocketAddr::new(ip(it.addr), it.port).to_string()
}

/// A number of things, in words.
#[must_use]
pub fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The meaning of an ICMP error, in nmap's words (its reason codes) where it has one.
#[must_use]
pub fn icmp_reason(it: Icmp) -> &'static str {
    if it.v6 {
        return match (it.kind, it.code) {
            (1, 0) => "net-unreach",
            (1, 1) => "admin-prohibited",
            (1, 2) => "beyond-scope",
            (1, 3) => "host-unreach",
            (1, 4) => "port-unreach",
            (1, 5) => "source-policy-failed",
            (1, 6) => "reject-route",
            (3, _) => "time-exceeded",
            (4, _) => "param-problem",
            _ => "unreachable",
        };
    }
    match (it.kind, it.code) {
        (3, 0 | 6) => "net-unreach",
        (3, 1 | 7) => "host-unreach",
        (3, 2) => "proto-unreach",
        (3, 3) => "port-unreach",
        (3, 5) => "source-route-failed",
        (3, 9) => "net-prohibited",
        (3, 10) => "host-prohibited",
        (3, 13) => "admin-prohibited",
        (11, _) => "time-exceeded",
        (12, _) => "param-problem",
        _ => "unreachable",
    }
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
