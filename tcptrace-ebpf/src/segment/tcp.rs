//! The TCP header: flags, numbers, options.

use super::{Located, ip::u16_at};
use crate::{flow::Endpoint, packet::Packet, seq::Seq};

/// TCP's eight flag bits (RFC 9293, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;

    /// Whether any of these bits is set.
    #[inline(always)]
    #[must_use]
    pub const fn any(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// The segment's kind to the handshake. RST decides before SYN, SYN before FIN: the order in which a receiver tests
    /// them (RFC 9293, section 3.10.7).
    #[inline(always)]
    #[must_use]
    pub const fn kind(self) -> Kind {
        if self.any(Self::RST) {
            Kind::Rst
        } else if self.any(Self::SYN) {
            if self.any(Self::ACK) { Kind::SynAck } else { Kind::Syn }
        } else if self.any(Self::FIN) {
            Kind::Fin
        } else if self.any(Self::ACK) {
            Kind::Ack
        } else {
            Kind::Null
        }
    }
}

/// A segment's kind to the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Syn,
    SynAck,
    /// An acknowledgement, with or without data.
    Ack,
    Fin,
    Rst,
    /// None of SYN, ACK, FIN and RST.
    Null,
}

/// A TCP segment, as far as a handshake cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub flags: Flags,
    pub seq: Seq,
    pub ack: Seq,
    /// As on the wire: unscaled.
    pub window: u16,
    pub ttl: u8,
    /// Bytes of payload.
    pub payload: u16,
    /// Whether its IPv4 header has an identification, which is any but 0.
    pub has_id: bool,
    /// Whether its header is longer than the twenty bytes of one without options.
    pub has_options: bool,
    /// Read only where SYN is set.
    pub options: Options,
}

/// The options of a SYN or SYN/ACK, and what its header says beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which options are there: the constants below.
    pub present: u8,
    /// Maximum segment size (RFC 9293, section 3.7.1); zero where absent.
    pub mss: u16,
    /// Window scale shift (RFC 7323, section 2.2); zero where absent.
    pub window_scale: u8,
}

impl Options {
    pub const MSS: u8 = 0x01;
    pub const WINDOW_SCALE: u8 = 0x02;
    pub const SACK_PERMITTED: u8 = 0x04;
    pub const TIMESTAMPS: u8 = 0x08;
    pub const FAST_OPEN: u8 = 0x10;
    pub const MPTCP: u8 = 0x20;
    /// ECN asked for or agreed to, by the header's flags (RFC 3168, section 6.1.1).
    pub const ECN: u8 = 0x40;
    /// The option list breaks off or contradicts itself.
    pub const MALFORMED: u8 = 0x80;
}

impl Segment {
    /// Reads the rest of a located segment.
    #[inline(always)]
    pub fn read<P: Packet + ?Sized>(packet: &P, located: &Located) -> Self {
        let mut options = Options::default();
        if located.flags.any(Flags::SYN) {
            options = Options::read(packet, located.options, located.end());
            let ecn = located.flags.0 & (Flags::ECE | Flags::CWR);
            let asked = Flags::ECE | if located.flags.any(Flags::ACK) { 0 } else { Flags::CWR };
            if ecn == asked {
                options.present |= Options::ECN;
            }
        }
        Self {
            src: located.src,
            dst: located.dst,
            flags: located.flags,
            seq: located.seq(),
            ack: located.ack(),
            window: u16_at(&located.header, 14),
            ttl: located.ttl,
            payload: located.length.saturating_sub((located.header[12] >> 4) as u16 * 4),
            has_id: located.id != 0,
            has_options: located.header() > 20,
            options,
        }
    }
}

impl Options {
    /// Reads the option list between two offsets. A list that breaks off keeps what came before.
    #[inline(always)]
    fn read<P: Packet + ?Sized>(packet: &P, start: usize, end: usize) -> Self {
        let mut options = Self::default();
        let mut done = 0;
        // No option but padding is shorter than two bytes, and forty bytes are all there can be.
        for _ in 0..40 {
            done = packet.forget(done);
            if start + done >= end {
                break;
            }
            match options.read_one(packet, start + done, end) {
                Some(0) => break,
                Some(length) => done += length,
                None => {
                    options.present |= Self::MALFORMED;
                    break;
                }
            }
        }
        options
    }

    /// Reads the option at `at`; its length, 0 at the end of the list, `None` where it cannot be.
    #[inline(always)]
    fn read_one<P: Packet + ?Sized>(&mut self, packet: &P, at: usize, end: usize) -> Option<usize> {
        let kind = packet.u8(at)?;
        if kind == 0 {
            return Some(0);
        }
        if kind == 1 {
            return Some(1);
        }
        let length = usize::from(packet.u8(at + 1)?);
        if length < 2 || at + length > end {
            return None;
        }
        match (kind, length) {
            (2, 4) => {
                self.mss = packet.u16(at + 2)?;
                self.present |= Self::MSS;
            }
            (3, 3) => {
                self.window_scale = packet.u8(at + 2)?;
                self.present |= Self::WINDOW_SCALE;
            }
            (4, 2) => self.present |= Self::SACK_PERMITTED,
            (8, 10) => self.present |= Self::TIMESTAMPS,
            (30, _) => self.present |= Self::MPTCP,
            (34, _) => self.present |= Self::FAST_OPEN,
            _ => {}
        }
        Some(length)
    }
}
