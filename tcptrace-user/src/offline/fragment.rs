//! A fragment of a TCP segment: the datagram that it belongs to, and its place there. Used offline alone, and only
//! where [`tcptrace_core::segment::locate`] says that the packet is a fragment.

use tcptrace_core::{
    flow::Addr,
    packet::Packet,
    segment::{self, IPV4, IPV6, Link, TCP},
};

/// The key of a datagram: its ends, its number, whether it is IPv6.
pub(super) type Datagram = (Addr, Addr, u32, bool);

/// A part of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub of: Datagram,
    /// The offset in the segment.
    pub offset: usize,
    /// The offset in the packet.
    pub at: usize,
    pub length: usize,
    /// Whether it is not the last.
    pub more: bool,
}

/// The fragment that a packet is.
pub(super) fn fragment<P: Packet + ?Sized>(packet: &P, link: Link) -> Option<Fragment> {
    let (at, ethertype) = segment::network_header(packet, link).ok()?;
    match ethertype {
        IPV4 => ipv4(packet, at),
        IPV6 => ipv6(packet, at),
        _ => None,
    }
}

/// RFC 791, section 3.1.
fn ipv4<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Fragment> {
    let [first, _, t0, t1, i0, i1, f0, f1, _, protocol, ..]: [u8; 12] = packet.bytes(at)?;
    let addr = |at| packet.bytes(at).map(|it| Addr::v4(u32::from_be_bytes(it)));
    let header = usize::from(first & 0x0f) * 4;
    let place = u16::from_be_bytes([f0, f1]);
    let fragment = Fragment {
        of: (addr(at + 12)?, addr(at + 16)?, u16::from_be_bytes([i0, i1]).into(), false),
        offset: usize::from(place & 0x1fff) * 8,
        at: at + header,
        length: usize::from(u16::from_be_bytes([t0, t1])).checked_sub(header)?,
        more: place & 0x2000 != 0,
    };
    (first >> 4 == 4 && protocol == TCP && place & 0x3fff != 0).then_some(fragment)
}

/// RFC 8200, section 4.5, without other extension headers.
fn ipv6<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Fragment> {
    const FRAGMENT: u8 = 44;
    let [_, _, _, _, l0, l1, next, _]: [u8; 8] = packet.bytes(at)?;
    let [protocol, _, f0, f1, i0, i1, i2, i3]: [u8; 8] = packet.bytes(at + 40)?;
    let half = |at| packet.bytes(at).map(u64::from_be_bytes);
    let place = u16::from_be_bytes([f0, f1]);
    let fragment = Fragment {
        of: (
            Addr { hi: half(at + 8)?, lo: half(at + 16)? },
            Addr { hi: half(at + 24)?, lo: half(at + 32)? },
            u32::from_be_bytes([i0, i1, i2, i3]),
            true,
        ),
        offset: usize::from(place & !7),
        at: at + 48,
        length: usize::from(u16::from_be_bytes([l0, l1])).checked_sub(8)?,
        more: place & 1 != 0,
    };
    (next == FRAGMENT && protocol == TCP && place & !6 != 0).then_some(fragment)
}
