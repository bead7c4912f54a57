//! One conversation of a capture: its record from its first packet to its last, in a quarter of a kilobyte.
//!
//! The fields that most conversations never need are in [`Cold`], which most never allocate.

use tcptrace_core::{
    event::{Counter, Counters, STALLED_AT_TRY},
    flow::{Addr, Endpoint},
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, Side, State, Transition},
    segment::{Flags, IcmpError, Kind, Link, Segment},
    seq::Seq,
    tunnel::Outer,
};
use tcptrace_verdict::patterns::race::Winner;
use tcptrace_vocabulary::{
    attempt::{Stalled, StalledBy, is_unacknowledged},
    foreign::{Dissection, Glance, Sender, Wireshark, Zeek},
    outcome::Outcome,
};

use super::{
    early::{Came, is_close},
    kept::{Packets, Raw},
    slot::{Links, Slot},
};

/// A segment, when and where it was seen.
pub(super) struct Seen<'a> {
    pub(super) segment: &'a Segment,
    pub(super) glance: Glance,
    pub(super) at: Nanos,
    pub(super) point: Point,
    pub(super) raw: Raw<'a>,
    /// As the core reads it.
    pub(super) frame: (&'a [u8], Link),
}

/// Laid out so that a packet that changes nothing touches three cache lines of it.
#[repr(C, align(64))]
pub(super) struct Conversation {
    /// [`State::Free`] means that no SYN was seen. The endpoints are set even then, with the first packet's sender as
    /// the client.
    pub(super) handshake: Handshake,
    /// By [`Class`] of bare ACK: nothing but the time changes with another one.
    settled: u8,
    first_is_client: bool,
    /// Whether the stream, as Wireshark counts them, has the same first sender.
    stream_first_is_first: bool,
    /// The number of times that the SYN/ACK came that has no SYN.
    pub(super) answers: u8,
    stalled_by: Option<StalledBy>,
    pub(super) verdict: Option<Ending>,
    pub(super) seen: (Nanos, Nanos),
    stalled_at: Nanos,
    pub(super) cold: Option<Box<Cold>>,
    /// The packets that would prove it.
    pub(super) packets: Option<Box<Packets>>,
    pub(super) links: Links,
    pub(super) zeek: Zeek,
    pub(super) wireshark: Wireshark,
}

const _: () = assert!(size_of::<Conversation>() == 256);

/// The outcome that it is reported with, once it has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) recovered: bool,
    pub(super) still_open: bool,
}

/// The fields that few conversations need.
#[derive(Default)]
pub(super) struct Cold {
    /// A SYN/ACK that came before its SYN, or without one.
    pub(super) answer: Option<(Segment, Point)>,
    pub(super) icmp_from: Option<Addr>,
    pub(super) answered_from: Option<Addr>,
    /// The attempt that completed while this one was unanswered.
    pub(super) winner: Option<Winner>,
    /// The tunnel of the first packet.
    pub(super) outer: Option<Outer>,
    /// The attempts before and after it on the same stream.
    pub(super) prior: Option<Slot>,
    pub(super) heir: Option<Slot>,
    /// What the server sent before the client's packets that it answers.
    pub(super) held: Vec<Came>,
    /// The number of the RST that refused it.
    pub(super) refusal: Option<Seq>,
    /// When the other end's SYN crossed this one.
    pub(super) crossed: Option<Nanos>,
    /// The stream that the quotation of another SYN opened: its packets go there from then on.
    diverged: Option<Wireshark>,
}

/// A conversation as Wireshark counts them: it may hold several attempts, when the other end opens the next.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) first: Endpoint,
    pub(super) state: Wireshark,
}

impl Stream {
    /// Whether this begins another one.
    pub(super) fn is_another(&self, src: Endpoint, glance: &Glance) -> bool {
        self.state.is_another(self.sender(src), glance)
    }

    pub(super) fn see(&mut self, src: Endpoint, glance: &Glance) {
        if self.is_another(src, glance) {
            self.state = Wireshark::reused();
        }
        self.state.see(self.sender(src), glance);
    }

    fn sender(&self, src: Endpoint) -> Sender {
        if src == self.first { Sender::First } else { Sender::Other }
    }
}

/// A bare ACK's sender and whether it has data, as a bit.
#[derive(Clone, Copy)]
pub(super) struct Class(u8);

impl Class {
    /// `None` for what is no bare ACK.
    #[inline]
    pub(super) fn of(segment: &Segment, from_client: bool) -> Option<Self> {
        let bare = segment.flags.0 & (Flags::SYN | Flags::FIN | Flags::RST | Flags::ACK) == Flags::ACK;
        bare.then_some(Self(1 << (u8::from(from_client) * 2 + u8::from(segment.payload > 0))))
    }
}

impl Conversation {
    pub(super) fn new(first: &Segment, stream: Stream, at: Nanos, outer: Option<Outer>) -> Self {
        Self::between(first.src, first.dst, stream, at, outer)
    }

    fn between(from: Endpoint, to: Endpoint, stream: Stream, at: Nanos, outer: Option<Outer>) -> Self {
        let handshake = Handshake {
            client_addr: from.addr,
            client_port: from.port,
            server_addr: to.addr,
            server_port: to.port,
            ..Handshake::default()
        };
        Self {
            handshake,
            settled: 0,
            first_is_client: true,
            stream_first_is_first: stream.first == from,
            answers: 0,
            stalled_by: None,
            verdict: None,
            seen: (at, at),
            stalled_at: Nanos(0),
            cold: outer.map(|it| Box::new(Cold { outer: Some(it), ..Cold::default() })),
            packets: None,
            links: Links::NONE,
            zeek: Zeek::default(),
            wireshark: stream.state,
        }
    }

    /// The attempt of a SYN of which only the error that quotes it is there: no SYN of it counts.
    pub(super) fn unseen(error: &IcmpError, stream: Stream, at: Nanos, point: Point, outer: Option<Outer>) -> Self {
        let mut it = Self::between(error.src, error.dst, stream, at, outer);
        it.handshake = Handshake {
            first_syn: at,
            last_syn: at,
            isn: error.seq,
            client_point: point,
            state: State::SynSent as u8,
            ..it.handshake
        };
        it
    }

    pub(super) fn has_handshake(&self) -> bool {
        self.handshake.state() != State::Free
    }

    pub(super) fn is_pending(&self) -> bool {
        self.handshake.state().is_pending()
    }

    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    pub(super) fn stalled(&self) -> Option<Stalled> {
        self.stalled_by.map(|by| Stalled { at: self.stalled_at, by })
    }

    pub(super) fn stall(&mut self, Stalled { at, by }: Stalled) {
        if self.stalled_by.is_none() {
            (self.stalled_at, self.stalled_by) = (at, Some(by));
        }
    }

    pub(super) fn stream(&mut self) -> Stream {
        let (client, server) = (self.handshake.client(), self.handshake.server());
        let first_is_client = self.stream_first_is_first == self.first_is_client;
        Stream { first: if first_is_client { client } else { server }, state: *self.current() }
    }

    /// The state that its packets are counted by now.
    fn current(&mut self) -> &mut Wireshark {
        match self.cold.as_deref_mut() {
            Some(Cold { diverged: Some(it), .. }) => it,
            _ => &mut self.wireshark,
        }
    }

    /// Whether its packets went to another stream than the one that it began on.
    pub(super) fn has_diverged(&self) -> bool {
        self.cold.as_ref().is_some_and(|it| it.diverged.is_some())
    }

    /// Whether this SYN begins another stream.
    pub(super) fn is_another(&mut self, from_client: bool, glance: &Glance) -> bool {
        let sender = self.stream_sender(from_client);
        self.current().is_another(sender, glance)
    }

    /// Shows what is a segment to Wireshark alone.
    pub(super) fn overhear(&mut self, from_client: bool, glance: &Glance) {
        if self.is_another(from_client, glance) {
            self.cold().diverged = Some(Wireshark::reused());
            self.settled = 0;
        }
        let sender = self.stream_sender(from_client);
        self.current().see(sender, glance);
    }

    /// Whether a bare ACK of this class changes nothing, as an earlier one showed.
    #[inline]
    pub(super) fn is_settled(&self, Class(bit): Class) -> bool {
        self.settled & bit != 0
    }

    fn sender(&self, from_client: bool) -> Sender {
        if from_client == self.first_is_client { Sender::First } else { Sender::Other }
    }

    /// The same, by Wireshark's account.
    pub(super) fn stream_sender(&self, from_client: bool) -> Sender {
        match (self.sender(from_client), self.stream_first_is_first) {
            (sender, true) => sender,
            (Sender::First, false) => Sender::Other,
            (Sender::Other, false) => Sender::First,
        }
    }

    /// Whether a SYN opens another attempt. The step runs on a copy, because this attempt is reported as it was.
    pub(super) fn is_superseded_by(&self, seen: &Seen<'_>, from_client: bool) -> bool {
        let mut copy = self.handshake;
        let side = if from_client { Side::Client } else { Side::Server };
        self.has_handshake() && copy.step(side, seen.segment, seen.at, seen.point) == Transition::Superseded
    }

    /// `early`: the segments of this conversation that stand before its SYN, if this is the SYN.
    pub(super) fn see(
        &mut self,
        seen: &Seen<'_>,
        from_client: bool,
        early: &[Came],
        stall_after: u64,
        tally: &mut Counters,
    ) {
        let &Seen { segment: it, ref glance, at, point, .. } = seen;
        let counter = if self.is_control(it) { Counter::Control } else { Counter::Established };
        tally.counters[counter as usize] += 1;
        let sender = self.stream_sender(from_client);
        self.current().see(sender, glance);
        self.zeek.see(self.sender(from_client), glance);
        let began = self.seen.0;
        self.seen = (began.min(at), self.seen.1.max(at));
        let was = self.handshake.state();
        if self.has_handshake() {
            let came = Came { segment: *it, at, point };
            if !from_client && self.is_ahead(it) {
                self.cold().held.push(came);
            } else {
                self.step(if from_client { Side::Client } else { Side::Server }, &came, stall_after, tally);
                self.release(at, stall_after, tally);
            }
        } else if it.flags.kind() == Kind::Syn {
            self.first_is_client = self.first_is_client == from_client;
            self.open(seen, began, early, stall_after, tally);
        } else if it.flags.kind() == Kind::SynAck {
            self.cold().answer.get_or_insert((*it, point));
            self.answers = self.answers.saturating_add(1);
        } else if it.flags.kind() == Kind::Rst
            && let Some((answer, _)) = self.answer()
        {
            self.handshake.facts.0 |= if it.src == answer.src { Facts::SERVER_RST } else { Facts::CLIENT_RST };
        }
        self.settle(was, it, glance.dissection, from_client);
    }

    /// The SYN, after which what stands before it is applied.
    fn open(&mut self, seen: &Seen<'_>, began: Nanos, early: &[Came], stall_after: u64, tally: &mut Counters) {
        let &Seen { segment: syn, at, point, .. } = seen;
        self.handshake = Handshake::open(syn, at, point);
        tally.transitions[Transition::Opened as usize] += 1;
        if let Some((answer, point)) = self.cold.as_mut().and_then(|cold| cold.answer.take())
            && let Some(side) = self.handshake.side(answer.src, answer.dst)
        {
            // By the packets' own clock it may have come later than the SYN; otherwise the time that it took is not known.
            self.step(side, &Came { segment: answer, at: began.max(at), point }, stall_after, tally);
            self.handshake.answered_try = u8::from(began > at);
            self.handshake.facts.0 |= if is_close(began, at) { Facts::OUT_OF_ORDER } else { 0 };
        }
        self.follow_up(early, stall_after, tally);
        self.release(at, stall_after, tally);
    }

    /// Whether a segment is counted, and kept as evidence, as one of the handshake or of an end.
    pub(super) fn is_control(&self, segment: &Segment) -> bool {
        segment.flags.any(Flags::SYN | Flags::FIN | Flags::RST) || self.is_pending()
    }

    /// After a segment: computes which bare ACKs are known to change nothing from now on. The marks that they set (a
    /// side's first data, a letter, a bit of completeness) are never taken back, but by another state of the handshake.
    fn settle(&mut self, was: State, segment: &Segment, dissection: Dissection, from_client: bool) {
        if was != self.handshake.state() || segment.flags.any(Flags::SYN) {
            self.settled = 0;
        }
        if let Some(Class(bit)) = Class::of(segment, from_client)
            && dissection == Dissection::Known
            && !self.is_pending()
            && self.zeek.is_settled()
        {
            self.settled |= bit;
        }
    }

    /// Applies a segment to the attempt, and notes whether it stalled before or thereby.
    pub(super) fn step(&mut self, side: Side, came: &Came, stall_after: u64, tally: &mut Counters) {
        let &Came { ref segment, at, .. } = came;
        let silence = Nanos(self.handshake.last_seen().0.saturating_add(stall_after));
        let silent = self.handshake.state().is_pending() && at >= silence;
        let transition = self.transition(side, came);
        let hs = &mut self.handshake;
        tally.count(transition as usize, hs);
        let is_third_syn =
            transition == Transition::SynRetried && hs.syn.tries == STALLED_AT_TRY && hs.state().is_pending();
        let is_third_answer = transition == Transition::AnswerRetried && is_unacknowledged(hs);
        let third =
            is_third_syn.then_some(StalledBy::ThirdSyn).or_else(|| is_third_answer.then_some(StalledBy::ThirdSynAck));
        if matches!(transition, Transition::ResetByClient | Transition::ResetByServer) {
            hs.end = End { window: segment.window, flags: segment.flags.0, ttl: segment.ttl };
        }
        if silent {
            self.stall(Stalled { at: silence, by: StalledBy::Silence });
        }
        if let Some(by) = third {
            self.stall(Stalled { at, by });
        }
    }

    /// The attempt; for a conversation without a SYN, its substitute: the presumed client, and the SYN/ACK.
    pub(super) fn described(&self) -> Handshake {
        let mut hs = self.handshake;
        if self.has_handshake() {
            return hs;
        }
        (hs.first_syn, hs.last_syn) = self.seen;
        if let Some((answer, point)) = self.answer() {
            let (client, server) = (answer.dst, answer.src);
            (hs.client_addr, hs.client_port) = (client.addr, client.port);
            (hs.server_addr, hs.server_port) = (server.addr, server.port);
            hs.isn = answer.ack.add(u32::MAX);
            hs.server_isn = answer.seq;
            hs.server_point = *point;
            hs.answer = Offer { tries: self.answers, ..Offer::of(answer) };
            (hs.first_answer, hs.last_answer) = self.seen;
        }
        hs
    }

    /// The SYN/ACK of a conversation without a SYN.
    pub(super) fn answer(&self) -> Option<&(Segment, Point)> {
        self.cold.as_ref()?.answer.as_ref()
    }

    /// The outcome so far.
    pub(super) fn outcome(&self) -> Outcome {
        match Outcome::to_the_end(&self.handshake) {
            Some(outcome) => outcome,
            None if self.answer().is_some() && !self.zeek.went_on() => Outcome::AnswerOnly,
            None => Outcome::Midstream,
        }
    }
}
