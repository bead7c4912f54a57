//! IPv4 and IPv6, and the numbers of a header.

use super::{
    Skip,
    link::{IPV4, IPV6, Link, network_header},
};
use crate::{
    flow::Addr,
    packet::{Packet, REACH},
};

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const ICMPV6: u8 = 58;

/// IPv6 extension headers that are looked behind; Linux and hardware give up at about as many.
const MAX_EXTENSIONS: usize = 6;

/// An IP header's account of what follows it.
pub struct Network {
    pub src: Addr,
    pub dst: Addr,
    pub protocol: u8,
    pub(super) ttl: u8,
    /// Offset of the next header.
    pub at: usize,
    /// Bytes from `at` to the end of the datagram.
    pub length: u16,
    /// Whether more fragments follow this one.
    pub is_fragment: bool,
    pub(super) id: u16,
}

#[inline(always)]
pub fn network<P: Packet + ?Sized>(packet: &P, link: Link) -> Result<Network, Skip> {
    let (at, ethertype) = network_header(packet, link)?;
    let ip = match ethertype {
        IPV4 => ipv4(packet, at, false)?,
        IPV6 => ipv6(packet, at)?,
        _ => return Err(Skip::NotIp),
    };
    within_reach(packet, ip)
}

#[inline(always)]
pub(super) fn within_reach<P: Packet + ?Sized>(packet: &P, ip: Network) -> Result<Network, Skip> {
    if ip.at >= REACH {
        return Err(Skip::Malformed);
    }
    Ok(Network { at: packet.forget(ip.at), ..ip })
}

/// RFC 791. A `quoted` header is one that an ICMP error carries: its length may exceed the quotation.
#[inline(always)]
pub fn ipv4<P: Packet + ?Sized>(packet: &P, at: usize, quoted: bool) -> Result<Network, Skip> {
    let header: [u8; 20] = packet.bytes(at).ok_or(Skip::Malformed)?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let total = u16_at(&header, 2);
    // A total length of zero is a segmentation offload's: the frame is larger than the field can say. One that leaves
    // nothing behind the header is not to be taken for it.
    if header[0] >> 4 != 4 || length < 20 || (total != 0 && usize::from(total) <= length && !quoted) {
        return Err(Skip::Malformed);
    }
    if u16_at(&header, 6) & 0x1fff != 0 {
        return Err(Skip::LaterFragment);
    }
    Ok(Network {
        src: Addr::v4(u32_at(&header, 12)),
        dst: Addr::v4(u32_at(&header, 16)),
        protocol: header[9],
        ttl: header[8],
        at: at + length,
        length: total.saturating_sub(length as u16),
        is_fragment: P::TELLS_FRAGMENTS && u16_at(&header, 6) & 0x2000 != 0,
        id: u16_at(&header, 4),
    })
}

/// RFC 8200, with its extension headers (section 4) and the authentication header (RFC 4302).
#[inline(always)]
pub fn ipv6<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Network, Skip> {
    let header: [u8; 40] = packet.bytes(at).ok_or(Skip::Malformed)?;
    if header[0] >> 4 != 6 {
        return Err(Skip::Malformed);
    }
    let next = header[6];
    let first = at + 40;
    let (protocol, at, is_fragment) =
        if matches!(next, TCP | ICMPV6) { (next, first, false) } else { extensions(packet, next, first)? };
    Ok(Network {
        src: Addr { hi: u64_at(&header, 8), lo: u64_at(&header, 16) },
        dst: Addr { hi: u64_at(&header, 24), lo: u64_at(&header, 32) },
        protocol,
        ttl: header[7],
        at,
        length: u16_at(&header, 4).saturating_sub((at - first) as u16),
        is_fragment,
        id: 0,
    })
}

/// Numbers in network order at constant offsets of a header that has been read whole.
#[inline(always)]
pub(crate) fn u16_at<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

#[inline(always)]
pub(crate) fn u32_at<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    (u16_at(header, at) as u32) << 16 | u16_at(header, at + 2) as u32
}

#[inline(always)]
pub(crate) fn u64_at<const N: usize>(header: &[u8; N], at: usize) -> u64 {
    (u32_at(header, at) as u64) << 32 | u32_at(header, at + 4) as u64
}

#[inline(always)]
fn extensions<P: Packet + ?Sized>(packet: &P, mut next: u8, mut at: usize) -> Result<(u8, usize, bool), Skip> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    const MOBILITY: u8 = 135;
    let mut is_fragment = false;
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY) {
            break;
        }
        let header: [u8; 4] = packet.bytes(at).ok_or(Skip::Malformed)?;
        let length = usize::from(header[1]);
        is_fragment |= P::TELLS_FRAGMENTS && next == FRAGMENT && u16_at(&header, 2) & 1 != 0;
        at += match next {
            FRAGMENT if u16_at(&header, 2) & !7 != 0 => return Err(Skip::LaterFragment),
            FRAGMENT => 8,
            AUTHENTICATION => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        next = header[0];
    }
    Ok((next, at, is_fragment))
}
