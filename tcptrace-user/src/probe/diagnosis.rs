//! The findings of the steps, as pure data: no sockets, no rendering, no judgement.
//!
//! A step that was not reached is `None`, one that could not be done has the reason: a verdict takes neither for
//! silence.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use jiff::Timestamp;
use tcptrace_core::segment::{Flags, Icmp, Options};
use tcptrace_vocabulary::facts::{Fact, Listener, ProbeKind};

/// Everything that was found out about one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// As it was asked for.
    pub host: String,
    /// The ports asked for, in that order.
    pub ports: Vec<u16>,
    /// Nobody named a port: these are the usual ones, and one that opens is enough.
    pub ports_assumed: bool,
    pub began: Timestamp,
    pub took: Duration,
    /// Ctrl-C, or the time limit, came first.
    pub interrupted: bool,
    pub names: Option<Names>,
    pub addresses: Vec<Probed>,
    /// The steps that were left out, and why.
    pub left_out: Vec<String>,
}

/// A step that was done: how long it took, and what it found or why it could not.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<T> {
    pub took: Duration,
    pub found: Result<T, String>,
}

/// The resolution of the name to addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    /// It is an address already.
    pub is_address: bool,
    /// The addresses to try, in the order in which applications try them.
    pub addresses: Vec<IpAddr>,
    /// Addresses beyond those that are tried.
    pub passed_over: usize,
    /// The answer that applications get (getaddrinfo(3)); `None`: no answer yet.
    pub system: Option<Step<Vec<IpAddr>>>,
    /// Services of nsswitch.conf that programs of this host ask and this one could not.
    pub services_not_asked: Vec<String>,
    /// The addresses in `/etc/hosts`.
    pub hosts: Vec<IpAddr>,
    /// The answer of each configured resolver.
    pub resolvers: Vec<Resolver>,
    /// Why no resolver was asked.
    pub not_asked: Option<String>,
}

/// The answer of one resolver.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolver {
    pub address: IpAddr,
    /// The interface that a link-local address is on, by name or index as the file has it; `None`: routing decides.
    pub zone: Option<String>,
    /// The name that was asked for, with its search domain.
    pub asked: String,
    pub v4: Answer,
    pub v6: Answer,
}

impl Resolver {
    /// The address as the file has it, with its zone.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.zone {
            Some(zone) => format!("{}%{zone}", self.address),
            None => self.address.to_string(),
        }
    }
}

/// A resolver's answer to one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub took: Duration,
    /// It was too long for UDP.
    pub over_tcp: bool,
    pub result: Result<Vec<IpAddr>, DnsFailure>,
}

impl Answer {
    /// None, because the resolver could not be asked.
    #[must_use]
    pub fn unasked(why: &str) -> Self {
        Self { took: Duration::ZERO, over_tcp: false, result: Err(DnsFailure::Other(why.to_owned())) }
    }
}

/// Why a resolver gave no addresses. An answer without any is none of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsFailure {
    Silent,
    NxDomain,
    ServFail,
    Refused,
    /// The socket's error, or an answer that cannot be read.
    Other(String),
}

impl DnsFailure {
    /// The word in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::NxDomain => "nxdomain",
            Self::ServFail => "servfail",
            Self::Refused => "refused",
            Self::Other(_) => "error",
        }
    }
}

/// The interface that is part of a link-local address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    pub index: u32,
    pub name: String,
}

/// The findings about one address of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    pub address: IpAddr,
    pub zone: Option<Zone>,
    pub way: Option<Step<Way>>,
    pub neighbour: Option<Neighbour>,
    pub ping: Option<Step<Ping>>,
    pub mtu: Option<Step<PathMtu>>,
    pub connects: Vec<Connect>,
    pub walks: Vec<Walk>,
}

impl Probed {
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self {
            address,
            zone: None,
            way: None,
            neighbour: None,
            ping: None,
            mtu: None,
            connects: Vec::new(),
            walks: Vec::new(),
        }
    }

    /// The route to it; `None` where there is none, or none was looked up.
    #[must_use]
    pub fn route(&self) -> Option<&Route> {
        match self.way.as_ref()?.found.as_ref().ok()? {
            Way::Route(route) => Some(route),
            Way::None { .. } => None,
        }
    }

    /// Whether the connect to this port opened.
    #[must_use]
    pub fn is_open(&self, port: u16) -> bool {
        self.connects.iter().any(|connect| connect.port == port && connect.is_open())
    }

    /// Whether TCP answered from another port of it.
    #[must_use]
    pub fn is_answered(&self, except: u16) -> bool {
        self.connects.iter().any(|connect| connect.port != except && connect.is_answered())
    }

    /// The address as people write it, with its zone.
    #[must_use]
    pub fn name(&self) -> String {
        self.zone.as_ref().map_or_else(|| self.address.to_string(), |it| format!("{}%{}", self.address, it.name))
    }
}

/// This host's routing for an address.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    Route(Route),
    /// The error that a connect gets: ENETUNREACH without a route, others by a rule that forbids.
    None {
        errno: i32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub gateway: Option<IpAddr>,
    pub interface: String,
    pub index: u32,
    pub up: bool,
    pub carrier: bool,
    pub mtu: u32,
    /// The address is one of this host's.
    pub is_local: bool,
    pub source: Option<Source>,
}

/// The address that is taken as the source, and how it came to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub address: IpAddr,
    pub prefix: u8,
    /// `permanent` or `dynamic`, and whatever else the kernel says of it.
    pub flags: Vec<&'static str>,
    pub label: Option<String>,
}

/// The neighbour whose link-layer address is looked up, and the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    pub address: IpAddr,
    /// It is the host itself, and not a router to it.
    pub is_peer: bool,
    pub state: NeighbourState,
    /// `None` where it is not known, or not of an Ethernet.
    pub link_address: Option<[u8; 6]>,
    /// Whether a rule of this host may drop what it answers.
    pub may_be_unheard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Asked, no answer (RFC 826, RFC 4861).
    Failed,
    /// Asked, no answer yet.
    Incomplete,
    Reachable,
    /// It answered earlier.
    Stale,
    /// Set by hand, or none needed.
    Fixed,
}

impl NeighbourState {
    /// The word in JSON and in text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Fixed => "fixed",
        }
    }
}

/// An ICMP error, as the socket's error queue reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    pub from: Option<IpAddr>,
    pub icmp: Icmp,
    /// The errno that the socket makes of it.
    pub errno: i32,
    /// The MTU that "fragmentation needed" or "packet too big" names.
    pub mtu: Option<u32>,
}

/// The result of a few echo requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ping {
    pub sent: u8,
    /// The time that each answered one took.
    pub replies: Vec<Duration>,
    /// Time to live, or hop limit, of the last reply.
    pub ttl: Option<u8>,
    pub error: Option<IcmpError>,
    /// The local stack refused to send one.
    pub refused: Option<i32>,
}

/// The largest packet that passes on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathMtu {
    /// The MTU that the kernel assumes.
    pub assumed: u32,
    pub found: MtuFound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MtuFound {
    /// Packets of that size pass.
    Passes,
    /// A router says that they are too large, and how large they may be.
    Smaller { mtu: u32, by: Option<IpAddr> },
    /// They vanish without a word, and smaller ones pass.
    BlackHole { passes: Option<u32> },
    /// Nothing answers, so nothing is known.
    Untold,
}

/// One connect(2).
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    pub port: u16,
    /// It is one of those asked for, and not one to compare with.
    pub is_asked: bool,
    pub took: Duration,
    pub result: Tried,
    pub icmp: Option<IcmpError>,
    /// SYNs that the socket sent again.
    pub retries: u8,
    pub from: Option<SocketAddr>,
    /// The packets on the wire; `None`: nobody looked, or something may have been missed.
    pub wire: Option<Wire>,
    /// This host's own listener on the port, if the address is its own; `None` inside: nobody listens.
    pub listener: Fact<Option<Listener>>,
}

impl Connect {
    /// It opened a connection.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.result, Tried::Open(_))
    }

    /// The host, or something in its place, answered by TCP.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.is_open() || self.is_reset()
    }

    /// Refused by a RST.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.icmp.is_none() && matches!(self.result, Tried::Failed(libc::ECONNREFUSED | libc::ECONNRESET))
    }

    /// No answer of any kind.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.icmp.is_none() && matches!(self.result, Tried::Silent | Tried::Failed(libc::ETIMEDOUT))
    }
}

/// The end of a connect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tried {
    Open(Agreed),
    Failed(i32),
    /// Given up by this program.
    Silent,
}

/// The options that both ends agreed on, as the socket reports them (tcp(7), `TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreed {
    /// The largest segment that may be sent.
    pub mss: u32,
    /// Ours and theirs.
    pub window_scale: Option<(u8, u8)>,
    pub sack: bool,
    pub timestamps: bool,
    pub ecn: bool,
    pub rtt: Duration,
}

/// The packets of one connect that a packet socket saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wire {
    /// SYNs that left.
    pub syns: u32,
    /// The options that the first of them offered.
    pub offered: Option<Options>,
    pub answer: Option<Answered>,
}

/// A SYN/ACK or a RST, as it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    pub flags: Flags,
    pub ttl: u8,
    pub window: u16,
    /// The options of a SYN/ACK.
    pub options: Options,
}

/// Which routers a probe passes, and where it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    pub by: ProbeKind,
    pub took: Duration,
    pub hops: Vec<Hop>,
    pub end: End,
}

impl Walk {
    /// The last router that spoke.
    #[must_use]
    pub fn last(&self) -> Option<(u8, IpAddr)> {
        self.hops.iter().rev().find_map(|hop| Some((hop.ttl, hop.from?)))
    }

    /// The number of hops to the sender of the answer.
    #[must_use]
    pub const fn answered_at(&self) -> Option<u8> {
        match self.end {
            End::Answered { ttl, .. } => Some(ttl),
            End::Rejected { .. } | End::Dies | End::Unsent(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hop {
    pub ttl: u8,
    /// The router that said that the time was exceeded; `None`: silence.
    pub from: Option<IpAddr>,
    pub took: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The probe with this TTL was answered, by a RST or by what opens a connection (or by an echo reply).
    Answered {
        ttl: u8,
        reset: bool,
    },
    Rejected {
        ttl: u8,
        icmp: IcmpError,
    },
    /// Nobody said anything of those that went farther than the last hop.
    Dies,
    /// This host would not send any.
    Unsent(String),
}
