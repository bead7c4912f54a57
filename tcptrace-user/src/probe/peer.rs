//! An address as sockets and routing take it, and as packets have it.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use super::diagnosis::Zone;

/// An address as sockets and routing take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) ip: IpAddr,
    /// The interface's index; zero: routing decides.
    pub(super) scope: u32,
}

impl Peer {
    pub(super) fn new(ip: IpAddr, zone: Option<&Zone>) -> Self {
        Self { ip, scope: zone.map_or(0, |it| it.index) }
    }

    /// One of its ports.
    pub(super) fn at(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(_) => SocketAddr::new(self.ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.scope).into(),
        }
    }
}

/// As packets have it: without scope.
pub(super) const fn on_the_wire(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}
