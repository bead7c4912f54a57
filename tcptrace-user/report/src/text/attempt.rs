//! An attempt, for people: its time, its outcome, its ends, its duration; below them its packets, then the cause.

use std::fmt::Write as _;

use anstyle::Style;
use tcptrace_core::{
    handshake::{Facts, Handshake, Offer},
    segment::Options,
};
use tcptrace_vocabulary::{
    attempt::{Attempt, StalledBy},
    icmp::Meaning,
    outcome::Outcome,
    report::Report,
    words::{NEGOTIATED, count, endpoint, flag_names, ip},
};

use super::{
    columns::{DIM, GREEN, RED, YELLOW, head, with_story},
    recorded, why,
};
use crate::Setting;

/// A report, without its end, styled and not folded. `quiet` makes it one line; `verbose` adds the options, each side's
/// numbers and all evidence.
#[must_use]
pub fn line(report: &Report, setting: &Setting, quiet: bool, verbose: bool) -> String {
    let (attempt, word, style, at) = match report {
        Report::Stall(attempt) => {
            (attempt, "stalled", YELLOW, attempt.stalled.map_or(attempt.handshake.last_seen(), |stalled| stalled.at))
        }
        Report::Open(attempt) | Report::Attempt(attempt)
            if attempt.recovered && attempt.outcome == Outcome::Established =>
        {
            (attempt, "recovered", GREEN, attempt.handshake.last_seen())
        }
        Report::Open(attempt) => {
            (attempt, attempt.outcome.name(), style(attempt.outcome), attempt.handshake.last_seen())
        }
        Report::Attempt(attempt) => (attempt, attempt.outcome.name(), style(attempt.outcome), attempt.seen.1),
    };
    let at = if setting.is_capture { attempt.seen.0 } else { at };
    let hs = &attempt.handshake;
    let whom = whom(attempt, setting);
    let lasted = match report {
        Report::Stall(_) => Some(at.since(hs.first_syn)),
        Report::Open(attempt) | Report::Attempt(attempt) => lasted(attempt),
    };
    let mut line = with_story(&head(setting, at, style, word, &whom, lasted), &story(report, attempt), quiet);
    if let Some(who) = why::who(attempt).filter(|_| !quiet) {
        let _ = write!(line, "; {who}");
    }
    if verbose && attempt.outcome != Outcome::Midstream {
        let _ = write!(line, "  {DIM}[{}]{DIM:#}", options(hs));
    }
    if let Some((outer, kind)) = attempt.outer.and_then(|outer| Some((outer, outer.kind()?))) {
        let _ = write!(line, "  (in {}", kind.name());
        if let Some((from, to)) = outer.ends() {
            let _ = write!(line, " {} → {}", ip(from), ip(to));
        }
        line.push(')');
    }
    if verbose {
        let _ = write!(line, "  {DIM}{}{DIM:#}", details(attempt));
    }
    if attempt.trust.events_lost + attempt.trust.attempts_lost > 0 {
        let (events, attempts) =
            (count(attempt.trust.events_lost, "event"), count(attempt.trust.attempts_lost, "attempt"));
        let _ = write!(line, "  (while {events} and {attempts} were lost)");
    }
    line.push_str(&why::text(attempt, quiet, verbose));
    line
}

/// From whom to whom; where a host that is watched translated it, with both addresses, in the order of its SYN.
fn whom(attempt: &Attempt, setting: &Setting) -> String {
    let hs = &attempt.handshake;
    let own = (hs.client(), hs.server());
    let halves = attempt.translated.map_or((own, own), |it| {
        let other = (it.client, it.server);
        if it.is_before { (other, own) } else { (own, other) }
    });
    let ((client, server), (new_client, new_server)) = halves;
    let changed = match (new_client == client, new_server == server) {
        (true, true) => String::new(),
        (true, false) => format!(" → {}", endpoint(new_server)),
        (false, true) => format!(" (as {})", endpoint(new_client)),
        (false, false) => format!(" (as {} → {})", endpoint(new_client), endpoint(new_server)),
    };
    format!("{} → {}{changed}", endpoint(client), setting.server(server))
}

/// Nanoseconds from an attempt's first packet to its last. One with a single packet lasted until it was found stalled;
/// if it was not, nobody knows how long.
fn lasted(attempt: &Attempt) -> Option<u64> {
    let stalled = attempt.stalled.map_or(0, |stalled| stalled.at.since(attempt.seen.0));
    let lasted = if attempt.duration() > 0 { attempt.duration() } else { stalled };
    (lasted > 0).then_some(lasted)
}

fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Established | Outcome::Closed => GREEN,
        Outcome::NoReply | Outcome::Refused | Outcome::Unreachable | Outcome::ResetOnAnswer => RED,
        Outcome::HalfOpen
        | Outcome::Aborted
        | Outcome::Challenged
        | Outcome::WrongAnswer
        | Outcome::ResetByClient
        | Outcome::ResetByServer => YELLOW,
        Outcome::HalfClosed | Outcome::AnswerOnly | Outcome::Midstream => DIM,
    }
}

/// An attempt's outcome and the packets that led to it, in a line without style: for the comment of a packet.
#[must_use]
pub fn verdict(attempt: &Attempt) -> String {
    let word = if attempt.recovered { "recovered" } else { attempt.outcome.name() };
    let story = story(&Report::Attempt(attempt.clone()), attempt);
    recorded::comment(&format!("{word}: {story}"), attempt)
}

/// The packets in the order in which they came, and their senders.
fn story(report: &Report, attempt: &Attempt) -> String {
    let hs = &attempt.handshake;
    let syns = times(hs.syn.tries, "SYN");
    let answers = times(hs.answer.tries, "SYN/ACK");
    let rst = || {
        let ttl = hs.end.ttl;
        format!("{} (ttl {ttl}, window {})", flag_names(hs.end.flags), hs.end.window)
    };
    let mut story = match attempt.outcome {
        Outcome::NoReply => match ignored_resets(hs) {
            Some(resets) => format!("{syns}, {resets} that the client ignores"),
            None => format!("{syns}, no answer"),
        },
        Outcome::Refused => refused(&syns, &answers, &rst(), hs.answer.tries > 0),
        Outcome::Unreachable => match (hs.unreachable(), attempt.icmp_from) {
            (Some(icmp), Some(from)) => format!("{syns}, ICMP {} from {}", Meaning::of(icmp).word(), ip(from)),
            (Some(icmp), None) => format!("{syns}, ICMP {}", Meaning::of(icmp).word()),
            (None, _) => syns,
        },
        Outcome::Challenged => format!("{syns}, server sent an ACK without SYN: these ports are in use there"),
        Outcome::WrongAnswer => match attempt.answered_from {
            Some(from) => format!("{syns}, answered by {} instead", ip(from)),
            None => format!("{syns}, the SYN/ACK acknowledges another SYN"),
        },
        Outcome::HalfOpen if hs.facts.any(Facts::ACK_IGNORED) => {
            format!("{syns}, {answers}, an ACK with another number")
        }
        Outcome::HalfOpen => format!("{syns}, {answers}, no final ACK"),
        Outcome::Aborted if hs.answer.tries == 0 => format!("{syns}, client sent {} before any answer", rst()),
        Outcome::Aborted => format!("{syns}, {answers}, client sent {}", rst()),
        Outcome::ResetOnAnswer => format!("{syns}, {answers}, server sent {}", rst()),
        Outcome::Closed => format!("{syns}, {answers}, ACK, FIN from both"),
        Outcome::HalfClosed if hs.facts.any(Facts::CLIENT_FIN) => format!("{syns}, {answers}, ACK, FIN from client"),
        Outcome::HalfClosed => format!("{syns}, {answers}, ACK, FIN from server"),
        Outcome::ResetByClient => format!("{syns}, {answers}, ACK, {}, RST from client", data(attempt)),
        Outcome::ResetByServer => format!("{syns}, {answers}, ACK, {}, RST from server", data(attempt)),
        Outcome::AnswerOnly => format!("{answers}, its SYN not seen"),
        Outcome::Midstream => "seen only from the middle".to_owned(),
        Outcome::Established if hs.answer.tries == 0 => format!("{syns}, its answer not seen here"),
        Outcome::Established => format!("{syns}, {answers}, ACK"),
    };
    if let (Report::Stall(_), Some(stalled)) = (report, attempt.stalled) {
        match stalled.by {
            StalledBy::ThirdSyn => {}
            StalledBy::ThirdSynAck if attempt.outcome == Outcome::Established => {
                story.push_str(", SYN/ACK again after the ACK");
            }
            StalledBy::ThirdSynAck => {}
            StalledBy::Silence => story.push_str(", silent since"),
        }
    }
    if attempt.trust.still_open && matches!(report, Report::Attempt(_)) {
        story.push_str(", still open");
    }
    if hs.facts.any(Facts::FALLBACK) {
        story.push_str(", retried with fewer options");
    }
    if hs.facts.any(Facts::OUT_OF_ORDER) {
        story.push_str(", out of order in the capture");
    }
    story
}

/// A refusal; if the server's own SYN/ACK came after it, the last RST is the client's.
fn refused(syns: &str, answers: &str, rst: &str, is_answered: bool) -> String {
    if is_answered {
        format!("{syns}, server sent a RST, then {answers}; client sent {rst}")
    } else {
        format!("{syns}, server sent {rst}")
    }
}

/// The RSTs that the client ignored, and the last one's looks.
fn ignored_resets(hs: &Handshake) -> Option<String> {
    let flags = flag_names(hs.end.flags);
    let known = hs.ignored_resets();
    (known > 0).then(|| format!("{} (ttl {}, window {})", times(known, &flags), hs.end.ttl, hs.end.window))
}

fn data(attempt: &Attempt) -> &'static str {
    if attempt.had_data() { "data" } else { "no data" }
}

fn times(tries: u8, what: &str) -> String {
    match tries {
        1 => what.to_owned(),
        255 => format!("255+ {what}s"),
        it => format!("{it} {what}s"),
    }
}

/// The part that `-v` adds: the id, and each side's numbers.
fn details(attempt: &Attempt) -> String {
    let hs = &attempt.handshake;
    let offer = |offer: &Offer, isn: u32| format!("isn {isn} window {} ttl {}", offer.window, offer.ttl);
    let answer = if hs.answer.tries > 0 { offer(&hs.answer, hs.server_isn.0) } else { "no answer".to_owned() };
    let syn = if hs.syn.tries > 0 { offer(&hs.syn, hs.isn.0) } else { "no SYN".to_owned() };
    format!("id {:016x}, client {syn}, server {answer}", attempt.id())
}

/// The options agreed on, or offered while there is no answer.
fn options(hs: &Handshake) -> String {
    let mss = |it: &Offer| if it.options & Options::MSS == 0 { "-".to_owned() } else { it.mss.to_string() };
    if hs.answer.tries == 0 {
        let offered = NEGOTIATED.iter().filter(|(bit, ..)| hs.syn.options & bit != 0).map(|(.., name)| *name);
        return std::iter::once(format!("offered mss {}", mss(&hs.syn)))
            .chain(offered.map(str::to_owned))
            .collect::<Vec<_>>()
            .join(" ");
    }
    let mut words = vec![format!("mss {}/{}", mss(&hs.syn), mss(&hs.answer))];
    for (bit, _, name) in NEGOTIATED {
        let offered = hs.syn.options & bit != 0;
        let agreed = hs.answer.options & bit != 0;
        match (offered, agreed) {
            (true, true) if bit == Options::WINDOW_SCALE => {
                words.push(format!("{name} {}/{}", hs.syn.window_scale, hs.answer.window_scale));
            }
            (true, true) => words.push(name.to_owned()),
            (true, false) => words.push(format!("no-{name}")),
            (false, _) => {}
        }
    }
    words.join(" ")
}
