//! Routes (`RTM_GETROUTE`): the kernel's decision for one address, and the default route.
//!
//! It asks for the decision itself, not the tables: the decision includes policy rules and what the kernel has learnt.
//! Where several ways are equal (multipath), it names one, and not always the one that it takes for a given flow.
//! Firewall rules are not in it. <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>

use std::{io, net::IpAddr};

use netlink_packet_core::parse_u32;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteFlags, RouteHeader, RouteMessage, RouteType},
};

use super::{
    channel::{Channel, Error},
    message::{address, attributes, bytes_of, number, push},
};

/// linux/rtnetlink.h; libc names it for glibc only.
const RTA_VIA: u16 = 18;

/// The kernel's answer for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// One of RTN_*.
    pub(crate) kind: u8,
    pub(crate) interface: Option<u32>,
    /// The router; `None` where the address itself is on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// The address that a packet leaves with (RTA_PREFSRC).
    pub(crate) source: Option<IpAddr>,
}

impl Decision {
    fn decode(message: &[u8]) -> Option<Self> {
        let kind = *message.get(7)?;
        let (mut interface, mut gateway, mut source) = (None, None, None);
        for attribute in attributes(message.get(12..)?) {
            let value = attribute.value();
            match attribute.kind() {
                libc::RTA_OIF => interface = number(value, 0),
                libc::RTA_GATEWAY => gateway = address(value),
                // A router of the other family (RFC 5549): family, address.
                RTA_VIA => gateway = value.get(2..).and_then(address),
                libc::RTA_PREFSRC => source = address(value),
                _ => {}
            }
        }
        Some(Self { kind, interface, gateway, source })
    }
}

/// The way to an address; from `source`, and out of `interface`, if they are given.
///
/// # Errors
/// [`Error::Refused`] with the errno that connect(2) would fail with.
pub(crate) fn look_up(
    channel: &mut Channel,
    to: IpAddr,
    source: Option<IpAddr>,
    interface: Option<u32>,
) -> Result<Decision, Error> {
    let (family, destination) = bytes_of(to);
    let bits = |bytes: &[u8]| bytes.len() as u8 * 8;
    let source = source.filter(|source| source.is_ipv4() == to.is_ipv4()).map(|source| bytes_of(source).1);
    let mut body = vec![family, bits(&destination), source.as_deref().map_or(0, bits)];
    body.resize(12, 0);
    push(&mut body, libc::RTA_DST, &destination);
    if let Some(source) = source {
        push(&mut body, libc::RTA_SRC, &source);
    }
    if let Some(interface) = interface {
        push(&mut body, libc::RTA_OIF, &interface.to_ne_bytes());
    }
    let found = channel.get(libc::RTM_GETROUTE, &body, Decision::decode)?;
    found.ok_or_else(|| io::Error::other("the kernel's answer is no route").into())
}

/// The index of the interface that the default route goes out of: of the main table's, IPv4 before IPv6, the lowest
/// metric, and of several paths the first. None without such a route. Time grows with the table:
/// 45 ms for 200,000 routes.
pub(crate) fn default_route(channel: &mut Channel) -> io::Result<Option<u32>> {
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        // A kernel without IPv6 answers with all families, so each entry is asked for its own.
        let request = RouteNetlinkMessage::GetRoute(request);
        let routes = channel.dump_message(&request, |payload| default_of(payload, family))?;
        if let Some((_, index)) = routes.into_iter().min_by_key(|&(metric, _)| metric) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Metric and interface of a usable default route of the main table.
fn default_of(route: &[u8], family: AddressFamily) -> Option<(u32, u32)> {
    let header = RouteHeader::parse(route).ok()?;
    let default = header.address_family == family
        && header.destination_prefix_length == 0
        && header.source_prefix_length == 0
        && header.kind == RouteType::Unicast
        && !header.flags.intersects(RouteFlags::Dead | RouteFlags::Cloned);
    if !default {
        return None;
    }
    let (mut table, mut metric, mut index) = (u32::from(header.table), 0, None);
    for attribute in attributes(route.get(12..)?) {
        let value = attribute.value();
        match attribute.kind() {
            libc::RTA_TABLE => table = parse_u32(value).ok()?,
            libc::RTA_PRIORITY => metric = parse_u32(value).ok()?,
            libc::RTA_OIF => index = parse_u32(value).ok(),
            // The first `struct rtnexthop`: length, flags, weight, interface.
            libc::RTA_MULTIPATH => index = index.or_else(|| parse_u32(value.get(4..8)?).ok()),
            _ => {}
        }
    }
    (table == u32::from(RouteHeader::RT_TABLE_MAIN)).then_some(())?;
    Some((metric, index?))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::route::{RouteAttribute, RouteNextHop};

    use super::*;

    #[test]
    fn default_of_takes_only_usable_default_routes_of_the_main_table() {
        use RouteAttribute as A;
        let route = |kind, prefix, table, attributes: Vec<A>| {
            let mut message = RouteMessage::default();
            message.header.address_family = AddressFamily::Inet;
            message.header.destination_prefix_length = prefix;
            message.header.table = table;
            message.header.kind = kind;
            message.attributes = attributes;
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut bytes);
            default_of(&bytes, AddressFamily::Inet)
        };
        let mut hop = RouteNextHop::default();
        hop.interface_index = 5;
        let first = vec![hop.clone(), RouteNextHop::default()];
        assert_eq!(route(RouteType::Unicast, 0, 254, vec![A::Oif(3), A::Priority(100)]), Some((100, 3)));
        assert_eq!(route(RouteType::Unicast, 0, 254, vec![A::Oif(3)]), Some((0, 3)));
        assert_eq!(route(RouteType::Unicast, 0, 254, vec![A::MultiPath(first)]), Some((0, 5)));
        assert_eq!(route(RouteType::Unicast, 0, 0, vec![A::Table(254), A::Oif(3)]), Some((0, 3)));
        assert_eq!(route(RouteType::Unicast, 24, 254, vec![A::Oif(3)]), None);
        assert_eq!(route(RouteType::Unicast, 0, 254, vec![A::Table(1000), A::Oif(3)]), None);
        assert_eq!(route(RouteType::Unreachable, 0, 254, vec![A::Oif(1)]), None);
    }
}
