//! Somebody said no: whose RST, whose ICMP error it is.

use std::iter;

use tcptrace_core::{
    handshake::{Facts, Side},
    segment::{Flags, Icmp},
};
use tcptrace_vocabulary::{
    icmp::icmp_reason,
    outcome::Outcome,
    words::{flag_names, ip},
};

use super::{
    Found, certain, likely, possible,
    sender::{Sender, is_odd},
};
use crate::{case::Case, past::Life};

pub(super) fn port_closed(case: &Case<'_>) -> Option<Found> {
    if case.it.outcome != Outcome::Refused {
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
                return possible([rst(case), "somebody listens there now, and may have begun since".to_owned()]);
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

pub(super) fn firewall_reject(case: &Case<'_>) -> Option<Found> {
    match case.it.outcome {
        Outcome::Unreachable => rejected_by_icmp(case),
        Outcome::Refused => rejected_by_rst(case),
        Outcome::NoReply
        | Outcome::Challenged
        | Outcome::HalfOpen
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

/// No TCP answers a SYN with port-unreachable (RFC 9293, section 3.10.7.1: with a RST); netfilter's REJECT does.
fn rejected_by_icmp(case: &Case<'_>) -> Option<Found> {
    let icmp = case.hs().unreachable()?;
    let evidence = error(case, icmp);
    match (icmp.v6, icmp.kind, icmp.code) {
        (false, 3, 3 | 9 | 10 | 13) | (true, 1, 1 | 4 | 5 | 6) => certain([evidence]),
        (false, 3, 2) => likely([evidence]),
        // An error that says the host is away, while it is there.
        (false, 3, 1 | 7 | 12) | (true, 1, 3) if is_contradicted(case) => {
            likely([evidence, format!("{} answered at the same time", ip(case.server().addr))])
        }
        _ => None,
    }
}

/// Whether an error that says the host is away is not true: the host answered since, or just before, and who says so did
/// not take the time to look for it. The host itself says it of one behind it, to which it forwards the port.
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

fn rejected_by_rst(case: &Case<'_>) -> Option<Found> {
    if let (true, Some(reason)) = (case.is_here(Side::Server), case.dropped_by_rule(Side::Client)) {
        return certain([format!("this host dropped the SYN before TCP ({reason})"), rst(case)]);
    }
    if case.is_here(Side::Server) {
        return None;
    }
    another(case, Sender::of_refusal(case))
}

/// A RST that does not fit the packets of the side that it names, or that came before that side's own answer.
pub(super) fn middlebox_reset(case: &Case<'_>) -> Option<Found> {
    let hs = case.hs();
    if case.it.outcome == Outcome::Aborted && case.has(Facts::RECOVERING) && hs.answer.tries > 0 {
        return likely([format!("a RST came first, and then the server's own SYN/ACK (TTL {})", hs.answer.ttl)]);
    }
    match case.it.outcome {
        Outcome::ResetOnAnswer | Outcome::ResetByServer | Outcome::ResetByClient if hs.end.flags & Flags::RST != 0 => {
            another(case, Sender::of_reset(case))
        }
        _ => None,
    }
}

/// That somebody else sent the RST, as sure as the signs are.
fn another(case: &Case<'_>, sender: Sender) -> Option<Found> {
    match (sender.may_be_another(), sender.is_likely_another()) {
        (false, _) => None,
        (true, false) => possible(with_rst(case, sender.signs())),
        (true, true) => likely(with_rst(case, sender.signs())),
    }
}

fn with_rst(case: &Case<'_>, evidence: impl Iterator<Item = String>) -> Vec<String> {
    iter::once(rst(case)).chain(evidence).collect()
}

fn rst(case: &Case<'_>) -> String {
    let end = case.hs().end;
    format!("{} with TTL {} and window {}", flag_names(end.flags), end.ttl, end.window)
}

/// What an ICMP error said, and who.
pub(super) fn error(case: &Case<'_>, icmp: Icmp) -> String {
    match case.it.icmp_from {
        Some(from) => format!("ICMP {} from {}", icmp_reason(icmp), ip(from)),
        None => format!("ICMP {}", icmp_reason(icmp)),
    }
}
