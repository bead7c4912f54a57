//! One network namespace from inside. Sockets and files that were opened in it continue to show it to their holder.
//! Answers that are needed often are kept for a moment.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
};

use nix::sys::socket::getsockopt;
use tcptrace_core::handshake::Nanos;
use tcptrace_vocabulary::facts::{Aborts, Apart, Counters, Fact, Missing, Socket, Suspect};

use super::{
    counters::{History, Reader},
    firewall::{Firewall, Lost},
    listeners::{Group, Listeners},
    missing,
    routes::{self, Route},
};
use crate::{
    netlink::{Channel, addresses, links, neighbours, neighbours::Entry, sockets, sockets::Pending},
    socket::NetnsCookie,
};

/// For how long a way is what it was.
const KEPT: u64 = 200_000_000;
/// The number of ways that are looked up in that time, and so kept: a scan's addresses are all different, and ten
/// thousand lookups a second would take a tenth of a core.
const MOST: usize = 256;

/// A way that leads to a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) interface: u32,
    /// The router, or the other end itself.
    pub(super) next: IpAddr,
    /// The kernel's entry for it, if it has one.
    pub(super) entry: Option<Entry>,
}

/// The open sockets and files of a network namespace.
#[derive(Debug)]
pub(super) struct Inside {
    diag: Fact<Channel>,
    route: Fact<Channel>,
    counters: Fact<Reader>,
    firewall: Firewall,
    pub(super) listeners: Listeners,
    /// Those that were asked for since a moment.
    ways: HashMap<(IpAddr, Option<IpAddr>), Fact<Option<Way>>>,
    ways_since: Nanos,
}

impl Inside {
    /// In the network namespace of the calling thread.
    pub(super) fn open(now: Nanos) -> Self {
        let open = |channel: io::Result<Channel>| channel.map_err(|error| missing(&error));
        let mut listeners = Listeners::default();
        // Whether the kernel has sock_diag for TCP shows here: later ENOENT means that there is no such socket.
        let diag = open(Channel::sock_diag()).and_then(|mut diag| match listeners.refresh(&mut diag, now) {
            Ok(()) => Ok(diag),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Err(Missing::Kernel),
            Err(error) => Err(missing(&error)),
        });
        let counters = Reader::open().map_err(|error| missing(&error));
        let (route, firewall) = (open(Channel::route()), Firewall::open(now));
        Self { diag, route, counters, firewall, listeners, ways: HashMap::new(), ways_since: now }
    }

    /// The socket with these ends.
    pub(super) fn socket(&mut self, ours: SocketAddr, theirs: SocketAddr, interface: u32) -> Fact<Option<Socket>> {
        let diag = self.diag.as_mut().map_err(|why| *why)?;
        sockets::find(diag, ours, theirs, interface).map_err(|error| missing(&error))
    }

    /// The sockets in SYN-SENT.
    pub(super) fn pending(&mut self) -> Fact<Vec<Pending>> {
        let diag = self.diag.as_mut().map_err(|why| *why)?;
        sockets::pending(diag).map_err(|error| missing(&error))
    }

    /// The listener that a SYN to `server` finds.
    pub(super) fn listener(&mut self, server: SocketAddr, interface: u32, now: Nanos) -> Fact<Option<Group>> {
        let diag = self.diag.as_mut().map_err(|why| *why)?;
        self.listeners.refresh(diag, now).map_err(|error| missing(&error))?;
        Ok(self.listeners.find(server, interface))
    }

    /// Where a listener takes SYNs, if that is not where one came in: `None` where it is, or nobody knows.
    pub(super) fn apart(&mut self, group: &Group, interface: u32) -> Option<Apart> {
        let links = links::list_by(self.route.as_mut().ok()?).ok()?;
        let by_index = |index| links.iter().find(|it| it.index == index);
        if group.is_elsewhere {
            return by_index(group.fullest.interface).map(|it| Apart::Interface(it.name.clone()));
        }
        let master = by_index(by_index(interface)?.master?)?;
        let is_outside = group.fullest.interface == 0 && master.kind.as_deref() == Some("vrf");
        is_outside.then(|| Apart::Vrf(master.name.clone()))
    }

    /// Every port that is listened on, with the inode of a socket that does.
    pub(super) fn listening(&mut self, now: Nanos) -> Fact<Vec<(u16, u32)>> {
        let diag = self.diag.as_mut().map_err(|why| *why)?;
        self.listeners.refresh(diag, now).map_err(|error| missing(&error))?;
        Ok(self.listeners.ports().collect())
    }

    pub(super) fn record(&mut self, history: &mut History, now: Nanos) {
        if let Ok(counters) = &mut self.counters {
            counters.record(history, now);
        }
    }

    pub(super) fn growth(&mut self, history: &History, seen: (Nanos, Nanos), now: Nanos) -> Fact<Counters> {
        self.counters.as_mut().map_err(|why| *why)?.growth(history, seen, now)
    }

    pub(super) fn suspects(&mut self, lost: &Lost, since: Nanos, now: Nanos) -> Fact<Vec<Suspect>> {
        self.firewall.suspects(lost, since, now)
    }

    pub(super) fn may_drop_neighbours(&mut self, of: IpAddr, now: Nanos) -> bool {
        self.firewall.may_drop_neighbours(of, now)
    }

    pub(super) fn aborts(&mut self, history: &History, reset: Nanos, now: Nanos) -> Fact<Aborts> {
        self.counters.as_mut().map_err(|why| *why)?.aborts(history, reset, now)
    }

    pub(super) fn route(&mut self, to: IpAddr, source: Option<IpAddr>) -> Fact<Route> {
        let channel = self.route.as_mut().map_err(|why| *why)?;
        routes::route(channel, to, source).map_err(|error| missing(&error))
    }

    pub(super) fn addresses(&mut self) -> Fact<HashSet<IpAddr>> {
        let channel = self.route.as_mut().map_err(|why| *why)?;
        let all = addresses::list(channel).map_err(|error| missing(&error))?;
        Ok(all.into_iter().map(|configured| configured.address).collect())
    }

    /// The neighbour by which `to` is reached from `source`; none where there is no way, or no neighbours on it.
    pub(super) fn way(&mut self, to: IpAddr, source: Option<IpAddr>, now: Nanos) -> Fact<Option<Way>> {
        if now.since(self.ways_since) >= KEPT {
            self.ways.clear();
            self.ways_since = now;
        }
        if let Some(way) = self.ways.get(&(to, source)) {
            return *way;
        }
        if self.ways.len() >= MOST {
            return Err(Missing::NotAsked);
        }
        let way = self.ask_way(to, source);
        self.ways.insert((to, source), way);
        way
    }

    fn ask_way(&mut self, to: IpAddr, source: Option<IpAddr>) -> Fact<Option<Way>> {
        let Route::Through { interface, gateway } = self.route(to, source)? else { return Ok(None) };
        let next = gateway.unwrap_or(to);
        let channel = self.route.as_mut().map_err(|why| *why)?;
        let entry = neighbours::find(channel, interface, next).map_err(|error| missing(&error))?;
        // Nobody is asked on such an interface: a tunnel's, for one.
        Ok(entry.is_none_or(|it| it.state & libc::NUD_NOARP == 0).then_some(Way { interface, next, entry }))
    }

    /// The kernel's number of this network namespace, never used again (since 5.14), as BPF programs see it.
    pub(super) fn cookie(&self) -> Fact<u64> {
        let socket = self.route.as_ref().map_err(|why| *why)?;
        getsockopt(socket, NetnsCookie).map_err(|error| missing(&error.into()))
    }
}
