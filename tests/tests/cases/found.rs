//! What one reader found who knew only the documents and made 111 captures: what was said of these was false or missing.
//! docs/hostile-reading.md has all of it. Each row says what may not be said, and what has to be.

use std::path::Path;

use serde_json::Value;
use tcptrace_tests::pcap::{self, Read};

fn read(name: &str) -> Read {
    pcap::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("cases/found/{name}.pcap")), &[])
}

/// The causes that are said with more than `possible`.
fn said(read: &Read) -> Vec<String> {
    let sure = read.attempts().map(|it| &it["cause"]).filter(|it| it["confidence"] != "possible");
    sure.filter_map(|it| it["name"].as_str()).map(str::to_owned).collect()
}

fn words(line: &Value) -> String {
    format!("{} {}", line["cause"]["evidence"], line["cause"]["next"])
}

/// What is false there is not said with any confidence.
#[test]
fn what_is_false_is_not_said() {
    let rows: [(&str, &[&str], &str); 11] = [
        ("dnat-on-the-way-in-served", &["nat_mismatch"], "the client is served: it got the answer translated"),
        ("dnat-on-the-way-in-open", &["nat_mismatch"], "the same, and it goes on"),
        ("answer-prohibited-by-router", &["client_vanished"], "a router on the way back rejects the SYN/ACK"),
        ("answer-loops", &["client_vanished"], "a loop on the way back"),
        ("answer-prohibited-by-client", &["client_vanished"], "the client's own rule rejects the SYN/ACK"),
        ("tcptraceroute", &["network_unreachable"], "SYNs that are meant to expire"),
        ("reassembly-exceeded", &["network_unreachable"], "a fragment is missing; the server itself says so"),
        ("port-forwarded-farther", &["firewall_reject"], "the port is forwarded, and closed behind the host"),
        ("rst-behind-syn-proxy", &["middlebox_reset"], "a proxy answered the SYN; the RST is the server's own"),
        ("rst-of-another-anycast-host", &["middlebox_reset"], "the ACK reached another host of the address"),
        ("beyond-scope", &["network_unreachable"], "the source address is not valid beyond its site"),
    ];
    for (name, wrong, truth) in rows {
        let said = said(&read(name));
        assert!(said.iter().all(|it| !wrong.contains(&it.as_str())), "{name}: {truth}; {said:?}");
    }
}

/// A backend that is dead or rejects is reported, however well its twin does.
#[test]
fn a_dead_twin_is_no_lost_race() {
    let prohibited = read("proxy-one-backend-prohibited");
    assert_eq!(prohibited.attempts().count(), 9, "{:#}", prohibited.summary);
    assert!(prohibited.attempts().all(|it| it["cause"]["name"] == "firewall_reject"));
    let silent = read("proxy-one-backend-silent");
    assert_eq!(silent.attempts().count(), 7, "two may be races: {:#}", silent.summary);
    assert_eq!(read("host-unreach-beside-another").attempts().count(), 3);
}

/// One address, two ports: the one that answered is no other address.
#[test]
fn an_answer_from_another_port_names_the_port() {
    let read = read("answer-from-another-port");
    let it = read.attempts().find(|it| it["cause"]["name"] == "nat_mismatch").expect("it is one");
    assert!(words(it).contains("another port of it acknowledged it"), "{}", words(it));
}

/// An error of no known meaning is evidence, with its sender.
#[test]
fn an_error_is_named_with_its_sender() {
    let read = read("every-icmp-code");
    for it in read.attempts().filter(|it| it["cause"]["name"] == "unknown" && it["outcome"] == "unreachable") {
        let from = it["icmp"]["from"].as_str().expect("a sender");
        assert!(words(it).contains(from), "{it:#}");
    }
}
