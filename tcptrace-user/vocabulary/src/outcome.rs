//! The outcomes of an attempt, in the closed set of words that reports use.
//!
//! An outcome is read off the core's states and facts; the core itself does not know it.

use tcptrace_core::handshake::{Facts, Handshake, State};

/// The outcome of an attempt so far. The name is the value in JSON.
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
    /// A SYN/ACK that does not acknowledge the SYN, or comes from another address than the SYN went to.
    WrongAnswer,
    /// SYN, SYN/ACK, final ACK.
    Established,
    /// Opened, then FIN both ways.
    Closed,
    /// Opened, then one FIN.
    HalfClosed,
    /// Opened, then the client's RST.
    ResetByClient,
    /// Opened, then the server's.
    ResetByServer,
    /// A SYN/ACK whose SYN was not seen.
    AnswerOnly,
    /// Seen only from the middle.
    Midstream,
}

impl Outcome {
    /// Every outcome, in the order of the vocabulary.
    pub const ALL: [Self; 15] = [
        Self::NoReply,
        Self::Refused,
        Self::Unreachable,
        Self::Challenged,
        Self::HalfOpen,
        Self::Aborted,
        Self::ResetOnAnswer,
        Self::WrongAnswer,
        Self::Established,
        Self::Closed,
        Self::HalfClosed,
        Self::ResetByClient,
        Self::ResetByServer,
        Self::AnswerOnly,
        Self::Midstream,
    ];

    /// Whether the handshake was tried and did not succeed.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::NoReply
            | Self::Refused
            | Self::Unreachable
            | Self::Challenged
            | Self::HalfOpen
            | Self::Aborted
            | Self::ResetOnAnswer
            | Self::WrongAnswer => true,
            Self::Established
            | Self::Closed
            | Self::HalfClosed
            | Self::ResetByClient
            | Self::ResetByServer
            | Self::AnswerOnly
            | Self::Midstream => false,
        }
    }

    /// Whether the handshake completed, whatever came then.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Established | Self::Closed | Self::HalfClosed | Self::ResetByClient | Self::ResetByServer)
    }

    /// The outcome of an attempt by now, with what came after its handshake; `None` for a slot that holds none.
    #[must_use]
    pub const fn to_the_end(handshake: &Handshake) -> Option<Self> {
        let opened = Self::of(handshake);
        let Some(Self::Established) = opened else { return opened };
        // A RST that follows both FINs changes nothing any more.
        Some(if handshake.facts.has_both_fins() {
            Self::Closed
        } else if handshake.facts.any(Facts::CLIENT_RST) {
            Self::ResetByClient
        } else if handshake.facts.any(Facts::SERVER_RST) {
            Self::ResetByServer
        } else if handshake.facts.any(Facts::CLIENT_FIN | Facts::SERVER_FIN) {
            Self::HalfClosed
        } else {
            Self::Established
        })
    }

    /// The outcome of a handshake by now; `None` for a slot that holds none.
    #[must_use]
    pub const fn of(handshake: &Handshake) -> Option<Self> {
        Some(match handshake.state() {
            State::Free => return None,
            State::SynSent if handshake.facts.any(Facts::UNREACHABLE) => Self::Unreachable,
            State::SynSent if handshake.facts.any(Facts::CHALLENGED) => Self::Challenged,
            State::SynSent if handshake.facts.any(Facts::WRONG_ANSWER) => Self::WrongAnswer,
            State::SynSent => Self::NoReply,
            State::SynReceived => Self::HalfOpen,
            State::Established => Self::Established,
            State::Refused => Self::Refused,
            // The RST was acceptable, and no SYN followed: the SYN/ACK that came later met a socket that is gone, and the
            // client's RST answers that.
            State::Aborted if handshake.facts.any(Facts::RECOVERING) && handshake.syn.tries == 1 => Self::Refused,
            State::Aborted => Self::Aborted,
            State::ResetOnAnswer => Self::ResetOnAnswer,
            State::Unsolicited => Self::AnswerOnly,
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
            Self::Closed => "closed",
            Self::HalfClosed => "half_closed",
            Self::ResetByClient => "reset_by_client",
            Self::ResetByServer => "reset_by_server",
            Self::AnswerOnly => "answer_only",
            Self::Midstream => "midstream",
        }
    }
}
