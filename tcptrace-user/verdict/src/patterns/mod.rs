//! Patterns over many attempts: floods, scans, networks that clients avoid, health checks, probes, races.
//!
//! A [`Pattern`] sees each report that may become a line and claims it or lets it pass. Its findings begin, run and are
//! over; that life is written once, in [`lifecycle`]. Nothing here prints, counts totals or reads a clock.

pub mod avoided;
pub mod checks;
pub mod flood;
pub mod incident;
pub mod lifecycle;
pub mod race;
pub mod scan;

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos},
};
use tcptrace_vocabulary::{network::Network, report::Report};

/// A finding's number, unique in a run where its patterns share [`lifecycle::Numbers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingId(pub u64);

/// Why an attempt that looks like a failure is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harmless {
    /// A client that looks at a port again and again (`health_checks` in the summary).
    HealthCheck,
    /// Another address of the same port overtook it (RFC 8305; `overtaken` in the summary).
    Overtaken,
    /// A probe of a hop walk that this host makes (`probes` in the summary).
    Probe,
    /// Nothing went wrong, and only `--all` lists such attempts; or it is one half of a translated attempt that came to
    /// something where its addresses are others.
    Worked,
    /// An entry of the ignore list accepts it (`ignored` in the summary).
    Ignored {
        /// The entry's number.
        entry: usize,
    },
}

/// A pattern's decision on one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It has nothing to do with the pattern.
    None,
    /// It is no failure.
    Count(Harmless),
    /// Reports that may come until then decide.
    Hold {
        /// When the report is considered again.
        until: Nanos,
    },
    /// A finding stands for it.
    Fold(FindingId),
}

/// The facts that a pattern has to look up beside the report itself.
pub trait Surroundings {
    /// Whether anything in a network answered around a moment.
    fn answers(&mut self, network: Network, at: Nanos) -> bool;

    /// Whether a host answered anybody since a moment.
    fn answered_since(&mut self, host: Addr, since: Nanos) -> bool {
        self.answers(Network::of(host), since)
    }

    /// Whether a port is known to have opened a connection lately.
    fn has_opened(&mut self, _server: Endpoint) -> bool {
        false
    }

    /// Whether two hosts lately claimed the client's address; false where this host's neighbours are not watched.
    fn has_two_hosts(&mut self, _handshake: &Handshake) -> bool {
        false
    }

    /// Whether an address is this host's own; false where this host is not looked at.
    fn is_here(&mut self, address: Addr) -> bool;
}

/// Something that many attempts have in common. It sees every report that nothing else has claimed, and may fold it
/// into a finding.
pub trait Pattern {
    /// The finding that it reports of the attempts together; `()` where it only sorts them.
    type Finding;

    /// Takes note of a report that nothing else has claimed, and says what becomes of it.
    fn note(&mut self, report: &Report, around: &mut dyn Surroundings, now: Nanos) -> Claim;

    /// Findings to report: those that began since the last look, and those that are over by now.
    fn look(&mut self, now: Nanos) -> Vec<Self::Finding>;

    /// The end of the run: every finding that runs is over.
    fn end(&mut self) -> Vec<Self::Finding>;
}

/// The client of an attempt and the listener that it looks at.
fn pair(handshake: &Handshake) -> (Addr, Endpoint) {
    (handshake.client_addr, handshake.server())
}
