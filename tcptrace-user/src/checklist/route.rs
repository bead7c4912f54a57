//! Step two: the way to an address as this host has it: route, source address, interface, link-layer neighbour.
//!
//! The kernel is asked for the decision itself (`RTM_GETROUTE` for one address), not for its tables: policy rules and
//! what it has learnt are in it. Firewall rules are not: see `wire`.
//! <https://docs.kernel.org/userspace-api/netlink/intro.html>

use std::{io, net::IpAddr, time::Instant};

use netlink_packet_core::{NlaBuffer, parse_u32};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    neighbour::NeighbourMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use super::{
    report::{Neighbour, NeighbourState, Route, Source, Step, Way},
    zone::Peer,
};
use crate::live::{
    interfaces,
    netlink::{attributes, dump, request, text},
};

/// `RTA_DST` and its like in the messages of routes, `IFA_*` of addresses, `NDA_*` of neighbours
/// (include/uapi/linux/rtnetlink.h, if_addr.h, neighbour.h); libc has only some of them.
const NDA_DST: u16 = 1;
const NUD_INCOMPLETE: u16 = 0x01;
const NUD_REACHABLE: u16 = 0x02;
const NUD_FAILED: u16 = 0x20;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;

/// The flags of an address in the order in which they are told.
const FLAGS: [(u32, &str); 6] = [
    (libc::IFA_F_TEMPORARY, "temporary"),
    (libc::IFA_F_TENTATIVE, "tentative"),
    (libc::IFA_F_DADFAILED, "duplicate"),
    (libc::IFA_F_DEPRECATED, "deprecated"),
    (libc::IFA_F_OPTIMISTIC, "optimistic"),
    (libc::IFA_F_NODAD, "nodad"),
];

/// What routing says.
pub(super) fn look_up(to: Peer) -> Step<Way> {
    let began = Instant::now();
    let found = way(to).map_err(|error| error.to_string());
    Step { took: began.elapsed(), found }
}

fn family(of: IpAddr) -> AddressFamily {
    if of.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn way(to: Peer) -> io::Result<Way> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.ip);
    message.header.destination_prefix_length = if to.ip.is_ipv4() { 32 } else { 128 };
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.ip)));
    if to.scope != 0 {
        message.attributes.push(RouteAttribute::Oif(to.scope));
    }
    let answer = match request(RouteNetlinkMessage::GetRoute(message), |payload| Some(payload.to_vec())) {
        Ok(answer) => answer,
        // The kernel's decision is an error, the one that a connect gets.
        Err(error) => {
            return error.raw_os_error().map(|errno| Way::None { errno }).ok_or(error);
        }
    };
    let payload = answer.first().ok_or_else(|| io::Error::other("the kernel does not answer"))?;
    let kind = payload.get(7).copied().unwrap_or_default();
    let (mut gateway, mut source, mut index) = (None, None, 0);
    for attribute in attributes(payload.get(12..).unwrap_or_default()) {
        match attribute.kind() {
            libc::RTA_GATEWAY => gateway = address(&attribute),
            // A gateway of the other family (RFC 5549): the family, then the address.
            libc::RTA_VIA => gateway = attribute.value().get(2..).and_then(octets),
            libc::RTA_PREFSRC => source = address(&attribute),
            libc::RTA_OIF => index = parse_u32(attribute.value()).unwrap_or_default(),
            _ => {}
        }
    }
    let all = interfaces::list().map_err(io::Error::other)?;
    let link = all.into_iter().find(|it| it.index == index);
    let link = link.ok_or_else(|| io::Error::other(format!("the route's interface {index} is not there")))?;
    Ok(Way::Route(Route {
        gateway,
        interface: link.name,
        index,
        up: link.up,
        carrier: link.running,
        mtu: link.mtu,
        is_local: kind == libc::RTN_LOCAL,
        source: source.and_then(configured),
    }))
}

fn address(attribute: &NlaBuffer<&[u8]>) -> Option<IpAddr> {
    octets(attribute.value())
}

fn octets(value: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

/// How an address of this host is configured.
fn configured(source: IpAddr) -> Option<Source> {
    let mut message = AddressMessage::default();
    message.header.family = family(source);
    let found = dump(&RouteNetlinkMessage::GetAddress(message), |payload| {
        let &[_, prefix, flags, ..] = payload.first_chunk::<8>()?;
        let (mut flags, mut own, mut label) = (u32::from(flags), None, None);
        for attribute in attributes(payload.get(8..)?) {
            match attribute.kind() {
                libc::IFA_LOCAL => own = address(&attribute),
                libc::IFA_ADDRESS => own = own.or(address(&attribute)),
                libc::IFA_LABEL => label = Some(text(attribute.value())),
                libc::IFA_FLAGS => flags = parse_u32(attribute.value()).unwrap_or(flags),
                _ => {}
            }
        }
        (own == Some(source)).then(|| {
            let first = if flags & libc::IFA_F_PERMANENT == 0 { "dynamic" } else { "permanent" };
            let more = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
            Source { address: source, prefix, flags: std::iter::once(first).chain(more).collect(), label }
        })
    });
    found.ok()?.into_iter().next()
}

/// Whether the route's interface is up and has a carrier by now. The kernel tells of a carrier up to a second late
/// (net/core/link_watch.c), so that what was asked first may be out of date.
pub(super) fn link_now(route: &Route) -> Option<(bool, bool)> {
    let link = interfaces::list().ok()?.into_iter().find(|it| it.index == route.index);
    Some(link.map_or((false, false), |it| (it.up, it.running)))
}

/// Whom the link layer has to reach, and whether it does; `None` where nobody has to be asked, or was.
pub(super) fn neighbour(to: IpAddr, route: &Route) -> Option<Neighbour> {
    if route.is_local {
        return None;
    }
    let address = route.gateway.unwrap_or(to);
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = route.index;
    let states = dump(&RouteNetlinkMessage::GetNeighbour(message), |payload| {
        // struct ndmsg: family, padding, interface, state.
        let index = payload.get(4..8).and_then(|it| parse_u32(it).ok())?;
        let state = payload.get(8..10).and_then(|it| it.first_chunk()).map(|it| u16::from_ne_bytes(*it))?;
        let whose = attributes(payload.get(12..)?).find(|it| it.kind() == NDA_DST)?;
        (index == route.index && octets(whose.value()) == Some(address)).then_some(state)
    });
    let state = match states.ok()?.first()? {
        it if it & NUD_FAILED != 0 => NeighbourState::Failed,
        it if it & NUD_INCOMPLETE != 0 => NeighbourState::Incomplete,
        it if it & (NUD_NOARP | NUD_PERMANENT) != 0 => NeighbourState::Fixed,
        it if it & NUD_REACHABLE != 0 => NeighbourState::Reachable,
        _ => NeighbourState::Stale,
    };
    Some(Neighbour { address, is_host: route.gateway.is_none(), state })
}
