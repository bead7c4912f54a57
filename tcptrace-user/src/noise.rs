//! Who only looks: health checks and the like. SYN, SYN/ACK, perhaps ACK, RST, no data, by one client again and again.
//!
//! Such an attempt is not told at once: two more of its kind make it a check, which is counted and not told.

use std::collections::{HashMap, VecDeque};

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos},
    outcome::Outcome,
    segment::Flags,
};

use crate::{attempt::Attempt, diagnose::hops, track::Report};

/// Attempts of this shape by one client to one port before they count as checks.
pub const REPEATED: u32 = 3;
/// How long one is remembered: the longest pause between two checks that is in use.
const REMEMBERED: u64 = 600_000_000_000;
/// How long one is held back: two more checks come by then, where they come every ten seconds.
const HELD: u64 = 30_000_000_000;
/// An answer, or a RST, that comes later is no check's.
const QUICK: u64 = 1_000_000_000;
/// No connect timeout is shorter.
const IMPATIENT: u64 = 50_000_000;
/// Pairs of client and port kept in mind, and attempts held back; of more, each is told at once.
const PAIRS: usize = 1 << 14;
const HOLDS: usize = 1 << 12;

/// Whether an attempt looks like a port that was looked at.
#[must_use]
pub fn is_check(it: &Handshake, outcome: Outcome, last: Nanos) -> bool {
    let quick = last.since(it.first_answer) < QUICK && it.first_answer.since(it.first_syn) < QUICK;
    let once = it.syn.tries == 1 && it.answer.tries == 1;
    match outcome {
        // A RST from another distance is not the client's. One without ACK is that of a kernel that knows no such socket: of an
        // application that gave up as well, unless the answer came before anybody can have.
        Outcome::Aborted => {
            let meant = it.end.flags & Flags::ACK != 0 || it.first_answer.since(it.first_syn) < IMPATIENT;
            once && quick && meant && hops(it.syn.ttl) == hops(it.end.ttl)
        }
        Outcome::ResetByClient => once && quick && !it.facts.any(Facts::CLIENT_DATA | Facts::SERVER_DATA),
        _ => false,
    }
}

type Pair = (Addr, Endpoint);

/// Who looked at what, and how often.
#[derive(Debug, Default)]
pub struct Checks {
    seen: HashMap<Pair, (u32, Nanos)>,
    held: VecDeque<(Nanos, Report)>,
    /// Checks that were counted instead of told.
    pub counted: u64,
}

impl Checks {
    /// Takes note of an attempt's end; how often this client looked at this port so far.
    pub fn note(&mut self, it: &Handshake, outcome: Outcome, last: Nanos) -> u32 {
        if !is_check(it, outcome, last) {
            return 0;
        }
        if self.seen.len() >= PAIRS {
            self.seen.retain(|_, (_, at)| last.since(*at) <= REMEMBERED);
        }
        if self.seen.len() >= PAIRS && !self.seen.contains_key(&pair(it)) {
            return 1;
        }
        let (count, at) = self.seen.entry(pair(it)).or_insert((0, last));
        if last.since(*at) > REMEMBERED {
            *count = 0;
        }
        (*count, *at) = (count.saturating_add(1), last);
        *count
    }

    /// How often this client looked at this port of late.
    #[must_use]
    pub fn count(&self, it: &Handshake) -> u32 {
        self.seen.get(&pair(it)).map_or(0, |(count, _)| *count)
    }

    /// Counts an attempt that is a check by what is known, where all are known before one is told.
    pub fn is_repeated(&mut self, it: &Attempt) -> bool {
        let repeated = it.stalled.is_none()
            && is_check(&it.handshake, it.outcome, it.seen.1)
            && self.count(&it.handshake) >= REPEATED;
        self.counted += u64::from(repeated);
        repeated
    }

    /// Takes a report that is not to be told now: a check, or what two more would make one. What was held of the same pair
    /// goes with the third. How many are none of a failure thereby; `None` where it is to be told.
    pub fn takes(&mut self, report: &Report, now: Nanos) -> Option<u64> {
        let Report::Attempt(it) = report else { return None };
        if it.stalled.is_some() || !is_check(&it.handshake, it.outcome, it.seen.1) {
            return None;
        }
        if self.count(&it.handshake) >= REPEATED {
            let before = self.held.len();
            let pair_of = |report: &Report| pair(&report.attempt().handshake);
            self.held.retain(|(_, held)| pair_of(held) != pair_of(report));
            let taken = 1 + (before - self.held.len()) as u64;
            self.counted += taken;
            return Some(taken);
        }
        if self.held.len() >= HOLDS {
            return None;
        }
        self.held.push_back((now, report.clone()));
        Some(0)
    }

    /// Reports that were held for long enough; with `all`, whatever is held.
    pub fn due(&mut self, now: Nanos, all: bool) -> Vec<Report> {
        let due = self.held.iter().take_while(|(at, _)| all || now.since(*at) >= HELD).count();
        self.held.drain(..due).map(|(_, report)| report).collect()
    }

    /// Whether any is held.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.held.is_empty()
    }
}

fn pair(it: &Handshake) -> Pair {
    (it.client_addr, it.server())
}
