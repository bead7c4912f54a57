//! The step of a capture's attempt: the core's, and what a capture knows beyond it. The answer may stand behind what it
//! is answered by, and a crossing SYN/ACK may be the only one.
//!
//! The foreign vocabularies see packets in the order of the file, as their tools do; this is the handshake's alone.

use tcptrace_core::{
    event::Counters,
    handshake::{Facts, Handshake, Nanos, Offer, Side, State, Transition},
    segment::{Flags, IcmpError, Kind, Segment},
};

use super::{
    conversation::Conversation,
    early::{Came, FLIGHT, is_close},
};

/// Segments of an attempt that are held at most.
const HELD: usize = 16;

impl Conversation {
    /// Applies a segment to the attempt.
    pub(super) fn transition(&mut self, side: Side, came: &Came) -> Transition {
        let &Came { ref segment, at, point } = came;
        let is_answer = segment.flags.kind() == Kind::SynAck && segment.ack == self.handshake.isn.add(1);
        if is_answer && self.handshake.client() == self.handshake.server() {
            return self.answer_to_itself(came);
        }
        if is_answer && side == Side::Server && self.is_answered_late(segment, at) {
            return self.answered_late(came);
        }
        let facts = self.handshake.facts;
        // The server answers after all.
        if is_answer
            && side == Side::Server
            && facts.any(Facts::CLIENT_ANSWERED)
            && let Some(own) = self.cold.as_mut().and_then(|cold| cold.crossed.take())
        {
            self.handshake.last_syn = own;
        }
        let transition = self.handshake.step(side, segment, at, point);
        let is_new = |fact| self.handshake.facts.any(fact) && !facts.any(fact);
        if transition == Transition::Refused && self.handshake.facts.any(Facts::RST_SEQ) {
            self.cold().refusal = Some(segment.seq);
        } else if is_new(Facts::CROSSED) && segment.flags.kind() == Kind::Syn {
            self.cold().crossed = Some(at);
        } else if is_new(Facts::CLIENT_ANSWERED) {
            self.answered_crossing(segment, at);
        }
        if self.handshake.facts.any(Facts::CLIENT_ANSWERED) && self.handshake.answer.tries > 0 {
            self.handshake.facts.0 &= !Facts::ANSWER_UNSEEN;
        }
        transition
    }

    /// Whether a segment of the server answers what the client has not been seen to say: it is held until the client's
    /// final ACK, which it may have come before.
    pub(super) fn is_ahead(&self, segment: &Segment) -> bool {
        let hs = &self.handshake;
        let beyond = segment.ack.0.wrapping_sub(hs.isn.add(1).0);
        hs.state() == State::SynReceived
            && segment.flags.any(Flags::ACK)
            && !segment.flags.any(Flags::SYN)
            && !hs.facts.any(Facts::SYN_DATA)
            && (1..FLIGHT).contains(&beyond)
            && self.cold.as_ref().is_none_or(|cold| cold.held.len() < HELD)
    }

    /// The segments that stand before the SYN: those of the client follow it, and so does a RST that answers it; the
    /// server's others wait.
    pub(super) fn follow_up(&mut self, early: &[Came], stall_after: u64, tally: &mut Counters) {
        let answered = self.handshake.isn.add(1);
        for came in early {
            let came = Came { at: came.at.max(self.handshake.first_syn), ..*came };
            let is_refusal = came.segment.flags.kind() == Kind::Rst
                && came.segment.flags.any(Flags::ACK)
                && came.segment.ack == answered;
            // A RST without ACK may be an older connection's.
            let is_numbered = came.segment.flags.any(Flags::ACK)
                || self.handshake.answer.tries > 0 && came.segment.seq == self.handshake.server_isn.add(1);
            match self.handshake.side(came.segment.src, came.segment.dst) {
                Some(Side::Server) if !is_numbered => continue,
                Some(Side::Server) if !is_refusal => self.cold().held.push(came),
                Some(side) => self.step(side, &came, stall_after, tally),
                None => continue,
            }
            self.handshake.facts.0 |= Facts::OUT_OF_ORDER;
        }
    }

    /// Once the handshake is completed, what was held follows.
    pub(super) fn release(&mut self, now: Nanos, stall_after: u64, tally: &mut Counters) {
        if self.handshake.state() == State::Established
            && let Some(first) = self.cold.as_ref().and_then(|cold| cold.held.first())
        {
            self.handshake.facts.0 |= if is_close(first.at, now) { Facts::OUT_OF_ORDER } else { 0 };
            self.release_all(stall_after, tally);
        }
    }

    /// Nothing more comes: what was held is applied.
    pub(super) fn release_all(&mut self, stall_after: u64, tally: &mut Counters) {
        let held = self.cold.as_mut().map(|cold| std::mem::take(&mut cold.held)).unwrap_or_default();
        for came in held {
            self.step(Side::Server, &came, stall_after, tally);
        }
    }

    /// Applies an ICMP error about a segment of `side`.
    pub(super) fn quoted(&mut self, side: Side, error: &IcmpError, at: Nanos, tally: &mut Counters) {
        let transition = self.handshake.icmp(side, error, at);
        tally.count(transition as usize, &self.handshake);
        if transition == Transition::Unreachable {
            self.cold().icmp_from = Some(error.from);
        }
        self.seen.1 = self.seen.1.max(at);
    }

    /// A socket connected to itself: its SYN/ACK is the answer, and acknowledges the answer.
    fn answer_to_itself(&mut self, came: &Came) -> Transition {
        let &Came { ref segment, at, point } = came;
        let transition = self.handshake.step(Side::Server, segment, at, point);
        if transition == Transition::Answered {
            self.handshake.facts.0 |= Facts::CROSSED;
            return self.handshake.step(Side::Client, segment, at, point);
        }
        transition
    }

    /// Whether a SYN/ACK stands behind the segment that it came before: the client's final ACK or RST; the server's RST,
    /// which then has the next number.
    fn is_answered_late(&self, answer: &Segment, at: Nanos) -> bool {
        let hs = &self.handshake;
        let is_first = hs.answer.tries == 0 && is_close(hs.ended, at);
        is_first
            && match hs.state() {
                State::Established => hs.facts.any(Facts::ANSWER_UNSEEN),
                State::Aborted => !hs.facts.any(Facts::CHALLENGED | Facts::WRONG_ANSWER),
                State::Refused => {
                    self.cold.as_ref().and_then(|cold| cold.refusal).is_some_and(|rst| rst == answer.seq.add(1))
                }
                State::Free | State::SynSent | State::SynReceived | State::ResetOnAnswer | State::Unsolicited => false,
            }
    }

    fn answered_late(&mut self, came: &Came) -> Transition {
        let &Came { ref segment, at, point } = came;
        let hs = &mut self.handshake;
        let reset = hs.state() == State::Refused;
        hs.answer = Offer::of(segment);
        hs.server_isn = segment.seq;
        hs.server_point = point;
        (hs.first_answer, hs.last_answer) = (at, at);
        hs.answered_try = hs.syn.tries;
        hs.facts.0 &= !(Facts::ANSWER_UNSEEN | if reset { Facts::RST_SEQ } else { 0 });
        hs.facts.0 |= Facts::OUT_OF_ORDER | if segment.has_id { Facts::ANSWER_ID } else { 0 };
        if reset {
            hs.state = State::ResetOnAnswer as u8;
        }
        Transition::Answered
    }

    /// The client's SYN/ACK to the SYN that crossed its own: the answer, unless the server sends one as well.
    fn answered_crossing(&mut self, answer: &Segment, at: Nanos) {
        let asked = self.cold.as_ref().and_then(|cold| cold.crossed);
        let Handshake { last_syn, syn, .. } = self.handshake;
        let hs = &mut self.handshake;
        hs.answer = Offer::of(answer);
        (hs.first_answer, hs.last_answer) = (at, at);
        hs.answered_try = syn.tries;
        if let Some(asked) = asked {
            hs.last_syn = asked;
            self.cold().crossed = Some(last_syn);
        }
    }
}
