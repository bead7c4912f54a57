//! What a line of a scenario describes: a packet with symbolic numbers. `frame` makes bytes of it.

use tcptrace_core::segment::Flags;

use super::{Family, Setting};

/// The sender or the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Client,
    Server,
    /// Sends ICMP errors.
    Router,
    /// Another host; speaks from the server's port.
    Bystander,
}

/// A sequence number: relative to an initial one, or absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub base: Base,
    /// Added modulo 2³².
    pub offset: u32,
}

/// What a number is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Zero,
    Isn,
    ServerIsn,
}

impl Number {
    pub(super) const ZERO: Self = Self { base: Base::Zero, offset: 0 };

    /// The number on the wire.
    #[must_use]
    pub const fn value(self, setting: &Setting) -> u32 {
        let base = match self.base {
            Base::Zero => 0,
            Base::Isn => setting.isn,
            Base::ServerIsn => setting.server_isn,
        };
        base.wrapping_add(self.offset)
    }
}

/// A TCP segment.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub from: Party,
    pub to: Party,
    pub flags: Flags,
    pub seq: Number,
    pub ack: Number,
    pub window: u16,
    pub ttl: u8,
    pub payload: u16,
    /// As on the wire, padded to a multiple of four.
    pub options: Vec<u8>,
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    HopByHop,
    Destination,
    Authentication,
    /// An atomic fragment: first and last in one.
    Fragment,
}

/// What lies around and before the transport header.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The IPv4 identification.
    pub ip4_id: u16,
    /// VLAN identifiers, outermost first.
    pub vlans: Vec<u16>,
    /// An IPv4 router alert (RFC 2113).
    pub ip4_options: bool,
    pub ip6_extensions: Vec<Extension>,
}

/// What the packet carries.
#[derive(Clone, Debug)]
pub enum Packet {
    Tcp(Tcp, Around),
    /// An ICMP error.
    Icmp {
        from: Party,
        to: Party,
        /// Type and code by family.
        v4: (u8, u8),
        v6: (u8, u8),
        quoted: Tcp,
        /// Whether only eight bytes of the TCP header are quoted.
        cut: bool,
    },
}

/// An ICMP error that both families have: its name here, type and code in each.
pub(super) struct IcmpName {
    pub(super) name: &'static str,
    pub(super) v4: (u8, u8),
    pub(super) v6: (u8, u8),
}

/// RFC 792, 1122 and 1812; RFC 4443.
pub(super) static ICMP_ERRORS: [IcmpName; 6] = [
    IcmpName { name: "net", v4: (3, 0), v6: (1, 0) },
    IcmpName { name: "host", v4: (3, 1), v6: (1, 3) },
    IcmpName { name: "port", v4: (3, 3), v6: (1, 4) },
    IcmpName { name: "admin", v4: (3, 13), v6: (1, 1) },
    IcmpName { name: "ttl", v4: (11, 0), v6: (3, 0) },
    IcmpName { name: "parameter", v4: (12, 0), v6: (4, 0) },
];

/// Letters that a line writes between slashes, and their bits.
pub(super) static FLAGS: [(&str, u8); 8] = [
    ("FIN", Flags::FIN),
    ("SYN", Flags::SYN),
    ("RST", Flags::RST),
    ("PSH", 0x08),
    ("ACK", Flags::ACK),
    ("URG", 0x20),
    ("ECE", Flags::ECE),
    ("CWR", Flags::CWR),
];

impl Tcp {
    /// What a well-behaved host sends with these flags.
    pub(super) fn usual(from: Party, to: Party, flags: Flags) -> Self {
        let (own, peer) =
            if from == Party::Client { (Base::Isn, Base::ServerIsn) } else { (Base::ServerIsn, Base::Isn) };
        let syn = flags.any(Flags::SYN);
        Self {
            from,
            to,
            flags,
            seq: Number { base: own, offset: u32::from(!syn) },
            ack: if flags.any(Flags::ACK) { Number { base: peer, offset: 1 } } else { Number::ZERO },
            window: match (flags.any(Flags::RST), syn, flags.any(Flags::ACK)) {
                (true, ..) => 0,
                (_, true, false) => 64_240,
                (_, true, true) => 65_160,
                (_, false, _) => 502,
            },
            ttl: if from == Party::Client { 64 } else { 57 },
            payload: 0,
            options: if syn { usual_syn_options() } else { Vec::new() },
        }
    }
}

/// MSS 1460, SACK permitted, timestamps, window scale 7: what Linux sends.
fn usual_syn_options() -> Vec<u8> {
    vec![2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]
}

impl Packet {
    /// Type and code of an ICMP error in a family.
    #[must_use]
    pub fn icmp_error(&self, family: Family) -> Option<(u8, u8)> {
        match (self, family) {
            (Self::Icmp { v4, .. }, Family::V4) => Some(*v4),
            (Self::Icmp { v6, .. }, Family::V6) => Some(*v6),
            (Self::Tcp(..), _) => None,
        }
    }
}
