//! The way of a packet from here to an address: the meaning of the kernel's decision, or of its refusal, for a
//! connection.

use std::{io, net::IpAddr};

use crate::netlink::{Channel, Error, routes};

/// The way of a packet from here to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To this host itself.
    Local,
    /// Out of an interface, to a router if there is one in between.
    Through { interface: u32, gateway: Option<IpAddr> },
    /// To everybody, or to a group: no connection can be made to that (`tcp_v4_connect`: ENETUNREACH).
    Many,
    /// Nowhere; connect(2) fails with this errno: ENETUNREACH without a route, EHOSTUNREACH for one of the type
    /// `unreachable`, EACCES for `prohibit`, EINVAL for `blackhole`.
    Nowhere { errno: i32 },
}

/// The way to an address, from `source` if that is given.
pub(super) fn route(channel: &mut Channel, to: IpAddr, source: Option<IpAddr>) -> io::Result<Route> {
    let decided = match routes::look_up(channel, to, source, None) {
        // EINVAL is for a source that this host does not have (any more), or for a black hole: without a source the
        // kernel says which.
        Err(Error::Refused { errno: libc::EINVAL }) if source.is_some() => routes::look_up(channel, to, None, None),
        decided => decided,
    };
    meaning(decided)
}

/// The meaning of the kernel's decision; a refusal is the error that connect(2) would fail with (`fib_props`,
/// net/ipv4/fib_semantics.c; `ip6_rt_type_to_error`).
fn meaning(decided: Result<routes::Decision, Error>) -> io::Result<Route> {
    let decision = match decided {
        Ok(decision) => decision,
        Err(Error::Refused {
            errno: errno @ (libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL),
        }) => {
            return Ok(Route::Nowhere { errno });
        }
        Err(error) => return Err(error.into()),
    };
    match (decision.kind, decision.interface) {
        (libc::RTN_LOCAL, _) => Ok(Route::Local),
        (libc::RTN_BROADCAST | libc::RTN_MULTICAST, _) => Ok(Route::Many),
        (libc::RTN_UNREACHABLE, _) => Ok(Route::Nowhere { errno: libc::EHOSTUNREACH }),
        (libc::RTN_BLACKHOLE, _) => Ok(Route::Nowhere { errno: libc::EINVAL }),
        (libc::RTN_PROHIBIT, _) => Ok(Route::Nowhere { errno: libc::EACCES }),
        (_, Some(interface)) => Ok(Route::Through { interface, gateway: decision.gateway }),
        (_, None) => Err(io::Error::other("the kernel's route has no interface")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_route_and_a_failure_is_none() {
        let decision = |kind, interface| {
            let gateway = Some([192, 0, 2, 1].into());
            Ok(routes::Decision { kind, interface, gateway, source: None })
        };
        let refused = |errno| Err(Error::Refused { errno });
        let through = Route::Through { interface: 7, gateway: Some([192, 0, 2, 1].into()) };
        let nowhere = |errno| Some(Route::Nowhere { errno });
        for (what, decided, expected) in [
            ("unicast", decision(libc::RTN_UNICAST, Some(7)), Some(through)),
            ("unicast without interface", decision(libc::RTN_UNICAST, None), None),
            ("local", decision(libc::RTN_LOCAL, Some(1)), Some(Route::Local)),
            ("broadcast", decision(libc::RTN_BROADCAST, Some(7)), Some(Route::Many)),
            ("black hole", decision(libc::RTN_BLACKHOLE, None), nowhere(libc::EINVAL)),
            ("no route", refused(libc::ENETUNREACH), nowhere(libc::ENETUNREACH)),
            ("unreachable", refused(libc::EHOSTUNREACH), nowhere(libc::EHOSTUNREACH)),
            ("prohibited", refused(libc::EACCES), nowhere(libc::EACCES)),
            ("black hole, refused", refused(libc::EINVAL), nowhere(libc::EINVAL)),
            ("another refusal", refused(libc::EPERM), None),
            // The same number, and nothing of a route.
            ("not asked", Err(io::Error::from_raw_os_error(libc::EACCES).into()), None),
        ] {
            assert_eq!(meaning(decided).ok(), expected, "{what}");
        }
    }
}
