//! Link-local addresses: the same one on two links, told apart by the interface behind the `%`.

use std::net::{Ipv6Addr, SocketAddrV6};

use nix::net::if_::if_nametoindex;
use serde_json::json;
use tcptrace_tests::lab::{Lab, Listener, Ns};

use crate::told::{diagnose, run};

const ROUTER: &str = "fe80::1";

/// A second wire between client and router; at the router's end of both is the same address.
fn two_links(lab: &Lab) {
    lab.client.ip(&format!("link add eth1 type veth peer name client1 netns {}", lab.router.name()));
    lab.client.ip(
        "link set eth1 addrgenmode none up\naddr add fe80::2/64 dev eth0 nodad\naddr add fe80::3/64 dev eth1 nodad",
    );
    lab.router.ip(
        "link set client1 addrgenmode none up\naddr add fe80::1/64 dev client0 nodad\naddr add fe80::1/64 dev client1 nodad",
    );
}

fn listen(ns: &Ns, interface: &str, port: u16) -> Listener {
    let index = ns.enter(|| if_nametoindex(interface).unwrap());
    ns.listen(SocketAddrV6::new(ROUTER.parse::<Ipv6Addr>().unwrap(), port, 0, index).into())
}

#[test]
fn the_zone_says_which_of_two_hosts_is_meant() {
    let lab = Lab::new();
    two_links(&lab);
    let _web = listen(&lab.router, "client0", 6036);
    for (target, interface, result) in
        [("[fe80::1%eth0]:6036", "eth0", "reachable"), ("[fe80::1%eth1]:6036", "eth1", "unreachable")]
    {
        let told = diagnose(&lab, &[target]);
        assert_eq!(told.result(), result, "{:#}", told.object);
        let at = &told.object["addresses"][0];
        assert_eq!((&at["ip"], &at["route"]["interface"]), (&json!(ROUTER), &json!(interface)));
        assert_eq!(at["ping"]["replies_s"].as_array().unwrap().len(), 3, "{:#}", told.object);
        assert_eq!((&at["path_mtu"]["result"], &at["neighbour"]["ip"]), (&json!("passes"), &json!(ROUTER)));
        assert_eq!(at["connects"][0]["wire"]["syns"], 1, "{:#}", told.object);
    }
    let told = diagnose(&lab, &["fe80::1%eth1", "6036"]);
    assert_eq!(told.verdict(), ["port_closed", "possible", "host"], "{:#}", told.object);
    let text = told.object["verdict"]["text"].as_str().unwrap();
    assert_eq!(text, "port 6036 of fe80::1%eth1 refuses connections");
}

#[test]
fn an_address_that_nobody_has_is_asked_for_on_its_link() {
    let lab = Lab::new();
    two_links(&lab);
    let told = diagnose(&lab, &["[fe80::77%eth1]:6036"]);
    assert_eq!(told.verdict(), ["host_down", "certain", "host"], "{:#}", told.object);
    let neighbour = &told.object["addresses"][0]["neighbour"];
    assert_eq!((&neighbour["ip"], &neighbour["is_host"]), (&json!("fe80::77"), &json!(true)));
    assert!(["failed", "incomplete"].contains(&neighbour["state"].as_str().unwrap()), "{neighbour:#}");
}

#[test]
fn without_a_zone_the_interfaces_are_named() {
    let lab = Lab::new();
    two_links(&lab);
    for (target, why) in [
        ("fe80::1", "a link-local address needs its interface: write fe80::1%eth0, fe80::1%eth1"),
        ("[fe80::1%eth7]:80", "there is no interface 'eth7': write fe80::1%eth0, fe80::1%eth1"),
        ("2001:db8:1::1%eth0", "only a link-local address (fe80::/10) has a zone"),
    ] {
        let finished = run(&lab.client, &[target]);
        assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
        let host = target.trim_start_matches('[').split(']').next().unwrap();
        assert_eq!(finished.stderr, format!("tcptrace: cannot diagnose '{host}': {why}\n"));
    }
}
