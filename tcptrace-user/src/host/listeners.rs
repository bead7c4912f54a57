//! Listeners on an address and port: of the sockets that would take a SYN, those that the kernel would choose.
//!
//! All of them are read at once and kept for a moment: a lookup for each of ten thousand refused attempts a second
//! would cost more than tracing them. A queue is therefore as it was up to [`KEPT`] ago.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
};

use tcptrace_core::handshake::Nanos;

use crate::netlink::{Channel, sockets, sockets::Listening};

/// For how long what was read is used, in nanoseconds.
const KEPT: u64 = 200_000_000;

/// Sockets that listen in one network namespace.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    read: Option<Nanos>,
    by_port: HashMap<u16, Vec<Listening>>,
}

/// Those that a SYN may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The one whose queue is fullest.
    pub(super) fullest: Listening,
    pub(super) sockets: u32,
    /// Whether they are bound to another interface than the SYN came in by.
    pub(super) is_elsewhere: bool,
}

impl Listeners {
    /// Reads them anew, unless they were a moment ago.
    pub(super) fn refresh(&mut self, channel: &mut Channel, now: Nanos) -> io::Result<()> {
        if self.read.is_some_and(|read| now.since(read) < KEPT) {
            return Ok(());
        }
        let found = sockets::listening(channel)?;
        self.by_port.clear();
        for it in found {
            self.by_port.entry(it.port).or_default().push(it);
        }
        self.read = Some(now);
        Ok(())
    }

    /// The inodes of all of them, to look for in processes.
    pub(super) fn inodes(&self) -> impl Iterator<Item = u32> {
        self.by_port.values().flatten().map(|it| it.inode)
    }

    /// The addresses on which somebody listens on a port.
    pub(super) fn addresses(&self, port: u16) -> Vec<IpAddr> {
        let mut found: Vec<_> = self.by_port.get(&port).into_iter().flatten().map(|it| it.address).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Every port, with the inode of one that listens there.
    pub(super) fn ports(&self) -> impl Iterator<Item = (u16, u32)> {
        self.by_port.iter().filter_map(|(port, all)| Some((*port, all.first()?.inode)))
    }

    /// The listeners that a SYN to `server` finds that came in at `interface` (zero: unknown).
    pub(super) fn find(&self, server: SocketAddr, interface: u32) -> Option<Group> {
        choose(self.by_port.get(&server.port())?, server.ip(), interface)
    }
}

/// The kernel prefers the address over any, then a socket bound to the interface, then one of the address's own family
/// (`__inet_lookup_listener` and `compute_score`, net/ipv4/inet_hashtables.c). Equal sockets are a group
/// (SO_REUSEPORT), of which it takes one by the flow's hash.
fn choose(all: &[Listening], server: IpAddr, interface: u32) -> Option<Group> {
    let fits = |it: &&Listening| {
        let family = if server.is_ipv4() { !it.is_v6 || !it.v6_only } else { it.is_v6 };
        family && (it.address == server || it.address.is_unspecified())
    };
    let rank = |it: &Listening| (it.address == server, it.interface != 0, it.is_v6 == server.is_ipv6());
    let best_of = |reachable: &dyn Fn(&Listening) -> bool| {
        let best = all.iter().filter(fits).filter(|it| reachable(it)).map(rank).max()?;
        let group = || all.iter().filter(fits).filter(|it| reachable(it)).filter(|it| rank(it) == best);
        let fullest = group().copied().reduce(|a, b| if is_fuller(b, a) { b } else { a })?;
        Some(Group { fullest, sockets: group().count() as u32, is_elsewhere: false })
    };
    // The interface where a SYN is seen first is not always the one where the stack takes it in: a bridge's port, a
    // bond's member. So a socket that is bound elsewhere is better than none.
    best_of(&|it| it.interface == 0 || it.interface == interface)
        .or_else(|| best_of(&|_| true).map(|it| Group { is_elsewhere: interface != 0, ..it }))
}

fn is_fuller(a: Listening, b: Listening) -> bool {
    let part = |it: Listening, of: Listening| u64::from(it.queue) * (u64::from(of.queue_max) + 1);
    part(a, b) > part(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str, interface: u32, inode: u32) -> Listening {
        let address: IpAddr = address.parse().unwrap();
        let is_v6 = address.is_ipv6();
        Listening { address, port: 80, interface, is_v6, v6_only: false, queue: 0, queue_max: 9, inode }
    }

    #[test]
    fn choose_takes_whom_the_kernel_would() {
        let only = |it: Listening| Listening { v6_only: true, ..it };
        let mapped = |it: Listening| Listening { is_v6: true, ..it };
        let queue = |it: Listening, queue, queue_max| Listening { queue, queue_max, ..it };
        let [any4, any6] = [listening("0.0.0.0", 0, 1), listening("::", 0, 2)];
        let [exact, bound] = [listening("192.0.2.1", 0, 3), listening("0.0.0.0", 7, 4)];
        /// Its name, the listeners, the address looked up, and the result: the inode of the fullest, and the number of
        /// sockets.
        type Row = (&'static str, Vec<Listening>, &'static str, Option<(u32, u32)>);
        let cases: [Row; 14] = [
            ("nobody", vec![], "192.0.2.1", None),
            ("any", vec![any4], "192.0.2.1", Some((1, 1))),
            ("dual-stack", vec![any6], "192.0.2.1", Some((2, 1))),
            ("IPv6 only", vec![only(any6)], "192.0.2.1", None),
            ("IPv6 only, asked by IPv6", vec![only(any6)], "2001:db8::1", Some((2, 1))),
            ("IPv4 is not asked by IPv6", vec![any4], "2001:db8::1", None),
            ("the family's own first", vec![any6, any4], "192.0.2.1", Some((1, 1))),
            ("the address before any", vec![any6, any4, exact], "192.0.2.1", Some((3, 1))),
            ("a mapped address", vec![mapped(exact)], "192.0.2.1", Some((3, 1))),
            ("another address", vec![exact], "192.0.2.2", None),
            ("bound to the interface", vec![any4, bound], "192.0.2.1", Some((4, 1))),
            ("bound elsewhere", vec![any4, listening("0.0.0.0", 8, 5)], "192.0.2.1", Some((1, 1))),
            ("only bound elsewhere", vec![listening("0.0.0.0", 8, 5)], "192.0.2.1", Some((5, 1))),
            ("a group", vec![queue(any4, 5, 100), queue(listening("0.0.0.0", 0, 6), 2, 1)], "192.0.2.1", Some((6, 2))),
        ];
        for (what, all, server, expected) in cases {
            let found = choose(&all, server.parse().unwrap(), 7).map(|it| (it.fullest.inode, it.sockets));
            assert_eq!(found, expected, "{what}");
        }
        let is_elsewhere = |bound, interface| {
            choose(&[listening("0.0.0.0", bound, 1)], "192.0.2.1".parse().unwrap(), interface).unwrap().is_elsewhere
        };
        assert_eq!(
            [(0, 7), (7, 7), (8, 7), (8, 0)].map(|(bound, via)| is_elsewhere(bound, via)),
            [false, false, true, false]
        );
    }
}
