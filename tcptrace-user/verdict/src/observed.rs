//! What was seen of an attempt whose cause is not known: the facts that whoever looks further begins with. No fact here
//! makes a cause; those that do are in `rules`.

use tcptrace_core::handshake::{Facts, Side};
use tcptrace_vocabulary::{
    outcome::Outcome,
    words::{count, flag_names, ip, mac},
};

use crate::{
    case::Case,
    past::Life,
    rules::{error, serves_others, stopped},
};

/// The evidence of an unknown cause, the strongest first.
pub(super) fn of(case: &Case<'_>) -> Vec<String> {
    let drops = case.local.drops.iter().flatten();
    let dropped = drops.map(|it| format!("this host dropped a {} packet ({})", side(it.from), it.reason));
    let went = match case.life() {
        Life::Before(last) if case.attempt.outcome == Outcome::NoReply => Some(case.heard_before(last)),
        Life::Before(_) | Life::Never | Life::Lately | Life::Since => None,
    };
    dropped
        .chain(error(case))
        .chain(ignored_resets(case))
        .chain(ignored_ack(case))
        .chain(sent_back(case).or_else(|| source_translated(case)))
        .chain(slower_clock(case))
        .chain(fixed_neighbour(case))
        .chain(two_numbers(case))
        .chain(answered_others(case))
        .chain(serves_others(case))
        .chain(waits_for_data(case))
        .chain(stopped(case))
        .chain(went)
        .chain(filtered(case))
        .collect()
}

/// That the capture lacks what would show the other half, in all of it.
pub(crate) fn filtered(case: &Case<'_>) -> Option<String> {
    match case.attempt.outcome {
        Outcome::NoReply => case.past.view().lacks_answers(),
        Outcome::HalfOpen => case.past.view().lacks_acks(),
        Outcome::Refused
        | Outcome::Unreachable
        | Outcome::Challenged
        | Outcome::Aborted
        | Outcome::ResetOnAnswer
        | Outcome::WrongAnswer
        | Outcome::Established
        | Outcome::Closed
        | Outcome::HalfClosed
        | Outcome::ResetByClient
        | Outcome::ResetByServer
        | Outcome::AnswerOnly
        | Outcome::Midstream => None,
    }
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// RSTs that SYN-SENT ignores (RFC 9293, section 3.10.7.3), and RSTs without an ACK, which it ignores as well.
fn ignored_resets(case: &Case<'_>) -> Option<String> {
    let hs = case.hs();
    let resets = hs.ignored_resets();
    if resets == 0 || case.attempt.outcome != Outcome::NoReply {
        return None;
    }
    let millis = hs.ended.since(hs.last_syn) as f64 / 1e6;
    let last = if hs.ended >= hs.last_syn { format!(", {millis:.1} ms after the SYN") } else { String::new() };
    let came = count(resets.into(), &flag_names(hs.end.flags));
    Some(format!("{came} came (ttl {}{last}) that do not acknowledge the SYN: the client ignores them", hs.end.ttl))
}

/// An ACK that the server ignores, or answers by a RST.
fn ignored_ack(case: &Case<'_>) -> Option<String> {
    let is_reset = case.attempt.outcome == Outcome::ResetOnAnswer;
    let does = if is_reset { "resets" } else { "ignores it" };
    let is_known = case.has(Facts::ACK_IGNORED) && (is_reset || case.attempt.outcome == Outcome::HalfOpen);
    is_known.then(|| format!("an ACK came that does not acknowledge this SYN/ACK: the server {does}"))
}

/// The same SYN to another address: translated, and sent on or sent back.
fn sent_back(case: &Case<'_>) -> Option<String> {
    let hs = case.hs();
    let twin = case.past.twin(hs).filter(|_| case.attempt.outcome == Outcome::NoReply)?;
    let (to, is_earlier) = (ip(twin.server.addr), twin.at < hs.first_syn);
    Some(if twin.server.addr == hs.client_addr {
        format!("the same SYN came back to {to}, which sent it itself: a host drops packets from its own address")
    } else if case.server().addr == hs.client_addr {
        format!("it is the SYN to {to}, sent back to its own source: a host drops packets from its own address")
    } else if is_earlier {
        format!("it is the SYN (client, port and ISN) to {to}, whose destination was translated")
    } else {
        format!("the same SYN (client, port and ISN) went on to {to}: its destination was translated")
    })
}

/// The same SYN from another address: its source was translated, and it was answered there.
fn source_translated(case: &Case<'_>) -> Option<String> {
    let is_half =
        "it is one half of an attempt that was answered: the same SYN has other addresses beyond a translation";
    case.is_half_of_another().then(|| is_half.to_owned())
}

/// Timestamps behind those of the same address, which a server takes for one client's (RFC 7323, section 5.3).
fn slower_clock(case: &Case<'_>) -> Option<String> {
    let (hs, noted) = (case.hs(), &case.attempt.noted);
    let (at, ahead) = case.past.clock_ahead(hs, noted).filter(|_| case.attempt.outcome == Outcome::NoReply)?;
    let (own, before) = (noted.clock?.0, hs.first_syn.since(at) as f64 / 1e9);
    Some(format!(
        "its timestamp {own} is behind {ahead} of {}'s SYN {before:.1} s before, which was answered: two clocks behind one \
         address; a server that expects one ignores the slower (PAWS)",
        ip(hs.client_addr)
    ))
}

/// An own entry of the neighbour table that an administrator set, and a neighbour that says otherwise.
fn fixed_neighbour(case: &Case<'_>) -> Option<String> {
    let it = case.local.neighbour.as_ref().ok()?.as_ref().filter(|it| it.is_fixed)?;
    let [own, claimed, ..] = it.link_addresses[..] else { return None };
    Some(format!("this host's entry for {} is fixed: {}; that neighbour says {}", it.address, mac(&own), mac(&claimed)))
}

/// Several SYN/ACKs with several numbers.
fn two_numbers(case: &Case<'_>) -> Option<String> {
    let hs = case.hs();
    let is_data_lost = case.has(Facts::CLIENT_DATA) && !case.has(Facts::SERVER_DATA | Facts::DATA_ACKED);
    let and = if is_data_lost { ", and the client's data was never acknowledged" } else { "" };
    case.has(Facts::TWO_ANSWERS).then(|| {
        let (answers, syns) = (count(hs.answer.tries.into(), "SYN/ACK"), count(hs.syn.tries.into(), "SYN"));
        format!("{answers} with different sequence numbers answered {syns}{and}")
    })
}

/// Other attempts of the same client to the same port that were answered since this one began.
fn answered_others(case: &Case<'_>) -> Option<String> {
    let own = case.host()?.answered(case.hs(), case.attempt.outcome).own;
    if own == 0 || case.attempt.outcome != Outcome::NoReply {
        return None;
    }
    let attempts = count(own as u64, "other attempt");
    let were = if own == 1 { "was" } else { "were" };
    Some(format!("{attempts} of this client to this port {were} answered meanwhile"))
}

/// A listener with room in its queue that repeats its SYN/ACK.
fn waits_for_data(case: &Case<'_>) -> Option<String> {
    let listener = case.listener().filter(|it| case.attempt.was_answered_again() && !it.is_full())?;
    let (queue, most) = (listener.queue, listener.queue_max);
    Some(format!("the SYN/ACK came again, and {queue} of {most} wait in the queue: TCP_DEFER_ACCEPT, or a lost ACK"))
}
