//! The facts that this host knows of an attempt beyond its packets: pure data, gathered by `host` and `live`.
//!
//! Each fact may be missing, with the reason. A verdict never reads a missing fact as "no".

use std::time::Duration;

use tcptrace_core::{
    drops::Kind,
    flow::{Addr, Endpoint},
    handshake::{Nanos, Side},
    segment::Icmp,
};

use crate::outcome::Outcome;
pub use crate::process::{Container, Pod, Process};

/// A fact, or why there is none.
pub type Fact<T> = Result<T, Missing>;

/// Why a fact is not known. The name is the value in `trust.missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// It was not looked up: captures, or diagnosis turned off.
    NotAsked,
    /// The end that would know it is not on this host, or in no network namespace that was found.
    Elsewhere,
    /// The kernel refused for want of privilege.
    Privilege,
    /// This kernel does not offer it.
    Kernel,
    /// It is gone: the process has ended, or another took its place.
    Gone,
    /// Reading it failed.
    Failed,
}

impl Missing {
    /// The word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Elsewhere => "elsewhere",
            Self::Privilege => "privilege",
            Self::Kernel => "kernel",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

/// The facts that this host knows of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Whether the client is on this host, in any of its network namespaces.
    pub client_here: Fact<bool>,
    /// Whether the server is on this host.
    pub server_here: Fact<bool>,
    /// The network namespace that has the client's address, by name; `None`: it is the tracer's own, or was not found.
    pub client_netns: Fact<Option<Netns>>,
    /// The same of the server's address.
    pub server_netns: Fact<Option<Netns>>,
    /// The process that called connect(2).
    pub process: Fact<Process>,
    /// The client's socket now; `None` if it is gone.
    pub socket: Fact<Option<Socket>>,
    /// SYNs that the client's kernel sends before it gives up by itself.
    pub syn_tries: Fact<u32>,
    /// The listener on the server's port; `None` if there is none.
    pub listener: Fact<Option<Listener>>,
    /// The addresses on which other sockets listen on the server's port, in its namespace.
    pub listening_at: Fact<Vec<std::net::IpAddr>>,
    /// What is wrong with the process behind the server's port; `None` if nothing is, or nobody was seen there.
    pub service: Fact<Option<Service>>,
    /// The attempt of the process behind the server's port to reach somebody else, which failed meanwhile; `None` if there
    /// was none. Looked up where the server reset a connection before it sent a byte.
    pub onward: Fact<Option<Onward>>,
    /// The packets of the attempt that the local kernel dropped, newest first.
    pub drops: Fact<Vec<Dropped>>,
    /// The rules and policies of the firewall that can have dropped it, in the namespace that dropped it: the most
    /// likely first. Looked up where the kernel said that a rule did.
    pub rules: Fact<Vec<Suspect>>,
    /// The growth of the kernel's counters since the attempt began: in the namespace that dropped it, or else in that of
    /// the end that is here.
    pub counters: Fact<Counters>,
    /// The connections that TCP reset by itself around the RST of a connection, where that was sent from.
    pub aborts: Fact<Aborts>,
    /// The link-layer neighbour by which the other end is reached.
    pub neighbour: Fact<Option<Neighbour>>,
    /// The end of this host's own connect(2). Known to `diagnose`, and of a call that put no SYN on the wire.
    pub call: Fact<Call>,
    /// Whether TCP made a SYN for the call. Known of a call that put no SYN on the wire.
    pub made: Fact<bool>,
    /// The number of its SYNs that left this host.
    pub left: Fact<u32>,
    /// The way on which this host's routing sends packets for the server.
    pub way: Fact<Way>,
    /// The addresses of the namespace that called connect(2). Known of a call for which TCP made no SYN.
    pub own: Fact<Vec<std::net::IpAddr>>,
    /// The namespace of this host that sent the ICMP error; `None` inside: the tracer's own. A missing fact: another
    /// host did, or it is not known.
    pub error_from: Fact<Option<Netns>>,
    /// The distance that SYNs for the port and other probes got. Known to `diagnose`.
    pub walk: Fact<Walk>,
    /// The signs of the server, other than TCP, that this host received. Known to `diagnose`.
    pub signs: Fact<Signs>,
}

impl Local {
    /// Nothing is known, for one reason.
    #[must_use]
    pub const fn unknown(why: Missing) -> Self {
        Self {
            client_here: Err(why),
            server_here: Err(why),
            client_netns: Err(why),
            server_netns: Err(why),
            process: Err(why),
            socket: Err(why),
            syn_tries: Err(why),
            listener: Err(why),
            listening_at: Err(why),
            service: Err(why),
            onward: Err(why),
            drops: Err(why),
            rules: Err(why),
            counters: Err(why),
            aborts: Err(why),
            neighbour: Err(why),
            call: Err(why),
            made: Err(why),
            left: Err(why),
            way: Err(why),
            own: Err(why),
            error_from: Err(why),
            walk: Err(why),
            signs: Err(why),
        }
    }
}

/// A TCP socket that is no listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// As the kernel numbers them (include/net/tcp_states.h), by name: `SYN-SENT`.
    pub state: &'static str,
    /// The cookie of the socket (SO_COOKIE): unique while the host is up.
    pub cookie: u64,
    /// The inode of the socket in /proc/PID/fd; 0 once no process has it.
    pub inode: u32,
    /// The user who owns it.
    pub uid: u32,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The process that listens.
    pub process: Fact<Process>,
    /// Connections that wait for accept(2).
    pub queue: u32,
    /// The number of connections that may wait: the backlog of listen(2), capped by net.core.somaxconn.
    pub queue_max: u32,
    /// The number of sockets that listen there (SO_REUSEPORT).
    pub sockets: u32,
    /// Where it takes SYNs instead, if the SYN came in elsewhere. Looked up where the SYN was refused.
    pub apart: Option<Apart>,
}

/// Where a listener takes SYNs, if that is not where one came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apart {
    /// It is bound to this interface (SO_BINDTODEVICE).
    Interface(String),
    /// It is bound to none, and the SYN came in by this VRF (net.ipv4.tcp_l3mdev_accept).
    Vrf(String),
}

impl Listener {
    /// Whether no more connections fit (`sk_acceptq_is_full`, include/net/sock.h: more than the maximum, not as many).
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.queue > self.queue_max
    }
}

/// An attempt of a service to reach another, which failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onward {
    /// The address and port that it wanted.
    pub server: Endpoint,
    /// What became of it; `None`: no SYN was sent.
    pub outcome: Option<Outcome>,
}

/// A process behind a port with which something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Who listens there, or did last.
    pub process: Process,
    /// Whether it still does.
    pub listens: bool,
    /// What is wrong; never empty.
    pub troubles: Vec<Trouble>,
}

/// Something that keeps a service from its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its process is stopped by a signal or a debugger.
    Stopped,
    /// It runs, and does not listen there any more.
    StoppedListening,
    /// It has ended, and was last seen so many seconds ago.
    Ended {
        /// Whole seconds.
        seconds: u64,
    },
    /// The kernel killed processes for want of memory since it was first seen.
    KilledForMemory {
        /// How many.
        kills: u64,
        /// Those of its own cgroup; otherwise of the whole host.
        is_own: bool,
    },
    /// Its cgroup used up its quota of processor time.
    Throttled {
        /// Periods in which it was throttled since it was first seen.
        periods: u64,
        /// All periods since then.
        of: u64,
    },
    /// Its cgroup waits for a resource.
    Starved {
        /// As the kernel's file is called: `cpu`, `memory`, `io`.
        resource: &'static str,
        /// The share of the last ten seconds.
        percent: u8,
    },
}

/// The network namespace in which a packet was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The namespace that has the client's address.
    Client,
    /// The namespace that has the server's address.
    Server,
    /// One of this host that is neither's: a router, a bridge.
    Between,
    /// Not known, or of both.
    #[default]
    Unknown,
}

/// A packet of an attempt that the local kernel dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// When it was dropped first.
    pub at: Nanos,
    /// The side that sent the packet.
    pub from: Side,
    /// What it was.
    pub packet: Kind,
    /// Whether its numbers are those of this attempt's handshake: a SYN with its ISN, what answers that SYN, the ACK or
    /// RST that follows. `None`: the attempt's ISN is not known.
    pub fits: Option<bool>,
    /// The kernel's own word (enum skb_drop_reason) without its prefix: `NETFILTER_DROP`.
    pub reason: String,
    /// The number of drops, for this packet's flow and reason.
    pub count: u64,
    /// The network namespace that dropped it.
    pub place: Place,
    /// The cookie of that namespace; 0 if it is not known.
    pub netns: u64,
    /// That namespace by name, if it is not the tracer's own and is known.
    pub within: Option<Netns>,
    /// Its ends when it was dropped, if this host had translated them; otherwise `None`.
    pub translated: Option<(Endpoint, Endpoint)>,
}

/// A network namespace by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    /// `netns web`, `container web-1`, `pod shop/web-0`, `the netns of process 4711`. Escaped.
    pub name: String,
    /// What a command begins with that runs in it: `ip netns exec web`, `nsenter -t 4711 -n`.
    pub enter: String,
}

/// A rule or policy of the firewall (nftables, and so iptables-nft) that can have dropped a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The hook of the chain, or of the one from which it is reached: `input`.
    pub hook: &'static str,
    /// The family of its table: `inet`.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The handle of the rule (`nft -a`); `None`: it is the chain's policy.
    pub handle: Option<u64>,
    /// Whether it answers what it drops.
    pub rejects: bool,
    /// The packets that it has counted; `None`: it does not count.
    pub packets: Option<u64>,
    /// The growth of that count since a look before the attempt; `None`: there was none, or it does not count.
    pub grew: Option<u64>,
}

/// Growth of the kernel's counters (proc_net_snmp, RFC 4022 and Linux's own) since an attempt began, and memory now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `ListenOverflows`: connections that found the accept queue full.
    pub listen_overflows: u64,
    /// `ListenDrops`: SYNs and final ACKs that a listener dropped, for a full accept queue or any other reason.
    pub listen_drops: u64,
    /// `SyncookiesSent`.
    pub syncookies_sent: u64,
    /// `TCPReqQFullDrop`: SYNs dropped because the SYN queue was full and cookies are off.
    pub syn_queue_drops: u64,
    /// `TCPAbortOnMemory`.
    pub abort_on_memory: u64,
    /// `TCPMemoryPressures`: how often TCP entered memory pressure.
    pub memory_pressures: u64,
    /// `TCPChallengeACK`.
    pub challenge_acks: u64,
    /// `IPReversePathFilter`: packets whose way back uses another interface.
    pub reverse_path_drops: u64,
    /// `IpOutNoRoutes`, `Ip6OutNoRoutes`: packets of this host that found no route.
    pub no_routes_out: u64,
    /// `TcpInCsumErrors` and, for tunnels, `UdpInCsumErrors`.
    pub checksum_errors: u64,
    /// Whether connection tracking was read, then and now, or is no part of this kernel. If not, its counters below are 0
    /// and mean nothing.
    pub is_conntrack_known: bool,
    /// `drop` of /proc/net/stat/nf_conntrack: packets for which connection tracking had no room, or no free port.
    pub conntrack_drops: u64,
    /// `insert_failed` of the same: flows that could not be entered.
    pub conntrack_insert_failed: u64,
    /// Entries of the connection tracking table, at its fullest since the attempt began.
    pub conntrack_entries: u64,
    /// The most that it may have at that moment (net.netfilter.nf_conntrack_max); 0: there is no such table, or it was not read.
    pub conntrack_limit: u64,
    /// Pages that TCP's sockets use now: `mem` of /proc/net/sockstat.
    pub memory_pages: u64,
    /// The limit in pages: the third number of net.ipv4.tcp_mem.
    pub memory_limit: u64,
}

/// Connections that TCP reset by itself from the last look at its counters on: a second at most before the RST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aborts {
    /// `TCPAbortOnMemory`.
    pub for_memory: u64,
    /// For the program's sake or the peer's: `TCPAbortOnClose`, `TCPAbortOnData`, `TCPAbortOnLinger`,
    /// `TCPAbortOnTimeout`.
    pub otherwise: u64,
}

impl Neighbour {
    /// Its address as the core has it.
    #[must_use]
    pub fn addr(&self) -> Addr {
        crate::words::addr(self.address)
    }
}

/// The link-layer neighbour of a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Whether it is the other end itself, and not a router to it.
    pub is_peer: bool,
    /// Its IP address.
    pub address: std::net::IpAddr,
    /// No answer to ARP (RFC 826) or to a neighbour solicitation (RFC 4861).
    pub failed: bool,
    /// Its link-layer addresses in the recent past, newest first: two are two hosts, or one that moved.
    pub link_addresses: Vec<[u8; 6]>,
    /// Whether the first of them is an entry that an administrator set (NUD_PERMANENT), and no claim of the neighbour's.
    pub is_fixed: bool,
    /// Whether a rule of this host may drop what it answers: one on neighbour advertisements, or on ARP. True where the
    /// rules could not be read.
    pub may_be_unheard: bool,
}

/// The end of a connect(2) that did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The errno; `None`: the call had none by the time it was given up.
    pub errno: Option<i32>,
    /// From the call to its end.
    pub took: Duration,
}

/// The way on which this host's routing sends packets for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Out by an interface.
    Link {
        /// The interface's name.
        interface: String,
        /// Whether the interface is up.
        up: bool,
        /// Whether it has a carrier.
        carrier: bool,
    },
    /// To everybody or to a group: a broadcast or multicast address. A connect gets ENETUNREACH.
    Many,
    /// Nowhere; a connect gets this errno: ENETUNREACH without a route, others where a route forbids.
    Nowhere {
        /// The errno (errno(3)).
        errno: i32,
    },
}

/// Something that this host sends to learn how far packets get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// SYNs for this port.
    Syn(u16),
    /// Echo requests.
    Echo,
}

/// A router, and how many hops away it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Its distance: the TTL that the probe was sent with.
    pub hops: u8,
    /// Its address.
    pub from: Addr,
}

/// The distance that SYNs for a port got, beside other probes to the same host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The last router that spoke; `None`: none did.
    pub last: Option<Hop>,
    /// From how many hops away an answer came.
    pub answered: Option<u8>,
    /// The ICMP error that ended it.
    pub rejected: Option<Rejection>,
    /// The walk that it is compared with.
    pub other: Option<OtherWalk>,
}

/// The walk of another probe, which was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherWalk {
    /// The probe.
    pub sent: ProbeKind,
    /// From how many hops away the answer came.
    pub answered: u8,
    /// The first router, where that spoke.
    pub first: Option<Addr>,
}

/// An ICMP error, and its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its type and code.
    pub icmp: Icmp,
    /// Its sender; `None`: the error queue did not name it.
    pub from: Option<Addr>,
}

/// The signs of the server, other than TCP, that this host received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// It answers echo requests.
    pub echo: bool,
    /// It answers ARP or neighbour solicitations, on a link of this host.
    pub link: bool,
    /// The ICMP error that another probe to it got.
    pub rejected: Option<Rejection>,
}
