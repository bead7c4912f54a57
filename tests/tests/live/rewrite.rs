//! Frames that no stack here sends: VLAN tags, IPv4 options, IPv6 extension headers, fragments. Made of a plain one.

use etherparse::{IpFragOffset, Ipv4Header, Ipv6Header};

/// Both MAC addresses; the ethertype follows.
const MACS: usize = 12;
/// An Ethernet header.
const LINK: usize = 14;

/// The same behind these VLAN tags, the outer one first, by their ethertypes.
pub(crate) fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let tags = tags.iter().flat_map(|tag| [tag.to_be_bytes(), [0, 7]].concat());
    frame[..MACS].iter().copied().chain(tags).chain(frame[MACS..].iter().copied()).collect()
}

/// The same with options in its IPv4 header, or with a hop-by-hop and a destination header behind the IPv6 one.
pub(crate) fn with_ip_options(frame: &[u8]) -> Vec<u8> {
    match Ipv4Header::from_slice(&frame[LINK..]) {
        Ok((mut ip, payload)) => {
            // No operation, thrice, and the end.
            ip.options = [1, 1, 1, 0].into();
            v4(frame, ip, payload)
        }
        // Six bytes of padding in each, and who comes next.
        Err(_) => v6(frame, 0, &[60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]),
    }
}

/// The same as a fragment: its payload is at `offset` (in units of eight bytes) of a longer packet.
pub(crate) fn as_fragment(frame: &[u8], offset: u16) -> Vec<u8> {
    match Ipv4Header::from_slice(&frame[LINK..]) {
        Ok((mut ip, payload)) => {
            ip.dont_fragment = false;
            ip.more_fragments = true;
            ip.fragment_offset = IpFragOffset::try_new(offset).expect("the offset fits into thirteen bits");
            v4(frame, ip, payload)
        }
        Err(_) => {
            let [high, low] = (offset << 3 | 1).to_be_bytes();
            v6(frame, 44, &[6, 0, high, low, 0, 0, 0, 9])
        }
    }
}

fn v4(frame: &[u8], mut ip: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    ip.set_payload_len(payload.len()).expect("it fits into an IPv4 packet");
    ip.header_checksum = ip.calc_header_checksum();
    [&frame[..LINK], &ip.to_bytes(), payload].concat()
}

fn v6(frame: &[u8], next: u8, extensions: &[u8]) -> Vec<u8> {
    let (mut ip, payload) = Ipv6Header::from_slice(&frame[LINK..]).expect("a frame of the lab is IPv4 or IPv6");
    ip.set_payload_length(extensions.len() + payload.len()).expect("it fits into an IPv6 packet");
    ip.next_header = next.into();
    [&frame[..LINK], &ip.to_bytes(), extensions, payload].concat()
}
