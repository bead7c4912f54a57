//! The changes that a transition writes into an attempt, and how a segment's numbers compare with it.

use super::types::{End, Facts, Handshake, Nanos, Offer, Point, Side, State, Transition};
use crate::{
    segment::{Flags, Kind, Options, Segment},
    seq::Seq,
};

/// One packet seen at two points of this host (router, bridge, bond, loopback) is one packet when the second sight
/// follows within this time. Forwarding takes less; a SYN's retry takes longer (RFC 6298, section 2: one second).
const SAME_PACKET_ELSEWHERE: u64 = 200_000_000;
/// One packet seen twice at one point (a mirror port) follows within this time.
const SAME_PACKET_HERE: u64 = 1_000_000;

/// The largest distance beyond the expected number at which a segment still belongs to this connection: the first
/// flight, whose start may have been missed.
pub(super) const FIRST_FLIGHT: u32 = 1 << 20;
/// The same for an ACK of data that nobody saw: a SYN's window is not scaled (RFC 7323, section 2.2), so no server sends
/// more before the final ACK. A firewall that rewrites sequence numbers on one way only is off by any number.
const UNSEEN_FLIGHT: u32 = 1 << 16;
/// The options whose loss is recorded by name, and how far their bits are from those of [`Facts::WITHOUT_TIMESTAMPS`]
/// and its neighbours.
const NAMED_OPTIONS: u8 = Options::TIMESTAMPS | Options::FAST_OPEN | Options::MPTCP | Options::ECN;
const NAMED_SHIFT: u32 = Facts::WITHOUT_TIMESTAMPS.trailing_zeros() - Options::TIMESTAMPS.trailing_zeros();

impl Handshake {
    /// The attempt that a pure SYN opens.
    #[inline(always)]
    #[must_use]
    pub fn open(syn: &Segment, now: Nanos, at: Point) -> Self {
        Self {
            client_addr: syn.src.addr,
            server_addr: syn.dst.addr,
            client_port: syn.src.port,
            server_port: syn.dst.port,
            first_syn: now,
            last_syn: now,
            isn: syn.seq,
            client_point: at,
            facts: Facts(odd(syn)),
            syn: Offer::of(syn),
            state: State::SynSent as u8,
            ..Self::default()
        }
    }

    /// The attempt that stands for a SYN/ACK whose SYN did not come by: the acknowledgement number shows who sent the
    /// SYN.
    #[inline(always)]
    #[must_use]
    pub fn unsolicited(answer: &Segment, now: Nanos, at: Point) -> Self {
        Self {
            client_addr: answer.dst.addr,
            server_addr: answer.src.addr,
            client_port: answer.dst.port,
            server_port: answer.src.port,
            first_syn: now,
            last_syn: now,
            first_answer: now,
            last_answer: now,
            isn: answer.ack.add(u32::MAX),
            server_isn: answer.seq,
            server_point: at,
            facts: Facts(answer_marks(answer)),
            answer: Offer::of(answer),
            state: State::Unsolicited as u8,
            ..Self::default()
        }
    }

    #[inline(always)]
    pub(super) fn note(&mut self, fact: u32) -> Transition {
        self.facts.0 |= fact;
        Transition::Noted
    }

    /// A RST that SYN-SENT ignores: what it looked like, when the last came, and how many.
    #[inline(always)]
    pub(super) fn rst_ignored(&mut self, segment: &Segment, now: Nanos, at: Point) -> Transition {
        let is_again = self.facts.any(Facts::RST_IGNORED) && same_packet(self.server_point, self.ended, now, at);
        if !is_again && !self.facts.any(Facts::UNREACHABLE) {
            self.server_point = at;
            self.icmp_code = self.icmp_code.saturating_add(1);
            self.end = End { window: segment.window, flags: segment.flags.0, ttl: segment.ttl };
            self.ended = now;
        }
        self.note(Facts::RST_IGNORED)
    }

    /// The fact that a segment of the server acknowledges data, if it does. Without the flag the field is zero, or any
    /// number: who sends that has a connection all the same.
    #[inline(always)]
    pub(super) fn data_acked(&self, segment: &Segment) -> u32 {
        if segment.ack.within(self.isn.add(2), 1 << 31) { Facts::DATA_ACKED } else { 0 }
    }

    #[inline(always)]
    pub(super) fn syn_again(&mut self, segment: &Segment, now: Nanos, at: Point) -> Transition {
        if same_packet(self.client_point, self.last_syn, now, at) {
            return Transition::SeenAgain;
        }
        let without = self.syn.options & !segment.options.present & !Options::MALFORMED;
        if self.facts.any(Facts::FALLBACK) {
            self.facts.0 &= !Facts::WITHOUT;
        } else if without != 0 {
            self.facts.0 |= Facts::FALLBACK | ((without & NAMED_OPTIONS) as u32) << NAMED_SHIFT;
        }
        self.syn.tries = self.syn.tries.saturating_add(1);
        self.last_syn = now;
        self.client_point = at;
        Transition::SynRetried
    }

    /// The SYN that was answered before it came by here: a mirror port, or two CPUs, mixed up their order.
    #[inline(always)]
    pub(super) fn syn_came_late(&mut self, syn: &Segment, now: Nanos, at: Point) -> Transition {
        self.facts.0 |= odd(syn);
        self.syn = Offer::of(syn);
        self.client_point = at;
        self.answered_try = 1;
        self.state = State::SynReceived as u8;
        for time in [&mut self.first_syn, &mut self.last_syn, &mut self.first_answer, &mut self.last_answer] {
            *time = now;
        }
        Transition::Opened
    }

    #[inline(always)]
    pub(super) fn answered(&mut self, segment: &Segment, now: Nanos, at: Point) -> Transition {
        let refused = self.state() == State::Refused;
        let acknowledged = !refused && self.facts.any(Facts::CLIENT_ANSWERED) && segment.seq == self.server_isn;
        if refused {
            self.facts.0 |= Facts::RECOVERING;
        }
        // Neither a RST nor an ICMP error was its end.
        (self.ended, self.end) = (Nanos(0), End::default());
        self.answer = Offer::of(segment);
        self.facts.0 |= answer_marks(segment);
        self.answered_try = self.syn.tries;
        self.server_isn = segment.seq;
        self.server_point = at;
        self.first_answer = now;
        self.last_answer = now;
        self.state = State::SynReceived as u8;
        if acknowledged { self.completed(Side::Server, segment, now) } else { Transition::Answered }
    }

    #[inline(always)]
    pub(super) fn answered_again(&mut self, segment: &Segment, now: Nanos, at: Point) -> Transition {
        if segment.seq == self.server_isn && same_packet(self.server_point, self.last_answer, now, at) {
            return Transition::SeenAgain;
        }
        let mut transition = Transition::AnswerRetried;
        if self.answer.tries == 0 {
            // The first that is seen here, of a handshake whose answer came another way.
            self.answer = Offer { tries: 0, ..Offer::of(segment) };
            self.facts.0 |= answer_marks(segment);
            self.first_answer = now;
            transition = Transition::Answered;
        } else if segment.seq != self.server_isn {
            self.facts.0 |= Facts::TWO_ANSWERS;
        }
        self.server_isn = segment.seq;
        self.answer.tries = self.answer.tries.saturating_add(1);
        self.last_answer = now;
        self.server_point = at;
        transition
    }

    #[inline(always)]
    pub(super) fn completed(&mut self, side: Side, segment: &Segment, now: Nanos) -> Transition {
        if segment.flags.kind() == Kind::Fin {
            self.facts.0 |= match side {
                Side::Client => Facts::CLIENT_FIN,
                Side::Server => Facts::SERVER_FIN,
            };
        }
        self.facts.0 |= sent_data(side, segment.payload > 0);
        self.ended_by(segment, now, State::Established, Transition::Completed)
    }

    /// A FIN or a RST of an established connection. Its numbers show what its side sent and received before. Anything
    /// after a RST is an echo.
    #[inline(always)]
    pub(super) fn closes(&mut self, side: Side, segment: &Segment) -> Transition {
        if self.facts.any(Facts::CLIENT_RST | Facts::SERVER_RST) {
            return Transition::Noted;
        }
        let before = self.facts;
        let is_fin = segment.flags.kind() == Kind::Fin;
        let (own, peer, own_fin, peer_fin, own_rst, peer_side) = match side {
            Side::Client => {
                (self.isn, self.server_isn, Facts::CLIENT_FIN, Facts::SERVER_FIN, Facts::CLIENT_RST, Side::Server)
            }
            Side::Server => {
                (self.server_isn, self.isn, Facts::SERVER_FIN, Facts::CLIENT_FIN, Facts::SERVER_RST, Side::Client)
            }
        };
        // A number that was never seen proves nothing.
        let answered = self.answer.tries > 0;
        let own_known = side == Side::Client || answered;
        let peer_known = side == Side::Server || answered;
        // SYN and FIN take a number each.
        let first = |isn: Seq, fin: u32| isn.add(1 + self.facts.any(fin) as u32);
        let data = |number: Seq, first: Seq| number != first && number.within(first, 1 << 31);
        let ending = if is_fin { own_fin } else { own_rst };
        self.facts.0 |= ending
            | rst_marks(segment)
            | if is_fin && side == Side::Server { self.data_acked(segment) } else { 0 }
            | sent_data(side, segment.payload > 0 || own_known && data(segment.seq, first(own, own_fin)))
            | sent_data(
                peer_side,
                peer_known && segment.flags.any(Flags::ACK) && data(segment.ack, first(peer, peer_fin)),
            );
        match (before.has_both_fins(), self.facts.has_both_fins(), side) {
            (true, ..) => Transition::Noted,
            (false, true, _) => Transition::Closed,
            _ if is_fin => Transition::Noted,
            (false, false, Side::Client) => Transition::ResetByClient,
            (false, false, Side::Server) => Transition::ResetByServer,
        }
    }

    #[inline(always)]
    pub(super) fn ended_by(
        &mut self,
        segment: &Segment,
        now: Nanos,
        state: State,
        transition: Transition,
    ) -> Transition {
        self.facts.0 |= rst_marks(segment);
        self.state = state as u8;
        self.ended = now;
        self.end = End { window: segment.window, flags: segment.flags.0, ttl: segment.ttl };
        transition
    }

    /// SYN-SENT accepts an ACK of the SYN, and of data that went with it (RFC 7413, section 4.2.2).
    #[inline(always)]
    pub(super) fn acknowledges_syn(&self, segment: &Segment) -> bool {
        let data = if self.facts.any(Facts::SYN_DATA) { u16::MAX as u32 } else { 0 };
        segment.flags.any(Flags::ACK) && segment.ack.within(self.isn.add(1), data + 1)
    }

    /// SYN-RECEIVED accepts an ACK of its SYN/ACK; a later number acknowledges data that followed.
    #[inline(always)]
    pub(super) fn acknowledges_answer(&self, segment: &Segment) -> bool {
        let flight = if self.facts.any(Facts::SERVER_DATA) { FIRST_FLIGHT } else { UNSEEN_FLIGHT };
        segment.flags.any(Flags::ACK)
            && (segment.ack.within(self.server_isn.add(1), flight) || self.facts.any(Facts::TWO_ANSWERS))
    }

    #[inline(always)]
    pub(super) fn fits_server(&self, segment: &Segment) -> bool {
        self.acknowledges_syn(segment) || segment.seq.within(self.server_isn, FIRST_FLIGHT)
    }

    #[inline(always)]
    pub(super) fn fits_client(&self, segment: &Segment) -> bool {
        segment.seq.within(self.isn, FIRST_FLIGHT)
    }
}

/// The odd features of a SYN.
#[inline(always)]
fn odd(syn: &Segment) -> u32 {
    let data = if syn.payload > 0 { Facts::SYN_DATA } else { 0 };
    data | if syn.flags.any(Flags::FIN) { Facts::ODD_SYN } else { 0 }
}

/// The marks in a SYN/ACK that show who made it.
#[inline(always)]
const fn answer_marks(answer: &Segment) -> u32 {
    if answer.has_id { Facts::ANSWER_ID } else { 0 }
}

/// The marks of a RST; none for any other segment.
#[inline(always)]
const fn rst_marks(segment: &Segment) -> u32 {
    let id = if segment.has_id { Facts::RST_ID } else { 0 };
    let options = if segment.has_options { Facts::RST_OPTIONS } else { 0 };
    if segment.flags.any(Flags::RST) { id | options } else { 0 }
}

/// The fact that a side sent data, if it did.
#[inline(always)]
pub(super) const fn sent_data(side: Side, sent: bool) -> u32 {
    match (sent, side) {
        (false, _) => 0,
        (true, Side::Client) => Facts::CLIENT_DATA,
        (true, Side::Server) => Facts::SERVER_DATA,
    }
}

/// Whether what was counted at (`point`, `last`) and is now seen at `at` is one packet.
#[inline(always)]
fn same_packet(point: Point, last: Nanos, now: Nanos, at: Point) -> bool {
    now.since(last) < if at == point { SAME_PACKET_HERE } else { SAME_PACKET_ELSEWHERE }
}
