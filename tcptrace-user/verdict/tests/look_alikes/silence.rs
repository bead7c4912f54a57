//! Silence: of a port, of a host, of the way to it.

use std::time::Duration;

use tcptrace_core::{
    flow::Addr,
    handshake::{Facts, Handshake, Nanos, Offer},
};
use tcptrace_vocabulary::{
    cause::{
        Cause::{
            ConnectFailed, DroppedByLocalFirewall, FirewallDrop, FirewallReject, HostDown, NetworkUnreachable,
            PortClosed, Unknown,
        },
        Confidence::{Certain, Likely, Possible},
    },
    facts::{Call, Local, Missing, OtherWalk, Signs, Walk},
    scope::Extent,
};

use super::{Said, beside, echo, later, neighbour, rejection, said, short, told, tried, walk};
use crate::common::{
    Around, CLIENT, NEIGHBOUR, NOW, OTHER_CLIENT, PORT_80, SECOND, SERVER, assert_said, earlier, established, here,
    refused, silent, unreachable, verdict,
};

fn both(it: Handshake, worked: Vec<Handshake>, local: Local) -> Said {
    short(&verdict(it, &Around { worked, local: Some(local), ..Around::default() }))
}

fn walked(walk: Walk) -> Local {
    Local { walk: Ok(walk), ..here(false) }
}

fn signed(signs: Signs) -> Local {
    Local { signs: Ok(signs), ..here(false) }
}

#[test]
fn a_walk_shows_how_far_syns_get() {
    let words = |it: Walk| {
        let it = told(tried(3, 3), walked(it));
        (it.cause, it.confidence, it.evidence.first().cloned().unwrap_or_default())
    };
    let reach =
        |hop, last| format!("SYNs to the port reach 198.51.100.1 (hop {hop}), {last}; the echo reply comes from hop 5");
    assert_eq!(words(walk(Some(3), 5)), (FirewallDrop, Likely, reach(3, "the last that speaks")));
    assert_eq!(words(walk(Some(4), 5)), (FirewallDrop, Likely, reach(4, "the last before the host")));
    let near = "SYNs to the port miss even the first router; the echo reply comes from hop 5";
    assert_eq!(words(walk(None, 5)), (DroppedByLocalFirewall, Likely, near.to_owned()));
    let mute = Walk { other: Some(OtherWalk { first: None, ..echo(5) }), ..Walk::default() };
    assert_eq!(words(mute), (FirewallDrop, Likely, "the echo reply comes from hop 5".to_owned()), "it never speaks");
    assert_eq!(words(Walk { answered: Some(5), ..walk(None, 5) }).0, Unknown, "the walk was answered");
    let left = Local { left: Ok(3), ..walked(walk(None, 5)) };
    assert_eq!(said(tried(3, 3), left), (FirewallDrop, Likely), "the SYNs left this host");
    assert_eq!(said(tried(3, 3), walked(Walk::default())).0, Unknown, "nothing to compare with");

    let call = Ok(Call { errno: Some(libc::ETIMEDOUT), took: Duration::from_secs(3) });
    let it = told(tried(3, 3), Local { call, ..walked(walk(None, 5)) });
    assert_eq!(it.evidence[1], "no answer to 3 SYNs in 3.0 s");
    assert_eq!(told(tried(1, 0), walked(walk(None, 5))).evidence[1], "no answer to 1 SYN");
}

/// A port is not blamed for a loss whose place is known, even if it answers others.
#[test]
fn a_port_beside_others_is_not_blamed_for_what_is_known() {
    let port_80 = || vec![established(CLIENT, PORT_80)];
    assert_eq!(beside(tried(3, 3), port_80()), (FirewallDrop, Likely));
    let left = Local { left: Ok(0), ..here(false) };
    assert_eq!(both(tried(3, 3), port_80(), left), (DroppedByLocalFirewall, Likely));
    assert_eq!(both(tried(3, 3), port_80(), walked(walk(None, 5))), (DroppedByLocalFirewall, Likely));
    assert_ne!(both(tried(3, 3), port_80(), here(true)).0, FirewallDrop, "the server is here");
    let three = Handshake { syn: Offer { tries: 3, ..tried(3, 3).syn }, ..refused(60, 0, 0x14) };
    assert_eq!(beside(three, port_80()), (PortClosed, Possible), "a RST is no silence");
    let told = |it| walked(Walk { rejected: Some(it), ..walk(Some(3), 5) });
    let lately = || vec![earlier(established(CLIENT, PORT_80), 15)];
    assert_eq!(both(tried(3, 3), lately(), told(rejection(3, 1))), (HostDown, Likely));
}

#[test]
fn an_error_for_other_probes_says_what_it_says() {
    let by_walk =
        |kind, code| said(tried(3, 3), walked(Walk { rejected: Some(rejection(kind, code)), ..Walk::default() }));
    let by_sign =
        |kind, code| said(tried(3, 3), signed(Signs { rejected: Some(rejection(kind, code)), ..Signs::default() }));
    for (kind, code, cause) in [
        (3, 13, FirewallReject),
        (3, 10, FirewallReject),
        (3, 9, FirewallReject),
        (3, 3, FirewallReject),
        (3, 2, FirewallReject),
        (3, 1, HostDown),
        (3, 0, NetworkUnreachable),
        (3, 11, NetworkUnreachable),
        (11, 0, NetworkUnreachable),
    ] {
        assert_eq!(by_walk(kind, code), (cause, Likely), "{kind}/{code}");
        assert_eq!(by_sign(kind, code), (cause, Likely), "{kind}/{code}");
    }
    for (kind, code) in [(12, 0), (3, 5), (3, 12)] {
        assert_eq!(by_walk(kind, code).0, Unknown, "{kind}/{code}");
    }
    let words = |local| told(tried(3, 3), local).evidence[0].clone();
    let walk = Walk { rejected: Some(rejection(3, 13)), ..Walk::default() };
    assert_eq!(words(walked(walk)), "ICMP admin-prohibited from 198.51.100.1 answered other SYNs for the port");
    let signs = Signs { rejected: Some(rejection(3, 13)), ..Signs::default() };
    assert_eq!(
        words(signed(signs)),
        "ICMP admin-prohibited from 198.51.100.1 answered other probes; routers skip some"
    );
}

#[test]
fn a_host_that_shows_signs_is_there() {
    let echo = Signs { echo: true, ..Signs::default() };
    let link = Signs { link: true, ..Signs::default() };
    let words = |signs| told(tried(3, 3), signed(signs)).evidence[0].clone();
    assert_eq!(said(tried(3, 3), signed(echo)), (FirewallDrop, Likely));
    assert_eq!(words(echo), "203.0.113.2 answers echo requests, but no tried port does");
    assert_eq!(said(tried(3, 3), signed(link)), (FirewallDrop, Likely));
    assert_eq!(words(link), "203.0.113.2 answers on the link, but on no tried port");
    assert_eq!(said(tried(3, 3), signed(Signs::default())).0, Unknown);
    // It speaks for the host as well: what is silent on two ports is not down.
    let other = vec![silent(CLIENT, PORT_80)];
    assert_eq!(both(tried(3, 3), other.clone(), here(false)), (HostDown, Possible));
    assert_eq!(both(tried(3, 3), other.clone(), signed(echo)), (FirewallDrop, Likely));
    let odd = Signs { rejected: Some(rejection(12, 0)), ..echo };
    assert_eq!(both(tried(3, 3), other.clone(), signed(odd)).0, Unknown, "it is there, and another probe was rejected");
    let unmade = Local { made: Ok(false), left: Ok(0), ..here(false) };
    assert_eq!(both(tried(3, 3), other, unmade), (ConnectFailed, Possible), "nothing left to be answered");
}

/// Just enough tries, and just too few.
#[test]
fn a_port_is_blamed_by_how_often_it_was_asked() {
    let port_80 = || vec![established(CLIENT, PORT_80)];
    assert_eq!(beside(tried(2, 1), port_80()), (FirewallDrop, Likely));
    let twice = vec![established(CLIENT, PORT_80), earlier(silent(CLIENT, SERVER), 5)];
    assert_eq!(beside(tried(1, 0), twice), (FirewallDrop, Possible), "a client that never tries again gave up at once");
    let others = || vec![established(OTHER_CLIENT, SERVER)];
    assert_eq!(beside(tried(3, 3), others()), (FirewallDrop, Likely));
    assert_eq!(beside(tried(2, 1), others()), (FirewallDrop, Possible));
    assert_eq!(beside(tried(1, 0), others()).0, Unknown, "one packet got lost");

    // The same client was answered there, or somebody was refused: it is no rule.
    let itself = vec![established(CLIENT, SERVER), established(CLIENT, PORT_80)];
    let around = Around { worked: itself, ..Around::default() };
    assert_said(&verdict(tried(3, 3), &around), Unknown, Possible, Extent::Attempt);
    let refusal = Handshake { client_addr: OTHER_CLIENT, ..refused(60, 0, 0x14) };
    assert_ne!(beside(tried(3, 3), vec![refusal, established(CLIENT, PORT_80)]).0, FirewallDrop);
    // It answered a minute ago, and port 80 answers meanwhile: its queue may be full.
    let worked = vec![earlier(established(OTHER_CLIENT, SERVER), 60), established(CLIENT, PORT_80)];
    let full = verdict(tried(3, 3), &Around { worked, ..Around::default() });
    assert_eq!(short(&full), (FirewallDrop, Possible));
    assert_eq!(full.evidence[0], "203.0.113.2 answered on port 80, earlier on port 6036");
}

/// Loss and overload choose no port: where other attempts needed a later SYN, two lost SYNs are no rule.
#[test]
fn what_loss_explains_is_no_rule() {
    let again = |client, server| {
        let it = established(client, server);
        Handshake { syn: Offer { tries: 2, ..it.syn }, answered_try: 2, ..it }
    };
    let by = |it: Handshake, fact| Handshake { facts: Facts(fact), ..it };
    let others = || vec![established(OTHER_CLIENT, SERVER)];
    for (lost, expected, why) in [
        (again(CLIENT, PORT_80), Possible, "another port of it"),
        (again(OTHER_CLIENT, PORT_80), Possible, "of another client"),
        (again(CLIENT, NEIGHBOUR), Possible, "its neighbour"),
        (later(again(CLIENT, PORT_80), 20), Possible, "a little later"),
        (later(again(CLIENT, PORT_80), 200), Likely, "long after"),
        (earlier(again(CLIENT, PORT_80), 200), Likely, "long before"),
        (by(again(CLIENT, PORT_80), Facts::RECOVERING), Likely, "it was refused first, and not lost"),
        (by(again(CLIENT, PORT_80), Facts::CHALLENGED), Likely, "it was challenged first"),
        (by(again(CLIENT, PORT_80), Facts::CROSSED), Likely, "both sent a SYN"),
        (established(CLIENT, PORT_80), Likely, "nothing was lost"),
    ] {
        let port = vec![established(CLIENT, PORT_80), lost];
        assert_eq!(beside(tried(3, 3), port), (FirewallDrop, expected), "{why}");
        let client = [others(), vec![Handshake { server_port: 81, ..lost }]].concat();
        assert_eq!(beside(tried(3, 3), client), (FirewallDrop, expected), "{why}");
    }
}

/// Of several paths or backends one is dead: the same client was answered just before, from another port of its.
#[test]
fn a_client_that_was_just_answered_is_no_rules() {
    let beside = |seconds| {
        let own = earlier(established(CLIENT, SERVER), seconds);
        beside(tried(3, 3), vec![own, established(OTHER_CLIENT, SERVER)])
    };
    assert_eq!(beside(5), (FirewallDrop, Possible));
    let worked = vec![earlier(established(CLIENT, SERVER), 5), established(OTHER_CLIENT, SERVER)];
    let words = verdict(tried(3, 3), &Around { worked, ..Around::default() }).evidence;
    assert_eq!(words[1], "it answered another attempt of this client 5.0 s before: perhaps one path is dead");
    assert_eq!(beside(19), (FirewallDrop, Possible));
    assert_eq!(beside(40), (FirewallDrop, Possible), "the first time");
    assert_eq!(beside(900), (FirewallDrop, Likely), "long ago");
    let again = |own: &[Handshake]| {
        let all = [own, &[earlier(tried(3, 3), 30), established(OTHER_CLIENT, SERVER)]].concat();
        super::beside(tried(3, 3), all)
    };
    let before = earlier(established(CLIENT, SERVER), 60);
    assert_eq!(again(&[before]), (FirewallDrop, Likely), "a rule came since");
    assert_eq!(again(&[before, later(established(CLIENT, SERVER), 60)]), (FirewallDrop, Possible), "and is gone?");
    assert_eq!(again(&[earlier(established(CLIENT, SERVER), 20)]), (FirewallDrop, Possible), "it answers between");
}

/// Whoever answered the client is remembered through hundreds of its attempts, and through as many other clients.
#[test]
fn a_client_among_many_is_not_forgotten() {
    let at = |client, seconds| later(established(client, SERVER), seconds);
    let many = |own: &[u64]| {
        let others = (0..3).map(|number| at(Addr::v4(number), 1));
        others.chain(own.iter().map(|seconds| at(CLIENT, *seconds))).collect::<Vec<_>>()
    };
    let all: Vec<u64> = (1..200).collect();
    assert_eq!(beside(tried(3, 3), many(&all)).0, Unknown, "it was answered all the time");
    let late: Vec<u64> = (100..300).collect();
    assert_eq!(beside(tried(3, 3), many(&late)), (FirewallDrop, Likely), "a rule was lifted since");
    let crowd = |seconds: u64, of: u32| (0..of).map(move |number| at(Addr::v4(number), seconds));
    let own = [at(CLIENT, 1)];
    let hidden: Vec<_> = own.into_iter().chain(crowd(2, 30)).collect();
    assert_eq!(beside(tried(3, 3), hidden), (FirewallDrop, Possible), "it may have been one of those");
    assert_eq!(beside(tried(3, 3), crowd(2, 10).collect()), (FirewallDrop, Likely), "all of them are known");
}

/// A port that answered before the ten minutes that are looked at, but within the same minute, has been open.
#[test]
fn a_port_that_was_ever_open_is_not_blamed_for_an_old_answer_of_another() {
    let old = || earlier(established(CLIENT, PORT_80), 300);
    assert_eq!(beside(tried(3, 3), vec![old()]), (FirewallDrop, Possible));
    let open = earlier(established(OTHER_CLIENT, SERVER), 630);
    assert_ne!(beside(tried(3, 3), vec![old(), open]).0, FirewallDrop);
    let closed = Handshake { client_addr: OTHER_CLIENT, ..refused(60, 0, 0x14) };
    let refusing = earlier(closed, 630);
    assert_ne!(beside(tried(3, 3), vec![old(), open, refusing]).0, FirewallDrop);
}

#[test]
fn a_host_that_went_is_known_after_three_tries_or_seconds() {
    let went = |it, still_open| {
        let worked = vec![earlier(established(CLIENT, SERVER), 30)];
        short(&verdict(it, &Around { worked, still_open, ..Around::default() }))
    };
    assert_eq!(went(tried(3, 3), false), (HostDown, Possible));
    assert_eq!(went(tried(4, 3), false), (HostDown, Possible));
    assert_eq!(went(tried(2, 3), false).0, Unknown, "two SYNs may be lost");
    assert_eq!(went(tried(3, 3), true).0, Unknown, "it may be slow");
    let patient = |nanos| Handshake { last_syn: Nanos(NOW.0 + nanos), ..tried(2, 0) };
    assert_eq!(went(patient(7 * SECOND / 2), true), (HostDown, Possible));
    assert_eq!(went(patient(7 * SECOND / 2 - 1), true).0, Unknown);
}

#[test]
fn a_host_is_not_down_that_was_heard() {
    let failed = || Local { neighbour: Ok(Some(neighbour(true, true))), left: Ok(0), ..here(false) };
    assert_eq!(said(tried(1, 0), failed()), (HostDown, Certain));
    let wrong = Handshake { facts: Facts(Facts::WRONG_ANSWER), ..tried(1, 0) };
    assert_ne!(said(wrong, failed()).0, HostDown, "something answered");
    assert_ne!(both(tried(1, 0), vec![established(CLIENT, PORT_80)], failed()).0, HostDown, "it answered meanwhile");
    let ignored = Handshake { facts: Facts(Facts::RST_IGNORED), ..tried(1, 0) };
    assert_ne!(said(ignored, failed()).0, HostDown, "a RST came");
    let silent_80 = || vec![silent(CLIENT, PORT_80), established(CLIENT, NEIGHBOUR)];
    assert_eq!(both(tried(1, 0), silent_80(), here(false)), (HostDown, Possible));
    assert_ne!(both(tried(1, 0), silent_80(), here(true)).0, HostDown, "it is this host");
    assert_ne!(both(ignored, silent_80(), here(false)).0, HostDown);
    // It comes back later: it was down.
    assert_eq!(beside(tried(3, 3), vec![silent(CLIENT, PORT_80)]), (HostDown, Possible));
    assert_ne!(beside(tried(3, 3), vec![silent(CLIENT, PORT_80), later(established(CLIENT, PORT_80), 2)]).0, HostDown);
}

/// Time-exceeded is a loop, or a traceroute of this host.
#[test]
fn a_short_ttl_is_a_traceroutes_own() {
    let sent = |ttl, client_here| {
        let it = unreachable(11, 0);
        let it = Handshake { syn: Offer { ttl, ..it.syn }, ..it };
        said(it, Local { client_here, ..here(false) })
    };
    let (here_is, elsewhere) = (Ok(true), Ok(false));
    assert_eq!(sent(64, here_is), (NetworkUnreachable, Likely));
    assert_eq!(sent(32, here_is), (NetworkUnreachable, Likely), "where some systems begin");
    assert_eq!(sent(31, here_is), (NetworkUnreachable, Possible));
    assert_eq!(sent(1, here_is), (NetworkUnreachable, Possible));
    assert_eq!(sent(0, here_is), (NetworkUnreachable, Likely), "it was not seen");
    assert_eq!(sent(31, elsewhere), (NetworkUnreachable, Likely), "routers have taken the rest");
    assert_eq!(sent(6, Err(Missing::NotAsked)), (NetworkUnreachable, Possible), "a capture, near the client");
    let unread = Local { walk: Err(Missing::NotAsked), ..here(false) };
    assert_eq!(said(unreachable(3, 0), unread), (NetworkUnreachable, Likely));
}

/// A next hop that is silent now may not be the one that the SYNs left by.
#[test]
fn a_silent_next_hop_is_doubted_by_what_left() {
    let words = |tries| {
        let local = Local { neighbour: Ok(Some(neighbour(true, true))), ..here(false) };
        let it = told(tried(tries, 0), local);
        assert_eq!(short(&it), (HostDown, Possible));
        it.evidence[1].clone()
    };
    assert_eq!(words(0), "SYNs may have left by another next hop, where nobody traces");
    assert_eq!(words(1), "SYNs left this host, perhaps by another next hop");
}
