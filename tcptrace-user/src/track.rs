//! From events and the sweep to reports: which attempts stall, how they end, each reported once.
//!
//! Knows neither the kernel nor the clock: time is an argument, and the table is a function that finds an attempt as
//! it is now. Memory is bounded; what does not fit is counted in [`Tracker::untracked`].

use std::collections::HashMap;

use tcptrace_core::{
    event::Event,
    flow::{Addr, Endpoint},
    handshake::{End, Facts, Handshake, Nanos, State, Transition},
};
use tcptrace_vocabulary::{
    attempt::{
        Attempt, Foreign, Noted, Stalled, StalledBy, Trust, id, is_unacknowledged, may_have_begun_earlier, patience,
        was_in_trouble,
    },
    outcome::Outcome,
    report::Report,
};

/// Attempts kept in mind at once; some 300 bytes each.
const CAPACITY: usize = 1 << 16;

/// The time for which the sweep leaves what it finds settled or replaced to its event, which may be under way.
const EVENT_DELAY: u64 = 1_000_000_000;

/// Losses so far, of the kind that makes a verdict less certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub events: u64,
    pub attempts: u64,
}

/// The facts about the attempts that were reported, or will have to be.
pub struct Tracker {
    started: Nanos,
    /// When silence was last looked for.
    swept: Nanos,
    stall_after: u64,
    /// Connections are reported to their end, and not only until they are established.
    all: bool,
    known: HashMap<u64, Known>,
    losses: Losses,
    /// The other address that answered a SYN, by the client's endpoint and ISN, which the answer acknowledges.
    other_answers: HashMap<(Endpoint, u32), Addr>,
    /// Losses at the times they were seen to grow.
    lost_at: Vec<(Nanos, Losses)>,
    /// Attempts that stalled or failed and could not be kept in mind: what else came of them may go untold.
    pub untracked: u64,
}

#[derive(Clone, Copy)]
struct Known {
    last: Handshake,
    stalled: Option<Stalled>,
    icmp_from: Option<Addr>,
    /// It was reported as unreachable, which holds if nothing else comes of it.
    told: bool,
    /// When its slot was first found with a new tenant.
    gone: Option<Nanos>,
}

/// The table's entry for an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InTable {
    /// Its state.
    Here(Handshake),
    /// Another attempt has its slot.
    Gone,
    /// Its set changes too fast to be read: ask again later.
    Busy,
}

impl Tracker {
    /// A tracker of attempts seen from `started` on, stalled after `stall_after` nanoseconds; with `all` it reports
    /// established ones, too.
    #[must_use]
    pub fn new(started: Nanos, stall_after: u64, all: bool) -> Self {
        Self {
            started,
            swept: started,
            stall_after,
            all,
            known: HashMap::new(),
            other_answers: HashMap::new(),
            losses: Losses::default(),
            lost_at: Vec::new(),
            untracked: 0,
        }
    }

    /// Takes note of the losses so far.
    pub fn note_losses(&mut self, now: Nanos, losses: Losses) {
        if losses != self.losses {
            self.lost_at.push((now, self.losses));
            self.losses = losses;
            // Attempts older than these losses are reported with more losses than there were: the safe side.
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
            // A SYN/ACK that comes too soon is found silent, if it stays so.
            Transition::AnswerRetried if is_unacknowledged(it) => self.stall(it, event.time, StalledBy::ThirdSynAck),
            Transition::AnswerRetried => None,
            Transition::Unreachable => {
                let known = self.known(it);
                self.remember(it, Known { icmp_from: Some(event.from), ..known });
                self.end(it)
            }
            // The client may overcome these, and mostly does: they are reported when it has, or when it falls silent.
            Transition::Challenged | Transition::WrongAnswer => None,
            Transition::Completed if self.all => {
                let known = self.known(it);
                self.known.remove(&id(it));
                let recovered = known.told || was_in_trouble(it, known.stalled, self.stall_after);
                let attempt = self.attempt(it, &known, Outcome::Established, it.ended, true);
                Some(Report::Open(Attempt { recovered, ..attempt }))
            }
            Transition::Refused | Transition::Aborted | Transition::ResetOnAnswer | Transition::Completed => {
                self.end(it)
            }
            Transition::Closed => Some(self.close(it, event.time, false)),
            // It was reported when it opened late, and nothing but `--all` reports it again.
            Transition::ResetByServer if !self.all && was_in_trouble(it, None, self.stall_after) => None,
            Transition::ResetByClient | Transition::ResetByServer => {
                let end = End { window: event.window, flags: event.flags, ttl: event.ttl };
                Some(self.close(&Handshake { end, ..*it }, event.time, false))
            }
            Transition::Replaced => Some(self.close(it, it.last_seen(), true)),
            Transition::Superseded if is_established(it) => Some(self.close(it, it.last_seen(), false)),
            Transition::Superseded => {
                let silence_was_told =
                    !self.known.contains_key(&id(it)) && !self.is_new(it.last_seen(), patience(it, self.stall_after));
                let report = if silence_was_told { None } else { self.end(it) };
                self.known.remove(&id(it));
                report
            }
            Transition::Opened | Transition::Answered | Transition::SeenAgain | Transition::Noted => None,
        }
    }

    /// Looks whether a pending attempt has stalled or given up since the last sweep; when it will be worth another
    /// look.
    ///
    /// An attempt that has given up is reported when the time for another try has passed, and not kept in mind: an
    /// attempt that nobody answers stays in the table for as long as nobody needs its slot.
    pub fn look(&mut self, handshake: &Handshake, now: Nanos) -> (Option<Report>, Nanos) {
        let (stalls, gives_up) = (self.stall_after, patience(handshake, self.stall_after));
        let after = |nanos: u64| Nanos(handshake.last_seen().0.saturating_add(nanos));
        let silent = now.since(handshake.last_seen());
        let known = self.known.contains_key(&id(handshake));
        if handshake.state() == State::Unsolicited && self.other_answers.len() < CAPACITY {
            self.other_answers.insert((handshake.client(), handshake.isn.0), handshake.server_addr);
        }
        if silent >= gives_up {
            let news = !known && self.is_new(handshake.last_seen(), gives_up);
            (if news { self.end(handshake) } else { None }, Nanos(u64::MAX))
        } else if handshake.state() == State::Unsolicited {
            // Nobody waits for what was not asked for.
            (None, after(gives_up))
        } else if silent >= stalls {
            let news = !known && self.is_new(handshake.last_seen(), stalls);
            (if news { self.stall(handshake, now, StalledBy::Silence) } else { None }, after(gives_up))
        } else {
            (None, after(stalls))
        }
    }

    /// Looks for the end of the known attempts. Later calls of [`Self::look`] compare with `now`.
    pub fn sweep(&mut self, now: Nanos, find: impl Fn(&Handshake) -> InTable) -> Vec<Report> {
        let mut reports = Vec::new();
        let known: Vec<_> = self.known.iter().map(|(&id, known)| (id, find(&known.last))).collect();
        for (id, found) in known {
            reports.extend(match found {
                InTable::Here(it) => self.look_again(id, &it, now),
                InTable::Gone => self.gone(id, now),
                InTable::Busy => None,
            });
        }
        self.swept = now;
        // Old entries were needed long ago; an answer that is looked at again comes again.
        if self.other_answers.len() >= CAPACITY {
            self.other_answers.clear();
        }
        reports
    }

    /// Whether any attempt is kept in mind, whose end is to be found.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.known.is_empty()
    }

    /// The end of tracing: every attempt reported as stalled is reported as it stands.
    pub fn finish(&mut self, find: impl Fn(&Handshake) -> InTable) -> Vec<Report> {
        let open: Vec<_> = self.known.values().filter(|known| !known.told).copied().collect();
        self.known.values_mut().for_each(|known| known.told = true);
        let mut reports = Vec::new();
        for known in open {
            let last = match find(&known.last) {
                InTable::Here(it) => it,
                InTable::Gone | InTable::Busy => known.last,
            };
            // Whoever asks for all of these asks the table.
            if self.all && is_established(&last) {
                continue;
            }
            reports.push(self.tell(&last, &known, last.state().is_pending()));
        }
        in_order(reports)
    }

    /// Whether an attempt's end was reported by `now`.
    #[must_use]
    pub fn has_told(&self, handshake: &Handshake, now: Nanos) -> bool {
        match self.known.get(&id(handshake)) {
            Some(known) => known.told,
            None => now.since(handshake.last_seen()) >= patience(handshake, self.stall_after),
        }
    }

    /// Whether `after` nanoseconds from `last` passed since the last sweep.
    fn is_new(&self, last: Nanos, after: u64) -> bool {
        self.swept.since(last) < after
    }

    fn known(&self, handshake: &Handshake) -> Known {
        let new = Known { last: *handshake, stalled: None, icmp_from: None, told: false, gone: None };
        Known { last: *handshake, ..self.known.get(&id(handshake)).copied().unwrap_or(new) }
    }

    /// Keeps an attempt in mind, if there is room.
    fn remember(&mut self, handshake: &Handshake, known: Known) {
        if self.known.len() < CAPACITY || self.known.contains_key(&id(handshake)) {
            self.known.insert(id(handshake), known);
        } else {
            self.untracked += 1;
        }
    }

    fn stall(&mut self, handshake: &Handshake, at: Nanos, by: StalledBy) -> Option<Report> {
        let known = self.known(handshake);
        if known.stalled.is_some() || known.told {
            return None;
        }
        let known = Known { stalled: Some(Stalled { at, by }), ..known };
        self.remember(handshake, known);
        Some(Report::Stall(self.attempt(handshake, &known, Outcome::of(handshake)?, handshake.last_seen(), true)))
    }

    /// A known attempt, as the table has it now.
    fn look_again(&mut self, id: u64, handshake: &Handshake, now: Nanos) -> Option<Report> {
        let known = self.known.get_mut(&id)?;
        known.last = *handshake;
        known.gone = None;
        let pending = handshake.state().is_pending();
        // Settled without an event: the event was lost, or the attempt is established and its server does not see it.
        let settled = !pending && !known.stalled.is_some_and(|_| is_established(handshake));
        let over = if settled { now.since(handshake.ended) >= EVENT_DELAY } else { self.has_given_up(handshake, now) };
        if over { self.end(handshake) } else { None }
    }

    /// A known attempt whose slot has a new tenant: its last known state is its end, unless an event says another.
    fn gone(&mut self, id: u64, now: Nanos) -> Option<Report> {
        let known = self.known.get_mut(&id)?;
        let since = *known.gone.get_or_insert(now);
        if now.since(since) < EVENT_DELAY {
            return None;
        }
        let known = self.known.remove(&id)?;
        if known.told { None } else { Some(self.tell(&known.last, &known, false)) }
    }

    fn has_given_up(&self, handshake: &Handshake, now: Nanos) -> bool {
        now.since(handshake.last_seen()) >= patience(handshake, self.stall_after)
    }

    fn end(&mut self, handshake: &Handshake) -> Option<Report> {
        let outcome = Outcome::of(handshake)?;
        let known = self.known(handshake);
        if self.all && is_established(handshake) {
            // It was reported when it opened, and will be when it ends.
            self.known.remove(&id(handshake));
            return None;
        }
        if outcome == Outcome::Unreachable && !known.told {
            // It may continue to try, which is no news; and recover, which is.
            self.remember(handshake, Known { told: true, ..known });
        } else {
            self.known.remove(&id(handshake));
        }
        if known.told && outcome != Outcome::Established { None } else { Some(self.tell(handshake, &known, false)) }
    }

    fn tell(&self, handshake: &Handshake, known: &Known, open: bool) -> Report {
        let handshake = &self.joined(handshake);
        let outcome = Outcome::of(handshake).unwrap_or(Outcome::NoReply);
        let trouble = known.told || was_in_trouble(handshake, known.stalled, self.stall_after);
        let recovered = outcome == Outcome::Established && trouble;
        Report::Attempt(Attempt { recovered, ..self.attempt(handshake, known, outcome, handshake.last_seen(), open) })
    }

    /// An attempt whose only answer is a SYN/ACK to its SYN from another address.
    fn joined(&self, handshake: &Handshake) -> Handshake {
        let mut joined = *handshake;
        if joined.state() == State::SynSent && self.other_answer(&joined).is_some() {
            joined.facts.0 |= Facts::WRONG_ANSWER;
        }
        joined
    }

    /// To Zeek and Wireshark, an answer from another address is another conversation.
    fn foreign(&self, handshake: &Handshake) -> Foreign {
        let other_answer = if self.other_answer(handshake).is_some() { Facts::WRONG_ANSWER } else { 0 };
        Foreign::of(&Handshake { facts: Facts(handshake.facts.0 & !other_answer), ..*handshake })
    }

    fn other_answer(&self, handshake: &Handshake) -> Option<Addr> {
        self.other_answers
            .get(&(handshake.client(), handshake.isn.0))
            .copied()
            .filter(|addr| *addr != handshake.server_addr)
    }

    /// The end of a connection that was reported when it opened.
    pub fn close(&mut self, handshake: &Handshake, at: Nanos, open: bool) -> Report {
        let known = self.known(handshake);
        self.known.remove(&id(handshake));
        let outcome = Outcome::to_the_end(handshake).unwrap_or(Outcome::Established);
        let recovered = was_in_trouble(handshake, known.stalled, self.stall_after);
        Report::Attempt(Attempt { recovered, ..self.attempt(handshake, &known, outcome, at, open) })
    }

    fn attempt(
        &self,
        handshake: &Handshake,
        known: &Known,
        outcome: Outcome,
        last: Nanos,
        still_open: bool,
    ) -> Attempt {
        Attempt {
            handshake: *handshake,
            outcome,
            stalled: known.stalled,
            recovered: false,
            icmp_from: known.icmp_from,
            answered_from: self.other_answer(handshake).filter(|_| outcome == Outcome::WrongAnswer),
            outer: None,
            seen: (handshake.first_syn, last),
            foreign: self.foreign(handshake),
            noted: Noted::default(),
            trust: self.trust(handshake, still_open),
            why: None,
            translated: None,
            incident: None,
        }
    }

    fn trust(&self, handshake: &Handshake, still_open: bool) -> Trust {
        // Losses at the moment the attempt began: those noted before the first growth that came after handshake.
        let before =
            self.lost_at.iter().find(|(at, _)| *at >= handshake.first_syn).map_or(self.losses, |(_, before)| *before);
        Trust {
            still_open,
            may_have_begun_earlier: may_have_begun_earlier(handshake, self.started),
            events_lost: self.losses.events - before.events,
            attempts_lost: self.losses.attempts - before.attempts,
        }
    }
}

/// The reports of one sweep, in the order in which their attempts began.
fn in_order(mut reports: Vec<Report>) -> Vec<Report> {
    reports.sort_by_key(|it| it.attempt().handshake.first_syn);
    reports
}

fn is_established(handshake: &Handshake) -> bool {
    Outcome::of(handshake) == Some(Outcome::Established)
}
