//! Clients that only look: health checks and the like. SYN, SYN/ACK, perhaps ACK, RST, no data, by one client
//! repeatedly.
//!
//! Such an attempt is not reported at once: two more of its kind make it a check, which is counted and not reported.
//!
//! Also clients that only look how far SYNs get: the hop walk of `tcptrace diagnose` on this host, and its connects to
//! ports that nobody asked for; known by the ports and the TTL that they take.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use tcptrace_core::{
    flow::{self, Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos},
    segment::Flags,
};
use tcptrace_vocabulary::{outcome::Outcome, report::Report, ttl::hops};

use super::{Claim, Harmless, Pattern, Surroundings, pair};

/// Attempts of this shape by one client to one port before they count as checks.
pub const REPEATED: u32 = 3;
/// The time that one is remembered: the longest pause between two checks that is in use.
const REMEMBERED: u64 = 600_000_000_000;
/// The time that one is held back: two more checks come by then, where they come every ten seconds.
const HELD: u64 = 30_000_000_000;
/// An answer, or a RST, that comes later is no check's.
const QUICK: u64 = 1_000_000_000;
/// No connect timeout is shorter.
const IMPATIENT: u64 = 50_000_000;
/// Pairs of client and port kept in mind; attempts of more are reported at once.
const PAIRS: usize = 1 << 14;

/// Whether an attempt looks like a port that was looked at.
#[must_use]
pub fn is_check(handshake: &Handshake, outcome: Outcome, last: Nanos) -> bool {
    let quick = last.since(handshake.first_answer) < QUICK && handshake.first_answer.since(handshake.first_syn) < QUICK;
    let once = handshake.syn.tries == 1 && handshake.answer.tries == 1;
    // A kernel that knows no such socket sends a RST without ACK. It does so after an application gave up, too, unless
    // the answer came before anybody can have given up.
    let is_meant =
        handshake.end.flags & Flags::ACK != 0 || handshake.first_answer.since(handshake.first_syn) < IMPATIENT;
    // A RST from another distance is not the client's.
    let is_own = hops(handshake.syn.ttl) == hops(handshake.end.ttl);
    let has_data = handshake.facts.any(Facts::CLIENT_DATA | Facts::SERVER_DATA);
    once && quick
        && (outcome == Outcome::Aborted && is_meant && is_own || outcome == Outcome::ResetByClient && !has_data)
}

type Pair = (Addr, Endpoint);

/// The clients that looked, at which ports, and how often.
#[derive(Debug, Default)]
pub struct Checks {
    seen: HashMap<Pair, (u32, Nanos)>,
}

impl Pattern for Checks {
    type Finding = ();

    /// A check, or what two more would make one.
    fn note(&mut self, report: &Report, around: &mut dyn Surroundings, now: Nanos) -> Claim {
        let Report::Attempt(attempt) = report else { return Claim::None };
        // Another host that has the client's address resets what it never asked for: the client did not look, it fails.
        if attempt.noted.reset_by_another.is_some() || around.has_two_hosts(&attempt.handshake) {
            return Claim::None;
        }
        if attempt.stalled.is_some() || !is_check(&attempt.handshake, attempt.outcome, attempt.seen.1) {
            return Claim::None;
        }
        if self.count(&attempt.handshake) >= REPEATED {
            return Claim::Count(Harmless::HealthCheck);
        }
        Claim::Hold { until: Nanos(now.0.saturating_add(HELD)) }
    }

    fn look(&mut self, _now: Nanos) -> Vec<()> {
        Vec::new()
    }

    fn end(&mut self) -> Vec<()> {
        Vec::new()
    }
}

impl Checks {
    /// Takes note of an attempt's end, reported or not; how often this client looked at this port so far.
    pub fn see(&mut self, handshake: &Handshake, outcome: Outcome, last: Nanos) -> u32 {
        if !is_check(handshake, outcome, last) {
            return 0;
        }
        if self.seen.len() >= PAIRS {
            self.seen.retain(|_, (_, at)| last.since(*at) <= REMEMBERED);
        }
        if self.seen.len() >= PAIRS && !self.seen.contains_key(&pair(handshake)) {
            return 1;
        }
        let (count, at) = self.seen.entry(pair(handshake)).or_insert((0, last));
        if last.since(*at) > REMEMBERED {
            *count = 0;
        }
        (*count, *at) = (count.saturating_add(1), last);
        *count
    }

    /// The number of times that this client lately looked at this port.
    #[must_use]
    pub fn count(&self, handshake: &Handshake) -> u32 {
        self.seen.get(&pair(handshake)).map_or(0, |(count, _)| *count)
    }
}

/// The most hops that the hop walk of `tcptrace diagnose` goes. No stack begins with a TTL as low as this.
pub const PROBE_HOPS: u8 = 30;
/// The hops of a connect of `tcptrace diagnose` to a port that nobody asked for, which it compares with. No stack begins
/// with this TTL either.
pub const COMPARED_HOPS: u8 = 250;
/// One port in this many is a probe's.
const PROBE_PORTS: u64 = 1 << 10;
/// Probes of a port that are not reported, within [`PROBES_WITHIN`] nanoseconds: two walks as long as walks get.
const PROBES: u32 = 2 * PROBE_HOPS as u32;
const PROBES_WITHIN: u64 = 600_000_000_000;
/// Ports whose probes are counted; the probes of further ports are reported.
const PROBED: usize = 1 << 10;

/// Whether a port is one that probes to a server come from. It is in the packet, and no privilege is needed to choose
/// it; the TTL is part of it, so that no router passes on what looks so here.
#[must_use]
pub fn is_probe_port(port: u16, server: Endpoint, ttl: u8) -> bool {
    // The client's address is not known before connect(2) has chosen one.
    let from = Endpoint { port, ..server };
    flow::handshake_id(from, server, ttl.into()) >> 32 & (PROBE_PORTS - 1) == 0
}

/// The ports among these from which a probe may go `hops` hops.
pub fn probe_ports(among: impl Iterator<Item = u16>, to: SocketAddr, hops: u8) -> impl Iterator<Item = u16> {
    let ip = match to.ip() {
        IpAddr::V4(it) => it.to_ipv6_mapped(),
        IpAddr::V6(it) => it,
    };
    let addr = Addr { hi: (ip.to_bits() >> 64) as u64, lo: ip.to_bits() as u64 };
    let server = Endpoint { addr, port: to.port() };
    among.filter(move |port| is_probe_port(*port, server, hops))
}

/// Whether an attempt looks like a probe that left here: the port, and one SYN with a TTL that leads nowhere (the hop
/// walk) or the TTL of a comparison. Whether its client is of this host is not asked.
#[must_use]
pub fn is_probe(handshake: &Handshake, outcome: Outcome) -> bool {
    let ends = matches!(outcome, Outcome::NoReply | Outcome::Unreachable | Outcome::Refused | Outcome::Aborted);
    let ttl = handshake.syn.ttl;
    let walks = handshake.syn.tries == 1 && (1..=PROBE_HOPS).contains(&ttl);
    let looks = handshake.client_point.is_egress() && (walks || ttl == COMPARED_HOPS);
    ends && looks && is_probe_port(handshake.client_port, handshake.server(), ttl)
}

/// Probes of late, by server. Whoever makes failures look like them hides no more than a few.
#[derive(Debug, Default)]
pub struct Probes {
    seen: HashMap<Endpoint, (u32, Nanos)>,
}

impl Pattern for Probes {
    type Finding = ();

    fn note(&mut self, report: &Report, around: &mut dyn Surroundings, now: Nanos) -> Claim {
        let hs = &report.attempt().handshake;
        let is_ours = is_probe(hs, report.attempt().outcome) && around.is_here(hs.client_addr);
        if is_ours && self.takes(report, now) { Claim::Count(Harmless::Probe) } else { Claim::None }
    }

    fn look(&mut self, _now: Nanos) -> Vec<()> {
        Vec::new()
    }

    fn end(&mut self) -> Vec<()> {
        Vec::new()
    }
}

impl Probes {
    /// Whether there is room for another probe of this port; false where there were too many.
    fn takes(&mut self, report: &Report, now: Nanos) -> bool {
        let server = report.attempt().handshake.server();
        if self.seen.len() >= PROBED {
            self.seen.retain(|_, (_, since)| now.since(*since) < PROBES_WITHIN);
        }
        if self.seen.len() >= PROBED && !self.seen.contains_key(&server) {
            return false;
        }
        let (count, since) = self.seen.entry(server).or_insert((0, now));
        if now.since(*since) >= PROBES_WITHIN {
            (*count, *since) = (0, now);
        }
        let takes = *count < PROBES;
        *count += u32::from(takes && matches!(report, Report::Attempt(_)));
        takes
    }
}

#[cfg(test)]
mod tests {
    use tcptrace_core::handshake::{Offer, Point};

    use super::*;

    const SERVER: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 6036 };

    fn ports(ttl: u8) -> impl Iterator<Item = u16> {
        probe_ports(32_768..=60_999, "203.0.113.2:6036".parse().expect("an address"), ttl)
    }

    fn probe(ttl: u8) -> Handshake {
        Handshake {
            client_port: ports(ttl).next().expect("a port"),
            server_addr: SERVER.addr,
            server_port: SERVER.port,
            client_point: Point::egress(2),
            syn: Offer { ttl, tries: 1, ..Offer::default() },
            ..Handshake::default()
        }
    }

    #[test]
    fn every_hop_has_ports_to_choose_from_and_few_of_all() {
        for ttl in 1..=PROBE_HOPS {
            assert!((8..60).contains(&ports(ttl).count()), "{ttl}: {}", ports(ttl).count());
        }
    }

    #[test]
    fn a_probe_leaves_here_once_and_leads_nowhere() {
        let it = probe(5);
        for outcome in Outcome::ALL {
            let ends = matches!(outcome, Outcome::NoReply | Outcome::Unreachable | Outcome::Refused | Outcome::Aborted);
            assert_eq!(is_probe(&it, outcome), ends, "{}", outcome.name());
        }
        let offer = |ttl, tries| Offer { ttl, tries, ..Offer::default() };
        for (what, other) in [
            ("another port", Handshake { client_port: it.client_port + 1, ..it }),
            ("another server", Handshake { server_port: 443, ..it }),
            ("a hop further on", Handshake { syn: offer(4, 1), ..it }),
            ("meant to arrive", Handshake { syn: offer(64, 1), ..it }),
            ("tried again", Handshake { syn: offer(5, 2), ..it }),
            ("from elsewhere", Handshake { client_point: Point::ingress(2), ..it }),
        ] {
            assert!(!is_probe(&other, Outcome::NoReply), "{what}");
        }
    }

    #[test]
    fn a_comparison_is_known_by_its_ttl_and_may_be_tried_again() {
        let it = probe(COMPARED_HOPS);
        let again = Handshake { syn: Offer { tries: 3, ..it.syn }, ..it };
        assert!(is_probe(&it, Outcome::Refused) && is_probe(&again, Outcome::NoReply));
        assert!(!is_probe(&it, Outcome::Established) && !is_probe(&it, Outcome::HalfOpen));
        let other = Handshake { client_port: it.client_port + 1, ..it };
        assert!(!is_probe(&other, Outcome::Refused), "somebody else's TTL");
    }

    #[test]
    fn two_long_walks_are_taken_and_what_goes_on_is_told() {
        let report = |it| {
            let attempt = tcptrace_vocabulary::attempt::Attempt::from_handshake(it, Outcome::NoReply);
            Report::Attempt(attempt)
        };
        let mut probes = Probes::default();
        let (now, later) = (Nanos(1), Nanos(PROBES_WITHIN + 1));
        for ttl in (1..=PROBE_HOPS).chain(1..=PROBE_HOPS) {
            assert!(probes.takes(&report(probe(ttl)), now), "{ttl}");
        }
        assert!(!probes.takes(&report(probe(1)), now));
        assert!(probes.takes(&report(probe(1)), later));
    }
}
