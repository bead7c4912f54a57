//! Rejections: whose RST, whose ICMP error it is.

use std::iter;

use tcptrace_core::{
    flow::Endpoint,
    handshake::{Facts, Side},
    segment::Flags,
};
use tcptrace_vocabulary::{
    icmp::Meaning,
    outcome::Outcome,
    words::{count, flag_names, ip},
};

use super::{
    Judgement, certain, likely, possible,
    sender::{Sender, is_odd},
};
use crate::{
    case::{Case, Part},
    past::Life,
};

pub(super) fn port_closed(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome != Outcome::Refused || case.never_left() {
        return None;
    }
    if case.is_here(Side::Server) && case.dropped_by_rule(Part::Syn).is_none() {
        match &case.local.listener {
            Ok(None) => {
                let nobody = nobody_listens(case);
                // By TCP's own word. Without it, it may have been translated and forwarded, or a rule may have said so.
                return match case.dropped_without_socket(Part::Syn) {
                    Some(it) => {
                        let evidence = [nobody, format!("TCP found no socket for the SYN ({})", it.reason), rst(case)];
                        // The other tries met an older connection, and that may be the matter.
                        let other =
                            case.has(Facts::CHALLENGED).then(|| "challenge ACKs answered earlier SYNs".to_owned());
                        let is_all = it.fits == Some(true) && other.is_none();
                        let evidence = evidence.into_iter().chain(other).collect::<Vec<_>>();
                        if is_all { certain(evidence) } else { likely(evidence) }
                    }
                    None => possible([nobody, rst(case)]),
                };
            }
            Ok(Some(_)) => {
                return possible([rst(case), "a socket listens there now; it may be newer".to_owned()]);
            }
            Err(_) => {}
        }
    }
    let sender = Sender::of_refusal(case);
    match (sender.fits(), sender.may_be_another(), sender.is_likely_another()) {
        (_, _, true) | (false, true, _) => None,
        (true, true, _) if is_odd(case) => None,
        (true, false, _) => likely(with_rst(case, sender.evidence())),
        (true, true, false) | (false, false, _) => possible(with_rst(case, sender.evidence())),
    }
}

/// Who listens on the port, if not on the server's address.
fn nobody_listens(case: &Case<'_>) -> String {
    let Endpoint { addr, port } = case.server();
    match case.local.listening_at.as_deref() {
        Ok(others) if !others.is_empty() => {
            let others: Vec<_> = others.iter().take(3).map(ToString::to_string).collect();
            format!("port {port} listens on {} only, not on {}", others.join(" and "), ip(addr))
        }
        Ok(_) => format!("nobody listens on port {port} of this host"),
        // Perhaps on another address.
        Err(_) => format!("nobody listens on port {port} of {}", ip(addr)),
    }
}

pub(super) fn firewall_reject(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    if let Some(judgement) = rejected_here(case).or_else(|| rejected_unseen(case)) {
        return Some(judgement);
    }
    if outcome == Outcome::Unreachable {
        return rejected_by_own_icmp(case).or_else(|| rejected_by_icmp(case));
    }
    if outcome == Outcome::Refused {
        return rejected_by_rst(case).or_else(|| refused_unsent(case));
    }
    if outcome == Outcome::NoReply { rejected_elsewhere(case, speaks_for_reject) } else { None }
}

/// Whether an ICMP error speaks for a rule by itself.
const fn speaks_for_reject(meaning: Meaning) -> bool {
    match meaning {
        Meaning::AdminProhibited
        | Meaning::HostProhibited
        | Meaning::NetProhibited
        | Meaning::SourcePolicyFailed
        | Meaning::RejectRoute
        | Meaning::PortUnreachable
        | Meaning::ProtocolUnreachable => true,
        Meaning::HostUnreachable
        | Meaning::HostUnreachableForService
        | Meaning::NetUnreachable
        | Meaning::NetUnreachableOtherwise
        | Meaning::BeyondScope
        | Meaning::TimeExceeded
        | Meaning::SourceRouteFailed
        | Meaning::ParameterProblem
        | Meaning::Other => false,
    }
}

/// A rule of this host dropped the SYN and answered it, at the server or between the ends. Where every try was dropped
/// here, nobody else had anything to answer.
fn rejected_here(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    let answer = if outcome == Outcome::Refused { rst(case) } else { error(case)? };
    let dropped = case.dropped_by_rule(Part::Syn).filter(|it| !case.is_at_home(it))?;
    let evidence =
        [format!("a rule of this host rejected the SYN ({}{})", dropped.reason, case.whereabouts(dropped)), answer];
    if case.is_of_all_tries(Part::Syn, dropped) { certain(evidence) } else { likely(evidence) }
}

/// A rule of this host dropped the SYN, and whatever rule can have done so answers what it drops. The answer left by an
/// interface that is not traced: a bridge's port.
fn rejected_unseen(case: &Case<'_>) -> Option<Judgement> {
    let dropped = case.dropped_by_rule(Part::Syn).filter(|_| case.attempt.outcome == Outcome::NoReply)?;
    let suspects = case.suspects();
    if suspects.is_empty() || !suspects.iter().all(|it| it.rejects) || case.lacks_conntrack().is_some() {
        return None;
    }
    likely([
        format!("a rule of this host rejected the SYN ({}{})", dropped.reason, case.whereabouts(dropped)),
        "its answer left by an interface that is not traced".to_owned(),
    ])
}

/// A rule of this host answered its own SYN by an ICMP error.
fn rejected_by_own_icmp(case: &Case<'_>) -> Option<Judgement> {
    let (meaning, error) = (case.meaning().filter(|_| case.is_own_error())?, error(case)?);
    if meaning == Meaning::HostUnreachable {
        return None;
    }
    certain([format!("this host's rules sent {error}")])
}

/// A RST came, and no SYN was seen leaving. A rule that translates the address and a tunnel that wraps the packet
/// (IPsec) hide a SYN just as well, and the RST is another host's then.
fn refused_unsent(case: &Case<'_>) -> Option<Judgement> {
    if !case.never_left() || case.is_here(Side::Server) {
        return None;
    }
    likely([
        "a RST answered, and no SYN for it was seen leaving: this host's own rules reject or redirect it".to_owned()
    ])
}

fn rejected_by_icmp(case: &Case<'_>) -> Option<Judgement> {
    let meaning = case.meaning().filter(|_| !case.is_own_error())?;
    let evidence = error(case)?;
    match meaning {
        // A host that speaks no TCP says so as well.
        Meaning::ProtocolUnreachable => likely([evidence]),
        Meaning::AdminProhibited
        | Meaning::HostProhibited
        | Meaning::NetProhibited
        | Meaning::SourcePolicyFailed
        | Meaning::RejectRoute
        | Meaning::PortUnreachable => certain([evidence]),
        // An error that says the host is away, while it is there.
        Meaning::HostUnreachable | Meaning::HostUnreachableForService if is_contradicted(case) => {
            likely([evidence, format!("{} answered at the same time", ip(case.server().addr))])
        }
        Meaning::HostUnreachable
        | Meaning::HostUnreachableForService
        | Meaning::NetUnreachable
        | Meaning::NetUnreachableOtherwise
        | Meaning::BeyondScope
        | Meaning::TimeExceeded
        | Meaning::SourceRouteFailed
        | Meaning::ParameterProblem
        | Meaning::Other => None,
    }
}

/// The SYN was lost in silence, and an ICMP error came for other probes; `wanted` is what that error has to mean.
pub(super) fn rejected_elsewhere(case: &Case<'_>, wanted: fn(Meaning) -> bool) -> Option<Judgement> {
    let (rejection, whom) = case.rejected_elsewhere().filter(|(rejection, _)| wanted(Meaning::of(rejection.icmp)))?;
    let from = rejection.from.map_or_else(|| "a router".to_owned(), |from| ip(from).to_string());
    let word = Meaning::of(rejection.icmp).word();
    likely([format!("ICMP {word} from {from} {whom}"), silence(case)])
}

/// The duration of the silence, as far as that is known.
pub(super) fn silence(case: &Case<'_>) -> String {
    let syns = count(case.hs().syn.tries.into(), "SYN");
    match case.local.call {
        Ok(call) => format!("no answer to {syns} in {:.1} s", call.took.as_secs_f64()),
        Err(_) => format!("no answer to {syns}"),
    }
}

/// Whether an error that says the host is away is not true: the host answered since, or it answered just before and the
/// sender of the error did not take the time to look for it. A host that forwards the port may send the error about the
/// host behind it; that is no contradiction.
pub(super) fn is_contradicted(case: &Case<'_>) -> bool {
    /// Linux asks three times for a link address, a second apart.
    const LOOKED_FOR: u64 = 1_000_000_000;
    let hs = case.hs();
    match case.life() {
        _ if case.is_forwarded() => false,
        Life::Since => true,
        Life::Lately => hs.ended.since(hs.first_syn) < LOOKED_FOR,
        Life::Before(_) | Life::Never => false,
    }
}

fn rejected_by_rst(case: &Case<'_>) -> Option<Judgement> {
    if case.is_here(Side::Server) || case.never_left() {
        return None;
    }
    another(case, Sender::of_refusal(case))
}

/// A RST that does not fit the packets of the side that it names, or that came before that side's own answer.
pub(super) fn middlebox_reset(case: &Case<'_>) -> Option<Judgement> {
    let hs = case.hs();
    if case.attempt.outcome == Outcome::Aborted && case.has(Facts::RECOVERING) && hs.answer.tries > 0 {
        return likely([format!("a RST came first, and then the server's own SYN/ACK (TTL {})", hs.answer.ttl)]);
    }
    let is_reset =
        matches!(case.attempt.outcome, Outcome::ResetOnAnswer | Outcome::ResetByServer | Outcome::ResetByClient);
    if is_reset && hs.end.flags & Flags::RST != 0 { another(case, Sender::of_reset(case)) } else { None }
}

/// The judgement that somebody else sent the RST, as sure as the signs are.
fn another(case: &Case<'_>, sender: Sender) -> Option<Judgement> {
    match (sender.may_be_another(), sender.is_likely_another()) {
        (false, _) => None,
        (true, false) => possible(with_rst(case, sender.signs())),
        (true, true) => likely(with_rst(case, sender.signs())),
    }
}

fn with_rst(case: &Case<'_>, evidence: impl Iterator<Item = String>) -> Vec<String> {
    iter::once(rst(case)).chain(evidence).collect()
}

pub(super) fn rst(case: &Case<'_>) -> String {
    let end = case.hs().end;
    if end.ttl == 0 {
        return "a RST refused the SYN".to_owned();
    }
    format!("{} with TTL {} and window {}", flag_names(end.flags), end.ttl, end.window)
}

/// The ICMP error that ended the attempt, and its sender.
pub(super) fn error(case: &Case<'_>) -> Option<String> {
    let word = case.meaning()?.word();
    Some(match case.attempt.icmp_from {
        Some(from) => format!("ICMP {word} from {}", ip(from)),
        None => format!("ICMP {word}"),
    })
}
