//! `--decap`: from a tunnel's packet to the one inside it. VXLAN, Geneve, GRE, IP in IP (both versions in both), MPLS.
//!
//! Reads what is needed to find the inner packet and nothing else; a tunnel it cannot follow (encrypted, fragmented, a
//! version it does not know) is left as the packet it is.

use tcptrace_core::{flow::Addr, segment::Link};

/// A packet that was inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner<'a> {
    pub octets: &'a [u8],
    pub link: Link,
    /// The innermost tunnel around it.
    pub outer: Outer,
}

/// A tunnel, by one packet in it: its kind, and its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    pub kind: &'static str,
    /// `None` where the tunnel has no addresses of its own: MPLS.
    pub ends: Option<(Addr, Addr)>,
}

/// Tunnels in tunnels that are looked into.
const DEPTH: usize = 4;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: [u16; 2] = [0x8847, 0x8848];
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Transparent Ethernet bridging (RFC 1701's number, used by GRE, Geneve).
const ETHERNET: u16 = 0x6558;

/// The innermost packet of a frame; `None` where it is in no tunnel.
#[must_use]
pub fn inner(octets: &[u8], link: Link) -> Option<Inner<'_>> {
    let mut found: Option<Inner<'_>> = None;
    for _ in 0..DEPTH {
        let (octets, link) = found.map_or((octets, link), |it| (it.octets, it.link));
        match step(octets, link) {
            Some(it) => found = Some(it),
            None => break,
        }
    }
    found
}

/// Out of one tunnel.
fn step(octets: &[u8], link: Link) -> Option<Inner<'_>> {
    let (mut at, mut ethertype) = match link {
        Link::Ethernet => (14, u16_at(octets, 12)?),
        Link::Ip => (0, version(octets)?),
    };
    for _ in 0..2 {
        if VLAN.contains(&ethertype) {
            ethertype = u16_at(octets, at + 2)?;
            at += 4;
        }
    }
    if MPLS.contains(&ethertype) {
        let octets = labels(octets.get(at..)?)?;
        return Some(Inner { octets, link: Link::Ip, outer: Outer { kind: "mpls", ends: None } });
    }
    let (protocol, payload, ends) = match ethertype {
        IPV4 => ipv4(octets.get(at..)?)?,
        IPV6 => ipv6(octets.get(at..)?)?,
        _ => return None,
    };
    let (kind, link, octets) = match protocol {
        4 | 41 => {
            version(payload)?;
            (if protocol == 4 { "ipip" } else { "sit" }, Link::Ip, payload)
        }
        47 => {
            let (link, octets) = gre(payload)?;
            ("gre", link, octets)
        }
        17 => match u16_at(payload, 2)? {
            4789 if payload.get(8)? & 0x08 != 0 => ("vxlan", Link::Ethernet, payload.get(16..)?),
            6081 if payload.get(8)? >> 6 == 0 => {
                let options = usize::from(payload.get(8)? & 0x3f) * 4;
                let (link, octets) = by_type(u16_at(payload, 10)?, payload.get(16 + options..)?)?;
                ("geneve", link, octets)
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(Inner { octets, link, outer: Outer { kind, ends: Some(ends) } })
}

/// RFC 2784, RFC 2890.
fn gre(octets: &[u8]) -> Option<(Link, &[u8])> {
    let flags = u16_at(octets, 0)?;
    if flags & 7 != 0 {
        return None;
    }
    // Checksum, key, sequence number: four octets each where there are any.
    let options = [0x8000, 0x2000, 0x1000].iter().filter(|bit| flags & **bit != 0).count() * 4;
    by_type(u16_at(octets, 2)?, octets.get(4 + options..)?)
}

fn by_type(ethertype: u16, octets: &[u8]) -> Option<(Link, &[u8])> {
    match ethertype {
        ETHERNET => Some((Link::Ethernet, octets)),
        IPV4 | IPV6 => Some((Link::Ip, octets)),
        it if MPLS.contains(&it) => Some((Link::Ip, labels(octets)?)),
        _ => None,
    }
}

/// Behind the label stack (RFC 3032): what is there says by its first four bits whether it is IP.
fn labels(octets: &[u8]) -> Option<&[u8]> {
    // More labels than that are in no network.
    let last = octets.chunks_exact(4).take(8).position(|label| label[2] & 1 == 1)?;
    let inside = &octets[(last + 1) * 4..];
    version(inside)?;
    Some(inside)
}

fn version(octets: &[u8]) -> Option<u16> {
    match octets.first()? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

type Ip<'a> = (u8, &'a [u8], (Addr, Addr));

fn ipv4(octets: &[u8]) -> Option<Ip<'_>> {
    let header = usize::from(octets.first()? & 0x0f) * 4;
    let word = |at: usize| Some(u32::from_be_bytes(octets.get(at..at + 4)?.try_into().ok()?));
    // A fragment other than the whole has not all of what it carries.
    if octets[0] >> 4 != 4 || header < 20 || u16_at(octets, 6)? & 0x3fff != 0 {
        return None;
    }
    Some((*octets.get(9)?, octets.get(header..)?, (Addr::v4(word(12)?), Addr::v4(word(16)?))))
}

/// With up to four hop-by-hop or destination options before the payload.
fn ipv6(octets: &[u8]) -> Option<Ip<'_>> {
    let word = |at: usize| Some(u64::from_be_bytes(octets.get(at..at + 8)?.try_into().ok()?));
    let ends = (Addr { hi: word(8)?, lo: word(16)? }, Addr { hi: word(24)?, lo: word(32)? });
    let (mut next, mut at) = (*octets.get(6)?, 40);
    for _ in 0..4 {
        if !matches!(next, 0 | 60) {
            break;
        }
        next = *octets.get(at)?;
        at += (usize::from(*octets.get(at + 1)?) + 1) * 8;
    }
    Some((next, octets.get(at..)?, ends))
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}
