//! Rejections: whose RST, whose ICMP error it is.

use std::iter;

use tcptrace_core::{
    flow::Endpoint,
    handshake::{Facts, Side},
    segment::Flags,
};
use tcptrace_vocabulary::{
    errno::errno_name,
    facts::{Apart, Listener},
    icmp::Meaning,
    outcome::Outcome,
    words::{count, flag_names, ip},
};

use super::{
    Judgement, Proof, certain, likely, possible,
    sender::{Sender, is_odd},
};
use crate::case::{Case, Part};

pub(super) fn port_closed(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome != Outcome::Refused || case.never_left() || is_answered_after_all(case) {
        return None;
    }
    // A translated SYN goes on to another host, whose port it is.
    let is_last = !case.is_translated() || case.dropped_without_socket(Part::Syn).is_some();
    if case.is_here(Side::Server) && case.dropped_by_rule(Part::Syn).is_none() && is_last {
        match &case.local.listener {
            Ok(None) => {
                let nobody = nobody_listens(case);
                // By TCP's own word. Without it, it may have been translated and forwarded, or a rule may have said so.
                return match case.dropped_without_socket(Part::Syn) {
                    Some(it) => {
                        let evidence = [nobody, format!("TCP found no socket for the SYN ({})", it.reason), rst(case)];
                        // The other tries met an older connection, and that may be the matter.
                        let other =
                            case.has(Facts::CHALLENGED).then(|| "ACKs without SYN came for earlier SYNs".to_owned());
                        let is_all = it.fits == Some(true) && other.is_none();
                        let evidence = evidence.into_iter().chain(other).collect::<Vec<_>>();
                        if is_all { certain(Proof::NoSocket, evidence) } else { likely(evidence) }
                    }
                    None => possible([nobody, rst(case)]),
                };
            }
            Ok(Some(listener)) => return closed_beside_listener(case, listener),
            Err(_) => {}
        }
    }
    if serves_others(case).is_some() {
        return None;
    }
    let sender = Sender::of_refusal(case);
    if sender.is_likely_another() || sender.may_be_another() && (!sender.fits() || is_odd(case)) {
        return None;
    }
    // A rule on the host sends the very same RST (nf_reject_ipv4.c), so the host's own is no more than possible.
    let same = "a rule that rejects on the host sends the same RST".to_owned();
    possible(with_rst(case, sender.evidence().chain(opened_before(case)).chain([same])))
}

/// A socket listens on the port now, and TCP found none for the SYN: it listens elsewhere, or is newer.
fn closed_beside_listener(case: &Case<'_>, listener: &Listener) -> Option<Judgement> {
    let port = case.server().port;
    let newer = || [rst(case), "a socket listens there now; it may be newer".to_owned()];
    let Some(dropped) = case.dropped_without_socket(Part::Syn) else { return possible(newer()) };
    let place = match &listener.apart {
        Some(Apart::Interface(name)) => format!("the socket that listens on port {port} is bound to interface {name}"),
        Some(Apart::Vrf(name)) => format!(
            "the SYN came in by VRF {name}, and the socket that listens on port {port} is bound to no VRF \
             (net.ipv4.tcp_l3mdev_accept)"
        ),
        None => return possible(newer()),
    };
    let evidence = [place, format!("TCP found no socket for the SYN ({})", dropped.reason), rst(case)];
    let is_all = dropped.fits == Some(true) && !case.has(Facts::CHALLENGED);
    if is_all { certain(Proof::NoSocket, evidence) } else { likely(evidence) }
}

/// Whether the server's own SYN/ACK followed the RST that refused. The last RST is the client's then.
fn is_answered_after_all(case: &Case<'_>) -> bool {
    case.has(Facts::RECOVERING) && case.hs().answer.tries > 0
}

/// That the port answers others around the same time, before this attempt and after it: stacks refuse when their queue
/// is full (Windows, lwIP), and of several hosts behind an address one may refuse.
pub(crate) fn serves_others(case: &Case<'_>) -> Option<String> {
    if case.attempt.outcome != Outcome::Refused {
        return None;
    }
    let (before, after) = case.host()?.opened_around(case.server().port, case.around());
    let began = case.hs().first_syn;
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let (before, after) = (seconds(began.since(before?)), seconds(after?.since(began)));
    Some(format!("port {} answered {before:.1} s before and {after:.1} s after", case.server().port))
}

/// That the port answered before, and not since.
fn opened_before(case: &Case<'_>) -> Option<String> {
    let (before, after) = case.host()?.opened_around(case.server().port, case.around());
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let (began, port) = (case.hs().first_syn, case.server().port);
    match (before, after) {
        (Some(before), None) => Some(format!("port {port} answered {:.1} s before", seconds(began.since(before)))),
        (None, Some(after)) => Some(format!("port {port} answered {:.1} s later", seconds(after.since(began)))),
        (Some(_), Some(_)) | (None, None) => None,
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
    if let Some(judgement) = rejected_here(case) {
        return Some(judgement);
    }
    if outcome == Outcome::Unreachable {
        return rejected_by_own_icmp(case).or_else(|| rejected_by_icmp(case));
    }
    if outcome == Outcome::Refused {
        return rejected_by_rst(case).or_else(|| refused_unsent(case));
    }
    if outcome == Outcome::NoReply {
        rejected_call(case).or_else(|| rejected_unseen(case)).or_else(|| rejected_elsewhere(case, speaks_for_reject))
    } else {
        None
    }
}

/// A rule dropped this host's own SYN before it reached the wire, and connect(2) failed. Where a rule was found that
/// rejects such a packet, that rule answered; otherwise a later SYN may have left by an interface that is not traced.
fn rejected_call(case: &Case<'_>) -> Option<Judgement> {
    let errno = case.local.call.ok()?.errno.filter(|_| case.is_call_answered())?;
    let dropped = case.dropped_on_its_way_out(Side::Client).filter(|it| it.reason == "NETFILTER_DROP")?;
    let is_its = case.local.made == Ok(true) && case.hs().syn.tries == 0 && !case.is_dropped_in_silence();
    is_its.then_some(())?;
    let evidence = [
        format!("a rule of this host rejected its own SYN ({})", dropped.reason),
        format!("connect(2) failed with {}, and no SYN was seen leaving", errno_name(errno)),
    ];
    if case.is_rejected_by_rule() { certain(Proof::RejectedCall, evidence) } else { likely(evidence) }
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
/// here, and by a rule that rejects, nobody else had anything to answer, unless TCP got a copy: a bridge floods what it
/// drops at one port to others.
fn rejected_here(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    let answer = if outcome == Outcome::Refused { rst(case) } else { error(case)? };
    let dropped = case.dropped_by_rule(Part::Syn).filter(|it| !case.is_at_home(it))?;
    let evidence =
        [format!("a rule of this host rejected the SYN ({}{})", dropped.reason, case.whereabouts(dropped)), answer];
    if case.is_dropped_in_silence() {
        // What drops in silence answers nothing: somebody else did.
        return None;
    }
    // A load balancer without a backend drops and answers as well (`ip_vs_leave`, net/netfilter/ipvs/ip_vs_core.c).
    let is_copied = case.dropped_without_socket(Part::Syn).is_some();
    let is_proof = case.is_of_all_tries(Part::Syn, dropped) && !is_copied && case.is_rejected_by_rule();
    if is_proof { certain(Proof::DroppedAndAnswered, evidence) } else { likely(evidence) }
}

/// A rule of this host dropped the SYN, and whatever rule can have done so answers what it drops. The answer left by an
/// interface that is not traced: a bridge's port.
fn rejected_unseen(case: &Case<'_>) -> Option<Judgement> {
    let dropped = case.dropped_by_rule(Part::Syn)?;
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
    let itself = format!("{} itself sent {error}", case.itself());
    if let Some(dropped) = case.dropped_by_rule(Part::Syn).filter(|_| case.is_rejected_by_rule()) {
        let evidence = [itself, format!("one of its rules rejects the SYN ({})", dropped.reason)];
        let is_all = case.is_of_all_tries(Part::Syn, dropped);
        return if is_all { certain(Proof::OwnError, evidence) } else { likely(evidence) };
    }
    match meaning {
        // Nothing but an administrator makes these.
        Meaning::AdminProhibited | Meaning::HostProhibited | Meaning::NetProhibited | Meaning::SourcePolicyFailed => {
            certain(Proof::OwnError, [itself])
        }
        // So does IPVS for a service without a server (ip_vs_leave, net/netfilter/ipvs/ip_vs_core.c), and a program at
        // TC that balances load.
        Meaning::PortUnreachable => {
            likely([itself, format!("a rule says so, or a load balancer of {} without a backend", case.itself())])
        }
        Meaning::HostUnreachable => {
            // A look-up that failed says so as well, and takes its time; so does a tunnel that has no peer for the
            // address (WireGuard, IPsec), at once. Only a next hop that has a link address is neither.
            let took = came_at_once(case).filter(|_| case.silent_neighbour().is_none())?;
            match &case.local.neighbour {
                Ok(Some(it)) if !it.link_addresses.is_empty() => likely([itself, took]),
                _ => {
                    possible([itself, took, "a rule says so, or a tunnel that has no peer for the address".to_owned()])
                }
            }
        }
        Meaning::RejectRoute | Meaning::ProtocolUnreachable | Meaning::NetUnreachable => {
            likely([itself, format!("a rule or a route of {} rejects it", case.itself())])
        }
        Meaning::HostUnreachableForService
        | Meaning::NetUnreachableOtherwise
        | Meaning::BeyondScope
        | Meaning::TimeExceeded
        | Meaning::SourceRouteFailed
        | Meaning::ParameterProblem
        | Meaning::Other => None,
    }
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
        // So does a load balancer without a backend (ip_vs_leave, net/netfilter/ipvs/ip_vs_core.c).
        Meaning::PortUnreachable => {
            likely([evidence, "a rule says so, or a load balancer without a backend".to_owned()])
        }
        // A router's table, and no firewall, may have that route.
        Meaning::RejectRoute => likely([evidence, "a route or a rule of that router rejects it".to_owned()]),
        // Nothing but an administrator makes these: a rule, or a route of the kind `prohibit`.
        Meaning::AdminProhibited | Meaning::HostProhibited | Meaning::NetProhibited | Meaning::SourcePolicyFailed => {
            certain(Proof::Prohibited, [evidence])
        }
        Meaning::HostUnreachable | Meaning::HostUnreachableForService => not_away(case, evidence),
        Meaning::NetUnreachable | Meaning::NetUnreachableOtherwise if answers_during(case) || is_contradicted(case) => {
            let witness = witness(case);
            // A gateway may lack a port, or an entry in its table, for one of its clients.
            if answers_client(case) { likely([evidence, witness]) } else { possible([evidence, witness]) }
        }
        Meaning::NetUnreachable
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

/// An error that says the host is away, while it is there, or sooner than anybody can know it.
fn not_away(case: &Case<'_>, error: String) -> Option<Judgement> {
    let name = ip(case.server().addr);
    let at_once = came_at_once(case);
    if is_contradicted(case) {
        return likely(iter::once(error).chain([witness(case)]).chain(at_once).collect::<Vec<_>>());
    }
    if case.is_forwarded() {
        return possible([error, at_once?, format!("{name} itself sent it")]);
    }
    possible([error, at_once?])
}

/// Whether the host answered the client of this attempt around the same time, on any port.
fn answers_client(case: &Case<'_>) -> bool {
    case.host().is_some_and(|it| it.answered_client(case.hs().client_addr, case.around()))
}

/// That the host answers, and whom.
fn witness(case: &Case<'_>) -> String {
    let (name, port) = (ip(case.server().addr), case.server().port);
    let is_other = case.host().is_some_and(|it| it.opened_besides(port, case.around()));
    match (is_other, answers_client(case)) {
        (true, _) => format!("{name} answers on another port"),
        (false, true) => format!("{name} answers this client on port {port} around then"),
        (false, false) => format!("{name} answers other clients on port {port}"),
    }
}

/// Whether an error that says the host is away is not true: the host opened a connection meanwhile, or shortly before or
/// after and the sender of the error did not take the time to look for it. Where the host itself sent the error, it may
/// speak of a host behind it to which it forwards the port, for which it takes that time, too. A RST is no witness:
/// whoever sends the error may send RSTs for a host that is down.
pub(super) fn is_contradicted(case: &Case<'_>) -> bool {
    let is_near = case.host().is_some_and(|it| it.opened_near(case.around()));
    is_near && came_at_once(case).is_some() || answers_during(case) && !case.is_forwarded()
}

/// Whether the host opened a connection while the attempt was under way.
pub(super) fn answers_during(case: &Case<'_>) -> bool {
    case.host().is_some_and(|it| it.opened_during(case.around()))
}

/// That an error came sooner than the look-up of a link address can fail: Linux asks three times, a second apart (RFC
/// 4861, section 10; net/core/neighbour.c), and a tenth of that where somebody made it hurry. Another packet may have
/// begun the look-up earlier, so this proves no rule.
pub(super) fn came_at_once(case: &Case<'_>) -> Option<String> {
    let took = case.hs().ended.since(case.hs().first_syn);
    let millis = took as f64 / 1e6;
    // The time of a SYN that nobody saw is not known.
    let is_known = case.hs().syn.tries > 0;
    (is_known && took < LOOKED_FOR)
        .then(|| format!("it came after {millis:.1} ms; the look-up of a neighbour takes longer to fail"))
}

/// The shortest look-up of a neighbour that fails: three questions, a tenth of a second apart.
const LOOKED_FOR: u64 = 250_000_000;

/// Whether the sender of an error can have looked for the host before it sent it: so long after the SYN that no way
/// there and back is as long, or so much longer than the known round trip. Otherwise a rule far away answers as late;
/// and a SYN that was sent again may be the one that was answered.
pub(super) fn was_looked_for(case: &Case<'_>) -> bool {
    /// No way is as long. Linux looks for three seconds by default.
    const BEYOND_ANY_WAY: u64 = 2_000_000_000;
    let hs = case.hs();
    if hs.ended.since(hs.first_syn) >= BEYOND_ANY_WAY {
        return true;
    }
    // Of the SYNs between the first and the last nobody knows when they were sent.
    let asked = match (hs.last_syn <= hs.ended, hs.syn.tries) {
        (true, _) => hs.last_syn,
        (false, ..=2) => hs.first_syn,
        (false, 3..) => return false,
    };
    let round_trip = case.past.round_trip(case.server().addr);
    round_trip.is_some_and(|it| hs.ended.since(asked) >= it.saturating_add(LOOKED_FOR))
}

fn rejected_by_rst(case: &Case<'_>) -> Option<Judgement> {
    if case.is_here(Side::Server) || case.never_left() || is_answered_after_all(case) {
        return None;
    }
    another(case, Sender::of_refusal(case))
}

/// A RST that does not fit the packets of the side that it names, or that came before that side's own answer.
pub(super) fn middlebox_reset(case: &Case<'_>) -> Option<Judgement> {
    let hs = case.hs();
    let is_over = matches!(case.attempt.outcome, Outcome::Aborted | Outcome::Refused);
    if is_over && is_answered_after_all(case) {
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
pub(crate) fn error(case: &Case<'_>) -> Option<String> {
    let word = case.meaning()?.word();
    Some(match case.attempt.icmp_from {
        Some(from) if case.is_error_of_this_host() => format!("ICMP {word} from {}, an address of this host", ip(from)),
        Some(from) => format!("ICMP {word} from {}", ip(from)),
        None => format!("ICMP {word}"),
    })
}
