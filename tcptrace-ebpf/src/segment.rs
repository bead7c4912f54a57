//! From a frame to a TCP segment, or to the segment that an ICMP error quotes.
//!
//! Two steps, because most packets need only the first: [`locate`] finds addresses, ports and flags, [`Segment::read`]
//! the numbers and the options. Nothing here judges a packet: impossible flags and odd options are read as they are.

use crate::{
    flow::{Addr, Endpoint},
    packet::{Packet, REACH},
    seq::Seq,
};

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header.
    Ethernet,
    /// An IP header: tun, wireguard.
    Ip,
}

/// TCP's eight flag bits (RFC 9293, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;

    /// Whether any of these bits is set.
    #[inline(always)]
    #[must_use]
    pub const fn any(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// What the segment is to the handshake. RST decides before SYN, SYN before FIN: the order in which a receiver
    /// tests them (RFC 9293, section 3.10.7).
    #[inline(always)]
    #[must_use]
    pub const fn kind(self) -> Kind {
        if self.any(Self::RST) {
            Kind::Rst
        } else if self.any(Self::SYN) {
            if self.any(Self::ACK) { Kind::SynAck } else { Kind::Syn }
        } else if self.any(Self::FIN) {
            Kind::Fin
        } else if self.any(Self::ACK) {
            Kind::Ack
        } else {
            Kind::Null
        }
    }
}

/// What a segment is to the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Syn,
    SynAck,
    /// An acknowledgement, with or without data.
    Ack,
    Fin,
    Rst,
    /// None of SYN, ACK, FIN and RST.
    Null,
}

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

/// Where a packet's TCP header is, and what every packet is asked: whose, and with which flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub flags: Flags,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The TCP header's first sixteen octets, and the offset of its options.
    header: [u8; 16],
    options: usize,
    /// Octets of TCP header and payload by the IP header's account.
    length: u16,
    /// Whether it is a first fragment, where the packet tells.
    pub is_fragment: bool,
    /// The IPv4 identification; 0 in IPv6.
    id: u16,
}

impl Located {
    /// Octets of the TCP header by its own account; fewer than 20 make it none.
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

    /// Octets of TCP header and payload by the IP header's account.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> u16 {
        self.length
    }

    /// The same, of a packet that had `wire` octets from the one that offsets are counted from: a segment is no longer
    /// than what was on the wire, and an IPv4 packet without a length (segmentation offload) as long as that.
    #[must_use]
    pub fn of_length(mut self, wire: usize) -> Self {
        let rest = u16::try_from(wire.saturating_sub(self.options - 20)).unwrap_or(u16::MAX);
        let unsaid = self.length == 0 && self.src.addr.is_v4();
        self.length = if unsaid { rest } else { self.length.min(rest) };
        self
    }

    /// The same, each number put through `forget`: for the verifier, which otherwise follows each of many ways through the
    /// headers to the program's end.
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

    /// Offset of the first octet behind the TCP header, by its own account.
    #[inline(always)]
    #[must_use]
    pub fn end(&self) -> usize {
        self.options + self.header() - 20
    }
}

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Tcp(Located),
    /// An ICMP or ICMPv6 error about a TCP segment.
    Error(IcmpError),
    Skipped(Skip),
}

/// An ICMP or ICMPv6 error about a TCP segment (RFC 792, RFC 4443): who sent it, and the start of what it quotes.
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

pub const TCP: u8 = 6;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad and the older 0x9100 of double tagging.
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// VLAN tags that are looked behind.
const MAX_TAGS: usize = 2;
/// IPv6 extension headers that are looked behind; Linux and hardware give up at about as many.
const MAX_EXTENSIONS: usize = 6;

/// An IP header's account of what follows it.
pub struct Network {
    pub src: Addr,
    pub dst: Addr,
    pub protocol: u8,
    ttl: u8,
    /// Offset of the next header.
    pub at: usize,
    /// Octets from `at` to the end of the datagram.
    pub length: u16,
    /// Whether more fragments follow this one.
    pub is_fragment: bool,
    id: u16,
}

/// The ends of what nearly every packet is: a segment without SYN, FIN and RST right behind an IP header without options,
/// tags or extensions. `None` says nothing of a packet: [`locate`] does.
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

/// Where the IP header is, if it is one, by its EtherType.
#[inline(always)]
pub fn network_header<P: Packet + ?Sized>(packet: &P, link: Link) -> Result<(usize, u16), Skip> {
    let mut at = 0;
    let mut ethertype = match link {
        Link::Ethernet => {
            at = 14;
            packet.u16(12).ok_or(Skip::NotIp)?
        }
        Link::Ip => match packet.u8(0).ok_or(Skip::Malformed)? >> 4 {
            4 => IPV4,
            6 => IPV6,
            _ => return Err(Skip::NotIp),
        },
    };
    for _ in 0..MAX_TAGS {
        // IP first: most packets carry no tag.
        if matches!(ethertype, IPV4 | IPV6) || !VLAN.contains(&ethertype) {
            break;
        }
        ethertype = packet.u16(at + 2).ok_or(Skip::Malformed)?;
        at += 4;
    }
    Ok((at, ethertype))
}

#[inline(always)]
fn within_reach<P: Packet + ?Sized>(packet: &P, ip: Network) -> Result<Network, Skip> {
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

/// Errors that end or delay a connect: destination unreachable (fragmentation needed aside), time exceeded, parameter
/// problem. The quotation has at least eight octets of the TCP header: ports and sequence number.
#[inline(always)]
fn icmp_error<P: Packet + ?Sized>(packet: &P, ip: &Network) -> Result<IcmpError, Skip> {
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

/// A TCP segment, as far as a handshake cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub flags: Flags,
    pub seq: Seq,
    pub ack: Seq,
    /// As on the wire: unscaled.
    pub window: u16,
    pub ttl: u8,
    /// Octets of payload.
    pub payload: u16,
    /// Whether its IPv4 header has an identification, which is any but 0.
    pub has_id: bool,
    /// Whether its header is longer than the twenty octets of one without options.
    pub has_options: bool,
    /// Read only where SYN is set.
    pub options: Options,
}

/// The options of a SYN or SYN/ACK, and what its header says beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which options are there: the constants below.
    pub present: u8,
    /// Maximum segment size (RFC 9293, section 3.7.1); zero where absent.
    pub mss: u16,
    /// Window scale shift (RFC 7323, section 2.2); zero where absent.
    pub window_scale: u8,
}

impl Options {
    pub const MSS: u8 = 0x01;
    pub const WINDOW_SCALE: u8 = 0x02;
    pub const SACK_PERMITTED: u8 = 0x04;
    pub const TIMESTAMPS: u8 = 0x08;
    pub const FAST_OPEN: u8 = 0x10;
    pub const MPTCP: u8 = 0x20;
    /// ECN asked for or agreed to, by the header's flags (RFC 3168, section 6.1.1).
    pub const ECN: u8 = 0x40;
    /// The option list breaks off or contradicts itself.
    pub const MALFORMED: u8 = 0x80;
}

impl Segment {
    /// Reads the rest of a located segment.
    #[inline(always)]
    pub fn read<P: Packet + ?Sized>(packet: &P, it: &Located) -> Self {
        let mut options = Options::default();
        if it.flags.any(Flags::SYN) {
            options = Options::read(packet, it.options, it.end());
            let ecn = it.flags.0 & (Flags::ECE | Flags::CWR);
            let asked = Flags::ECE | if it.flags.any(Flags::ACK) { 0 } else { Flags::CWR };
            if ecn == asked {
                options.present |= Options::ECN;
            }
        }
        Self {
            src: it.src,
            dst: it.dst,
            flags: it.flags,
            seq: it.seq(),
            ack: it.ack(),
            window: u16_at(&it.header, 14),
            ttl: it.ttl,
            payload: it.length.saturating_sub((it.header[12] >> 4) as u16 * 4),
            has_id: it.id != 0,
            has_options: it.header() > 20,
            options,
        }
    }
}

impl Options {
    /// Reads the option list between two offsets. A list that breaks off keeps what came before.
    #[inline(always)]
    fn read<P: Packet + ?Sized>(packet: &P, start: usize, end: usize) -> Self {
        let mut options = Self::default();
        let mut done = 0;
        // No option but padding is shorter than two octets, and forty octets are all there can be.
        for _ in 0..40 {
            done = packet.forget(done);
            if start + done >= end {
                break;
            }
            match options.read_one(packet, start + done, end) {
                Some(0) => break,
                Some(length) => done += length,
                None => {
                    options.present |= Self::MALFORMED;
                    break;
                }
            }
        }
        options
    }

    /// Reads the option at `at`; its length, 0 at the end of the list, `None` where it cannot be.
    #[inline(always)]
    fn read_one<P: Packet + ?Sized>(&mut self, packet: &P, at: usize, end: usize) -> Option<usize> {
        let kind = packet.u8(at)?;
        if kind == 0 {
            return Some(0);
        }
        if kind == 1 {
            return Some(1);
        }
        let length = usize::from(packet.u8(at + 1)?);
        if length < 2 || at + length > end {
            return None;
        }
        match (kind, length) {
            (2, 4) => {
                self.mss = packet.u16(at + 2)?;
                self.present |= Self::MSS;
            }
            (3, 3) => {
                self.window_scale = packet.u8(at + 2)?;
                self.present |= Self::WINDOW_SCALE;
            }
            (4, 2) => self.present |= Self::SACK_PERMITTED,
            (8, 10) => self.present |= Self::TIMESTAMPS,
            (30, _) => self.present |= Self::MPTCP,
            (34, _) => self.present |= Self::FAST_OPEN,
            _ => {}
        }
        Some(length)
    }
}
