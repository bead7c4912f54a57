//! Attempts that a router translates: one report each, with both addresses. Success is not reported.

use std::{
    net::{IpAddr, Ipv4Addr},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tcptrace_tests::lab::{
    CLIENT_MAC, CLIENT_V4, ConnectOptions, Lab, Ns, OnAccept, SERVER_MAC, SERVER_V4, Tracer, mac_text,
};

use crate::PATIENCE;

/// The address that clients use, which is the router's alone.
const SERVICE: [u8; 4] = [192, 0, 2, 10];
/// The service's port, and the backend's ports: one listens, one is closed, one is dropped, one is rejected, and one
/// accepts and resets.
const OPEN: u16 = 8080;
const CLOSED: u16 = 8081;
const DROPPED: u16 = 8082;
const REJECTED: u16 = 8083;
const RESETS: u16 = 8084;

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

/// Plays one attempt that works and four that fail in different ways, and holds that each failure is one report, from
/// the client's address to the `asked` one, and translated to a backend by a client's address.
#[track_caller]
fn assert_one_report_each(
    lab: &Lab,
    name: &str,
    interfaces: &[&str],
    asked: IpAddr,
    translated: (&str, (&Ns, IpAddr)),
) {
    let (client, (host, backend)) = translated;
    let _open = host.listen((backend, OPEN).into());
    let _resets = host.listen_and((backend, RESETS).into(), OnAccept::Reset);
    let _rules = [("drop", DROPPED), ("reject with icmp admin-prohibited", REJECTED)]
        .map(|(verb, port)| host.filter("input", &format!("tcp dport {port} {verb}")));
    let points = interfaces.iter().flat_map(|it| ["-i", it]);
    let tracer = Tracer::start(&lab.router, points.chain(["--local", "own", "--json"]));
    let connecting =
        |port| lab.client.start_connect((asked, port).into(), ConnectOptions::default()).expect("a socket is made");
    let open = connecting(OPEN).finish(PATIENCE).expect("the backend listens");
    let waiting = connecting(DROPPED);
    for port in [CLOSED, REJECTED] {
        assert!(connecting(port).finish(PATIENCE).is_err(), "{name}: port {port}");
    }
    // Its connect may still fail or not.
    let reset = connecting(RESETS).finish(PATIENCE);
    // Until the silent one is a stall.
    thread::sleep(Duration::from_secs(4));
    drop((open, reset, waiting));
    let lines = tracer.stop().json();
    let attempts: Vec<&Value> = lines.iter().filter(|it| it["type"] == "attempt").collect();
    let mut ends: Vec<_> = attempts.iter().map(|it| (it["server"]["port"].as_u64(), it["outcome"].as_str())).collect();
    ends.sort_unstable();
    let expected = [(CLOSED, "refused"), (DROPPED, "no_reply"), (REJECTED, "unreachable"), (RESETS, "reset_by_server")];
    let expected = expected.map(|(port, outcome)| (Some(port.into()), Some(outcome)));
    assert_eq!(ends, expected, "{name}: {attempts:#?}");
    for it in attempts {
        assert_eq!((&it["client"]["ip"], &it["server"]["ip"]), (&json!(CLIENT_V4), &json!(asked)), "{name}: {it:#}");
        let server = json!({ "ip": backend, "port": it["server"]["port"] });
        assert_eq!(it["translated"]["server"], server, "{name}: {it:#}");
        assert_eq!(it["translated"]["client"]["ip"], client, "{name}: {it:#}");
    }
    let stalls = lines.iter().filter(|it| it["type"] == "stall").count();
    assert_eq!(stalls, 1, "{name}: {lines:#?}");
    assert_eq!(lines.last().expect("a summary")["incidents"]["begun"], 4, "{name}");
}

#[test]
fn each_failure_is_one_report_with_both_addresses() {
    for Setup { name, rules, is_destination, is_source } in SETUPS {
        let lab = Lab::new();
        lab.client.ip("route add 192.0.2.10 via 198.51.100.1");
        let _nat = lab.router.nft(rules);
        let asked = if is_destination { SERVICE.into() } else { SERVER_V4 };
        let client = if is_source { "203.0.113.1" } else { "198.51.100.2" };
        assert_one_report_each(&lab, name, &["client0", "server0"], asked, (client, (&lab.server, SERVER_V4)));
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
    let backend = (&lab.client, Ipv4Addr::new(198, 51, 100, 3).into());
    assert_one_report_each(&lab, "hairpin", &["client0"], SERVICE.into(), ("198.51.100.1", backend));
}

/// Client and backend are in one network, on two ports of a bridge that gives what it forwards to netfilter
/// (br_netfilter). The service has an address of that network.
#[test]
fn a_bridge() {
    let lab = Lab::new();
    let (service, backend) = (Ipv4Addr::new(198, 51, 100, 10), Ipv4Addr::new(198, 51, 100, 20));
    lab.router.ip(&format!(
        "link add br0 type bridge
        addr flush dev client0
        link set client0 master br0
        link set server0 master br0
        link set br0 addrgenmode none up
        addr add 198.51.100.1/24 dev br0
        neigh replace 198.51.100.2 lladdr {} dev br0 nud permanent
        neigh replace {backend} lladdr {} dev br0 nud permanent",
        mac_text(CLIENT_MAC),
        mac_text(SERVER_MAC)
    ));
    lab.router.sysctl("net.bridge.bridge-nf-call-iptables", "1");
    lab.client.ip(&format!("neigh replace {service} lladdr {} dev eth0 nud permanent", mac_text(SERVER_MAC)));
    lab.server.ip(&format!(
        "addr add {backend}/24 dev eth0
        neigh replace 198.51.100.2 lladdr {} dev eth0 nud permanent",
        mac_text(CLIENT_MAC)
    ));
    let rule = format!("ip daddr {service} dnat to {backend}");
    let _nat = lab.router.nft(&format!("chain pre {{ type nat hook prerouting priority -100; {rule}; }}"));
    let backend = (&lab.server, backend.into());
    assert_one_report_each(&lab, "bridge", &["client0", "server0"], service.into(), ("198.51.100.2", backend));
}

/// Where only one half is traced, connection tracking knows the other: of a server that does not answer, and of one that
/// rejects. A flow that is tracked and not translated has no other half.
#[test]
fn the_half_that_is_not_traced() {
    const STRAIGHT: u16 = 42_000;
    let lab = Lab::new();
    lab.client.ip("route add 192.0.2.10 via 198.51.100.1");
    let _nat = lab.router.nft(DNAT);
    let _rules = [("drop", DROPPED), ("reject with icmp admin-prohibited", REJECTED)]
        .map(|(verb, port)| lab.server.filter("input", &format!("tcp dport {port} {verb}")));
    for (interface, seen, other) in [("client0", "192.0.2.10", "203.0.113.2"), ("server0", "203.0.113.2", "192.0.2.10")]
    {
        let tracer = Tracer::start(&lab.router, ["-i", interface, "--local", "own", "--json"]);
        let connect = |to: IpAddr, port: u16, from: u16| {
            let options = ConnectOptions { from_port: Some(from), ..ConnectOptions::default() };
            lab.client.start_connect((to, port).into(), options).expect("a socket is made")
        };
        let waiting = [(SERVICE.into(), 41_000), (SERVER_V4, STRAIGHT)].map(|(to, from)| {
            assert!(connect(to, REJECTED, from + 1).finish(PATIENCE).is_err());
            connect(to, DROPPED, from)
        });
        thread::sleep(Duration::from_secs(4));
        drop(waiting);
        let mut lines = tracer.stop().json();
        lines.pop();
        assert_eq!(lines.len(), 6, "a rejection, a stall and its end, each twice: {lines:#?}");
        for it in lines {
            let is_straight = it["client"]["port"].as_u64().is_some_and(|it| it >= STRAIGHT.into());
            let translated = it.get("translated").filter(|it| it.is_object()).map(|it| &it["server"]["ip"]);
            if is_straight {
                assert_eq!((&it["server"]["ip"], translated), (&json!("203.0.113.2"), None), "{interface}: {it:#}");
            } else {
                assert_eq!(
                    (&it["server"]["ip"], translated),
                    (&json!(seen), Some(&json!(other))),
                    "{interface}: {it:#}"
                );
            }
        }
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
    // The filter asks for the second half, so that only connection tracking knows the first.
    let _rule = lab.server.filter("input", &format!("tcp dport {REJECTED} reject with icmp admin-prohibited"));
    let args = ["-i", "client0", "-i", "server0", "--local", "own", "dst", "host", "203.0.113.2"];
    let tracer = Tracer::start(&lab.router, args);
    assert!(lab.client.connect((SERVICE, REJECTED).into(), PATIENCE).is_err(), "it is rejected");
    let text = tracer.stop().lines.join("\n");
    assert!(text.contains(" → 192.0.2.10:8083 → 203.0.113.2:8083"), "{text}");
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
