//! Networks that clients go round: what is asked there is overtaken (RFC 8305) again and again, and nothing answers. One
//! finding, where each attempt is only counted.

use std::collections::{HashMap, HashSet, VecDeque};

use tcptrace_core::{flow::Addr, handshake::Nanos};
use tcptrace_vocabulary::{attempt::Attempt, network::Network, outcome::Outcome};

/// So many attempts within [`WHILE`] make a finding; of a whole family, so many networks.
const OFTEN: usize = 3;
const WHILE: u64 = 600_000_000_000;
/// After such a pause, or once something answers, it is over.
const PAUSE: u64 = 3_600_000_000_000;
/// Networks kept in mind, attempts of each, and clients that are told apart.
const NETWORKS: usize = 1 << 12;
const ATTEMPTS: usize = 64;
const CLIENTS: usize = 1 << 10;
/// Findings kept for the summary.
const KEPT: usize = 1024;

/// A network that clients go round, as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Avoided {
    pub network: Network,
    pub began: Nanos,
    /// Its last attempt's first SYN.
    pub last: Nanos,
    pub is_over: bool,
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
    recent: HashMap<Network, VecDeque<Lost>>,
    running: HashMap<Network, Running>,
    over: VecDeque<Avoided>,
    /// To be told.
    news: Vec<Avoided>,
    /// Those that had to be forgotten.
    pub forgotten: u64,
}

impl Networks {
    /// Takes note of an attempt that was overtaken; `answers` says whether anything in a network did around then.
    pub fn note(&mut self, it: &Attempt, answers: impl Fn(Network) -> bool) {
        let hs = &it.handshake;
        // It came too late, and it came.
        if hs.answer.tries > 0 {
            return;
        }
        let (own, family) = (Network::of(hs.server_addr), Network::family(hs.server_addr));
        let lost = Lost { at: hs.first_syn, client: hs.client_addr, network: own, outcome: it.outcome };
        self.expire(lost.at);
        for network in [family, own] {
            if self.running.contains_key(&network) && answers(network) {
                self.end(|it| it.network == network);
            }
            if let Some(running) = self.running.get_mut(&network) {
                return running.add(&lost);
            }
            let Some(recent) = self.remember(network, lost) else { continue };
            let networks: HashSet<_> = recent.iter().map(|it| it.network).collect();
            let often = if network == family { networks.len() } else { recent.len() };
            if often >= OFTEN && self.running.len() < KEPT && !answers(network) {
                return self.begin(network);
            }
        }
    }

    /// Those to be told.
    pub fn look(&mut self, now: Nanos) -> Vec<Avoided> {
        self.expire(now);
        std::mem::take(&mut self.news)
    }

    /// Tracing ends: so do they.
    pub fn finish(&mut self) -> Vec<Avoided> {
        self.end(|_| true);
        std::mem::take(&mut self.news)
    }

    /// Every one so far.
    pub fn all(&self) -> impl Iterator<Item = &Avoided> {
        self.over.iter().chain(self.running.values().map(|it| &it.told))
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

    fn begin(&mut self, network: Network) {
        let recent = self.recent.remove(&network).unwrap_or_default();
        let Some(first) = recent.front() else { return };
        let told = Avoided {
            network,
            began: first.at,
            last: first.at,
            is_over: false,
            clients: 0,
            attempts: [0; Outcome::ALL.len()],
        };
        let mut running = Running { told, clients: HashSet::new() };
        recent.iter().for_each(|it| running.add(it));
        self.news.push(running.told.clone());
        self.running.insert(network, running);
    }

    fn expire(&mut self, now: Nanos) {
        self.end(|it| now.since(it.last) >= PAUSE);
    }

    fn end(&mut self, is_over: impl Fn(&Avoided) -> bool) {
        for (_, Running { told, .. }) in self.running.extract_if(|_, it| is_over(&it.told)) {
            let told = Avoided { is_over: true, ..told };
            if self.over.len() >= KEPT {
                self.over.pop_front();
                self.forgotten += 1;
            }
            self.over.push_back(told.clone());
            self.news.push(told);
        }
    }
}

impl Running {
    fn add(&mut self, it: &Lost) {
        if self.clients.len() < CLIENTS {
            self.clients.insert(it.client);
        }
        self.told.clients = self.clients.len();
        self.told.last = self.told.last.max(it.at);
        self.told.attempts[it.outcome as usize] += 1;
    }
}
