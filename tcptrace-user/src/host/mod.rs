//! The facts about an attempt from this host's stable interfaces, netlink and /proc. No BPF, no packet of an attempt, no
//! verdict: it fills [`Local`], and leaves `process` and `drops` to the tracer.
//!
//! Nothing here waits but for the kernel's own answers. Facts that are looked up ten thousand times a second are read
//! once and kept for a moment: a fifth of a second for listeners and ways, a second for processes.

mod arp;
mod cgroup;
mod containers;
mod counters;
mod firewall;
mod inside;
mod listeners;
mod names;
mod namespaces;
mod neighbours;
mod processes;
mod routes;
mod routing;
mod service;
mod translations;
mod tunnels;

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
};

pub use containers::{RunningContainer, command, containers};
pub use counters::cookies_sent;
pub use firewall::{Leg, Lost};
pub use routes::Route;
use tcptrace_core::{
    flow::Addr,
    handshake::{Handshake, Nanos, State},
};
use tcptrace_vocabulary::{
    attempt::OtherHalf,
    facts::{
        Aborts, Container, Counters, Fact, Listener, Local, Missing, Neighbour, Netns, Place, Process, Service, Socket,
        Suspect,
    },
};
pub use tunnels::Tunnels;

use self::{
    namespaces::{Id, Namespaces},
    neighbours::Watch,
    processes::Processes,
    routing::Routing,
    service::Services,
    translations::Translations,
};
use crate::{clock, netlink::sockets::Pending};

/// This host, with all that was looked up lately.
#[derive(Debug)]
pub struct Host {
    namespaces: Namespaces,
    processes: Processes,
    services: Services,
    /// When the listeners of its own namespace were last looked at.
    remembered: Nanos,
    /// Their processes by inode, and how often each was looked for.
    owners: HashMap<u32, (u8, Option<Process>)>,
    /// The watch of this process's own namespace.
    watch: Fact<Watch>,
    /// Changes of its routing.
    routing: Fact<Routing>,
    /// SYNs that its kernel sends, and when that was read: two files, which cost as much as all else that is asked.
    syn_tries: Option<(Nanos, Fact<u32>)>,
    /// Its own network namespace, where that has a name (`--netns`).
    own_name: Option<Netns>,
    translations: Translations,
}

/// Look up sockets, processes and drop reasons here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LocalFacts {
    /// In all network namespaces of this host, so in its containers too
    #[default]
    All,
    /// In the traced network namespace only
    Own,
    /// Nowhere: the verdict rests on packets alone
    Off,
}

/// The interval between two looks at who listens.
const REMEMBER: u64 = 2_000_000_000;
/// Searches for the process of one listener.
const SEARCHES: u8 = 3;

/// For how long a setting is what it was.
const SETTING: u64 = 1_000_000_000;

impl Host {
    /// All network namespaces that this process may enter (CAP_SYS_ADMIN, and CAP_SYS_PTRACE to find those of others'
    /// processes). Its own is that of the calling thread.
    #[must_use]
    pub fn new() -> Self {
        Self::open(true)
    }

    /// Only the calling thread's network namespace.
    #[must_use]
    pub fn own() -> Self {
        Self::open(false)
    }

    fn open(all: bool) -> Self {
        let now = clock::monotonic();
        Self {
            watch: Watch::open(now).map_err(|error| missing(&error)),
            routing: Routing::open(now).map_err(|error| missing(&error)),
            namespaces: Namespaces::open(all, now),
            processes: Processes::default(),
            services: Services::default(),
            remembered: Nanos(0),
            owners: HashMap::new(),
            syn_tries: None,
            own_name: None,
            translations: Translations::open(),
        }
    }

    /// To be called at each sweep: counters are read, notices of neighbours taken, namespaces looked for.
    pub fn tick(&mut self, now: Nanos) {
        if let Ok(watch) = &mut self.watch
            && watch.look(now)
        {
            self.namespaces.read_own_addresses();
        }
        self.namespaces.tick(now);
        if now.since(self.remembered) >= REMEMBER {
            self.remembered = now;
            self.remember(now);
        }
    }

    /// Remembers who listens in this process's own namespace: of a listener that is gone nobody says whose it was.
    fn remember(&mut self, now: Nanos) {
        let at = self.namespaces.own();
        let Ok(listening) = self.namespaces.own_inside().listening(now) else { return };
        let inodes: Vec<_> = listening.iter().map(|(_, inode)| *inode).collect();
        self.owners.retain(|inode, _| inodes.contains(inode));
        for (port, inode) in listening {
            let (tries, owner) = self.owners.entry(inode).or_default();
            // The kernel itself listens as well (NFS): a search for its process would never end.
            if owner.is_none() && *tries < SEARCHES {
                *tries += 1;
                *owner = self.processes.of_socket(inode, inodes.iter().copied(), now).ok();
            }
            if let Some(process) = owner {
                self.services.saw(at, port, process, now);
            }
        }
    }

    /// The facts about an attempt, all but the process that connected and the drops.
    pub fn fill(&mut self, attempt: &Handshake, now: Nanos) -> Local {
        let client = SocketAddr::new(address(attempt.client_addr), attempt.client_port);
        let server = SocketAddr::new(address(attempt.server_addr), attempt.server_port);
        let (client_at, server_at) = (self.namespaces.which(client.ip()), self.namespaces.which(server.ip()));
        // A socket that is bound to an interface may be bound to the one where the SYN passed.
        let passed = attempt.client_point;
        let (way_out, way_in) = if passed.is_egress() { (passed.ifindex(), 0) } else { (0, passed.ifindex()) };
        let is_refused = attempt.state() == State::Refused;
        // No counter explains a refusal: at ten thousand a second, reading them anew for each would be half the cost.
        let last = if is_refused { Nanos(0) } else { attempt.last_seen() };
        let seen = (attempt.first_syn, last);
        let known = |at: Fact<Option<Id>>| at?.ok_or(Missing::Elsewhere);
        let listener = known(server_at).and_then(|at| self.listener(at, server, way_in, is_refused, now));
        let mut netns = |at: Fact<Option<Id>>| known(at).map(|at| self.netns_of(at, now));
        let (client_netns, server_netns) = (netns(client_at), netns(server_at));
        Local {
            client_netns,
            server_netns,
            client_here: client_at.map(|it| it.is_some()),
            server_here: server_at.map(|it| it.is_some()),
            service: known(server_at).and_then(|at| self.service(at, server.port(), &listener, now)),
            socket: known(client_at).and_then(|at| self.socket(at, client, server, way_out, now)),
            syn_tries: known(client_at).and_then(|at| self.syn_tries(at, now)),
            listener,
            // They were read for the listener.
            listening_at: known(server_at)
                .and_then(|at| Ok(self.namespaces.inside(at, now)?.0.listeners.addresses(server.port()))),
            counters: known(server_at).or_else(|_| known(client_at)).and_then(|at| self.counters(at, seen, now)),
            neighbour: match (known(client_at), known(server_at)) {
                (Ok(from), Ok(to)) if from == to => Ok(None),
                (Ok(from), _) => self.neighbour(from, server.ip(), Some(client.ip()), attempt.first_syn, now),
                (_, Ok(from)) => self.neighbour(from, client.ip(), Some(server.ip()), attempt.first_syn, now),
                // It passes through here: whoever it goes to next is this host's neighbour.
                (Err(Missing::Elsewhere), Err(Missing::Elsewhere)) if !passed.is_egress() => {
                    let own = self.namespaces.own();
                    // A router further on may be none of its: bridges and taps have ways of their own.
                    let neighbour = self.neighbour(own, server.ip(), None, attempt.first_syn, now);
                    neighbour.map(|it| it.filter(|it| it.is_peer))
                }
                (Err(why), Err(_)) => Err(why),
            },
            ..Local::unknown(Missing::NotAsked)
        }
    }

    /// The socket of an attempt's client, if it is here.
    pub(crate) fn socket_of(&mut self, attempt: &Handshake, now: Nanos) -> Fact<Option<Socket>> {
        let client = SocketAddr::new(address(attempt.client_addr), attempt.client_port);
        let server = SocketAddr::new(address(attempt.server_addr), attempt.server_port);
        let at = self.namespaces.which(client.ip())?.ok_or(Missing::Elsewhere)?;
        let passed = attempt.client_point;
        self.socket(at, client, server, if passed.is_egress() { passed.ifindex() } else { 0 }, now)
    }

    /// The sockets of this process's own network namespace that are in SYN-SENT.
    pub(crate) fn pending(&mut self) -> Fact<Vec<Pending>> {
        self.namespaces.own_inside().pending()
    }

    /// What is wrong with the process behind a port.
    fn service(&mut self, at: Id, port: u16, listener: &Fact<Option<Listener>>, now: Nanos) -> Fact<Option<Service>> {
        let listener = listener.as_ref().map_err(|why| *why)?;
        if let Some(Listener { process: Ok(process), .. }) = listener {
            self.services.saw(at, port, process, now);
        }
        // Most listeners work: nothing of them is read but whether their queue is full.
        let is_well = listener.as_ref().is_some_and(|listener| !listener.is_full());
        Ok(if is_well { None } else { self.services.of(at, port, listener.is_some(), now) })
    }

    /// The connections that TCP reset by itself around a RST, where that was sent from.
    pub fn aborts(&mut self, from: Addr, reset: Nanos, now: Nanos) -> Fact<Aborts> {
        let at = self.namespaces.which(address(from))?.ok_or(Missing::Elsewhere)?;
        let (inside, history) = self.namespaces.inside(at, now)?;
        inside.aborts(history, reset, now)
    }

    /// An attempt's other half, where its own network namespace translates it; `None`: it does not, or that is not known.
    pub fn other_half(&mut self, attempt: &Handshake, now: Nanos) -> Option<OtherHalf> {
        self.translations.other_half(attempt, now)
    }

    /// Whether an address is known to be one of this host.
    pub fn has(&mut self, addr: Addr) -> bool {
        matches!(self.namespaces.which(address(addr)), Ok(Some(_)))
    }

    /// Has the names of containers and pods looked up below another root than `/`. Tests need it.
    pub fn read_names_below(&mut self, root: &Path) {
        self.processes.read_names_below(root);
    }

    /// A process, by its number.
    pub fn process(&mut self, pid: u32, now: Nanos) -> Fact<Process> {
        self.processes.get(pid, now)
    }

    /// The way to an address, from this process's network namespace.
    pub fn route(&mut self, to: IpAddr) -> Fact<Route> {
        self.namespaces.own_inside().route(to, None)
    }

    /// The same for a call that was made at `called`, from `source` if that is given.
    ///
    /// # Errors
    /// [`Missing::Gone`] where routing has changed since then: what it decides now, it may not have decided.
    pub fn route_at(&mut self, called: Nanos, to: IpAddr, source: Option<IpAddr>) -> Fact<Route> {
        let route = self.namespaces.own_inside().route(to, source)?;
        let settled = self.routing.as_ref().map_err(|why| *why)?.settled(to);
        if called < settled { Err(Missing::Gone) } else { Ok(route) }
    }

    /// Whether a rule of this process's own network namespace may drop what a neighbour answers to ARP or to neighbour
    /// discovery. True where that is not known.
    pub fn may_drop_neighbours(&mut self, of: IpAddr, now: Nanos) -> bool {
        self.namespaces.own_inside().may_drop_neighbours(of, now)
    }

    /// The addresses of this process's own network namespace.
    pub fn own_addresses(&mut self) -> Fact<Vec<IpAddr>> {
        Ok(self.namespaces.own_inside().addresses()?.into_iter().collect())
    }

    /// The listener on an address and port of this process's own network namespace; `None` if there is none.
    pub fn own_listener(&mut self, server: SocketAddr, now: Nanos) -> Fact<Option<Listener>> {
        self.listener(self.namespaces.own(), server, 0, false, now)
    }

    /// The kernel's number of the network namespace that has an address, as BPF programs see it
    /// (`bpf_get_netns_cookie`).
    pub fn namespace_cookie(&mut self, of: IpAddr, now: Nanos) -> Fact<u64> {
        let id = self.namespaces.which(of)?.ok_or(Missing::Elsewhere)?;
        self.namespaces.inside(id, now)?.0.cookie()
    }

    /// Which end of an attempt a network namespace has, by its cookie. One that was not found may have either.
    pub fn place(&mut self, netns: u64, client: Addr, server: Addr, now: Nanos) -> Place {
        let Some(dropped_at) = self.namespaces.by_cookie(netns) else {
            return self.place_by_ends(netns, client, server, now);
        };
        let mut has = |it| match self.namespaces.which(address(it)) {
            Ok(at) => Some(at == Some(dropped_at)),
            // Several have the address, and this may be one of them.
            Err(_) => None,
        };
        match (has(client), has(server)) {
            (None, _) | (_, None) | (Some(true), Some(true)) => Place::Unknown,
            (Some(true), Some(false)) => Place::Client,
            (Some(false), Some(true)) => Place::Server,
            (Some(false), Some(false)) => Place::Between,
        }
    }

    /// The same of one that was not found: an end's, or unknown.
    fn place_by_ends(&mut self, netns: u64, client: Addr, server: Addr, now: Nanos) -> Place {
        let mut has = |it| netns != 0 && self.namespace_cookie(address(it), now) == Ok(netns);
        match (has(client), has(server)) {
            (true, false) => Place::Client,
            (false, true) => Place::Server,
            (true, true) | (false, false) => Place::Unknown,
        }
    }

    /// The namespace that has an address, by name; `None` inside: it is this process's own, or has no name.
    pub fn namespace_of(&mut self, addr: Addr, now: Nanos) -> Fact<Option<Netns>> {
        let id = self.namespaces.which(address(addr))?.ok_or(Missing::Elsewhere)?;
        Ok(self.netns_of(id, now))
    }

    /// Whether two link-layer addresses lately claimed an address, on the interface by which its packets come in.
    pub fn is_claimed_twice(&self, addr: Addr, interface: u32, now: Nanos) -> bool {
        let memory = self.watch.as_ref().ok().map(|it| &it.memory);
        memory.is_some_and(|it| it.link_addresses(interface, address(addr), now).len() > 1)
    }

    /// Names this process's own network namespace.
    pub fn name_own(&mut self, netns: Option<Netns>) {
        self.own_name = netns;
    }

    /// A network namespace by name, by its cookie; `None`: it is this process's own and has none, or was not found.
    pub fn netns(&mut self, cookie: u64, now: Nanos) -> Option<Netns> {
        let id = self.namespaces.by_cookie(cookie)?;
        self.netns_of(id, now)
    }

    /// The container that lives in a network namespace, by its cookie; `None`: it is this process's own, or no
    /// container's.
    pub fn container_within(&mut self, cookie: u64, now: Nanos) -> Option<Container> {
        let id = self.namespaces.by_cookie(cookie)?;
        let first = self.namespaces.entrance(id)?.first?;
        self.processes.get(first, now).ok()?.container
    }

    fn netns_of(&mut self, id: Id, now: Nanos) -> Option<Netns> {
        if id == self.namespaces.own() {
            return self.own_name.clone();
        }
        let entrance = self.namespaces.entrance(id)?;
        let first = entrance.first.and_then(|pid| self.processes.get(pid, now).ok());
        names::netns(&entrance.path, first.as_ref())
    }

    /// The growth of the counters of a network namespace, by its cookie, while an attempt was `seen`.
    pub fn counters_of(&mut self, cookie: u64, seen: (Nanos, Nanos), now: Nanos) -> Fact<Counters> {
        let id = self.namespaces.by_cookie(cookie).ok_or(Missing::Elsewhere)?;
        self.counters(id, seen, now)
    }

    /// The rules and policies that can have dropped a packet in a network namespace, by its cookie.
    pub fn suspects(&mut self, cookie: u64, lost: &Lost, since: Nanos, now: Nanos) -> Fact<Vec<Suspect>> {
        let id = self.namespaces.by_cookie(cookie).ok_or(Missing::Elsewhere)?;
        self.namespaces.inside(id, now)?.0.suspects(lost, since, now)
    }

    /// The cookie of this process's own namespace; zero where the kernel does not say.
    pub fn own_cookie(&mut self) -> u64 {
        self.namespaces.own_inside().cookie().unwrap_or(0)
    }

    fn socket(&mut self, at: Id, ours: SocketAddr, theirs: SocketAddr, via: u32, now: Nanos) -> Fact<Option<Socket>> {
        let via = if at == self.namespaces.own() { via } else { 0 };
        self.namespaces.inside(at, now)?.0.socket(ours, theirs, via)
    }

    /// As the own namespace is set up; what others are, only their processes are shown.
    fn syn_tries(&mut self, at: Id, now: Nanos) -> Fact<u32> {
        if at != self.namespaces.own() {
            return Err(Missing::Elsewhere);
        }
        match self.syn_tries {
            Some((read, tries)) if now.since(read) < SETTING => tries,
            _ => self.syn_tries.insert((now, syn_tries())).1,
        }
    }

    /// Whether the SYN `is_refused`: where else the listener takes SYNs is looked up then.
    fn listener(
        &mut self,
        at: Id,
        server: SocketAddr,
        via: u32,
        is_refused: bool,
        now: Nanos,
    ) -> Fact<Option<Listener>> {
        let via = if at == self.namespaces.own() { via } else { 0 };
        let (inside, _) = self.namespaces.inside(at, now)?;
        let Some(group) = inside.listener(server, via, now)? else { return Ok(None) };
        let apart = if is_refused { inside.apart(&group, via) } else { None };
        let process = self.processes.of_socket(group.fullest.inode, inside.listeners.inodes(), now);
        let (queue, queue_max) = (group.fullest.queue, group.fullest.queue_max);
        Ok(Some(Listener { process, queue, queue_max, sockets: group.sockets, apart }))
    }

    fn counters(&mut self, at: Id, seen: (Nanos, Nanos), now: Nanos) -> Fact<Counters> {
        let memory_limit = self.namespaces.memory_limit();
        let (inside, history) = self.namespaces.inside(at, now)?;
        Ok(Counters { memory_limit, ..inside.growth(history, seen, now)? })
    }

    fn neighbour(
        &mut self,
        at: Id,
        to: IpAddr,
        from: Option<IpAddr>,
        since: Nanos,
        now: Nanos,
    ) -> Fact<Option<Neighbour>> {
        let Some(way) = self.namespaces.inside(at, now)?.0.way(to, from, now)? else { return Ok(None) };
        let memory = self.watch.as_ref().ok().filter(|_| at == self.namespaces.own()).map(|it| &it.memory);
        let mut link_addresses: Vec<_> = way.entry.and_then(|it| it.link_address).into_iter().collect();
        for it in memory.map(|it| it.link_addresses(way.interface, way.next, now)).unwrap_or_default() {
            if !link_addresses.contains(&it) {
                link_addresses.push(it);
            }
        }
        let failed = match way.entry {
            Some(entry) => entry.has_failed(),
            None => memory.is_some_and(|it| it.failed_since(way.interface, way.next, since)),
        };
        let is_fixed = way.entry.is_some_and(|it| it.state & libc::NUD_PERMANENT != 0);
        let may_be_unheard = failed && self.namespaces.inside(at, now)?.0.may_drop_neighbours(way.next, now);
        let (is_peer, address) = (way.next == to, way.next);
        Ok(Some(Neighbour { is_peer, address, failed, link_addresses, is_fixed, may_be_unheard }))
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// Retries count from the second SYN on; those at the same pace (Linux 6.5) come before them (`tcp_write_timeout`,
/// net/ipv4/tcp_timer.c).
fn syn_tries() -> Fact<u32> {
    let read = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?.trim().parse::<u32>().ok();
    let retries = read("tcp_syn_retries").ok_or(Missing::Failed)?;
    Ok(1 + retries + read("tcp_syn_linear_timeouts").unwrap_or(0))
}

/// Why a question was not answered.
fn missing(error: &io::Error) -> Missing {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Missing::Privilege,
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::ENOPROTOOPT) => Missing::Kernel,
        // No handler for a family of sockets is ENOENT or EINVAL, which also mean other things: asked where they do.
        _ => Missing::Failed,
    }
}

fn address(of: Addr) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(of.octets())).to_canonical()
}
