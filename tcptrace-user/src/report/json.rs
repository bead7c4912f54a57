//! One JSON object a line, versioned: the contract with programs. Unknown is null; the reason is in `trust` or in the
//! state of the attempt.

use serde_json::{Map, Value, json};
use tcptrace_core::{
    flow::Endpoint,
    handshake::{Facts, Handshake, Nanos, Offer, Point, State},
    outcome::Outcome,
    segment::Options,
};

use super::{NEGOTIATED, Setting, flag_names, icmp_reason, ip};
use crate::{attempt::Attempt, track::Report};

/// The schema's version: the `v` of every line.
pub const VERSION: u32 = 1;

/// The JSON Schema of every line.
pub const SCHEMA: &str = include_str!("schema.json");

/// A report's line, without its end.
#[must_use]
pub fn line(report: &Report, setting: &Setting) -> String {
    match report {
        Report::Stall(it) => attempt("stall", it, setting),
        Report::Open(it) => attempt("open", it, setting),
        Report::Attempt(it) => attempt("attempt", it, setting),
    }
    .to_string()
}

fn attempt(kind: &str, it: &Attempt, setting: &Setting) -> Value {
    let mut line = plain_attempt(kind, it, setting);
    if let (Some(outer), Some(line)) = (it.outer, line.as_object_mut()) {
        let end = |addr| ip(addr).to_string();
        let (client, server) = outer.ends.map(|(from, to)| (end(from), end(to))).unzip();
        line.insert("outer".to_owned(), json!({ "kind": outer.kind, "client_side": client, "server_side": server }));
    }
    line
}

fn plain_attempt(kind: &str, it: &Attempt, setting: &Setting) -> Value {
    let hs = &it.handshake;
    let time = |at: Nanos| format!("{:.9}", setting.timestamp(at));
    json!({
        "v": VERSION,
        "type": kind,
        "handshake_id": format!("{:016x}", it.id()),
        "outcome": it.outcome.name(),
        "reason": reason(it),
        "stage": stage(it),
        "stalled": it.stalled.map(|stalled| json!({ "at": time(stalled.at), "by": stalled.by.name() })),
        "recovered": it.recovered,
        "client": endpoint(hs.client()),
        "server": endpoint(hs.server()),
        "first_seen": time(it.seen.0),
        "last_seen": time(it.seen.1),
        "syn": (hs.syn.tries > 0).then(|| offer(&hs.syn, hs.isn.0)),
        "syn_ack": (hs.answer.tries > 0).then(|| offer(&hs.answer, hs.server_isn.0)),
        "times": {
            "syn_to_synack_s": seconds(hs.syn_to_answer()),
            "synack_to_ack_s": seconds(hs.answer_to_ack()),
            "handshake_s": seconds((hs.state() == State::Established).then(|| hs.ended.since(hs.first_syn))),
            "open_s": seconds(Some(it.duration())),
        },
        "agreed": agreed(hs),
        "end": end(hs),
        "icmp": hs.unreachable().map(|icmp| json!({
            "from": it.icmp_from.map(|from| ip(from).to_string()),
            "type": icmp.kind,
            "code": icmp.code,
            "reason": icmp_reason(icmp),
        })),
        "answered_from": it.answered_from.map(|from| ip(from).to_string()),
        "zeek": { "conn_state": it.foreign.conn_state, "history": it.foreign.history },
        "wireshark": { "completeness": it.foreign.completeness },
        "facts": facts(hs.facts),
        "seen": { "client": point(hs.client_point, setting), "server": point(hs.server_point, setting) },
        "trust": {
            "still_open": it.trust.still_open,
            "may_have_begun_earlier": it.trust.may_have_begun_earlier,
            "events_lost": it.trust.events_lost,
            "attempts_lost": it.trust.attempts_lost,
        },
    })
}

/// How far an attempt had come when it was reset; null for outcomes that say it themselves.
fn stage(it: &Attempt) -> Value {
    match (it.outcome, it.handshake.answer.tries) {
        (Outcome::Aborted, 0) => json!("before_answer"),
        (Outcome::Aborted, _) => json!("after_answer"),
        (Outcome::ResetByClient | Outcome::ResetByServer, _) if it.had_data() => json!("post_data"),
        (Outcome::ResetByClient | Outcome::ResetByServer, _) => json!("post_ack"),
        _ => Value::Null,
    }
}

/// nmap's word for what was seen.
fn reason(it: &Attempt) -> Value {
    match it.outcome {
        Outcome::NoReply => json!("no-response"),
        Outcome::Refused | Outcome::Aborted | Outcome::ResetOnAnswer => json!("reset"),
        Outcome::Unreachable => it.handshake.unreachable().map_or(Value::Null, |icmp| json!(icmp_reason(icmp))),
        Outcome::HalfOpen | Outcome::Established | Outcome::WrongAnswer | Outcome::AnswerOnly => json!("syn-ack"),
        Outcome::Closed | Outcome::HalfClosed => json!("fin"),
        Outcome::ResetByClient | Outcome::ResetByServer => json!("reset"),
        Outcome::Midstream => Value::Null,
        Outcome::Challenged => json!("ack"),
    }
}

fn endpoint(it: Endpoint) -> Value {
    json!({ "ip": ip(it.addr).to_string(), "port": it.port })
}

fn offer(it: &Offer, isn: u32) -> Value {
    let has = |option| it.options & option != 0;
    json!({
        "tries": it.tries,
        "isn": isn,
        "window": it.window,
        "ttl": it.ttl,
        "options": {
            "mss": has(Options::MSS).then_some(it.mss),
            "window_scale": has(Options::WINDOW_SCALE).then_some(it.window_scale),
            "sack_permitted": has(Options::SACK_PERMITTED),
            "timestamps": has(Options::TIMESTAMPS),
            "fast_open": has(Options::FAST_OPEN),
            "mptcp": has(Options::MPTCP),
            "ecn": has(Options::ECN),
            "malformed": has(Options::MALFORMED),
        },
    })
}

/// What both sides offered; null before the SYN/ACK.
fn agreed(hs: &Handshake) -> Value {
    if hs.answer.tries == 0 {
        return Value::Null;
    }
    let both = hs.syn.options & hs.answer.options;
    Value::Object(
        NEGOTIATED.iter().map(|&(bit, name, _)| (name.to_owned(), json!(both & bit != 0))).collect::<Map<_, _>>(),
    )
}

/// The RST that ended it, as far as it tells who sent it.
fn end(hs: &Handshake) -> Value {
    let by = match hs.state() {
        State::Refused | State::ResetOnAnswer => "server",
        State::Aborted => "client",
        State::Free | State::SynSent | State::Answered | State::Established | State::Unasked => {
            return Value::Null;
        }
    };
    json!({ "by": by, "flags": flag_names(hs.end.flags), "ttl": hs.end.ttl, "window": hs.end.window })
}

fn point(at: Point, setting: &Setting) -> Value {
    if at == Point::default() {
        return Value::Null;
    }
    let direction = match (setting.undirected.contains(&at.ifindex()), at.is_egress()) {
        (true, false) => Value::Null,
        (_, true) => json!("out"),
        (false, false) => json!("in"),
    };
    json!({ "interface": setting.interface(at.ifindex()), "direction": direction })
}

fn seconds(nanos: Option<u64>) -> Value {
    nanos.map_or(Value::Null, |it| json!(it as f64 / 1e9))
}

/// The names of the facts, in the order of their bits.
const FACTS: [(u32, &str); 21] = [
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
];

fn facts(it: Facts) -> Value {
    FACTS.iter().filter(|(bit, _)| it.any(*bit)).map(|&(_, name)| json!(name)).collect()
}
