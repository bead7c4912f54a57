//! From events and the sweep to what is told: which attempts stall, how they end, each said once.
//!
//! Knows neither the kernel nor the clock: time is an argument, and the table is a function that finds an attempt as
//! it is now. Memory is bounded; what does not fit is counted in [`Tracker::untracked`].

use std::collections::HashMap;

use tcptrace_core::{
    event::{Event, STALLED_AT_TRY},
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos, Transition},
    outcome::Outcome,
};

use crate::attempt::{Attempt, Stalled, StalledBy, Trust, id};

/// Attempts kept in mind at once; some 300 octets each.
const CAPACITY: usize = 1 << 16;

/// Linux, Windows and macOS double the pause between tries: the next SYN comes within the time passed so far. What is
/// silent for twice that and a little more has given up. Should it try again all the same, it is told again.
const GIVE_UP_SLACK: u64 = 3_000_000_000;

/// How long after the start of tracing an attempt may be one that began before it: Linux's longest pause.
const LONGEST_PAUSE: u64 = 64_000_000_000;

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// An attempt stalls; a line about its end follows.
    Stall(Attempt),
    /// An attempt ended.
    Attempt(Attempt),
}

/// Losses so far, of the kind that makes a verdict less certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub events: u64,
    pub attempts: u64,
}

/// What is known of the attempts that were told, or will have to be.
pub struct Tracker {
    started: Nanos,
    stall_after: u64,
    known: HashMap<u64, Known>,
    losses: Losses,
    /// Losses at the times they were seen to grow.
    lost_at: Vec<(Nanos, Losses)>,
    /// Attempts that could not be kept in mind, at most at once: their stalls and silences go untold.
    pub untracked: u64,
    /// Lines told, by outcome; stalls aside.
    pub told: [u64; Outcome::ALL.len()],
    /// Lines told as stalled, and of these the recovered.
    pub stalls: u64,
    pub recovered: u64,
    /// By server: lines told by outcome. Bounded like the rest.
    pub servers: HashMap<Endpoint, [u64; Outcome::ALL.len()]>,
}

#[derive(Clone, Copy)]
struct Known {
    last: Handshake,
    stalled: Option<Stalled>,
    icmp_from: Option<Addr>,
    /// Told as ended.
    told: Option<Told>,
}

/// How an attempt was told as ended. It may try again, be answered, or be refused all the same.
#[derive(Clone, Copy, PartialEq)]
struct Told {
    outcome: Outcome,
    /// SYNs and SYN/ACKs by then.
    tries: (u8, u8),
}

impl Told {
    fn new(outcome: Outcome, it: &Handshake) -> Self {
        Self { outcome, tries: (it.syn.tries, it.answer.tries) }
    }

    /// Whether silence was all there was to tell: if it ends, the attempt is told anew.
    fn of_silence(self) -> bool {
        self.outcome != Outcome::Unreachable
    }
}

impl Tracker {
    /// A tracker of attempts seen from `started` on, stalled after so many nanoseconds.
    #[must_use]
    pub fn new(started: Nanos, stall_after: u64) -> Self {
        Self {
            started,
            stall_after,
            known: HashMap::new(),
            losses: Losses::default(),
            lost_at: Vec::new(),
            untracked: 0,
            told: [0; Outcome::ALL.len()],
            stalls: 0,
            recovered: 0,
            servers: HashMap::new(),
        }
    }

    /// Takes note of the losses so far.
    pub fn lose(&mut self, now: Nanos, losses: Losses) {
        if losses != self.losses {
            self.lost_at.push((now, self.losses));
            self.losses = losses;
            // Attempts older than this many losses' times are told with more losses than there were: the safe side.
            if self.lost_at.len() > 1024 {
                self.lost_at.drain(1..512);
            }
        }
    }

    /// An event of the kernel.
    pub fn event(&mut self, transition: Transition, event: &Event) -> Option<Report> {
        let it = &event.handshake;
        match transition {
            Transition::SynRetried => self.stall(it, event.time, StalledBy::ThirdSyn),
            Transition::AnswerRetried => self.stall(it, event.time, StalledBy::ThirdSynAck),
            Transition::Unreachable => {
                let known = self.known(it);
                self.remember(it, Known { icmp_from: Some(event.from), ..known });
                self.end(it)
            }
            // The client may overcome these, and mostly does: they are told when it has, or when it falls silent.
            Transition::Challenged | Transition::WrongAnswer => None,
            Transition::Refused | Transition::Aborted | Transition::ResetOnAnswer | Transition::Completed => {
                self.end(it)
            }
            Transition::Superseded => {
                let report = self.end(it);
                self.known.remove(&id(it));
                report
            }
            Transition::Opened | Transition::Answered | Transition::SeenAgain | Transition::Noted => None,
        }
    }

    /// Looks for silence: among the `pending` attempts of the table for new stalls, among the known ones for their end.
    pub fn sweep(
        &mut self,
        now: Nanos,
        pending: impl Iterator<Item = Handshake>,
        find: impl Fn(&Handshake) -> Option<Handshake>,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        let mut untracked = 0;
        for it in pending {
            if now.since(it.last_seen()) < self.stall_after || self.known.contains_key(&id(&it)) {
                continue;
            }
            if self.known.len() < CAPACITY {
                reports.extend(self.silent(&it, now));
            } else {
                untracked += 1;
            }
        }
        self.untracked = self.untracked.max(untracked);
        let mut gone = Vec::new();
        let current: Vec<_> = self.known.iter().map(|(&id, known)| (id, find(&known.last))).collect();
        for (id, found) in current {
            match found {
                Some(it) => reports.extend(self.look_again(id, &it, now)),
                None => gone.push(id),
            }
        }
        for id in gone {
            // Its slot has a new tenant: its last known state is its end.
            if let Some(known) = self.known.remove(&id)
                && known.told.is_none()
            {
                reports.push(self.tell(&known.last, &known, false));
            }
        }
        in_order(reports)
    }

    /// The end of tracing: every attempt told as stalled is told as it stands.
    pub fn finish(&mut self, find: impl Fn(&Handshake) -> Option<Handshake>) -> Vec<Report> {
        let open: Vec<_> = self
            .known
            .values_mut()
            .filter(|known| known.told.is_none())
            .map(|known| {
                let it = find(&known.last).unwrap_or(known.last);
                let untold = Known { last: it, ..*known };
                known.told = Outcome::of(&it).map(|outcome| Told::new(outcome, &it));
                (it, untold)
            })
            .collect();
        in_order(open.into_iter().map(|(it, known)| self.tell(&it, &known, it.state().is_pending())).collect())
    }

    /// Whether an attempt's end was told.
    #[must_use]
    pub fn has_told(&self, it: &Handshake) -> bool {
        self.known.get(&id(it)).is_some_and(|known| known.told.is_some())
    }

    fn known(&self, it: &Handshake) -> Known {
        let new = Known { last: *it, stalled: None, icmp_from: None, told: None };
        Known { last: *it, ..self.known.get(&id(it)).copied().unwrap_or(new) }
    }

    /// Keeps an attempt in mind, if there is room.
    fn remember(&mut self, it: &Handshake, known: Known) -> bool {
        let room = self.known.len() < CAPACITY || self.known.contains_key(&id(it));
        if room {
            self.known.insert(id(it), known);
        } else {
            self.untracked += 1;
        }
        room
    }

    fn stall(&mut self, it: &Handshake, at: Nanos, by: StalledBy) -> Option<Report> {
        let known = self.known(it);
        if known.stalled.is_some() || known.told.is_some() {
            return None;
        }
        let known = Known { stalled: Some(Stalled { at, by }), ..known };
        if !self.remember(it, known) {
            return None;
        }
        self.stalls += 1;
        Some(Report::Stall(Attempt {
            handshake: *it,
            outcome: Outcome::of(it)?,
            stalled: known.stalled,
            recovered: false,
            icmp_from: known.icmp_from,
            trust: self.trust(it, true),
        }))
    }

    /// A pending attempt that was not known and has been silent for too long: stalled, unless it is over already.
    fn silent(&mut self, it: &Handshake, now: Nanos) -> Option<Report> {
        if self.has_given_up(it, now) { self.end(it) } else { self.stall(it, now, StalledBy::Silence) }
    }

    /// A known attempt, as the table has it now.
    fn look_again(&mut self, id: u64, it: &Handshake, now: Nanos) -> Option<Report> {
        let known = self.known.get_mut(&id)?;
        known.last = *it;
        let pending = it.state().is_pending();
        // It was given up too early.
        known.told = known.told.filter(|&told| !(pending && told.of_silence() && told != Told::new(told.outcome, it)));
        if known.told.is_some() {
            return None;
        }
        // Settled without an event: the event was lost, or the attempt is established and its server does not see it.
        let settled = !pending && !known.stalled.is_some_and(|_| is_established(it));
        if settled || self.has_given_up(it, now) { self.end(it) } else { None }
    }

    fn has_given_up(&self, it: &Handshake, now: Nanos) -> bool {
        let tried_for = it.last_seen().since(it.first_syn);
        now.since(it.last_seen()) >= self.stall_after.max(2 * tried_for + GIVE_UP_SLACK)
    }

    fn end(&mut self, it: &Handshake) -> Option<Report> {
        let outcome = Outcome::of(it)?;
        let known = self.known(it);
        // What was said of silence is said anew when something else comes of it; what an ICMP error said, when it recovers.
        let again = known
            .told
            .is_some_and(|told| told.outcome == outcome || !told.of_silence() && outcome != Outcome::Established);
        // A settled attempt is told by the one event that settled it: only what the sweep will meet again is kept in mind.
        let stalled_since = known.stalled.is_some_and(|stalled| stalled.at > it.ended);
        if it.state().is_pending() || (outcome == Outcome::Established && stalled_since) {
            self.remember(it, Known { told: Some(Told::new(outcome, it)), ..known });
        } else {
            self.known.remove(&id(it));
        }
        if again { None } else { Some(self.tell(it, &known, false)) }
    }

    fn tell(&mut self, it: &Handshake, known: &Known, open: bool) -> Report {
        let outcome = Outcome::of(it).unwrap_or(Outcome::NoReply);
        let trouble = known.stalled.is_some_and(|stalled| stalled.at <= it.ended)
            || known.told.is_some()
            || it.facts.any(Facts::RECOVERING | Facts::UNREACHABLE | Facts::CHALLENGED | Facts::WRONG_ANSWER)
            || it.syn.tries >= STALLED_AT_TRY
            || it.ended.since(it.first_syn) >= self.stall_after;
        let recovered = outcome == Outcome::Established && trouble;
        self.told[outcome as usize] += 1;
        self.recovered += u64::from(recovered);
        if self.servers.len() < CAPACITY || self.servers.contains_key(&it.server()) {
            self.servers.entry(it.server()).or_default()[outcome as usize] += 1;
        }
        Report::Attempt(Attempt {
            handshake: *it,
            outcome,
            stalled: known.stalled,
            recovered,
            icmp_from: known.icmp_from,
            trust: self.trust(it, open),
        })
    }

    fn trust(&self, it: &Handshake, still_open: bool) -> Trust {
        // Losses at the moment the attempt began: those noted before the first growth that came after it.
        let before = self.lost_at.iter().find(|(at, _)| *at >= it.first_syn).map_or(self.losses, |(_, before)| *before);
        Trust {
            still_open,
            may_have_begun_earlier: it.first_syn.since(self.started) < LONGEST_PAUSE,
            events_lost: self.losses.events - before.events,
            attempts_lost: self.losses.attempts - before.attempts,
        }
    }
}

/// What one sweep tells, in the order in which it began.
fn in_order(mut reports: Vec<Report>) -> Vec<Report> {
    reports.sort_by_key(|(Report::Stall(it) | Report::Attempt(it))| it.handshake.first_syn);
    reports
}

fn is_established(it: &Handshake) -> bool {
    Outcome::of(it) == Some(Outcome::Established)
}
