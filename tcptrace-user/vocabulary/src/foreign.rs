//! Two foreign vocabularies, so that people can join tcptrace's lines with data they have: Zeek's connection state and
//! history, and Wireshark's conversation completeness. They are computed and printed; neither decides an outcome.
//!
//! Both follow one conversation from its first packet, with or without a handshake in it. The rules are those of Zeek's
//! `TCPSessionAdapter.cc` and `conn/main.zeek`, and of Wireshark's `packet-tcp.c`, restated; where a rule surprises,
//! the comment says so.

use tcptrace_core::{
    segment::{Flags, Segment},
    seq::Seq,
};

/// The sender of a packet, by who sent the first packet of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The sender of the first packet.
    First = 0,
    /// The other end.
    Other = 1,
}

/// The part of a packet that both vocabularies read.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// The flags.
    pub flags: Flags,
    /// The sequence number.
    pub seq: Seq,
    /// The acknowledgement number, whether or not the ACK flag is set.
    pub ack: Seq,
    /// Bytes of payload.
    pub payload: u16,
    /// The part of it that Wireshark reads.
    pub dissection: Dissection,
}

/// The part of a segment that Wireshark reads, which depends on its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dissection {
    #[default]
    /// The header and the length of the payload.
    Known,
    /// A fragment, a quotation, or less than its own header: it has no payload, and no numbers are counted from it.
    Unknown,
    /// The header gives its own length as less than 20 bytes: the packet counts, its flags do not.
    NoHeader,
    /// Both of these.
    Nothing,
    /// A fragment that Wireshark does not show by itself: no packet of the conversation.
    Hidden,
}

impl From<&Segment> for Glance {
    fn from(segment: &Segment) -> Self {
        let Segment { flags, seq, ack, payload, .. } = *segment;
        Self { flags, seq, ack, payload, dissection: Dissection::Known }
    }
}

impl Glance {
    fn has_flags(&self) -> bool {
        matches!(self.dissection, Dissection::Known | Dissection::Unknown)
    }

    fn has_payload(&self) -> bool {
        self.dissection == Dissection::Known && self.payload > 0
    }
}

/// Wireshark's `tcp.completeness`, as `tshark -2` prints it for the conversation's last packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wireshark {
    /// The number that each side's relative ones are counted from.
    base: [Seq; 2],
    /// By side: whether there is one.
    based: [bool; 2],
    bits: u8,
    /// The bits that the first packet would have set as a later one: the second pass takes it for one.
    first: u8,
    packets: Packets,
}

/// The number of packets, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Packets {
    #[default]
    None,
    One,
    More,
}

impl Wireshark {
    /// A SYN.
    pub const SYN: u8 = 1;
    /// A SYN/ACK.
    pub const SYN_ACK: u8 = 2;
    /// An ACK without payload.
    pub const ACK: u8 = 4;
    /// A segment with payload.
    pub const DATA: u8 = 8;
    /// A FIN.
    pub const FIN: u8 = 16;
    /// A RST.
    pub const RST: u8 = 32;

    /// Whether this packet begins another conversation on the same addresses and ports: a pure SYN with a number that
    /// is not its side's base.
    #[must_use]
    pub fn is_another(&self, from: Sender, glance: &Glance) -> bool {
        let pure = glance.flags.0 & (Flags::SYN | Flags::ACK) == Flags::SYN;
        pure && self.based[from as usize] && self.base[from as usize] != glance.seq
    }

    /// Follows a packet of this conversation.
    pub fn see(&mut self, from: Sender, glance: &Glance) {
        if glance.dissection == Dissection::Hidden {
            return;
        }
        let (own, peer) = (from as usize, 1 - from as usize);
        // Without its SYN a side's numbers are counted from the one before the first seen.
        let (syn, ack) = (glance.flags.any(Flags::SYN), glance.flags.any(Flags::ACK));
        let counts = matches!(glance.dissection, Dissection::Known | Dissection::NoHeader);
        if syn && ack && self.based[own] {
            self.base[own] = glance.seq;
        }
        if counts && !self.based[own] {
            self.base[own] = if syn { glance.seq } else { glance.seq.add(u32::MAX) };
            self.based[own] = true;
        }
        if counts && ack && !self.based[peer] {
            self.base[peer] = glance.ack.add(u32::MAX);
            self.based[peer] = true;
        }
        let later = Self::later(glance);
        match self.packets {
            Packets::None => {
                if syn && !ack && glance.has_flags() {
                    self.bits = Self::SYN | if glance.has_payload() { Self::DATA } else { 0 };
                }
                self.first = later;
                self.packets = Packets::One;
            }
            Packets::One | Packets::More => {
                self.bits |= later;
                self.packets = Packets::More;
            }
        }
    }

    /// The conversation that a SYN with another number begins: known by that alone to have its SYN, and no first
    /// packet.
    #[must_use]
    pub fn reused() -> Self {
        Self { bits: Self::SYN, packets: Packets::More, ..Self::default() }
    }

    /// A conversation that was known before its first packet.
    #[must_use]
    pub fn announced() -> Self {
        Self { packets: Packets::More, ..Self::default() }
    }

    fn later(glance: &Glance) -> u8 {
        if !glance.has_flags() {
            return 0;
        }
        let has = |bits: u8| glance.flags.0 & bits == bits;
        let mut set = 0;
        if has(Flags::SYN | Flags::ACK) {
            set |= Self::SYN_ACK;
        } else if has(Flags::ACK) {
            set |= if glance.has_payload() { Self::DATA } else { Self::ACK };
        }
        if has(Flags::FIN | Flags::ACK) {
            set |= Self::FIN;
        }
        if has(Flags::RST) {
            set |= Self::RST;
        }
        set
    }

    /// The value: the sum of the bits.
    #[must_use]
    pub fn completeness(&self) -> u8 {
        match self.packets {
            Packets::None | Packets::One => self.bits,
            Packets::More => self.bits | self.first,
        }
    }
}

/// A side's state, as Zeek has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Inactive,
    SynSent,
    SynAckSent,
    Established,
    /// Seen only from the middle.
    Partial,
    Closed,
    Reset,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Side {
    state: State,
    before: State,
    /// The base of relative numbers.
    start: Seq,
    /// Kinds of packet in the history, and the relative number of the last SYN, FIN and RST.
    seen: u8,
    last: [u32; 3],
    data: bool,
}

// Every conversation that is followed has one of each.
const _: () = assert!(size_of::<Zeek>() <= 64 && size_of::<Wireshark>() <= 16);

impl Side {
    fn becomes(&mut self, state: State) {
        if self.state != state {
            self.before = self.state;
            self.state = state;
        }
    }

    const fn is_inactive(&self) -> bool {
        matches!(self.state, State::Inactive | State::Partial)
    }
}

/// The most letters of a history: hosts that keep resetting would let it grow without end.
const LETTERS: usize = 40;

/// The letters there are, the originator's; the other side's are small.
const ALPHABET: &[u8; 8] = b"SHADFRIQ";
/// The bit in a letter's number that marks the other side's.
const SMALL: u8 = 8;

/// Zeek's `conn_state` and `history`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zeek {
    /// By [`Sender`].
    sides: [Side; 2],
    /// Index of the originator. It is the other one where both were found to have changed places, which the history
    /// begins with (`^`) and the letters do not.
    originator: u8,
    length: u8,
    /// Numbers of four bits, the first in a lower half: a table of conversations is mostly these.
    letters: [u8; LETTERS / 2],
}

/// A history's letters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct History {
    letters: [u8; LETTERS],
    length: usize,
}

impl core::ops::Deref for History {
    type Target = str;

    fn deref(&self) -> &str {
        core::str::from_utf8(&self.letters[..self.length]).unwrap_or_default()
    }
}

impl core::fmt::Debug for History {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self)
    }
}

impl Zeek {
    /// Follows a packet.
    pub fn see(&mut self, from: Sender, glance: &Glance) {
        let own = from as usize;
        self.flip_if_answer_came_first(own, glance);
        self.start(own, glance);
        self.note(own, glance);
        let peer = 1 - own;
        if glance.flags.any(Flags::ACK) && self.sides[peer].state == State::Inactive {
            self.sides[peer].start = glance.ack.add(u32::MAX);
        }
        self.step(own, glance);
        self.sides[own].data |= glance.payload > 0 && !glance.flags.any(Flags::RST);
    }

    /// If a conversation begins with a SYN/ACK and its receiver continues, the receiver is the originator.
    fn flip_if_answer_came_first(&mut self, own: usize, glance: &Glance) {
        let goes_on = !glance.flags.any(Flags::SYN | Flags::FIN | Flags::RST) && glance.flags.any(Flags::ACK);
        if goes_on && own != self.originator() as usize && self.length == 1 && self.letter_at(0) == b'H' {
            self.originator = own as u8;
            let sides = &mut self.sides;
            if sides[1 - own].state == State::SynAckSent {
                sides[1 - own].becomes(State::Established);
            }
            self.letters[0] |= SMALL;
        }
    }

    /// Sets the number that relative numbers are counted from.
    fn start(&mut self, own: usize, glance: &Glance) {
        let side = &mut self.sides[own];
        let syn = glance.flags.any(Flags::SYN);
        let anew = match side.state {
            State::Inactive => true,
            State::SynSent | State::SynAckSent | State::Established | State::Partial => syn,
            State::Reset => syn && side.before == State::Inactive,
            State::Closed => false,
        };
        if anew {
            side.start = if syn { glance.seq } else { glance.seq.add(u32::MAX) };
        }
    }

    fn note(&mut self, own: usize, glance: &Glance) {
        let relative = glance.seq.0.wrapping_sub(self.sides[own].start.0);
        let has = |bits| glance.flags.any(bits);
        let (fin, syn, rst) = (has(Flags::FIN), has(Flags::SYN), has(Flags::RST));
        match (syn, fin, rst) {
            (_, true, true) => self.once(own, 0, b'I'),
            (true, true, false) | (true, false, true) => self.once(own, 1, b'Q'),
            // SYN and SYN/ACK are one kind of packet: of a side that sends both the second is noted by its number.
            (true, false, false) => self.again(own, 0, if has(Flags::ACK) { b'H' } else { b'S' }, relative),
            // A FIN's number is that of its end.
            (false, true, false) => self.again(own, 1, b'F', relative.wrapping_add(glance.payload.into())),
            (false, false, true) => self.again(own, 2, b'R', relative),
            (false, false, false) if glance.payload > 0 => self.once(own, 2, b'D'),
            (false, false, false) if has(Flags::ACK) => self.once(own, 3, b'A'),
            (false, false, false) => {}
        }
    }

    fn once(&mut self, own: usize, kind: u8, letter: u8) {
        if self.sides[own].seen & 1 << kind == 0 {
            self.sides[own].seen |= 1 << kind;
            self.letter(own, letter);
        }
    }

    fn again(&mut self, own: usize, kind: usize, letter: u8, number: u32) {
        let bit = 1 << (kind + 4);
        let side = &mut self.sides[own];
        let new = side.seen & bit == 0 || side.last[kind] != number;
        side.seen |= bit;
        side.last[kind] = number;
        if new {
            self.letter(own, letter);
        }
    }

    fn letter(&mut self, own: usize, letter: u8) {
        if self.length + self.originator < LETTERS as u8 {
            let number = ALPHABET.iter().position(|it| *it == letter).unwrap_or_default() as u8;
            let number = if own == usize::from(self.originator) { number } else { number | SMALL };
            self.letters[usize::from(self.length / 2)] |= number << (self.length % 2 * 4);
            self.length += 1;
        }
    }

    fn letter_at(&self, at: u8) -> u8 {
        let number = self.letters[usize::from(at / 2)] >> (at % 2 * 4);
        let letter = ALPHABET[usize::from(number % SMALL)];
        if number & SMALL == 0 { letter } else { letter.to_ascii_lowercase() }
    }

    fn letters(&self) -> impl Iterator<Item = u8> {
        (0..self.length).map(|at| self.letter_at(at))
    }

    /// Whether a bare ACK, with data or without, changes nothing that an equal one before it has not changed. Numbers
    /// are still taken from one while a side is not known to be there.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.sides.iter().all(|side| side.state != State::Inactive)
    }

    fn step(&mut self, own: usize, glance: &Glance) {
        let has = |bits| glance.flags.any(bits);
        let peer = 1 - own;
        match self.sides[own].state {
            State::Inactive => self.step_inactive(own, glance),
            State::SynSent | State::SynAckSent => {
                if has(Flags::FIN) {
                    self.sides[own].becomes(State::Closed);
                }
                if has(Flags::RST) {
                    self.sides[own].becomes(State::Reset);
                }
            }
            State::Established | State::Partial => {
                let syn_after_all = has(Flags::SYN)
                    && !has(Flags::ACK)
                    && self.sides[own].state == State::Partial
                    && self.sides[peer].state == State::Inactive;
                if syn_after_all {
                    self.sides[own].becomes(State::SynSent);
                }
                if has(Flags::FIN) && !has(Flags::RST) {
                    self.sides[own].becomes(State::Closed);
                    // A FIN and a RST, then the peer's FIN: an ordinary end.
                    if self.sides[peer].state == State::Reset && self.sides[peer].before == State::Closed {
                        self.sides[peer].becomes(State::Closed);
                    }
                }
                if has(Flags::RST) {
                    self.sides[own].becomes(State::Reset);
                }
            }
            State::Closed if has(Flags::RST) && self.sides[peer].state != State::Closed => {
                self.sides[own].becomes(State::Reset);
            }
            State::Closed | State::Reset => {}
        }
    }

    fn step_inactive(&mut self, own: usize, glance: &Glance) {
        let has = |bits| glance.flags.any(bits);
        let peer = 1 - own;
        if has(Flags::SYN) {
            if own == usize::from(self.originator) {
                self.sides[own].becomes(if has(Flags::ACK) { State::SynAckSent } else { State::SynSent });
            } else {
                if self.sides[peer].state == State::SynSent {
                    self.sides[peer].becomes(State::Established);
                }
                self.sides[own].becomes(State::Established);
            }
        }
        if has(Flags::FIN) {
            self.sides[own].becomes(State::Closed);
        }
        if has(Flags::RST) {
            self.sides[own].becomes(State::Reset);
        }
        if self.sides[own].state == State::Inactive {
            let early =
                own != usize::from(self.originator) && glance.payload == 0 && self.sides[peer].state == State::SynSent;
            if early {
                // Some hosts acknowledge a SYN before they answer glance.
            } else if has(Flags::ACK) && self.sides[peer].state == State::Established {
                self.sides[own].becomes(State::Established);
            } else {
                self.sides[own].becomes(State::Partial);
            }
        }
    }

    /// Zeek's `history`.
    #[must_use]
    pub fn history(&self) -> History {
        let mut history = History { letters: [0; LETTERS], length: 0 };
        let changed_places = (self.originator != 0).then_some(b'^');
        for (to, letter) in history.letters.iter_mut().zip(changed_places.into_iter().chain(self.letters())) {
            *to = letter;
            history.length += 1;
        }
        history
    }

    /// Whether either side sent data, a FIN, or an ACK without SYN.
    #[must_use]
    pub fn went_on(&self) -> bool {
        self.letters().any(|letter| b"ADF".contains(&letter.to_ascii_uppercase()))
    }

    /// The side that Zeek takes for the originator.
    #[must_use]
    pub fn originator(&self) -> Sender {
        if self.originator == 0 { Sender::First } else { Sender::Other }
    }

    /// Zeek's `conn_state`: the first rule that matches.
    #[must_use]
    pub fn conn_state(&self) -> &'static str {
        let originator = self.originator() as usize;
        let (os, rs) = (&self.sides[originator], &self.sides[1 - originator]);
        let no_data = !os.data && !rs.data;
        if rs.state == State::Reset {
            let is_opening = matches!(os.state, State::SynSent | State::SynAckSent);
            return if is_opening || os.state == State::Reset && no_data {
                "REJ"
            } else if os.is_inactive() {
                "RSTRH"
            } else {
                "RSTR"
            };
        }
        if os.state == State::Reset {
            return match rs.is_inactive() {
                true if self.syn_then_reset() => "RSTOS0",
                true => "OTH",
                false => "RSTO",
            };
        }
        match (os.state, rs.state) {
            (State::Closed, State::Closed) => "SF",
            (State::Closed, _) if rs.is_inactive() => "SH",
            (State::Closed, _) => "S2",
            (_, State::Closed) if os.is_inactive() => "SHR",
            (_, State::Closed) => "S3",
            (State::SynSent, State::Inactive) => "S0",
            (State::Established, State::Established) => "S1",
            _ => "OTH",
        }
    }

    /// Whether the history is a SYN, nothing else of weight, and a RST.
    fn syn_then_reset(&self) -> bool {
        let mut letters = self.letters();
        letters.next() == Some(b'S') && letters.find(|letter| b"HAFGIQR".contains(letter)) == Some(b'R')
    }
}
