//! Somebody said no: whose RST, whose ICMP error it is.
//!
//! A closed port's RST on Linux has window 0, no options and an IP ID of 0 (`tcp_v4_send_reset`, net/ipv4/tcp_ipv4.c):
//! none of that is a sign of a middlebox. What is: another TTL than the peer's own packets, or to come before the peer
//! can have been asked.

use tcptrace_core::{
    handshake::{Facts, Side},
    outcome::Outcome,
    segment::{Flags, Icmp},
};

use super::{Found, certain, likely, possible};
use crate::{
    diagnose::{
        case::{Case, hops},
        history::Ttl,
    },
    report::{flag_names, icmp_reason, ip},
};

/// What the RST's TTL says beside the host's own SYN/ACKs.
enum Sender {
    /// As far away as the host.
    TheHost(String),
    /// At another distance.
    Another(String),
    /// Just before the host: a firewall, or the host itself where the ports that answer are translated.
    OneNearer(String),
    /// There is nothing to compare with, or the initial TTL may be another for RSTs.
    Unknown(String),
}

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
    match sender(case) {
        _ if is_odd(case) || is_too_fast(case).is_some() => None,
        Sender::TheHost(evidence) => likely([rst(case), evidence]),
        Sender::Another(_) | Sender::OneNearer(_) => None,
        Sender::Unknown(why) => possible([rst(case), why]),
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
        (false, 3, 1 | 7 | 12) | (true, 1, 3) if answers_elsewhere(case) => {
            likely([evidence, format!("{} answered on another port at the same time", ip(case.server().addr))])
        }
        _ => None,
    }
}

fn rejected_by_rst(case: &Case<'_>) -> Option<Found> {
    if let (true, Some(reason)) = (case.is_here(Side::Server), case.dropped_by_rule(Side::Client)) {
        return certain([format!("this host dropped the SYN before TCP ({reason})"), rst(case)]);
    }
    if case.is_here(Side::Server) {
        return None;
    }
    if let Some(evidence) = is_too_fast(case) {
        return likely([rst(case), evidence]);
    }
    match sender(case) {
        Sender::Another(evidence) => return likely([rst(case), evidence]),
        Sender::OneNearer(evidence) => return possible([rst(case), evidence]),
        Sender::TheHost(_) | Sender::Unknown(_) => {}
    }
    if is_odd(case) { possible([rst(case), "a closed port's RST has an ACK and window 0".to_owned()]) } else { None }
}

/// A RST that comes from another distance than the packets of the side that it names, or before that side's own answer.
pub(super) fn middlebox_reset(case: &Case<'_>) -> Option<Found> {
    let hs = case.hs();
    if case.it.outcome == Outcome::Aborted && case.has(Facts::RECOVERING) && hs.answer.tries > 0 {
        return likely([format!("a RST came first, and then the server's own SYN/ACK (TTL {})", hs.answer.ttl)]);
    }
    let (own, what) = match case.it.outcome {
        Outcome::ResetOnAnswer => (hs.answer.ttl, "server's SYN/ACK"),
        Outcome::ResetByServer if hs.end.flags & Flags::RST != 0 => (hs.answer.ttl, "server's SYN/ACK"),
        Outcome::ResetByClient if hs.end.flags & Flags::RST != 0 => (hs.syn.ttl, "client's SYN"),
        _ => return None,
    };
    if hops(own) == hops(hs.end.ttl) {
        return None;
    }
    likely([
        rst(case),
        format!("the {what} came with TTL {own}, from {} hops away; the RST from {}", hops(own), hops(hs.end.ttl)),
    ])
}

fn sender(case: &Case<'_>) -> Sender {
    let ttl = case.hs().end.ttl;
    let Some(Ttl { least, most }) = case.host().and_then(|it| it.answer_ttl) else {
        return Sender::Unknown("no SYN/ACK of this host was seen of late to compare the RST with".to_owned());
    };
    if case.two_hosts().is_some() {
        return Sender::Unknown("two hosts have this address: which of them sent it is not known".to_owned());
    }
    let range = if least == most { format!("{least}") } else { format!("{least} to {most}") };
    if (least..=most).contains(&ttl) {
        return Sender::TheHost(format!("its TTL {ttl} is that of the host's SYN/ACKs"));
    }
    let (near, far) = (hops(least).min(hops(most)), hops(least).max(hops(most)));
    if (near..=far).contains(&hops(ttl)) {
        return Sender::Unknown(format!("its TTL {ttl} and the host's SYN/ACKs' ({range}) are of the same distance"));
    }
    let evidence = format!("its TTL is {ttl}, that of the host's SYN/ACKs {range}");
    if hops(ttl) + 1 == near {
        return Sender::OneNearer(format!(
            "{evidence}: sent one hop nearer, or those ports are forwarded to one behind it"
        ));
    }
    Sender::Another(format!("{evidence}: it was sent by something else"))
}

/// A RST in less than half of the host's shortest time to answer was sent by something nearer.
fn is_too_fast(case: &Case<'_>) -> Option<String> {
    /// What a shorter time is made of is processing, not distance.
    const DISTANT: u64 = 2_000_000;
    let hs = case.hs();
    let fastest = case.host()?.fastest.filter(|it| *it >= DISTANT)?;
    let took = hs.ended.since(hs.last_syn);
    let millis = |nanos: u64| nanos as f64 / 1e6;
    (took < fastest / 2).then(|| {
        format!("it came after {:.1} ms; the host's SYN/ACKs take {:.1} ms at least", millis(took), millis(fastest))
    })
}

fn is_odd(case: &Case<'_>) -> bool {
    let end = case.hs().end;
    end.flags & Flags::ACK == 0 || end.window != 0
}

fn answers_elsewhere(case: &Case<'_>) -> bool {
    case.host().is_some_and(|it| it.counts(case.at()).is_alive())
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
