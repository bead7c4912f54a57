//! From a captured frame to the Ethernet frame or IP packet in it.
//!
//! Looks at the link layer's header only and does not check what follows. It takes Ethernet apart only where the core
//! does not: behind three VLAN tags and more, behind Cisco's security tags, in PPPoE, LLC and MAC-in-MAC.
//! <https://www.tcpdump.org/linktypes.html>

mod names;
mod serial;

use std::fmt;

use thiserror::Error;

/// The kind of header that frames begin with, by its number in the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u32);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without HDLC framing.
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing, or Cisco's.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE without Ethernet.
    pub const PPP_ETHER: Self = Self(51);
    /// LLC over ATM (RFC 1483).
    pub const ATM_RFC1483: Self = Self(100);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// OpenBSD's and FreeBSD's IPsec interface.
    pub const ENC: Self = Self(109);
    /// PPP of pppd, with the direction.
    pub const PPP_PPPD: Self = Self(166);
    /// PPP behind the direction.
    pub const PPP_WITH_DIR: Self = Self(204);
    /// Cisco HDLC behind the direction.
    pub const C_HDLC_WITH_DIR: Self = Self(205);
    /// Linux's packet log.
    pub const NFLOG: Self = Self(239);
    /// macOS: frames of any link type behind a header.
    pub const PKTAP: Self = Self(258);
    /// An IPv4 or IPv6 packet without a link-layer header.
    pub const RAW: Self = Self(101);
    /// RAW's number on other BSDs.
    pub const RAW_BSD: Self = Self(12);
    /// RAW's number on OpenBSD.
    pub const RAW_OPENBSD: Self = Self(14);
    /// IEEE 802.11.
    pub const IEEE802_11: Self = Self(105);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// IEEE 802.11 behind a Prism header.
    pub const IEEE802_11_PRISM: Self = Self(119);
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// IEEE 802.11 behind an AVS header.
    pub const IEEE802_11_AVS: Self = Self(163);
    /// Per-Packet Information.
    pub const PPI: Self = Self(192);
    /// An IPv4 packet without a link-layer header.
    pub const IPV4: Self = Self(228);
    /// An IPv6 packet without a link-layer header.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
    /// The capture's description of the interface cannot be read.
    pub const UNKNOWN: Self = Self(u32::MAX);
}

/// The content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A frame from its destination address on.
    Ethernet(&'a [u8]),
    /// A packet from its version on.
    Ip(&'a [u8]),
    /// Neither, or too little of it.
    Other,
}

/// Which way a packet went, seen from the machine that captured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received by the capturing host.
    Incoming,
    /// Sent by the capturing host.
    Outgoing,
}

/// A link type whose frames are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub struct Unsupported(pub LinkType);

/// Finds what a frame carries.
///
/// # Errors
///
/// If frames of this link type are not read: then none of its interface will be.
#[inline]
pub fn payload(link: LinkType, octets: &[u8]) -> Result<Payload<'_>, Unsupported> {
    Ok(match link {
        LinkType::ETHERNET => ethernet(octets),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => ip(octets),
        LinkType::NULL | LinkType::LOOP => loopback(octets),
        LinkType::LINUX_SLL => cooked(octets, 14, 16),
        LinkType::LINUX_SLL2 => cooked(octets, 0, 20),
        LinkType::PPP | LinkType::PPP_HDLC => serial::ppp(octets),
        LinkType::PPP_PPPD => serial::pppd(octets),
        LinkType::PPP_WITH_DIR => octets.get(1..).map_or(Payload::Other, serial::ppp),
        LinkType::PPP_ETHER => serial::pppoe(octets),
        LinkType::C_HDLC => serial::cisco(octets),
        LinkType::C_HDLC_WITH_DIR => octets.get(1..).map_or(Payload::Other, serial::cisco),
        LinkType::NFLOG => serial::nflog(octets),
        LinkType::ATM_RFC1483 => llc(octets),
        // The address family, an index and flags.
        LinkType::ENC => octets.get(12..).map_or(Payload::Other, ip),
        LinkType::PKTAP => pktap(octets),
        _ => return Err(Unsupported(link)),
    })
}

/// Finds which way a frame went, if its header shows it.
#[inline]
#[must_use]
pub fn direction(link: LinkType, octets: &[u8]) -> Option<Direction> {
    match link {
        LinkType::LINUX_SLL => Direction::of_packet_type(u16_at(octets, 0)?),
        LinkType::LINUX_SLL2 => Direction::of_packet_type((*octets.get(10)?).into()),
        LinkType::PPP_PPPD | LinkType::PPP_WITH_DIR | LinkType::C_HDLC_WITH_DIR => Some(match octets.first()? {
            0 => Direction::Incoming,
            _ => Direction::Outgoing,
        }),
        _ => None,
    }
}

impl Direction {
    /// From Linux's packet type. A packet for another host (3) went past, neither in nor out.
    #[inline]
    pub(super) fn of_packet_type(kind: u16) -> Option<Self> {
        match kind {
            0..=2 => Some(Self::Incoming),
            4 => Some(Self::Outgoing),
            _ => None,
        }
    }
}

const TAG: u16 = 0x8100;
const PPPOE: u16 = 0x8864;
/// Cisco metadata: a security group tag.
const METADATA: u16 = 0x8909;
/// The service tag of MAC-in-MAC (802.1ah).
const SERVICE: u16 = 0x88e7;
/// The largest number in a frame's type field that is a length (802.3).
const LENGTH: u16 = 1500;
/// Tags that are looked behind.
const TAGS: usize = 8;

/// A frame as it is, where the core can read it.
#[inline]
fn ethernet(octets: &[u8]) -> Payload<'_> {
    match u16_at(octets, 12) {
        Some(TAG | 0x88a8 | 0x9100 | PPPOE | METADATA | SERVICE | ..=LENGTH) => tagged(octets),
        _ => Payload::Ethernet(octets),
    }
}

/// The IP packet of a frame with tags that the core does not look behind; otherwise the frame.
fn tagged(octets: &[u8]) -> Payload<'_> {
    let (mut at, mut is_read_by_core) = (12, true);
    for tags in 0..=TAGS {
        let behind = |length: usize| octets.get(at + length..).unwrap_or_default();
        let found = match u16_at(octets, at) {
            Some(TAG | 0x88a8 | 0x9100) => {
                at += 4;
                is_read_by_core &= tags < 2;
                continue;
            }
            // Version, length, option, group.
            Some(METADATA) => {
                at += 8;
                is_read_by_core = false;
                continue;
            }
            Some(PPPOE) => serial::pppoe(behind(2)),
            // Priority and service, then the customer's frame. What is inside that again is read by nobody.
            Some(SERVICE) => match behind(6) {
                inner if u16_at(inner, 12) != Some(SERVICE) => return ethernet(inner),
                _ => Payload::Other,
            },
            Some(..=LENGTH) => llc(behind(2)),
            Some(ethertype @ (0x0800 | 0x86dd)) if !is_read_by_core => by_type(ethertype, behind(2)),
            _ => Payload::Other,
        };
        return if found == Payload::Other { Payload::Ethernet(octets) } else { found };
    }
    Payload::Ethernet(octets)
}

/// LLC: an EtherType in the subnetwork access protocol (RFC 1042), or IP by its own number.
fn llc(octets: &[u8]) -> Payload<'_> {
    match octets {
        [0xaa, 0xaa, 0x03, 0, 0, 0 | 0xf8, high, low, packet @ ..] => {
            by_type(u16::from_be_bytes([*high, *low]), packet)
        }
        [0x06, 0x06, 0x03, packet @ ..] => ip(packet),
        _ => Payload::Other,
    }
}

fn by_type(ethertype: u16, packet: &[u8]) -> Payload<'_> {
    if matches!(ethertype, 0x0800 | 0x86dd) { ip(packet) } else { Payload::Other }
}

/// Length of the header, kind of record, link type: all little-endian.
fn pktap(octets: &[u8]) -> Payload<'_> {
    let number = |at: usize| octets.get(at..)?.first_chunk().map(|it| u32::from_le_bytes(*it));
    let (Some(length), Some(1), Some(link)) = (number(0), number(4), number(8)) else { return Payload::Other };
    let frame = octets.get(length as usize..).unwrap_or_default();
    if LinkType(link) == LinkType::PKTAP {
        Payload::Other
    } else {
        payload(LinkType(link), frame).unwrap_or(Payload::Other)
    }
}

fn ip(octets: &[u8]) -> Payload<'_> {
    match octets.first().map(|first| first >> 4) {
        Some(4 | 6) => Payload::Ip(octets),
        _ => Payload::Other,
    }
}

/// Behind an address family in the byte order of the capturing machine; systems have several numbers for IPv6.
fn loopback(octets: &[u8]) -> Payload<'_> {
    match octets.split_first_chunk() {
        Some(([family, 0, 0, 0] | [0, 0, 0, family], packet)) if matches!(family, 2 | 10 | 24 | 28 | 30) => ip(packet),
        _ => Payload::Other,
    }
}

/// Behind Linux's cooked header, with the protocol at one place and the packet, or VLAN tags before it, at another.
fn cooked(octets: &[u8], protocol: usize, packet: usize) -> Payload<'_> {
    let (mut protocol, mut packet) = (protocol, packet);
    for _ in 0..=2 {
        match u16_at(octets, protocol) {
            Some(0x0800 | 0x86dd) => return octets.get(packet..).map_or(Payload::Other, ip),
            // A tag: its control information, then the protocol.
            Some(0x8100 | 0x88a8 | 0x9100) => (protocol, packet) = (packet + 2, packet + 4),
            _ => return Payload::Other,
        }
    }
    Payload::Other
}

#[inline]
fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(LinkType(number)) = self;
        let name = match self.0 {
            LinkType::IEEE802_11 => "802.11 frames",
            LinkType::IEEE802_11_PRISM => "802.11 frames with a Prism header",
            LinkType::IEEE802_11_RADIOTAP => "802.11 frames with a radiotap header",
            LinkType::IEEE802_11_AVS => "802.11 frames with an AVS header",
            LinkType::PPI => "802.11 frames with a PPI header",
            LinkType::UNKNOWN => return write!(f, "unsupported: an interface whose description cannot be read"),
            _ => {
                write!(f, "unsupported: link type {number}")?;
                return names::name(*number).map_or(Ok(()), |name| write!(f, " ({name})"));
            }
        };
        write!(f, "unsupported: {name} (link type {number})")
    }
}
