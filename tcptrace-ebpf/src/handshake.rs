//! The handshake machine: one attempt's state, and what a segment does to it.
//!
//! `step` is total and rejects nothing. It follows what the two ends do with the segment (RFC 9293, section 3.10.7),
//! as far as a third party can tell; a segment that neither end obeys is recorded as a fact. It has no timer: silence
//! is judged by who calls it.

use crate::{
    flow::{Addr, Endpoint},
    segment::{Flags, Icmp, IcmpError, Kind, Options, Segment},
    seq::Seq,
};

/// Nanoseconds on one clock: the kernel's monotonic clock live, the capture's offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The time from `earlier` to this; zero where a reordered clock would make it negative.
    #[inline(always)]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where a packet was seen: interface index and direction. Zero is nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Point(pub u32);

impl Point {
    /// Coming in at an interface.
    #[inline(always)]
    #[must_use]
    pub const fn ingress(ifindex: u32) -> Self {
        Self(ifindex << 1)
    }

    /// Going out at an interface.
    #[inline(always)]
    #[must_use]
    pub const fn egress(ifindex: u32) -> Self {
        Self(ifindex << 1 | 1)
    }

    /// The interface's index.
    #[must_use]
    pub const fn ifindex(self) -> u32 {
        self.0 >> 1
    }

    /// Whether the packet was going out.
    #[must_use]
    pub const fn is_egress(self) -> bool {
        self.0 & 1 == 1
    }
}

/// One packet seen at two points of this host (router, bridge, bond, loopback) is one packet when the second sight
/// follows within this time. Forwarding takes less; a SYN's retry takes longer (RFC 6298, section 2: one second).
const SAME_PACKET_ELSEWHERE: u64 = 200_000_000;
/// One packet seen twice at one point (a mirror port) follows within this time.
const SAME_PACKET_HERE: u64 = 1_000_000;

/// How far beyond the expected number a segment may be and still be of this connection: the first flight, whose start
/// may have been missed.
const FIRST_FLIGHT: u32 = 1 << 20;

/// No stack is silent for longer between two tries: Linux waits 64 s, others less. What stays pending for longer is
/// nobody's any more.
pub(crate) const LONGEST_SILENCE: u64 = 180_000_000_000;

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// A slot that holds no attempt.
    #[default]
    Free = 0,
    /// SYN, nothing yet that settles it.
    SynSent = 1,
    /// SYN, SYN/ACK.
    Answered = 2,
    /// The three-way handshake is done.
    Established = 3,
    /// The server's RST before a SYN/ACK.
    Refused = 4,
    /// The client's RST before the final ACK.
    Aborted = 5,
    /// The server's RST after its SYN/ACK and before the final ACK.
    ResetOnAnswer = 6,
    /// A SYN/ACK whose SYN was not seen yet, or never will be.
    Unasked = 7,
}

impl State {
    /// Every state, in order of its number.
    pub const ALL: [Self; 8] = [
        Self::Free,
        Self::SynSent,
        Self::Answered,
        Self::Established,
        Self::Refused,
        Self::Aborted,
        Self::ResetOnAnswer,
        Self::Unasked,
    ];

    /// Whether a bare ACK can still change it: what the fast path asks.
    #[inline(always)]
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::SynSent | Self::Answered | Self::Unasked)
    }
}

/// What happened besides the states: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Facts(pub u32);

impl Facts {
    /// The handshake completed and its SYN/ACK was not seen: asymmetric path, or an XDP program that answers with XDP_TX.
    pub const ANSWER_UNSEEN: u32 = 1 << 0;
    /// The server answered the SYN with an ACK without SYN (RFC 5961, section 4).
    pub const CHALLENGED: u32 = 1 << 1;
    /// A SYN/ACK did not acknowledge ISN+1.
    pub const WRONG_ANSWER: u32 = 1 << 2;
    /// Two SYN/ACKs with different sequence numbers.
    pub const TWO_ANSWERS: u32 = 1 << 3;
    /// SYNs crossed: simultaneous open (RFC 9293, section 3.5).
    pub const CROSSED: u32 = 1 << 4;
    /// A SYN with FIN.
    pub const ODD_SYN: u32 = 1 << 5;
    /// A SYN with data (RFC 7413).
    pub const SYN_DATA: u32 = 1 << 6;
    /// A retry of the SYN came with fewer options, or without ECN.
    pub const FALLBACK: u32 = 1 << 7;
    /// An ICMP error about the client's SYN.
    pub const UNREACHABLE: u32 = 1 << 8;
    /// An ICMP error about the server's SYN/ACK.
    pub const ANSWER_UNREACHABLE: u32 = 1 << 9;
    /// A RST whose numbers its receiver ignores (RFC 9293, section 3.10.7.3).
    pub const RST_IGNORED: u32 = 1 << 10;
    /// A segment that fits neither the handshake nor the connection.
    pub const STRAY: u32 = 1 << 11;
    /// After the handshake: a FIN or a RST, by side.
    pub const CLIENT_FIN: u32 = 1 << 12;
    pub const SERVER_FIN: u32 = 1 << 13;
    pub const CLIENT_RST: u32 = 1 << 14;
    pub const SERVER_RST: u32 = 1 << 15;
    /// A failure that came to be told and was then overcome.
    pub const RECOVERING: u32 = 1 << 16;
    /// The client's SYN/ACK acknowledged the server's crossing SYN.
    pub const CLIENT_ANSWERED: u32 = 1 << 17;
    /// A side sent data: seen, or told by the number of its FIN or RST.
    pub const CLIENT_DATA: u32 = 1 << 18;
    pub const SERVER_DATA: u32 = 1 << 19;
    /// The client's RST to a challenge or a wrong answer: it goes on trying.
    pub const ANSWER_REJECTED: u32 = 1 << 20;
    /// What tells the makers of a SYN/ACK and of a RST apart: an IPv4 identification that is not 0, by packet.
    pub const ANSWER_ID: u32 = 1 << 21;
    pub const RST_ID: u32 = 1 << 22;
    /// A RST with TCP options.
    pub const RST_OPTIONS: u32 = 1 << 23;
    /// A RST/ACK to the SYN with a sequence number, where it is 0 (RFC 9293, section 3.10.7.1).
    pub const RST_SEQ: u32 = 1 << 24;

    /// Whether any of these bits is set.
    #[inline(always)]
    #[must_use]
    pub const fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// Whether both sides closed.
    #[inline(always)]
    #[must_use]
    pub const fn has_both_fins(self) -> bool {
        self.0 & (Self::CLIENT_FIN | Self::SERVER_FIN) == Self::CLIENT_FIN | Self::SERVER_FIN
    }
}

/// What a side's SYN or SYN/ACK said, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offer {
    pub window: u16,
    pub mss: u16,
    /// Which options were there: [`present`](crate::segment::Options::present).
    pub options: u8,
    pub window_scale: u8,
    pub ttl: u8,
    /// How often it was sent; 255 stands for more.
    pub tries: u8,
}

impl Offer {
    /// What a segment says.
    #[inline(always)]
    #[must_use]
    pub fn of(segment: &Segment) -> Self {
        Self {
            window: segment.window,
            mss: segment.options.mss,
            options: segment.options.present,
            window_scale: segment.options.window_scale,
            ttl: segment.ttl,
            tries: 1,
        }
    }
}

/// The segment that ended the handshake, as far as it tells who made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct End {
    pub window: u16,
    pub flags: u8,
    pub ttl: u8,
}

/// One attempt: what the table keeps of it, and what events carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handshake {
    pub client_addr: Addr,
    pub server_addr: Addr,
    pub first_syn: Nanos,
    /// The last SYN counted.
    pub last_syn: Nanos,
    /// The first SYN/ACK; zero before it.
    pub first_answer: Nanos,
    pub last_answer: Nanos,
    /// The final ACK, the RST or the first ICMP error; zero before it.
    pub ended: Nanos,
    pub client_port: u16,
    pub server_port: u16,
    pub isn: Seq,
    /// The server's, of its last SYN/ACK.
    pub server_isn: Seq,
    /// Where the client's packets are counted.
    pub client_point: Point,
    pub server_point: Point,
    pub facts: Facts,
    pub syn: Offer,
    pub answer: Offer,
    pub end: End,
    pub state: u8,
    /// The last ICMP error about the SYN: type and code, where [`Facts::UNREACHABLE`].
    pub icmp_kind: u8,
    pub icmp_code: u8,
    /// How many SYNs had been sent when the SYN/ACK came.
    pub answered_try: u8,
}

const _: () = assert!(size_of::<Handshake>() == 120 && align_of::<Handshake>() == 8);

/// Who sent a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Client,
    Server,
}

/// What a segment did to an attempt. Each is a counter; some are worth an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Transition {
    /// The first SYN.
    Opened = 0,
    /// Another SYN of the same attempt.
    SynRetried = 1,
    /// The first SYN/ACK.
    Answered = 2,
    /// Another SYN/ACK.
    AnswerRetried = 3,
    /// The final ACK.
    Completed = 4,
    /// The server's RST to the SYN.
    Refused = 5,
    /// The client's RST.
    Aborted = 6,
    /// The server's RST to the final step.
    ResetOnAnswer = 7,
    /// An ICMP error about the SYN.
    Unreachable = 8,
    /// An ACK without SYN to the SYN.
    Challenged = 9,
    /// A SYN/ACK that acknowledges something else.
    WrongAnswer = 10,
    /// A SYN with another ISN on the same addresses and ports, or of the other end once the attempt is settled: the
    /// attempt is over, the caller opens the next.
    Superseded = 11,
    /// The same packet, seen at another point of this host.
    SeenAgain = 12,
    /// Nothing but a fact, if that.
    Noted = 13,
    /// After the handshake: the second side's FIN.
    Closed = 14,
    /// After the handshake: the client's RST.
    ResetByClient = 15,
    /// The server's.
    ResetByServer = 16,
    /// Its slot goes to another: of what is open still, nothing more will be seen. No segment does this.
    Replaced = 17,
}

impl Transition {
    /// Every transition, in order of its number.
    pub const ALL: [Self; 18] = [
        Self::Opened,
        Self::SynRetried,
        Self::Answered,
        Self::AnswerRetried,
        Self::Completed,
        Self::Refused,
        Self::Aborted,
        Self::ResetOnAnswer,
        Self::Unreachable,
        Self::Challenged,
        Self::WrongAnswer,
        Self::Superseded,
        Self::SeenAgain,
        Self::Noted,
        Self::Closed,
        Self::ResetByClient,
        Self::ResetByServer,
        Self::Replaced,
    ];
}

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

    /// What stands for an attempt where a SYN/ACK came by and its SYN did not: who sent that is known by what is
    /// acknowledged.
    #[inline(always)]
    #[must_use]
    pub fn unasked(answer: &Segment, now: Nanos, at: Point) -> Self {
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
            state: State::Unasked as u8,
            ..Self::default()
        }
    }

    /// The client's address and port.
    #[must_use]
    pub const fn client(&self) -> Endpoint {
        Endpoint { addr: self.client_addr, port: self.client_port }
    }

    /// The server's.
    #[must_use]
    pub const fn server(&self) -> Endpoint {
        Endpoint { addr: self.server_addr, port: self.server_port }
    }

    /// The state; a number that is none reads as [`State::Free`].
    #[inline(always)]
    #[must_use]
    pub const fn state(&self) -> State {
        match self.state {
            1 => State::SynSent,
            2 => State::Answered,
            3 => State::Established,
            4 => State::Refused,
            5 => State::Aborted,
            6 => State::ResetOnAnswer,
            7 => State::Unasked,
            _ => State::Free,
        }
    }

    /// Which side of this attempt sends from `src` to `dst`; `None` if neither.
    #[inline(always)]
    #[must_use]
    pub fn side(&self, src: Endpoint, dst: Endpoint) -> Option<Side> {
        if self.client_addr == src.addr
            && self.server_addr == dst.addr
            && self.client_port == src.port
            && self.server_port == dst.port
        {
            Some(Side::Client)
        } else if self.server_addr == src.addr
            && self.client_addr == dst.addr
            && self.server_port == src.port
            && self.client_port == dst.port
        {
            Some(Side::Server)
        } else {
            None
        }
    }

    /// Nanoseconds from the SYN that was answered to its SYN/ACK; `None` where that SYN's time was not kept (a later
    /// one took its place) or there was no SYN/ACK.
    #[inline(always)]
    #[must_use]
    pub fn syn_to_answer(&self) -> Option<u64> {
        let asked = match self.answered_try {
            0 => return None,
            it if it == self.syn.tries => self.last_syn,
            1 => self.first_syn,
            _ => return None,
        };
        Some(self.first_answer.since(asked))
    }

    /// Nanoseconds from the last SYN/ACK to the final ACK.
    #[inline(always)]
    #[must_use]
    pub fn answer_to_ack(&self) -> Option<u64> {
        let done = self.state() == State::Established && self.answer.tries > 0 && self.ended >= self.last_answer;
        done.then(|| self.ended.since(self.last_answer))
    }

    /// Whether it has been silent for longer than a living attempt can be.
    #[inline(always)]
    #[must_use]
    pub fn is_dead(&self, now: Nanos) -> bool {
        now.since(self.last_seen()) > LONGEST_SILENCE
    }

    /// The last sign of progress or of trying.
    #[inline(always)]
    #[must_use]
    pub fn last_seen(&self) -> Nanos {
        self.last_syn.max(self.last_answer).max(self.ended)
    }

    /// What a segment of `side` does to this attempt.
    #[inline(always)]
    pub fn step(&mut self, side: Side, it: &Segment, now: Nanos, at: Point) -> Transition {
        match (self.state(), side, it.flags.kind()) {
            // A slot without an attempt is opened by its caller.
            (State::Free, ..) => Transition::Noted,

            // Half of a handshake is no attempt. Who goes on shows that the other half went another way: a connection
            // seen from its middle, which is none of ours.
            (State::Unasked, _, Kind::Ack | Kind::Fin) => {
                self.state = State::Free as u8;
                Transition::Noted
            }
            (State::Unasked, Side::Server, Kind::SynAck) => self.answered_again(it, now, at),
            (State::Unasked, Side::Client, Kind::Rst) => self.note(Facts::CLIENT_RST),
            (State::Unasked, Side::Server, Kind::Rst) => self.note(Facts::SERVER_RST),
            (State::Unasked, Side::Client, Kind::Syn) if it.seq == self.isn => self.asked_after_all(it, now, at),

            // The client tries again, or tries anew (RFC 9293, section 3.8.1).
            (_, Side::Client, Kind::Syn) if it.seq == self.isn => self.syn_again(it, now, at),
            (_, Side::Client, Kind::Syn) => Transition::Superseded,

            // Both opened at once: the connection that results is one, whoever is called client. A SYN of the other end
            // that is not the crossing one opens the next attempt, the other way, once this one is over.
            (State::SynSent, Side::Server, Kind::Syn) if !self.facts.any(Facts::CROSSED) => {
                self.server_isn = it.seq;
                self.note(Facts::CROSSED)
            }
            (_, Side::Server, Kind::Syn)
                if it.seq == self.server_isn && (self.answer.tries > 0 || self.facts.any(Facts::CROSSED)) =>
            {
                self.note(Facts::CROSSED)
            }
            (_, Side::Server, Kind::Syn) => Transition::Superseded,
            (State::SynSent, Side::Client, Kind::SynAck)
                if self.facts.any(Facts::CROSSED) && it.ack == self.server_isn.add(1) =>
            {
                self.note(Facts::CLIENT_ANSWERED)
            }
            (State::Answered, Side::Client, Kind::SynAck) if self.acknowledges_answer(it) => {
                self.facts.0 |= Facts::CROSSED;
                self.completed(side, it, now)
            }
            (_, Side::Client, Kind::SynAck) => self.note(Facts::CROSSED),

            // The answer: acceptable if it acknowledges the SYN, here the SYN and nothing or some data beyond it.
            (State::SynSent | State::Refused, Side::Server, Kind::SynAck) if self.acknowledges_syn(it) => {
                self.answered(it, now, at)
            }
            (State::SynSent, Side::Server, Kind::SynAck) => {
                if self.facts.any(Facts::WRONG_ANSWER) {
                    return Transition::Noted;
                }
                self.facts.0 |= Facts::WRONG_ANSWER;
                Transition::WrongAnswer
            }
            (State::Answered | State::Established, Side::Server, Kind::SynAck) if self.acknowledges_syn(it) => {
                self.answered_again(it, now, at)
            }
            (_, Side::Server, Kind::SynAck) => self.note(Facts::STRAY),

            // The final ACK; a FIN or data carries it as well, and either may have been lost here and not there.
            (State::Answered, Side::Client, Kind::Ack | Kind::Fin) if self.acknowledges_answer(it) => {
                self.completed(side, it, now)
            }
            // The client goes on although no SYN/ACK came by: it came another way.
            (State::SynSent, Side::Client, Kind::Ack | Kind::Fin)
                if it.flags.any(Flags::ACK) && it.seq.within(self.isn.add(1), FIRST_FLIGHT) =>
            {
                self.facts.0 |= Facts::ANSWER_UNSEEN;
                self.completed(side, it, now)
            }
            // So does the server, whose SYN crossed and was acknowledged.
            (State::SynSent, Side::Server, Kind::Ack | Kind::Fin)
                if self.facts.any(Facts::CLIENT_ANSWERED) && self.acknowledges_syn(it) =>
            {
                self.facts.0 |= Facts::ANSWER_UNSEEN;
                self.completed(side, it, now)
            }

            // A challenge: the server knows these addresses and ports from an older connection. The client's RST that
            // follows ends that one, and this one is tried again (RFC 9293, section 3.5.1, figure 9).
            (State::SynSent, Side::Server, Kind::Ack | Kind::Fin) => {
                if self.facts.any(Facts::CHALLENGED) {
                    return Transition::Noted;
                }
                self.facts.0 |= Facts::CHALLENGED;
                Transition::Challenged
            }
            (State::SynSent, Side::Client, Kind::Rst) if self.facts.any(Facts::CHALLENGED | Facts::WRONG_ANSWER) => {
                self.note(Facts::ANSWER_REJECTED)
            }

            // RST in SYN-SENT is obeyed if it acknowledges the SYN. Without an ACK the receiver ignores it, but who
            // sent it meant to refuse.
            (State::SynSent, Side::Server, Kind::Rst) if !it.flags.any(Flags::ACK) || self.acknowledges_syn(it) => {
                let numbered = it.flags.any(Flags::ACK) && it.seq != Seq(0);
                self.facts.0 |= if numbered { Facts::RST_SEQ } else { 0 };
                self.ended_by(it, now, State::Refused, Transition::Refused)
            }
            // RST in SYN-RECEIVED is obeyed if its number is in the window: the next one that its receiver expects.
            (State::Answered, Side::Server, Kind::Rst) if self.fits_server(it) => {
                self.ended_by(it, now, State::ResetOnAnswer, Transition::ResetOnAnswer)
            }
            (State::SynSent | State::Answered, Side::Client, Kind::Rst) if self.fits_client(it) => {
                self.ended_by(it, now, State::Aborted, Transition::Aborted)
            }
            (State::SynSent | State::Answered, _, Kind::Rst) => self.note(Facts::RST_IGNORED),

            // After the handshake: who closes, who resets.
            (State::Established, Side::Client, Kind::Fin) => self.closes(side, it, Facts::CLIENT_FIN),
            (State::Established, Side::Server, Kind::Fin) => self.closes(side, it, Facts::SERVER_FIN),
            (State::Established, Side::Client, Kind::Rst) => self.closes(side, it, Facts::CLIENT_RST),
            (State::Established, Side::Server, Kind::Rst) => self.closes(side, it, Facts::SERVER_RST),
            (State::Established, _, Kind::Ack) => self.note(sent_data(side, it.payload > 0)),

            // Data or an ACK of the server before the final ACK: Fast Open (RFC 7413), or the final ACK is late.
            (State::Answered, Side::Server, Kind::Ack) => Transition::Noted,
            (State::Answered, Side::Server, Kind::Fin) => self.note(Facts::SERVER_FIN),
            (State::SynSent | State::Answered, Side::Client, Kind::Ack | Kind::Fin) => self.note(Facts::STRAY),
            (_, _, Kind::Null) => self.note(Facts::STRAY),

            // It is over, and this is the echo.
            (State::Refused | State::Aborted | State::ResetOnAnswer, _, Kind::Ack | Kind::Fin | Kind::Rst) => {
                Transition::Noted
            }
        }
    }

    /// What an ICMP error that quotes a segment of `side` does to this attempt. It must quote the SYN or SYN/ACK
    /// itself: numbers of another connection make it none of ours (RFC 5927, section 4.1).
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

    /// The ICMP error about the SYN, if there was one.
    #[must_use]
    pub const fn unreachable(&self) -> Option<Icmp> {
        if !self.facts.any(Facts::UNREACHABLE) {
            return None;
        }
        Some(Icmp { v6: !self.server_addr.is_v4(), kind: self.icmp_kind, code: self.icmp_code })
    }

    #[inline(always)]
    fn note(&mut self, fact: u32) -> Transition {
        self.facts.0 |= fact;
        Transition::Noted
    }

    #[inline(always)]
    fn syn_again(&mut self, it: &Segment, now: Nanos, at: Point) -> Transition {
        if same_packet(self.client_point, self.last_syn, now, at) {
            return Transition::SeenAgain;
        }
        if self.syn.options & !it.options.present & !Options::MALFORMED != 0 {
            self.facts.0 |= Facts::FALLBACK;
        }
        self.syn.tries = self.syn.tries.saturating_add(1);
        self.last_syn = now;
        self.client_point = at;
        Transition::SynRetried
    }

    /// The SYN that was answered before it came by here: a mirror port, or two CPUs, mixed up their order.
    #[inline(always)]
    fn asked_after_all(&mut self, syn: &Segment, now: Nanos, at: Point) -> Transition {
        self.facts.0 |= odd(syn);
        self.syn = Offer::of(syn);
        self.client_point = at;
        self.answered_try = 1;
        self.state = State::Answered as u8;
        for time in [&mut self.first_syn, &mut self.last_syn, &mut self.first_answer, &mut self.last_answer] {
            *time = now;
        }
        Transition::Opened
    }

    #[inline(always)]
    fn answered(&mut self, it: &Segment, now: Nanos, at: Point) -> Transition {
        let refused = self.state() == State::Refused;
        let acknowledged = !refused && self.facts.any(Facts::CLIENT_ANSWERED) && it.seq == self.server_isn;
        if refused {
            self.facts.0 |= Facts::RECOVERING;
            self.end = End::default();
        }
        // Neither a RST nor an ICMP error was its end.
        self.ended = Nanos(0);
        self.answer = Offer::of(it);
        self.facts.0 |= answer_marks(it);
        self.answered_try = self.syn.tries;
        self.server_isn = it.seq;
        self.server_point = at;
        self.first_answer = now;
        self.last_answer = now;
        self.state = State::Answered as u8;
        if acknowledged { self.completed(Side::Server, it, now) } else { Transition::Answered }
    }

    #[inline(always)]
    fn answered_again(&mut self, it: &Segment, now: Nanos, at: Point) -> Transition {
        if it.seq == self.server_isn && same_packet(self.server_point, self.last_answer, now, at) {
            return Transition::SeenAgain;
        }
        let mut transition = Transition::AnswerRetried;
        if self.answer.tries == 0 {
            // The first that is seen here, of a handshake whose answer came another way.
            self.answer = Offer { tries: 0, ..Offer::of(it) };
            self.facts.0 |= answer_marks(it);
            self.first_answer = now;
            transition = Transition::Answered;
        } else if it.seq != self.server_isn {
            self.facts.0 |= Facts::TWO_ANSWERS;
        }
        self.server_isn = it.seq;
        self.answer.tries = self.answer.tries.saturating_add(1);
        self.last_answer = now;
        self.server_point = at;
        transition
    }

    #[inline(always)]
    fn completed(&mut self, side: Side, it: &Segment, now: Nanos) -> Transition {
        if it.flags.kind() == Kind::Fin {
            self.facts.0 |= match side {
                Side::Client => Facts::CLIENT_FIN,
                Side::Server => Facts::SERVER_FIN,
            };
        }
        self.facts.0 |= sent_data(side, it.payload > 0);
        self.ended_by(it, now, State::Established, Transition::Completed)
    }

    /// A FIN or a RST of an established connection. What its side sent and received before shows in its numbers; what
    /// comes after a RST is an echo.
    #[inline(always)]
    fn closes(&mut self, side: Side, it: &Segment, fact: u32) -> Transition {
        if self.facts.any(Facts::CLIENT_RST | Facts::SERVER_RST) {
            return Transition::Noted;
        }
        let before = self.facts;
        let (own, peer, own_fin, peer_fin, peer_side) = match side {
            Side::Client => (self.isn, self.server_isn, Facts::CLIENT_FIN, Facts::SERVER_FIN, Side::Server),
            Side::Server => (self.server_isn, self.isn, Facts::SERVER_FIN, Facts::CLIENT_FIN, Side::Client),
        };
        // A number that was never seen proves nothing.
        let answered = self.answer.tries > 0;
        let own_known = side == Side::Client || answered;
        let peer_known = side == Side::Server || answered;
        // SYN and FIN take a number each.
        let first = |isn: Seq, fin: u32| isn.add(1 + self.facts.any(fin) as u32);
        let data = |number: Seq, first: Seq| number != first && number.within(first, 1 << 31);
        self.facts.0 |= fact
            | rst_marks(it)
            | sent_data(side, it.payload > 0 || own_known && data(it.seq, first(own, own_fin)))
            | sent_data(peer_side, peer_known && it.flags.any(Flags::ACK) && data(it.ack, first(peer, peer_fin)));
        match (before.has_both_fins(), self.facts.has_both_fins(), side) {
            (true, ..) => Transition::Noted,
            (false, true, _) => Transition::Closed,
            _ if fact == own_fin => Transition::Noted,
            (false, false, Side::Client) => Transition::ResetByClient,
            (false, false, Side::Server) => Transition::ResetByServer,
        }
    }

    #[inline(always)]
    fn ended_by(&mut self, it: &Segment, now: Nanos, state: State, transition: Transition) -> Transition {
        self.facts.0 |= rst_marks(it);
        self.state = state as u8;
        self.ended = now;
        self.end = End { window: it.window, flags: it.flags.0, ttl: it.ttl };
        transition
    }

    /// SYN-SENT accepts an ACK of the SYN, and of data that went with it (RFC 7413, section 4.2.2).
    #[inline(always)]
    fn acknowledges_syn(&self, it: &Segment) -> bool {
        let data = if self.facts.any(Facts::SYN_DATA) { u16::MAX as u32 } else { 0 };
        it.flags.any(Flags::ACK) && it.ack.within(self.isn.add(1), data + 1)
    }

    /// SYN-RECEIVED accepts an ACK of its SYN/ACK; a later number acknowledges data that followed.
    #[inline(always)]
    fn acknowledges_answer(&self, it: &Segment) -> bool {
        it.flags.any(Flags::ACK)
            && (it.ack.within(self.server_isn.add(1), FIRST_FLIGHT) || self.facts.any(Facts::TWO_ANSWERS))
    }

    #[inline(always)]
    fn fits_server(&self, it: &Segment) -> bool {
        self.acknowledges_syn(it) || it.seq.within(self.server_isn, FIRST_FLIGHT)
    }

    #[inline(always)]
    fn fits_client(&self, it: &Segment) -> bool {
        it.seq.within(self.isn, FIRST_FLIGHT)
    }
}

/// What is odd about a SYN.
#[inline(always)]
fn odd(syn: &Segment) -> u32 {
    let data = if syn.payload > 0 { Facts::SYN_DATA } else { 0 };
    data | if syn.flags.any(Flags::FIN) { Facts::ODD_SYN } else { 0 }
}

/// What a SYN/ACK shows of who made it.
#[inline(always)]
const fn answer_marks(answer: &Segment) -> u32 {
    if answer.has_id { Facts::ANSWER_ID } else { 0 }
}

/// What a RST does; nothing of any other segment.
#[inline(always)]
const fn rst_marks(it: &Segment) -> u32 {
    let id = if it.has_id { Facts::RST_ID } else { 0 };
    let options = if it.has_options { Facts::RST_OPTIONS } else { 0 };
    if it.flags.any(Flags::RST) { id | options } else { 0 }
}

/// The fact that a side sent data, if it did.
#[inline(always)]
const fn sent_data(side: Side, sent: bool) -> u32 {
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
