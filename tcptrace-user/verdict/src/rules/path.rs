//! The way between the two: other ways, other addresses, other hosts under the same one.

use tcptrace_core::handshake::Facts;
use tcptrace_vocabulary::{
    attempt::is_answer_unseen,
    outcome::Outcome,
    words::{ip, mac},
};

use super::{Judgement, certain, likely, possible};
use crate::{case::Case, past::Host};

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
        return likely(["the client's final ACK passed here, and the SYN/ACK that it answers did not".to_owned()]);
    }
    None
}

fn answer_without_syn(case: &Case<'_>) -> Option<Judgement> {
    if case.hs().answer.tries > 1 {
        return likely([format!("{} SYN/ACKs passed here, and no SYN", case.hs().answer.tries)]);
    }
    if matches!(case.local.socket, Ok(Some(_))) {
        return likely(["it answers a socket of this host whose SYN did not pass here".to_owned()]);
    }
    possible(["a SYN/ACK passed here, and no SYN".to_owned()])
}

/// Another address than was asked gave the answer.
pub(super) fn nat_mismatch(case: &Case<'_>) -> Option<Judgement> {
    let from = case.attempt.answered_from?;
    let asked = ip(case.server().addr);
    certain([format!("the SYN went to {asked}, and {} acknowledged it", ip(from))])
}

/// The server knows these ports from an older connection (RFC 5961, section 4; RFC 9293, section 3.10.7.4).
pub(super) fn port_reuse(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    if outcome == Outcome::Challenged {
        return likely(["an ACK without SYN answered the SYN: a challenge ACK".to_owned()]);
    }
    if outcome == Outcome::WrongAnswer && case.attempt.answered_from.is_none() {
        return possible(["the SYN/ACK acknowledges another SYN of these ports".to_owned()]);
    }
    if case.has(Facts::CHALLENGED) {
        return likely(["the first answer was an ACK without SYN: a challenge ACK".to_owned()]);
    }
    None
}

/// One address, two hosts.
pub(super) fn duplicate_ip(case: &Case<'_>) -> Option<Judgement> {
    let two_answers = case.has(Facts::TWO_ANSWERS);
    let answers = "two SYN/ACKs with different sequence numbers answered one SYN".to_owned();
    let hosts = case.two_hosts().map(|it| {
        let macs: Vec<_> = it.link_addresses.iter().map(mac).collect();
        format!("{} is at both {}", it.address, macs.join(" and "))
    });
    match (two_answers, hosts) {
        (true, Some(hosts)) => certain([answers, hosts]),
        (true, None) if case.hs().syn.tries == 1 => likely([answers]),
        (false, Some(hosts)) if case.attempt.outcome.is_failure() => likely([hosts]),
        _ => None,
    }
}

/// SYNs with an option are lost or refused, and the first without it is answered.
pub(super) fn options_blocked(_case: &Case<'_>) -> Option<Judgement> {
    None
}
