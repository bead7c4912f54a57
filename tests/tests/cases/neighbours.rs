//! Neighbours that are two, and gateways that are not heard: what a host sees of them while it traces.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use serde_json::Value;
use tcptrace_tests::{
    contract,
    lab::{
        CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6, EXTRA_MAC, Lab, SERVER_GATEWAY_V4, SERVER_V4, SERVER_V6, Tracer, mac_text,
    },
};

const PATIENCE: Duration = Duration::from_secs(30);
const WEB: u16 = 80;

/// The lines when all is over, and the summary.
fn end(tracer: Tracer) -> (Vec<Value>, Value) {
    let mut lines = tracer.stop().json();
    lines.iter().for_each(contract::hold);
    let summary = lines.pop().expect("a summary");
    (lines, summary)
}

/// The client's address is used by a second machine, which resets the answers: no check of the port, however often.
#[test]
fn a_client_whose_address_is_used_twice_makes_no_checks() {
    let lab = Lab::new();
    let _web = lab.router.listen((SERVER_GATEWAY_V4, WEB).into());
    let web: SocketAddr = (SERVER_GATEWAY_V4, WEB).into();
    lab.router_learns_neighbours(SERVER_V4);
    let tracer = Tracer::start(&lab.router, ["-i", "server0", "--json"]);
    let extra = lab.extra_host(SERVER_V4);
    for port in 47_001..47_005 {
        extra.ns.connect((SERVER_GATEWAY_V4, 9).into(), PATIENCE).expect_err("it asks by ARP, and is refused");
        let shown = lab.router.ip(&format!("neigh show {SERVER_V4}"));
        assert!(shown.contains(&mac_text(EXTRA_MAC)), "{shown}");
        lab.server.connect_from(port, web, Duration::from_millis(400)).expect_err("the other machine gets the answers");
    }
    tracer.wait_for_line(|line| line["client"]["port"] == 47_004, PATIENCE);
    let (lines, _) = end(tracer);
    let failed: Vec<_> = lines.iter().filter(|it| it["client"]["port"].as_u64() > Some(47_000)).collect();
    let failed: Vec<_> = failed.into_iter().filter(|it| it["server"]["port"] == WEB).collect();
    assert_eq!(failed.len(), 4, "{lines:#?}");
    for it in failed {
        let said = (&it["outcome"], &it["cause"]["name"], &it["cause"]["confidence"]);
        assert_eq!(said, (&"aborted".into(), &"duplicate_ip".into(), &"likely".into()), "{it:#}");
    }
}

/// A gateway is not heard, and neither is the kernel's own error: the caller waits for nine seconds and gives up.
#[test]
fn a_call_that_nobody_ended_is_reported() {
    for to in [SocketAddr::from((SERVER_V4, 7011)), (SERVER_V6, 7012).into()] {
        let lab = Lab::new();
        for family in ["arp", "ip", "ip6"] {
            let what = match family {
                "arp" => "arp operation reply drop",
                "ip" => "ip protocol icmp drop",
                _ => "meta l4proto ipv6-icmp drop",
            };
            let chain = "{ type filter hook input priority 0; }";
            lab.client.run(["nft", &format!("add table {family} deaf")]);
            lab.client.run(["nft", &format!("add chain {family} deaf in {chain}; add rule {family} deaf in {what}")]);
        }
        let gateway = if to.is_ipv4() { CLIENT_GATEWAY_V4 } else { CLIENT_GATEWAY_V6 };
        lab.client.ip(&format!("neigh del {gateway} dev eth0"));
        let tracer = Tracer::start(&lab.client, ["-i", "eth0", "--json", "--local", "own"]);
        let error = lab.client.connect(to, Duration::from_secs(9)).expect_err("nobody is heard");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "it had no errno");
        let line = tracer.wait_for_line(|line| line["server"]["port"] == to.port(), PATIENCE);
        assert_eq!((&line["type"], &line["cause"]["name"]), (&"connect".into(), &"gateway_down".into()), "{line:#}");
        assert_ne!(line["cause"]["confidence"], "certain", "a rule of this host keeps its answers: {line:#}");
        assert!(!line.to_string().contains("SYNs left this host"), "none was seen: {line:#}");
        end(tracer);
    }
}
