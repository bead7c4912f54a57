//! Nobody answered: whether the port, the host or the way to it is dead.

use tcptrace_core::handshake::{Facts, Side};
use tcptrace_vocabulary::{
    facts::{Neighbour, Way},
    icmp::Meaning,
    outcome::Outcome,
    words::{count, ip},
};

use super::{
    Judgement, Proof, certain, likely,
    peer::outpaced,
    possible,
    reject::{answers_during, came_at_once, error, is_contradicted, rejected_elsewhere, silence, was_looked_for},
    sender::answer_of,
};
use crate::{
    case::{Case, Kept, Part},
    near::LATELY,
    past::{Answered, Host, Life},
};

/// The time that a service may take to answer, and its queue to drain; two lost SYNs cost three seconds.
const LONG: u64 = 3_500_000_000;
/// Every system starts with a TTL of 32 or more; a smaller one belongs to a traceroute.
const SHORT: u8 = 32;

/// Silent, while the same host answers on another port, or others on this one.
pub(super) fn firewall_drop(case: &Case<'_>) -> Option<Judgement> {
    let hs = case.hs();
    // Whoever got it dropped it; or it was answered elsewhere.
    if case.damaged().is_some() || case.is_half_of_another() {
        return None;
    }
    if case.attempt.outcome == Outcome::HalfOpen && case.asks_on() && !case.is_here(Side::Client) {
        return possible([format!(
            "the client sent {} despite {}: they do not reach it",
            count(hs.syn.tries.into(), "SYN"),
            count(hs.answer.tries.into(), "SYN/ACK")
        )]);
    }
    if case.attempt.outcome != Outcome::NoReply || case.is_here(Side::Server) || case.has(Facts::RST_IGNORED) {
        return None;
    }
    let is_told = case.walk().is_some_and(|walk| walk.rejected.is_some());
    if is_told || case.never_left() || case.is_lost_before_first_router().is_some() {
        return None;
    }
    lost_on_the_way(case).or_else(|| lost_beside_others(case)).or_else(|| {
        // If another probe was rejected, that is the known cause.
        let signs = case.shows_signs().filter(|_| case.rejected_elsewhere().is_none())?;
        likely([signs, silence(case)])
    })
}

/// SYNs for the port die on the way, and other probes to the same host get through.
fn lost_on_the_way(case: &Case<'_>) -> Option<Judgement> {
    let walk = case.walk().filter(|walk| walk.answered.is_none())?;
    let other = walk.other?;
    let (answer, far) = (answer_of(other.sent), other.answered);
    match walk.last {
        // Routers between may be silent to every probe, and then the host may be the one that drops.
        Some(last) if last.hops + 1 < far => likely([
            format!(
                "SYNs to the port reach {} (hop {}), the last that speaks; {answer} comes from hop {far}",
                ip(last.from),
                last.hops
            ),
            "a router from there on or the host filters, or the host's accept queue is full".to_owned(),
            silence(case),
        ]),
        Some(last) => likely([
            format!(
                "SYNs to the port reach {} (hop {}), the last before the host; {answer} comes from hop {far}",
                ip(last.from),
                last.hops
            ),
            "that router or the host filters, or the host's accept queue is full".to_owned(),
            silence(case),
        ]),
        None => likely([format!("{answer} comes from hop {far}"), silence(case)]),
    }
}

/// The other ports of the host that answered, or the clients that this port answered.
fn lost_beside_others(case: &Case<'_>) -> Option<Judgement> {
    let (hs, server) = (case.hs(), case.server());
    let name = ip(server.addr);
    let host = case.host()?;
    let answered = host.answered(hs, case.attempt.outcome);
    let counts = host.port(server.port, case.at());
    let heard = host.ports(server.port, case.around()).filter(|(_, life, _)| *life > Life::Never);
    let heard = heard.max_by_key(|(_, life, _)| *life);
    let is_alive = heard.is_some_and(|(_, life, _)| life.is_alive());
    if answered.own > 0 || counts.refused > 0 && is_alive || host.answers_another_way() || outpaced(case).is_some() {
        // It answers, and to this client: what got lost is a packet. Or it answers more slowly than this client waited.
        return None;
    }
    let doubt = chance(case, host);
    if answered.others + answered.others_lately > 0 && hs.syn.tries > 1 {
        let evidence =
            format!("port {} of {name} answered others, but not this client's {} SYNs", server.port, hs.syn.tries);
        let doubt = doubt.or_else(|| answered_before(case, answered));
        let is_chosen = answered.others > 0 && hs.syn.tries > 2 && doubt.is_none();
        let evidence: Vec<_> = [evidence].into_iter().chain(doubt).collect();
        return if is_chosen { likely(evidence) } else { possible(evidence) };
    }
    let (port, life, _) = heard?;
    if !is_alive {
        return match life {
            Life::Before(last) if counts.answered + counts.refused == 0 && !host.fell(case.around()) => {
                possible([case.heard_before(last), format!("port {port} did so, and port {} never did", server.port)])
            }
            Life::Never | Life::Before(_) | Life::Lately | Life::Since => None,
        };
    }
    if counts.answered > 0 {
        // It did answer, and its queue may be full, or its service gone.
        return possible([format!("{name} answered on port {port}, earlier on port {}", server.port)]);
    }
    let silent = counts.silent.max(1);
    if !host.opened_near(case.around()) {
        // A firewall may send a RST for a host that is down, and a host that answers later may have been down.
        return possible([format!("port {port} of {name} refuses, or answered at another time"), silence(case)]);
    }
    let evidence = [
        format!("{name} answered on port {port}"),
        format!("port {} never did: {} silent", server.port, count(silent.into(), "attempt")),
    ];
    if case.is_translated() {
        let each = "this host translates that address: each port may have a host of its own".to_owned();
        return possible([&evidence[..], &[each]].concat());
    }
    // A client that never tries again has given up at once, or was answered by a way that nobody sees.
    let is_chosen = hs.syn.tries > 1 && doubt.is_none();
    let evidence: Vec<_> = evidence.into_iter().chain(doubt).collect();
    if is_chosen { likely(evidence) } else { possible(evidence) }
}

/// That packets to the host, or to others of its network, get lost whatever they are: loss and overload choose no port
/// and no client.
fn chance(case: &Case<'_>, host: &Host) -> Option<String> {
    let is_lossy = |it: &Host| it.is_lossy(case.around(), LATELY);
    let is_near = is_lossy(host) || case.past.network(case.server().addr).any(is_lossy);
    is_near.then(|| "other attempts were answered at a later SYN only: packets get lost on the way".to_owned())
}

/// That the port answered this client before, and this is the first time since that it did not, or it did so just
/// before or again later; or that it may have. Of several equal paths or backends one is dead, as well as a rule may be
/// new: a rule stays.
fn answered_before(case: &Case<'_>, answered: Answered) -> Option<String> {
    if let Some(last) = answered.own_before {
        let before = case.hs().first_syn.since(last);
        let is_new = before <= LATELY || answered.own_failed_since < 2 || answered.own_after.is_some();
        let seconds = before as f64 / 1e9;
        let other =
            format!("it answered another attempt of this client {seconds:.1} s before: perhaps one path is dead");
        return is_new.then_some(other);
    }
    let many = "more clients asked than are remembered: it may have answered this one as well";
    answered.is_incomplete.then(|| many.to_owned())
}

/// Silent on every port that was tried, or its neighbours cannot find it.
pub(super) fn host_down(case: &Case<'_>) -> Option<Judgement> {
    let outcome = case.attempt.outcome;
    if matches!(outcome, Outcome::NoReply | Outcome::Unreachable)
        && let Some(reason) = case.no_neighbour_to_forward_to()
    {
        return likely([format!("this host forwards the SYN, and found no MAC address for its next hop ({reason})")]);
    }
    if outcome == Outcome::Unreachable {
        return is_away_by_icmp(case);
    }
    let life = case.life();
    let is_shown = case.past.view().lacks_answers().is_none() && !case.is_half_of_another();
    let is_silent =
        outcome == Outcome::NoReply && !case.has(Facts::RST_IGNORED) && case.damaged().is_none() && is_shown;
    if !is_silent || case.is_here(Side::Server) || life == Life::Since {
        return None;
    }
    if let Some(neighbour) = case.silent_neighbour() {
        // Nobody answers on a link that is down.
        let is_answerable = !matches!(&case.local.way, Ok(Way::Link { up, carrier, .. }) if !up || !carrier);
        let is_why = neighbour.is_peer && is_answerable;
        return if is_why { silent_next_hop(case, neighbour, Proof::SilentOnLink, None) } else { None };
    }
    rejected_elsewhere(case, |meaning| meaning == Meaning::HostUnreachable).or_else(|| silent_host(case, life))
}

/// The judgement that a next hop which does not answer on the link is why.
pub(super) fn silent_next_hop(
    case: &Case<'_>,
    neighbour: &Neighbour,
    proof: Proof,
    more: Option<String>,
) -> Option<Judgement> {
    let evidence: Vec<_> = [unanswered(neighbour)].into_iter().chain(more).collect();
    let and = |sentence: &str| [&evidence[..], &[sentence.to_owned()]].concat();
    match case.kept_for_next_hop() {
        Kept::All if neighbour.may_be_unheard => likely(and("a rule of this host may drop what it answers")),
        Kept::All => certain(proof, evidence),
        // Those were lost in another way: behind a next hop that was still there, or to one that was gone already.
        Kept::Some => possible(and("earlier SYNs left this host")),
        Kept::Unknown if case.hs().syn.tries == 0 => {
            possible(and("SYNs may have left by another next hop, where nobody traces"))
        }
        Kept::Unknown => possible(and("SYNs left this host, perhaps by another next hop")),
    }
}

/// The sentence about a neighbour that does not answer on the link.
pub(super) fn unanswered(neighbour: &Neighbour) -> String {
    let what = if neighbour.address.is_ipv4() { "ARP" } else { "neighbour discovery" };
    let whom = if neighbour.is_peer { "it" } else { "the gateway to it" };
    format!("{whom} ({}) does not answer {what}", neighbour.address)
}

/// A router says that it cannot find the host, or this host says it of its own link.
fn is_away_by_icmp(case: &Case<'_>) -> Option<Judgement> {
    if case.meaning()? != Meaning::HostUnreachable {
        return None;
    }
    let error = error(case)?;
    if case.is_own_error() {
        return match case.silent_neighbour() {
            Some(neighbour) if neighbour.is_peer => silent_next_hop(case, neighbour, Proof::SilentOnLink, Some(error)),
            Some(_) => None,
            None if came_at_once(case).is_some() => possible([error]),
            None if case.is_here(Side::Client) => likely([error, "this host found nobody on the link".to_owned()]),
            // Of a capture nobody knows who the next hop is, nor when a SYN was made that was kept.
            None => possible([
                error,
                "it found no link address: the server, or the gateway to it, does not answer".to_owned(),
            ]),
        };
    }
    let who = if case.is_forwarded() {
        "the server forwards the port to that host"
    } else {
        "the last router cannot find it"
    };
    // What came sooner than a look-up can fail is no more a router's that looked than a rule's.
    if is_contradicted(case) || came_at_once(case).is_some() {
        return None;
    }
    if was_looked_for(case) {
        return likely([error, who.to_owned()]);
    }
    let doubt = "no shorter round trip is known of that way: a rule far away answers as late".to_owned();
    possible([error, who.to_owned(), doubt])
}

/// Nothing of the host answered. A firewall in front of the host, or on it, leaves the same trace.
fn silent_host(case: &Case<'_>, life: Life) -> Option<Judgement> {
    let server = case.server();
    let name = ip(server.addr);
    if case.never_left() || case.shows_signs().is_some() || case.is_lost_before_first_router().is_some() {
        return None;
    }
    let host = case.host().filter(|host| !host.answers_another_way())?;
    let silent = host.ports(server.port, case.around()).find(|(_, life, counts)| !life.is_alive() && counts.silent > 0);
    match (silent, life) {
        (Some((port, ..)), Life::Never) => {
            let evidence = format!("{name} answered neither on port {} nor on port {port}", server.port);
            // Answers of its neighbours say nothing of a firewall on the host itself.
            possible([evidence, "a firewall that drops everything looks the same".to_owned()])
        }
        (Some((port, ..)), Life::Before(last)) => {
            // A rule that drops all of this client's packets looks the same.
            possible([case.heard_before(last), format!("neither port {} nor port {port} answers now", server.port)])
        }
        (None, Life::Before(last)) if has_waited(case) => possible([case.heard_before(last)]),
        (None, Life::Never | Life::Before(_)) | (_, Life::Lately | Life::Since) => None,
    }
}

/// Whether silence has gone on for longer than a slow service keeps it.
fn has_waited(case: &Case<'_>) -> bool {
    let hs = case.hs();
    hs.last_syn.since(hs.first_syn) >= LONG || !case.attempt.trust.still_open && hs.syn.tries > 2
}

/// A router knows no way, or the packet's time ran out on it (RFC 792; RFC 4443, sections 3.1 and 3.3).
pub(super) fn network_unreachable(case: &Case<'_>) -> Option<Judgement> {
    if matches!(case.attempt.outcome, Outcome::NoReply | Outcome::Unreachable)
        && let Some(dropped) = case.no_route_to_forward_by()
    {
        let evidence = [format!("this host has no route on which to forward the SYN ({})", dropped.reason)];
        let is_all = case.is_of_all_tries(Part::Syn, dropped);
        return if is_all { certain(Proof::NoRouteToForward, evidence) } else { likely(evidence) };
    }
    if case.attempt.outcome == Outcome::NoReply {
        return rejected_elsewhere(case, |meaning| speaks_for_network(meaning) || meaning == Meaning::TimeExceeded);
    }
    let (meaning, error) = (case.meaning().filter(|_| !case.is_own_error())?, error(case)?);
    // Rules can be made to say so, too: of a host that answers, they did.
    if speaks_for_network(meaning) {
        // A source address that is not valid there is no matter of a route.
        let is_doubtful = answers_during(case) || is_contradicted(case) || meaning == Meaning::BeyondScope;
        return if is_doubtful { possible([error]) } else { likely([error]) };
    }
    if meaning != Meaning::TimeExceeded {
        return None;
    }
    // Somewhere on the way routers have taken the rest.
    if case.local.client_here != Ok(false) && (1..SHORT).contains(&case.hs().syn.ttl) {
        return possible([error, format!("the SYN has TTL {}, as a traceroute's has", case.hs().syn.ttl)]);
    }
    likely([error, "a loop, or a path that is too long".to_owned()])
}

/// Whether an ICMP error says that a router knows no way.
const fn speaks_for_network(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::NetUnreachable | Meaning::NetUnreachableOtherwise | Meaning::BeyondScope)
}
