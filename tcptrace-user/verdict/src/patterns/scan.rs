//! Port scans: one client, one host, many ports that fail. One finding, instead of a line a port.

use std::collections::HashMap;

use tcptrace_core::{flow::Addr, handshake::Nanos};
use tcptrace_vocabulary::{outcome::Outcome, report::Report};

use super::{
    Claim, FindingId, Pattern, Surroundings,
    lifecycle::{Course, Lifecycle, Numbers},
};

/// Ports of a host that fail for one client within [`WHILE`] before they count as a scan. No service has this many.
const PORTS: usize = 32;
const WHILE: u64 = 60_000_000_000;
/// Clients and hosts kept in mind, and scans at once: beyond these, each attempt is reported as ever.
const PAIRS: usize = 1 << 14;
const CLEARED_EVERY: u64 = 1_000_000_000;
const SCANS: usize = 256;

/// A scan, as it is reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Unique in a run, among incidents as well.
    pub id: u64,
    /// The client that scans.
    pub client: Addr,
    /// The host whose ports are tried.
    pub host: Addr,
    /// Its first attempt.
    pub began: Nanos,
    /// Its last attempt's end.
    pub last: Nanos,
    /// When this was so: when it had begun for sure, or was over.
    pub at: Nanos,
    /// No port failed for a minute, or tracing has ended.
    pub is_over: bool,
    /// Tracing ended while it ran.
    pub is_cut: bool,
    /// Different ports.
    pub ports: usize,
    /// Attempts that ended, by outcome.
    pub attempts: [u64; Outcome::ALL.len()],
}

/// A scan that runs.
struct Running {
    scan: Scan,
    /// The time since which its attempts are not reported one by one.
    since: Nanos,
    /// Ports that failed, a bit each: once, and twice.
    seen: Box<[[u64; 2]; 1024]>,
}

/// Ports of a pair that failed so far.
struct Pair {
    began: Nanos,
    ports: Vec<u16>,
}

/// The scans of a run.
#[derive(Default)]
pub struct Scans {
    pairs: HashMap<(Addr, Addr), Pair>,
    /// When old ones were last thrown out: a look at all of them, which must not come with every attempt.
    cleared: Nanos,
    findings: Lifecycle<(Addr, Addr), Running>,
}

impl Pattern for Scans {
    type Finding = Scan;

    fn note(&mut self, report: &Report, around: &mut dyn Surroundings, now: Nanos) -> Claim {
        let attempt = report.attempt();
        if !attempt.outcome.is_failure() {
            return Claim::None;
        }
        let hs = &attempt.handshake;
        let pair = (hs.client_addr, hs.server_addr);
        // A port that used to open is no guess: its client had been there, and its host is gone.
        if self.findings.get_mut(&pair).is_none() && around.has_opened(hs.server()) {
            return Claim::None;
        }
        let begins = self.findings.get_mut(&pair).is_none() && self.is_scan(pair, hs.server_port, now);
        if begins {
            // A stall's is the sweep's, and so of many the same.
            let moment = attempt.stalled.map_or(now, |it| it.at);
            self.begin(pair, hs.first_syn, moment, now);
        }
        let Some((id, running)) = self.findings.get_mut(&pair) else { return Claim::None };
        let claim = running.claim(report, id, now);
        if begins && claim != Claim::None {
            self.findings.announce(&pair);
        }
        claim
    }

    fn look(&mut self, now: Nanos) -> Vec<Scan> {
        self.findings.running_mut().for_each(|(_, it)| it.scan.at = now.max(it.scan.last));
        self.findings.end(|it| now.since(it.scan.last) >= WHILE);
        self.findings.news()
    }

    fn end(&mut self) -> Vec<Scan> {
        self.findings.running_mut().for_each(|(_, running)| running.scan.is_cut = true);
        self.findings.end(|_| true);
        self.findings.news()
    }
}

impl Scans {
    /// None yet; see [`Numbers`].
    #[must_use]
    pub fn numbered(numbers: &Numbers) -> Self {
        Self { findings: Lifecycle::numbered(numbers), ..Self::default() }
    }

    /// Every scan so far.
    #[must_use]
    pub fn all(&self) -> Vec<Scan> {
        self.findings.all()
    }

    /// The number of scans that are not among them any more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.findings.forgotten()
    }

    fn begin(&mut self, pair: (Addr, Addr), first_syn: Nanos, since: Nanos, now: Nanos) {
        let known = self.pairs.remove(&pair);
        let scan = Scan {
            id: 0,
            client: pair.0,
            host: pair.1,
            began: known.as_ref().map_or(first_syn, |it| it.began),
            last: now,
            at: now,
            is_over: false,
            is_cut: false,
            ports: 0,
            attempts: [0; Outcome::ALL.len()],
        };
        let mut running = Running { scan, since, seen: Box::new([[0; 2]; 1024]) };
        known.into_iter().flat_map(|it| it.ports).for_each(|port| running.see(port));
        self.findings.begin(pair, |id| {
            running.scan.id = id.0;
            running
        });
    }

    /// Notes a port that failed, and whether it makes the pair a scan.
    fn is_scan(&mut self, pair: (Addr, Addr), port: u16, now: Nanos) -> bool {
        if self.pairs.len() >= PAIRS && !self.pairs.contains_key(&pair) {
            if now.since(self.cleared) < CLEARED_EVERY {
                return false;
            }
            self.cleared = now;
            self.pairs.retain(|_, it| now.since(it.began) < WHILE);
            if self.pairs.len() >= PAIRS {
                return false;
            }
        }
        let it = self.pairs.entry(pair).or_insert_with(|| Pair { began: now, ports: Vec::new() });
        if now.since(it.began) >= WHILE {
            *it = Pair { began: now, ports: Vec::new() };
        }
        if it.ports.len() < PORTS && !it.ports.contains(&port) {
            it.ports.push(port);
        }
        it.ports.len() >= PORTS && self.findings.running() < SCANS
    }
}

impl Course for Running {
    type Finding = Scan;

    fn finding(&self) -> Scan {
        self.scan.clone()
    }

    fn close(self) -> Scan {
        Scan { is_over: true, ..self.scan }
    }
}

impl Running {
    /// Whether the scan stands for a report of its pair.
    fn claim(&mut self, report: &Report, id: FindingId, now: Nanos) -> Claim {
        let attempt = report.attempt();
        let port = attempt.handshake.server_port;
        let is_end = matches!(report, Report::Attempt(_));
        // The end of an attempt that was reported as stalled is reported.
        if is_end && attempt.stalled.is_some_and(|it| it.at < self.since) {
            return Claim::None;
        }
        // A port that fails again and again is one that somebody wants.
        if self.seen[usize::from(port) / 64][1] & bit(port) != 0 {
            return Claim::None;
        }
        self.scan.last = now.max(attempt.seen.1);
        if is_end {
            self.see(port);
            self.scan.attempts[attempt.outcome as usize] += 1;
        }
        Claim::Fold(id)
    }

    fn see(&mut self, port: u16) {
        let [once, twice] = &mut self.seen[usize::from(port) / 64];
        self.scan.ports += usize::from(*once & bit(port) == 0);
        *twice |= *once & bit(port);
        *once |= bit(port);
    }
}

const fn bit(port: u16) -> u64 {
    1 << (port % 64)
}
