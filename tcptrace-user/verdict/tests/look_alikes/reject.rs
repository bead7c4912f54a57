//! Rejections: RSTs, ICMP errors and rules of this host that answer.

use std::time::Duration;

use tcptrace_core::{
    drops::Kind,
    flow::Addr,
    handshake::{End, Facts, Handshake, Nanos, Side, State},
    segment::Flags,
};
use tcptrace_vocabulary::{
    cause::{
        Cause::{
            DroppedByLocalFirewall, FirewallReject, GatewayDown, HostDown, MiddleboxReset, NetworkUnreachable,
            PortClosed, Unknown,
        },
        Confidence::{Certain, Likely, Possible},
    },
    facts::{Call, Dropped, Local, Missing, Place, Suspect},
};

use super::{ROUTER, Said, beside, drop_at, later, neighbour, said, short, told, tried, unsent};
use crate::common::{
    Around, CLIENT, NOW, OTHER_CLIENT, PORT_80, SECOND, SERVER, answered, dropped, earlier, established, here, refused,
    rejecting, suspect, unreachable, verdict,
};

const RST_ACK: u8 = Flags::RST | Flags::ACK;

/// An ICMP error that came so many nanoseconds after the SYN, from this address.
fn error_from(from: Addr, kind: u8, code: u8, after: u64, local: Local) -> Said {
    let it = Handshake { ended: Nanos(NOW.0 + after), ..unreachable(kind, code) };
    short(&verdict(it, &Around { icmp_from: Some(from), local: Some(local), ..Around::default() }))
}

/// Prohibited by this host itself is a rule's word, and so is whatever a rule was found for; IPVS says port-unreachable.
#[test]
fn an_error_of_this_host_is_certain_by_its_word_or_its_rule() {
    let prohibited = |from, local| error_from(from, 3, 13, SECOND / 1000, local);
    let port = |from, local| error_from(from, 3, 3, SECOND / 1000, local);
    let both = Local { server_here: Ok(true), ..here(false) };
    assert_eq!(prohibited(CLIENT, here(false)), (FirewallReject, Certain));
    assert_eq!(port(Addr::v4(0x7f00_0001), here(false)), (FirewallReject, Likely), "a balancer without a backend");
    let rule = Suspect { rejects: true, ..suspect(None) };
    let dropped = Local { rules: Ok(vec![rule]), drops: Ok(dropped(Side::Client, "NETFILTER_DROP")), ..here(false) };
    assert_eq!(port(CLIENT, dropped), (FirewallReject, Certain), "a rule was found");
    assert_eq!(port(ROUTER, here(false)), (FirewallReject, Likely));
    assert_eq!(port(CLIENT, here(true)), (FirewallReject, Likely), "the client is elsewhere");
    assert_eq!(port(CLIENT, both), (FirewallReject, Likely), "the server is here, and its rules may say so");
}

/// This host says host-unreachable after a look-up, which takes its time, or by a rule, which does not.
#[test]
fn this_hosts_own_host_unreachable_is_told_by_its_time() {
    let with = |after, neighbour| error_from(CLIENT, 3, 1, after, Local { neighbour, ..here(false) });
    let (soon, late) = (SECOND / 1000, 3 * SECOND);
    assert_eq!(with(soon, Ok(Some(neighbour(true, false)))), (FirewallReject, Likely), "the neighbour is there");
    assert_eq!(with(late, Ok(Some(neighbour(true, false)))), (HostDown, Likely));
    assert_eq!(with(soon, Ok(None)), (FirewallReject, Possible), "a rule, or a tunnel without a peer");
    assert_eq!(with(soon, Err(Missing::Failed)), (FirewallReject, Possible));
    assert_eq!(with(late, Err(Missing::Failed)), (HostDown, Likely));
    assert_eq!(with(soon, Ok(Some(neighbour(true, true)))), (HostDown, Possible), "its SYN was seen leaving");
    assert_eq!(with(soon, Ok(Some(neighbour(false, true)))), (GatewayDown, Possible));
}

#[test]
fn an_error_that_came_at_once_says_when() {
    let it = Handshake { ended: Nanos(NOW.0 + SECOND / 500), ..unreachable(3, 1) };
    let it = verdict(it, &Around::default());
    assert_eq!(it.evidence[1], "it came after 2.0 ms; the look-up of a neighbour takes longer to fail");
}

/// A host that answers meanwhile has a network around it.
#[test]
fn a_net_unreachable_about_a_host_that_answers_is_a_rules() {
    for code in [0, 11] {
        let it = Handshake { ended: Nanos(NOW.0 + SECOND), ..unreachable(3, code) };
        assert_eq!(beside(it, vec![established(CLIENT, PORT_80)]), (FirewallReject, Likely));
        assert_eq!(beside(it, vec![earlier(established(CLIENT, PORT_80), 60)]), (NetworkUnreachable, Likely));
        assert_eq!(beside(it, Vec::new()), (NetworkUnreachable, Likely));
    }
}

/// A rule kept this host's own SYN, and the call failed at once: a rule that rejects, if one was found.
#[test]
fn a_call_that_a_rule_rejected_has_an_errno_and_no_syn() {
    let local = |errno| Local {
        call: Ok(Call { errno: Some(errno), took: Duration::from_millis(1) }),
        made: Ok(true),
        drops: Ok(drop_at(Side::Client, "NETFILTER_DROP", Place::Client)),
        ..here(false)
    };
    let by = |rules| said(unsent(), Local { rules: Ok(rules), ..local(libc::ECONNREFUSED) });
    assert_eq!(by(rejecting()), (FirewallReject, Certain));
    assert_eq!(by([rejecting(), vec![suspect(None)]].concat()), (FirewallReject, Likely), "either may have done it");
    let counted = Suspect { rejects: true, ..suspect(Some(1)) };
    assert_eq!(by(vec![counted, suspect(None)]), (FirewallReject, Certain), "its counter grew");
    let still = Suspect { rejects: true, ..suspect(Some(0)) };
    assert_eq!(by(vec![still, suspect(None)]), (FirewallReject, Likely), "its counter stood still");
    assert_eq!(by(vec![suspect(None)]), (DroppedByLocalFirewall, Likely), "what drops in silence answers nothing");
    let likely = told(unsent(), Local { rules: Err(Missing::Privilege), ..local(libc::ECONNREFUSED) });
    assert_eq!(short(&likely), (FirewallReject, Likely));
    assert_eq!(likely.evidence[1], "connect(2) failed with ECONNREFUSED, and no SYN was seen leaving");
    let reason = drop_at(Side::Client, "XDP", Place::Client);
    for (it, local, why) in [
        (unsent(), local(libc::ETIMEDOUT), "silence has that errno"),
        (tried(1, 0), local(libc::ECONNREFUSED), "a SYN was seen"),
        (unsent(), Local { made: Err(Missing::Kernel), ..local(libc::ECONNREFUSED) }, "perhaps TCP made none"),
        (unsent(), Local { made: Ok(false), ..local(libc::ECONNREFUSED) }, "TCP made none"),
        (unsent(), Local { drops: Ok(reason), ..local(libc::ECONNREFUSED) }, "no rule of netfilter's"),
    ] {
        let local = Local { rules: Err(Missing::Privilege), ..local };
        assert_ne!(said(it, local).0, FirewallReject, "{why}");
    }
}

/// A bridge drops the SYN at one port and floods it to others: TCP may have had a copy, and refused it.
#[test]
fn a_copy_of_a_dropped_syn_may_have_been_refused() {
    let rst = refused(64, 0, RST_ACK);
    let rule = drop_at(Side::Client, "NETFILTER_DROP", Place::Between);
    let copy = [rule.clone(), dropped(Side::Client, "NO_SOCKET")].concat();
    let local = |drops| Local { drops: Ok(drops), listener: Ok(None), rules: Ok(rejecting()), ..here(true) };
    assert_eq!(said(rst, local(rule)), (FirewallReject, Certain));
    assert_eq!(said(rst, local(copy)), (FirewallReject, Likely));
    // The client's own rule dropped the first SYN, and the second found nobody: TCP's word is of the second only.
    let own = [drop_at(Side::Client, "NETFILTER_DROP", Place::Client), dropped(Side::Client, "NO_SOCKET")].concat();
    let both = Local { client_here: Ok(true), ..local(own) };
    assert_eq!(said(rst, both), (PortClosed, Possible));
}

/// Each rule that can have dropped the SYN answers what it drops: the answer left where nobody traces.
#[test]
fn a_silent_attempt_was_rejected_if_every_rule_rejects() {
    let rule = |rejects| Suspect { rejects, ..suspect(None) };
    let local = |rules| Local { rules: Ok(rules), drops: Ok(dropped(Side::Client, "NETFILTER_DROP")), ..here(true) };
    assert_eq!(said(tried(1, 0), local(vec![rule(true)])), (FirewallReject, Likely));
    assert_eq!(said(tried(1, 0), local(vec![rule(true), rule(false)])).0, DroppedByLocalFirewall);
    assert_eq!(said(tried(1, 0), local(Vec::new())).0, DroppedByLocalFirewall);
}

#[test]
fn a_closed_port_says_when_it_was_open() {
    let words = |worked| {
        let it = verdict(refused(60, 0, RST_ACK), &Around { worked, ..Around::default() });
        assert_eq!(short(&it), (PortClosed, Possible));
        it.evidence.join("; ")
    };
    let before = words(vec![earlier(established(OTHER_CLIENT, SERVER), 3)]);
    assert!(before.contains("port 6036 answered 3.0 s before") && !before.contains("later"), "{before}");
    let after = words(vec![later(established(OTHER_CLIENT, SERVER), 2)]);
    assert!(after.contains("port 6036 answered 2.0 s later") && !after.contains("before"), "{after}");
    let never = words(Vec::new());
    assert!(!never.contains("port 6036 answered"), "{never}");
    assert!(never.starts_with("RST/ACK with TTL 60 and window 0; "), "{never}");
    let unread = verdict(refused(0, 0, RST_ACK), &Around::default()).evidence;
    assert_eq!(unread[..2], ["a RST refused the SYN", "its TTL was not seen"]);
}

/// On the server, the RST is this host's own: another distance there says nothing of a machine between.
#[test]
fn a_rst_of_this_host_is_not_compared_with_others() {
    let near = refused(63, 0, RST_ACK);
    let worked = vec![established(CLIENT, PORT_80)];
    assert_eq!(beside(near, worked.clone()), (FirewallReject, Likely));
    let local = Local { left: Err(Missing::Elsewhere), ..here(true) };
    let it = verdict(near, &Around { worked, local: Some(local), ..Around::default() });
    assert_ne!(it.cause, FirewallReject, "{it:#?}");
}

#[test]
fn a_reset_in_the_middle_is_a_rst_after_an_answer() {
    let recovering =
        Handshake { facts: Facts(Facts::RECOVERING), state: State::Aborted as u8, ..answered(SECOND / 50) };
    let end = End { ttl: 64, window: 0, flags: Flags::RST };
    let first = Handshake { ended: Nanos(NOW.0 + SECOND / 40), end, ..recovering };
    assert_eq!(beside(first, Vec::new()), (MiddleboxReset, Likely));
    let unanswered = Handshake { first_answer: Nanos(0), last_answer: Nanos(0), answer: tried(0, 0).answer, ..first };
    assert_ne!(beside(unanswered, Vec::new()).0, MiddleboxReset, "no SYN/ACK of the server came after it");

    let cut = |flags| {
        let it = established(CLIENT, SERVER);
        Handshake { facts: Facts(Facts::SERVER_RST), end: End { ttl: 62, flags, ..it.end }, ..it }
    };
    assert_eq!(beside(cut(RST_ACK), Vec::new()), (MiddleboxReset, Likely));
    assert_ne!(beside(cut(Flags::ACK), Vec::new()).0, MiddleboxReset, "what was kept is no RST's");
}

/// A packet that nobody can place is no reason.
#[test]
fn a_drop_of_the_wrong_kind_rejects_nothing() {
    let fin = |packet| {
        let it = drop_at(Side::Client, "NETFILTER_DROP", Place::Between).into_iter();
        let drops = Ok(it.map(|it| Dropped { packet, ..it }).collect());
        Local { drops, rules: Ok(rejecting()), ..here(false) }
    };
    assert_eq!(said(refused(64, 0, RST_ACK), fin(Kind::Syn)), (FirewallReject, Certain));
    assert_eq!(said(refused(64, 0, RST_ACK), fin(Kind::Fin)).0, PortClosed);
    assert_eq!(said(tried(1, 0), fin(Kind::Fin)).0, Unknown);
}

/// The witness of a net-unreachable: the client of the attempt, another one, or the port that answered it.
#[test]
fn a_net_unreachable_is_weighed_by_whom_the_host_answered() {
    let at = |after| Handshake { ended: Nanos(NOW.0 + after), ..unreachable(3, 0) };
    let weighed = |it, from, worked| {
        let it = verdict(it, &Around { icmp_from: Some(from), worked, ..Around::default() });
        (it.cause, it.confidence, it.evidence.get(1).cloned().unwrap_or_default())
    };
    let (soon, late) = (SECOND / 1000, SECOND);
    let others = "203.0.113.2 answers other clients on port 6036".to_owned();
    let by_rule = (FirewallReject, Possible, others);
    let meanwhile = || vec![established(OTHER_CLIENT, SERVER)];
    assert_eq!(weighed(at(late), SERVER.addr, meanwhile()), by_rule, "from the host itself");
    assert_eq!(weighed(at(late), ROUTER, meanwhile()), by_rule);
    let lately = || vec![earlier(established(OTHER_CLIENT, SERVER), 5)];
    assert_eq!(weighed(at(soon), ROUTER, lately()), by_rule, "nobody looked so soon");
    let own_lately = vec![earlier(established(CLIENT, PORT_80), 10)];
    assert_eq!(weighed(at(late), ROUTER, own_lately).0, NetworkUnreachable, "the way may have gone since");
    // Another port answered a minute ago, and this client five minutes ago: neither is of this time.
    let old = [meanwhile(), vec![earlier(established(OTHER_CLIENT, PORT_80), 60)]].concat();
    assert_eq!(weighed(at(late), ROUTER, old), by_rule);
    let after = [meanwhile(), vec![later(established(OTHER_CLIENT, PORT_80), 60)]].concat();
    assert_eq!(weighed(at(late), ROUTER, after), by_rule);
    let own = [meanwhile(), vec![earlier(established(CLIENT, SERVER), 300)]].concat();
    assert_eq!(weighed(at(late), ROUTER, own), by_rule);
    // Five seconds after the clock began: a client that was never answered was not answered at zero.
    let early = |it: Handshake| {
        let back = |at: Nanos| Nanos(at.0.saturating_sub(NOW.0 - 5 * SECOND));
        let (first_syn, last_syn, ended) = (back(it.first_syn), back(it.last_syn), back(it.ended));
        let (first_answer, last_answer) = (back(it.first_answer), back(it.last_answer));
        Handshake { first_syn, last_syn, ended, first_answer, last_answer, ..it }
    };
    assert_eq!(weighed(early(at(late)), ROUTER, vec![early(established(OTHER_CLIENT, SERVER))]), by_rule);
}

/// Nobody knows when a SYN was sent that nobody saw, nor that its error came at once.
#[test]
fn an_error_for_a_syn_that_nobody_saw_has_no_time() {
    let it = Handshake { ended: Nanos(NOW.0 + SECOND / 1000), ..unreachable(3, 1) };
    assert_eq!(beside(it, Vec::new()), (FirewallReject, Possible));
    let unseen = Handshake { syn: unsent().syn, ..it };
    assert_eq!(beside(unseen, Vec::new()), (HostDown, Possible));
}

/// A gateway that is silent is no reason for an error that another router sent, nor for another error of this host.
#[test]
fn a_silent_gateway_is_behind_this_hosts_own_host_unreachable() {
    let with = |from, code| {
        let neighbour = Ok(Some(neighbour(false, true)));
        error_from(from, 3, code, 3 * SECOND, Local { neighbour, ..here(false) })
    };
    assert_eq!(with(CLIENT, 1), (GatewayDown, Possible));
    assert_eq!(with(ROUTER, 1), (HostDown, Likely));
    assert_eq!(with(CLIENT, 3), (FirewallReject, Likely));
    assert_eq!(with(CLIENT, 5).0, Unknown, "no look-up says so");
    assert_eq!(with(ROUTER, 0), (NetworkUnreachable, Likely));
    let capture = Local::unknown(Missing::NotAsked);
    assert_eq!(error_from(CLIENT, 3, 1, 3 * SECOND, capture), (HostDown, Possible), "nobody knows who the next hop is");
    assert_eq!(error_from(CLIENT, 3, 1, 3 * SECOND, here(false)), (HostDown, Likely));
}

/// A SYN that never left this host met nobody, whatever TCP says of it.
#[test]
fn a_port_is_not_closed_to_a_syn_that_never_left() {
    let drops = Ok(dropped(Side::Client, "NO_SOCKET"));
    let local = Local { listener: Ok(None), drops, ..here(true) };
    let with = |left| said(refused(64, 0, RST_ACK), Local { left, ..local.clone() });
    assert_eq!(with(Ok(1)), (PortClosed, Certain));
    assert_ne!(with(Ok(0)).0, PortClosed);
}

/// A rule between the ends dropped the SYN in silence, and somebody else answered: not where the rule is the client's.
#[test]
fn a_rule_of_the_clients_own_drops_no_syn_that_was_refused() {
    let with = |place| {
        let drops = Ok(drop_at(Side::Client, "NETFILTER_DROP", place));
        said(refused(60, 0, RST_ACK), Local { drops, ..here(false) })
    };
    assert_eq!(with(Place::Between), (DroppedByLocalFirewall, Likely));
    assert_ne!(with(Place::Client).0, DroppedByLocalFirewall);
}
