//! Port scans: one client, one host, many ports that fail. One finding, instead of a line a port.

use std::collections::HashMap;

use tcptrace_core::{flow::Addr, handshake::Nanos};
use tcptrace_vocabulary::{outcome::Outcome, report::Report};

/// Ports of a host that fail for one client within [`WHILE`] before they count as a scan. No service has so many.
const PORTS: usize = 32;
const WHILE: u64 = 60_000_000_000;
/// Clients and hosts kept in mind, and scans at once: of more, each attempt is told as ever.
const PAIRS: usize = 1 << 14;
const CLEARED_EVERY: u64 = 1_000_000_000;
const SCANS: usize = 256;
/// Scans kept for the summary.
const KEPT: usize = 1024;

/// A scan, as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    pub client: Addr,
    pub host: Addr,
    pub began: Nanos,
    /// Its last attempt's end.
    pub last: Nanos,
    pub is_over: bool,
    /// Different ports.
    pub ports: usize,
    /// Attempts that ended, by outcome.
    pub attempts: [u64; Outcome::ALL.len()],
}

/// One that goes on.
struct Running {
    scan: Scan,
    /// Since when its attempts are not told one by one.
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
    running: HashMap<(Addr, Addr), Running>,
    pub over: Vec<Scan>,
    begun: Vec<Scan>,
    /// Those that had to be forgotten.
    pub forgotten: u64,
}

impl Scans {
    /// Whether a finding stands for this report, which is then not told.
    pub fn takes(&mut self, report: &Report, now: Nanos) -> bool {
        let it = report.attempt();
        if !it.outcome.is_failure() {
            return false;
        }
        let (client, server) = (it.handshake.client(), it.handshake.server());
        let pair = (client.addr, server.addr);
        let is_end = matches!(report, Report::Attempt(_));
        // A stall's is the sweep's, and so of many the same.
        let moment = it.stalled.map_or(now, |it| it.at);
        let begins = !self.running.contains_key(&pair) && self.is_scan(pair, server.port, now);
        if begins {
            let scan = Scan {
                client: pair.0,
                host: pair.1,
                began: it.handshake.first_syn,
                last: now,
                is_over: false,
                ports: 0,
                attempts: [0; Outcome::ALL.len()],
            };
            let known = self.pairs.remove(&pair);
            let mut running = Running { scan, since: moment, seen: Box::new([[0; 2]; 1024]) };
            known.iter().for_each(|it| running.scan.began = it.began);
            known.into_iter().flat_map(|it| it.ports).for_each(|port| running.see(port));
            self.running.insert(pair, running);
        }
        let Some(running) = self.running.get_mut(&pair) else { return false };
        // Of what was told as stalled the end is told.
        if is_end && it.stalled.is_some_and(|it| it.at < running.since) {
            return false;
        }
        // A port that fails again and again is somebody's that is wanted.
        if running.seen[usize::from(server.port) / 64][1] & bit(server.port) != 0 {
            return false;
        }
        running.scan.last = now;
        if is_end {
            running.see(server.port);
            running.scan.attempts[it.outcome as usize] += 1;
        }
        if begins {
            self.begun.push(running.scan.clone());
        }
        true
    }

    /// Those to be told: that began since the last look, and that are over.
    pub fn look(&mut self, now: Nanos) -> Vec<Scan> {
        self.end(|it| now.since(it.last) >= WHILE)
    }

    /// Tracing ends: so do they.
    pub fn finish(&mut self) -> Vec<Scan> {
        self.end(|_| true)
    }

    /// Every scan so far.
    pub fn all(&self) -> impl Iterator<Item = &Scan> {
        self.over.iter().chain(self.running.values().map(|it| &it.scan))
    }

    fn end(&mut self, is_over: impl Fn(&Scan) -> bool) -> Vec<Scan> {
        let mut told = std::mem::take(&mut self.begun);
        let over: Vec<_> = self.running.extract_if(|_, it| is_over(&it.scan)).collect();
        for (_, Running { scan, .. }) in over {
            let scan = Scan { is_over: true, ..scan };
            if self.over.len() >= KEPT {
                self.over.remove(0);
                self.forgotten += 1;
            }
            self.over.push(scan.clone());
            told.push(scan);
        }
        told
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
        it.ports.len() >= PORTS && self.running.len() < SCANS
    }
}

impl Running {
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
