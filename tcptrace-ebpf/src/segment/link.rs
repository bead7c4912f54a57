//! The link header: Ethernet with its VLAN tags, or none.

use super::Skip;
use crate::packet::Packet;

/// The first header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header.
    Ethernet,
    /// An IP header: tun, wireguard.
    Ip,
}

pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad and the older 0x9100 of double tagging.
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// VLAN tags that are looked behind.
const MAX_TAGS: usize = 2;
/// The offset of the IP header, if it is one, and its EtherType.
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
