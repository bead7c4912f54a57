//! From a frame to a TCP segment, or to the segment that an ICMP error quotes.
//!
//! Two steps, because most packets need only the first: [`locate`] finds addresses, ports and flags, [`Segment::read`]
//! the numbers and the options. Nothing here judges a packet: impossible flags and odd options are read as they are.

mod icmp;
mod ip;
mod link;
mod tcp;

use self::icmp::icmp_error;
pub(crate) use self::ip::{u16_at, u32_at, u64_at};
pub use self::{
    icmp::{Icmp, IcmpError},
    ip::{ICMP, ICMPV6, Network, TCP, ipv4, ipv6, network},
    link::{IPV4, IPV6, Link, network_header},
    tcp::{Flags, Kind, Options, Segment},
};
use crate::{
    flow::{Addr, Endpoint},
    packet::Packet,
    seq::Seq,
};

/// Why a packet is not a TCP segment to look at. Each is a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Neither IPv4 nor IPv6: ARP, LLDP, a third VLAN tag.
    NotIp,
    /// Another protocol over IP, ICMP that quotes no TCP segment included.
    NotTcp,
    /// A fragment other than the first: it has no TCP header.
    LaterFragment,
    /// The packet ends before its headers do, or a length in them cannot be.
    Malformed,
}

/// The place of a packet's TCP header, and the facts that every packet is asked for: its ends and its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub flags: Flags,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The TCP header's first sixteen bytes, and the offset of its options.
    header: [u8; 16],
    options: usize,
    /// Bytes of TCP header and payload by the IP header's account.
    length: u16,
    /// Whether it is a first fragment, where the packet says so.
    pub is_fragment: bool,
    /// The IPv4 identification; 0 in IPv6.
    id: u16,
}

impl Located {
    /// Bytes of the TCP header by its own account; fewer than 20 make it none.
    #[inline(always)]
    #[must_use]
    pub fn header(&self) -> usize {
        usize::from(self.header[12] >> 4) * 4
    }

    /// The sequence number.
    #[inline(always)]
    #[must_use]
    pub fn seq(&self) -> Seq {
        Seq(u32_at(&self.header, 4))
    }

    /// The acknowledgement number, whatever the flags say of it.
    #[inline(always)]
    #[must_use]
    pub fn ack(&self) -> Seq {
        Seq(u32_at(&self.header, 8))
    }

    /// Bytes of TCP header and payload by the IP header's account.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> u16 {
        self.length
    }

    /// The same, of a packet that had `wire` bytes from the one that offsets are counted from: a segment is no longer
    /// than what was on the wire, and an IPv4 packet without a length (segmentation offload) as long as that.
    #[must_use]
    pub fn of_length(mut self, wire: usize) -> Self {
        let rest = u16::try_from(wire.saturating_sub(self.options - 20)).unwrap_or(u16::MAX);
        let unsaid = self.length == 0 && self.src.addr.is_v4();
        self.length = if unsaid { rest } else { self.length.min(rest) };
        self
    }

    /// The same, of a packet whose header cannot say its length.
    #[must_use]
    pub fn of_whole(self, wire: usize) -> Self {
        Self { length: u16::MAX, ..self }.of_length(wire)
    }

    /// The same, each number put through `forget`: for the verifier, which otherwise follows each of many ways through
    /// the headers to the program's end.
    #[inline(always)]
    #[must_use]
    pub fn blurred(self, forget: impl Fn(u64) -> u64) -> Self {
        let endpoint = |it: Endpoint| Endpoint {
            addr: Addr { hi: forget(it.addr.hi), lo: forget(it.addr.lo) },
            port: forget(it.port.into()) as u16,
        };
        Self {
            src: endpoint(self.src),
            dst: endpoint(self.dst),
            flags: Flags(forget(self.flags.0.into()) as u8),
            ttl: forget(self.ttl.into()) as u8,
            options: forget(self.options as u64) as usize,
            length: forget(self.length.into()) as u16,
            is_fragment: forget(self.is_fragment.into()) & 1 != 0,
            id: forget(self.id.into()) as u16,
            header: self.header,
        }
    }

    /// Offset of the first byte behind the TCP header, by its own account.
    #[inline(always)]
    #[must_use]
    pub fn end(&self) -> usize {
        self.options + self.header() - 20
    }
}

/// The kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Tcp(Located),
    /// An ICMP or ICMPv6 error about a TCP segment.
    Error(IcmpError),
    Skipped(Skip),
}

/// The ends of what nearly every packet is: a segment without SYN, FIN and RST right behind an IP header without
/// options, tags or extensions. `None` says nothing of a packet: [`locate`] does.
#[inline(always)]
pub fn glance<P: Packet + ?Sized>(packet: &P, link: Link) -> Option<(Endpoint, Endpoint)> {
    const OPENS_OR_ENDS: u8 = Flags::SYN | Flags::FIN | Flags::RST;
    let at = match link {
        Link::Ethernet => 14,
        Link::Ip => 0,
    };
    let is = |ethertype, first: u8| match link {
        Link::Ethernet => packet.u16(12) == Some(ethertype),
        Link::Ip => packet.u8(0).is_some_and(|it| it >> 4 == first >> 4),
    };
    if is(IPV4, 0x40) {
        let (ip, tcp): ([u8; 20], [u8; 16]) = (packet.bytes(at)?, packet.bytes(at + 20)?);
        let plain = ip[0] == 0x45 && u16_at(&ip, 6) & 0x1fff == 0 && ip[9] == TCP && tcp[13] & OPENS_OR_ENDS == 0;
        let end = |addr, port| Endpoint { addr: Addr::v4(u32_at(&ip, addr)), port: u16_at(&tcp, port) };
        // A length that leaves nothing behind the header is somebody else's to judge.
        (plain && u16_at(&ip, 2) > 20).then(|| (end(12, 0), end(16, 2)))
    } else if is(IPV6, 0x60) {
        let (ip, tcp): ([u8; 40], [u8; 16]) = (packet.bytes(at)?, packet.bytes(at + 40)?);
        let plain = ip[0] >> 4 == 6 && ip[6] == TCP && tcp[13] & OPENS_OR_ENDS == 0;
        let addr = |at| Addr { hi: u64_at(&ip, at), lo: u64_at(&ip, at + 8) };
        let end = |at, port| Endpoint { addr: addr(at), port: u16_at(&tcp, port) };
        plain.then(|| (end(8, 0), end(24, 2)))
    } else {
        None
    }
}

/// Finds the TCP header, or the ICMP error.
#[inline(always)]
pub fn locate<P: Packet + ?Sized>(packet: &P, link: Link) -> Found {
    match try_locate(packet, link) {
        Ok(found) => found,
        Err(skip) => Found::Skipped(skip),
    }
}

#[inline(always)]
fn try_locate<P: Packet + ?Sized>(packet: &P, link: Link) -> Result<Found, Skip> {
    let ip = network(packet, link)?;
    match ip.protocol {
        TCP => {
            let header: [u8; 16] = packet.bytes(ip.at).ok_or(Skip::Malformed)?;
            Ok(Found::Tcp(Located {
                src: Endpoint { addr: ip.src, port: u16_at(&header, 0) },
                dst: Endpoint { addr: ip.dst, port: u16_at(&header, 2) },
                flags: Flags(header[13]),
                ttl: ip.ttl,
                header,
                options: ip.at + 20,
                length: ip.length,
                is_fragment: ip.is_fragment,
                id: ip.id,
            }))
        }
        ICMP if ip.src.is_v4() => icmp_error(packet, &ip).map(Found::Error),
        ICMPV6 if !ip.src.is_v4() => icmp_error(packet, &ip).map(Found::Error),
        _ => Err(Skip::NotTcp),
    }
}
