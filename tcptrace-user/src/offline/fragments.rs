//! Fragments of segments, put together as far as Wireshark's account needs: it shows a segment in the packet that
//! completes it, with all of its payload, and never where a part is missing.
//!
//! A segment's first sixteen bytes are kept, and which parts were there. The handshake's account goes by the first
//! fragment alone.

use std::collections::HashMap;

use tcptrace_core::{
    flow::Endpoint,
    segment::{Flags, Link},
    seq::Seq,
};
use tcptrace_vocabulary::foreign::{Dissection, Glance};

use crate::offline::{
    fragment::{self, Datagram, Fragment},
    quoted::Quoted,
};

/// Datagrams after which those begun before as many go.
const MOST: usize = 1 << 12;
/// Parts that a datagram may be in with gaps between them.
const PARTS: usize = 64;
/// Bytes of a TCP header that are read.
const READ: usize = 16;

#[derive(Default)]
struct Partial {
    header: [u8; READ],
    /// Begin and end of what was there.
    parts: Vec<(usize, usize)>,
    end: Option<usize>,
}

/// Those begun, in two generations.
#[derive(Default)]
pub(super) struct Fragments {
    young: HashMap<Datagram, Partial>,
    old: HashMap<Datagram, Partial>,
}

/// The form in which Wireshark shows a fragment's packet.
pub(super) enum Piece {
    /// It is shown as it is.
    Shown,
    /// It is not shown.
    Hidden,
    /// It completes this segment.
    Completes(Quoted),
}

impl Fragments {
    #[cold]
    pub(super) fn see(&mut self, octets: &[u8], link: Link) -> Piece {
        let Some(it) = fragment::fragment(octets, link) else { return Piece::Shown };
        let (.., v6) = it.of;
        let Some(payload) = octets.get(it.at..it.at + it.length).filter(|it| !it.is_empty()) else {
            // Among packets that the snapshot cut off, only IPv4 ones are shown.
            return if v6 { Piece::Hidden } else { Piece::Shown };
        };
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        let mut partial = self.young.remove(&it.of).or_else(|| self.old.remove(&it.of)).unwrap_or_default();
        if partial.add(&it, payload) {
            return partial.segment(it.of).map_or(Piece::Hidden, Piece::Completes);
        }
        self.young.insert(it.of, partial);
        Piece::Hidden
    }
}

impl Partial {
    /// Whether it is complete thereby.
    fn add(&mut self, fragment: &Fragment, payload: &[u8]) -> bool {
        for (to, from) in self.header.iter_mut().skip(fragment.offset).zip(payload) {
            *to = *from;
        }
        let (mut begin, mut end) = (fragment.offset, fragment.offset + payload.len());
        if !fragment.more {
            self.end = Some(end);
        }
        self.parts.retain(|&(from, to)| {
            let apart = to < begin || end < from;
            if !apart {
                (begin, end) = (begin.min(from), end.max(to));
            }
            apart
        });
        if self.parts.len() < PARTS {
            self.parts.push((begin, end));
        }
        self.end.is_some_and(|whole| self.parts.iter().any(|&(from, to)| from == 0 && to >= whole))
    }

    fn segment(&self, (src, dst, ..): Datagram) -> Option<Quoted> {
        let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, ..] = self.header;
        let (length, header) = (self.end?, usize::from(offset >> 4) * 4);
        let dissection = match length {
            ..READ => return None,
            _ if header < 20 => Dissection::NoHeader,
            _ if length < header => Dissection::Unknown,
            _ => Dissection::Known,
        };
        Some(Quoted {
            src: Endpoint { addr: src, port: u16::from_be_bytes([s0, s1]) },
            dst: Endpoint { addr: dst, port: u16::from_be_bytes([d0, d1]) },
            glance: Glance {
                flags: Flags(flags),
                seq: Seq(u32::from_be_bytes([q0, q1, q2, q3])),
                ack: Seq(u32::from_be_bytes([a0, a1, a2, a3])),
                payload: u16::try_from(length.saturating_sub(header)).unwrap_or(u16::MAX),
                dissection,
            },
        })
    }
}
