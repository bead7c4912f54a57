//! The handshake machine: one attempt's state, and what a segment does to it.
//!
//! `step` is total and rejects nothing. It follows what the two ends do with the segment (RFC 9293, section 3.10.7),
//! as far as a third party can tell; a segment that neither end obeys is recorded as a fact. It has no timer: silence
//! is judged by who calls it.
//!
//! `types` has what is kept of an attempt, `step` which transition a segment is, `account` what a transition writes.

mod account;
mod step;
mod types;

pub(crate) use self::types::LONGEST_SILENCE;
pub use self::types::{End, Facts, Handshake, Nanos, Offer, Point, Side, State, Transition};
