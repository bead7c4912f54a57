//! Link-local addresses: every link has all of them, so the interface is part of one, its zone (RFC 4007, section 11).
//!
//! Only IPv6 has them so: for 169.254.0.0/16, routing decides which link it is on.

use std::{io, net::IpAddr};

use super::{
    diagnosis::{Way, Zone},
    peer::Peer,
    route,
    target::{Mistake, literal},
};
use crate::netlink::links;

/// Whether a zone is part of it.
pub(super) const fn is_zoned(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The zone that a host is written with; `None` where it needs none.
///
/// # Errors
/// If it lacks one, has one that is no interface, or one too many.
pub(super) fn of(host: &str) -> Result<Option<Zone>, Mistake> {
    let Some((ip, zone)) = literal(host) else { return Ok(None) };
    let mistake = |why: String| Err(Mistake::new(host, why));
    match (is_zoned(ip), zone) {
        (false, None) => Ok(None),
        (false, Some(_)) => mistake("only a link-local address (fe80::/10) has a zone".to_owned()),
        (true, None) => mistake(format!("a link-local address needs its interface: {}", candidates(ip))),
        (true, Some(zone)) => match find(zone) {
            Ok(None) => mistake(format!("there is no interface '{}': {}", zone.escape_debug(), candidates(ip))),
            Ok(found) => Ok(found),
            Err(error) => mistake(format!("the interfaces of this host cannot be listed: {error}")),
        },
    }
}

/// The interface of that name, or of that index; `None`: there is none.
///
/// # Errors
/// If the interfaces cannot be listed, so that nothing is known of it.
pub(super) fn find(zone: &str) -> io::Result<Option<Zone>> {
    let all = links::list()?;
    let by_index = || zone.parse().ok().and_then(|index: u32| all.iter().find(|link| link.index == index));
    let found = links::named(&all, zone).or_else(by_index);
    Ok(found.map(|link| Zone { index: link.index, name: link.name.clone() }))
}

/// The address with each interface that has a way to it, as they could be written.
fn candidates(ip: IpAddr) -> String {
    let leads =
        |index| matches!(route::look_up(Peer { ip, scope: index }).found, Ok(Way::Route(it)) if it.index == index);
    let all = links::list().unwrap_or_default();
    let all: Vec<_> =
        all.into_iter().filter(|it| it.up && leads(it.index)).map(|it| format!("{ip}%{}", it.name)).collect();
    match all.as_slice() {
        [] => "no interface that is up has one".to_owned(),
        some => format!("write {}", some.join(", ")),
    }
}
