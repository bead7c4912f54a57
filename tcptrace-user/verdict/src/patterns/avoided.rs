//! Networks that clients go round: attempts there are overtaken (RFC 8305) again and again, and nothing answers. One
//! finding, where each attempt is only counted.

use std::collections::{HashMap, HashSet, VecDeque};

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Nanos,
};
use tcptrace_vocabulary::{network::Network, outcome::Outcome, report::Report};

use super::{
    Claim, Pattern, Surroundings,
    lifecycle::{Course, KEPT, Lifecycle, Numbers},
};

/// The number of attempts within [`WHILE`] that make a finding; for a whole family, the number of networks.
const OFTEN: usize = 3;
const WHILE: u64 = 600_000_000_000;
/// After such a pause, or once something answers, it is over.
const PAUSE: u64 = 3_600_000_000_000;
/// Networks kept in mind, attempts of each, and clients that are counted separately.
const NETWORKS: usize = 1 << 12;
const ATTEMPTS: usize = 64;
const CLIENTS: usize = 1 << 10;

/// A network where nothing answers and that clients avoid.
#[derive(Clone, Debug, PartialEq)]
pub struct Avoided {
    /// Unique in a run, among incidents as well.
    pub id: u64,
    /// The network, or a whole family of addresses.
    pub network: Network,
    /// The first SYN of its first attempt.
    pub began: Nanos,
    /// Its last attempt's first SYN.
    pub last: Nanos,
    /// When this was so: when it had begun for sure, or was over.
    pub at: Nanos,
    /// Something there answers, or an hour has passed without an attempt.
    pub is_over: bool,
    /// Tracing ended while it ran.
    pub is_cut: bool,
    /// Different ones, up to a thousand.
    pub clients: usize,
    /// By outcome: those that were overtaken.
    pub attempts: [u64; Outcome::ALL.len()],
}

/// An attempt that was overtaken.
#[derive(Clone, Copy)]
struct Lost {
    at: Nanos,
    client: Addr,
    network: Network,
    outcome: Outcome,
}

struct Running {
    told: Avoided,
    clients: HashSet<Addr>,
}

/// The networks of a run.
#[derive(Default)]
pub struct Networks {
    /// When each server lost, lately.
    losers: HashMap<Endpoint, VecDeque<Nanos>>,
    recent: HashMap<Network, VecDeque<Lost>>,
    findings: Lifecycle<Network, Running>,
}

impl Pattern for Networks {
    type Finding = Avoided;

    /// Takes note of an attempt that was overtaken. It claims nothing: what overtook the attempt already has.
    fn note(&mut self, report: &Report, around: &mut dyn Surroundings, now: Nanos) -> Claim {
        let attempt = report.attempt();
        let hs = &attempt.handshake;
        // It came too late, and it came.
        if hs.answer.tries > 0 || !matches!(report, Report::Attempt(_)) {
            return Claim::None;
        }
        self.lose(hs.server(), hs.first_syn);
        let (own, family) = (Network::of(hs.server_addr), Network::family(hs.server_addr));
        let lost = Lost { at: hs.first_syn, client: hs.client_addr, network: own, outcome: attempt.outcome };
        let last_seen = hs.last_seen();
        self.expire(lost.at);
        for network in [family, own] {
            if self.findings.get_mut(&network).is_some() && around.answers(network, last_seen) {
                self.findings.end(|it| it.told.network == network);
            }
            if let Some((_, running)) = self.findings.get_mut(&network) {
                running.add(&lost);
                return Claim::None;
            }
            let Some(recent) = self.remember(network, lost) else { continue };
            let networks: HashSet<_> = recent.iter().map(|it| it.network).collect();
            let often = if network == family { networks.len() } else { recent.len() };
            if often >= OFTEN && self.findings.running() < KEPT && !around.answers(network, last_seen) {
                self.begin(network, now);
                return Claim::None;
            }
        }
        Claim::None
    }

    fn look(&mut self, now: Nanos) -> Vec<Avoided> {
        self.findings.running_mut().for_each(|(_, it)| it.told.at = now.max(it.told.last));
        self.expire(now);
        self.findings.news()
    }

    fn end(&mut self) -> Vec<Avoided> {
        self.findings.running_mut().for_each(|(_, running)| running.told.is_cut = true);
        self.findings.end(|_| true);
        self.findings.news()
    }
}

impl Networks {
    /// None yet; see [`Numbers`].
    #[must_use]
    pub fn numbered(numbers: &Numbers) -> Self {
        Self { findings: Lifecycle::numbered(numbers), ..Self::default() }
    }

    /// Every one so far.
    #[must_use]
    pub fn all(&self) -> Vec<Avoided> {
        self.findings.all()
    }

    /// The number of findings that are not among them any more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.findings.forgotten()
    }

    /// An attempt with those before it of its network, unless there are too many networks.
    fn remember(&mut self, network: Network, lost: Lost) -> Option<&VecDeque<Lost>> {
        let is_old = |it: &Lost| lost.at.since(it.at) > WHILE;
        if self.recent.len() >= NETWORKS && !self.recent.contains_key(&network) {
            self.recent.retain(|_, it| it.back().is_some_and(|it| !is_old(it)));
            if self.recent.len() >= NETWORKS {
                return None;
            }
        }
        let recent = self.recent.entry(network).or_default();
        while recent.len() >= ATTEMPTS || recent.front().is_some_and(is_old) {
            recent.pop_front();
        }
        recent.push_back(lost);
        Some(recent)
    }

    /// Whether an attempt was overtaken because its server is dead: it lost three times within ten minutes, this time
    /// among them, and its host answered nobody since the first. Where nothing of its network answers, the finding
    /// about the network says so.
    pub fn is_dead(&mut self, server: Endpoint, at: Nanos, around: &mut dyn Surroundings) -> bool {
        let networks = [Network::of(server.addr), Network::family(server.addr)];
        if networks.iter().any(|it| self.findings.get_mut(it).is_some()) {
            return false;
        }
        let Some(lost) = self.losers.get_mut(&server) else { return false };
        lost.retain(|it| at.since(*it) <= WHILE);
        let first = lost.front().copied().filter(|_| lost.len() + 1 >= OFTEN);
        first.is_some_and(|first| {
            !around.answered_since(server.addr, first) && around.answers(Network::of(server.addr), at)
        })
    }

    fn lose(&mut self, server: Endpoint, at: Nanos) {
        if self.losers.len() >= NETWORKS && !self.losers.contains_key(&server) {
            self.losers.retain(|_, it| it.back().is_some_and(|last| at.since(*last) <= WHILE));
            if self.losers.len() >= NETWORKS {
                return;
            }
        }
        let lost = self.losers.entry(server).or_default();
        if lost.len() >= ATTEMPTS {
            lost.pop_front();
        }
        lost.push_back(at);
    }

    fn begin(&mut self, network: Network, now: Nanos) {
        let recent = self.recent.remove(&network).unwrap_or_default();
        let Some(first) = recent.front() else { return };
        let told = Avoided {
            id: 0,
            network,
            began: first.at,
            last: first.at,
            at: now,
            is_over: false,
            is_cut: false,
            clients: 0,
            attempts: [0; Outcome::ALL.len()],
        };
        let mut running = Running { told, clients: HashSet::new() };
        recent.iter().for_each(|it| running.add(it));
        self.findings.begin(network, |id| {
            running.told.id = id.0;
            running
        });
        self.findings.announce(&network);
    }

    fn expire(&mut self, now: Nanos) {
        self.findings.end(|it| now.since(it.told.last) >= PAUSE);
    }
}

impl Course for Running {
    type Finding = Avoided;

    fn finding(&self) -> Avoided {
        self.told.clone()
    }

    fn close(self) -> Avoided {
        Avoided { is_over: true, ..self.told }
    }
}

impl Running {
    fn add(&mut self, lost: &Lost) {
        if self.clients.len() < CLIENTS {
            self.clients.insert(lost.client);
        }
        self.told.clients = self.clients.len();
        self.told.last = self.told.last.max(lost.at);
        self.told.attempts[lost.outcome as usize] += 1;
    }
}
