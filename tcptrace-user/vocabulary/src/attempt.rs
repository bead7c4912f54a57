//! An attempt as it is told: the core's state, with what only userspace knows of it.

use tcptrace_core::{
    event::STALLED_AT_TRY,
    flow::{self, Addr},
    handshake::{Facts, Handshake, Nanos, State},
    segment::Flags,
    seq::Seq,
    tunnel::Outer,
};

use crate::{
    foreign::{Dissection, Glance, History, Sender, Wireshark, Zeek},
    outcome::Outcome,
    verdict::Why,
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
    /// Who else answered the SYN.
    pub answered_from: Option<Addr>,
    /// The tunnel that its first packet came in.
    pub outer: Option<Outer>,
    /// When its first and its last packet were seen.
    pub seen: (Nanos, Nanos),
    pub foreign: Foreign,
    pub trust: Trust,
    /// Why it failed, once that was asked.
    pub why: Option<Box<Why>>,
}

/// What Zeek and Wireshark would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    pub conn_state: &'static str,
    pub history: History,
    pub completeness: u8,
}

impl Foreign {
    /// What they would say of the packets that make this state. Live only these are known, and not the others' order:
    /// data after the handshake, and a FIN or RST that came again, leave no trace.
    #[must_use]
    pub fn of(it: &Handshake) -> Self {
        let (mut zeek, mut wireshark) = (Zeek::default(), Wireshark::default());
        let see = |from, flags: u8, seq: Seq, ack: Seq, payload: u16| {
            let glance = Glance { flags: Flags(flags), seq, ack, payload, dissection: Dissection::Known };
            zeek.see(from, &glance);
            wireshark.see(from, &glance);
        };
        if it.state() == State::Unasked {
            replay_unasked(it, see);
        } else {
            replay(it, see);
        }
        Self { conn_state: zeek.conn_state(), history: zeek.history(), completeness: wireshark.completeness() }
    }
}

/// The packets that make an attempt, one after the other: sender, flags, sequence and acknowledgement number, payload.
fn replay(it: &Handshake, mut see: impl FnMut(Sender, u8, Seq, Seq, u16)) {
    use Sender::{First as Client, Other as Server};
    let [isn, server_isn] = [it.isn, it.server_isn];
    let [next, server_next] = [isn.add(1), server_isn.add(1)];
    let facts = it.facts;
    see(Client, Flags::SYN, isn, Seq(0), facts.any(Facts::SYN_DATA).into());
    if facts.any(Facts::CHALLENGED) {
        see(Server, Flags::ACK, server_isn, isn, 0);
    }
    if facts.any(Facts::WRONG_ANSWER) {
        see(Server, Flags::SYN | Flags::ACK, server_isn, isn, 0);
    }
    if facts.any(Facts::ANSWER_REJECTED) {
        see(Client, Flags::RST, isn, Seq(0), 0);
    }
    if facts.any(Facts::RECOVERING) {
        see(Server, Flags::RST | Flags::ACK, Seq(0), next, 0);
    }
    if it.answer.tries > 0 {
        see(Server, Flags::SYN | Flags::ACK, server_isn, next, 0);
    }
    match it.state() {
        State::Refused => see(Server, it.end.flags, Seq(0), next, 0),
        State::Aborted => see(Client, it.end.flags, next, server_next, 0),
        State::ResetOnAnswer => see(Server, it.end.flags, server_next, next, 0),
        State::Established => {
            let fin = it.end.flags & Flags::FIN;
            see(Client, Flags::ACK | fin, next, server_next, 0);
            if facts.any(Facts::CLIENT_FIN) && fin == 0 {
                see(Client, Flags::FIN | Flags::ACK, next, server_next, 0);
            }
            if facts.any(Facts::SERVER_FIN) {
                see(Server, Flags::FIN | Flags::ACK, server_next, next, 0);
            }
            if facts.any(Facts::CLIENT_RST) {
                see(Client, Flags::RST, next, server_next, 0);
            }
            if facts.any(Facts::SERVER_RST) {
                see(Server, Flags::RST, server_next, next, 0);
            }
        }
        State::Free | State::SynSent | State::Answered | State::Unasked => {}
    }
}

/// The same where a SYN/ACK came first: its sender did.
fn replay_unasked(it: &Handshake, mut see: impl FnMut(Sender, u8, Seq, Seq, u16)) {
    use Sender::{First as Server, Other as Client};
    let [next, server_next] = [it.isn.add(1), it.server_isn.add(1)];
    see(Server, Flags::SYN | Flags::ACK, it.server_isn, next, 0);
    if it.facts.any(Facts::CLIENT_RST) {
        see(Client, Flags::RST, next, server_next, 0);
    }
    if it.facts.any(Facts::SERVER_RST) {
        see(Server, Flags::RST, server_next, next, 0);
    }
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

    /// Whether it is one that people look for: it failed, or nearly did.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        self.outcome.is_failure() || self.stalled.is_some() || self.recovered
    }

    /// Whether it did not go as it should, so that why is worth saying.
    #[must_use]
    pub fn wants_cause(&self) -> bool {
        let cut = matches!(self.outcome, Outcome::ResetByClient | Outcome::ResetByServer | Outcome::AnswerOnly);
        self.is_trouble() || cut || self.handshake.facts.any(Facts::ANSWER_UNSEEN) || self.was_answered_again()
    }

    /// Whether the SYN/ACK was sent again after the final ACK had come by.
    #[must_use]
    pub fn was_answered_again(&self) -> bool {
        let hs = &self.handshake;
        self.outcome.is_open() && hs.answer.tries > 1 && hs.first_answer <= hs.ended && hs.ended < hs.last_answer
    }

    /// Whether either side sent data.
    #[must_use]
    pub fn had_data(&self) -> bool {
        self.handshake.facts.any(Facts::CLIENT_DATA | Facts::SERVER_DATA)
    }

    /// Nanoseconds from the first SYN to the last thing seen.
    #[must_use]
    pub fn duration(&self) -> u64 {
        self.seen.1.since(self.seen.0)
    }
}

/// Linux, Windows and macOS double the pause between tries: the next SYN comes within the time passed so far, and the
/// second within three seconds (RFC 6298, section 2; RFC 2988 before it). What is silent for twice that and a little
/// more has given up. Should it try again all the same, it is told again.
const GIVE_UP_SLACK: u64 = 5_000_000_000;

/// How long after the start of tracing an attempt may be one that began before it: Linux's longest pause.
const LONGEST_PAUSE: u64 = 64_000_000_000;

/// How long an attempt may be silent before it counts as given up.
#[must_use]
pub fn patience(it: &Handshake, stall_after: u64) -> u64 {
    let tried_for = it.last_seen().since(it.first_syn);
    stall_after.max(tried_for.saturating_mul(2).saturating_add(GIVE_UP_SLACK))
}

/// Whether the server sent its SYN/ACK again for want of an ACK, twice. A SYN that is sent again provokes one more at once: two
/// timers that fire together (both begin with a second, RFC 6298, section 2) make three SYN/ACKs of one that was lost.
#[must_use]
pub fn is_unacknowledged(it: &Handshake) -> bool {
    /// Of two pauses, one and two seconds, the half.
    const TWO_PAUSES: u64 = 1_500_000_000;
    it.answer.tries >= STALLED_AT_TRY && it.last_answer.since(it.first_answer) >= TWO_PAUSES
}

/// Whether an attempt that was to be told as established had been in trouble before.
#[must_use]
pub fn was_in_trouble(it: &Handshake, stalled: Option<Stalled>, stall_after: u64) -> bool {
    const TOLD: u32 = Facts::RECOVERING | Facts::UNREACHABLE | Facts::CHALLENGED | Facts::WRONG_ANSWER;
    stalled.is_some_and(|stalled| stalled.at <= it.ended)
        || it.facts.any(TOLD)
        || it.syn.tries >= STALLED_AT_TRY
        || is_unacknowledged(it) && it.last_answer <= it.ended
        || it.ended.since(it.first_syn) >= stall_after
}

/// Whether an attempt may have begun before tracing did.
#[must_use]
pub fn may_have_begun_earlier(it: &Handshake, started: Nanos) -> bool {
    it.first_syn.since(started) < LONGEST_PAUSE
}

/// A handshake's id.
#[must_use]
pub fn id(it: &Handshake) -> u64 {
    flow::handshake_id(it.client(), it.server(), it.isn.0)
}
