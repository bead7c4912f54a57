//! This host's own way: routes, ports, calls and gateways.

use std::time::Duration;

use tcptrace_core::{
    flow::Addr,
    handshake::{Handshake, Nanos, Side},
};
use tcptrace_vocabulary::{
    cause::{
        Cause::{ConnectFailed, FirewallReject, GatewayDown, HostDown, NoLocalPort, NoRoute, Unknown},
        Confidence::{Certain, Likely, Possible},
    },
    facts::{Call, Counters, Fact, Local, Missing, Netns, Place, Way},
};

use super::{ROUTER, drop_at, neighbour, said, told, tried, unsent};
use crate::common::{Around, CLIENT, NOW, SECOND, SERVER, ZERO, here, listener, silent, unreachable, verdict};

const MILLISECOND: Duration = Duration::from_millis(1);

fn nowhere(errno: i32) -> Fact<Way> {
    Ok(Way::Nowhere { errno })
}

fn call(errno: i32, took: Duration) -> Fact<Call> {
    Ok(Call { errno: Some(errno), took })
}

fn link(up: bool, carrier: bool) -> Fact<Way> {
    Ok(Way::Link { interface: "eth0".to_owned(), up, carrier })
}

#[test]
fn a_route_that_leads_nowhere_is_named_by_its_kind() {
    for (errno, what) in [
        (libc::ENETUNREACH, "this host has no route to it (ENETUNREACH)"),
        (libc::EACCES, "a 'prohibit' route forbids it (EACCES)"),
        (libc::EINVAL, "a 'blackhole' route drops it (EINVAL)"),
        (libc::EHOSTUNREACH, "an 'unreachable' route forbids it (EHOSTUNREACH)"),
        (libc::EPERM, "routing refuses it (EPERM)"),
    ] {
        let it = told(unsent(), Local { way: nowhere(errno), made: Ok(false), ..here(false) });
        assert_eq!((it.cause, it.confidence, it.evidence[0].as_str()), (NoRoute, Certain, what));
    }
    let down = |up, carrier| told(unsent(), Local { way: link(up, carrier), ..here(false) });
    assert_eq!(down(false, false).evidence[0], "interface eth0 is down");
    assert_eq!(down(true, false).evidence[0], "interface eth0 has no carrier");
    assert_eq!(down(true, true).cause, Unknown, "there is a way");
}

/// The call ended where TCP asks for a route, and the route has come since.
#[test]
fn a_route_that_came_since_is_likely() {
    let gone = Local { made: Ok(false), way: Err(Missing::Gone), ..here(false) };
    assert_eq!(said(unsent(), gone.clone()), (NoRoute, Likely));
    for (other, why) in [
        (Local { made: Ok(true), ..gone.clone() }, "TCP made the SYN"),
        (Local { made: Err(Missing::Kernel), ..gone.clone() }, "nobody knows whether TCP made it"),
        (Local { way: Err(Missing::Failed), ..gone.clone() }, "the route was not read"),
        (Local { call: call(libc::EPERM, MILLISECOND), ..gone.clone() }, "the call has an errno of its own"),
    ] {
        assert_ne!(said(unsent(), other).0, NoRoute, "{why}");
    }
}

#[test]
fn a_refusal_is_this_hosts_own_if_it_is_faster_than_any_answer() {
    let at_once = |errno, took| Local { call: call(errno, took), way: link(true, true), ..here(false) };
    for errno in [libc::ENETUNREACH, libc::ENETDOWN, libc::EHOSTUNREACH, libc::EINVAL] {
        assert_eq!(said(unsent(), at_once(errno, MILLISECOND)), (NoRoute, Likely), "{errno}");
    }
    let soon = 2 * MILLISECOND - Duration::from_nanos(1);
    let fast = at_once(libc::EHOSTUNREACH, soon);
    assert_eq!(said(unsent(), fast.clone()), (NoRoute, Likely));
    for (other, why) in [
        (at_once(libc::EHOSTUNREACH, 2 * MILLISECOND), "another host may have answered by then"),
        (at_once(libc::ECONNREFUSED, MILLISECOND), "routing never says that"),
        (Local { made: Ok(true), ..fast.clone() }, "TCP made a SYN, so there was a route"),
        (Local { neighbour: Ok(Some(neighbour(true, true))), ..fast }, "the neighbour was looked for before"),
    ] {
        assert_ne!(said(unsent(), other).0, NoRoute, "{why}");
    }
}

/// OutNoRoutes of the namespace speaks for this attempt only if it grew with each SYN that nobody answered.
#[test]
fn a_counter_of_missing_routes_speaks_for_silence_only() {
    let local = |grew| {
        let counters = Ok(Counters { no_routes_out: grew, ..ZERO });
        Local { counters, listener: Ok(listener(0)), drops: Ok(Vec::new()), ..here(true) }
    };
    assert_eq!(said(tried(3, 3), local(3)), (NoRoute, Likely));
    assert_ne!(said(tried(3, 3), local(2)).0, NoRoute, "it grew for two of three SYNs");
    assert_ne!(said(unreachable(3, 13), local(3)).0, NoRoute, "an ICMP error is an answer");
    assert_ne!(said(unsent(), local(3)).0, NoRoute, "no SYN came in");
    let unread = Local { drops: Err(Missing::Privilege), ..local(3) };
    assert_eq!(said(tried(3, 3), unread), (NoRoute, Possible), "a rule may have dropped the SYNs");
    let elsewhere = Local { server_here: Ok(false), ..local(3) };
    assert_ne!(said(tried(3, 3), elsewhere).0, NoRoute, "the server is elsewhere");
}

#[test]
fn a_call_without_a_port_says_so_by_its_errno() {
    let local = |errno, made| Local { call: call(errno, MILLISECOND), made, ..here(false) };
    let portless = Handshake { client_port: 0, ..unsent() };
    assert_eq!(said(unsent(), local(libc::EADDRNOTAVAIL, Ok(false))), (NoLocalPort, Certain));
    assert_ne!(said(unsent(), local(libc::EPERM, Ok(false))).0, NoLocalPort);
    let words = |it, made| told(it, local(libc::EADDRNOTAVAIL, made)).evidence[0].clone();
    assert_eq!(
        words(unsent(), Ok(false)),
        "its local port 40000 is already in use towards that server (EADDRNOTAVAIL)"
    );
    assert_eq!(words(portless, Ok(false)), "no local port is left towards that server (EADDRNOTAVAIL)");
    assert_eq!(
        words(portless, Err(Missing::Kernel)),
        "this host has no local port or address left for it (EADDRNOTAVAIL)"
    );
}

#[test]
fn a_forbidden_call_is_told_by_its_errno_and_by_what_routing_says() {
    let local = |errno, way| Local { call: call(errno, 5 * MILLISECOND), way, ..here(false) };
    let made = |errno, made| Local { made: Ok(made), ..local(errno, link(true, true)) };
    assert_eq!(said(unsent(), made(libc::EPERM, false)), (ConnectFailed, Certain), "the hook read the refusal");
    assert_eq!(said(unsent(), made(libc::EPERM, true)).0, Unknown, "TCP made the SYN: it is not the call's");
    assert_eq!(said(unsent(), local(libc::EPERM, link(true, true))), (ConnectFailed, Certain));
    assert_eq!(said(unsent(), local(libc::EACCES, link(true, true))), (ConnectFailed, Certain));
    assert_eq!(said(unsent(), local(libc::EACCES, Err(Missing::Failed))), (ConnectFailed, Likely), "or a route");
    assert_eq!(said(unsent(), local(libc::EPERM, Err(Missing::Failed))), (ConnectFailed, Certain), "no route says so");
    assert_eq!(said(unsent(), local(libc::ECONNREFUSED, link(true, true))).0, Unknown);
    assert_eq!(said(unsent(), local(libc::EACCES, nowhere(libc::EACCES))), (NoRoute, Certain));

    // A router's 'prohibit' route gives EACCES as well, by ICMPv6 (tab_unreach, net/ipv6/icmp.c).
    let server = Addr { hi: 0x2001_0db8 << 32, lo: 2 };
    let rejected = Handshake { server_addr: server, ..unreachable(1, 6) };
    assert_eq!(said(rejected, local(libc::EACCES, link(true, true))), (FirewallReject, Likely));

    let broadcast = Local { way: Ok(Way::Many), ..here(false) };
    assert_eq!(said(unsent(), broadcast), (ConnectFailed, Certain));
}

#[test]
fn a_link_local_address_without_an_interface_makes_no_syn() {
    let call = |server| Handshake { server_addr: server, ..unsent() };
    let local = Local { made: Ok(false), way: link(true, true), ..here(false) };
    let link_local = Addr { hi: 0xfe80 << 48, lo: 1 };
    let global = Addr { hi: 0x2001_0db8 << 32, lo: 1 };
    assert_eq!(said(call(link_local), local.clone()), (ConnectFailed, Likely));
    assert_eq!(said(call(global), local.clone()), (ConnectFailed, Possible));
    assert_ne!(said(call(global), Local { made: Ok(true), ..local }).0, ConnectFailed, "TCP made one");
}

/// This host's own host-unreachable means that it looked for the gateway; a router's means that the router looked.
#[test]
fn a_gateway_is_down_if_this_host_itself_says_so() {
    let failed = |is_peer| Local { neighbour: Ok(Some(neighbour(is_peer, true))), ..here(false) };
    let from = |it, addr, local: Local| {
        let it = verdict(it, &Around { icmp_from: Some(addr), local: Some(local), ..Around::default() });
        (it.cause, it.confidence)
    };
    let error = |kind, code| Handshake { ended: Nanos(NOW.0 + 3 * SECOND), ..unreachable(kind, code) };
    assert_eq!(from(error(3, 1), CLIENT, failed(false)), (GatewayDown, Possible), "its SYN was seen leaving");
    assert_eq!(from(error(3, 1), ROUTER, failed(false)), (HostDown, Likely), "a router looked for the host");
    assert_eq!(from(error(3, 0), CLIENT, failed(false)).0, FirewallReject, "own rules can say so; no look-up does");
    assert_eq!(from(error(3, 1), CLIENT, failed(true)), (HostDown, Possible), "the neighbour is the server");
    let unseen = Handshake { syn: unsent().syn, ..error(3, 1) };
    assert_eq!(from(unseen, CLIENT, failed(true)), (HostDown, Certain), "no SYN left");
}

/// NEIGH_* on the way out is a next hop without a link address; of another namespace's packet it is another's matter.
#[test]
fn a_next_hop_without_an_address_is_the_senders_matter() {
    let local = |local: Local, from, reason, place| Local { drops: Ok(drop_at(from, reason, place)), ..local };
    let client = local(here(false), Side::Client, "NEIGH_QUEUEFULL", Place::Client);
    assert_eq!(said(silent(CLIENT, SERVER), client), (GatewayDown, Possible));
    let server = local(here(true), Side::Server, "NEIGH_QUEUEFULL", Place::Server);
    assert_eq!(said(silent(CLIENT, SERVER), server), (GatewayDown, Likely));
    let other = local(here(false), Side::Server, "NEIGH_QUEUEFULL", Place::Server);
    assert_ne!(said(silent(CLIENT, SERVER), other).0, GatewayDown, "the server is on another host");
    let queue = local(here(false), Side::Client, "TCP_RFC7323_PAWS", Place::Client);
    assert_eq!(said(silent(CLIENT, SERVER), queue).0, Unknown, "TCP's own reasons are a receiver's");
}

/// This host's own error about its own SYN is no answer, and an error that is a router's is one.
#[test]
fn a_route_that_leads_nowhere_is_no_reason_for_a_routers_error() {
    let from = |icmp_from| {
        let local = Some(Local { way: nowhere(libc::EHOSTUNREACH), ..here(false) });
        verdict(unreachable(3, 1), &Around { icmp_from, local, ..Around::default() }).cause
    };
    assert_eq!(from(Some(CLIENT)), NoRoute);
    assert_eq!(from(None), NoRoute, "nobody is known to have sent it");
    assert_ne!(from(Some(ROUTER)), NoRoute);
}

/// The sender's steps lead into the client's network namespace, or the server's where the answer has no way.
#[test]
fn steps_lead_into_the_senders_namespace() {
    let netns = |name: &str| Ok(Some(Netns { name: format!("netns {name}"), enter: format!("ip netns exec {name}") }));
    let inside = |server: bool| {
        let (side, place) = if server { (Side::Server, Place::Server) } else { (Side::Client, Place::Client) };
        let drops = Ok(drop_at(side, "IP_OUTNOROUTES", place));
        let local = Local { client_netns: netns("web"), server_netns: netns("db"), drops, ..here(server) };
        told(if server { tried(1, 0) } else { unsent() }, local)
    };
    for (server, enter) in [(false, "ip netns exec web ip route get"), (true, "ip netns exec db ip route get")] {
        let it = inside(server);
        assert_eq!(it.cause, NoRoute);
        assert!(it.next[0].contains(enter), "{it:#?}");
    }
}
