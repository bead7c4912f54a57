//! Rejections: whose RST, whose ICMP error it is.

use std::iter;

use tcptrace_core::{
    handshake::{Facts, Side},
    segment::Flags,
};
use tcptrace_vocabulary::{
    errno::errno_name,
    icmp::Meaning,
    outcome::Outcome,
    words::{count, flag_names, ip},
};

use super::{
    Judgement, certain, likely, possible,
    sender::{Sender, is_odd},
};
use crate::{case::Case, past::Life};

pub(super) fn port_closed(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome != Outcome::Refused || case.never_left() {
        return None;
    }
    if case.is_here(Side::Server) && case.dropped_by_rule(Side::Client).is_none() {
        match &case.local.listener {
            Ok(None) => {
                let nobody = format!("nobody listens on port {} of this host", case.server().port);
                // By TCP's own word. Without it, it may have been translated and forwarded, or a rule may have said so.
                return match case.dropped_without_socket() {
                    Some(reason) => certain([nobody, format!("TCP found no socket for the SYN ({reason})"), rst(case)]),
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

pub(super) fn firewall_reject(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    if outcome == Outcome::Unreachable {
        return rejected_by_own_icmp(case).or_else(|| rejected_by_icmp(case));
    }
    if outcome == Outcome::Refused {
        return rejected_by_rst(case).or_else(|| refused_unsent(case));
    }
    if outcome == Outcome::NoReply {
        rejected_call(case).or_else(|| rejected_elsewhere(case, speaks_for_reject))
    } else {
        None
    }
}

/// A rule dropped this host's own SYN before it reached the wire, and connect(2) failed: the rule answered. Nobody else
/// can have, and a rule that only drops leaves the call to its timeout.
fn rejected_call(case: &Case<'_>) -> Option<Judgement> {
    let errno = case.local.call.ok()?.errno.filter(|errno| *errno != libc::ETIMEDOUT)?;
    let reason = case.dropped_on_its_way_out(Side::Client).filter(|reason| *reason == "NETFILTER_DROP")?;
    (case.local.made == Ok(true) && case.hs().syn.tries == 0).then_some(())?;
    certain([
        format!("a rule of this host rejected its own SYN ({reason})"),
        format!("connect(2) failed with {}, and no SYN left", errno_name(errno)),
    ])
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
    if let (true, Some(reason)) = (case.is_here(Side::Server), case.dropped_by_rule(Side::Client)) {
        return certain([format!("a rule of this host dropped the SYN ({reason})"), rst(case)]);
    }
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
