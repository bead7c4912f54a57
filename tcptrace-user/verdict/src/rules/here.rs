//! The deeds of this host itself: its rules, its listeners, its memory. By its own word, and only where an end is here.

use tcptrace_core::{drops::Kind, handshake::Side, segment::Flags};

use tcptrace_vocabulary::{
    facts::{Aborts, Dropped, Listener, Suspect},
    outcome::Outcome,
    words::{count, ip},
};

use super::{Judgement, Proof, certain, likely, peer, possible, reject::silence, sender::answer_of};
use crate::case::{Case, Lack, Part, is_firewall_reason};

/// A SYN that finds the accept queue full is dropped (`tcp_conn_request`, net/ipv4/tcp_input.c), and so is a final ACK
/// (`tcp_v4_syn_recv_sock`, net/ipv4/tcp_ipv4.c), after which the SYN/ACK is sent again, or a RST
/// (net.ipv4.tcp_abort_on_overflow). A listener with TCP_DEFER_ACCEPT sends the SYN/ACK again as well, and so does one
/// whose SYN/ACK and the ACK crossed.
pub(super) fn listen_queue_full(case: &Case<'_>) -> Option<Judgement> {
    let repeated = peer::repeated(case);
    let again = repeated.is_some();
    let outcome = case.attempt.outcome;
    let was_silent = outcome == Outcome::NoReply || case.hs().syn.tries > 1 && outcome.is_open();
    let drops = || [Part::Syn, Part::Ack].into_iter().flat_map(|part| case.drops_of(part));
    // A raw socket's own copy is no drop of the handshake's packet.
    let is_another =
        |it: &Dropped| !matches!(it.reason.as_str(), "TCP_LISTEN_OVERFLOW" | "NO_SOCKET" | "SOCKET_FILTER");
    let is_by_rule = || drops().any(|it| is_firewall_reason(&it.reason));
    if !case.is_here(Side::Server) {
        return possible(repeated?);
    }
    if let Some(judgement) = queue_dropped_the_ack(case) {
        return Some(judgement);
    }
    if !(was_silent || again) || is_by_rule() {
        return None;
    }
    let mut evidence = queue_evidence(case);
    evidence.extend(repeated.into_iter().flatten().take(1));
    let overflows = case.growth(|counters| counters.listen_overflows) > 0;
    match (case.listener().map(Listener::is_full), overflows) {
        // ListenOverflows counts for every listener of the namespace; the queue is this one's. Without the reasons of
        // drops, or with another reason than the queue's, something else may have dropped it as well.
        (Some(true), true) if case.local.drops.is_ok() && !drops().any(is_another) => {
            certain(Proof::QueueFull, evidence)
        }
        (Some(true), _) => likely(evidence),
        // Its queue has room again; or the overflows are another listener's.
        (Some(false), true) if again => likely(evidence),
        (Some(false), true) if drops().next().is_none() => possible(evidence),
        // A queue with room whose counter stands still dropped nothing: TCP_DEFER_ACCEPT.
        (Some(false) | None, _) => None,
    }
}

/// The state of the accept queue, as far as it speaks for a full one.
fn queue_evidence(case: &Case<'_>) -> Vec<String> {
    let full = case.listener().filter(|it| it.is_full());
    let full = full.map(|it| format!("the accept queue is full: {} wait, the limit is {}", it.queue, it.queue_max));
    let overflows = case.growth(|counters| counters.listen_overflows);
    let grew = (overflows > 0).then(|| format!("ListenOverflows grew by {overflows} meanwhile"));
    full.into_iter().chain(grew).collect()
}

/// The final ACK met a full queue. TCP says so itself since Linux 6.15. Before that, and for the ACK of a SYN cookie,
/// TCP found no socket for it: the listener is there, its queue is above its limit, and ListenOverflows grew.
fn queue_dropped_the_ack(case: &Case<'_>) -> Option<Judgement> {
    let overflow = [Part::Ack, Part::Syn].into_iter().find_map(|part| {
        let dropped = case.drop_of(part, |it| it == "TCP_LISTEN_OVERFLOW")?;
        Some((part, dropped))
    });
    if let Some((part, dropped)) = overflow {
        let first = format!("this host dropped the {} ({}): the accept queue was full", part.word(), dropped.reason);
        let evidence = [vec![first], queue_evidence(case)].concat();
        // A later try may have got in, and what came then is another matter.
        let is_why = case.attempt.outcome == Outcome::ResetByServer || case.attempt.was_answered_again();
        return if dropped.fits == Some(true) && (is_why || part == Part::Syn) {
            certain(Proof::Overflow, evidence)
        } else {
            likely(evidence)
        };
    }
    let dropped = case.dropped_without_socket(Part::Ack).filter(|it| it.fits == Some(true))?;
    let evidence = queue_evidence(case);
    let first = format!("TCP found no place for the final ACK ({}), and somebody listens", dropped.reason);
    match (case.listener()?.is_full(), case.growth(|counters| counters.listen_overflows)) {
        // What comes after a RST or a FIN finds no socket either.
        (true, 1..) if case.attempt.outcome == Outcome::Established => {
            certain(Proof::CookieAck, [vec![first], evidence].concat())
        }
        (true, _) | (false, 1..) => likely([vec![first], evidence].concat()),
        (false, 0) => None,
    }
}

/// A SYN that finds the queue of half-open connections full is dropped, unless a cookie can answer it
/// (`tcp_conn_request`, net/ipv4/tcp_input.c).
pub(super) fn syn_queue_full(case: &Case<'_>) -> Option<Judgement> {
    let was_silent =
        case.attempt.outcome == Outcome::NoReply || case.hs().syn.tries > 1 && case.attempt.outcome.is_open();
    let drops = case.growth(|counters| counters.syn_queue_drops);
    let is_other = case.drops_of(Part::Syn).next().is_some();
    if !was_silent || drops == 0 || is_other || !case.is_here(Side::Server) {
        return None;
    }
    let grew = format!("TCPReqQFullDrop grew by {drops}: a queue of half-open connections was full");
    // The counter is the whole network namespace's.
    match &case.local.listener {
        Ok(Some(listener)) if !listener.is_full() => likely([grew]),
        // Who listened then is gone: a closed port refuses.
        Ok(_) | Err(_) => possible([grew]),
    }
}

/// The packets whose loss can make the outcome: the SYN that nobody answered, perhaps only the first ones; the answer,
/// which never came by or was never acknowledged; the ACK after which the SYN/ACK came again.
fn lost(case: &Case<'_>) -> &'static [Part] {
    let outcome = case.attempt.outcome;
    if outcome == Outcome::NoReply {
        return &[Part::Syn, Part::Answer];
    }
    if outcome == Outcome::HalfOpen {
        return &[Part::Answer, Part::Ack];
    }
    if case.attempt.was_answered_again() {
        return &[Part::Ack];
    }
    if outcome.is_open() && case.hs().syn.tries > 1 { &[Part::Syn] } else { &[] }
}

/// The drop that can make the outcome, for a reason that is wanted.
fn loss<'a>(case: &Case<'a>, wanted: fn(&str) -> bool) -> Option<(Part, &'a Dropped)> {
    lost(case).iter().find_map(|&part| Some((part, case.drop_of(part, wanted)?)))
}

/// A rule or a policy of this host dropped a packet of the handshake, without an answer.
pub(super) fn dropped_by_local_firewall(case: &Case<'_>) -> Option<Judgement> {
    if case.lacks_conntrack().is_some() {
        return None;
    }
    // The SYN/ACK that the client's own host dropped has a name of its own.
    let found = loss(case, is_rule).filter(|(part, _)| *part != Part::Answer || !is_lost_at_the_client(case));
    if let Some((part, dropped)) = found {
        // What all of them answered has a name of its own.
        if case.is_rejected_by_rule() {
            return None;
        }
        let evidence = [vec![dropped_sentence(case, part, dropped)], suspects(case, dropped)].concat();
        let is_proof = is_proof(case, part, dropped);
        return if is_proof { certain(Proof::DroppedByRule, evidence) } else { likely(evidence) };
    }
    if let Some(judgement) = dropped_and_answered_elsewhere(case) {
        return Some(judgement);
    }
    let is_syn = lost(case).contains(&Part::Syn);
    let translated = || {
        let reason = case.dropped_by_rule_after_translation().filter(|_| is_syn)?;
        // By its number and one of its ends.
        likely([format!("this host dropped the SYN after it passed the interface ({reason})")])
    };
    if case.attempt.outcome == Outcome::NoReply { unsent(case).or_else(translated) } else { translated() }
}

/// A rule here dropped each SYN in silence, and somebody between sent a RST or an error.
fn dropped_and_answered_elsewhere(case: &Case<'_>) -> Option<Judgement> {
    let is_answered = matches!(case.attempt.outcome, Outcome::Refused | Outcome::Unreachable);
    let dropped = case.dropped_by_rule(Part::Syn).filter(|it| is_answered && case.is_of_all_tries(Part::Syn, it))?;
    if case.is_at_home(dropped) || !case.is_dropped_in_silence() {
        return None;
    }
    let answer = "no rule was found that rejects: somebody between answered".to_owned();
    likely([vec![dropped_sentence(case, Part::Syn, dropped)], suspects(case, dropped), vec![answer]].concat())
}

/// Whether the SYN/ACK came as far as the client's own host.
fn is_lost_at_the_client(case: &Case<'_>) -> bool {
    case.attempt.outcome == Outcome::HalfOpen && case.is_here(Side::Client)
}

/// Whether nothing else leaves this drop behind, and nothing else made the outcome: each try was dropped, and the reason
/// is a rule's alone. A queue drops what finds it full, too; and netfilter drops what connection tracking has no room
/// for: there has to be a rule or a policy that can have done it, and the table's counter has to stand still.
fn is_proof(case: &Case<'_>, part: Part, dropped: &Dropped) -> bool {
    let is_rule = if dropped.reason == NETFILTER {
        stands_still(case) && !case.suspects().is_empty()
    } else {
        is_firewall_reason(&dropped.reason)
    };
    // What was answered was not only dropped.
    is_rule && case.is_of_all_tries(part, dropped) && !case.is_call_answered()
}

/// Whether connection tracking is known to have dropped nothing meanwhile.
fn stands_still(case: &Case<'_>) -> bool {
    case.local.counters.as_ref().is_ok_and(|it| it.is_conntrack_known && it.conntrack_drops == 0)
}

/// The rules that can have done it, a sentence each.
fn suspects(case: &Case<'_>, dropped: &Dropped) -> Vec<String> {
    if dropped.reason != NETFILTER {
        return Vec::new();
    }
    match &case.local.rules {
        Ok(none) if none.is_empty() => vec!["no rule or policy of nftables that can have done it was found".to_owned()],
        Ok(found) => found.iter().map(suspect).collect(),
        Err(_) => Vec::new(),
    }
}

fn suspect(suspect: &Suspect) -> String {
    let Suspect { hook, family, table, chain, handle, rejects, grew, packets } = suspect;
    let chain = format!("chain {chain} of table {family} {table} (hook {hook})");
    let does = if *rejects { "rejects" } else { "drops" };
    let can = if *rejects { "can have rejected it" } else { "can have dropped it" };
    match (handle, grew, packets) {
        (None, ..) => format!("the policy of {chain} drops what no rule accepts"),
        (Some(handle), Some(grew), _) => format!("rule {handle} in {chain} {does}; its counter grew by {grew}"),
        (Some(handle), None, Some(packets)) => format!("rule {handle} in {chain} {can}; it has counted {packets}"),
        (Some(handle), None, None) => format!("rule {handle} in {chain} {can}"),
    }
}

/// The sentence about a packet that this host dropped.
fn dropped_sentence(case: &Case<'_>, part: Part, dropped: &Dropped) -> String {
    let reason = format!("{}{}", dropped.reason, case.whereabouts(dropped));
    // If both ends are here, a SYN that came by had left already.
    let is_own = case.is_at_home(dropped) && (!case.is_here(Side::Server) || case.hs().syn.tries == 0);
    match part {
        Part::Syn if is_own => format!("this host dropped its own SYN ({reason})"),
        Part::Answer if case.is_at_home(dropped) => {
            let what = if dropped.packet == Kind::Rst { "RST" } else { part.word() };
            format!("the SYN came in, and this host dropped its own {what} ({reason})")
        }
        Part::Syn | Part::Answer | Part::Ack => {
            format!("this host dropped the {} after it passed the interface ({reason})", part.word())
        }
    }
}

/// The reason of netfilter's hooks (`nf_hook_slow`, net/netfilter/core.c), whatever made them drop.
const NETFILTER: &str = "NETFILTER_DROP";

/// Whether a rule or policy is behind a drop: a filter, or the discipline of an interface's queue.
fn is_rule(reason: &str) -> bool {
    is_firewall_reason(reason) || reason.starts_with("QDISC_")
}

/// No SYN was seen leaving, by this host or by the first router: that answers what is too old when it comes in, before
/// its rules see it (`ip_forward`, net/ipv4/ip_forward.c).
fn unsent(case: &Case<'_>) -> Option<Judgement> {
    // Without a link address nothing leaves either, and that is no rule. Nor does a call whose SYN was never made.
    if case.never_left() && case.silent_neighbour().is_none() && case.local.made != Ok(false) {
        // Translated or wrapped (IPsec), it may have left unseen.
        return likely(["no SYN for it was seen leaving: this host's own rules drop or redirect it".to_owned()]);
    }
    let other = case.is_lost_before_first_router()?;
    let (answer, far) = (answer_of(other), case.walk()?.other?.answered);
    likely([format!("SYNs to the port miss even the first router; {answer} comes from hop {far}"), silence(case)])
}

/// Connection tracking dropped a packet that no rule dropped: its table is full. The counters are of a whole namespace.
pub(super) fn conntrack_full(case: &Case<'_>) -> Option<Judgement> {
    lacked(case, case.lacks_conntrack().filter(|it| it.no_room)?)
}

/// Address translation dropped a packet, because no port was free for it.
pub(super) fn nat_exhausted(case: &Case<'_>) -> Option<Judgement> {
    lacked(case, case.lacks_conntrack().filter(|it| !it.no_room)?)
}

/// A try that got through later shows a clash of two flows, or a table that had room again.
fn lacked(case: &Case<'_>, lack: Lack) -> Option<Judgement> {
    loss(case, |reason| reason == NETFILTER).map(|_| ()).or_else(|| case.translated_to().map(|_| ()))?;
    if case.attempt.outcome.is_open() { possible(lack.evidence) } else { likely(lack.evidence) }
}

/// The way back to the sender uses another interface than the packet came in on. Only IPv4 has this reason, and only
/// that check gives it.
pub(super) fn reverse_path_filter(case: &Case<'_>) -> Option<Judgement> {
    let (part, dropped) = loss(case, |reason| reason == "IP_RPFILTER")?;
    let (what, reason) = (part.word(), &dropped.reason);
    let sender = if part.from() == Side::Client { case.hs().client_addr } else { case.hs().server_addr };
    let mut evidence = vec![format!(
        "this host dropped the {what}: its route back to {} uses another interface ({reason}{})",
        ip(sender),
        case.whereabouts(dropped)
    )];
    let grew = case.growth(|counters| counters.reverse_path_drops);
    evidence.extend((grew > 0).then(|| format!("IPReversePathFilter grew by {grew}")));
    let is_all = case.is_of_all_tries(part, dropped);
    if is_all { certain(Proof::ReversePath, evidence) } else { likely(evidence) }
}

/// The packet came in with a wrong checksum, its own or that of the tunnel around it.
pub(super) fn bad_checksum(case: &Case<'_>) -> Option<Judgement> {
    dropped_for_checksum(case).or_else(|| captured_damaged(case))
}

/// The packets of a capture show it. One on the sender shows sums that its card computes later: those have the
/// addresses' sum or nothing, and are not meant. Whoever rewrites addresses of a capture leaves wrong sums as well.
fn captured_damaged(case: &Case<'_>) -> Option<Judgement> {
    let part = case.damaged()?;
    let sums = case.attempt.noted.sums;
    let (what, wrong) = if part == Part::Syn { ("SYN", sums.syns.wrong) } else { ("SYN/ACK", sums.answers.wrong) };
    let whose = if sums.is_of_tunnel { "the UDP header of a tunnel" } else { "TCP" };
    let all = count(wrong.into(), what);
    let evidence = format!("the checksum of {whose} is wrong in each of {all}: the receiver drops such a packet");
    if case.past.checksums().some_right {
        return likely([evidence, "other packets here are right, and no card's offload leaves such a sum".to_owned()]);
    }
    possible([evidence, "no packet here has a right one: addresses may have been rewritten in the capture".to_owned()])
}

fn dropped_for_checksum(case: &Case<'_>) -> Option<Judgement> {
    let (part, dropped) = loss(case, |reason| matches!(reason, "TCP_CSUM" | "UDP_CSUM" | "IP_CSUM"))?;
    let (what, reason) = (part.word(), &dropped.reason);
    let mut evidence = vec![format!("this host dropped the {what}: its checksum is wrong ({reason})")];
    let grew = case.growth(|counters| counters.checksum_errors);
    evidence.extend((grew > 0).then(|| format!("InCsumErrors grew by {grew}")));
    let is_all = case.is_of_all_tries(part, dropped);
    if is_all { certain(Proof::Checksum, evidence) } else { likely(evidence) }
}

/// The SYN/ACK came in at the interface, and the socket waits for it still.
pub(super) fn answer_lost_locally(case: &Case<'_>) -> Option<Judgement> {
    if case.attempt.outcome != Outcome::HalfOpen || !case.is_here(Side::Client) || case.hs().server_point.is_egress() {
        return None;
    }
    if let Some(dropped) = case.drop_of(Part::Answer, is_firewall_reason).filter(|_| case.lacks_conntrack().is_none()) {
        let evidence = [format!("this host dropped the SYN/ACK after it came in ({})", dropped.reason)];
        let is_proof =
            case.is_of_all_tries(Part::Answer, dropped) && (dropped.reason != NETFILTER || stands_still(case));
        return if is_proof { certain(Proof::AnswerDropped, evidence) } else { likely(evidence) };
    }
    match &case.local.socket {
        Ok(Some(socket)) if socket.state == "SYN-SENT" => {
            let answers = count(case.hs().answer.tries.into(), "SYN/ACK");
            likely([format!("{answers} came in, and the socket is still in SYN-SENT")])
        }
        _ => None,
    }
}

/// A handshake needs none of the memory that tcp_mem limits: where that is at its limit, SYNs are answered, and closed
/// ports refuse. Only two things fail: a packet for which there was no memory at all, and a connection that is closed
/// with data to send, which is reset.
pub(super) fn out_of_memory(case: &Case<'_>) -> Option<Judgement> {
    let (syns, answers) = (case.hs().syn.tries, case.hs().answer.tries);
    let outcome = case.attempt.outcome;
    if outcome == Outcome::NoReply {
        return dropped_for_memory(case, Part::Syn, syns).or_else(|| dropped_for_memory(case, Part::Answer, syns));
    }
    if outcome == Outcome::HalfOpen {
        return dropped_for_memory(case, Part::Answer, answers);
    }
    if outcome == Outcome::ResetByServer {
        return reset_for_memory(case, Side::Server);
    }
    if outcome == Outcome::ResetByClient { reset_for_memory(case, Side::Client) } else { None }
}

fn dropped_for_memory(case: &Case<'_>, part: Part, tries: u8) -> Option<Judgement> {
    let drops = case.dropped_for_memory(part);
    let reasons: Vec<_> = drops.iter().map(|it| it.reason.as_str()).collect();
    let (count, reasons) = (drops.iter().map(|it| it.count).sum::<u64>(), reasons.join(", "));
    if drops.is_empty() {
        return None;
    }
    let evidence = [format!("this host dropped {count} of {tries} tries for want of memory ({reasons})")];
    // The others were lost in another way; and without its number it may be another attempt's packet.
    match (count >= u64::from(tries), drops.iter().all(|it| it.fits == Some(true))) {
        (true, true) => certain(Proof::NoMemory, evidence),
        (true, false) => likely(evidence),
        (false, _) => possible(evidence),
    }
}

/// close(2) with much to send above tcp_mem, or among more than tcp_max_orphans, resets (`tcp_check_oom`,
/// net/ipv4/tcp.c); so does the timer of a socket that was closed before (`tcp_out_of_resources`,
/// net/ipv4/tcp_timer.c). Either sends a RST with an ACK and counts it, and so does whatever else makes TCP reset by
/// itself: the counter does not name the connection.
fn reset_for_memory(case: &Case<'_>, side: Side) -> Option<Judgement> {
    let (Aborts { for_memory, otherwise }, flags) = (case.local.aborts.ok()?, case.hs().end.flags);
    if !case.is_here(side) || flags & Flags::RST == 0 || flags & Flags::ACK == 0 || for_memory == 0 {
        return None;
    }
    let grew = format!("TCPAbortOnMemory grew by {for_memory} at the reset");
    match otherwise {
        0 => likely([grew, "TCP counted no other reason to reset then".to_owned()]),
        _ => possible([grew, format!("TCP reset {otherwise} for other reasons then")]),
    }
}
