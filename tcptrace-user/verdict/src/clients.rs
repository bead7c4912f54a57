//! The clients of a port: when it answered each of them, and when it did not. Bounded; the newest are remembered one by
//! one, and those before them as spans.

use tcptrace_core::{
    flow::Addr,
    handshake::{Handshake, Nanos},
};

use crate::near::{LATELY, is_recent};

/// The last times that a port answered a client.
const TIMES: usize = 8;
/// Times before those, merged: spans in which a client was answered again within [`LATELY`].
const SPANS: usize = 4;
/// The last attempts of a client that failed.
const FAILED: usize = 2;

/// The clients that a port answered besides an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// The same client, since it began: the number of its attempts, up to nine.
    pub own: usize,
    /// Other clients since it began.
    pub others: usize,
    /// Other clients within twenty seconds before it began.
    pub others_lately: usize,
    /// When the same client was last answered before it began, within ten minutes.
    pub own_before: Option<Nanos>,
    /// When it was first answered after its last packet, within ten minutes.
    pub own_after: Option<Nanos>,
    /// Its attempts since then that failed, this one among them: up to two.
    pub own_failed_since: usize,
    /// Clients made room for others around the attempt, and the same client may have been one of them.
    pub is_incomplete: bool,
}

/// A client of a port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Client {
    pub(crate) addr: Addr,
    /// When its last attempts that were answered were last seen; zero where there were fewer.
    pub(crate) answered: [Nanos; TIMES],
    /// From when to when attempts before those were answered, without a pause of [`LATELY`]; zero where there were
    /// none.
    spans: [(Nanos, Nanos); SPANS],
    /// When its last attempts began that nothing answered.
    failed: [Nanos; FAILED],
    /// When a client that had made room before this one came was last seen: it may be the same.
    pub(crate) forgotten: Option<Nanos>,
    /// When it last completed a handshake at its first SYN/ACK.
    pub(crate) completed: Option<Nanos>,
    /// When it last left one half-open to which it sent a single SYN: whoever sends its SYN again waits for an answer.
    pub(crate) half_open: Option<Nanos>,
    /// Its attempts.
    pub(crate) count: u32,
    pub(crate) last: Nanos,
}

/// What came of an attempt, as far as its client is remembered for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Answered,
    HalfOpen,
    Silent,
    Other,
}

/// When a client was answered, seen from an attempt.
pub(crate) struct Seen {
    /// Since it began and until shortly after it: the number of attempts; a span counts as one.
    pub(crate) since: usize,
    /// Last before it began, and first after its last packet.
    pub(crate) before: Option<Nanos>,
    pub(crate) after: Option<Nanos>,
}

impl Client {
    pub(crate) fn new(addr: Addr, forgotten: Option<Nanos>, at: Nanos) -> Self {
        let never = Nanos(0);
        Self {
            addr,
            answered: [never; TIMES],
            spans: [(never, never); SPANS],
            failed: [never; FAILED],
            forgotten,
            completed: None,
            half_open: None,
            count: 0,
            last: at,
        }
    }

    pub(crate) fn note(&mut self, handshake: &Handshake, end: End, at: Nanos) {
        self.last = self.last.max(at);
        self.count = self.count.saturating_add(1);
        if end == End::Answered {
            self.answered.rotate_right(1);
            let former = std::mem::replace(&mut self.answered[0], at);
            self.remember(former);
            if handshake.answer.tries == 1 {
                self.completed = self.completed.max(Some(handshake.ended));
            }
        }
        if end == End::HalfOpen && handshake.syn.tries == 1 {
            self.half_open = self.half_open.max(Some(at));
        }
        // An attempt that stalls is noted again at its end.
        if end == End::Silent && !self.failed.contains(&handshake.first_syn) {
            self.failed.sort_unstable();
            self.failed[0] = self.failed[0].max(handshake.first_syn);
        }
    }

    /// Keeps a time that made room for another, in the span that it prolongs or in a new one.
    fn remember(&mut self, at: Nanos) {
        if at.0 == 0 {
            return;
        }
        let is_near = |(first, last): &(Nanos, Nanos)| first.since(at) <= LATELY && at.since(*last) <= LATELY;
        if let Some((first, last)) = self.spans.iter_mut().find(|it| it.1.0 > 0 && is_near(it)) {
            (*first, *last) = ((*first).min(at), (*last).max(at));
        } else {
            self.spans.rotate_right(1);
            self.spans[0] = (at, at);
        }
    }

    /// When it was answered around an attempt. Later than [`LATELY`] after it, whatever was wrong may be over.
    pub(crate) fn around(&self, began: Nanos, at: Nanos) -> Seen {
        let single = self.answered.into_iter().filter(|it| it.0 > 0);
        let spans = || self.spans.iter().copied().filter(|(_, last)| last.0 > 0);
        let since = single.clone().filter(|it| *it >= began && it.since(at) <= LATELY).count();
        // A span has an answer in any twenty seconds of it.
        let spanned = spans().any(|(first, last)| last >= began && first.since(at) <= LATELY);
        let all = || single.clone().chain(spans().flat_map(|(first, last)| [first, last]));
        let before = all().filter(|it| *it < began && is_recent(*it, began)).max();
        let after = all().filter(|it| *it > at && is_recent(*it, at)).min();
        Seen { since: since + usize::from(spanned), before, after }
    }

    /// Its attempts since a moment that nothing answered, as far as they are remembered.
    pub(crate) fn failed_since(&self, since: Option<Nanos>) -> usize {
        self.failed.into_iter().filter(|it| it.0 > 0 && since.is_none_or(|since| *it > since)).count()
    }
}
