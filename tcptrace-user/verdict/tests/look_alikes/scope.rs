//! The reach of a failure, in words: which ports, which hosts, how many.

use std::time::Duration;

use tcptrace_core::{
    flow::Endpoint,
    handshake::{End, Handshake, Nanos, State},
    segment::Flags,
};
use tcptrace_vocabulary::{
    cause::Cause::{GatewayDown, HostDown, MiddleboxReset, NoLocalPort, NoRoute},
    facts::{Call, Local, Way},
    scope::{Extent, Scope},
};

use super::{neighbour, told, tried, unsent};
use crate::common::{
    Around, CLIENT, FAR, NEIGHBOUR, OTHER_CLIENT, PORT_80, SECOND, SERVER, answered, earlier, established, here,
    refused, silent, unreachable, verdict,
};

fn scope(it: Handshake, worked: Vec<Handshake>) -> Scope {
    verdict(it, &Around { worked, ..Around::default() }).scope
}

/// The extent, and its first sentence.
fn first(it: Handshake, worked: Vec<Handshake>) -> (Extent, String) {
    let scope = scope(it, worked);
    (scope.extent, scope.evidence[0].clone())
}

fn port(port: u16) -> Endpoint {
    Endpoint { port, ..SERVER }
}

#[test]
fn attempts_that_failed_alike_are_counted_if_none_worked() {
    let more = |it, worked| scope(it, worked).evidence.get(1).cloned();
    let asked = |seconds| earlier(silent(OTHER_CLIENT, SERVER), seconds);
    let none = |failed| Some(format!("{failed} attempts to port 6036 failed, and none worked"));
    assert_eq!(more(tried(1, 0), Vec::new()), None, "it is the only one");
    assert_eq!(more(tried(1, 0), vec![asked(9)]), none(2));
    assert_eq!(more(tried(1, 0), vec![asked(9), earlier(unreachable(3, 1), 8)]), none(3));
    assert_eq!(more(unreachable(3, 1), vec![asked(9)]), none(2));
    let closed = refused(60, 0, Flags::RST | Flags::ACK);
    for worked in [established(OTHER_CLIENT, SERVER), closed, answered(SECOND / 50)] {
        assert_eq!(more(tried(1, 0), vec![asked(9), earlier(worked, 60)]), None, "another was answered");
    }
    let wrong = Handshake { facts: tcptrace_core::handshake::Facts(2), ..tried(1, 0) };
    assert_eq!(more(wrong, vec![asked(9), asked(8)]), None, "this one was challenged");
}

#[test]
fn what_leaves_by_the_same_way_fails_alike() {
    let reach = |local: Local| {
        let it = told(unsent(), local);
        (it.cause, it.scope.extent, it.scope.evidence[0].clone())
    };
    let link = |up, carrier| Ok(Way::Link { interface: "eth0".to_owned(), up, carrier });
    let by_eth0 = (NoRoute, Extent::Everything, "nothing leaves by eth0".to_owned());
    assert_eq!(reach(Local { way: link(false, false), ..here(false) }), by_eth0);
    assert_eq!(reach(Local { way: link(true, false), ..here(false) }), by_eth0);
    let nowhere = Local { way: Ok(Way::Nowhere { errno: libc::ENETUNREACH }), ..here(false) };
    assert_eq!(reach(nowhere), (NoRoute, Extent::Network, "its whole network has that route".to_owned()));
    let gateway = Local { way: link(true, true), neighbour: Ok(Some(neighbour(false, true))), ..here(false) };
    let behind = "everything behind 203.0.113.2 is out of reach".to_owned();
    assert_eq!(reach(gateway), (GatewayDown, Extent::Everything, behind));
    let call = |errno| {
        let call = Ok(Call { errno: Some(errno), took: Duration::from_millis(1) });
        Local { call, way: link(true, true), ..here(false) }
    };
    let one = "local port 40000 alone is taken towards 203.0.113.2".to_owned();
    assert_eq!(reach(call(libc::EADDRNOTAVAIL)), (NoLocalPort, Extent::Attempt, one));
    let no_port = Handshake { client_port: 0, ..unsent() };
    let it = told(no_port, call(libc::EADDRNOTAVAIL)).scope;
    assert_eq!((it.extent, it.evidence[0].as_str()), (Extent::Host, "this host has no port left for that address"));
    let refuses = "this host refuses all of that route".to_owned();
    for errno in [libc::ENETUNREACH, libc::ENETDOWN, libc::EHOSTUNREACH, libc::EINVAL] {
        assert_eq!(reach(call(errno)), (NoRoute, Extent::Network, refuses.clone()));
    }
}

#[test]
fn ports_are_named_up_to_four() {
    let open = |ports: &[u16]| first(tried(3, 3), ports.iter().map(|it| established(CLIENT, port(*it))).collect());
    let named = |words: &str| (Extent::Port, format!("203.0.113.2 answers on {words}"));
    assert_eq!(open(&[80]), named("port 80"));
    assert_eq!(open(&[443, 80]), named("ports 80, 443"));
    assert_eq!(open(&[1, 2, 3, 4]), named("ports 1, 2, 3, 4"));
    assert_eq!(open(&[1, 2, 3, 4, 5]), named("ports 1, 2, 3, 4 and 1 more"));
    let half_open = Handshake { server_port: 80, ..answered(SECOND / 50) };
    assert_eq!(first(tried(3, 3), vec![half_open]), named("port 80"));
    let closed = Handshake { server_port: 80, ..refused(60, 0, Flags::RST | Flags::ACK) };
    assert_eq!(first(tried(3, 3), vec![closed]), (Extent::Port, "203.0.113.2 refuses port 80".to_owned()));
    let both = refused(60, 0, Flags::RST | Flags::ACK);
    assert_eq!(first(both, vec![closed]), (Extent::Host, "203.0.113.2 also refuses port 80".to_owned()));
}

#[test]
fn a_host_that_fails_on_all_ports_says_on_which() {
    let fails = |other: Handshake| first(tried(1, 0), vec![other]);
    let words = "203.0.113.2 also fails on port 80; no other host answered".to_owned();
    assert_eq!(fails(silent(CLIENT, PORT_80)), (Extent::Host, words.clone()));
    assert_eq!(fails(Handshake { server_port: 80, ..unreachable(3, 13) }), (Extent::Host, words));
    let old = earlier(established(CLIENT, PORT_80), 300);
    let nothing = "nothing else answered or failed around then".to_owned();
    assert_eq!(first(tried(1, 0), vec![old]), (Extent::Unknown, nothing), "it was not asked since");
}

#[test]
fn a_host_among_others_that_fail_or_answer() {
    let silent_neighbour = silent(CLIENT, Endpoint { addr: tcptrace_core::flow::Addr::v4(0xcb00_710a), port: 443 });
    let alive = established(CLIENT, NEIGHBOUR);
    assert_eq!(
        first(tried(1, 0), vec![alive]),
        (Extent::Host, "only 203.0.113.2 fails; 1 other host of 203.0.113.0/24 answered".to_owned())
    );
    assert_eq!(
        first(tried(1, 0), vec![alive, silent_neighbour]),
        (Extent::Host, "1 other host of 203.0.113.0/24 answered".to_owned())
    );
    let far = established(CLIENT, FAR);
    let elsewhere = "1 host elsewhere answered; no other of 203.0.113.0/24 did".to_owned();
    assert_eq!(first(tried(1, 0), vec![far]), (Extent::Host, elsewhere));
    let failed = "1 other host of 203.0.113.0/24 failed too; 1 host elsewhere answered".to_owned();
    assert_eq!(first(tried(1, 0), vec![far, silent_neighbour]), (Extent::Network, failed));
    let failed = "1 other host of 203.0.113.0/24 failed too; nothing else answered".to_owned();
    assert_eq!(first(tried(1, 0), vec![silent_neighbour]), (Extent::Network, failed));
    let nothing = "nothing answered; 1 host elsewhere failed too".to_owned();
    assert_eq!(first(tried(1, 0), vec![silent(CLIENT, FAR)]), (Extent::Everything, nothing));
    // A host that answered in the attempt itself is up.
    let it = answered(SECOND / 50);
    let end = End { ttl: 50, window: 0, flags: Flags::RST };
    let reset = Handshake { ended: Nanos(it.last_answer.0 + 1), end, state: State::ResetOnAnswer as u8, ..it };
    let up = verdict(reset, &Around { worked: vec![alive], ..Around::default() });
    assert_eq!((up.cause, up.scope.extent), (MiddleboxReset, Extent::Port));
    assert_eq!(up.scope.evidence[0], "no other port of 203.0.113.2 answered then");
    let down = Local { neighbour: Ok(Some(neighbour(true, true))), ..here(false) };
    let down = told(tried(1, 0), down);
    assert_eq!((down.cause, down.scope.extent), (HostDown, Extent::Host));
}
