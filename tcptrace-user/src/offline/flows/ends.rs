//! The ends of conversations: when one is over, how it is reported, and in which order.

use tcptrace_core::{
    flow::Endpoint,
    handshake::{Facts, Handshake, Nanos},
};
use tcptrace_verdict::patterns::{checks::is_check, flood::Passage};
use tcptrace_vocabulary::{
    attempt::{
        Attempt, Foreign, Noted, Stalled, StalledBy, Trust, is_unserved, may_have_begun_earlier, patience,
        was_in_trouble,
    },
    outcome::Outcome,
};

use super::{Finished, Flows};
use crate::{
    desk::ByOutcome,
    offline::{
        conversation::{Conversation, Ending},
        slot::Slot,
    },
};

/// The longest that an open connection may be silent before it is reported as it is, on input that has no end yet: as
/// long as Linux's longest pause between two tries.
const LONGEST_PAUSE: u64 = 64_000_000_000;
/// Attempts reported at once.
const BATCH: usize = 1 << 12;

impl Flows {
    /// Ends a conversation, since no more packets of it will come, and returns whether it is kept to be reported.
    pub(super) fn end(&mut self, hash: u64, slot: Slot) -> bool {
        self.table.end(hash, slot);
        let it = self.table.get(slot);
        let client = it.handshake.client();
        if it.is_pending() && self.asked.get(&self.client(client)) == Some(&slot) {
            self.asked.remove(&self.client(client));
        }
        match self.judge(slot) {
            Some(trouble) if trouble || self.wanted.all => {
                if !trouble {
                    self.forget_packets(slot);
                }
                true
            }
            _ => {
                self.forget_packets(slot);
                self.remove(slot);
                false
            }
        }
    }

    /// Removes a conversation. The attempts before it on the same stream are reported with the stream's final state.
    fn remove(&mut self, slot: Slot) {
        let it = self.table.get(slot);
        let state = it.wireshark;
        if let Some((prior, heir)) = it.cold.as_ref().map(|cold| (cold.prior, cold.heir)) {
            if let Some(prior) = prior {
                let it = self.table.get_mut(prior);
                it.cold().heir = heir;
                if heir.is_none() {
                    it.wireshark = state;
                }
            }
            if let Some(heir) = heir {
                self.table.get_mut(heir).cold().prior = prior;
            }
        }
        self.table.remove(slot);
    }

    /// The last attempt on the stream of this one.
    fn last_of_stream(&self, slot: Slot) -> &Conversation {
        let mut it = self.table.get(slot);
        while let Some(heir) = it.cold.as_ref().and_then(|cold| cold.heir) {
            it = self.table.get(heir);
        }
        it
    }

    /// Whether an attempt that has ended waits for what its stream comes to: not longer than for others, where somebody
    /// waits for it.
    fn awaits_stream(&self, slot: Slot) -> bool {
        let it = self.table.get(slot);
        it.cold.as_ref().is_some_and(|cold| cold.heir.is_some())
            && !(self.is_awaited && self.now.since(it.seen.1) >= self.wanted.stall_after)
            && self.last_of_stream(slot).verdict.is_none()
    }

    fn forget_packets(&mut self, slot: Slot) {
        if let Some(it) = self.table.get_mut(slot).packets.take() {
            self.room.release(&it.packets);
        }
    }

    /// Decides how a conversation is reported, and returns whether it was in trouble. `None` where the filter does not
    /// want it.
    fn judge(&mut self, slot: Slot) -> Option<bool> {
        let (now, stall_after) = (self.now, self.wanted.stall_after);
        let it = self.table.get_mut(slot);
        it.release_all(stall_after, &mut self.tally);
        let hs = it.described();
        if self.wanted.filter.as_ref().is_some_and(|filter| !filter.matches(hs.client(), hs.server())) {
            return None;
        }
        let outcome = it.outcome();
        let silence = now.since(hs.last_seen());
        // A client that has an error for an unreachable server waits for nothing.
        if it.is_pending() && silence >= stall_after && outcome != Outcome::Unreachable {
            let at = Nanos(hs.last_seen().0.saturating_add(stall_after));
            it.stall(Stalled { at, by: StalledBy::Silence });
        }
        let stalled = it.stalled();
        let recovered = outcome.is_open() && was_in_trouble(&hs, stalled, stall_after);
        // An error ends a client's call, unless its SYN came again.
        let is_told = outcome == Outcome::Unreachable && hs.last_syn <= hs.ended;
        let still_open = it.is_pending() && !is_told && silence < patience(&hs, stall_after);
        let last = it.seen.1;
        it.verdict = Some(Ending { outcome, recovered, still_open });
        let is_overtaken = it.cold.as_ref().is_some_and(|cold| cold.winner.is_some());
        self.out_of_order += u64::from(hs.facts.any(Facts::OUT_OF_ORDER));
        self.history.note(&hs, outcome);
        let noted = self.noted.get(slot.0 as usize).filter(|_| hs.syn.tries > 0).copied().unwrap_or_default();
        self.history.note_bytes(&hs, outcome, &noted);
        if is_check(&hs, outcome, last) && noted.reset_by_another.is_none() {
            self.checks.push((hs, outcome, last));
        }
        if !is_overtaken {
            self.listeners.note(&hs, outcome, self.history.view(), now);
        }
        let trouble = outcome.is_failure() || stalled.is_some() || recovered || is_unserved(&hs, outcome, last);
        if !trouble && !outcome.is_failure() {
            self.successes.push((hs.first_syn, hs.server()));
        }
        if !trouble && !self.wanted.all {
            self.worked.note_worked(hs.server(), outcome, self.wanted.capacity);
        }
        Some(trouble)
    }

    /// Ends of the shape of a health check since this was last asked.
    pub fn checks(&mut self) -> Vec<(Handshake, Outcome, Nanos)> {
        std::mem::take(&mut self.checks)
    }

    /// Attempts that worked since this was last asked: when each began, and its server.
    pub fn successes(&mut self) -> Vec<(Nanos, Endpoint)> {
        std::mem::take(&mut self.successes)
    }

    /// The packets for flooded listeners since the last call, each with the time of its last attempt.
    pub fn passages(&mut self) -> Vec<(Nanos, Passage)> {
        self.listeners.passages()
    }

    /// Attempts that can be reported: those before which nothing can come any more. Not all at once: until there are
    /// none.
    pub fn ready(&mut self) -> Vec<Finished> {
        let mut ready = Vec::new();
        let mut left = self.table.ended();
        let mut waits = false;
        for slot in self.table.in_order() {
            // One that never ends holds up no more than can be kept.
            if left == 0 || ready.len() == BATCH || (waits && left <= self.wanted.capacity) {
                break;
            }
            if self.table.get(slot).verdict.is_none() {
                waits = true;
            } else if left <= self.wanted.capacity && self.awaits_stream(slot) {
                break;
            } else {
                ready.push(slot);
                left -= 1;
            }
        }
        ready.into_iter().filter_map(|slot| self.tell(slot)).collect()
    }

    /// Conversations that are followed now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.table.open()
    }

    /// Ends the conversations of which nothing more is expected, by the capture's clock, up to the first of which
    /// something is: of input that has no end yet. A connection that is reported as established here and continues is
    /// seen from the middle from then on.
    pub fn settle(&mut self) {
        self.is_awaited = true;
        let mut over = Vec::new();
        for slot in self.table.in_order() {
            match self.is_over(self.table.get(slot)) {
                Some(true) => over.push(slot),
                Some(false) => break,
                None => {}
            }
        }
        self.end_all(over);
    }

    /// Whether an attempt can be reported; `None` if it is not to be, or has been judged.
    fn is_over(&self, conversation: &Conversation) -> Option<bool> {
        let hs = &conversation.handshake;
        let (now, stall_after) = (self.now, self.wanted.stall_after);
        if conversation.verdict.is_some() {
            return None;
        }
        if conversation.is_pending() {
            return Some(now.since(hs.last_seen()) >= patience(hs, stall_after));
        }
        let outcome = conversation.outcome();
        let silence = now.since(conversation.seen.1);
        if outcome.is_failure()
            || was_in_trouble(hs, conversation.stalled(), stall_after)
            || conversation.stalled().is_some()
            || is_unserved(hs, outcome, conversation.seen.1)
        {
            return Some(now.since(hs.last_seen()) >= stall_after);
        }
        let ended = outcome.is_open() && outcome != Outcome::Established;
        self.wanted.all.then_some(silence >= if ended { stall_after } else { stall_after.max(LONGEST_PAUSE) })
    }

    /// The numbers by outcome beside those of the reports, the open ones as they stand; and the number of these that
    /// are pending.
    #[must_use]
    pub fn so_far(&self) -> (ByOutcome, u64) {
        let (mut ends, mut pending) = (self.worked.by_outcome, 0);
        for it in self.table.in_order().map(|slot| self.table.get(slot)) {
            let hs = it.described();
            if let Some(Ending { outcome, .. }) = it.verdict {
                ends[outcome as usize] += 1;
            } else if self.wanted.filter.as_ref().is_none_or(|filter| filter.matches(hs.client(), hs.server())) {
                pending += u64::from(it.is_pending());
                ends[it.outcome() as usize] += u64::from(!it.is_pending());
            }
        }
        (ends, pending)
    }

    /// The end of the capture: everything is reported as it is, at the next calls of [`Self::ready`].
    pub fn finish(&mut self) {
        let open: Vec<_> = self.table.in_order().filter(|slot| self.table.get(*slot).verdict.is_none()).collect();
        self.end_all(open);
    }

    fn end_all(&mut self, slots: Vec<Slot>) {
        for slot in slots {
            let hs = &self.table.get(slot).handshake;
            let hash = self.hash(hs.client(), hs.server());
            self.end(hash, slot);
        }
    }

    fn tell(&mut self, slot: Slot) -> Option<Finished> {
        let completeness = self.last_of_stream(slot).wireshark.completeness();
        let noted = self.noted.get(slot.0 as usize).copied().unwrap_or_default();
        let it = self.table.get_mut(slot);
        let Ending { outcome, recovered, still_open } = it.verdict?;
        let packets = it.packets.take();
        let (cold, hs) = (it.cold.as_deref(), it.described());
        let winner = cold.and_then(|cold| cold.winner);
        let attempt = Attempt {
            handshake: hs,
            outcome,
            stalled: it.stalled(),
            recovered,
            icmp_from: cold.and_then(|cold| cold.icmp_from),
            answered_from: cold.and_then(|cold| cold.answered_from),
            outer: cold.and_then(|cold| cold.outer),
            seen: it.seen,
            foreign: Foreign { conn_state: it.zeek.conn_state(), history: it.zeek.history(), completeness },
            noted: if hs.syn.tries > 0 { noted } else { Noted::default() },
            trust: Trust {
                still_open,
                may_have_begun_earlier: may_have_begun_earlier(&hs, self.began.unwrap_or_default()),
                events_lost: 0,
                attempts_lost: 0,
            },
            why: None,
            translated: None,
            incident: None,
        };
        self.remove(slot);
        let is_overtaken = winner.is_some_and(|winner| self.races.is_lost(&hs, outcome, &winner));
        let packets = *packets.unwrap_or_default();
        self.room.release(&packets.packets);
        self.evidence_cut += packets.dropped;
        Some(Finished { attempt, is_overtaken, packets: packets.packets, decided: packets.decided })
    }
}
