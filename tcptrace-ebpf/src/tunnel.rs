//! `--decap`: from a tunnel's packet to the one inside it. VXLAN, Geneve, GRE, IP in IP (both versions in both), MPLS.
//!
//! It reads only the headers that lead to the inner packet; a tunnel that it cannot follow (encrypted, fragmented, a
//! version it does not know) is left as the packet it is.

use crate::{flow::Addr, packet::Packet, segment::Link};

/// The kind of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Vxlan = 1,
    Geneve = 2,
    Gre = 3,
    Ipip = 4,
    Sit = 5,
    Mpls = 6,
}

impl Kind {
    /// The word in JSON and in text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Ipip => "ipip",
            Self::Sit => "sit",
            Self::Mpls => "mpls",
        }
    }

    /// The kind of that number.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Vxlan),
            2 => Some(Self::Geneve),
            3 => Some(Self::Gre),
            4 => Some(Self::Ipip),
            5 => Some(Self::Sit),
            6 => Some(Self::Mpls),
            _ => None,
        }
    }
}

/// A packet inside another: where it begins and how, and in what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    pub at: usize,
    pub link: Link,
    pub tunnel: Tunnel,
}

/// A tunnel as a packet has it, in one number, which is easily carried along: its kind, the version of its IP header
/// (zero where there is none: MPLS), that header's offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Tunnel(pub u32);

impl Tunnel {
    #[inline(always)]
    const fn new(kind: Kind, version: u8, ip: usize) -> Self {
        Self((kind as u32) << 24 | (version as u32) << 16 | ip as u32 & 0xffff)
    }

    /// The number of its [`Kind`].
    #[must_use]
    pub const fn kind(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// The tunnel with its ends, of the packet in which it was found.
    #[inline(always)]
    pub fn outer<P: Packet + ?Sized>(self, packet: &P) -> Outer {
        let (kind, ip) = ((self.0 >> 24) as u8, (self.0 & 0xffff) as usize);
        let word = |at: usize| packet.bytes(ip + at).map(u32::from_be_bytes);
        let long = |at: usize| packet.bytes(ip + at).map(u64::from_be_bytes);
        let ends = match self.0 >> 16 & 0xff {
            4 => word(12).zip(word(16)).map(|(src, dst)| (Addr::v4(src), Addr::v4(dst))),
            6 => {
                let addr = |at| long(at).zip(long(at + 8)).map(|(hi, lo)| Addr { hi, lo });
                addr(8).zip(addr(24))
            }
            _ => None,
        };
        match ends {
            Some((src, dst)) => Outer { src, dst, kind, has_ends: 1, pad: [0; 6] },
            None => Outer { kind, ..Outer::default() },
        }
    }
}

/// A tunnel by one packet in it: the kernel keeps it beside the attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Outer {
    pub src: Addr,
    pub dst: Addr,
    /// A [`Kind`], by number; zero for no tunnel.
    pub kind: u8,
    /// Whether the tunnel has ends.
    pub has_ends: u8,
    pub pad: [u8; 6],
}

impl Outer {
    /// Its kind; `None` for no tunnel.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Kind::of(self.kind)
    }

    /// Its two ends; MPLS has no addresses.
    #[must_use]
    pub const fn ends(&self) -> Option<(Addr, Addr)> {
        if self.has_ends == 0 { None } else { Some((self.src, self.dst)) }
    }
}

const _: () = assert!(size_of::<Outer>() == 40 && align_of::<Outer>() == 8);

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: [u16; 2] = [0x8847, 0x8848];
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Transparent Ethernet bridging (RFC 1701's number, used by GRE, Geneve).
const ETHERNET: u16 = 0x6558;

const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;

/// Out of one tunnel; `None` where the packet is in none.
#[inline(always)]
pub fn inner<P: Packet + ?Sized>(packet: &P, link: Link) -> Option<Inner> {
    let (mut at, mut ethertype) = match link {
        Link::Ethernet => (14, packet.u16(12)?),
        Link::Ip => (0, version(packet, 0)?),
    };
    for _ in 0..2 {
        if VLAN.contains(&ethertype) {
            ethertype = packet.u16(at + 2)?;
            at += 4;
        }
    }
    if MPLS.contains(&ethertype) {
        return Some(Inner { at: labels(packet, at)?, link: Link::Ip, tunnel: Tunnel::new(Kind::Mpls, 0, 0) });
    }
    let ip = packet.forget(at);
    let (protocol, at, version) = match ethertype {
        IPV4 => ipv4(packet, ip)?,
        IPV6 => ipv6(packet, ip)?,
        _ => return None,
    };
    let (kind, link, at) = payload(packet, protocol, packet.forget(at))?;
    Some(Inner { at, link, tunnel: Tunnel::new(kind, version, ip) })
}

/// The payload of an IP packet: the kind of tunnel, and what is inside it.
#[inline(always)]
fn payload<P: Packet + ?Sized>(packet: &P, protocol: u8, at: usize) -> Option<(Kind, Link, usize)> {
    match protocol {
        4 | 41 => {
            version(packet, at)?;
            Some((if protocol == 4 { Kind::Ipip } else { Kind::Sit }, Link::Ip, at))
        }
        47 => {
            let (link, at) = gre(packet, at)?;
            Some((Kind::Gre, link, at))
        }
        17 => {
            let [_, _, high, low, _, _, _, _, first, _, kind_high, kind_low] = packet.bytes(at)?;
            match u16::from_be_bytes([high, low]) {
                // The flag that says there is a network identifier (RFC 7348, section 5).
                VXLAN_PORT if first & 0x08 != 0 => Some((Kind::Vxlan, Link::Ethernet, at + 16)),
                // Version 0; the low six bits count the words of options (RFC 8926, section 3.4).
                GENEVE_PORT if first >> 6 == 0 => {
                    let options = (first & 0x3f) as usize * 4;
                    let ethertype = u16::from_be_bytes([kind_high, kind_low]);
                    let (link, at) = by_type(packet, ethertype, packet.forget(at + 16 + options))?;
                    Some((Kind::Geneve, link, at))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// RFC 2784, RFC 2890.
#[inline(always)]
fn gre<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<(Link, usize)> {
    let [high, low, kind_high, kind_low] = packet.bytes(at)?;
    if low & 7 != 0 {
        return None;
    }
    // Checksum, key, sequence number: four bytes each where there are any.
    let options = (high >> 7) + (high >> 5 & 1) + (high >> 4 & 1);
    let at = packet.forget(at + 4 + options as usize * 4);
    by_type(packet, u16::from_be_bytes([kind_high, kind_low]), at)
}

#[inline(always)]
fn by_type<P: Packet + ?Sized>(packet: &P, ethertype: u16, at: usize) -> Option<(Link, usize)> {
    match ethertype {
        ETHERNET => Some((Link::Ethernet, at)),
        IPV4 | IPV6 => Some((Link::Ip, at)),
        it if MPLS.contains(&it) => Some((Link::Ip, labels(packet, at)?)),
        _ => None,
    }
}

/// Behind the label stack (RFC 3032): the first four bits there say whether it is IP.
#[inline(always)]
fn labels<P: Packet + ?Sized>(packet: &P, start: usize) -> Option<usize> {
    let mut at = start;
    // More labels than that are in no network.
    for _ in 0..8 {
        let [_, _, bottom, _] = packet.bytes(at)?;
        at = packet.forget(at + 4);
        if bottom & 1 == 1 {
            version(packet, at)?;
            return Some(at);
        }
    }
    None
}

#[inline(always)]
fn version<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<u16> {
    match packet.u8(at)? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

/// Protocol, offset of what is carried, version.
type Ip = (u8, usize, u8);

#[inline(always)]
fn ipv4<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Ip> {
    let header: [u8; 20] = packet.bytes(at)?;
    let length = (header[0] & 0x0f) as usize * 4;
    // A fragment other than the whole has not all of what it carries.
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    (header[0] >> 4 == 4 && length >= 20 && fragment == 0).then_some((header[9], at + length, 4))
}

/// With up to four hop-by-hop or destination options before the payload.
#[inline(always)]
fn ipv6<P: Packet + ?Sized>(packet: &P, start: usize) -> Option<Ip> {
    let (mut next, mut at) = (packet.u8(start + 6)?, start + 40);
    for _ in 0..4 {
        if !matches!(next, 0 | 60) {
            break;
        }
        let [after, length] = packet.bytes(at)?;
        next = after;
        at = packet.forget(at + (length as usize + 1) * 8);
    }
    Some((next, at, 6))
}
