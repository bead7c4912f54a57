//! The transition that a segment is: a function a state, and in it a row for each side and kind of segment.

use super::{
    effects::{FIRST_FLIGHT, sent_data},
    types::{Facts, Handshake, Nanos, Point, Side, State, Transition},
};
use crate::{
    segment::{Flags, IcmpError, Kind, Segment},
    seq::Seq,
};

impl Handshake {
    /// Applies a segment of `side`, seen `now` at `at`, to this attempt.
    #[inline(always)]
    pub fn step(&mut self, side: Side, segment: &Segment, now: Nanos, at: Point) -> Transition {
        match self.state() {
            // A slot without an attempt is opened by its caller.
            State::Free => Transition::Noted,
            State::SynSent => self.in_syn_sent(side, segment, now, at),
            State::SynReceived => self.in_syn_received(side, segment, now, at),
            State::Established => self.in_established(side, segment, now, at),
            State::Refused => self.in_refused(side, segment, now, at),
            State::Aborted | State::ResetOnAnswer => self.in_ended(side, segment, now, at),
            State::Unsolicited => self.in_unsolicited(side, segment, now, at),
        }
    }

    /// SYN-SENT at the client (RFC 9293, section 3.10.7.3).
    #[inline(always)]
    fn in_syn_sent(&mut self, side: Side, segment: &Segment, now: Nanos, at: Point) -> Transition {
        match (side, segment.flags.kind()) {
            (Side::Client, Kind::Syn) => self.client_syn(segment, now, at),
            // Both opened at once: the connection that results is one, whoever is called client.
            (Side::Server, Kind::Syn) if !self.facts.any(Facts::CROSSED) => {
                self.server_isn = segment.seq;
                self.note(Facts::CROSSED)
            }
            (Side::Server, Kind::Syn) => self.server_syn(segment),
            (Side::Client, Kind::SynAck) if self.facts.any(Facts::CROSSED) && segment.ack == self.server_isn.add(1) => {
                self.note(Facts::CLIENT_ANSWERED)
            }
            (Side::Client, Kind::SynAck) => self.note(Facts::CROSSED),
            // The answer: acceptable if it acknowledges the SYN, here the SYN and nothing or some data beyond it.
            (Side::Server, Kind::SynAck) if self.acknowledges_syn(segment) => self.answered(segment, now, at),
            (Side::Server, Kind::SynAck) => self.first(Facts::WRONG_ANSWER, Transition::WrongAnswer),
            // The client continues although no SYN/ACK came by: it came another way.
            (Side::Client, Kind::Ack | Kind::Fin)
                if segment.flags.any(Flags::ACK) && segment.seq.within(self.isn.add(1), FIRST_FLIGHT) =>
            {
                self.facts.0 |= Facts::ANSWER_UNSEEN;
                self.completed(side, segment, now)
            }
            (Side::Client, Kind::Ack | Kind::Fin) => self.note(Facts::STRAY),
            // So does the server, whose SYN crossed and was acknowledged.
            (Side::Server, Kind::Ack | Kind::Fin)
                if self.facts.any(Facts::CLIENT_ANSWERED) && self.acknowledges_syn(segment) =>
            {
                self.facts.0 |= Facts::ANSWER_UNSEEN;
                self.completed(side, segment, now)
            }
            // A challenge: the server knows these addresses and ports from an older connection. The client's RST that
            // follows ends that one, and this one is tried again (RFC 9293, section 3.5.1, figure 9).
            (Side::Server, Kind::Ack | Kind::Fin) => self.first(Facts::CHALLENGED, Transition::Challenged),
            (Side::Client, Kind::Rst) if self.facts.any(Facts::CHALLENGED | Facts::WRONG_ANSWER) => {
                self.note(Facts::ANSWER_REJECTED)
            }
            (Side::Client, Kind::Rst) => self.client_rst(segment, now),
            // RST is obeyed if it acknowledges the SYN. Without an ACK the receiver ignores it, but its sender meant to
            // refuse.
            (Side::Server, Kind::Rst) if !segment.flags.any(Flags::ACK) || self.acknowledges_syn(segment) => {
                let numbered = segment.flags.any(Flags::ACK) && segment.seq != Seq(0);
                self.facts.0 |= if numbered { Facts::RST_SEQ } else { 0 };
                self.ended_by(segment, now, State::Refused, Transition::Refused)
            }
            (Side::Server, Kind::Rst) => self.rst_ignored(segment, now, at),
            (Side::Client | Side::Server, Kind::Null) => self.note(Facts::STRAY),
        }
    }

    /// SYN-RECEIVED at the server (RFC 9293, section 3.10.7.4).
    #[inline(always)]
    fn in_syn_received(&mut self, side: Side, segment: &Segment, now: Nanos, at: Point) -> Transition {
        match (side, segment.flags.kind()) {
            (Side::Client, Kind::Syn) => self.client_syn(segment, now, at),
            (Side::Server, Kind::Syn) => self.server_syn(segment),
            (Side::Client, Kind::SynAck) if self.acknowledges_answer(segment) => {
                self.facts.0 |= Facts::CROSSED;
                self.completed(side, segment, now)
            }
            (Side::Client, Kind::SynAck) => self.note(Facts::CROSSED),
            (Side::Server, Kind::SynAck) => self.server_syn_ack_again(segment, now, at),
            // The final ACK; a FIN or data carries it as well, and either may have been lost here and not there.
            (Side::Client, Kind::Ack | Kind::Fin) if self.acknowledges_answer(segment) => {
                self.completed(side, segment, now)
            }
            (Side::Client, Kind::Ack) => self.note(Facts::STRAY | Facts::ACK_IGNORED),
            (Side::Client, Kind::Fin) => self.note(Facts::STRAY),
            // Data or an ACK of the server before the final ACK: Fast Open (RFC 7413), or the final ACK is late.
            (Side::Server, Kind::Ack) => self.note(sent_data(Side::Server, segment.payload > 0)),
            (Side::Server, Kind::Fin) => self.note(Facts::SERVER_FIN),
            (Side::Client, Kind::Rst) => self.client_rst(segment, now),
            // RST is obeyed if its number is in the window: the next one that its receiver expects.
            (Side::Server, Kind::Rst) if self.fits_server(segment) => {
                self.ended_by(segment, now, State::ResetOnAnswer, Transition::ResetOnAnswer)
            }
            (Side::Server, Kind::Rst) => self.note(Facts::RST_IGNORED),
            (Side::Client | Side::Server, Kind::Null) => self.note(Facts::STRAY),
        }
    }

    /// ESTABLISHED and after: who closes, who resets.
    #[inline(always)]
    fn in_established(&mut self, side: Side, segment: &Segment, now: Nanos, at: Point) -> Transition {
        match (side, segment.flags.kind()) {
            (Side::Client, Kind::Syn) => self.client_syn(segment, now, at),
            (Side::Server, Kind::Syn) => self.server_syn(segment),
            (Side::Client, Kind::SynAck) => self.note(Facts::CROSSED),
            (Side::Server, Kind::SynAck) => self.server_syn_ack_again(segment, now, at),
            (Side::Client, Kind::Ack) => self.note(sent_data(side, segment.payload > 0)),
            (Side::Server, Kind::Ack) => self.note(sent_data(side, segment.payload > 0) | self.data_acked(segment)),
            (Side::Client, Kind::Fin | Kind::Rst) => self.closes(Side::Client, segment),
            (Side::Server, Kind::Fin | Kind::Rst) => self.closes(Side::Server, segment),
            (Side::Client | Side::Server, Kind::Null) => self.note(Facts::STRAY),
        }
    }

    /// The server's RST came first: a SYN/ACK shows that it was not the server's, or that the next try was answered.
    #[inline(always)]
    fn in_refused(&mut self, side: Side, segment: &Segment, now: Nanos, at: Point) -> Transition {
        if side == Side::Server && segment.flags.kind() == Kind::SynAck && self.acknowledges_syn(segment) {
            return self.answered(segment, now, at);
        }
        self.in_ended(side, segment, now, at)
    }

    /// It is over, and most of what comes is the echo.
    #[inline(always)]
    fn in_ended(&mut self, side: Side, segment: &Segment, now: Nanos, at: Point) -> Transition {
        match (side, segment.flags.kind()) {
            (Side::Client, Kind::Syn) => self.client_syn(segment, now, at),
            (Side::Server, Kind::Syn) => self.server_syn(segment),
            (Side::Client, Kind::SynAck) => self.note(Facts::CROSSED),
            (Side::Server, Kind::SynAck) => self.note(Facts::STRAY),
            (Side::Client | Side::Server, Kind::Ack | Kind::Fin | Kind::Rst) => Transition::Noted,
            (Side::Client | Side::Server, Kind::Null) => self.note(Facts::STRAY),
        }
    }

    /// Half of a handshake is no attempt. A side that continues shows that the other half went another way: a
    /// connection seen from its middle, which is none of ours.
    #[inline(always)]
    fn in_unsolicited(&mut self, side: Side, segment: &Segment, now: Nanos, at: Point) -> Transition {
        match (side, segment.flags.kind()) {
            (Side::Client | Side::Server, Kind::Ack | Kind::Fin) => {
                self.state = State::Free as u8;
                Transition::Noted
            }
            (Side::Client, Kind::Syn) if segment.seq == self.isn => self.syn_came_late(segment, now, at),
            (Side::Client, Kind::Syn) => Transition::Superseded,
            (Side::Server, Kind::Syn) => self.server_syn(segment),
            (Side::Client, Kind::SynAck) => self.note(Facts::CROSSED),
            (Side::Server, Kind::SynAck) => self.answered_again(segment, now, at),
            (Side::Client, Kind::Rst) => self.note(Facts::CLIENT_RST),
            (Side::Server, Kind::Rst) => self.note(Facts::SERVER_RST),
            (Side::Client | Side::Server, Kind::Null) => self.note(Facts::STRAY),
        }
    }

    /// The client tries again, or tries anew (RFC 9293, section 3.8.1).
    #[inline(always)]
    fn client_syn(&mut self, segment: &Segment, now: Nanos, at: Point) -> Transition {
        if segment.seq == self.isn { self.syn_again(segment, now, at) } else { Transition::Superseded }
    }

    /// A SYN of the other end that is not the crossing one opens the next attempt, the other way, once this one is
    /// over.
    #[inline(always)]
    fn server_syn(&mut self, segment: &Segment) -> Transition {
        let number_known = self.answer.tries > 0 || self.facts.any(Facts::CROSSED);
        if number_known && segment.seq == self.server_isn {
            return self.note(Facts::CROSSED);
        }
        Transition::Superseded
    }

    #[inline(always)]
    fn server_syn_ack_again(&mut self, segment: &Segment, now: Nanos, at: Point) -> Transition {
        if self.acknowledges_syn(segment) { self.answered_again(segment, now, at) } else { self.note(Facts::STRAY) }
    }

    /// A RST of the client before the handshake is done.
    #[inline(always)]
    fn client_rst(&mut self, segment: &Segment, now: Nanos) -> Transition {
        if self.fits_client(segment) {
            return self.ended_by(segment, now, State::Aborted, Transition::Aborted);
        }
        self.note(Facts::RST_IGNORED)
    }

    /// A fact that is a transition when it is first noted.
    #[inline(always)]
    fn first(&mut self, fact: u32, transition: Transition) -> Transition {
        if self.facts.any(fact) {
            return Transition::Noted;
        }
        self.facts.0 |= fact;
        transition
    }

    /// Applies an ICMP error that quotes a segment of `side` to this attempt. It must quote the SYN or SYN/ACK itself:
    /// with another connection's numbers it does not count for this attempt (RFC 5927, section 4.1).
    #[inline(always)]
    pub fn icmp(&mut self, side: Side, error: &IcmpError, now: Nanos) -> Transition {
        match side {
            Side::Client if error.seq == self.isn => {
                self.icmp_kind = error.icmp.kind;
                self.icmp_code = error.icmp.code;
                let told = self.facts.any(Facts::UNREACHABLE);
                self.facts.0 |= Facts::UNREACHABLE;
                if told || self.state() != State::SynSent {
                    return Transition::Noted;
                }
                self.ended = now;
                Transition::Unreachable
            }
            Side::Server if self.answer.tries > 0 && error.seq == self.server_isn => {
                self.note(Facts::ANSWER_UNREACHABLE)
            }
            Side::Client | Side::Server => Transition::Noted,
        }
    }
}
