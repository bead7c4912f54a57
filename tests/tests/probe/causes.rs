//! Each cause, made for real, over IPv4 and IPv6.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use tcptrace_tests::lab::{
    ABSENT_V4, ABSENT_V6, CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6, CLIENT_V4, CLIENT_V6, Lab, SERVER_V4,
};

use crate::told::{BOTH, PATIENCE, Told, diagnose, give_up_soon, target};

const PORT: u16 = 6036;

fn gateway(of: IpAddr) -> IpAddr {
    if of.is_ipv4() { CLIENT_GATEWAY_V4 } else { CLIENT_GATEWAY_V6 }
}

/// A port that opens beside the one in question.
fn with_web(lab: &Lab, ip: IpAddr) -> tcptrace_tests::lab::Listener {
    let web = lab.server.listen((ip, 80).into());
    lab.client.connect((ip, 80).into(), PATIENCE).unwrap();
    web
}

/// Diagnoses a port, and holds the errno against a socket's.
#[track_caller]
fn failed(lab: &Lab, ip: IpAddr) -> Told {
    let to = SocketAddr::new(ip, PORT);
    let told = diagnose(lab, &[&target(ip, PORT)]);
    assert_eq!((told.result(), told.code), ("unreachable", Some(3)), "{:#}", told.object);
    told.agrees(lab, to);
    told
}

/// What the walks found: where each ended, and after how many hops that spoke.
fn walks(told: &Told) -> Vec<(&str, usize)> {
    let walks = told.object["addresses"][0]["walks"].as_array().unwrap();
    walks.iter().map(|it| (it["end"].as_str().unwrap(), it["hops"].as_array().unwrap().len())).collect()
}

fn evidence(told: &Told) -> String {
    told.object["verdict"]["evidence"].to_string()
}

#[test]
fn an_open_port_is_reachable() {
    let lab = Lab::new();
    for ip in BOTH {
        let _web = with_web(&lab, ip);
        let told = diagnose(&lab, &[&target(ip, 80)]);
        assert_eq!((told.result(), told.code), ("reachable", Some(0)), "{:#}", told.object);
        assert_eq!(told.verdict(), ["-", "-", "-"]);
        let at = &told.object["addresses"][0];
        assert_eq!(at["route"]["gateway"], gateway(ip).to_string());
        assert_eq!(at["route"]["interface"], "eth0");
        assert_eq!(at["route"]["source"]["flags"][0], "permanent");
        assert_eq!(at["neighbour"]["state"], "fixed");
        assert_eq!((at["ping"]["replies_s"].as_array().unwrap().len(), &at["ping"]["ttl"]), (3, &Value::from(63)));
        assert_eq!(
            (at["path_mtu"]["result"].as_str(), at["path_mtu"]["octets"].as_u64()),
            (Some("passes"), Some(1500))
        );
        let connect = &at["connects"][0];
        let mss = if ip.is_ipv4() { 1460 } else { 1440 };
        assert_eq!((&connect["result"], &connect["retries"]), (&Value::from("open"), &Value::from(0)));
        assert_eq!(connect["agreed"]["window_scale"], 7);
        assert_eq!(connect["wire"]["syns"], 1);
        assert_eq!(connect["wire"]["offered"]["mss"], mss);
        assert_eq!(connect["wire"]["answer"]["options"]["mss"], mss);
        assert_eq!(
            (&connect["wire"]["answer"]["flags"], &connect["wire"]["answer"]["ttl"]),
            (&"SYN/ACK".into(), &63.into())
        );
        assert!(at["walks"].as_array().unwrap().is_empty(), "what works is not walked to");
    }
}

#[test]
fn port_closed_by_a_rst_like_the_hosts_others() {
    let lab = Lab::new();
    for ip in BOTH {
        let _web = with_web(&lab, ip);
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["port_closed", "possible", "port"], "{:#}", told.object);
        assert!(evidence(&told).contains("the host's SYN/ACKs have TTL 63 too"), "{}", evidence(&told));
        assert_eq!(walks(&told), [("reset", 1), ("answered", 1)]);
    }
}

#[test]
fn port_closed_where_nothing_else_is_open() {
    let lab = Lab::new();
    for ip in BOTH {
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["port_closed", "possible", "host"], "{:#}", told.object);
    }
}

#[test]
fn firewall_drop_at_a_router_names_the_last_hop() {
    let lab = Lab::new();
    give_up_soon(&lab);
    let _rule = lab.router.filter("forward", &format!("tcp dport {PORT} drop"));
    for ip in BOTH {
        let _web = with_web(&lab, ip);
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["firewall_drop", "likely", "port"], "{:#}", told.object);
        assert_eq!(told.object["verdict"]["by"], gateway(ip).to_string());
        assert_eq!(walks(&told), [("dies", 1), ("answered", 1)]);
        assert!(evidence(&told).contains("the answer of port 80 comes from hop 2"), "{}", evidence(&told));
    }
}

#[test]
fn firewall_drop_of_everything_but_echo_is_of_the_host() {
    let lab = Lab::new();
    give_up_soon(&lab);
    let _rule = lab.server.filter("input", "meta l4proto tcp drop");
    for ip in BOTH {
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["firewall_drop", "likely", "host"], "{:#}", told.object);
        assert_eq!(walks(&told), [("dies", 1), ("answered", 1)]);
    }
}

#[test]
fn firewall_reject_by_a_rst_that_is_not_the_hosts() {
    let lab = Lab::new();
    let _rule = lab.router.filter("forward", &format!("tcp dport {PORT} reject with tcp reset"));
    for ip in BOTH {
        let _web = with_web(&lab, ip);
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["firewall_reject", "possible", "port"], "{:#}", told.object);
        assert!(evidence(&told).contains("TTL"), "{}", evidence(&told));
    }
}

#[test]
fn firewall_reject_by_icmp_names_the_sender() {
    let lab = Lab::new();
    for (kind, reason, confidence) in
        [("admin-prohibited", "admin-prohibited", "certain"), ("port-unreachable", "port-unreach", "likely")]
    {
        let _rule = lab.router.filter("forward", &format!("tcp dport {PORT} reject with icmpx {kind}"));
        for ip in BOTH {
            let _web = with_web(&lab, ip);
            let told = failed(&lab, ip);
            assert_eq!(told.verdict(), ["firewall_reject", confidence, "port"], "{:#}", told.object);
            assert_eq!(told.object["verdict"]["by"], gateway(ip).to_string());
            let connect = &told.object["addresses"][0]["connects"][0];
            assert_eq!(connect["icmp"]["reason"], reason);
            assert_eq!(walks(&told), [("rejected", 1)]);
        }
    }
}

#[test]
fn host_down_says_the_last_router() {
    let lab = Lab::new();
    for ip in [ABSENT_V4, ABSENT_V6] {
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["host_down", "likely", "host"], "{:#}", told.object);
        assert_eq!(told.object["verdict"]["by"], gateway(ip).to_string());
    }
}

/// A rule says at once what a look-up takes seconds to find out.
#[test]
fn host_unreachable_by_a_rule_is_no_absent_host() {
    let lab = Lab::new();
    let reject = |what: &str| format!("{what} reject with icmp type host-unreachable");
    let of_a_port = reject(&format!("tcp dport {PORT}"));
    for (by, hook) in [(&lab.router, "forward"), (&lab.server, "input")] {
        let _rule = by.filter(hook, &of_a_port);
        let _web = with_web(&lab, BOTH[0]);
        let told = failed(&lab, BOTH[0]);
        assert_eq!(told.verdict(), ["firewall_reject", "likely", "port"], "{:#}", told.object);
        assert!(evidence(&told).contains("it came after"), "{}", evidence(&told));
    }
    // A whole address: nothing of it is known, and nobody can have looked for it so soon.
    let _rule = lab.router.filter("forward", &reject(&format!("ip daddr {ABSENT_V4}")));
    let told = failed(&lab, ABSENT_V4);
    assert_eq!(told.verdict(), ["firewall_reject", "possible", "host"], "{:#}", told.object);
}

#[test]
fn host_down_where_nothing_answers_is_a_guess() {
    let lab = Lab::new();
    give_up_soon(&lab);
    let _rule = lab.server.filter("input", "meta l4proto { tcp, icmp, icmpv6 } drop");
    for ip in BOTH {
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["host_down", "possible", "host"], "{:#}", told.object);
        assert_eq!(told.object["verdict"]["by"], gateway(ip).to_string());
    }
}

#[test]
fn network_unreachable_says_the_router_without_a_way() {
    let lab = Lab::new();
    for ip in ["192.0.2.1", "2001:db8:99::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["network_unreachable", "likely", "network"], "{:#}", told.object);
        assert_eq!(told.object["verdict"]["by"], gateway(ip).to_string());
    }
}

#[test]
fn no_route_by_routing() {
    let lab = Lab::new();
    lab.client.ip(
        "route add prohibit 192.0.2.0/28\nroute add blackhole 192.0.2.16/28\nroute add unreachable 192.0.2.32/28\n\
         route add throw 192.0.2.48/28\nroute del default\nroute add prohibit 2001:db8:98::/64\nroute del default via 2001:db8:1::1",
    );
    for (ip, reason) in [
        ("192.0.2.1", "prohibit"),
        ("192.0.2.17", "blackhole"),
        ("192.0.2.33", "unreachable"),
        ("192.0.2.49", "no route"),
        ("203.0.113.2", "no route"),
        ("2001:db8:98::1", "prohibit"),
        ("2001:db8:97::1", "no route"),
    ] {
        let told = failed(&lab, ip.parse().unwrap());
        assert_eq!(told.verdict(), ["no_route", "certain", "network"], "{:#}", told.object);
        assert!(evidence(&told).contains(reason), "{ip}: {}", evidence(&told));
    }
}

#[test]
fn kept_by_an_output_rule() {
    let lab = Lab::new();
    give_up_soon(&lab);
    for (rule, cause, confidence) in [
        ("drop", "dropped_by_local_firewall", "likely"),
        ("reject with tcp reset", "firewall_reject", "likely"),
        ("reject with icmpx admin-prohibited", "firewall_reject", "certain"),
    ] {
        let _rule = lab.client.filter("output", &format!("tcp dport {PORT} {rule}"));
        for ip in BOTH {
            let _web = with_web(&lab, ip);
            let told = failed(&lab, ip);
            assert_eq!(told.verdict(), [cause, confidence, "port"], "{rule}: {:#}", told.object);
            assert_eq!(told.object["addresses"][0]["connects"][0]["wire"]["syns"], 0, "{rule}");
        }
    }
}

#[test]
fn no_route_by_a_link_that_is_down() {
    let lab = Lab::new();
    lab.router.ip("link set client0 down");
    for ip in BOTH {
        let told = diagnose(&lab, &[&target(ip, PORT)]);
        assert_eq!(told.verdict(), ["no_route", "certain", "everything"], "{:#}", told.object);
        assert!(evidence(&told).contains("no carrier"), "{}", evidence(&told));
    }
}

#[test]
fn gateway_down_by_a_gateway_that_is_gone() {
    let lab = Lab::new();
    lab.client.ip(
        "route replace default via 198.51.100.77\nroute del default via 2001:db8:1::1\nroute add default via 2001:db8:1::77",
    );
    for ip in BOTH {
        let told = failed(&lab, ip);
        assert_eq!(told.verdict(), ["gateway_down", "certain", "everything"], "{:#}", told.object);
        assert_eq!(told.object["addresses"][0]["neighbour"]["state"], "failed");
    }
}

#[test]
fn a_path_that_swallows_large_packets_is_noticed() {
    let lab = Lab::new();
    let _web = with_web(&lab, BOTH[0]);
    let _hole = lab.router.filter("forward", "meta length > 1420 drop");
    let told = diagnose(&lab, &[&target(BOTH[0], 80)]);
    assert_eq!(told.result(), "reachable");
    let mtu = &told.object["addresses"][0]["path_mtu"];
    assert_eq!((mtu["result"].as_str(), mtu["octets"].as_u64()), (Some("black_hole"), Some(1420)));
    assert!(told.object["verdict"]["notes"].to_string().contains("get lost silently"));
}

#[test]
fn a_narrower_path_that_says_so_is_no_fault() {
    let lab = Lab::new();
    lab.router.ip("link set server0 mtu 1400");
    for ip in BOTH {
        let _web = with_web(&lab, ip);
        let told = diagnose(&lab, &[&target(ip, 80)]);
        let mtu = &told.object["addresses"][0]["path_mtu"];
        assert_eq!((mtu["result"].as_str(), mtu["octets"].as_u64()), (Some("smaller"), Some(1400)), "{mtu:#}");
        assert_eq!(mtu["by"], gateway(ip).to_string());
        assert!(told.object["verdict"]["notes"].as_array().unwrap().is_empty());
    }
}

/// Where the address is this host's own, its listeners are evidence; rules of its own could look the same.
#[test]
fn the_listeners_of_this_host_are_read() {
    let lab = Lab::new();
    lab.client.ip("link set lo up");
    give_up_soon(&lab);
    for ip in [CLIENT_V4, CLIENT_V6] {
        let told = failed(&lab, ip);
        assert_eq!(told.verdict()[..2], ["port_closed", "possible"], "{:#}", told.object);
        assert!(evidence(&told).contains("nobody listens on port 6036 of "), "{}", evidence(&told));

        let to = SocketAddr::new(ip, PORT);
        let _idle = lab.client.listen_without_accept(to, 0);
        let _waiting = lab.client.connect(to, PATIENCE).expect("one may wait");
        let told = failed(&lab, ip);
        assert_eq!(told.verdict()[..2], ["listen_queue_full", "likely"], "{:#}", told.object);
        assert!(evidence(&told).contains("the accept queue is full"), "{}", evidence(&told));
    }
}

/// A SYN that this host's own rule translates leaves with another address. The refusal is the other host's.
#[test]
fn a_translated_syn_is_not_certain_to_be_kept() {
    let lab = Lab::new();
    give_up_soon(&lab);
    let rules = format!("chain nat {{ type nat hook output priority -100; tcp dport {PORT} dnat ip to {SERVER_V4}; }}");
    let _table = lab.client.nft(&rules);
    let told = failed(&lab, ABSENT_V4);
    assert_eq!(told.verdict()[..2], ["firewall_reject", "likely"], "{:#}", told.object);
    assert!(evidence(&told).contains("redirect"), "{}", evidence(&told));
}
