//! Attempts that a router translates: one report each, with both addresses. Success is not reported.

use std::{net::SocketAddr, thread, time::Duration};

use serde_json::{Value, json};
use tcptrace_tests::lab::{ConnectOptions, Finished, Lab, SERVER_V4, Tracer};

use crate::PATIENCE;

/// The address that clients use, which is the router's alone.
const SERVICE: [u8; 4] = [192, 0, 2, 10];
/// The service's port, and the backend's ports: one listens, one is closed, one is dropped, one is rejected.
const OPEN: u16 = 8080;
const CLOSED: u16 = 8081;
const DROPPED: u16 = 8082;
const REJECTED: u16 = 8083;

/// A way to translate, as nftables has it; whether the destination is, and the source.
struct Setup {
    name: &'static str,
    rules: &'static str,
    is_destination: bool,
    is_source: bool,
}

const DNAT: &str = "chain pre { type nat hook prerouting priority -100; ip daddr 192.0.2.10 dnat to 203.0.113.2; }";
const SNAT: &str = "chain post { type nat hook postrouting priority 100; oifname server0 masquerade; }";
const RANGE: &str = "chain post { type nat hook postrouting priority 100; meta l4proto tcp oifname server0 snat ip to \
                     203.0.113.1:40000-40999; }";
const BOTH: &str = "chain pre { type nat hook prerouting priority -100; ip daddr 192.0.2.10 dnat to 203.0.113.2; }
                    chain post { type nat hook postrouting priority 100; oifname server0 masquerade; }";

const SETUPS: [Setup; 4] = [
    Setup { name: "DNAT", rules: DNAT, is_destination: true, is_source: false },
    Setup { name: "SNAT", rules: SNAT, is_destination: false, is_source: true },
    Setup { name: "a range of ports", rules: RANGE, is_destination: false, is_source: true },
    Setup { name: "both", rules: BOTH, is_destination: true, is_source: true },
];

/// One attempt that works and four that fail in different ways, behind a translation.
fn play(lab: &Lab, to: impl Fn(u16) -> SocketAddr) -> Finished {
    let _listener = lab.server.listen((SERVER_V4, OPEN).into());
    let _rules = [("drop", DROPPED), ("reject with icmp admin-prohibited", REJECTED)]
        .map(|(verb, port)| lab.server.filter("input", &format!("tcp dport {port} {verb}")));
    let tracer = Tracer::start(&lab.router, ["-i", "client0", "-i", "server0", "--local", "own", "--json"]);
    lab.client.connect(to(OPEN), PATIENCE).expect("the backend listens");
    let connecting = |port| lab.client.start_connect(to(port), ConnectOptions::default()).expect("a socket is made");
    let waiting = connecting(DROPPED);
    for port in [CLOSED, REJECTED] {
        assert!(connecting(port).finish(PATIENCE).is_err(), "port {port}");
    }
    // Until the silent one is a stall.
    thread::sleep(Duration::from_secs(4));
    drop(waiting);
    tracer.stop()
}

#[test]
fn each_failure_is_one_report_with_both_addresses() {
    for setup in SETUPS {
        let lab = Lab::new();
        lab.client.ip("route add 192.0.2.10 via 198.51.100.1");
        let _nat = lab.router.nft(setup.rules);
        let asked = if setup.is_destination { SERVICE.into() } else { SERVER_V4 };
        let finished = play(&lab, |port| (asked, port).into());
        let lines = finished.json();
        let attempts: Vec<&Value> = lines.iter().filter(|it| it["type"] == "attempt").collect();
        let ends: Vec<_> = attempts.iter().map(|it| (&it["server"]["port"], &it["outcome"])).collect();
        assert_eq!(ends.len(), 3, "{}: {attempts:#?}", setup.name);
        for it in attempts {
            let port = &it["server"]["port"];
            assert_eq!((&it["client"]["ip"], &it["server"]["ip"]), (&json!("198.51.100.2"), &json!(asked)), "{it:#}");
            let translated = &it["translated"];
            assert_eq!(translated["server"], json!({ "ip": "203.0.113.2", "port": port }), "{}: {it:#}", setup.name);
            let client = if setup.is_source { "203.0.113.1" } else { "198.51.100.2" };
            assert_eq!(translated["client"]["ip"], client, "{}: {it:#}", setup.name);
        }
        let stalls = lines.iter().filter(|it| it["type"] == "stall").count();
        assert_eq!(stalls, 1, "{}: {lines:#?}", setup.name);
        assert_eq!(lines.last().expect("a summary")["incidents"]["begun"], 3, "{}", setup.name);
    }
}

/// The client reaches a service of its own network by the router's address, and the router sends it back there.
#[test]
fn hairpin() {
    let lab = Lab::new();
    lab.client.ip("addr add 198.51.100.3/24 dev eth0\nroute add 192.0.2.10 via 198.51.100.1");
    lab.router.ip("neigh replace 198.51.100.3 lladdr 02:00:00:00:01:02 dev client0 nud permanent");
    let _nat = lab.router.nft(
        "chain pre { type nat hook prerouting priority -100; ip daddr 192.0.2.10 dnat to 198.51.100.3; }
         chain post { type nat hook postrouting priority 100; oifname client0 masquerade; }",
    );
    let tracer = Tracer::start(&lab.router, ["-i", "client0", "--local", "own", "--json"]);
    for port in [CLOSED, DROPPED] {
        assert!(lab.client.connect((SERVICE, port).into(), PATIENCE).is_err(), "nobody listens on {port}");
    }
    let lines = tracer.stop().json();
    let attempts: Vec<_> = lines.iter().filter(|it| it["type"] == "attempt").collect();
    assert_eq!(attempts.len(), 2, "{attempts:#?}");
    for it in attempts {
        assert_eq!((&it["outcome"], &it["server"]["ip"]), (&json!("refused"), &json!("192.0.2.10")), "{it:#}");
        assert_eq!(it["translated"]["server"]["ip"], "198.51.100.3");
        assert_eq!(it["translated"]["client"]["ip"], "198.51.100.1");
    }
}

/// Text names both in the order in which the SYN passed them.
#[test]
fn text_has_both_addresses() {
    let lab = Lab::new();
    lab.client.ip("route add 192.0.2.10 via 198.51.100.1");
    let _nat = lab.router.nft(DNAT);
    let tracer = Tracer::start(&lab.router, ["-i", "client0", "-i", "server0", "--local", "own"]);
    assert!(lab.client.connect((SERVICE, CLOSED).into(), PATIENCE).is_err(), "nobody listens");
    let text = tracer.stop().lines.join("\n");
    assert!(text.contains(" → 192.0.2.10:8081 → 203.0.113.2:8081"), "{text}");
    assert_eq!(text.matches("refused").count(), 1, "{text}");
}

/// The half that the filter asks for is reported, though another half came first.
#[test]
fn a_filter_chooses_the_half() {
    let lab = Lab::new();
    lab.client.ip("route add 192.0.2.10 via 198.51.100.1");
    let _nat = lab.router.nft(DNAT);
    // The kernel tests the first; the second is tested here.
    for filter in ["dst host 203.0.113.2", "not ( dst host 192.0.2.10 or dst host 192.0.2.11 or dst portrange 1-2 )"] {
        let args = ["-i", "client0", "-i", "server0", "--local", "own", "--json"];
        let tracer = Tracer::start(&lab.router, args.into_iter().chain(filter.split(' ')));
        assert!(lab.client.connect((SERVICE, CLOSED).into(), PATIENCE).is_err(), "nobody listens");
        let lines = tracer.stop().json();
        let attempts: Vec<_> = lines.iter().filter(|it| it["type"] == "attempt").collect();
        assert_eq!(attempts.len(), 1, "{filter}: {lines:#?}");
        assert_eq!(attempts[0]["server"]["ip"], "203.0.113.2", "{filter}");
    }
}
