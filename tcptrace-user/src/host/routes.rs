//! The way to an address and the neighbour on it, as the kernel tells them over `NETLINK_ROUTE`.
//!
//! What a packet would do now: where several ways are equal (multipath), the kernel names one, and not always the one
//! that it takes for a given flow. <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>

use std::{collections::HashSet, io, net::IpAddr};

use super::netlink::{Channel, address, attributes, number, octets, push};

/// include/uapi/linux/rtnetlink.h and neighbour.h, as types of attributes.
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;

/// Where a packet to an address goes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To this host itself.
    Local,
    /// Out of an interface, to a router if there is one in between.
    Through { interface: u32, gateway: Option<IpAddr> },
    /// No route, or one of the type `unreachable` (RTN_UNREACHABLE): connect(2) fails with ENETUNREACH or EHOSTUNREACH.
    Unreachable,
    /// Dropped without a word (RTN_BLACKHOLE).
    Blackhole,
    /// Forbidden (RTN_PROHIBIT).
    Prohibit,
}

/// An entry of the kernel's table of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    /// Bits of NUD_*.
    pub(super) state: u16,
    /// None where it is not known, or not of an Ethernet.
    pub(super) link_address: Option<[u8; 6]>,
}

impl Entry {
    /// Nobody answered, three times. While it is asked (INCOMPLETE) that is not known.
    pub(super) const fn has_failed(&self) -> bool {
        self.state & libc::NUD_FAILED != 0
    }

    /// From the payload of a message about a neighbour; none for what is not one of IP: a bridge's table has the same
    /// messages (family AF_BRIDGE).
    pub(super) fn decode(message: &[u8]) -> Option<Self> {
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

/// The way to an address, from `source` if that is given.
pub(super) fn route(channel: &mut Channel, to: IpAddr, source: Option<IpAddr>) -> io::Result<Route> {
    match lookup(channel, to, source) {
        // Of a source that this host does not have (any more), or of a black hole: without it the kernel says which.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && source.is_some() => {
            refusal(lookup(channel, to, None))
        }
        found => refusal(found),
    }
}

/// What the kernel says where connect(2) would fail (`fib_props`, net/ipv4/fib_semantics.c; `ip6_rt_type_to_error`).
fn refusal(found: io::Result<Route>) -> io::Result<Route> {
    match found {
        Err(error) => match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => Ok(Route::Unreachable),
            Some(libc::EACCES) => Ok(Route::Prohibit),
            Some(libc::EINVAL) => Ok(Route::Blackhole),
            _ => Err(error),
        },
        found => found,
    }
}

fn lookup(channel: &mut Channel, to: IpAddr, source: Option<IpAddr>) -> io::Result<Route> {
    let (family, destination) = octets(to);
    let bits = |octets: &[u8]| octets.len() as u8 * 8;
    let source = source.filter(|it| it.is_ipv4() == to.is_ipv4()).map(|it| octets(it).1);
    let mut body = vec![family, bits(&destination), source.as_deref().map_or(0, bits)];
    body.resize(12, 0);
    push(&mut body, RTA_DST, &destination);
    if let Some(source) = source {
        push(&mut body, RTA_SRC, &source);
    }
    let mut found = None;
    channel.get(libc::RTM_GETROUTE, &body, |message| found = decode(message))?;
    found.ok_or_else(|| io::Error::other("the kernel's route has no interface"))
}

fn decode(message: &[u8]) -> Option<Route> {
    let (mut interface, mut gateway) = (None, None);
    for attribute in attributes(message.get(12..)?) {
        let value = attribute.value();
        match attribute.kind() {
            RTA_OIF => interface = number(value, 0),
            RTA_GATEWAY => gateway = address(value),
            // A router of the other family (RFC 5549): family, address.
            RTA_VIA => gateway = value.get(2..).and_then(address),
            _ => {}
        }
    }
    match message[7] {
        libc::RTN_LOCAL => Some(Route::Local),
        libc::RTN_UNREACHABLE => Some(Route::Unreachable),
        libc::RTN_BLACKHOLE => Some(Route::Blackhole),
        libc::RTN_PROHIBIT => Some(Route::Prohibit),
        _ => interface.map(|interface| Route::Through { interface, gateway }),
    }
}

/// The neighbour of an address, if the kernel has an entry for it.
pub(super) fn neighbour(channel: &mut Channel, interface: u32, of: IpAddr) -> io::Result<Option<Entry>> {
    let (family, of) = octets(of);
    let mut body = vec![family, 0, 0, 0];
    body.extend(interface.to_ne_bytes());
    body.extend([0; 4]);
    push(&mut body, libc::NDA_DST, &of);
    let mut found = None;
    match channel.get(libc::RTM_GETNEIGH, &body, |message| found = Entry::decode(message)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        asked => asked.map(|()| found),
    }
}

/// All neighbours.
pub(super) fn neighbours(channel: &mut Channel) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    channel.dump(libc::RTM_GETNEIGH, &[0; 12], |message| found.extend(Entry::decode(message)))?;
    Ok(found)
}

/// The addresses of this network namespace's interfaces.
pub(super) fn addresses(channel: &mut Channel) -> io::Result<HashSet<IpAddr>> {
    let mut found = HashSet::new();
    channel.dump(libc::RTM_GETADDR, &[0; 8], |message| {
        // The first of a point-to-point interface is the other end's, and its own is IFA_LOCAL.
        let (mut ours, mut either) = (None, None);
        for attribute in message.get(8..).into_iter().flat_map(attributes) {
            match attribute.kind() {
                libc::IFA_LOCAL => ours = address(attribute.value()),
                libc::IFA_ADDRESS => either = address(attribute.value()),
                _ => {}
            }
        }
        found.extend(ours.or(either));
    })?;
    Ok(found)
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
