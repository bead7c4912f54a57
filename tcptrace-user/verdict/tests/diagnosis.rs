//! The suite `diagnosis`: every rule on what makes it and on what is nearly that. Pure: attempts and facts are written
//! down here; the suite `causes` makes them for real.

mod common;

use std::net::IpAddr;

use common::{
    Around, CLIENT, FAR, NEIGHBOUR, NOW, OTHER_CLIENT, PORT_80, SECOND, SERVER, ZERO, answered, assert_said, dropped,
    earlier, established, here, listener, refused, rejecting, silent, suspect, unreachable, verdict,
};
use tcptrace_core::{
    drops::Kind,
    flow::{Addr, Endpoint},
    handshake::{End, Facts, Handshake, Nanos, Offer, Side, State},
    segment::{Flags, Options},
    seq::Seq,
};
use tcptrace_verdict::past::Past;
use tcptrace_vocabulary::{
    cause::{Cause, Confidence},
    facts::{Aborts, Counters, Dropped, Listener, Local, Missing, Neighbour, Netns, Place, Process, Socket, Suspect},
    outcome::Outcome,
    scope::Extent,
    verdict::Verdict,
};

#[test]
fn silence_is_told_by_what_else_works() {
    let alone = Around { still_open: true, ..Around::default() };
    assert_said(&verdict(silent(CLIENT, SERVER), &alone), Cause::Unknown, Confidence::Possible, Extent::Unknown);

    let other_port = Around { worked: vec![established(CLIENT, PORT_80)], ..Around::default() };
    let three = Handshake { syn: Offer { tries: 3, ..silent(CLIENT, SERVER).syn }, ..silent(CLIENT, SERVER) };
    assert_said(&verdict(three, &other_port), Cause::FirewallDrop, Confidence::Likely, Extent::Port);
    // One packet may be lost.
    assert_said(&verdict(silent(CLIENT, SERVER), &other_port), Cause::FirewallDrop, Confidence::Possible, Extent::Port);

    let others = Around { worked: vec![established(OTHER_CLIENT, SERVER)], ..Around::default() };
    assert_said(&verdict(three, &others), Cause::FirewallDrop, Confidence::Likely, Extent::Client);
    let two = Handshake { syn: Offer { tries: 2, ..three.syn }, ..three };
    assert_said(&verdict(two, &others), Cause::FirewallDrop, Confidence::Possible, Extent::Client);

    // The same client was answered on the same port meanwhile: a packet got lost, and no rule stands in the way.
    let itself = Around { worked: vec![established(CLIENT, SERVER)], still_open: true, ..Around::default() };
    assert_said(&verdict(silent(CLIENT, SERVER), &itself), Cause::Unknown, Confidence::Possible, Extent::Attempt);
    // Before, whatever happened since may be why.
    let earlier = |nanos| Nanos(NOW.0 - nanos);
    let before = established(CLIENT, SERVER);
    let before = Handshake { first_syn: earlier(9 * SECOND), last_syn: earlier(9 * SECOND), ..before };
    let before = Handshake { first_answer: earlier(8 * SECOND), last_answer: earlier(8 * SECOND), ..before };
    let before = Handshake { ended: earlier(8 * SECOND), ..before };
    let before = Around { worked: vec![before], still_open: true, ..Around::default() };
    let said = verdict(silent(CLIENT, SERVER), &before);
    assert_eq!((said.cause, said.scope.extent), (Cause::Unknown, Extent::Unknown), "{said:#?}");

    let host = Around { worked: vec![silent(CLIENT, PORT_80), established(CLIENT, NEIGHBOUR)], ..Around::default() };
    assert_said(&verdict(silent(CLIENT, SERVER), &host), Cause::HostDown, Confidence::Possible, Extent::Host);

    let silent_neighbour = silent(CLIENT, NEIGHBOUR);
    let network = Around {
        worked: vec![silent(CLIENT, PORT_80), silent_neighbour, established(CLIENT, FAR)],
        ..Around::default()
    };
    // A firewall that drops everything looks the same, whoever else answers.
    assert_said(&verdict(silent(CLIENT, SERVER), &network), Cause::HostDown, Confidence::Possible, Extent::Network);

    let everything = Around { worked: vec![silent(CLIENT, PORT_80), silent(CLIENT, FAR)], ..Around::default() };
    assert_said(
        &verdict(silent(CLIENT, SERVER), &everything),
        Cause::HostDown,
        Confidence::Possible,
        Extent::Everything,
    );
}

/// What worked before the host went is no witness that it is there.
#[test]
fn a_host_that_went_is_told_by_what_stopped() {
    let three = Handshake { syn: Offer { tries: 3, ..silent(CLIENT, SERVER).syn }, ..silent(CLIENT, SERVER) };
    let before = vec![earlier(established(CLIENT, SERVER), 30)];
    let slow = verdict(three, &Around { worked: before, still_open: true, ..Around::default() });
    assert_eq!(slow.cause, Cause::Unknown, "it may be slow");
    assert!(slow.evidence[0].contains("30 s before"), "{slow:#?}");
    let three = Handshake { last_syn: Nanos(NOW.0 + 4 * SECOND), ..three };
    let with = |worked: Vec<Handshake>| verdict(three, &Around { worked, ..Around::default() });
    let worked = |server, seconds| earlier(established(CLIENT, server), seconds);

    // Just before, and not asked since: it may be relied on; five minutes ago not.
    assert_said(&with(vec![worked(PORT_80, 15)]), Cause::FirewallDrop, Confidence::Likely, Extent::Port);
    let old = with(vec![worked(PORT_80, 300)]);
    assert_said(&old, Cause::FirewallDrop, Confidence::Possible, Extent::Unknown);
    assert!(old.evidence[0].contains("300 s before"), "{old:#?}");

    // Asked in vain since.
    let stopped = vec![worked(PORT_80, 30), earlier(silent(CLIENT, PORT_80), 10)];
    assert_said(&with(stopped), Cause::HostDown, Confidence::Possible, Extent::Host);
    // Two ports fell silent: a third that nobody asked since is no witness.
    let stopped = vec![worked(SERVER, 5), worked(PORT_80, 5), worked(Endpoint { port: 22, ..SERVER }, 5)];
    assert_said(&with(stopped), Cause::HostDown, Confidence::Possible, Extent::Host);
    // Its only port, which answered this client, and others, before.
    assert_said(&with(vec![worked(SERVER, 30)]), Cause::HostDown, Confidence::Possible, Extent::Host);
    let others = vec![earlier(established(OTHER_CLIENT, SERVER), 15)];
    assert_said(&with(others), Cause::FirewallDrop, Confidence::Possible, Extent::Unknown);

    // Everything stopped, whatever had answered before.
    let network = |last| {
        let mut worked = vec![worked(SERVER, 90), worked(NEIGHBOUR, 30), worked(FAR, 30)];
        worked.extend([earlier(silent(CLIENT, NEIGHBOUR), 5), earlier(silent(CLIENT, FAR), 5)]);
        worked.extend(last);
        with(worked).scope.extent
    };
    assert_eq!(network(None), Extent::Everything);
    assert_eq!(network(Some(established(CLIENT, FAR))), Extent::Network);
    assert_eq!(network(Some(established(CLIENT, NEIGHBOUR))), Extent::Host);
}

/// A router that takes its time to say that a host is away has looked for it; the host itself says it of another.
#[test]
fn an_error_says_what_it_says_unless_it_is_contradicted() {
    let after = |nanos| Handshake { ended: Nanos(NOW.0 + nanos), ..unreachable(3, 1) };
    let said = |it, seconds| {
        let worked = vec![earlier(established(CLIENT, PORT_80), seconds)];
        let said = verdict(it, &Around { worked, ..Around::default() });
        (said.cause, said.confidence)
    };
    assert_eq!(said(after(SECOND / 1000), 15), (Cause::FirewallReject, Confidence::Likely));
    assert_eq!(said(after(3 * SECOND), 15), (Cause::HostDown, Confidence::Likely));
    assert_eq!(said(after(SECOND / 1000), 300), (Cause::FirewallReject, Confidence::Possible), "too soon to know");
    assert_eq!(said(after(3 * SECOND), 300), (Cause::HostDown, Confidence::Likely));
    assert_eq!(said(after(3 * SECOND), 0).0, Cause::FirewallReject, "it answered meanwhile");
    // No look-up of a neighbour fails within a quarter of a second; beyond the round trip, which is 20 ms here.
    assert_eq!(said(after(SECOND / 4 - 1), 300).0, Cause::FirewallReject);
    assert_eq!(said(after(SECOND / 4), 300), (Cause::HostDown, Confidence::Possible));
    let beyond = SECOND / 4 + SECOND / 50;
    assert_eq!(said(after(beyond - 1), 300), (Cause::HostDown, Confidence::Possible));
    assert_eq!(said(after(beyond), 300), (Cause::HostDown, Confidence::Likely));
    // Where the way is not known, only what no way takes; and a later SYN may be the one that was answered.
    let unknown = |it| {
        let said = verdict(it, &Around::default());
        (said.cause, said.confidence)
    };
    assert_eq!(unknown(after(2 * SECOND - 1)), (Cause::HostDown, Confidence::Possible));
    assert_eq!(unknown(after(2 * SECOND)), (Cause::HostDown, Confidence::Likely));
    let again = |at, tries| {
        let it = after(SECOND + SECOND / 20);
        Handshake { last_syn: Nanos(NOW.0 + at), syn: Offer { tries, ..it.syn }, ..it }
    };
    assert_eq!(said(again(0, 1), 300), (Cause::HostDown, Confidence::Likely));
    assert_eq!(said(again(SECOND, 2), 300), (Cause::HostDown, Confidence::Possible));
    assert_eq!(said(again(2 * SECOND, 2), 300), (Cause::HostDown, Confidence::Likely), "it came after the error");
    assert_eq!(said(again(2 * SECOND, 3), 300), (Cause::HostDown, Confidence::Possible), "one may have come before");
    // Whoever sends RSTs for a host that is down sends the error as well.
    let worked = vec![Handshake { server_port: 80, ..refused(60, 0, Flags::RST | Flags::ACK) }];
    let refuses = verdict(after(SECOND / 1000), &Around { worked, ..Around::default() });
    assert_said(&refuses, Cause::FirewallReject, Confidence::Possible, Extent::Port);
    let from_itself =
        Around { worked: vec![established(CLIENT, PORT_80)], icmp_from: Some(SERVER.addr), ..Around::default() };
    assert_said(&verdict(after(3 * SECOND), &from_itself), Cause::HostDown, Confidence::Likely, Extent::Port);
}

/// A host that answers later may have been down; one that answers before and after was not.
#[test]
fn what_answers_later_was_not_there_meanwhile() {
    let later = |it: Handshake, seconds: u64| {
        let after = |at: Nanos| Nanos(at.0 + seconds * SECOND);
        let (first_syn, last_syn, ended) = (after(it.first_syn), after(it.last_syn), after(it.ended));
        let (first_answer, last_answer) = (after(it.first_answer), after(it.last_answer));
        Handshake { first_syn, last_syn, first_answer, last_answer, ended, ..it }
    };
    let with = |it, worked| {
        let said = verdict(it, &Around { worked, ..Around::default() });
        (said.cause, said.confidence)
    };
    let error = |nanos| Handshake { ended: Nanos(NOW.0 + nanos), ..unreachable(3, 1) };
    let port_80 = |seconds| later(established(CLIENT, PORT_80), seconds);
    assert_eq!(with(error(3 * SECOND), vec![port_80(60)]), (Cause::HostDown, Confidence::Likely), "it came back");
    assert_eq!(with(error(SECOND / 1000), vec![port_80(60)]), (Cause::FirewallReject, Confidence::Possible));
    assert_eq!(with(error(SECOND / 1000), vec![port_80(10)]), (Cause::FirewallReject, Confidence::Likely));
    let net = |worked| with(unreachable(3, 0), worked);
    assert_eq!(net(vec![port_80(60)]), (Cause::NetworkUnreachable, Confidence::Likely));

    let three = Handshake { syn: Offer { tries: 3, ..silent(CLIENT, SERVER).syn }, ..silent(CLIENT, SERVER) };
    assert_eq!(with(three, vec![port_80(10)]), (Cause::FirewallDrop, Confidence::Likely));
    assert_eq!(with(three, vec![port_80(60)]), (Cause::FirewallDrop, Confidence::Possible));
    let other = |seconds| later(established(OTHER_CLIENT, SERVER), seconds);
    assert_eq!(with(three, vec![other(10)]), (Cause::FirewallDrop, Confidence::Likely));
    assert_ne!(with(three, vec![other(60)]).1, Confidence::Likely);
}

/// What was ten minutes ago, and what comes ten minutes later, is no neighbour.
#[test]
fn only_the_recent_past_counts() {
    let long_ago = Nanos(NOW.0 - 700 * SECOND);
    let old = Handshake { first_syn: long_ago, last_syn: long_ago, ended: long_ago, ..established(CLIENT, PORT_80) };
    let old = Handshake { first_answer: long_ago, last_answer: long_ago, ..old };
    let around = Around { worked: vec![old], still_open: true, ..Around::default() };
    assert_said(&verdict(silent(CLIENT, SERVER), &around), Cause::Unknown, Confidence::Possible, Extent::Unknown);
}

#[test]
fn a_reset_is_told_by_its_ttl() {
    let rst = Flags::RST | Flags::ACK;
    let alone = Around::default();
    assert_said(&verdict(refused(60, 0, rst), &alone), Cause::PortClosed, Confidence::Possible, Extent::Port);

    let baseline = || Around { worked: vec![established(CLIENT, PORT_80)], ..Around::default() };
    // A rule on the host sends the same.
    assert_said(&verdict(refused(60, 0, rst), &baseline()), Cause::PortClosed, Confidence::Possible, Extent::Port);
    // From the same distance with another initial TTL: it may be the host's all the same.
    assert_said(&verdict(refused(251, 0, rst), &baseline()), Cause::PortClosed, Confidence::Possible, Extent::Port);
    assert_said(&verdict(refused(63, 0, rst), &baseline()), Cause::FirewallReject, Confidence::Likely, Extent::Port);
    // One hop nearer than ports that may be forwarded to a host behind this one.
    assert_said(&verdict(refused(61, 0, rst), &baseline()), Cause::FirewallReject, Confidence::Possible, Extent::Port);
    assert_said(&verdict(refused(60, 9, rst), &alone), Cause::FirewallReject, Confidence::Possible, Extent::Port);
    assert_said(
        &verdict(refused(60, 0, Flags::RST), &alone),
        Cause::FirewallReject,
        Confidence::Possible,
        Extent::Port,
    );

    // In a twentieth of the time that the host takes to answer.
    let early = Handshake { ended: Nanos(NOW.0 + SECOND / 1000), ..refused(60, 0, rst) };
    assert_said(&verdict(early, &baseline()), Cause::PortClosed, Confidence::Possible, Extent::Port);
    let evidence = verdict(early, &baseline()).evidence.join("; ");
    assert!(evidence.contains("came after 1.0 ms"), "a slow first answer makes any RST fast: {evidence}");
    let early = Handshake { facts: Facts(Facts::RST_OPTIONS), ..early };
    assert_said(&verdict(early, &baseline()), Cause::FirewallReject, Confidence::Likely, Extent::Port);
    // Tried again, before or after: the time counts from the first SYN.
    let again = Handshake { last_syn: Nanos(NOW.0 + SECOND), ended: Nanos(NOW.0 + SECOND + SECOND / 1000), ..early };
    let again = Handshake { syn: Offer { tries: 2, ..again.syn }, ..again };
    assert_said(&verdict(again, &baseline()), Cause::PortClosed, Confidence::Possible, Extent::Port);

    // Several distances are several hosts: a RST from yet another says nothing.
    let far = Handshake {
        answer: Offer { ttl: 50, ..established(CLIENT, PORT_80).answer },
        ..established(CLIENT, NEIGHBOUR)
    };
    let far = Handshake { server_addr: SERVER.addr, ..far };
    let several = Around { worked: vec![established(CLIENT, PORT_80), far], ..Around::default() };
    assert_said(&verdict(refused(63, 0, rst), &several), Cause::PortClosed, Confidence::Possible, Extent::Port);
}

/// A port that answers others before and after is open; one that answered only before has closed since.
#[test]
fn a_port_that_answers_others_is_not_closed() {
    let rst = refused(60, 0, Flags::RST | Flags::ACK);
    let opened = |seconds| earlier(established(OTHER_CLIENT, SERVER), seconds);
    let later = {
        let it = established(OTHER_CLIENT, SERVER);
        let after = |at: Nanos| Nanos(at.0 + SECOND);
        Handshake { first_syn: after(it.first_syn), first_answer: after(it.first_answer), ended: after(it.ended), ..it }
    };
    let with = |worked| verdict(rst, &Around { worked, ..Around::default() });
    let open = with(vec![opened(2), later]);
    assert_eq!(open.cause, Cause::Unknown, "{open:#?}");
    assert!(open.evidence[0].contains("2.0 s before and 1.0 s after"), "{open:#?}");
    assert!(open.next.iter().all(|it| !it.contains("start the service")), "{open:#?}");
    for worked in [vec![opened(2)], vec![later], vec![opened(700), later]] {
        let said = with(worked);
        assert_eq!((said.cause, said.confidence), (Cause::PortClosed, Confidence::Possible), "{said:#?}");
    }
}

/// A sign that an odd stack may give is not enough, two are; none speaks where the host is not known.
#[test]
fn a_reset_is_told_by_its_octets() {
    use Cause::{FirewallReject, PortClosed};
    use Confidence::{Likely, Possible};
    let fitting = |facts| Handshake { facts: Facts(facts), ..refused(60, 0, Flags::RST | Flags::ACK) };
    let host = |facts| Around {
        worked: vec![Handshake { facts: Facts(facts), ..established(CLIENT, PORT_80) }],
        ..Around::default()
    };
    for (facts, of_the_host, cause, confidence) in [
        // Before Linux 5.1 a RST had an ID, and the SYN/ACK has none.
        (Facts::RST_ID, 0, PortClosed, Possible),
        (Facts::RST_ID, Facts::ANSWER_ID, PortClosed, Possible),
        (0, Facts::ANSWER_ID, PortClosed, Possible),
        (Facts::RST_OPTIONS, 0, PortClosed, Possible),
        (Facts::RST_SEQ, 0, PortClosed, Possible),
        (Facts::RST_SEQ | Facts::RST_OPTIONS, 0, FirewallReject, Likely),
        (Facts::RST_SEQ, Facts::ANSWER_ID, FirewallReject, Likely),
    ] {
        assert_said(&verdict(fitting(facts), &host(of_the_host)), cause, confidence, Extent::Port);
    }
    assert_said(&verdict(fitting(0), &Around::default()), PortClosed, Possible, Extent::Port);
    assert_said(&verdict(fitting(Facts::RST_SEQ), &Around::default()), FirewallReject, Possible, Extent::Port);

    let on_answer = |facts| {
        let it = answered(SECOND / 50);
        let (ended, facts) = (Nanos(it.last_answer.0 + 1), Facts(facts));
        let end = End { ttl: 60, window: 0, flags: Flags::RST };
        Handshake { ended, end, facts, state: State::ResetOnAnswer as u8, ..it }
    };
    let said = |facts| verdict(on_answer(facts), &Around::default()).evidence.join("; ");
    assert!(said(Facts::ANSWER_ID).contains("IP ID"), "{}", said(Facts::ANSWER_ID));
    assert!(!said(Facts::ANSWER_ID | Facts::RST_ID).contains("IP ID") && !said(Facts::RST_ID).contains("IP ID"));
}

#[test]
fn a_refusal_here_is_told_by_who_listens() {
    let rst = refused(64, 0, Flags::RST | Flags::ACK);
    let with = |listener, drops| {
        let local = Local { listener: Ok(listener), drops: Ok(drops), ..here(true) };
        verdict(rst, &Around { local: Some(local), ..Around::default() })
    };
    let no_socket = dropped(Side::Client, "NO_SOCKET");
    assert_said(&with(None, no_socket), Cause::PortClosed, Confidence::Certain, Extent::Port);
    let others = |at: Result<Vec<IpAddr>, Missing>| {
        let drops = Ok(dropped(Side::Client, "NO_SOCKET"));
        let local = Local { listener: Ok(None), listening_at: at, drops, ..here(true) };
        verdict(rst, &Around { local: Some(local), ..Around::default() }).evidence[0].clone()
    };
    assert_eq!(
        others(Ok(vec![IpAddr::from([127, 0, 0, 1])])),
        "port 6036 listens on 127.0.0.1 only, not on 203.0.113.2"
    );
    assert_eq!(others(Ok(Vec::new())), "nobody listens on port 6036 of this host");
    assert_eq!(others(Err(Missing::Failed)), "nobody listens on port 6036 of 203.0.113.2");
    // Challenge ACKs answered the other tries: the older connection may be the matter.
    let challenged = Handshake { facts: Facts(Facts::CHALLENGED), ..rst };
    let local = Local { listener: Ok(None), drops: Ok(dropped(Side::Client, "NO_SOCKET")), ..here(true) };
    let challenged = verdict(challenged, &Around { local: Some(local), ..Around::default() });
    assert_said(&challenged, Cause::PortClosed, Confidence::Likely, Extent::Port);
    assert!(challenged.evidence.iter().any(|it| it.contains("ACKs without SYN")), "{challenged:#?}");
    // Without TCP's word: it may have been translated, and refused elsewhere.
    assert_said(&with(None, Vec::new()), Cause::PortClosed, Confidence::Possible, Extent::Port);
    assert_said(&with(listener(0), Vec::new()), Cause::PortClosed, Confidence::Possible, Extent::Port);
    let by_rule = |listener, rules| {
        let drops = Ok(dropped(Side::Client, "NETFILTER_DROP"));
        let local = Local { listener: Ok(listener), drops, rules: Ok(rules), ..here(true) };
        verdict(rst, &Around { local: Some(local), ..Around::default() })
    };
    assert_said(&by_rule(None, rejecting()), Cause::FirewallReject, Confidence::Certain, Extent::Port);
    assert_said(&by_rule(listener(0), rejecting()), Cause::FirewallReject, Confidence::Certain, Extent::Port);
    // Rules that drop in silence: somebody between answered. Of both kinds it is not known which did it.
    let silent_rule = by_rule(None, vec![suspect(None)]);
    assert_said(&silent_rule, Cause::DroppedByLocalFirewall, Confidence::Likely, Extent::Port);
    let both = by_rule(None, [rejecting(), vec![suspect(None)]].concat());
    assert_said(&both, Cause::FirewallReject, Confidence::Likely, Extent::Port);
    assert_said(&by_rule(None, Vec::new()), Cause::FirewallReject, Confidence::Likely, Extent::Port);
}

#[test]
fn icmp_errors_say_what_they_say() {
    use Cause::{FirewallReject, NetworkUnreachable, Unknown};
    use Confidence::{Certain, Likely, Possible};
    for (kind, code, cause, confidence) in [
        (3, 13, FirewallReject, Certain),
        (3, 10, FirewallReject, Certain),
        (3, 9, FirewallReject, Certain),
        (3, 3, FirewallReject, Likely),
        (3, 2, FirewallReject, Likely),
        (3, 1, FirewallReject, Possible),
        (3, 0, NetworkUnreachable, Likely),
        (11, 0, NetworkUnreachable, Likely),
        (12, 0, Unknown, Possible),
    ] {
        let said = verdict(unreachable(kind, code), &Around::default());
        assert_eq!((said.cause, said.confidence), (cause, confidence), "ICMP {kind}/{code}: {said:#?}");
    }
    // A router says that the host is away, and the host answers on another port.
    let around = Around { worked: vec![established(CLIENT, PORT_80)], ..Around::default() };
    assert_said(&verdict(unreachable(3, 1), &around), FirewallReject, Likely, Extent::Port);
}

#[test]
fn a_silent_server_here_is_told_by_its_queue_and_rules() {
    let with = |change: fn(&mut Local)| {
        let mut local = Local { listener: Ok(listener(0)), drops: Ok(Vec::new()), counters: Ok(ZERO), ..here(true) };
        change(&mut local);
        verdict(silent(CLIENT, SERVER), &Around { local: Some(local), still_open: true, ..Around::default() })
    };
    let nothing = with(|_| {});
    assert_eq!(nothing.cause, Cause::Unknown, "a queue with room drops nothing: {nothing:#?}");

    let full = with(|it| {
        it.listener = Ok(listener(2));
        it.counters = Ok(Counters { listen_overflows: 3, ..ZERO });
    });
    assert_eq!((full.cause, full.confidence), (Cause::ListenQueueFull, Confidence::Certain));
    let grew = with(|it| it.counters = Ok(Counters { listen_overflows: 3, ..ZERO }));
    assert_eq!((grew.cause, grew.confidence), (Cause::ListenQueueFull, Confidence::Possible));
    let other_listener = with(|it| {
        it.listener = Ok(None);
        it.counters = Ok(Counters { listen_overflows: 3, ..ZERO });
    });
    assert_eq!(other_listener.cause, Cause::Unknown, "it was another listener's: {other_listener:#?}");

    let rule = with(|it| {
        it.drops = Ok(dropped(Side::Client, "NETFILTER_DROP"));
        it.listener = Ok(listener(2));
        it.counters = Ok(Counters { listen_overflows: 3, ..ZERO });
    });
    assert_eq!((rule.cause, rule.confidence), (Cause::DroppedByLocalFirewall, Confidence::Certain));

    let memory = with(|it| it.drops = Ok(dropped(Side::Client, "NOMEM")));
    assert_eq!((memory.cause, memory.confidence), (Cause::OutOfMemory, Confidence::Certain));
    let limit = with(|it| {
        let counters = Counters { memory_pages: 100, memory_limit: 100, abort_on_memory: 9, ..ZERO };
        (it.counters, it.aborts) = (Ok(counters), Ok(Aborts { for_memory: 9, otherwise: 0 }));
    });
    assert_eq!(limit.cause, Cause::Unknown, "a SYN takes none of that memory: {limit:#?}");
}

#[test]
fn want_of_memory_is_told_where_it_was_wanting() {
    let with = |it: Handshake, local: Local| {
        let said = verdict(it, &Around { local: Some(local), ..Around::default() });
        (said.cause, said.confidence)
    };
    // Two SYNs, of which one was dropped.
    let again = silent(CLIENT, SERVER);
    let again = Handshake { syn: Offer { tries: 2, ..again.syn }, last_syn: Nanos(NOW.0 + SECOND), ..again };
    let local = |local: Local| Local { drops: Ok(dropped(Side::Client, "NOMEM")), ..local };
    assert_eq!(with(again, local(here(true))), (Cause::OutOfMemory, Confidence::Possible));
    assert_eq!(with(refused(64, 0, Flags::RST | Flags::ACK), local(here(false))).0, Cause::PortClosed);

    let reset = |facts, flags| {
        let it = established(CLIENT, SERVER);
        Handshake { facts: Facts(facts), end: End { ttl: 60, flags, ..End::default() }, ..it }
    };
    let aborts = |for_memory, otherwise, local: Local| Local { aborts: Ok(Aborts { for_memory, otherwise }), ..local };
    let by_server = reset(Facts::SERVER_RST, Flags::RST | Flags::ACK);
    assert_eq!(with(by_server, aborts(1, 0, here(true))), (Cause::OutOfMemory, Confidence::Likely));
    assert_eq!(with(by_server, aborts(1, 1, here(true))), (Cause::OutOfMemory, Confidence::Possible));
    for (it, local, why) in [
        (by_server, aborts(0, 1, here(true)), "the program's doing"),
        (by_server, aborts(1, 0, here(false)), "what is counted here is not the server's"),
        (by_server, here(true), "nothing was counted"),
        (reset(Facts::SERVER_RST, Flags::RST), aborts(1, 0, here(true)), "an answer to a stranger's segment"),
        (silent(CLIENT, SERVER), aborts(1, 0, here(true)), "silence is no reset"),
        (refused(60, 0, Flags::RST | Flags::ACK), aborts(1, 0, here(true)), "nor is a refusal"),
    ] {
        assert_ne!(with(it, local).0, Cause::OutOfMemory, "{why}");
    }
    // The client's own RST, with the client's TTL.
    let it = reset(Facts::CLIENT_RST, Flags::RST | Flags::ACK);
    let it = Handshake { end: End { ttl: it.syn.ttl, ..it.end }, ..it };
    assert_eq!(with(it, aborts(2, 0, here(false))), (Cause::OutOfMemory, Confidence::Likely));
    assert_ne!(with(it, aborts(2, 0, here(true))).0, Cause::OutOfMemory, "the client is elsewhere");
}

#[test]
fn a_silent_peer_is_told_by_its_neighbours() {
    let neighbour = |is_peer, failed| Neighbour {
        is_peer,
        address: IpAddr::from([203, 0, 113, 2]),
        failed,
        link_addresses: Vec::new(),
        is_fixed: false,
        may_be_unheard: false,
    };
    let with = |it| {
        let local = Local { neighbour: Ok(Some(it)), left: Ok(0), ..here(false) };
        verdict(silent(CLIENT, SERVER), &Around { local: Some(local), still_open: true, ..Around::default() })
    };
    for (is_peer, cause, extent) in
        [(true, Cause::HostDown, Extent::Host), (false, Cause::GatewayDown, Extent::Everything)]
    {
        assert_said(&with(neighbour(is_peer, true)), cause, Confidence::Certain, extent);
        let there = with(neighbour(is_peer, false));
        assert_eq!(there.cause, Cause::DroppedByLocalFirewall, "a neighbour that is there proves nothing");
        let unheard = Neighbour { may_be_unheard: true, ..neighbour(is_peer, true) };
        assert_said(&with(unheard), cause, Confidence::Likely, extent);
        // SYNs that left may have gone by another next hop.
        let local = |drops| Local { neighbour: Ok(Some(neighbour(is_peer, true))), drops, ..here(false) };
        let left = |drops| verdict(silent(CLIENT, SERVER), &Around { local: Some(local(drops)), ..Around::default() });
        assert_said(&left(Err(Missing::Failed)), cause, Confidence::Possible, extent);
        assert_said(&left(Ok(dropped(Side::Client, "NEIGH_FAILED"))), cause, Confidence::Possible, extent);
    }
}

#[test]
fn a_dropped_syn_is_whose_rule_it_is() {
    let with = |local: Local| {
        let local = Local { drops: Ok(dropped(Side::Client, "NETFILTER_DROP")), ..local };
        verdict(silent(CLIENT, SERVER), &Around { local: Some(local), ..Around::default() })
    };
    assert_eq!(with(here(false)).cause, Cause::DroppedByLocalFirewall);
    assert_eq!(with(here(true)).cause, Cause::DroppedByLocalFirewall);
    let router = Local { client_here: Ok(false), server_here: Ok(false), ..Local::unknown(Missing::Elsewhere) };
    assert_eq!(with(router).cause, Cause::DroppedByLocalFirewall);
}

/// Among several network namespaces of one host, the one in which a packet was dropped decides whose matter that is.
#[test]
fn a_dropped_packet_is_the_matter_of_where_it_was_dropped() {
    use Cause::{DroppedByLocalFirewall, GatewayDown, HostDown, NetworkUnreachable, NoRoute, ReversePathFilter};
    use Confidence::{Certain, Likely, Possible};
    let both = Local { client_here: Ok(true), ..here(true) };
    let with = |local: &Local, from, reason, place| {
        let drops = dropped(from, reason).into_iter().map(|it| Dropped { place, ..it }).collect();
        let local = Local { drops: Ok(drops), ..local.clone() };
        verdict(silent(CLIENT, SERVER), &Around { local: Some(local), ..Around::default() })
    };
    for (local, from, reason, place, cause, confidence) in [
        (&here(false), Side::Client, "NETFILTER_DROP", Place::Client, DroppedByLocalFirewall, Certain),
        (&here(false), Side::Client, "NETFILTER_DROP", Place::Between, DroppedByLocalFirewall, Certain),
        (&both, Side::Client, "NETFILTER_DROP", Place::Server, DroppedByLocalFirewall, Certain),
        (&both, Side::Client, "NETFILTER_DROP", Place::Between, DroppedByLocalFirewall, Certain),
        (&here(false), Side::Client, "NEIGH_FAILED", Place::Client, GatewayDown, Possible),
        (&here(false), Side::Client, "IP_OUTNOROUTES", Place::Client, NoRoute, Certain),
        (&here(true), Side::Client, "IP_RPFILTER", Place::Server, ReversePathFilter, Certain),
        (&here(false), Side::Client, "NEIGH_FAILED", Place::Between, HostDown, Likely),
        (&here(false), Side::Client, "IP_INNOROUTES", Place::Between, NetworkUnreachable, Certain),
        (&here(true), Side::Server, "NETFILTER_DROP", Place::Server, DroppedByLocalFirewall, Certain),
        (&here(true), Side::Server, "NEIGH_FAILED", Place::Server, GatewayDown, Likely),
        (&here(true), Side::Server, "IP_OUTNOROUTES", Place::Server, NoRoute, Certain),
    ] {
        let said = with(local, from, reason, place);
        assert_eq!((said.cause, said.confidence), (cause, confidence), "{reason} at {place:?}: {said:#?}");
    }
    let said = with(&both, Side::Client, "NETFILTER_DROP", Place::Server);
    assert!(said.evidence[0].contains("in the namespace of 203.0.113.2"), "{said:#?}");
}

/// NETFILTER_DROP of anything but the SYN, its answer or the final ACK is no reason, and of one try none for all.
#[test]
fn a_drop_counts_for_its_packet_and_no_other() {
    let rst = refused(64, 0, Flags::RST | Flags::ACK);
    let three = Handshake { syn: Offer { tries: 3, ..silent(CLIENT, SERVER).syn }, ..silent(CLIENT, SERVER) };
    let with = |it, change: &dyn Fn(&mut Dropped)| {
        let mut drop = dropped(Side::Client, "NETFILTER_DROP").remove(0);
        change(&mut drop);
        let rules = if it == rst { rejecting() } else { vec![suspect(None)] };
        let local = Local { drops: Ok(vec![drop]), listener: Ok(None), rules: Ok(rules), ..here(true) };
        let said = verdict(it, &Around { local: Some(local), ..Around::default() });
        (said.cause, said.confidence)
    };
    use Confidence::{Certain, Likely};
    assert_eq!(with(silent(CLIENT, SERVER), &|_| {}), (Cause::DroppedByLocalFirewall, Certain));
    assert_eq!(with(rst, &|_| {}), (Cause::FirewallReject, Certain));
    for kind in [Kind::SynAck, Kind::Ack, Kind::Rst, Kind::Fin, Kind::Data] {
        assert_eq!(with(silent(CLIENT, SERVER), &|it| it.packet = kind).0, Cause::Unknown, "{kind:?}");
        assert_eq!(with(rst, &|it| it.packet = kind).0, Cause::PortClosed, "{kind:?}");
    }
    assert_eq!(with(silent(CLIENT, SERVER), &|it| it.fits = Some(false)).0, Cause::Unknown, "another attempt's");
    assert_eq!(with(rst, &|it| it.fits = Some(false)).0, Cause::PortClosed, "another attempt's");
    let unknown = with(silent(CLIENT, SERVER), &|it| it.fits = None);
    assert_eq!(unknown, (Cause::DroppedByLocalFirewall, Likely), "perhaps another attempt's");
    assert_eq!(with(three, &|it| it.count = 2), (Cause::DroppedByLocalFirewall, Likely), "a third was lost elsewhere");
    assert_eq!(with(three, &|it| it.count = 3), (Cause::DroppedByLocalFirewall, Certain));
}

/// One try of three had no route, or no memory; the others were lost in another way.
#[test]
fn a_drop_of_one_try_is_certain_for_that_one_only() {
    let tried = |tries| Handshake { syn: Offer { tries, ..silent(CLIENT, SERVER).syn }, ..silent(CLIENT, SERVER) };
    let router = Local { client_here: Ok(false), server_here: Ok(false), ..Local::unknown(Missing::Elsewhere) };
    let with = |tries, local: &Local, reason: &str, place, fits| {
        let drops = dropped(Side::Client, reason).into_iter().map(|it| Dropped { place, fits, ..it }).collect();
        let local = Local { drops: Ok(drops), ..local.clone() };
        let said = verdict(tried(tries), &Around { local: Some(local), ..Around::default() });
        (said.cause, said.confidence)
    };
    use Confidence::{Certain, Likely, Possible};
    for (local, reason, place, cause, partly) in [
        (&router, "IP_INNOROUTES", Place::Between, Cause::NetworkUnreachable, Likely),
        (&here(false), "IP_OUTNOROUTES", Place::Client, Cause::NoRoute, Likely),
        (&here(true), "NOMEM", Place::Server, Cause::OutOfMemory, Possible),
    ] {
        assert_eq!(with(1, local, reason, place, Some(true)), (cause, Certain), "{reason}");
        assert_eq!(with(3, local, reason, place, Some(true)), (cause, partly), "{reason}: one of three");
        assert_eq!(with(1, local, reason, place, None), (cause, Likely), "{reason}: perhaps another attempt's");
    }
}

/// A client that is answered in its other attempts is no client that vanished.
#[test]
fn a_client_that_works_elsewhere_has_not_vanished() {
    let it = answered(SECOND / 50);
    let half_open = Handshake {
        last_answer: Nanos(it.first_answer.0 + 15 * SECOND),
        answer: Offer { tries: 5, ..it.answer },
        ..it
    };
    let later = |seconds| {
        let it = established(CLIENT, SERVER);
        let after = |moment: Nanos| Nanos(moment.0 + seconds * SECOND);
        Handshake {
            client_port: 40_001,
            first_syn: after(it.first_syn),
            last_syn: after(it.last_syn),
            first_answer: after(it.first_answer),
            last_answer: after(it.last_answer),
            ended: after(it.ended),
            ..it
        }
    };
    let with = |worked| verdict(half_open, &Around { worked, ..Around::default() }).confidence;
    assert_eq!(with(Vec::new()), Confidence::Likely);
    assert_eq!(with(vec![later(5)]), Confidence::Possible);
}

/// The reason of a rule's drop is also that of what connection tracking has no room for.
#[test]
fn a_rule_is_blamed_where_one_can_have_done_it() {
    let with = |change: fn(&mut Local)| {
        let mut local = Local { drops: Ok(dropped(Side::Client, "NETFILTER_DROP")), ..here(true) };
        change(&mut local);
        verdict(silent(CLIENT, SERVER), &Around { local: Some(local), ..Around::default() })
    };
    let said = |it: &Verdict| (it.cause, it.confidence);
    use Cause::{ConntrackFull, DroppedByLocalFirewall, FirewallReject, NatExhausted};
    use Confidence::{Certain, Likely};
    let named = with(|it| it.rules = Ok(vec![suspect(Some(3))]));
    assert_eq!(said(&named), (DroppedByLocalFirewall, Certain));
    assert!(
        named.evidence[1].contains("chain i of table inet t (hook input) drops; its counter grew by 3"),
        "{named:#?}"
    );
    assert_eq!(named.next[0], "on this host: nft -a list chain inet t i; see handle 5");
    assert_eq!(said(&with(|it| it.rules = Ok(Vec::new()))), (DroppedByLocalFirewall, Likely), "no rule was found");
    assert_eq!(said(&with(|it| it.rules = Err(Missing::Privilege))), (DroppedByLocalFirewall, Likely), "nobody looked");
    assert_eq!(
        said(&with(|it| it.counters = Err(Missing::Failed))),
        (DroppedByLocalFirewall, Likely),
        "nobody counted"
    );
    let unread = with(|it| it.counters = Ok(Counters { is_conntrack_known: false, ..ZERO }));
    assert_eq!(said(&unread), (DroppedByLocalFirewall, Likely), "connection tracking came later, or has no file");
    let rejects = with(|it| it.rules = Ok(vec![Suspect { rejects: true, ..suspect(None) }]));
    assert_eq!(said(&rejects), (FirewallReject, Likely), "its answer was not seen");

    const FULL: Counters =
        Counters { conntrack_drops: 4, conntrack_insert_failed: 0, conntrack_entries: 19, conntrack_limit: 20, ..ZERO };
    let full = with(|it| (it.rules, it.counters) = (Ok(Vec::new()), Ok(FULL)));
    assert_eq!(said(&full), (ConntrackFull, Likely));
    assert!(full.evidence[0].contains("19 of 20"), "{full:#?}");
    let room = with(|it| it.counters = Ok(Counters { conntrack_entries: 18, ..FULL }));
    assert_eq!(said(&room), (DroppedByLocalFirewall, Likely), "the table has room, and its counter is all flows'");
    let failed = with(|it| it.counters = Ok(Counters { conntrack_insert_failed: 4, ..FULL }));
    assert_eq!(said(&failed), (NatExhausted, Likely));
    let both = with(|it| (it.rules, it.counters) = (Ok(vec![suspect(Some(1))]), Ok(FULL)));
    assert_eq!(said(&both), (DroppedByLocalFirewall, Likely), "a rule counted, too");

    let within = with(|it| {
        let netns = Netns { name: "netns web".to_owned(), enter: "ip netns exec web".to_owned() };
        it.drops.iter_mut().flatten().for_each(|drop| drop.within = Some(netns.clone()));
    });
    assert!(within.evidence[0].contains("in netns web"), "{within:#?}");
    assert!(within.next[0].starts_with("on this host: ip netns exec web nft -a list chain"), "{within:#?}");
}

/// The way back is looked for before there is a SYN/ACK to drop.
#[test]
fn a_syn_that_cannot_be_answered_is_counted() {
    let with = |grew, queue, drops| {
        let counters = Ok(Counters { no_routes_out: grew, ..ZERO });
        let local = Local { counters, listener: Ok(listener(queue)), drops: Ok(drops), ..here(true) };
        let said = verdict(silent(CLIENT, SERVER), &Around { local: Some(local), ..Around::default() });
        (said.cause, said.confidence)
    };
    assert_eq!(with(1, 0, Vec::new()), (Cause::NoRoute, Confidence::Likely));
    assert_ne!(with(0, 0, Vec::new()).0, Cause::NoRoute, "nothing was counted");
    assert_ne!(with(1, 2, Vec::new()).0, Cause::NoRoute, "a full queue explains it");
    assert_ne!(with(1, 0, dropped(Side::Client, "NETFILTER_DROP")).0, Cause::NoRoute, "a drop explains it");
}

/// A call whose SYN no interface saw: what the kernel dropped it for says who did not answer. A SYN that did come by got
/// past its neighbour, and one that only found the queue full says nothing of him.
#[test]
fn a_neighbour_is_silent_only_to_what_was_dropped_for_him() {
    let call = Handshake { syn: Offer::default(), ..silent(CLIENT, SERVER) };
    let with = |handshake, reason, is_peer| {
        let at_home = |drop| Dropped { place: Place::Client, ..drop };
        let neighbour = Neighbour {
            is_peer,
            address: "203.0.113.2".parse().unwrap(),
            failed: false,
            link_addresses: Vec::new(),
            is_fixed: false,
            may_be_unheard: false,
        };
        let local = Local {
            drops: Ok(dropped(Side::Client, reason).into_iter().map(at_home).collect()),
            neighbour: Ok(Some(neighbour)),
            ..here(false)
        };
        let said = verdict(handshake, &Around { local: Some(local), ..Around::default() });
        (said.cause, said.evidence[0].contains("does not answer ARP"))
    };
    assert_eq!(with(call, "NEIGH_FAILED", true), (Cause::HostDown, true));
    assert_eq!(with(call, "NEIGH_FAILED", false), (Cause::GatewayDown, true));
    assert_eq!(with(call, "NEIGH_QUEUEFULL", true), (Cause::GatewayDown, false));
    assert_eq!(with(silent(CLIENT, SERVER), "NEIGH_FAILED", true), (Cause::GatewayDown, false));
}

/// A call that failed before it had an address is no other client than those of its own host that were answered.
#[test]
fn a_call_without_an_address_has_no_scope() {
    let call = Handshake { client_addr: Addr::default(), client_port: 0, ..silent(CLIENT, SERVER) };
    let local = Local { made: Ok(false), left: Ok(0), ..here(false) };
    let around = Around { worked: vec![established(CLIENT, SERVER)], local: Some(local), ..Around::default() };
    let said = verdict(call, &around);
    assert_eq!((said.cause, said.confidence), (Cause::ConnectFailed, Confidence::Possible), "{said:#?}");
    assert_eq!((said.scope.extent, &said.scope.evidence[..]), (Extent::Unknown, &[][..]), "{said:#?}");
}

/// Where no SYN/ACK ever comes by, silence says nothing.
#[test]
fn who_answers_another_way_is_not_silent() {
    let unseen = |port| {
        let server = Endpoint { port, ..SERVER };
        let facts = Facts(Facts::ANSWER_UNSEEN);
        Handshake { answer: Offer::default(), facts, ..established(CLIENT, server) }
    };
    let around = Around { worked: vec![unseen(80)], ..Around::default() };
    let said = verdict(silent(CLIENT, SERVER), &around);
    assert_eq!((said.cause, said.confidence), (Cause::AsymmetricPath, Confidence::Possible), "{said:#?}");
}

#[test]
fn half_open_is_told_by_the_side_that_is_seen() {
    let tries = |tries, it: Handshake| Handshake { answer: Offer { tries, ..it.answer }, ..it };
    let alone = Around::default();
    let once = verdict(answered(SECOND / 50), &alone);
    assert_eq!((once.cause, once.confidence), (Cause::ClientVanished, Confidence::Possible));
    let thrice = verdict(tries(3, answered(SECOND / 50)), &alone);
    assert_eq!((thrice.cause, thrice.confidence), (Cause::ClientVanished, Confidence::Likely));

    let asks = answered(SECOND / 50);
    let asks = Handshake { last_syn: Nanos(NOW.0 + SECOND), syn: Offer { tries: 2, ..asks.syn }, ..asks };
    let asks = verdict(tries(3, asks), &alone);
    assert_eq!((asks.cause, asks.confidence), (Cause::FirewallDrop, Confidence::Possible), "it is not silent");

    let spoofed = answered(SECOND / 50);
    let spoofed = Handshake { facts: Facts(Facts::ANSWER_UNREACHABLE), ..spoofed };
    let spoofed = verdict(spoofed, &alone);
    assert_eq!((spoofed.cause, spoofed.confidence), (Cause::ClientVanished, Confidence::Possible));

    let lost = |change: fn(&mut Local)| {
        let mut local = Local { drops: Ok(Vec::new()), socket: Ok(None), ..here(false) };
        change(&mut local);
        verdict(answered(SECOND / 50), &Around { local: Some(local), ..Around::default() })
    };
    let rule = lost(|it| it.drops = Ok(dropped(Side::Server, "NETFILTER_DROP")));
    assert_eq!((rule.cause, rule.confidence), (Cause::AnswerLostLocally, Confidence::Certain));
    let waits = lost(|it| it.socket = Ok(Some(Socket { state: "SYN-SENT", cookie: 1, inode: 2, uid: 0 })));
    assert_eq!((waits.cause, waits.confidence), (Cause::AnswerLostLocally, Confidence::Likely));
    assert_eq!(lost(|_| {}).cause, Cause::Unknown, "the socket is gone, and nothing was dropped");

    let many: Vec<_> = (0..10).map(|it| Handshake { client_addr: Addr::v4(it), ..answered(SECOND / 50) }).collect();
    let local = Local { counters: Ok(Counters { syncookies_sent: 7, ..ZERO }), ..here(true) };
    let flood = verdict(answered(SECOND / 50), &Around { worked: many, local: Some(local), ..Around::default() });
    assert_eq!((flood.cause, flood.confidence), (Cause::SynFlood, Confidence::Likely));
}

#[test]
fn a_final_ack_that_is_not_heard_is_a_full_queue() {
    let it = established(CLIENT, SERVER);
    let again = Handshake { last_answer: Nanos(it.ended.0 + SECOND), answer: Offer { tries: 2, ..it.answer }, ..it };
    // TCP_DEFER_ACCEPT and a lost ACK look the same.
    let elsewhere = verdict(again, &Around::default());
    assert_eq!((elsewhere.cause, elsewhere.confidence), (Cause::ListenQueueFull, Confidence::Possible));
    for accepted in [Facts::SERVER_DATA, Facts::SERVER_FIN, Facts::DATA_ACKED] {
        let served = Handshake { facts: Facts(accepted), ..again };
        assert_eq!(verdict(served, &Around::default()).cause, Cause::Unknown, "the server has the ACK");
    }
    // Sent before the ACK can have come.
    let soon = |nanos| Handshake { last_answer: Nanos(it.ended.0 + nanos), ..again };
    assert_eq!(verdict(soon(SECOND / 50), &Around::default()).cause, Cause::Unknown);
    assert_eq!(verdict(soon(SECOND / 50 + 1), &Around::default()).cause, Cause::ListenQueueFull);
    // Another handshake completed meanwhile.
    let other = Handshake { ended: Nanos(it.ended.0 + SECOND / 2), ..established(OTHER_CLIENT, SERVER) };
    let meanwhile = Around { worked: vec![other], ..Around::default() };
    assert_eq!(verdict(again, &meanwhile).cause, Cause::Unknown);
    // Here, a queue with room: TCP_DEFER_ACCEPT.
    let room = Local { counters: Ok(ZERO), drops: Ok(Vec::new()), listener: Ok(listener(0)), ..here(true) };
    let room = verdict(again, &Around { local: Some(room), ..Around::default() });
    assert!(room.cause == Cause::Unknown && room.evidence[0].contains("TCP_DEFER_ACCEPT"), "{room:#?}");
    let counters = Counters { listen_overflows: 1, ..ZERO };
    let local = Local { counters: Ok(counters), drops: Ok(Vec::new()), listener: Ok(listener(0)), ..here(true) };
    let with = |it, local| {
        let said = verdict(it, &Around { local: Some(local), ..Around::default() });
        (said.cause, said.confidence)
    };
    assert_eq!(with(again, local.clone()), (Cause::ListenQueueFull, Confidence::Likely), "it has room by now");
    let full = Local { listener: Ok(listener(2)), ..local.clone() };
    assert_eq!(with(again, full.clone()), (Cause::ListenQueueFull, Confidence::Certain));
    let deferred = Local { counters: Ok(ZERO), ..local.clone() };
    assert_eq!(with(again, deferred).0, Cause::Unknown, "TCP_DEFER_ACCEPT: a queue with room that dropped nothing");

    // The ACK of a SYN cookie finds no socket where the queue is full, and the RST of tcp_abort_on_overflow has a reason.
    let ack = |reason, kind| Ok(vec![Dropped { packet: kind, ..dropped(Side::Client, reason).remove(0) }]);
    let cookie = Local { drops: ack("NO_SOCKET", Kind::Ack), ..full.clone() };
    assert_eq!(with(it, cookie), (Cause::ListenQueueFull, Confidence::Certain));
    let room = Local { drops: ack("NO_SOCKET", Kind::Ack), counters: Ok(ZERO), ..local.clone() };
    assert_eq!(with(it, room).0, Cause::Unknown, "what comes after the end finds no socket either");
    let fin = Local { drops: ack("NO_SOCKET", Kind::Fin), ..full.clone() };
    assert_eq!(with(it, fin).0, Cause::Unknown, "a FIN is no final ACK");
    let aborted =
        Handshake { facts: Facts(Facts::SERVER_RST), end: End { ttl: 60, flags: Flags::RST, ..it.end }, ..it };
    let overflow = Local { drops: ack("TCP_LISTEN_OVERFLOW", Kind::Ack), ..full };
    assert_eq!(with(aborted, overflow), (Cause::ListenQueueFull, Confidence::Certain));
    // The SYN/ACK was sent twice before the final ACK: it, or the ACK, was lost.
    let late = Handshake { answer: Offer { tries: 2, ..it.answer }, ..it };
    assert_eq!(verdict(late, &Around::default()).cause, Cause::Unknown);
}

#[test]
fn resets_in_the_handshake_are_told_by_their_ttl() {
    let on_answer = |ttl| {
        let it = answered(SECOND / 50);
        let end = End { ttl, window: 0, flags: Flags::RST };
        Handshake { ended: Nanos(it.last_answer.0 + 1), end, state: State::ResetOnAnswer as u8, ..it }
    };
    let said = |ttl| {
        let it = verdict(on_answer(ttl), &Around::default());
        (it.cause, it.confidence)
    };
    assert_eq!(said(62), (Cause::MiddleboxReset, Confidence::Likely), "from nearer");
    // A proxy that answers SYNs is nearer than the host whose RST it is.
    assert_eq!(said(50), (Cause::MiddleboxReset, Confidence::Possible), "from farther away");
    assert_eq!(said(250), (Cause::MiddleboxReset, Confidence::Possible));
    assert_eq!(said(255 - 32), (Cause::MiddleboxReset, Confidence::Possible));
    assert_eq!(said(255 - 33), (Cause::MiddleboxReset, Confidence::Likely), "no path is that long");
    let own = verdict(on_answer(60), &Around::default());
    assert_eq!((own.cause, own.confidence), (Cause::ClientVanished, Confidence::Possible));

    let aborted = |ttl, after| {
        let it = answered(after);
        let end = End { ttl, window: 0, flags: Flags::RST };
        Handshake { ended: Nanos(it.last_answer.0 + 1), end, state: State::Aborted as u8, ..it }
    };
    let checked = |checks| verdict(aborted(64, SECOND / 50), &Around { checks, ..Around::default() });
    assert_eq!((checked(1).cause, checked(1).confidence), (Cause::ApplicationGaveUp, Confidence::Possible));
    assert_eq!((checked(3).cause, checked(3).confidence), (Cause::HealthCheck, Confidence::Likely));
    let late = verdict(aborted(64, 2 * SECOND), &Around::default());
    assert_eq!((late.cause, late.confidence), (Cause::ApplicationGaveUp, Confidence::Likely));
    let other = verdict(aborted(50, SECOND / 50), &Around::default());
    let said = (other.cause, other.confidence);
    assert_eq!(said, (Cause::ClientVanished, Confidence::Possible), "its address was forged, or its SYN was raw");
    // Refused, and then answered: the RST was not the server's.
    let before = Handshake { facts: Facts(Facts::RECOVERING), ..aborted(64, SECOND / 50) };
    let before = verdict(before, &Around::default());
    assert_eq!((before.cause, before.confidence), (Cause::MiddleboxReset, Confidence::Likely));
}

#[test]
fn other_ways_and_other_hosts() {
    use Confidence::{Certain, Likely, Possible};
    let said = |it, around: &Around| {
        let said = verdict(it, around);
        (said.cause, said.confidence)
    };
    let unseen =
        Handshake { answer: Offer::default(), facts: Facts(Facts::ANSWER_UNSEEN), ..established(CLIENT, SERVER) };
    assert_eq!(said(unseen, &Around::default()), (Cause::AsymmetricPath, Likely));
    let unasked = Handshake { syn: Offer::default(), state: State::Unsolicited as u8, ..answered(0) };
    assert_eq!(said(unasked, &Around::default()), (Cause::AsymmetricPath, Possible));

    let wrong = Handshake { facts: Facts(Facts::WRONG_ANSWER), ..silent(CLIENT, SERVER) };
    let stranger = Around { answered_from: Some(NEIGHBOUR.addr), ..Around::default() };
    assert_eq!(said(wrong, &stranger), (Cause::NatMismatch, Certain));
    assert_eq!(said(wrong, &Around::default()), (Cause::PortReuse, Possible));
    let challenged = Handshake { facts: Facts(Facts::CHALLENGED), ..silent(CLIENT, SERVER) };
    assert_eq!(said(challenged, &Around::default()), (Cause::PortReuse, Likely));
    // Its RST ended the old connection, and the next SYN found the port closed: a service that was started again.
    let refused_at = |tries| {
        let it = refused(60, 0, Flags::RST | Flags::ACK);
        Handshake { facts: Facts(Facts::CHALLENGED), syn: Offer { tries, ..it.syn }, ..it }
    };
    assert_eq!(said(refused_at(2), &Around::default()), (Cause::PortClosed, Possible));
    assert_eq!(said(refused_at(1), &Around::default()), (Cause::PortReuse, Likely));

    let two = Handshake { facts: Facts(Facts::TWO_ANSWERS), ..answered(SECOND / 50) };
    assert_eq!(said(two, &Around::default()), (Cause::DuplicateIp, Likely));
    let neighbour = |macs: &[[u8; 6]]| Neighbour {
        is_peer: true,
        address: IpAddr::from([203, 0, 113, 2]),
        failed: false,
        link_addresses: macs.to_vec(),
        is_fixed: false,
        may_be_unheard: false,
    };
    let local = |macs: &[[u8; 6]]| Some(Local { neighbour: Ok(Some(neighbour(macs))), ..here(false) });
    let both = Around { local: local(&[[1; 6], [2; 6]]), ..Around::default() };
    assert_eq!(said(two, &both), (Cause::DuplicateIp, Certain));
    assert_eq!(said(refused(60, 0, Flags::RST | Flags::ACK), &both), (Cause::DuplicateIp, Likely));
    let one = Around { local: local(&[[1; 6]]), ..Around::default() };
    assert_eq!(said(refused(60, 0, Flags::RST | Flags::ACK), &one), (Cause::PortClosed, Possible));
}

/// Where nothing of the port ever answered, that the client stopped is a fact and no cause.
#[test]
fn tries_that_stop_early_are_the_applications() {
    let three = Handshake {
        last_syn: Nanos(NOW.0 + 3 * SECOND),
        syn: Offer { tries: 3, ..silent(CLIENT, SERVER).syn },
        ..silent(CLIENT, SERVER)
    };
    let gone = Local { socket: Ok(None), syn_tries: Ok(7), ..here(false) };
    let said = verdict(three, &Around { local: Some(gone.clone()), ..Around::default() });
    assert_eq!((said.cause, said.scope.extent), (Cause::Unknown, Extent::Unknown), "{said:#?}");
    assert!(said.evidence[0].contains("stopped after 3 SYNs in 3.0 s"), "{said:#?}");
    // The next SYN would have come after seven seconds; the port takes eight to answer.
    let slow = |nanos| {
        let it = established(OTHER_CLIENT, SERVER);
        let at = Nanos(it.first_syn.0 + nanos);
        Around { worked: vec![Handshake { first_answer: at, last_answer: at, ended: at, ..it }], ..Around::default() }
    };
    let told = |around: Around| (verdict(three, &around).cause, verdict(three, &around).confidence);
    let with_local = |around| Around { local: Some(gone.clone()), ..around };
    assert_eq!(told(with_local(slow(8 * SECOND))), (Cause::ApplicationGaveUp, Confidence::Likely));
    assert_eq!(told(slow(7 * SECOND + 1)).0, Cause::ApplicationGaveUp);
    assert_ne!(told(slow(7 * SECOND)).0, Cause::ApplicationGaveUp);
    assert_ne!(told(with_local(slow(SECOND / 50))).0, Cause::ApplicationGaveUp, "it answers in time");
    let waits = verdict(three, &Around { local: Some(gone), still_open: true, ..Around::default() });
    assert_eq!(waits.cause, Cause::Unknown, "it may go on");
    let kernel = Local { socket: Ok(None), syn_tries: Ok(3), ..here(false) };
    let said = verdict(three, &Around { local: Some(kernel), ..Around::default() });
    assert_eq!(said.cause, Cause::Unknown, "the kernel's own end");
    let ladder = Handshake { syn: Offer { tries: 7, ..three.syn }, ..three };
    assert_eq!(verdict(ladder, &Around::default()).cause, Cause::Unknown, "and that of a kernel elsewhere");
}

#[test]
fn nothing_is_certain_while_something_was_lost() {
    let around = |lost| Around { lost, ..Around::default() };
    assert_eq!(verdict(unreachable(3, 13), &around(0)).confidence, Confidence::Certain);
    assert_eq!(verdict(unreachable(3, 13), &around(1)).confidence, Confidence::Likely);
}

/// SYNs with an option were lost, and the first without it was answered.
#[test]
fn an_option_is_blocked_if_only_syns_without_it_are_answered() {
    const FACTS: u32 = Facts::FALLBACK | Facts::WITHOUT_MPTCP;
    let falls_back = |facts, seconds, agreed| {
        let it = answered(4 * SECOND);
        let last_syn = Nanos(it.first_answer.0 - SECOND / 50);
        let syn = Offer { tries: 4, options: Options::MPTCP, ..it.syn };
        let answer = Offer { options: agreed, ..it.answer };
        let facts = Facts(facts);
        earlier(
            Handshake { last_syn, syn, answer, facts, answered_try: 4, state: State::Established as u8, ..it },
            seconds,
        )
    };
    let with = |it: Handshake, worked: Vec<Handshake>| {
        let said = verdict(it, &Around { worked, ..Around::default() });
        (said.cause, said.confidence)
    };
    let once = falls_back(FACTS, 0, 0);
    assert_eq!(with(once, Vec::new()), (Cause::OptionsBlocked, Confidence::Possible));
    assert_eq!(with(once, vec![falls_back(FACTS, 9, 0)]), (Cause::OptionsBlocked, Confidence::Likely));
    let passed = Handshake { syn: Offer { options: Options::MPTCP, ..once.syn }, ..established(CLIENT, SERVER) };
    for (it, worked, why) in [
        (falls_back(Facts::FALLBACK, 0, 0), vec![], "the first without it was lost as well"),
        (falls_back(FACTS, 0, Options::MPTCP), vec![], "the answer agrees to it"),
        (Handshake { answered_try: 3, ..once }, vec![], "an earlier SYN was answered"),
        (once, vec![falls_back(FACTS, 9, 0), passed], "a SYN with it was answered"),
        (
            Handshake { first_answer: Nanos(once.last_syn.0 + 1), ..once },
            vec![established(CLIENT, PORT_80)],
            "too soon",
        ),
    ] {
        assert_ne!(with(it, worked).0, Cause::OptionsBlocked, "{why}");
    }
}

/// The same SYN to two addresses within a millisecond is one that was translated.
#[test]
fn a_syn_that_was_translated_is_seen_twice() {
    let kernels = Options::TIMESTAMPS | Options::SACK_PERMITTED;
    let syn = |it: Handshake, ttl| Handshake { syn: Offer { options: kernels, ttl, ..it.syn }, ..it };
    let asked =
        |after| Handshake { server_addr: NEIGHBOUR.addr, first_syn: Nanos(NOW.0 - after), ..silent(CLIENT, SERVER) };
    let pod = {
        let it = syn(answered(SECOND / 1000), 63);
        let end = End { ttl: 64, window: 0, flags: Flags::RST };
        Handshake { ended: Nanos(it.last_answer.0 + 1), end, state: State::Aborted as u8, ..it }
    };
    let with = |it, other| {
        let said = verdict(it, &Around { worked: vec![other], ..Around::default() });
        (said.cause, said.confidence)
    };
    let vip = syn(asked(160_000), 64);
    assert_eq!(with(pod, vip), (Cause::NatMismatch, Confidence::Likely));
    assert_eq!(with(vip, pod), (Cause::NatMismatch, Confidence::Likely));
    for (other, why) in [
        (syn(asked(1_000_001), 64), "too long before"),
        (Handshake { isn: Seq(9), ..vip }, "another number"),
        (Handshake { client_port: 9, ..vip }, "another port"),
        (Handshake { syn: Offer { window: 1, ..vip.syn }, ..vip }, "another window"),
        (syn(asked(160_000), 60), "from farther away"),
        (asked(160_000), "a raw SYN"),
        (Handshake { answer: Offer { tries: 1, ..Offer::default() }, ..vip }, "it was answered"),
    ] {
        assert_ne!(with(pod, other).0, Cause::NatMismatch, "{why}");
    }
}

/// Accepted, and reset at once before the server sent a byte.
#[test]
fn a_reset_before_the_first_byte_is_a_proxys() {
    let it = established(CLIENT, SERVER);
    let end = End { ttl: 60, window: 0, flags: Flags::RST | Flags::ACK };
    let reset = |facts| Handshake { facts: Facts(Facts::SERVER_RST | facts), end, ..it };
    let alone = Around::default();
    let said = verdict(reset(Facts::CLIENT_DATA), &alone);
    assert_eq!((said.cause, said.confidence), (Cause::NoBackend, Confidence::Possible), "{said:#?}");
    assert_ne!(verdict(reset(Facts::SERVER_DATA), &alone).cause, Cause::NoBackend);
    assert_ne!(verdict(reset(Facts::SERVER_FIN), &alone).cause, Cause::NoBackend);
    let process = |command: &str| {
        let process = Process { pid: 1, command: command.to_owned(), ..Process::default() };
        let listener = Some(Listener { process: Ok(process), queue: 0, queue_max: 1, sockets: 1, apart: None });
        let local = Local { listener: Ok(listener), ..here(true) };
        verdict(reset(0), &Around { local: Some(local), ..Around::default() }).confidence
    };
    assert_eq!((process("docker-proxy"), process("postgres")), (Confidence::Likely, Confidence::Possible));
}

/// A RST that the client ignores is no answer, and no silence.
#[test]
fn what_is_ignored_is_told() {
    let it = silent(CLIENT, SERVER);
    let facts = Facts(Facts::RST_IGNORED);
    let end = End { ttl: 64, window: 0, flags: Flags::RST | Flags::ACK };
    let reset = Handshake { facts, end, icmp_code: 1, ended: Nanos(NOW.0 + SECOND / 250), ..it };
    let beside = Around { worked: vec![established(CLIENT, PORT_80)], ..Around::default() };
    let three = Handshake { syn: Offer { tries: 3, ..reset.syn }, ..reset };
    assert_eq!(verdict(three, &beside).cause, Cause::Unknown, "no rule is silent that resets");
    let said = verdict(reset, &Around::default());
    assert!(
        said.cause == Cause::Unknown && said.evidence[0].starts_with("1 RST/ACK came (ttl 64, 4.0 ms"),
        "{said:#?}"
    );
    let it = answered(SECOND / 50);
    let it = Handshake { facts: Facts(Facts::ACK_IGNORED), answer: Offer { tries: 3, ..it.answer }, ..it };
    let said = verdict(it, &Around::default());
    assert!(said.cause == Cause::Unknown && said.evidence[0].contains("does not acknowledge"), "{said:#?}");
}

/// Memory is bounded, whoever talks to whom.
#[test]
fn history_forgets() {
    let mut history = Past::default();
    for host in 0..200_000u32 {
        let server = Endpoint { addr: Addr::v4(host), port: host as u16 };
        history.note(&established(CLIENT, server), Outcome::Established);
    }
    assert!(history.forgotten > 100_000);
    for port in 0..=u16::MAX {
        history.note(&silent(Addr::v4(port.into()), Endpoint { port, ..SERVER }), Outcome::NoReply);
    }
    // Few hosts, and all ports of each.
    let mut history = Past::default();
    for number in 0..1 << 18 {
        let server = Endpoint { addr: Addr::v4(number / 64), port: number as u16 % 64 };
        history.note(&silent(CLIENT, server), Outcome::NoReply);
    }
    assert!(history.forgotten >= 1 << 17, "{}", history.forgotten);
}
