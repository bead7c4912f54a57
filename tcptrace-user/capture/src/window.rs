//! The part of a stream that is in memory: one buffer of fixed size, moved along.
//!
//! Does not know what it holds. A failing read is kept until all earlier bytes are used up.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
};

use super::damage::{CAPACITY, Damage, DamageKind, Part};

pub(super) struct Window<R> {
    from: R,
    octets: Box<[u8]>,
    start: usize,
    end: usize,
    /// The stream offset at which the buffer begins.
    base: u64,
    /// No more will come.
    ended: bool,
    /// Why not, if not for the stream's end.
    failure: Option<io::Error>,
}

impl<R: Read> Window<R> {
    pub(super) fn new(from: R) -> Self {
        let octets = vec![0; CAPACITY].into_boxed_slice();
        Self { from, octets, start: 0, end: 0, base: 0, ended: false, failure: None }
    }

    /// Reads until this many bytes are in the window, at most [`CAPACITY`]. Returns whether they are.
    #[inline]
    pub(super) fn want(&mut self, length: usize) -> bool {
        self.length() >= length || self.fill(length)
    }

    /// The number of bytes in the window.
    #[inline]
    pub(super) fn length(&self) -> usize {
        self.end - self.start
    }

    /// The bytes in the window.
    #[inline]
    pub(super) fn here(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }

    /// The stream offset at which they begin.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Passes bytes that are in the window, and returns their place in the buffer, valid until the next read.
    #[inline]
    pub(super) fn pass(&mut self, length: usize) -> Range<usize> {
        let start = self.start;
        self.start = self.end.min(start + length);
        start..self.start
    }

    /// The number of bytes that were passed.
    #[inline]
    pub(super) fn get(&self, range: Range<usize>) -> &[u8] {
        &self.octets[range]
    }

    /// Passes bytes, in the window or not, and returns how many it passed.
    pub(super) fn skip(&mut self, length: u64) -> u64 {
        let mut left = length;
        while left > 0 && self.want(1) {
            left -= self.pass(usize::try_from(left).unwrap_or(usize::MAX).min(self.length())).len() as u64;
        }
        length - left
    }

    /// Whether the stream is used up and ended as it should.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && self.length() == 0 && self.failure.is_none()
    }

    /// Says that of something only a part is there.
    #[cold]
    pub(super) fn breaks_off(&mut self, part: Part, announced: u64, there: u64) -> Damage {
        let what = match self.failure.take() {
            Some(error) => DamageKind::Unreadable(error),
            None => DamageKind::BreaksOff { part, announced, there },
        };
        Damage { offset: self.base + self.end as u64, what }
    }

    /// Says that this is no capture.
    pub(super) fn unrecognised(&mut self) -> Damage {
        if let Some(error) = self.failure.take() {
            return Damage { offset: self.base + self.end as u64, what: DamageKind::Unreadable(error) };
        }
        let begins = &self.here()[..self.length().min(8)];
        let what = if begins.is_empty() { DamageKind::Empty } else { DamageKind::Unrecognised(begins.to_vec()) };
        Damage { offset: 0, what }
    }

    pub(super) fn source(&self) -> &R {
        &self.from
    }

    pub(super) fn source_mut(&mut self) -> &mut R {
        &mut self.from
    }

    /// Whether this many bytes are in the window, or no more will come, or they are more than the window holds.
    pub(super) fn is_ready(&self, length: usize) -> bool {
        self.length() >= length.min(CAPACITY) || self.ended
    }

    /// Reads more, once; false if nothing came.
    pub(super) fn read_more(&mut self) -> bool {
        self.make_room();
        self.ended || self.end == self.octets.len() || self.read()
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, length: usize) -> bool {
        self.make_room();
        while self.end < length && !self.ended {
            self.read();
        }
        self.end >= length
    }

    fn make_room(&mut self) {
        self.octets.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
    }

    /// Reads what comes; false if nothing did before the source's patience ended.
    fn read(&mut self) -> bool {
        match self.from.read(&mut self.octets[self.end..]) {
            Ok(0) => self.ended = true,
            Ok(more) => self.end = self.octets.len().min(self.end + more),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.ended = true;
                self.failure = Some(error);
            }
        }
        true
    }
}

impl<R> fmt::Debug for Window<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("base", &self.base).field("start", &self.start).finish_non_exhaustive()
    }
}
