//! Hosts with several addresses, of which some are dead.

use tcptrace_tests::lab::{Lab, SERVER_V4, SERVER_V6};

use crate::told::{diagnose, give_up_soon};

const HOSTS: &str = "203.0.113.2 web.example\n2001:db8:2::2 web.example\n";

#[test]
fn one_dead_address_of_two_is_partly() {
    let lab = Lab::new();
    give_up_soon(&lab);
    let _names = lab.client.resolve_by(&[""; 0], HOSTS);
    let _web = (lab.server.listen((SERVER_V4, 80).into()), lab.server.listen((SERVER_V6, 80).into()));
    let _rule = lab.router.filter("forward", "meta nfproto ipv6 drop");
    let told = diagnose(&lab, &["web.example:80"]);
    assert_eq!((told.result(), told.code), ("partly", Some(0)), "{:#}", told.object);
    assert_eq!(told.verdict(), ["host_down", "possible", "host"]);
    told.agrees(&lab, (SERVER_V6, 80).into());
    assert!(told.object["verdict"]["notes"][0].as_str().unwrap().starts_with("203.0.113.2 works"));
}

#[test]
fn a_family_without_a_route_is_no_fault_where_the_other_works() {
    let lab = Lab::new();
    lab.client.ip("route del default via 2001:db8:1::1");
    let _names = lab.client.resolve_by(&[""; 0], HOSTS);
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let told = diagnose(&lab, &["web.example:80"]);
    assert_eq!((told.result(), told.code), ("reachable", Some(0)), "{:#}", told.object);
}

#[test]
fn of_two_dead_addresses_the_one_that_says_why_is_told() {
    let lab = Lab::new();
    give_up_soon(&lab);
    let _names = lab.client.resolve_by(&[""; 0], HOSTS);
    let _rule = lab.router.filter("forward", "meta nfproto ipv6 drop");
    let told = diagnose(&lab, &["web.example:80"]);
    assert_eq!((told.result(), told.code), ("unreachable", Some(3)), "{:#}", told.object);
    assert_eq!(told.verdict()[0], "port_closed");
    told.agrees(&lab, (SERVER_V4, 80).into());
}

#[test]
fn of_usual_ports_one_is_enough_and_of_named_ones_none() {
    let lab = Lab::new();
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let told = diagnose(&lab, &["203.0.113.2"]);
    assert_eq!((told.result(), told.code), ("reachable", Some(0)), "{:#}", told.object);
    let told = diagnose(&lab, &["203.0.113.2:80", "443"]);
    assert_eq!((told.result(), told.code), ("unreachable", Some(3)), "{:#}", told.object);
    assert_eq!(told.object["verdict"]["port"], 443);
    assert_eq!(told.object["verdict"]["notes"][0], "open: 80");
}
