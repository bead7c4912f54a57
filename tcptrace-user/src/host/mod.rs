//! What this host's stable interfaces, netlink and /proc, say of an attempt. No BPF, no packet, no verdict: it fills
//! [`Local`], and leaves `process` and `drops` to who traces.

use std::net::IpAddr;

use tcptrace_core::handshake::{Handshake, Nanos};

use crate::diagnose::{Known, Local, Missing, Process};

/// Where a packet to an address goes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To this host itself.
    Local,
    /// Out of an interface, to a router if there is one in between.
    Through { interface: u32, gateway: Option<IpAddr> },
    /// No route, or one of the type `unreachable` (RTN_UNREACHABLE): connect(2) fails with ENETUNREACH or EHOSTUNREACH.
    Unreachable,
    /// Dropped without a word (RTN_BLACKHOLE).
    Blackhole,
    /// Forbidden (RTN_PROHIBIT).
    Prohibit,
}

/// This host, with all that was asked of it lately.
#[derive(Debug)]
pub struct Host {}

impl Host {
    /// All network namespaces that this process may enter; its own is that of the calling thread.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }

    /// Only the calling thread's network namespace.
    #[must_use]
    pub fn own() -> Self {
        Self {}
    }

    /// To be called at each sweep: counters are read, notices of neighbours taken.
    pub fn tick(&mut self, _now: Nanos) {}

    /// What is known of an attempt.
    pub fn fill(&mut self, _attempt: &Handshake, _now: Nanos) -> Local {
        Local::unknown(Missing::NotAsked)
    }

    /// A process, by its number.
    pub fn process(&mut self, _pid: u32, _now: Nanos) -> Known<Process> {
        Err(Missing::NotAsked)
    }

    /// The way to an address, from this process's network namespace.
    pub fn route(&mut self, _to: IpAddr) -> Known<Route> {
        Err(Missing::NotAsked)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}
