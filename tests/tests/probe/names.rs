//! Names, by real DNS servers: those that agree, disagree, say no, and say nothing.

use std::fmt::Write as _;

use serde_json::json;
use tcptrace_tests::lab::{Lab, OTHER_V4, SERVER_V4, SERVER_V6};

use crate::told::diagnose;

#[test]
fn two_resolvers_that_agree_are_nothing_to_tell() {
    let lab = Lab::new();
    let _names = lab.client.resolve_by(&[SERVER_V4, OTHER_V4], "");
    let records = "203.0.113.2 web.example\n2001:db8:2::2 web.example\n";
    let _servers = [SERVER_V4, OTHER_V4].map(|it| lab.server.dns_server(it, records));
    let _web = (lab.server.listen((SERVER_V4, 80).into()), lab.server.listen((SERVER_V6, 80).into()));
    let told = diagnose(&lab, &["web.example:80"]);
    assert_eq!((told.result(), told.findings()), ("reachable", vec![]), "{:#}", told.object);
    let names = &told.object["names"];
    assert_eq!(names["addresses"].as_array().unwrap().len(), 2);
    assert_eq!(names["resolvers"][1]["a"]["addresses"], json!(["203.0.113.2"]));
    assert_eq!(names["resolvers"][1]["aaaa"]["addresses"], json!(["2001:db8:2::2"]));
}

/// A router that gives itself as resolver by its link-local address, as RFC 8106 has it.
#[test]
fn a_resolver_on_the_link_is_asked_through_its_interface() {
    let lab = Lab::new();
    lab.client.ip("addr add fe80::2/64 dev eth0 nodad");
    lab.router.ip("addr add fe80::1/64 dev client0 nodad");
    let _names = lab.client.resolve_by(&["fe80::1%eth0", "fe80::1%eth9"], "");
    let _server = lab.router.dns_server("fe80::1", "203.0.113.2 web.example\n");
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let told = diagnose(&lab, &["web.example:80"]);
    let names = &told.object["names"];
    assert_eq!(told.result(), "reachable", "{:#}", told.object);
    let asked = &names["resolvers"][0];
    assert_eq!((&asked["ip"], &asked["zone"]), (&json!("fe80::1"), &json!("eth0")), "{names:#}");
    assert_eq!(asked["a"]["addresses"], json!(["203.0.113.2"]), "{names:#}");
    let text = names["findings"][0]["text"].as_str().unwrap();
    assert_eq!(text, "resolver fe80::1%eth9 cannot be used: there is no interface 'eth9'");
}

#[test]
fn two_resolvers_that_disagree_are_told() {
    let lab = Lab::new();
    let _names = lab.client.resolve_by(&[SERVER_V4, OTHER_V4], "");
    let _right = lab.server.dns_server(SERVER_V4, "203.0.113.2 web.example\n");
    let _wrong = lab.server.dns_server(OTHER_V4, "203.0.113.99 web.example\n");
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let told = diagnose(&lab, &["web.example:80"]);
    assert_eq!((told.result(), told.findings()), ("reachable", vec!["resolvers_differ"]), "{:#}", told.object);
    let text = told.object["names"]["findings"][0]["text"].as_str().unwrap();
    assert!(text.contains("203.0.113.2: 203.0.113.2; 203.0.113.3: 203.0.113.99"), "{text}");
}

#[test]
fn a_silent_resolver_makes_applications_wait_and_not_this() {
    let lab = Lab::new();
    let _names = lab.client.resolve_by(&[OTHER_V4, SERVER_V4], "");
    let _server = lab.server.dns_server(SERVER_V4, "203.0.113.2 web.example\n");
    let _rule = lab.server.filter("input", "ip daddr 203.0.113.3 udp dport 53 drop");
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let told = diagnose(&lab, &["web.example:80"]);
    assert_eq!((told.result(), told.code), ("reachable", Some(0)), "{:#}", told.object);
    assert_eq!(told.findings(), ["resolver_silent", "slow"], "{:#}", told.object);
    let names = &told.object["names"];
    assert!(names["applications"]["took_s"].as_f64().unwrap() > 4.0);
    assert_eq!(names["resolvers"][0]["a"]["result"], "silent");
}

#[test]
fn a_name_that_does_not_exist_is_unresolved() {
    let lab = Lab::new();
    let _names = lab.client.resolve_by(&[SERVER_V4], "");
    let _server = lab.server.dns_server(SERVER_V4, "203.0.113.2 web.example\n");
    let told = diagnose(&lab, &["wbe.example"]);
    assert_eq!((told.result(), told.code), ("unresolved", Some(3)), "{:#}", told.object);
    assert_eq!(told.object["names"]["resolvers"][0]["a"]["result"], "nxdomain");
    assert_eq!(told.object["verdict"]["text"], "there is no name wbe.example");
    assert!(told.object["verdict"]["cause"].is_null());
}

#[test]
fn without_a_resolver_that_answers_that_is_the_verdict() {
    let lab = Lab::new();
    let _names = lab.client.resolve_by(&[OTHER_V4], "");
    let _rule = lab.server.filter("input", "udp dport 53 drop");
    let told = diagnose(&lab, &["web.example"]);
    assert_eq!((told.result(), told.code), ("unresolved", Some(3)), "{:#}", told.object);
    assert!(told.object["verdict"]["text"].as_str().unwrap().starts_with("no resolver answers"));
    assert!(told.object["took_s"].as_f64().unwrap() < 10.0);
}

#[test]
fn a_hosts_file_that_says_something_else_is_told() {
    let lab = Lab::new();
    let _names = lab.client.resolve_by(&[SERVER_V4], "203.0.113.3 web.example\n");
    let _server = lab.server.dns_server(SERVER_V4, "203.0.113.2 web.example\n");
    let _web = lab.server.listen((OTHER_V4, 80).into());
    let told = diagnose(&lab, &["web.example:80"]);
    assert_eq!((told.result(), told.findings()), ("reachable", vec!["hosts_file_differs"]), "{:#}", told.object);
    assert_eq!(told.object["names"]["addresses"], json!(["203.0.113.3"]));
}

#[test]
fn a_long_answer_comes_over_tcp() {
    let lab = Lab::new();
    let _names = lab.client.resolve_by(&[SERVER_V4], "");
    let mut records = String::new();
    for number in 1..=60 {
        let _ = writeln!(records, "198.18.0.{number} many.example");
    }
    let _server = lab.server.dns_server(SERVER_V4, &records);
    let told = diagnose(&lab, &["many.example:80"]);
    let answer = &told.object["names"]["resolvers"][0]["a"];
    assert_eq!((&answer["over_tcp"], answer["addresses"].as_array().unwrap().len()), (&json!(true), 60), "{answer:#}");
    assert_eq!(told.object["names"]["addresses"].as_array().unwrap().len(), 4);
    assert_eq!(told.object["names"]["passed_over"], 56);
}

#[test]
fn another_resolv_conf_can_be_named() {
    let lab = Lab::new();
    let _names = lab.client.resolve_by(&[""; 0], "203.0.113.2 web.example\n");
    let told = diagnose(&lab, &["--resolv-conf", "/nonexistent", "web.example:80"]);
    assert!(told.object["names"]["not_asked"].as_str().unwrap().starts_with("cannot read '/nonexistent'"));
}

/// Here nsswitch.conf leaves DNS out. The C library of a static binary would ask it nevertheless.
#[test]
fn applications_get_what_nsswitch_allows() {
    let lab = Lab::new();
    let names = lab.client.resolve_by(&[SERVER_V4], "203.0.113.3 other.example\n");
    names.look_up_by("files");
    let _server = lab.server.dns_server(SERVER_V4, "203.0.113.2 web.example\n");
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let told = diagnose(&lab, &["web.example:80"]);
    assert_eq!((told.result(), told.findings()), ("reachable", vec!["applications_fail"]), "{:#}", told.object);
    assert!(told.object["names"]["applications"]["addresses"].is_null(), "{:#}", told.object);
    let told = diagnose(&lab, &["other.example:80"]);
    assert_eq!(told.object["names"]["applications"]["addresses"], json!(["203.0.113.3"]), "{:#}", told.object);
}
