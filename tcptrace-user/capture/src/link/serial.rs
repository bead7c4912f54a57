//! Link layers of point-to-point lines and of Linux's packet log: PPP in its framings, Cisco HDLC, PPPoE, NFLOG.
//!
//! Each is read as far as the IP packet in it. PPP's multilink and compression are not followed.

use super::{Payload, by_type, ip, u16_at};

/// PPP, with or without HDLC's address and control (RFC 1661, RFC 1662). Cisco's own framing has other addresses.
pub(super) fn ppp(octets: &[u8]) -> Payload<'_> {
    match octets {
        [0xff, 0x03, rest @ ..] => protocol(rest),
        [0x0f | 0x8f, ..] => cisco(octets),
        _ => protocol(octets),
    }
}

/// The same with the direction in place of the address.
pub(super) fn pppd(octets: &[u8]) -> Payload<'_> {
    match octets {
        [_, 0x03, rest @ ..] => protocol(rest),
        _ => Payload::Other,
    }
}

/// PPPoE from its version on (RFC 2516, section 4): version, type and code, session, length.
pub(super) fn pppoe(octets: &[u8]) -> Payload<'_> {
    match octets {
        [0x11, 0, _, _, _, _, rest @ ..] => protocol(rest),
        _ => Payload::Other,
    }
}

/// A PPP protocol number, which may be shortened to its lower byte (RFC 1661, section 2).
fn protocol(octets: &[u8]) -> Payload<'_> {
    match octets {
        [0, 0x21 | 0x57, packet @ ..] | [0x21 | 0x57, packet @ ..] => ip(packet),
        _ => Payload::Other,
    }
}

/// Cisco HDLC (RFC 1547, section 4.3.1): address, control, EtherType.
pub(super) fn cisco(octets: &[u8]) -> Payload<'_> {
    match (u16_at(octets, 2), octets.get(4..)) {
        (Some(ethertype), Some(packet)) => by_type(ethertype, packet),
        _ => Payload::Other,
    }
}

/// Linux's packet log (`tcpdump -i nflog`): family, version, resource, then attributes, of which one is the packet.
/// Their lengths are in the byte order of the machine that captured, which only they show.
pub(super) fn nflog(octets: &[u8]) -> Payload<'_> {
    const PACKET: u16 = 9;
    let Some(mut attributes) = octets.get(4..).filter(|it| it.len() >= 4) else { return Payload::Other };
    let is_little = {
        let first = u16::from_le_bytes([attributes[0], attributes[1]]);
        (4..=attributes.len()).contains(&usize::from(first))
    };
    let number = |octets: [u8; 2]| if is_little { u16::from_le_bytes(octets) } else { u16::from_be_bytes(octets) };
    while let [a, b, c, d, rest @ ..] = attributes {
        let (length, kind) = (usize::from(number([*a, *b])), number([*c, *d]));
        let Some(value) = length.checked_sub(4) else { break };
        if kind == PACKET {
            // The snapshot length may have cut it.
            return ip(&rest[..value.min(rest.len())]);
        }
        attributes = rest.get(length.next_multiple_of(4) - 4..).unwrap_or_default();
    }
    Payload::Other
}
