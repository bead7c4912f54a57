//! The line of an attempt: its end, its stall, or that it opened.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use tcptrace_core::{
    handshake::{Facts, Handshake, Nanos, Offer, Point, Side, State},
    segment::{Flags, Icmp, Options},
    tunnel,
};
use tcptrace_vocabulary::{
    attempt::{self, Attempt, OtherHalf, StalledBy},
    icmp::Meaning,
    outcome::Outcome,
    report::Report,
    words::{NEGOTIATED, flag_names},
};

use super::{
    part::{Direction, Endpoint, Seconds},
    short::{HandshakeId, Ip, Time},
    why::{self, CauseLine, LocalLine, MissingLine, ScopeLine},
    word::{Version, Word},
};
use crate::Setting;

/// A report's line, without its end.
#[must_use]
pub fn line(report: &Report, setting: &Setting) -> String {
    let mut bytes = Vec::with_capacity(1536);
    write(&mut bytes, report, setting);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Appends a report's line, without its end.
pub fn write(into: &mut Vec<u8>, report: &Report, setting: &Setting) {
    let line = match report {
        Report::Stall(attempt) => AttemptLine::of(AttemptType::Stall, attempt, setting),
        Report::Open(attempt) => AttemptLine::of(AttemptType::Open, attempt, setting),
        Report::Attempt(attempt) => AttemptLine::of(AttemptType::Attempt, attempt, setting),
    };
    // Neither of serde_json's errors can occur: every key is a string, and writing to memory does not fail.
    let _ = serde_json::to_writer(into, &line);
}

/// An attempt. Structs are written field by field: a tree of values costs ten times as much.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "attempt", description = "An attempt to open a connection.", deny_unknown_fields)]
pub(super) struct AttemptLine<'a> {
    v: Version,
    /// a stall, or with --all a live completion, is reported at once; the attempt's own line follows
    r#type: AttemptType,
    /// FNV-1a over client, server and ISN: the same on every machine that sees the handshake
    handshake_id: HandshakeId,
    outcome: Word<Outcome>,
    /// nmap's word for what was seen
    reason: Option<&'static str>,
    /// how far it had come when it was reset; null for outcomes that imply it
    stage: Option<Stage>,
    stalled: Option<Stalled>,
    /// established after it had been reported as stalled or failed
    recovered: bool,
    client: Endpoint,
    server: Endpoint,
    first_seen: Time,
    last_seen: Time,
    syn: Option<Offered>,
    syn_ack: Option<Offered>,
    times: Times,
    agreed: Option<Agreed>,
    end: Option<End>,
    icmp: Option<IcmpLine>,
    /// another address than the SYN went to
    answered_from: Option<Ip>,
    zeek: Zeek<'a>,
    wireshark: Wireshark,
    facts: FactNames,
    seen: Seen<'a>,
    cause: Option<CauseLine<'a>>,
    scope: Option<ScopeLine<'a>>,
    /// its other half, where a host that is watched translated it; null if no other half is known
    translated: Option<TranslatedObject>,
    /// the number of its incident; null without trouble, and if a flood or scan stands for it
    incident: Option<u64>,
    local: Option<LocalLine<'a>>,
    trust: Trust,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Outer")]
    outer: Option<Outer>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum AttemptType {
    Attempt,
    Stall,
    Open,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Stage {
    BeforeAnswer,
    AfterAnswer,
    PostAck,
    // The client sent data, the server none. No doc comment: it would take the word out of the schema's list.
    Unserved,
    PostData,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Stalled {
    at: Time,
    by: Word<StalledBy>,
}

/// What the first SYN or the first SYN/ACK of a side said, and how often it was sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "offer", deny_unknown_fields)]
struct Offered {
    /// 255 stands for more
    #[schemars(range(min = 1))]
    tries: u8,
    #[schemars(range(max = 4_294_967_295_u32))]
    isn: u32,
    /// as on the wire: unscaled
    window: u16,
    ttl: u8,
    options: OptionList,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct OptionList {
    mss: Option<u16>,
    window_scale: Option<u8>,
    sack_permitted: bool,
    timestamps: bool,
    fast_open: bool,
    mptcp: bool,
    ecn: bool,
    malformed: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Times {
    /// from the SYN that was answered
    syn_to_synack_s: Option<Seconds>,
    synack_to_ack_s: Option<Seconds>,
    /// from the first SYN to the final ACK
    handshake_s: Option<Seconds>,
    /// from the first packet to the last
    open_s: Option<Seconds>,
}

/// The RST that ended the handshake, or the connection.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct End {
    by: Word<Side>,
    flags: String,
    ttl: u8,
    /// as on the wire: unscaled
    window: u16,
}

/// The ICMP or ICMPv6 error about the SYN.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct IcmpLine {
    from: Option<Ip>,
    r#type: u8,
    code: u8,
    /// nmap's word for it
    reason: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Zeek<'a> {
    #[schemars(extend("enum" = ["S0", "S1", "S2", "S3", "SF", "SH", "SHR", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "OTH"]))]
    conn_state: &'static str,
    #[schemars(extend("pattern" = r"^[\^ShHAaDdFfRrIiQqs]*$"))]
    history: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Wireshark {
    #[schemars(range(max = 63))]
    completeness: u8,
}

/// The addresses of the other half of a translated attempt.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct TranslatedObject {
    client: Endpoint,
    server: Endpoint,
}

/// The interface and direction by which each side's packets were counted.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Seen<'a> {
    client: Option<Where<'a>>,
    server: Option<Where<'a>>,
}

/// Where a side's packets were counted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "point", deny_unknown_fields)]
struct Where<'a> {
    interface: Cow<'a, str>,
    direction: Option<Direction>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Trust {
    still_open: bool,
    may_have_begun_earlier: bool,
    events_lost: u64,
    attempts_lost: u64,
    /// the SYN/ACK or the SYN did not pass here
    one_direction: bool,
    /// facts of this host that were looked up and are not known, each with the reason
    missing: Vec<MissingLine>,
}

/// With --decap: the tunnel that the first packet came in, and its ends.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Outer {
    kind: Word<tunnel::Kind>,
    client_side: Option<Ip>,
    server_side: Option<Ip>,
}

impl<'a> AttemptLine<'a> {
    fn of(kind: AttemptType, attempt: &'a Attempt, setting: &'a Setting) -> Self {
        let hs = &attempt.handshake;
        let why = attempt.why.as_deref();
        let time = |at: Nanos| Time::of(setting.clock.wall(at));
        Self {
            v: Version,
            r#type: kind,
            handshake_id: HandshakeId::of(attempt.id()),
            outcome: Word(attempt.outcome),
            reason: reason(attempt),
            stage: stage(attempt),
            stalled: attempt.stalled.map(|attempt::Stalled { at, by }| Stalled { at: time(at), by: Word(by) }),
            recovered: attempt.recovered,
            client: Endpoint::of(hs.client()),
            server: Endpoint::of(hs.server()),
            first_seen: time(attempt.seen.0),
            last_seen: time(attempt.seen.1),
            syn: (hs.syn.tries > 0).then(|| Offered::of(&hs.syn, hs.isn.0)),
            syn_ack: (hs.answer.tries > 0).then(|| Offered::of(&hs.answer, answer_isn(hs))),
            times: Times::of(attempt),
            agreed: (hs.answer.tries > 0).then_some(Agreed(hs.syn.options & hs.answer.options)),
            end: End::of(hs),
            icmp: hs.unreachable().map(|icmp| IcmpLine::of(icmp, attempt)),
            answered_from: attempt.answered_from.map(Ip::of),
            zeek: Zeek { conn_state: attempt.foreign.conn_state, history: &attempt.foreign.history },
            wireshark: Wireshark { completeness: attempt.foreign.completeness },
            facts: FactNames(hs.facts),
            seen: Seen { client: Where::of(hs.client_point, setting), server: Where::of(hs.server_point, setting) },
            cause: why.map(|why| CauseLine::of(&why.verdict, why.recorded)),
            scope: why.map(|why| ScopeLine::of(&why.verdict)),
            translated: attempt.translated.map(|OtherHalf { client, server, .. }| TranslatedObject {
                client: Endpoint::of(client),
                server: Endpoint::of(server),
            }),
            incident: attempt.incident,
            local: why.and_then(LocalLine::of),
            trust: Trust::of(attempt),
            outer: attempt.outer.and_then(Outer::of),
        }
    }
}

impl Times {
    fn of(attempt: &Attempt) -> Self {
        let hs = &attempt.handshake;
        let is_established = hs.state() == State::Established;
        // The ACK stands before what it acknowledges.
        let is_early = hs.facts.any(Facts::OUT_OF_ORDER) && hs.ended < hs.first_answer;
        Self {
            syn_to_synack_s: hs.syn_to_answer().map(Seconds::of),
            synack_to_ack_s: hs.answer_to_ack().map(Seconds::of),
            handshake_s: (is_established && !is_early).then(|| Seconds::of(hs.ended.since(hs.first_syn))),
            open_s: Some(Seconds::of(attempt.duration())),
        }
    }
}

impl Trust {
    fn of(attempt: &Attempt) -> Self {
        let attempt::Trust { still_open, may_have_begun_earlier, events_lost, attempts_lost } = attempt.trust;
        Self {
            still_open,
            may_have_begun_earlier,
            events_lost,
            attempts_lost,
            one_direction: attempt::is_answer_unseen(&attempt.handshake) || attempt.outcome == Outcome::AnswerOnly,
            missing: why::missing(attempt.why.as_deref()),
        }
    }
}

/// The stage at which an attempt was reset; `None` for outcomes that imply it.
fn stage(attempt: &Attempt) -> Option<Stage> {
    match attempt.outcome {
        Outcome::Aborted if attempt.handshake.answer.tries == 0 => Some(Stage::BeforeAnswer),
        Outcome::Aborted => Some(Stage::AfterAnswer),
        Outcome::ResetByClient | Outcome::ResetByServer => {
            let has = |fact| attempt.handshake.facts.any(fact);
            Some(match (has(Facts::CLIENT_DATA), has(Facts::SERVER_DATA)) {
                (_, true) => Stage::PostData,
                (true, false) => Stage::Unserved,
                (false, false) => Stage::PostAck,
            })
        }
        Outcome::NoReply
        | Outcome::Refused
        | Outcome::Unreachable
        | Outcome::Challenged
        | Outcome::HalfOpen
        | Outcome::ResetOnAnswer
        | Outcome::WrongAnswer
        | Outcome::Established
        | Outcome::Closed
        | Outcome::HalfClosed
        | Outcome::AnswerOnly
        | Outcome::Midstream => None,
    }
}

/// nmap's word for what was seen.
fn reason(attempt: &Attempt) -> Option<&'static str> {
    match attempt.outcome {
        // Something came, and its receiver ignored it.
        Outcome::NoReply if attempt.handshake.facts.any(Facts::RST_IGNORED) => Some("reset"),
        Outcome::NoReply => Some("no-response"),
        Outcome::Refused | Outcome::Aborted | Outcome::ResetOnAnswer => Some("reset"),
        Outcome::Unreachable => attempt.handshake.unreachable().map(|icmp| Meaning::of(icmp).word()),
        Outcome::HalfOpen | Outcome::Established | Outcome::WrongAnswer | Outcome::AnswerOnly => Some("syn-ack"),
        Outcome::Closed | Outcome::HalfClosed => Some("fin"),
        Outcome::ResetByClient | Outcome::ResetByServer => Some("reset"),
        Outcome::Midstream => None,
        Outcome::Challenged => Some("ack"),
    }
}

/// The number of the SYN/ACK. Where SYNs crossed and only the client sent one, it is the client's.
fn answer_isn(hs: &Handshake) -> u32 {
    let is_clients = hs.facts.any(Facts::CLIENT_ANSWERED) && hs.server_point == Point::default();
    if is_clients { hs.isn.0 } else { hs.server_isn.0 }
}

impl Offered {
    fn of(offer: &Offer, isn: u32) -> Self {
        let has = |option| offer.options & option != 0;
        let options = OptionList {
            mss: has(Options::MSS).then_some(offer.mss),
            window_scale: has(Options::WINDOW_SCALE).then_some(offer.window_scale),
            sack_permitted: has(Options::SACK_PERMITTED),
            timestamps: has(Options::TIMESTAMPS),
            fast_open: has(Options::FAST_OPEN),
            mptcp: has(Options::MPTCP),
            ecn: has(Options::ECN),
            malformed: has(Options::MALFORMED),
        };
        Self { tries: offer.tries, isn, window: offer.window, ttl: offer.ttl, options }
    }
}

impl End {
    /// The RST that ended the handshake, or the connection, as far as it tells who sent it.
    fn of(hs: &Handshake) -> Option<Self> {
        let by = match hs.state() {
            State::Refused | State::ResetOnAnswer => Side::Server,
            State::Aborted => Side::Client,
            State::Established if hs.end.flags & Flags::RST != 0 => {
                if hs.facts.any(Facts::CLIENT_RST) {
                    Side::Client
                } else {
                    Side::Server
                }
            }
            State::Free | State::SynSent | State::SynReceived | State::Established | State::Unsolicited => return None,
        };
        Some(Self { by: Word(by), flags: flag_names(hs.end.flags), ttl: hs.end.ttl, window: hs.end.window })
    }
}

impl IcmpLine {
    fn of(icmp: Icmp, attempt: &Attempt) -> Self {
        let from = attempt.icmp_from.map(Ip::of);
        Self { from, r#type: icmp.kind, code: icmp.code, reason: Meaning::of(icmp).word() }
    }
}

impl<'a> Where<'a> {
    fn of(at: Point, setting: &'a Setting) -> Option<Self> {
        let direction = match (setting.undirected.contains(&at.ifindex()), at.is_egress()) {
            (true, false) => None,
            (_, true) => Some(Direction::Out),
            (false, false) => Some(Direction::In),
        };
        (at != Point::default()).then(|| Self { interface: setting.interface_name(at.ifindex()), direction })
    }
}

impl Outer {
    fn of(outer: tunnel::Outer) -> Option<Self> {
        let (client_side, server_side) = outer.ends().map(|(from, to)| (Ip::of(from), Ip::of(to))).unzip();
        Some(Self { kind: Word(outer.kind()?), client_side, server_side })
    }
}

/// The negotiated options, each with whether both sides offered it.
struct Agreed(u8);

impl Serialize for Agreed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(NEGOTIATED.iter().map(|&(bit, name, _)| (name, self.0 & bit != 0)))
    }
}

impl JsonSchema for Agreed {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "agreed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "options that both sides offered; null before a SYN/ACK",
            "additionalProperties": { "type": "boolean" },
        })
    }
}

/// The names of the facts that are set.
struct FactNames(Facts);

impl Serialize for FactNames {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(FACTS.iter().filter(|(bit, _)| self.0.any(*bit)).map(|(_, name)| name))
    }
}

impl JsonSchema for FactNames {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "facts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true })
    }
}

/// The names of the facts, in the order of their bits.
const FACTS: [(u32, &str); 32] = [
    (Facts::ANSWER_UNSEEN, "answer_unseen"),
    (Facts::CHALLENGED, "challenged"),
    (Facts::WRONG_ANSWER, "wrong_answer"),
    (Facts::TWO_ANSWERS, "two_answers"),
    (Facts::CROSSED, "crossed"),
    (Facts::ODD_SYN, "odd_syn"),
    (Facts::SYN_DATA, "syn_data"),
    (Facts::FALLBACK, "fallback"),
    (Facts::UNREACHABLE, "unreachable"),
    (Facts::ANSWER_UNREACHABLE, "answer_unreachable"),
    (Facts::RST_IGNORED, "rst_ignored"),
    (Facts::STRAY, "stray"),
    (Facts::CLIENT_FIN, "client_fin"),
    (Facts::SERVER_FIN, "server_fin"),
    (Facts::CLIENT_RST, "client_rst"),
    (Facts::SERVER_RST, "server_rst"),
    (Facts::RECOVERING, "recovering"),
    (Facts::CLIENT_ANSWERED, "client_answered"),
    (Facts::CLIENT_DATA, "client_data"),
    (Facts::SERVER_DATA, "server_data"),
    (Facts::ANSWER_REJECTED, "answer_rejected"),
    (Facts::ANSWER_ID, "answer_id"),
    (Facts::RST_ID, "rst_id"),
    (Facts::RST_OPTIONS, "rst_options"),
    (Facts::RST_SEQ, "rst_seq"),
    (Facts::ACK_IGNORED, "ack_ignored"),
    (Facts::WITHOUT_TIMESTAMPS, "without_timestamps"),
    (Facts::WITHOUT_FAST_OPEN, "without_fast_open"),
    (Facts::WITHOUT_MPTCP, "without_mptcp"),
    (Facts::WITHOUT_ECN, "without_ecn"),
    (Facts::OUT_OF_ORDER, "out_of_order"),
    (Facts::DATA_ACKED, "data_acked"),
];
