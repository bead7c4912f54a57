//! The way between the two: other ways, other addresses, other hosts under the same one.

use tcptrace_core::handshake::Facts;
use tcptrace_vocabulary::{
    attempt::is_answer_unseen,
    outcome::Outcome,
    words::{count, ip, mac},
};

use super::{Judgement, Proof, certain, likely, possible};
use crate::{
    case::Case,
    past::{Host, NAMED, RECENT, avoids_options},
};

/// One half of the handshake goes by another way.
pub(super) fn asymmetric_path(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    if outcome == Outcome::AnswerOnly {
        return answer_without_syn(case);
    }
    if outcome == Outcome::NoReply && case.host().is_some_and(Host::answers_another_way) {
        return possible(["the server's SYN/ACKs never pass here, and its connections still open".to_owned()]);
    }
    if outcome.is_open() && is_answer_unseen(case.hs()) {
        return unless_one_sided(
            case,
            "the client's final ACK passed here, and the SYN/ACK that it answers did not".to_owned(),
        );
    }
    None
}

/// A half that went another way: likely, if the capture shows both halves of anything.
fn unless_one_sided(case: &Case<'_>, evidence: String) -> Option<Judgement> {
    match case.past.view().lacks_a_side() {
        Some(doubt) => possible([evidence, doubt]),
        None => likely([evidence]),
    }
}

fn answer_without_syn(case: &Case<'_>) -> Option<Judgement> {
    if case.hs().answer.tries > 1 {
        return unless_one_sided(case, format!("{} SYN/ACKs passed here, and no SYN", case.hs().answer.tries));
    }
    if matches!(case.local.socket, Ok(Some(_))) {
        return likely(["it answers a socket of this host whose SYN did not pass here".to_owned()]);
    }
    possible(["a SYN/ACK passed here, and no SYN".to_owned()])
}

/// Another address than was asked gave the answer.
pub(super) fn nat_mismatch(case: &Case<'_>) -> Option<Judgement> {
    let Some(from) = case.attempt.answered_from else { return answered_untranslated(case) };
    // The client acknowledges what it got: the same answer, translated, came by a way that nobody watches.
    if case.has(Facts::CLIENT_DATA | Facts::CLIENT_FIN) {
        return None;
    }
    let asked = ip(case.server().addr);
    if from == case.server().addr {
        let port = case.server().port;
        return certain(
            Proof::AnsweredElsewhere,
            [format!("the SYN went to port {port} of {asked}, and another port of it acknowledged it")],
        );
    }
    let evidence = format!("the SYN went to {asked}, and {} acknowledged it", ip(from));
    certain(Proof::AnsweredElsewhere, [evidence])
}

/// The SYN was seen before its destination was translated and after it, and the answer went back as it was: the client
/// resets what comes from an address that it did not ask.
fn answered_untranslated(case: &Case<'_>) -> Option<Judgement> {
    let (hs, outcome) = (case.hs(), case.attempt.outcome);
    let twin = case.past.twin(hs)?;
    let (other, apart) = (ip(twin.server.addr), twin.at.since(hs.first_syn).max(hs.first_syn.since(twin.at)) / 1000);
    if hs.answer.tries > 0 && matches!(outcome, Outcome::Aborted | Outcome::HalfOpen) && !twin.is_answered {
        return likely([
            format!("the same SYN (client, port and ISN) went to {other}, {apart} µs apart: it was translated"),
            format!("{} answered the client itself, and not as {other}", ip(case.server().addr)),
        ]);
    }
    let is_half = twin.is_answered && matches!(twin.outcome, Outcome::Aborted | Outcome::HalfOpen);
    if hs.answer.tries > 0 || outcome != Outcome::NoReply || !is_half {
        return None;
    }
    likely([
        format!("the same SYN (client, port and ISN) went on to {other}, {apart} µs apart: it was translated"),
        format!("{other} answered the client itself, and not as {}", ip(case.server().addr)),
    ])
}

/// The server knows these ports from an older connection (RFC 5961, section 4; RFC 9293, section 3.10.7.4).
pub(super) fn port_reuse(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    if outcome == Outcome::Challenged {
        return likely([
            "an ACK without SYN came for the SYN: the server knows these ports already".to_owned(),
            older(),
        ]);
    }
    if outcome == Outcome::WrongAnswer && case.attempt.answered_from.is_none() {
        return possible(["the SYN/ACK acknowledges another SYN of these ports".to_owned()]);
    }
    // The client's RST ended the old connection, and its next SYN was refused for a reason of its own.
    let is_refused_anew = outcome == Outcome::Refused && case.hs().syn.tries > 1;
    if case.has(Facts::CHALLENGED) && !is_refused_anew {
        return likely(["the first that came for it was an ACK without SYN".to_owned(), older()]);
    }
    None
}

/// What a server that knows the ports sends: its own packet again is no answer, and shows the same.
fn older() -> String {
    "a challenge ACK, or a packet of the older connection (its FIN/ACK, its data) sent again".to_owned()
}

/// One address, two hosts.
pub(super) fn duplicate_ip(case: &Case<'_>) -> Option<Judgement> {
    // SYN cookies answer another SYN with another number.
    let (two_answers, is_single) = (case.has(Facts::TWO_ANSWERS), case.hs().syn.tries == 1);
    let answers = "two SYN/ACKs with different sequence numbers answered one SYN".to_owned();
    let hosts = case.two_hosts().map(|it| {
        let macs: Vec<_> = it.link_addresses.iter().map(mac).collect();
        format!("{} is at both {}", it.address, macs.join(" and "))
    });
    if let Some(judgement) = reset_by_another(case) {
        return Some(judgement);
    }
    match (two_answers, hosts) {
        (true, Some(hosts)) if is_single => certain(Proof::TwoHosts, [answers, hosts]),
        (true, Some(hosts)) => likely([hosts, answers]),
        (true, None) if is_single => likely([answers]),
        (false, Some(hosts)) if case.attempt.outcome.is_failure() => likely([hosts]),
        _ => None,
    }
}

/// The client's RST came from another link-layer address than its SYN, without a router between. A host with two cards
/// may do so; one that asks again after its own RST did not send it.
fn reset_by_another(case: &Case<'_>) -> Option<Judgement> {
    let (asked, reset) = case.attempt.noted.reset_by_another.filter(|_| case.attempt.outcome == Outcome::Aborted)?;
    let client = ip(case.hs().client_addr);
    let evidence = format!("{client} sent the SYN from {}, and the RST from {}", mac(&asked), mac(&reset));
    if case.hs().last_syn > case.hs().ended {
        return likely([evidence, "the client asked again after that RST: another host sent it".to_owned()]);
    }
    possible([evidence, "two hosts have that address, or one host has two cards".to_owned()])
}

/// SYNs with an option are lost or refused, and the first without it is answered. Loss looks the same once; the second
/// time, where no SYN with the option was ever answered, it hardly does.
pub(super) fn options_blocked(case: &Case<'_>) -> Option<Judgement> {
    echo_refused(case).or_else(|| left_out(case))
}

/// The SYN/ACK echoes a timestamp that no SYN of this attempt had: a client refuses it (RFC 7323, section 3.2; Linux
/// resets, `tcp_rcv_synsent_state_process`, net/ipv4/tcp_input.c).
fn echo_refused(case: &Case<'_>) -> Option<Judgement> {
    /// Ticks for which a SYN before the capture may have been sent: the longest that a client tries.
    const LONGEST: u32 = 130_000;
    let noted = case.attempt.noted;
    let (echo, (first, last)) = (noted.echo?, noted.clock?);
    let is_refused =
        case.attempt.outcome == Outcome::Aborted || case.attempt.outcome == Outcome::HalfOpen && case.asks_on();
    is_refused.then_some(())?;
    let had = if first == last { format!("had {first}") } else { format!("had {first} to {last}") };
    let evidence =
        format!("the SYN/ACK echoes the timestamp {echo}, and the client's SYNs {had}: a client refuses that");
    if first.wrapping_sub(echo) <= LONGEST {
        return possible([evidence, "a SYN before this capture may have had it".to_owned()]);
    }
    likely([evidence, "something on the way, or the server, rewrites timestamps in one direction only".to_owned()])
}

/// The first SYN without an option was answered.
fn left_out(case: &Case<'_>) -> Option<Judgement> {
    let (hs, host) = (case.hs(), case.host()?);
    if !avoids_options(hs) || is_answer_to_an_earlier_syn(case) {
        return None;
    }
    let lost = NAMED.iter().enumerate().filter(|(_, (option, without, _))| {
        // The answer agrees to the option: the SYN that had it was answered.
        case.has(*without) && hs.answer.options & option == 0
    });
    let lost: Vec<_> = lost.filter(|(place, _)| !host.options(*place, hs.first_syn).0).collect();
    let (first, _) = *lost.first()?;
    let names: Vec<_> = lost.iter().map(|(_, (.., name))| *name).collect();
    let names = names.join(" and ");
    let syns = count((hs.syn.tries - 1).into(), "SYN");
    let what = if case.has(Facts::RECOVERING) { "refused" } else { "lost" };
    let evidence = format!("{syns} with {names} {what}, the first without it answered");
    if !host.options(first, hs.first_syn).1 {
        return possible([evidence, "loss looks the same once".to_owned()]);
    }
    let before = format!("it was so before with {}", ip(case.server().addr));
    match by_chance(case, host, names.as_str()) {
        Some(doubt) => possible([evidence, before, doubt]),
        None => likely([evidence, before]),
    }
}

/// What else than the option may have decided which SYN was answered: loss and overload hit SYNs without it as well,
/// and a SYN with data is larger than the one without the option.
fn by_chance(case: &Case<'_>, host: &Host, names: &str) -> Option<String> {
    if host.is_lossy(case.around(), RECENT) {
        return Some("SYNs that had to be sent again as they were got lost, too".to_owned());
    }
    let is_large = case.has(Facts::SYN_DATA) && names == "Fast Open";
    is_large.then(|| "they had data: a packet that is too large for the path looks the same".to_owned())
}

/// Whether the answer came sooner after the last SYN than the host ever answers.
fn is_answer_to_an_earlier_syn(case: &Case<'_>) -> bool {
    let took = case.hs().first_answer.since(case.hs().last_syn);
    case.host().and_then(|it| it.fastest).is_some_and(|fastest| took < fastest / 2)
}
