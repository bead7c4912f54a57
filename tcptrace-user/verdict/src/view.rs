//! What a capture shows as a whole: one that was filtered by flags, or taken of one direction, lacks what nobody lacked
//! on the wire. Silence in it proves nothing.
//!
//! A capture of a single attempt that failed lacks the same. It is not told apart here: the rules say less of both.

use tcptrace_core::segment::Kind;

/// The kinds of segments that a capture has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// A SYN/ACK of anybody.
    pub has_answers: bool,
    /// A segment without SYN of anybody.
    pub has_others: bool,
    /// A conversation with segments of both sides.
    pub has_both_sides: bool,
}

impl View {
    /// Nothing is missing.
    pub const WHOLE: Self = Self { has_answers: true, has_others: true, has_both_sides: true };

    /// Takes note of a segment; `is_reply`: of a conversation whose other side was seen.
    pub fn note(&mut self, kind: Kind, is_reply: bool) {
        match kind {
            Kind::Syn => {}
            Kind::SynAck => self.has_answers = true,
            Kind::Ack | Kind::Fin | Kind::Rst | Kind::Null => self.has_others = true,
        }
        self.has_both_sides |= is_reply;
    }

    /// The doubt about a client that never acknowledged.
    pub(crate) fn lacks_acks(self) -> Option<String> {
        let why = "no packet without SYN is in this capture: filtered by flags, it cannot show the final ACK";
        (!self.has_others).then(|| why.to_owned())
    }

    /// The doubt about a server that never answered.
    pub(crate) fn lacks_answers(self) -> Option<String> {
        let why = "no SYN/ACK of anybody is in this capture: filtered, it cannot show that nothing answered";
        (!self.has_answers).then(|| why.to_owned())
    }

    /// The doubt about a half that went another way.
    pub(crate) fn lacks_a_side(self) -> Option<String> {
        let why = "no connection in this capture has packets of both sides: perhaps only one direction was captured";
        (!self.has_both_sides).then(|| why.to_owned())
    }
}
