//! ICMP and ICMPv6 errors, and the start of the segment that they quote.

use super::{
    Skip,
    ip::{ICMPV6, Network, TCP, ipv4, ipv6, u16_at, u32_at, within_reach},
};
use crate::{
    flow::{Addr, Endpoint},
    packet::Packet,
    seq::Seq,
};

/// An ICMP or ICMPv6 error about a TCP segment (RFC 792, RFC 4443): its sender, and the start of the quoted segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    pub from: Addr,
    pub icmp: Icmp,
    /// The quoted segment's source and destination.
    pub src: Endpoint,
    pub dst: Endpoint,
    pub seq: Seq,
}

/// Type and code of an ICMP error, and its family, which decides what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Icmp {
    pub v6: bool,
    pub kind: u8,
    pub code: u8,
}

/// Errors that end or delay a connect: destination unreachable (fragmentation needed aside), time exceeded, parameter
/// problem. The quotation has at least eight bytes of the TCP header: ports and sequence number.
#[inline(always)]
pub(super) fn icmp_error<P: Packet + ?Sized>(packet: &P, ip: &Network) -> Result<IcmpError, Skip> {
    let [kind, code] = packet.bytes(ip.at).ok_or(Skip::Malformed)?;
    let v6 = ip.protocol == ICMPV6;
    let error = if v6 { matches!(kind, 1 | 3 | 4) } else { matches!((kind, code), (3, 0..=3 | 5..) | (11 | 12, _)) };
    if !error {
        return Err(Skip::NotTcp);
    }
    let at = ip.at + 8;
    let quoted = within_reach(packet, if v6 { ipv6(packet, at)? } else { ipv4(packet, at, true)? })?;
    if quoted.protocol != TCP {
        return Err(Skip::NotTcp);
    }
    let header: [u8; 8] = packet.bytes(quoted.at).ok_or(Skip::Malformed)?;
    Ok(IcmpError {
        from: ip.src,
        icmp: Icmp { v6, kind, code },
        src: Endpoint { addr: quoted.src, port: u16_at(&header, 0) },
        dst: Endpoint { addr: quoted.dst, port: u16_at(&header, 2) },
        seq: Seq(u32_at(&header, 4)),
    })
}
