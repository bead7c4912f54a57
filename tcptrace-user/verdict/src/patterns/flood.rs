//! Floods: listeners that get more SYNs than the kernel side lets into its table. Where a flood is spread over many
//! listeners, it is one of hosts or networks. One finding each, instead of a line for each attempt that is followed.
//!
//! Counts are the kernel's and exact. Sources are drawn, one client a tick of each CPU's clock, and weighed by the
//! packets that the CPU saw meanwhile.

use std::collections::{BTreeMap, HashMap, HashSet};

use tcptrace_core::{
    flood::Opening,
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos, Point},
    pressure::{self, Width},
};
use tcptrace_vocabulary::{attempt::Attempt, outcome::Outcome, report::Report};

use super::{
    Claim, FindingId, Pattern, Surroundings,
    lifecycle::{Course, Lifecycle, Numbers},
};

/// A flood that pauses for less continues.
const PAUSE: u64 = 10_000_000_000;
/// The time that a flood runs before it is reported: its rate is known then. One that is over sooner is reported as it
/// ends, if it stands for failures, or for [`MANY`] packets.
const BEFORE_TOLD: u64 = 1_000_000_000;
const MANY: u64 = 10_000;
/// For how long what is coarser than a listener stands for what began after it.
const AFTER: u64 = 1_000_000_000;
/// The time before a listener was found flooded in which its attempts may have begun and not be reported yet.
const UNTOLD: u64 = 3_000_000_000;
/// Sources, and networks, of one flood that are counted separately.
const SOURCES: usize = 1 << 14;
/// Ports of the attempts of one flood that are counted separately.
const PORTS: usize = 1 << 12;
/// The share of the sample from which on a source, or a port, is named, and how many are.
const NAMED_FROM: f64 = 0.1;
const NAMED: usize = 3;

/// The packets for a flooded listener, or something coarser, at one point, since the last look.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    /// Its width: a listener, a host, a network, a client, everything.
    pub scope: Width,
    /// The listener, or what [`pressure::owner`] makes of it.
    pub owner: Endpoint,
    /// The place where it was seen: interface and direction.
    pub point: Point,
    /// When the kernel side found it flooded.
    pub since: Nanos,
    /// SYNs, and SYN/ACKs without a SYN.
    pub opens: u64,
    /// The SYN/ACKs among them.
    pub answers: u64,
    /// Those among them that were counted and not traced.
    pub passed_over: u64,
    /// Handshakes completed, in SYNs that came by: those that are followed stand for the others.
    pub completed: u64,
    /// Some of those who sent them.
    pub clients: Vec<Addr>,
}

/// A flood, as it is reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Flood {
    /// Unique in a run, among incidents as well.
    pub id: u64,
    /// Its width.
    pub scope: Width,
    /// As in [`Passage`].
    pub owner: Endpoint,
    /// Its beginning.
    pub began: Nanos,
    /// When it was last seen going on.
    pub last: Nanos,
    /// When this was so: when it had begun for sure, or was over.
    pub at: Nanos,
    /// It has paused for ten seconds, or tracing has ended.
    pub is_over: bool,
    /// Tracing ended while it ran.
    pub is_cut: bool,
    /// The greatest number of packets in a second, by the looks at them.
    pub peak: f64,
    /// The packets, by point.
    pub points: BTreeMap<u32, Passed>,
    /// Followed attempts, by outcome.
    pub attempts: [u64; Outcome::ALL.len()],
    /// The SYN cookies that the host's own stack sent meanwhile, to anybody; unknown where it does not say.
    pub cookies: Option<u64>,
    sources: Sources,
    /// Ports of followed attempts, where they are several listeners'.
    ports: HashMap<u16, u64>,
    cookies_before: Option<u64>,
    /// Packets at the last look.
    before: Option<u64>,
    is_told: bool,
}

/// Counts of what came by at a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// SYNs, and SYN/ACKs without one.
    pub opens: u64,
    /// The SYN/ACKs among `opens`.
    pub answers: u64,
    /// Those of `opens` that were only counted.
    pub over: u64,
    /// Handshakes that completed.
    pub completed: u64,
}

impl Passed {
    const fn is_of_answers(&self) -> bool {
        self.answers * 2 > self.opens
    }

    fn add(&mut self, other: Self) {
        self.opens += other.opens;
        self.answers += other.answers;
        self.over += other.over;
        self.completed += other.completed;
    }
}

/// The senders of a flood, by a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// Clients drawn.
    pub sample: u64,
    /// Different ones among them: there are at least this many.
    pub clients: u64,
    /// Networks (/24, in IPv6 /48) in the sample: there are at least this many.
    pub networks: usize,
    /// The packets that the sample stands for.
    weight: f64,
    by_addr: HashMap<Addr, f64>,
    known: HashSet<Addr>,
}

impl Sources {
    /// A client that was drawn, and for how many packets it stands.
    fn add(&mut self, addr: Addr, weight: f64) {
        self.sample += 1;
        self.weight += weight;
        let is_known = self.by_addr.contains_key(&addr);
        if is_known || self.by_addr.len() < SOURCES {
            self.clients += u64::from(!is_known);
            *self.by_addr.entry(addr).or_default() += weight;
        }
        if self.known.len() < SOURCES && self.known.insert(network(addr)) {
            self.networks += 1;
        }
    }

    /// Keeps what is reported, and of the sources the busiest.
    fn close(&mut self) {
        let top: Vec<Addr> = self.top().into_iter().map(|(addr, _)| addr).collect();
        self.by_addr.retain(|addr, _| top.contains(addr));
        self.by_addr.shrink_to_fit();
        self.known = HashSet::new();
    }

    /// Sources that sent a good part of it, the busiest first, each with its share of the sample.
    #[must_use]
    pub fn top(&self) -> Vec<(Addr, f64)> {
        busiest(self.by_addr.iter().map(|(&addr, &weight)| (addr, weight / self.weight)))
    }
}

/// Those with a good share, the busiest first.
fn busiest<T: Ord>(all: impl Iterator<Item = (T, f64)>) -> Vec<(T, f64)> {
    let mut top: Vec<_> = all.filter(|(_, share)| *share >= NAMED_FROM).collect();
    top.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    top.truncate(NAMED);
    top
}

fn network(addr: Addr) -> Addr {
    if addr.is_v4() { Addr { lo: addr.lo & !0xff, ..addr } } else { Addr { hi: addr.hi & !0xffff, lo: 0 } }
}

impl Flood {
    fn new(passage: &Passage, cookies: Option<u64>) -> Self {
        Self {
            id: 0,
            scope: passage.scope,
            owner: passage.owner,
            began: passage.since,
            last: passage.since,
            at: passage.since,
            is_over: false,
            is_cut: false,
            peak: 0.0,
            points: BTreeMap::new(),
            attempts: [0; Outcome::ALL.len()],
            cookies: cookies.map(|_| 0),
            sources: Sources::default(),
            ports: HashMap::new(),
            cookies_before: cookies,
            before: None,
            is_told: false,
        }
    }

    /// The packets, each once: SYNs, if there are any, and not the answers to them; those that came in, if any did
    /// (forwarded packets go out as well), else those that this host sent.
    #[must_use]
    pub fn passed(&self) -> Passed {
        let of = |answers: bool, out: bool| {
            let mut sum = Passed::default();
            let points = self.points.iter().filter(|(point, _)| Point(**point).is_egress() == out);
            points.filter(|it| it.1.is_of_answers() == answers).for_each(|it| sum.add(*it.1));
            sum
        };
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        ways.into_iter().map(|(answers, out)| of(answers, out)).find(|it| it.opens > 0).unwrap_or_default()
    }

    /// Packets, to the last.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.passed().opens
    }

    /// Whether it is SYN/ACKs that nobody asked for: backscatter, or an asymmetric path.
    #[must_use]
    pub fn is_of_answers(&self) -> bool {
        self.passed().is_of_answers()
    }

    /// Whether it is SYNs that this host sends.
    #[must_use]
    pub fn leaves(&self) -> bool {
        let syns = self.points.iter().filter(|it| !it.1.is_of_answers());
        !self.is_of_answers() && syns.into_iter().all(|it| Point(*it.0).is_egress())
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
        let it = self.passed();
        (it.completed as f64 / it.opens.max(1) as f64).min(1.0)
    }

    /// The senders, by a sample.
    #[must_use]
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Ports that a good part of the followed attempts asked for, the busiest first, each with its share; of one
    /// listener there is nothing to tell.
    #[must_use]
    pub fn ports(&self) -> Vec<(u16, f64)> {
        let all: u64 = self.ports.values().sum();
        busiest(self.ports.iter().map(|(&port, &count)| (port, count as f64 / all as f64)))
    }

    fn add(&mut self, passage: Passage) {
        let passed = Passed {
            opens: passage.opens,
            answers: passage.answers,
            over: passage.passed_over,
            completed: passage.completed,
        };
        self.points.entry(passage.point.0).or_default().add(passed);
        let weight = passage.opens as f64 / passage.clients.len().max(1) as f64;
        passage.clients.into_iter().for_each(|client| self.sources.add(client, weight));
    }

    /// Whether its pause is long enough for it to be over.
    fn is_past(&self, now: Nanos) -> bool {
        now.since(self.last) >= PAUSE
    }

    /// Whether something would go untold without it.
    fn is_worth_telling(&self) -> bool {
        self.lasted() >= BEFORE_TOLD || self.passed().over >= MANY || self.attempts.iter().any(|it| *it > 0)
    }

    /// Whether an opening would be noted in its account.
    fn is_of(&self, server: Endpoint, client: Addr) -> bool {
        let opening = Opening { owner: server, client, ..Opening::default() };
        let owner = if self.scope == Width::Listener { server } else { pressure::owner(&opening, self.scope as u8) };
        owner == self.owner
    }

    /// Whether `it`, a finer flood that was not reported yet, is part of this coarser one.
    fn was(&self, finer: &Self) -> bool {
        let is_part = self.scope >= Width::Client || self.is_of(finer.owner, Addr::default());
        let is_here = finer.points.keys().all(|point| self.points.contains_key(point));
        finer.scope < self.scope && !finer.is_told && !finer.is_over && is_part && is_here
    }

    /// Takes in what was noted of a finer one.
    fn absorb(&mut self, other: Self) {
        self.began = self.began.min(other.began);
        for (point, passed) in other.points {
            self.points.entry(point).or_default().add(passed);
        }
        self.attempts.iter_mut().zip(other.attempts).for_each(|(sum, more)| *sum += more);
    }

    /// An attempt that it stands for has ended.
    fn count(&mut self, attempt: &Attempt) {
        self.attempts[attempt.outcome as usize] += 1;
        if self.scope != Width::Listener
            && (self.ports.len() < PORTS || self.ports.contains_key(&attempt.handshake.server_port))
        {
            *self.ports.entry(attempt.handshake.server_port).or_default() += 1;
        }
    }

    /// Whether an attempt is one of those that the finding stands for.
    fn covers(&self, attempt: &Attempt) -> bool {
        let Handshake { first_syn: opened, client_point, server_point, .. } = attempt.handshake;
        let is_coarse = self.scope != Width::Listener;
        // Accounts are of points: attempts seen at other points have nothing to do with a coarse account.
        let is_here = [client_point, server_point].iter().any(|point| self.points.contains_key(&point.0));
        let told_before = attempt.stalled.is_some_and(|it| it.at < self.began);
        self.is_of(attempt.handshake.server(), attempt.handshake.client_addr)
            && opened.0.saturating_add(UNTOLD) >= self.began.0
            && opened.0 <= self.last.0.saturating_add(if is_coarse { AFTER } else { PAUSE })
            && (is_here || !is_coarse)
            && (attempt.outcome.is_failure() || attempt.outcome == Outcome::AnswerOnly)
            && !told_before
    }
}

impl Course for Flood {
    type Finding = Self;

    fn finding(&self) -> Self {
        self.clone()
    }

    fn close(mut self) -> Self {
        self.is_over = true;
        self.sources.close();
        self
    }
}

/// The key of a flood: the number of its [`Width`], and its owner.
type Key = (u8, Endpoint);

/// The floods of a run.
#[derive(Default)]
pub struct Floods {
    findings: Lifecycle<Key, Flood>,
    /// The packets since the last look.
    passages: Vec<Passage>,
    /// SYN cookies that the host's stack has ever sent, if it says how many.
    cookies: Option<u64>,
    looked: Nanos,
}

impl Pattern for Floods {
    type Finding = Flood;

    fn note(&mut self, report: &Report, _around: &mut dyn Surroundings, _now: Nanos) -> Claim {
        self.covering(report).map_or(Claim::None, Claim::Fold)
    }

    fn look(&mut self, now: Nanos) -> Vec<Flood> {
        let seconds = now.since(self.looked).max(1) as f64 / 1e9;
        self.looked = self.looked.max(now);
        self.take_in(now);
        let mut begun = Vec::new();
        for (_, flood) in self.findings.running_mut() {
            flood.at = now.max(flood.last);
            let packets = flood.packets();
            // When the first packets of one that has just begun came is not known.
            if let Some(before) = flood.before.replace(packets) {
                flood.peak = flood.peak.max(packets.saturating_sub(before) as f64 / seconds);
            }
            flood.cookies = self.cookies.zip(flood.cookies_before).map(|(now, before)| now.saturating_sub(before));
            if !flood.is_told && !flood.is_past(now) && flood.lasted() >= BEFORE_TOLD {
                flood.is_told = true;
                begun.push((flood.began, (flood.scope as u8, flood.owner)));
            }
        }
        begun.sort_unstable();
        begun.iter().for_each(|(_, key)| self.findings.announce(key));
        self.findings.withdraw(|flood| flood.is_past(now) && !flood.is_told && !flood.is_worth_telling());
        self.findings.end(|flood| flood.is_past(now));
        self.findings.news()
    }

    fn end(&mut self) -> Vec<Flood> {
        self.findings.withdraw(|flood| !flood.is_told && !flood.is_worth_telling());
        self.findings.running_mut().for_each(|(_, flood)| flood.is_cut = true);
        self.findings.end(|_| true);
        self.findings.news()
    }
}

impl Floods {
    /// None yet; see [`Numbers`].
    #[must_use]
    pub fn numbered(numbers: &Numbers) -> Self {
        Self { findings: Lifecycle::numbered(numbers), ..Self::default() }
    }

    /// Whether any flood runs.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.findings.running() > 0
    }

    /// Brings what came by since the last look; `cookies` is the number that the host's stack has ever sent.
    pub fn feed(&mut self, passages: Vec<Passage>, cookies: Option<u64>) {
        self.passages.extend(passages);
        self.cookies = cookies;
    }

    /// Every flood so far, in the order in which they began.
    #[must_use]
    pub fn all(&self) -> Vec<Flood> {
        self.findings.all()
    }

    /// The number of floods that are not among them any more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.findings.forgotten()
    }

    fn take_in(&mut self, now: Nanos) {
        let mut passages = std::mem::take(&mut self.passages);
        // The finest first: what they turn out to be part of takes them in.
        passages.sort_by_key(|it| it.scope);
        for passage in passages {
            let key = (passage.scope as u8, passage.owner);
            if self.findings.get_mut(&key).is_none() {
                self.begin(&passage);
            }
            let Some((_, flood)) = self.findings.get_mut(&key) else { continue };
            // A completion of an earlier attempt does not prolong it.
            if passage.opens > 0 {
                flood.last = now;
            }
            flood.add(passage);
        }
    }

    /// The finding that stands for a report: the last that began of those that do.
    fn covering(&mut self, report: &Report) -> Option<FindingId> {
        let attempt = report.attempt();
        let running = self.findings.running_mut().filter(|(_, flood)| flood.covers(attempt)).max_by_key(|(id, _)| *id);
        let running = running.map(|(id, _)| id);
        let over = self.findings.over_mut().rfind(|(_, flood)| flood.covers(attempt)).map(|(id, _)| id);
        let last = running.max(over)?;
        if matches!(report, Report::Attempt(_)) {
            let running = self.findings.running_mut().find(|(id, _)| *id == last).map(|(_, flood)| flood);
            match running {
                Some(flood) => flood.count(attempt),
                None => self.findings.over_mut().filter(|(id, _)| *id == last).for_each(|(_, it)| it.count(attempt)),
            }
        }
        Some(last)
    }

    fn begin(&mut self, passage: &Passage) {
        let mut flood = Flood::new(passage, self.cookies);
        flood.points.insert(passage.point.0, Passed::default());
        self.findings.withdraw(|it| flood.was(it)).into_iter().for_each(|it| flood.absorb(it));
        self.findings.begin((passage.scope as u8, passage.owner), |id| {
            flood.id = id.0;
            flood
        });
    }
}
