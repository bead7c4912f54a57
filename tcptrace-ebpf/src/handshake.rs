//! The handshake machine: one attempt's state, and how a segment changes it.
//!
//! `step` is total and rejects nothing. It follows what the two ends do with the segment (RFC 9293, section 3.10.7), as
//! far as a third party can tell; a segment that neither end obeys is recorded as a fact. It has no timer: its caller
//! judges silence.
//!
//! `types` has the record of an attempt, `step` decides which transition a segment is, `effects` writes a transition.

mod effects;
mod step;
mod types;

pub(crate) use self::types::LONGEST_SILENCE;
pub use self::types::{End, Facts, Handshake, Nanos, Offer, Point, Side, State, Transition};
