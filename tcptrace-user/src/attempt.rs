//! An attempt as it is told: the core's state, with what only userspace knows of it.

use tcptrace_core::{
    flow::{self, Addr},
    handshake::{Facts, Handshake, Nanos},
    outcome::Outcome,
};

/// One line's worth of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub handshake: Handshake,
    pub outcome: Outcome,
    /// When it was found stalled, and by what.
    pub stalled: Option<Stalled>,
    /// Established after it had been told as stalled or failed.
    pub recovered: bool,
    /// Who sent the ICMP error.
    pub icmp_from: Option<Addr>,
    pub trust: Trust,
}

/// An attempt's want of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    pub at: Nanos,
    pub by: StalledBy,
}

/// What makes an attempt stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StalledBy {
    /// The third SYN without an answer.
    ThirdSyn,
    /// The second retransmitted SYN/ACK.
    ThirdSynAck,
    /// `--stall-after` without progress.
    Silence,
}

impl StalledBy {
    /// The word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThirdSyn => "third_syn",
            Self::ThirdSynAck => "third_syn_ack",
            Self::Silence => "silence",
        }
    }
}

/// How far a line can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// It was still open when it was told: tracing ended, or it is told as stalled.
    pub still_open: bool,
    /// It began so soon after tracing did that earlier SYNs may have gone unseen.
    pub may_have_begun_earlier: bool,
    /// Events lost since it began.
    pub events_lost: u64,
    /// Attempts dropped from the table since it began.
    pub attempts_lost: u64,
}

impl Attempt {
    /// The id that every machine on the path gives this handshake.
    #[must_use]
    pub fn id(&self) -> u64 {
        id(&self.handshake)
    }

    /// Whether either side sent data.
    #[must_use]
    pub fn had_data(&self) -> bool {
        self.handshake.facts.any(Facts::CLIENT_DATA | Facts::SERVER_DATA)
    }

    /// Nanoseconds from the first SYN to the last thing seen.
    #[must_use]
    pub fn duration(&self) -> u64 {
        self.handshake.last_seen().since(self.handshake.first_syn)
    }
}

/// A handshake's id.
#[must_use]
pub fn id(it: &Handshake) -> u64 {
    flow::handshake_id(it.client(), it.server(), it.isn.0)
}
