//! Neighbours (`RTM_GETNEIGH`): which link-layer address an address has, as far as the kernel knows.
//!
//! <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>, <https://man7.org/linux/man-pages/man7/arp.7.html>

use std::{io, net::IpAddr};

use super::{
    channel::{Channel, Error},
    message::{address, attributes, bytes_of, number, push},
};

/// An entry of the kernel's table of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) interface: u32,
    pub(crate) address: IpAddr,
    /// Bits of NUD_*.
    pub(crate) state: u16,
    /// None where it is not known, or not of an Ethernet.
    pub(crate) link_address: Option<[u8; 6]>,
}

impl Entry {
    /// Nobody answered, three times. While it is asked (INCOMPLETE) that is not known.
    pub(crate) const fn has_failed(&self) -> bool {
        self.state & libc::NUD_FAILED != 0
    }

    /// From the payload of a message about a neighbour; none for what is not one of IP: a bridge's table has the same
    /// messages (family AF_BRIDGE).
    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        if !matches!(i32::from(*message.first()?), libc::AF_INET | libc::AF_INET6) {
            return None;
        }
        let interface = number(message, 4)?;
        let state = u16::from_ne_bytes(*message.get(8..)?.first_chunk()?);
        let (mut found, mut link_address) = (None, None);
        for attribute in attributes(message.get(12..)?) {
            match attribute.kind() {
                libc::NDA_DST => found = address(attribute.value()),
                libc::NDA_LLADDR => link_address = attribute.value().try_into().ok(),
                _ => {}
            }
        }
        Some(Self { interface, address: found?, state, link_address })
    }
}

/// The neighbour of an address on an interface; `None` where the kernel has no entry for it.
pub(crate) fn find(channel: &mut Channel, interface: u32, of: IpAddr) -> io::Result<Option<Entry>> {
    let (family, bytes) = bytes_of(of);
    let mut body = vec![family, 0, 0, 0];
    body.extend(interface.to_ne_bytes());
    body.extend([0; 4]);
    push(&mut body, libc::NDA_DST, &bytes);
    match channel.get(libc::RTM_GETNEIGH, &body, Entry::decode) {
        Err(Error::Refused { errno: libc::ENOENT }) => Ok(None),
        found => Ok(found?),
    }
}

/// All neighbours of a network namespace.
pub(crate) fn list(channel: &mut Channel) -> io::Result<Vec<Entry>> {
    Ok(channel.dump(libc::RTM_GETNEIGH, &[0; 12], Entry::decode)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_what_is_no_neighbour_are_passed_over() {
        let mut message = vec![libc::AF_INET as u8, 0, 0, 0, 7, 0, 0, 0];
        message.extend(libc::NUD_REACHABLE.to_ne_bytes());
        message.extend([0; 2]);
        push(&mut message, libc::NDA_DST, &[192, 0, 2, 1]);
        push(&mut message, libc::NDA_LLADDR, &[2, 0, 0, 0, 0, 1]);
        let entry = Entry::decode(&message).unwrap();
        assert_eq!((entry.address, entry.has_failed()), ("192.0.2.1".parse().unwrap(), false));
        assert_eq!(entry.link_address, Some([2, 0, 0, 0, 0, 1]));
        for length in 0..20 {
            assert_eq!(Entry::decode(&message[..length]), None, "{length}");
        }
        message[0] = libc::AF_BRIDGE as u8;
        assert_eq!(Entry::decode(&message), None);
    }
}
