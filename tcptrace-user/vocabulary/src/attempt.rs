//! An attempt as it is reported: the core's state, with the facts that only userspace knows.
//!
//! Reading packets and following their states is the core's; this module adds names, times and sources of errors.

use tcptrace_core::{
    event::STALLED_AT_TRY,
    flow::{self, Addr, Endpoint},
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
    /// The core's record of its packets.
    pub handshake: Handshake,
    /// The outcome by now.
    pub outcome: Outcome,
    /// When it was found stalled, and by which sign; `None` if it never stalled.
    pub stalled: Option<Stalled>,
    /// Whether it was established after it had been reported as stalled or failed.
    pub recovered: bool,
    /// The sender of the ICMP error; `None` without an error, or if the sender is not known.
    pub icmp_from: Option<Addr>,
    /// Another address than the SYN went to, which answered it.
    pub answered_from: Option<Addr>,
    /// The tunnel that its first packet came in; `None` if it came in none.
    pub outer: Option<Outer>,
    /// When its first and its last packet were seen.
    pub seen: (Nanos, Nanos),
    /// The same attempt in the words of Zeek and Wireshark.
    pub foreign: Foreign,
    /// What the bytes of its packets show beside it.
    pub noted: Noted,
    /// The losses that may affect this record.
    pub trust: Trust,
    /// Why it failed; `None` until a verdict is made, and for an attempt without trouble.
    pub why: Option<Box<Why>>,
    /// Its other half, where a host that is watched translated it; `None` if no other half is known.
    pub translated: Option<OtherHalf>,
    /// The number of its incident; `None` for an attempt without trouble, or if a finding stands for it.
    pub incident: Option<u64>,
}

/// The same attempt with other addresses: before a translation, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherHalf {
    /// The client's address and port.
    pub client: Endpoint,
    /// The server's address and port.
    pub server: Endpoint,
    /// Whether it is the half before the translation.
    pub is_before: bool,
}

impl Attempt {
    /// An attempt of which nothing is known but its handshake; `outcome` is [`Outcome::of`] it, or later.
    #[must_use]
    pub fn from_handshake(handshake: Handshake, outcome: Outcome) -> Self {
        Self {
            outcome,
            stalled: None,
            recovered: false,
            icmp_from: None,
            answered_from: None,
            outer: None,
            seen: (handshake.first_syn, handshake.last_seen()),
            foreign: Foreign::of(&handshake),
            noted: Noted::default(),
            trust: Trust::default(),
            why: None,
            translated: None,
            incident: None,
            handshake,
        }
    }
}

/// Facts that only the bytes of captured packets show. Live, none of them is read: the kernel's programs read no
/// checksum and no timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The checksums of its SYNs and SYN/ACKs.
    pub sums: Checksums,
    /// The timestamps (TSval, RFC 7323, section 3.2) of its first and its last SYN; `None`: its SYNs have none.
    pub clock: Option<(u32, u32)>,
    /// The timestamp that a SYN/ACK echoes (TSecr), where no SYN of this attempt that was seen had it.
    pub echo: Option<u32>,
    /// The link-layer addresses that sent its first SYN and its RST, where no router is between and they are two: two
    /// hosts have the client's address, or a host has two cards.
    pub reset_by_another: Option<([u8; 6], [u8; 6])>,
    /// That of its first SYN, where no router is between.
    pub link: Option<[u8; 6]>,
}

/// The checksums of a handshake's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// Of SYNs.
    pub syns: Sums,
    /// Of SYN/ACKs.
    pub answers: Sums,
    /// Whether a wrong one is that of the UDP header of a tunnel around the packet.
    pub is_of_tunnel: bool,
}

/// Packets by their checksum. 255 stands for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Those whose checksum is wrong.
    pub wrong: u8,
    /// Those whose checksum is right, is computed later by a network card, or is not known.
    pub other: u8,
}

impl Sums {
    /// Whether there are any, and each is wrong.
    #[must_use]
    pub const fn are_all_wrong(self) -> bool {
        self.wrong > 0 && self.other == 0
    }
}

/// The words of Zeek and Wireshark for an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Zeek's connection state, such as `S0`.
    pub conn_state: &'static str,
    /// Zeek's history letters.
    pub history: History,
    /// Wireshark's `tcp.completeness`, the sum of the bits in [`Wireshark`].
    pub completeness: u8,
}

impl Foreign {
    /// Their words for the packets that lead to this state. Live, only these packets are known, without their order:
    /// data after the handshake and a repeated FIN or RST leave no trace.
    #[must_use]
    pub fn of(handshake: &Handshake) -> Self {
        let (mut zeek, mut wireshark) = (Zeek::default(), Wireshark::default());
        let see = |from, flags: u8, seq: Seq, ack: Seq, payload: u16| {
            let glance = Glance { flags: Flags(flags), seq, ack, payload, dissection: Dissection::Known };
            zeek.see(from, &glance);
            wireshark.see(from, &glance);
        };
        if handshake.state() == State::Unsolicited {
            replay_unasked(handshake, see);
        } else {
            replay(handshake, see);
        }
        Self { conn_state: zeek.conn_state(), history: zeek.history(), completeness: wireshark.completeness() }
    }
}

/// The packets that make an attempt, one after the other: sender, flags, sequence and acknowledgement number, payload.
fn replay(handshake: &Handshake, mut see: impl FnMut(Sender, u8, Seq, Seq, u16)) {
    use Sender::{First as Client, Other as Server};
    let [isn, server_isn] = [handshake.isn, handshake.server_isn];
    let [next, server_next] = [isn.add(1), server_isn.add(1)];
    let facts = handshake.facts;
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
    if handshake.answer.tries > 0 {
        see(Server, Flags::SYN | Flags::ACK, server_isn, next, 0);
    }
    match handshake.state() {
        State::Refused => see(Server, handshake.end.flags, Seq(0), next, 0),
        State::Aborted => see(Client, handshake.end.flags, next, server_next, 0),
        State::ResetOnAnswer => see(Server, handshake.end.flags, server_next, next, 0),
        State::Established => {
            let fin = handshake.end.flags & Flags::FIN;
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
        State::Free | State::SynSent | State::SynReceived | State::Unsolicited => {}
    }
}

/// The same for a conversation that begins with a SYN/ACK: the server is its first sender.
fn replay_unasked(handshake: &Handshake, mut see: impl FnMut(Sender, u8, Seq, Seq, u16)) {
    use Sender::{First as Server, Other as Client};
    let [next, server_next] = [handshake.isn.add(1), handshake.server_isn.add(1)];
    see(Server, Flags::SYN | Flags::ACK, handshake.server_isn, next, 0);
    if handshake.facts.any(Facts::CLIENT_RST) {
        see(Client, Flags::RST, next, server_next, 0);
    }
    if handshake.facts.any(Facts::SERVER_RST) {
        see(Server, Flags::RST, server_next, next, 0);
    }
}

/// An attempt without progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// When it was found stalled.
    pub at: Nanos,
    /// The sign that it stalled.
    pub by: StalledBy,
}

/// The sign by which an attempt is stalled.
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

/// The reliability of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// It was still open when it was reported: tracing ended, or it stalled.
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
        self.outcome.is_failure() || self.stalled.is_some() || self.recovered || self.is_unserved()
    }

    /// Whether it went wrong in any way, so that a verdict is made.
    #[must_use]
    pub fn wants_cause(&self) -> bool {
        let cut = matches!(self.outcome, Outcome::ResetByClient | Outcome::ResetByServer | Outcome::AnswerOnly);
        self.is_trouble()
            || cut
            || is_answer_unseen(&self.handshake)
            || self.was_answered_again()
            || self.left_out_options()
            || self.was_answered_twice_in_vain()
    }

    /// Whether two SYN/ACKs with different numbers opened it, and the client's data was never acknowledged.
    #[must_use]
    pub fn was_answered_twice_in_vain(&self) -> bool {
        const GOT_THROUGH: u32 = Facts::SERVER_DATA | Facts::SERVER_FIN | Facts::DATA_ACKED;
        let facts = self.handshake.facts;
        let is_lost = facts.any(Facts::CLIENT_DATA) && !facts.any(GOT_THROUGH);
        self.outcome.is_open() && facts.any(Facts::TWO_ANSWERS) && is_lost
    }

    /// Whether it opened only after its client had left out an option that people know by name.
    #[must_use]
    pub fn left_out_options(&self) -> bool {
        self.outcome.is_open() && self.handshake.facts.any(Facts::WITHOUT)
    }

    /// Whether the server repeated the SYN/ACK although the final ACK had passed, and nothing shows that it got the ACK.
    /// A SYN/ACK within a round trip of the ACK was sent before the ACK can have come.
    #[must_use]
    pub fn was_answered_again(&self) -> bool {
        const ACCEPTED: u32 = Facts::SERVER_DATA | Facts::SERVER_FIN | Facts::DATA_ACKED;
        let hs = &self.handshake;
        let is_again = hs.answer.tries > 1 && hs.first_answer <= hs.ended && hs.ended < hs.last_answer;
        let round_trip = hs.first_answer.since(hs.first_syn);
        self.outcome.is_open() && is_again && hs.last_answer.since(hs.ended) > round_trip && !hs.facts.any(ACCEPTED)
    }

    /// Whether the server reset the connection within a second of its opening, before it sent a byte.
    #[must_use]
    pub fn is_unserved(&self) -> bool {
        is_unserved(&self.handshake, self.outcome, self.seen.1)
    }

    /// Whether either side sent data.
    #[must_use]
    pub fn had_data(&self) -> bool {
        self.handshake.facts.any(Facts::CLIENT_DATA | Facts::SERVER_DATA)
    }

    /// Nanoseconds from the first packet seen to the last.
    #[must_use]
    pub fn duration(&self) -> u64 {
        self.seen.1.since(self.seen.0)
    }
}

/// Linux, Windows and macOS double the pause between tries: the next SYN comes within the time passed so far, and the
/// second within three seconds (RFC 6298, section 2; RFC 2988 before it). An attempt that is silent for twice that and
/// a little more has given up. If it tries again after all, it is reported again.
const GIVE_UP_SLACK: u64 = 5_000_000_000;

/// The time after the start of tracing within which an attempt may have begun before it: Linux's longest pause.
const LONGEST_PAUSE: u64 = 64_000_000_000;

/// The time that an attempt may be silent before it counts as given up.
#[must_use]
pub fn patience(handshake: &Handshake, stall_after: u64) -> u64 {
    let tried_for = handshake.last_seen().since(handshake.first_syn);
    stall_after.max(tried_for.saturating_mul(2).saturating_add(GIVE_UP_SLACK))
}

/// Whether the server sent its SYN/ACK again for want of an ACK, twice. A SYN that is sent again provokes one more at
/// once: two timers that fire together (both begin with a second, RFC 6298, section 2) make three SYN/ACKs of one that
/// was lost.
#[must_use]
pub fn is_unacknowledged(handshake: &Handshake) -> bool {
    /// Half of two pauses, of one and two seconds.
    const TWO_PAUSES: u64 = 1_500_000_000;
    handshake.answer.tries >= STALLED_AT_TRY && handshake.last_answer.since(handshake.first_answer) >= TWO_PAUSES
}

/// Whether an established attempt had been in trouble before.
#[must_use]
pub fn was_in_trouble(handshake: &Handshake, stalled: Option<Stalled>, stall_after: u64) -> bool {
    const TROUBLE: u32 = Facts::RECOVERING | Facts::UNREACHABLE | Facts::CHALLENGED | Facts::WRONG_ANSWER;
    stalled.is_some_and(|stalled| stalled.at <= handshake.ended)
        || handshake.facts.any(TROUBLE)
        || handshake.syn.tries >= STALLED_AT_TRY
        || is_unacknowledged(handshake) && handshake.last_answer <= handshake.ended
        || handshake.ended.since(handshake.first_syn) >= stall_after
}

/// Whether the server reset a connection within a second of its opening, before it sent a byte; `last` is the time of
/// the RST.
#[must_use]
pub fn is_unserved(handshake: &Handshake, outcome: Outcome, last: Nanos) -> bool {
    const AT_ONCE: u64 = 1_000_000_000;
    let facts = handshake.facts;
    // A client that closes without a word wanted nothing.
    let is_wanted = !facts.any(Facts::CLIENT_FIN) || facts.any(Facts::CLIENT_DATA);
    outcome == Outcome::ResetByServer
        && is_wanted
        && !facts.any(Facts::SERVER_DATA | Facts::SERVER_FIN)
        && last.since(handshake.ended) <= AT_ONCE
}

/// Whether an attempt may have begun before tracing did.
#[must_use]
pub fn may_have_begun_earlier(handshake: &Handshake, started: Nanos) -> bool {
    handshake.first_syn.since(started) < LONGEST_PAUSE
}

/// Whether it completed and its SYN/ACK passed elsewhere. Where both ends opened, each may have had its answer from the
/// other's SYN; a socket connected to itself is both ends.
#[must_use]
pub fn is_answer_unseen(handshake: &Handshake) -> bool {
    handshake.facts.any(Facts::ANSWER_UNSEEN)
        && !handshake.facts.any(Facts::CROSSED)
        && handshake.client() != handshake.server()
}

/// A handshake's id.
#[must_use]
pub fn id(handshake: &Handshake) -> u64 {
    flow::handshake_id(handshake.client(), handshake.server(), handshake.isn.0)
}
