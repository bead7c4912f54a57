//! One JSON object a line, versioned: the contract with programs. Unknown is null; the reason is in `trust` or in the
//! state of the attempt.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use tcptrace_core::{
    handshake::{Facts, Handshake, Nanos, Offer, Point, State},
    segment::{Flags, Icmp, Options},
    tunnel,
};
use tcptrace_vocabulary::{
    attempt::Attempt,
    icmp::icmp_reason,
    outcome::Outcome,
    report::Report,
    words::{NEGOTIATED, flag_names},
};

use crate::{
    Setting,
    short::{self, Short},
    why::{self, CauseLine, LocalLine, MissingLine, ScopeLine},
};

/// The schema's version: the `v` of every line.
pub const VERSION: u32 = 1;

/// The JSON Schema of every line.
pub const SCHEMA: &str = include_str!("schema.json");

/// A report's line, without its end.
#[must_use]
pub fn line(report: &Report, setting: &Setting) -> String {
    let mut octets = Vec::with_capacity(1536);
    write(&mut octets, report, setting);
    String::from_utf8(octets).unwrap_or_default()
}

/// Appends a report's line, without its end.
pub fn write(into: &mut Vec<u8>, report: &Report, setting: &Setting) {
    let line = match report {
        Report::Stall(it) => Line::of("stall", it, setting),
        Report::Open(it) => Line::of("open", it, setting),
        Report::Attempt(it) => Line::of("attempt", it, setting),
    };
    // No map has a key that is no text, and memory takes everything: neither of serde_json's errors can be.
    let _ = serde_json::to_writer(into, &line);
}

/// A line. Structs whose fields are written as they come: a tree of values costs ten times as much.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    r#type: &'static str,
    handshake_id: Short,
    outcome: &'static str,
    reason: Option<&'static str>,
    stage: Option<&'static str>,
    stalled: Option<Stalled>,
    recovered: bool,
    client: Endpoint,
    server: Endpoint,
    first_seen: Short,
    last_seen: Short,
    syn: Option<Offered>,
    syn_ack: Option<Offered>,
    times: Times,
    agreed: Option<Agreed>,
    end: Option<End>,
    icmp: Option<IcmpLine>,
    answered_from: Option<Short>,
    zeek: Zeek<'a>,
    wireshark: Wireshark,
    facts: FactNames,
    seen: Seen<'a>,
    cause: Option<CauseLine<'a>>,
    scope: Option<ScopeLine<'a>>,
    local: Option<LocalLine<'a>>,
    trust: Trust,
    #[serde(skip_serializing_if = "Option::is_none")]
    outer: Option<Outer>,
}

#[derive(Serialize)]
struct Stalled {
    at: Short,
    by: &'static str,
}

#[derive(Serialize)]
pub(super) struct Endpoint {
    ip: Short,
    port: u16,
}

impl Endpoint {
    pub(super) fn of(it: tcptrace_core::flow::Endpoint) -> Self {
        Self { ip: short::ip(it.addr), port: it.port }
    }
}

#[derive(Serialize)]
struct Offered {
    tries: u8,
    isn: u32,
    window: u16,
    ttl: u8,
    options: OptionList,
}

#[derive(Serialize)]
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

#[derive(Serialize)]
struct Times {
    syn_to_synack_s: Option<f64>,
    synack_to_ack_s: Option<f64>,
    handshake_s: Option<f64>,
    open_s: Option<f64>,
}

#[derive(Serialize)]
struct End {
    by: &'static str,
    flags: String,
    ttl: u8,
    window: u16,
}

#[derive(Serialize)]
struct IcmpLine {
    from: Option<Short>,
    r#type: u8,
    code: u8,
    reason: &'static str,
}

#[derive(Serialize)]
struct Zeek<'a> {
    conn_state: &'static str,
    history: &'a str,
}

#[derive(Serialize)]
struct Wireshark {
    completeness: u8,
}

#[derive(Serialize)]
struct Seen<'a> {
    client: Option<Where<'a>>,
    server: Option<Where<'a>>,
}

#[derive(Serialize)]
struct Where<'a> {
    interface: Cow<'a, str>,
    direction: Option<&'static str>,
}

#[derive(Serialize)]
struct Trust {
    still_open: bool,
    may_have_begun_earlier: bool,
    events_lost: u64,
    attempts_lost: u64,
    /// Only one direction came by here.
    one_direction: bool,
    missing: Vec<MissingLine>,
}

#[derive(Serialize)]
struct Outer {
    kind: &'static str,
    client_side: Option<Short>,
    server_side: Option<Short>,
}

impl<'a> Line<'a> {
    fn of(kind: &'static str, it: &'a Attempt, setting: &'a Setting) -> Self {
        let hs = &it.handshake;
        let time = |at: Nanos| short::time(setting.clock.wall(at));
        Self {
            v: VERSION,
            r#type: kind,
            handshake_id: short::hex(it.id()),
            outcome: it.outcome.name(),
            reason: reason(it),
            stage: stage(it),
            stalled: it.stalled.map(|stalled| Stalled { at: time(stalled.at), by: stalled.by.name() }),
            recovered: it.recovered,
            client: Endpoint::of(hs.client()),
            server: Endpoint::of(hs.server()),
            first_seen: time(it.seen.0),
            last_seen: time(it.seen.1),
            syn: (hs.syn.tries > 0).then(|| Offered::of(&hs.syn, hs.isn.0)),
            syn_ack: (hs.answer.tries > 0).then(|| Offered::of(&hs.answer, hs.server_isn.0)),
            times: Times {
                syn_to_synack_s: seconds(hs.syn_to_answer()),
                synack_to_ack_s: seconds(hs.answer_to_ack()),
                handshake_s: seconds((hs.state() == State::Established).then(|| hs.ended.since(hs.first_syn))),
                open_s: seconds(Some(it.duration())),
            },
            // What both sides offered; null before the SYN/ACK.
            agreed: (hs.answer.tries > 0).then_some(Agreed(hs.syn.options & hs.answer.options)),
            end: End::of(hs),
            icmp: hs.unreachable().map(|icmp| IcmpLine::of(icmp, it)),
            answered_from: it.answered_from.map(short::ip),
            zeek: Zeek { conn_state: it.foreign.conn_state, history: &it.foreign.history },
            wireshark: Wireshark { completeness: it.foreign.completeness },
            facts: FactNames(hs.facts),
            seen: Seen { client: Where::of(hs.client_point, setting), server: Where::of(hs.server_point, setting) },
            cause: it.why.as_deref().map(|it| CauseLine::of(&it.verdict)),
            scope: it.why.as_deref().map(|it| ScopeLine::of(&it.verdict)),
            local: it.why.as_deref().and_then(LocalLine::of),
            trust: Trust {
                still_open: it.trust.still_open,
                may_have_begun_earlier: it.trust.may_have_begun_earlier,
                events_lost: it.trust.events_lost,
                attempts_lost: it.trust.attempts_lost,
                one_direction: hs.facts.any(Facts::ANSWER_UNSEEN) || it.outcome == Outcome::AnswerOnly,
                missing: why::missing(it.why.as_deref()),
            },
            outer: it.outer.and_then(Outer::of),
        }
    }
}

/// How far an attempt had come when it was reset; null for outcomes that say it themselves.
fn stage(it: &Attempt) -> Option<&'static str> {
    match (it.outcome, it.handshake.answer.tries) {
        (Outcome::Aborted, 0) => Some("before_answer"),
        (Outcome::Aborted, _) => Some("after_answer"),
        (Outcome::ResetByClient | Outcome::ResetByServer, _) if it.had_data() => Some("post_data"),
        (Outcome::ResetByClient | Outcome::ResetByServer, _) => Some("post_ack"),
        _ => None,
    }
}

/// nmap's word for what was seen.
fn reason(it: &Attempt) -> Option<&'static str> {
    match it.outcome {
        Outcome::NoReply => Some("no-response"),
        Outcome::Refused | Outcome::Aborted | Outcome::ResetOnAnswer => Some("reset"),
        Outcome::Unreachable => it.handshake.unreachable().map(icmp_reason),
        Outcome::HalfOpen | Outcome::Established | Outcome::WrongAnswer | Outcome::AnswerOnly => Some("syn-ack"),
        Outcome::Closed | Outcome::HalfClosed => Some("fin"),
        Outcome::ResetByClient | Outcome::ResetByServer => Some("reset"),
        Outcome::Midstream => None,
        Outcome::Challenged => Some("ack"),
    }
}

impl Offered {
    fn of(it: &Offer, isn: u32) -> Self {
        let has = |option| it.options & option != 0;
        let options = OptionList {
            mss: has(Options::MSS).then_some(it.mss),
            window_scale: has(Options::WINDOW_SCALE).then_some(it.window_scale),
            sack_permitted: has(Options::SACK_PERMITTED),
            timestamps: has(Options::TIMESTAMPS),
            fast_open: has(Options::FAST_OPEN),
            mptcp: has(Options::MPTCP),
            ecn: has(Options::ECN),
            malformed: has(Options::MALFORMED),
        };
        Self { tries: it.tries, isn, window: it.window, ttl: it.ttl, options }
    }
}

impl End {
    /// The RST that ended the handshake, or the connection, as far as it tells who sent it.
    fn of(hs: &Handshake) -> Option<Self> {
        let by = match hs.state() {
            State::Refused | State::ResetOnAnswer => "server",
            State::Aborted => "client",
            State::Established if hs.end.flags & Flags::RST != 0 => {
                if hs.facts.any(Facts::CLIENT_RST) {
                    "client"
                } else {
                    "server"
                }
            }
            State::Free | State::SynSent | State::Answered | State::Established | State::Unasked => return None,
        };
        Some(Self { by, flags: flag_names(hs.end.flags), ttl: hs.end.ttl, window: hs.end.window })
    }
}

impl IcmpLine {
    fn of(icmp: Icmp, it: &Attempt) -> Self {
        let from = it.icmp_from.map(short::ip);
        Self { from, r#type: icmp.kind, code: icmp.code, reason: icmp_reason(icmp) }
    }
}

impl<'a> Where<'a> {
    fn of(at: Point, setting: &'a Setting) -> Option<Self> {
        let direction = match (setting.undirected.contains(&at.ifindex()), at.is_egress()) {
            (true, false) => None,
            (_, true) => Some("out"),
            (false, false) => Some("in"),
        };
        (at != Point::default()).then(|| Self { interface: setting.interface_name(at.ifindex()), direction })
    }
}

impl Outer {
    fn of(it: tunnel::Outer) -> Option<Self> {
        let (client_side, server_side) = it.ends().map(|(from, to)| (short::ip(from), short::ip(to))).unzip();
        Some(Self { kind: it.kind()?.name(), client_side, server_side })
    }
}

fn seconds(nanos: Option<u64>) -> Option<f64> {
    nanos.map(|it| it as f64 / 1e9)
}

/// The negotiated options, those that both sides have set.
struct Agreed(u8);

impl Serialize for Agreed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(NEGOTIATED.iter().map(|&(bit, name, _)| (name, self.0 & bit != 0)))
    }
}

/// The names of the facts that are set.
struct FactNames(Facts);

impl Serialize for FactNames {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(FACTS.iter().filter(|(bit, _)| self.0.any(*bit)).map(|(_, name)| name))
    }
}

/// The names of the facts, in the order of their bits.
const FACTS: [(u32, &str); 25] = [
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
];
