//! Floods: listeners that get more SYNs than the kernel side lets into its table. One finding each, instead of a line
//! for each attempt that is followed.
//!
//! Counts are the kernel's and exact; sources are drawn, one client a tick of its clock.

use std::collections::{BTreeMap, HashMap, HashSet};

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Nanos, Point},
    outcome::Outcome,
};

use crate::{attempt::Attempt, track::Report};

/// A flood that pauses for less goes on.
const PAUSE: u64 = 10_000_000_000;
/// How long a flood is watched before it is told: its rate is known then.
const BEFORE_TOLD: u64 = 1_000_000_000;
/// How long before a listener was found flooded its attempts may have begun and not be told yet.
const UNTOLD: u64 = 3_000_000_000;
/// Floods kept for the summary.
const KEPT: usize = 1024;
/// Sources, and networks, of one flood that are told apart.
const SOURCES: usize = 1 << 14;
/// The share of the sample from which on a source is named, and how many are.
const NAMED_FROM: f64 = 0.1;
const NAMED: usize = 3;

/// What came by for one flooded listener, at one point, since it was last looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    pub server: Endpoint,
    pub point: Point,
    /// When the kernel side found it flooded, and whether it still is.
    pub since: Nanos,
    pub is_on: bool,
    /// SYNs and SYN/ACKs without one; of these SYN/ACKs; those that were counted only.
    pub opens: u64,
    pub answers: u64,
    pub passed_over: u64,
    /// Handshakes completed, in SYNs that came by: those that are followed stand for the others.
    pub completed: u64,
    /// Some of those who sent them.
    pub clients: Vec<Addr>,
}

/// A flood, as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Flood {
    pub server: Endpoint,
    pub began: Nanos,
    /// When it was last seen going on.
    pub last: Nanos,
    pub is_over: bool,
    /// The greatest number of packets in a second, by the looks at them.
    pub peak: f64,
    /// Packets that came by, by point.
    pub points: BTreeMap<u32, u64>,
    /// The SYN/ACKs among them.
    pub answers: u64,
    pub passed_over: u64,
    pub completed: u64,
    /// Followed attempts, by outcome.
    pub attempts: [u64; Outcome::ALL.len()],
    /// What the host's own stack sent meanwhile, to whomever; unknown where it does not say.
    pub cookies: Option<u64>,
    sources: Sources,
    cookies_before: Option<u64>,
    is_told: bool,
}

/// Who sent it, by a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// Clients drawn.
    pub sample: u64,
    by_addr: HashMap<Addr, u64>,
    networks: HashSet<Addr>,
}

impl Sources {
    fn add(&mut self, it: Addr) {
        self.sample += 1;
        if self.by_addr.len() < SOURCES || self.by_addr.contains_key(&it) {
            *self.by_addr.entry(it).or_default() += 1;
        }
        if self.networks.len() < SOURCES {
            self.networks.insert(network(it));
        }
    }

    /// Networks (/24, in IPv6 /48) in the sample: at least so many there are.
    #[must_use]
    pub fn networks(&self) -> usize {
        self.networks.len()
    }

    /// Sources that sent a good part of it, the busiest first, each with its share of the sample.
    #[must_use]
    pub fn top(&self) -> Vec<(Addr, f64)> {
        let share = |count: u64| count as f64 / self.sample as f64;
        let mut top: Vec<_> = self.by_addr.iter().map(|(&addr, &count)| (addr, share(count))).collect();
        top.retain(|(_, share)| *share >= NAMED_FROM);
        top.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        top.truncate(NAMED);
        top
    }
}

fn network(it: Addr) -> Addr {
    if it.is_v4() { Addr { lo: it.lo & !0xff, ..it } } else { Addr { hi: it.hi & !0xffff, lo: 0 } }
}

impl Flood {
    fn new(it: &Passage, cookies: Option<u64>) -> Self {
        Self {
            server: it.server,
            began: it.since,
            last: it.since,
            is_over: false,
            peak: 0.0,
            points: BTreeMap::new(),
            answers: 0,
            passed_over: 0,
            completed: 0,
            attempts: [0; Outcome::ALL.len()],
            cookies: cookies.map(|_| 0),
            sources: Sources::default(),
            cookies_before: cookies,
            is_told: false,
        }
    }

    /// Packets: what came in; where none did (the flood leaves this host), what went out. What is forwarded does both.
    #[must_use]
    pub fn packets(&self) -> u64 {
        let of = |egress| self.points.iter().filter(|it| Point(*it.0).is_egress() == egress).map(|it| it.1).sum();
        let came_in: u64 = of(false);
        if came_in > 0 { came_in } else { of(true) }
    }

    /// Whether it is SYN/ACKs that nobody asked for: backscatter, or an asymmetric path.
    #[must_use]
    pub fn is_of_answers(&self) -> bool {
        self.answers * 2 > self.points.values().sum()
    }

    /// Nanoseconds that it has lasted.
    #[must_use]
    pub fn lasted(&self) -> u64 {
        self.last.since(self.began)
    }

    /// Packets a second, on average.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.packets() as f64 / (self.lasted().max(1) as f64 / 1e9)
    }

    /// The share of handshakes that completed, as far as those that are followed stand for the rest.
    #[must_use]
    pub fn completed_share(&self) -> f64 {
        (self.completed as f64 / self.packets().max(1) as f64).min(1.0)
    }

    #[must_use]
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    fn add(&mut self, it: Passage) {
        *self.points.entry(it.point.0).or_default() += it.opens;
        self.answers += it.answers;
        self.passed_over += it.passed_over;
        self.completed += it.completed;
        it.clients.into_iter().for_each(|it| self.sources.add(it));
    }

    /// Whether an attempt is one of those that the finding stands for.
    fn covers(&self, it: &Attempt) -> bool {
        let opened = it.handshake.first_syn;
        let told_before = it.stalled.is_some_and(|it| it.at < self.began);
        it.handshake.server() == self.server
            && opened.0.saturating_add(UNTOLD) >= self.began.0
            && opened.0 <= self.last.0.saturating_add(PAUSE)
            && !told_before
    }
}

/// The floods of a run.
#[derive(Default)]
pub struct Floods {
    /// In the order in which they began.
    pub floods: Vec<Flood>,
    /// Those that had to be forgotten.
    pub forgotten: u64,
    looked: Nanos,
}

impl Floods {
    /// Whether any goes on.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.floods.iter().any(|it| !it.is_over)
    }

    /// Takes in what came by since the last look; the floods that are to be told, as they began or as they ended.
    /// `cookies` is the number that the host's stack has ever sent.
    pub fn look(&mut self, now: Nanos, passages: Vec<Passage>, cookies: Option<u64>) -> Vec<Flood> {
        let seconds = now.since(self.looked).max(1) as f64 / 1e9;
        self.looked = now;
        let before: Vec<u64> = self.floods.iter().map(Flood::packets).collect();
        for it in passages {
            let known = self.floods.iter().rposition(|flood| flood.server == it.server && !flood.is_over);
            let index = match known {
                Some(index) => index,
                None if it.is_on || it.passed_over > 0 => self.begin(&it, cookies),
                None => continue,
            };
            let flood = &mut self.floods[index];
            if it.is_on || it.passed_over > 0 {
                flood.last = now;
            }
            flood.add(it);
        }
        let mut told = Vec::new();
        for (index, flood) in self.floods.iter_mut().enumerate().filter(|(_, it)| !it.is_over) {
            // Of one that has just begun it is not known when the first of its packets came.
            if let Some(before) = before.get(index) {
                flood.peak = flood.peak.max((flood.packets() - before) as f64 / seconds);
            }
            flood.cookies = cookies.zip(flood.cookies_before).map(|(now, before)| now.saturating_sub(before));
            flood.is_over = now.since(flood.last) >= PAUSE;
            let is_told = flood.is_told;
            flood.is_told |= now.since(flood.began) >= BEFORE_TOLD;
            if flood.is_over || flood.is_told != is_told {
                told.push(flood.clone());
            }
        }
        told
    }

    /// Tracing ends: so do they.
    pub fn finish(&mut self) -> Vec<Flood> {
        let on = self.floods.iter_mut().filter(|it| !it.is_over);
        on.map(|it| {
            it.is_over = true;
            it.clone()
        })
        .collect()
    }

    /// Whether a finding stands for this report, which is then not told.
    pub fn takes(&mut self, report: &Report) -> bool {
        let it = report.attempt();
        let Some(flood) = self.floods.iter_mut().rfind(|flood| flood.covers(it)) else { return false };
        if matches!(report, Report::Attempt(_)) {
            flood.attempts[it.outcome as usize] += 1;
        }
        true
    }

    fn begin(&mut self, it: &Passage, cookies: Option<u64>) -> usize {
        if self.floods.len() >= KEPT {
            self.floods.remove(0);
            self.forgotten += 1;
        }
        self.floods.push(Flood::new(it, cookies));
        self.floods.len() - 1
    }
}
