//! The kernel's accounts of listeners, mapped: the packets for flooded listeners since the last look.

use std::{mem::offset_of, sync::atomic::Ordering::Acquire};

use aya::maps::{MapData, MapError};
use tcptrace_core::{
    flood::{Account, DRAWN},
    flow::{Addr, Endpoint},
    handshake::{Nanos, Point},
    pressure::Width,
};
use tcptrace_verdict::patterns::flood::Passage;

use super::mapping::Mapping;

const OCTETS: usize = size_of::<Account>();
const WORDS: usize = OCTETS / 8;
const GENERATION: usize = offset_of!(Account, generation);

/// Looks at an account that is not flooded any more and whose handshakes complete.
const LATE: u8 = 20;

/// All CPUs' accounts.
pub struct Accounts {
    words: Mapping,
    /// As each was when last looked at.
    last: Vec<Last>,
}

/// The part of an account that is kept between two looks: its counters, and whose it is.
#[derive(Clone, Copy, Default)]
struct Last {
    generation: u32,
    opens: u64,
    answers: u64,
    passed_over: u64,
    completed: u64,
    drawn: u32,
    /// Counts down from the last look at which it was flooded.
    flooded: u8,
}

impl Accounts {
    /// Maps them.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map(accounts: &MapData) -> Result<Self, MapError> {
        let words = Mapping::new::<Account>(accounts)?;
        let last = vec![Last::default(); words.words().len() / WORDS];
        Ok(Self { words, last })
    }

    /// The packets for flooded listeners, hosts and networks since the last look.
    pub fn look(&mut self) -> Vec<Passage> {
        let (words, mut passages) = (self.words.words(), Vec::new());
        for (index, last) in self.last.iter_mut().enumerate() {
            let words = &words[index * WORDS..][..WORDS];
            let mut octets = [0; OCTETS];
            for (to, from) in octets.chunks_exact_mut(8).zip(words) {
                to.copy_from_slice(&from.load(Acquire).to_ne_bytes());
            }
            // An account that changed hands while it was read is read whole the next time.
            if words[GENERATION / 8].load(Acquire).to_ne_bytes() != field(&octets, GENERATION / 8 * 8) {
                continue;
            }
            let count = |at| u64::from_ne_bytes(field(&octets, at));
            let half = |at| u32::from_ne_bytes(field(&octets, at));
            let addr = |at| Addr { hi: count(at), lo: count(at + 8) };
            let now = Last {
                generation: half(GENERATION),
                opens: count(offset_of!(Account, opens)),
                answers: count(offset_of!(Account, answers)),
                passed_over: count(offset_of!(Account, passed)),
                completed: count(offset_of!(Account, completed))
                    .wrapping_add(count(offset_of!(Account, completed_elsewhere))),
                drawn: half(offset_of!(Account, drawn)),
                flooded: last.flooded.saturating_sub(1),
            };
            let shift = octets[offset_of!(Account, shift)];
            let was = std::mem::replace(last, now);
            let is_new = was.generation != now.generation;
            let is_quiet = now.passed_over == was.passed_over && (shift == 0 || now.opens == was.opens);
            // An attempt that was let in during the flood completes a little later.
            let completes = now.completed != was.completed && now.opens == was.opens && was.flooded > 0;
            if is_new && shift == 0 || is_quiet && !completes {
                if is_new || now.opens != was.opens {
                    last.flooded = 0;
                }
                continue;
            }
            if !is_quiet {
                last.flooded = LATE;
            }
            // Only the packets since it was found flooded, where that was after the last look.
            let opens = now.opens.saturating_sub(was.opens.max(count(offset_of!(Account, opens_before))));
            passages.push(Passage {
                scope: Width::of(octets[offset_of!(Account, scope)]),
                owner: Endpoint {
                    addr: addr(offset_of!(Account, addr)),
                    port: u16::from_ne_bytes(field(&octets, offset_of!(Account, port))),
                },
                point: Point(half(offset_of!(Account, point))),
                since: Nanos(count(offset_of!(Account, flooded_at))),
                opens,
                answers: now.answers.wrapping_sub(was.answers).min(opens),
                passed_over: now.passed_over.wrapping_sub(was.passed_over),
                completed: if is_new { 0 } else { now.completed.wrapping_sub(was.completed) },
                clients: (0..now.drawn.wrapping_sub(was.drawn).min(DRAWN as u32))
                    .map(|back| now.drawn.wrapping_sub(back + 1) as usize % DRAWN)
                    .map(|at| addr(offset_of!(Account, clients) + at * size_of::<Addr>()))
                    .collect(),
            });
        }
        passages
    }
}

fn field<const N: usize>(octets: &[u8; OCTETS], at: usize) -> [u8; N] {
    std::array::from_fn(|index| octets[at + index])
}
