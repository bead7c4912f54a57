//! The record of an attempt: states, facts, times, and what each side offered.

use crate::{
    flow::{Addr, Endpoint},
    segment::{Icmp, Segment},
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

/// The place where a packet was seen: interface index and direction. Zero is nowhere.
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

/// No stack is silent for longer between two tries: Linux waits 64 s, others less. An attempt that stays pending for
/// longer has been abandoned.
pub(crate) const LONGEST_SILENCE: u64 = 180_000_000_000;

/// The progress of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// A slot that holds no attempt.
    #[default]
    Free = 0,
    /// SYN, nothing yet that settles it.
    SynSent = 1,
    /// SYN, SYN/ACK.
    SynReceived = 2,
    /// The three-way handshake is done.
    Established = 3,
    /// The server's RST before a SYN/ACK.
    Refused = 4,
    /// The client's RST before the final ACK.
    Aborted = 5,
    /// The server's RST after its SYN/ACK and before the final ACK.
    ResetOnAnswer = 6,
    /// A SYN/ACK whose SYN was not seen yet, or never will be.
    Unsolicited = 7,
}

impl State {
    /// Every state, in order of its number.
    pub const ALL: [Self; 8] = [
        Self::Free,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::Refused,
        Self::Aborted,
        Self::ResetOnAnswer,
        Self::Unsolicited,
    ];

    /// Whether a bare ACK can still change it: what the fast path asks.
    #[inline(always)]
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived | Self::Unsolicited)
    }
}

/// Events besides the states: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Facts(pub u32);

impl Facts {
    /// The handshake completed and its SYN/ACK was not seen: asymmetric path, or an XDP program that answers by XDP_TX.
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
    /// A failure that was due to be reported and was then overcome.
    pub const RECOVERING: u32 = 1 << 16;
    /// The client's SYN/ACK acknowledged the server's crossing SYN.
    pub const CLIENT_ANSWERED: u32 = 1 << 17;
    /// A side sent data: seen itself, or shown by the number of its FIN or RST.
    pub const CLIENT_DATA: u32 = 1 << 18;
    pub const SERVER_DATA: u32 = 1 << 19;
    /// The client's RST to a challenge or a wrong answer: it continues to try.
    pub const ANSWER_REJECTED: u32 = 1 << 20;
    /// The mark that tells the makers of a SYN/ACK and of a RST apart: an IPv4 identification that is not 0, by packet.
    pub const ANSWER_ID: u32 = 1 << 21;
    pub const RST_ID: u32 = 1 << 22;
    /// A RST with TCP options.
    pub const RST_OPTIONS: u32 = 1 << 23;
    /// A RST/ACK to the SYN with a sequence number, where it is 0 (RFC 9293, section 3.10.7.1).
    pub const RST_SEQ: u32 = 1 << 24;
    /// An ACK of the client that does not acknowledge the SYN/ACK: its receiver ignores it or resets (RFC 9293, section
    /// 3.10.7.4).
    pub const ACK_IGNORED: u32 = 1 << 25;
    /// The options that the first fallback left out. None, once that SYN had to be sent again.
    pub const WITHOUT_TIMESTAMPS: u32 = 1 << 26;
    pub const WITHOUT_FAST_OPEN: u32 = 1 << 27;
    pub const WITHOUT_MPTCP: u32 = 1 << 28;
    pub const WITHOUT_ECN: u32 = 1 << 29;
    /// All of these.
    pub const WITHOUT: u32 =
        Self::WITHOUT_TIMESTAMPS | Self::WITHOUT_FAST_OPEN | Self::WITHOUT_MPTCP | Self::WITHOUT_ECN;
    /// A capture has packets of it in another order than they were sent in. Only a reader of captures notes it.
    pub const OUT_OF_ORDER: u32 = 1 << 30;
    /// The server acknowledged data of the client, or its FIN: it has the final ACK.
    pub const DATA_ACKED: u32 = 1 << 31;

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

/// The contents of a side's SYN or SYN/ACK, and how often it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offer {
    pub window: u16,
    pub mss: u16,
    /// Which options were there: [`present`](crate::segment::Options::present).
    pub options: u8,
    pub window_scale: u8,
    pub ttl: u8,
    /// The number of times that it was sent; 255 stands for more.
    pub tries: u8,
}

impl Offer {
    /// The contents of a segment.
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

/// The segment that ended the handshake, as far as it shows who made it.
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
    /// The final ACK, the RST or the first ICMP error; in SYN-SENT also the last RST that the client ignores. Zero before
    /// it.
    pub ended: Nanos,
    pub client_port: u16,
    pub server_port: u16,
    pub isn: Seq,
    /// The server's, of its last SYN/ACK.
    pub server_isn: Seq,
    /// The point at which the client's packets are counted.
    pub client_point: Point,
    pub server_point: Point,
    pub facts: Facts,
    pub syn: Offer,
    pub answer: Offer,
    pub end: End,
    pub state: u8,
    /// The last ICMP error about the SYN: type and code, where [`Facts::UNREACHABLE`]. Until then the code is the number
    /// of RSTs that the client ignored: no byte is free, and few attempts get both.
    pub icmp_kind: u8,
    pub icmp_code: u8,
    /// The number of SYNs sent when the SYN/ACK came.
    pub answered_try: u8,
}

const _: () = assert!(size_of::<Handshake>() == 120 && align_of::<Handshake>() == 8);

/// The sender of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Client,
    Server,
}

/// The effect of a segment on an attempt. Each is a counter; some are worth an event.
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
    /// Its slot goes to another: if it is still open, no more of it will be seen. No segment does this.
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
            2 => State::SynReceived,
            3 => State::Established,
            4 => State::Refused,
            5 => State::Aborted,
            6 => State::ResetOnAnswer,
            7 => State::Unsolicited,
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
            tries if tries == self.syn.tries => self.last_syn,
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

    /// RSTs to the SYN that its sender ignored, 255 for more; 0 if that is not known.
    #[must_use]
    pub const fn ignored_resets(&self) -> u8 {
        let is_known = self.facts.any(Facts::RST_IGNORED) && !self.facts.any(Facts::UNREACHABLE);
        if is_known { self.icmp_code } else { 0 }
    }

    /// The ICMP error about the SYN, if there was one.
    #[must_use]
    pub const fn unreachable(&self) -> Option<Icmp> {
        if !self.facts.any(Facts::UNREACHABLE) {
            return None;
        }
        Some(Icmp { v6: !self.server_addr.is_v4(), kind: self.icmp_kind, code: self.icmp_code })
    }
}
