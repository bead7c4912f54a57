//! How an attempt ended, in the closed set of words that reports use.

use crate::handshake::{Facts, Handshake, State};

/// What became of an attempt so far. The name is the value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// SYN once or more, nothing back.
    NoReply,
    /// SYN, RST from the server.
    Refused,
    /// SYN, an ICMP error that quotes it.
    Unreachable,
    /// SYN, an ACK without SYN.
    Challenged,
    /// SYN, SYN/ACK, no final ACK.
    HalfOpen,
    /// The client's RST before the handshake completed.
    Aborted,
    /// SYN, SYN/ACK, RST from the server before the final ACK.
    ResetOnAnswer,
    /// A SYN/ACK that does not acknowledge the SYN.
    WrongAnswer,
    /// SYN, SYN/ACK, final ACK.
    Established,
}

impl Outcome {
    /// Every outcome, in the order of the vocabulary.
    pub const ALL: [Self; 9] = [
        Self::NoReply,
        Self::Refused,
        Self::Unreachable,
        Self::Challenged,
        Self::HalfOpen,
        Self::Aborted,
        Self::ResetOnAnswer,
        Self::WrongAnswer,
        Self::Established,
    ];

    /// The outcome of an attempt as it stands; `None` for a slot that holds none.
    #[must_use]
    pub const fn of(it: &Handshake) -> Option<Self> {
        Some(match it.state() {
            State::Free => return None,
            State::SynSent if it.facts.any(Facts::UNREACHABLE) => Self::Unreachable,
            State::SynSent if it.facts.any(Facts::CHALLENGED) => Self::Challenged,
            State::SynSent if it.facts.any(Facts::WRONG_ANSWER) => Self::WrongAnswer,
            State::SynSent => Self::NoReply,
            State::Answered => Self::HalfOpen,
            State::Established => Self::Established,
            State::Refused => Self::Refused,
            State::Aborted => Self::Aborted,
            State::ResetOnAnswer => Self::ResetOnAnswer,
        })
    }

    /// The word in JSON, in text and in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoReply => "no_reply",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Challenged => "challenged",
            Self::HalfOpen => "half_open",
            Self::Aborted => "aborted",
            Self::ResetOnAnswer => "reset_on_answer",
            Self::WrongAnswer => "wrong_answer",
            Self::Established => "established",
        }
    }
}
