//! The TCP header that an ICMP error quotes, as Wireshark reads it: it counts the quotation as one more segment.
//!
//! Errors of every kind count, and only where sixteen bytes of the header are there. The meaning of an error for a
//! handshake is [`tcptrace_core::segment`]'s.

use tcptrace_core::{
    flow::Endpoint,
    packet::Packet,
    segment::{self, Flags, IcmpError, Kind, Link},
    seq::Seq,
};
use tcptrace_vocabulary::foreign::{Dissection, Glance};

/// A segment quoted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub glance: Glance,
}

/// Bytes of a TCP header up to and with its window: Wireshark reads these before it uses any.
const READ: usize = 16;

/// Whether an error is a host's about a SYN of its own: the sender is the one that it quotes. A router's error about a
/// SYN that was not captured, and the backscatter of a forged one, come from somebody else.
pub(super) fn is_own_syn<P: Packet + ?Sized>(error: &IcmpError, packet: &P, link: Link) -> bool {
    error.from == error.src.addr
        && quoted(packet, link).is_some_and(|it| it.glance.flags.kind() == Kind::Syn && it.glance.seq == error.seq)
}

/// The quoted segment of a frame that is an error.
pub(super) fn quoted<P: Packet + ?Sized>(packet: &P, link: Link) -> Option<Quoted> {
    let ip = segment::network(packet, link).ok()?;
    let v6 = !ip.src.is_v4();
    let [kind, _, _, _, _, words]: [u8; 6] = packet.bytes(ip.at)?;
    // Unreachable, source quench, time exceeded, parameter problem; of a redirect only eight bytes are looked at.
    // `words` is the length of the quotation; an extension lies behind it (RFC 4884, section 4).
    let dissected = match (v6, ip.protocol) {
        (false, segment::ICMP) => matches!(kind, 3 | 4 | 11 | 12) && !matches!(words, 1..=3),
        (true, segment::ICMPV6) => matches!(kind, 1..=4),
        _ => false,
    };
    if !dissected {
        return None;
    }
    let at = ip.at + 8;
    let inner = if v6 { segment::ipv6(packet, at) } else { segment::ipv4(packet, at, false) }.ok()?;
    let unsaid = inner.length == 0;
    // An error without a length of its own is as long as the frame.
    let outer_end = if ip.length == 0 { usize::MAX } else { ip.at + usize::from(ip.length) };
    if inner.protocol != segment::TCP || inner.at + READ > outer_end || (!unsaid && usize::from(inner.length) < READ) {
        return None;
    }
    let header: [u8; READ] = packet.bytes(inner.at)?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, ..] = header;
    Some(Quoted {
        src: Endpoint { addr: inner.src, port: u16::from_be_bytes([s0, s1]) },
        dst: Endpoint { addr: inner.dst, port: u16::from_be_bytes([d0, d1]) },
        glance: Glance {
            flags: Flags(flags),
            seq: Seq(u32::from_be_bytes([q0, q1, q2, q3])),
            ack: Seq(u32::from_be_bytes([a0, a1, a2, a3])),
            payload: 0,
            dissection: if offset >> 4 < 5 { Dissection::Nothing } else { Dissection::Unknown },
        },
    })
}
