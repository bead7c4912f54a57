//! Segments that stand in a capture before the SYN that they belong to. A capture of several queues is merged out of
//! order, by microseconds to a millisecond.
//!
//! Remembers segments, and ICMP errors about a SYN, that came for conversations without a SYN within [`WINDOW`], and
//! nothing longer. A window that holds back and sorts all packets would not do: such captures often have times that agree
//! with their order.

use std::collections::VecDeque;

use tcptrace_core::{
    handshake::{Nanos, Point},
    segment::{Flags, IcmpError, Kind, Segment},
};

/// The longest time, in nanoseconds, by which a capture is taken to mix up its order. The numbers of a segment have to
/// fit as well, so that a generous time costs nothing. No timer sends a segment again within it.
pub(super) const WINDOW: u64 = 10_000_000;
/// Segments, and errors, that are remembered at most.
const MOST: usize = 1 << 12;
/// How far ahead of a SYN the numbers of what follows it within [`WINDOW`] may be.
pub(super) const FLIGHT: u32 = 1 << 20;

/// What came in the last moments, in order.
#[derive(Default)]
pub(super) struct Early {
    segments: VecDeque<Came>,
    errors: VecDeque<(Nanos, IcmpError)>,
}

/// A segment, when and where it came.
#[derive(Clone, Copy)]
pub(super) struct Came {
    pub(super) segment: Segment,
    pub(super) at: Nanos,
    pub(super) point: Point,
}

impl Early {
    /// Remembers a segment of a conversation without a SYN. Where there are too many, the oldest makes room.
    pub(super) fn note(&mut self, came: Came) {
        if !matches!(came.segment.flags.kind(), Kind::Ack | Kind::Fin | Kind::Rst) {
            return;
        }
        purge(&mut self.segments, came.at, |came| came.at);
        self.segments.push_back(came);
    }

    /// Remembers an error about a SYN that was not seen.
    pub(super) fn note_error(&mut self, error: IcmpError, at: Nanos) {
        purge(&mut self.errors, at, |(at, _)| *at);
        self.errors.push_back((at, error));
    }

    /// The segments that follow this SYN by their numbers.
    pub(super) fn after(&self, syn: &Segment, at: Nanos) -> Vec<Came> {
        let fits = |came: &&Came| is_close(came.at, at) && follows(syn, &came.segment);
        self.segments.iter().filter(fits).copied().collect()
    }

    /// The error about this SYN.
    pub(super) fn error_about(&mut self, syn: &Segment, at: Nanos) -> Option<IcmpError> {
        purge(&mut self.errors, at, |(at, _)| *at);
        let is_its = |it: &IcmpError| (it.src, it.dst, it.seq) == (syn.src, syn.dst, syn.seq);
        self.errors.iter().find(|(came, error)| is_close(*came, at) && is_its(error)).map(|(_, error)| *error)
    }
}

/// Forgets what is too old by now. Where there is too much, the oldest makes room.
fn purge<T>(all: &mut VecDeque<T>, now: Nanos, came: impl Fn(&T) -> Nanos) {
    while all.len() >= MOST || all.front().is_some_and(|first| now.since(came(first)) > WINDOW) {
        all.pop_front();
    }
}

/// Whether two packets may have changed places.
pub(super) fn is_close(one: Nanos, other: Nanos) -> bool {
    one.0.abs_diff(other.0) <= WINDOW
}

fn follows(syn: &Segment, other: &Segment) -> bool {
    let next = syn.seq.add(1);
    if (other.src, other.dst) == (syn.src, syn.dst) {
        return other.seq.within(next, FLIGHT);
    }
    let is_servers = (other.src, other.dst) == (syn.dst, syn.src);
    // A RST without ACK has to fit the SYN/ACK.
    let fits = if other.flags.any(Flags::ACK) { other.ack.within(next, FLIGHT) } else { true };
    is_servers && fits
}
