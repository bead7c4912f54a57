//! `unreachable`: an ICMP or ICMPv6 error that quotes the SYN, and who sent it.

use std::io::ErrorKind;
use std::net::IpAddr;

use serde_json::json;
use tcptrace_tests::lab::{ABSENT_V4, ABSENT_V6, CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6, Lab, NftTable};

use crate::view::{BOTH, PATIENCE, View, assert_golden};

/// The router's addresses as the client sees them.
const GATEWAYS: [IpAddr; 2] = [CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6];

/// Connects to an address of either version, and expects the router's error of that type and code.
#[track_caller]
fn check(name: &str, lab: &Lab, to: [IpAddr; 2], codes: [(u8, u8); 2], reason: &str) {
    let views = View::everywhere(lab, &[]);
    for ((port, _), ip) in BOTH.into_iter().zip(to) {
        let error = lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::TimedOut, "{ip}");
    }
    let [client, router, server] = views.map(View::end);
    for (number, (port, _)) in BOTH.into_iter().enumerate() {
        let line = client.only(port);
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("unreachable"), &json!(reason)));
        let (kind, code) = codes[number];
        assert_eq!(line["icmp"], json!({ "from": GATEWAYS[number], "type": kind, "code": code, "reason": reason }));
        assert_eq!((&line["syn"]["tries"], &line["syn_ack"]), (&json!(1), &json!(null)));
        // The router sees the error that it sends itself.
        assert_eq!(router.only(port)["icmp"], line["icmp"]);
    }
    assert_golden(name, &client.lines);
    assert_eq!(server.figure("/segments/opened"), 0, "nothing reached the server");
}

fn reject(lab: &Lab, with: &str) -> NftTable {
    lab.router.filter("forward", &format!("tcp dport 80 reject with icmpx {with}"))
}

fn servers() -> [IpAddr; 2] {
    BOTH.map(|(_, ip)| ip)
}

#[test]
fn unreachable_admin_prohibited() {
    let lab = Lab::new();
    let _rule = reject(&lab, "admin-prohibited");
    check("unreachable_admin_prohibited", &lab, servers(), [(3, 13), (1, 1)], "admin-prohibited");
}

#[test]
fn unreachable_port_unreachable() {
    let lab = Lab::new();
    let _rule = reject(&lab, "port-unreachable");
    check("unreachable_port_unreachable", &lab, servers(), [(3, 3), (1, 4)], "port-unreach");
}

/// The router asks for an address that is nobody's, and gives up before the second SYN.
#[test]
fn unreachable_host_unreachable() {
    let lab = Lab::new();
    for family in ["ipv4", "ipv6"] {
        lab.router.sysctl(&format!("net.{family}.neigh.server0.retrans_time_ms"), "100");
    }
    check("unreachable_host_unreachable", &lab, [ABSENT_V4, ABSENT_V6], [(3, 1), (1, 3)], "host-unreach");
}

/// The router has no route to there.
#[test]
fn unreachable_no_route() {
    let lab = Lab::new();
    let nowhere = ["192.0.2.1".parse().unwrap(), "2001:db8:4::1".parse().unwrap()];
    check("unreachable_no_route", &lab, nowhere, [(3, 0), (1, 0)], "net-unreach");
}
