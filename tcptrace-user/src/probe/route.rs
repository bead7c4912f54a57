//! Step two: the way to an address as this host has it: route, source address, interface, link-layer neighbour.
//!
//! The kernel is asked for the decision itself (`RTM_GETROUTE` for one address), not for its tables: the decision
//! includes policy rules and what the kernel has learnt, but not firewall rules: see `wire`.
//! <https://docs.kernel.org/userspace-api/netlink/intro.html>

use std::{io, net::IpAddr, time::Instant};

use super::{
    diagnosis::{Neighbour, NeighbourState, Route, Source, Step, Way},
    peer::Peer,
};
use crate::netlink::{Channel, Error, addresses, links, neighbours, routes};

/// The flags of an address in the order in which they are shown.
const FLAGS: [(u32, &str); 6] = [
    (libc::IFA_F_TEMPORARY, "temporary"),
    (libc::IFA_F_TENTATIVE, "tentative"),
    (libc::IFA_F_DADFAILED, "duplicate"),
    (libc::IFA_F_DEPRECATED, "deprecated"),
    (libc::IFA_F_OPTIMISTIC, "optimistic"),
    (libc::IFA_F_NODAD, "nodad"),
];

/// The kernel's route to an address.
pub(super) fn look_up(to: Peer) -> Step<Way> {
    let began = Instant::now();
    let found = way(to).map_err(|error| error.to_string());
    Step { took: began.elapsed(), found }
}

fn way(to: Peer) -> io::Result<Way> {
    let interface = (to.scope != 0).then_some(to.scope);
    let decision = match routes::look_up(&mut Channel::route()?, to.ip, None, interface) {
        Ok(decision) => decision,
        // The kernel's decision is an error, the one that a connect gets.
        Err(Error::Refused { errno }) => return Ok(Way::None { errno }),
        Err(Error::Failed(error)) => return Err(error),
    };
    let index = decision.interface.unwrap_or_default();
    let link = links::list()?.into_iter().find(|link| link.index == index);
    let link = link.ok_or_else(|| io::Error::other(format!("the route's interface {index} is not there")))?;
    Ok(Way::Route(Route {
        gateway: decision.gateway,
        interface: link.name,
        index,
        up: link.up,
        carrier: link.running,
        mtu: link.mtu,
        is_local: decision.kind == libc::RTN_LOCAL,
        source: decision.source.map(configured).transpose()?.flatten(),
    }))
}

/// The configuration of an address of this host; `None` where no interface has it.
fn configured(source: IpAddr) -> io::Result<Option<Source>> {
    let all = addresses::list(&mut Channel::route()?)?;
    Ok(all.into_iter().find(|configured| configured.address == source).map(|found| {
        let first = if found.flags & libc::IFA_F_PERMANENT == 0 { "dynamic" } else { "permanent" };
        let more = FLAGS.iter().filter(|(bit, _)| found.flags & bit != 0).map(|(_, name)| *name);
        let flags = std::iter::once(first).chain(more).collect();
        Source { address: source, prefix: found.prefix, flags, label: found.label }
    }))
}

/// Whether the route's interface is up and has a carrier by now. The kernel reports a carrier up to a second late
/// (net/core/link_watch.c), so that the first answer may be out of date.
pub(super) fn link_now(route: &Route) -> io::Result<(bool, bool)> {
    let link = links::list()?.into_iter().find(|it| it.index == route.index);
    Ok(link.map_or((false, false), |it| (it.up, it.running)))
}

/// The neighbour that packets to `to` go to, and whether it answers on the link; `None` where the kernel has no entry
/// for it.
pub(super) fn neighbour(to: IpAddr, route: &Route) -> io::Result<Option<Neighbour>> {
    let address = route.gateway.unwrap_or(to);
    let all = neighbours::list(&mut Channel::route()?)?;
    let entry = all.into_iter().find(|entry| entry.interface == route.index && entry.address == address);
    Ok(entry.map(|entry| Neighbour {
        address,
        is_peer: route.gateway.is_none(),
        state: state_of(&entry),
        link_address: entry.link_address,
        may_be_unheard: false,
    }))
}

fn state_of(entry: &neighbours::Entry) -> NeighbourState {
    match entry.state {
        state if state & libc::NUD_FAILED != 0 => NeighbourState::Failed,
        state if state & libc::NUD_INCOMPLETE != 0 => NeighbourState::Incomplete,
        state if state & (libc::NUD_NOARP | libc::NUD_PERMANENT) != 0 => NeighbourState::Fixed,
        state if state & libc::NUD_REACHABLE != 0 => NeighbourState::Reachable,
        _ => NeighbourState::Stale,
    }
}
