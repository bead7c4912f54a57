//! connect(2) itself: calls that fail without a packet, why, with which errno, and how soon that is reported.
//!
//! `ports-used-up.sh`, `live-late-route.sh`, `live-not-sent-lost-at-end.sh` and `live-local-reject-missed.sh` make the
//! same by hand.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use tcptrace_tests::{
    contract,
    lab::{CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6, Lab, Refusing, SERVER_V4, SERVER_V6, Tracer},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// A second, and what a machine that builds beside it adds. The calls that nothing proves are reported after three.
const SOON: Duration = Duration::from_millis(2500);
const WORKING: u16 = 80;
/// Nobody's (RFC 5737).
const NOWHERE: &str = "192.0.2.9";

fn trace(lab: &Lab) -> Tracer {
    Tracer::start(&lab.client, ["-i", "eth0", "--json", "--local", "own"])
}

fn v4(text: &str, port: u16) -> SocketAddr {
    (text.parse::<IpAddr>().expect("an address"), port).into()
}

/// Gives the tracer the time to hear of a change of the routes: what changes within the same moment proves nothing.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

/// A call that has to fail with this errno, and the line about it, which has to come soon.
#[track_caller]
fn failed(tracer: &Tracer, to: SocketAddr, errno: &str, result: io::Result<TcpStream>) -> Value {
    let returned = Instant::now();
    let error = result.expect_err("it fails");
    let is_it = |line: &Value| line["type"] == "connect" && line["server"]["port"] == to.port();
    let line = tracer.wait_for_line(is_it, PATIENCE);
    let took = returned.elapsed();
    assert!(took < SOON, "{error}: reported after {took:?}: {line:#}");
    assert_eq!((&line["errno"], &line["outcome"]), (&errno.into(), &"not_sent".into()), "{error}: {line:#}");
    line
}

#[track_caller]
fn is(line: &Value, cause: &str, confidence: &str, evidence: &str) {
    let said = &line["cause"];
    assert_eq!((&said["name"], &said["confidence"]), (&cause.into(), &confidence.into()), "{line:#}");
    assert!(said["evidence"].to_string().contains(evidence), "{evidence}: {line:#}");
}

/// The lines of connects when all is over, and the summary.
fn end(tracer: Tracer) -> (Vec<Value>, Value) {
    let mut lines = tracer.stop().json();
    lines.iter().for_each(contract::hold);
    let summary = lines.pop().expect("a summary");
    lines.retain(|it| it["type"] == "connect");
    (lines, summary)
}

/// What routing refuses has the route's own errno; EACCES of a 'prohibit' route is no program's.
#[test]
fn routes_that_refuse_are_known_by_their_errno() {
    let lab = Lab::new();
    let kinds = [("unreachable", 1, "EHOSTUNREACH"), ("prohibit", 2, "EACCES"), ("blackhole", 3, "EINVAL")];
    for (kind, host, _) in kinds {
        lab.client.ip(&format!("route add {kind} 192.0.2.{host}"));
    }
    let tracer = trace(&lab);
    for (kind, host, errno) in kinds {
        let to = v4(&format!("192.0.2.{host}"), 7000 + host);
        let line = failed(&tracer, to, errno, lab.client.connect(to, PATIENCE));
        is(&line, "no_route", "certain", kind);
    }
    assert_eq!(end(tracer).1["causes"]["no_route"], 3);
}

#[test]
fn an_interface_that_is_down_leaves_no_route() {
    let lab = Lab::new();
    let tracer = trace(&lab);
    lab.client.ip("link set eth0 down");
    settle();
    for to in [SocketAddr::from((SERVER_V4, 7004)), (SERVER_V6, 7006).into()] {
        is(&failed(&tracer, to, "ENETUNREACH", lab.client.connect(to, PATIENCE)), "no_route", "certain", "no route");
    }
}

/// Without a lease there is an address of the link alone, or none; with another address that is not why.
#[test]
fn a_missing_address_is_named_beside_the_missing_route() {
    let lab = Lab::new();
    let tracer = trace(&lab);
    let mut port = 7080;
    let mut call = || {
        port += 1;
        let to = v4(NOWHERE, port);
        settle();
        failed(&tracer, to, "ENETUNREACH", lab.client.connect(to, PATIENCE))
    };
    lab.client.ip(&format!("route del default via {CLIENT_GATEWAY_V4}"));
    let line = call();
    is(&line, "no_route", "certain", "this host has no route to it");
    assert!(!line["cause"]["evidence"].to_string().contains("address"), "{line:#}");
    lab.client.ip("addr flush dev eth0");
    is(&call(), "no_route", "certain", "this host has no IPv4 address but the loopback's");
    lab.client.ip("addr add 169.254.7.7/16 dev eth0");
    is(&call(), "no_route", "certain", "this host's only IPv4 address, 169.254.7.7, is link-local: it has no lease");
}

/// The errno is the call's, whatever becomes of the routes; and a route that came later proves nothing.
#[test]
fn a_route_that_changes_after_the_call_changes_no_verdict() {
    let lab = Lab::new();
    let to = SocketAddr::from((SERVER_V4, WORKING));
    let _listener = lab.server.listen(to);
    let tracer = trace(&lab);
    lab.client.sysctl("net.ipv4.ip_local_port_range", "50000 50000");
    let _held = lab.client.connect(to, PATIENCE).expect("there is one");
    let result = lab.client.connect(to, PATIENCE);
    lab.client.ip(&format!("route del default via {CLIENT_GATEWAY_V4}"));
    let line = failed(&tracer, to, "EADDRNOTAVAIL", result);
    is(&line, "no_local_port", "certain", "no local port is left");

    let to = v4(NOWHERE, 7010);
    lab.client.connect(to, PATIENCE).expect_err("there is no route");
    lab.client.ip(&format!("route add default via {CLIENT_GATEWAY_V4}"));
    let line = tracer.wait_for_line(|line| line["server"]["port"] == 7010, PATIENCE);
    let said = (line["cause"]["name"].as_str().unwrap(), line["cause"]["confidence"].as_str().unwrap());
    // Looked at before the route came, or after.
    assert!([("no_route", "likely"), ("no_route", "certain")].contains(&said), "{line:#}");
}

/// A host with both families hears of one all the time; it says nothing of the other's routes.
#[test]
fn routes_of_the_other_family_change_no_verdict() {
    let lab = Lab::new();
    lab.client.ip(&format!("route del default via {CLIENT_GATEWAY_V4}\nroute del default via {CLIENT_GATEWAY_V6}"));
    let tracer = trace(&lab);
    let other = ["192.0.2.0/25", "2001:db8:4::/64"];
    for (port, to) in [(7021, SERVER_V4), (7022, SERVER_V6), (7023, SERVER_V4), (7024, SERVER_V6)] {
        let to = SocketAddr::from((to, port));
        settle();
        let result = lab.client.connect(to, PATIENCE);
        lab.client.ip(&format!("route replace blackhole {}", other[usize::from(to.is_ipv4())]));
        is(&failed(&tracer, to, "ENETUNREACH", result), "no_route", "certain", "this host has no route to it");
    }
}

#[test]
fn a_port_that_is_in_use_towards_the_server_is_named() {
    let lab = Lab::new();
    let to = SocketAddr::from((SERVER_V4, WORKING));
    let _listener = lab.server.listen(to);
    let tracer = trace(&lab);
    let _held = lab.client.connect_from(50_007, to, PATIENCE).expect("it is free");
    let line = failed(&tracer, to, "EADDRNOTAVAIL", lab.client.connect_from(50_007, to, PATIENCE));
    is(&line, "no_local_port", "certain", "its local port 50007 is already in use towards that server");
    assert!(line["cause"]["next"].to_string().contains("sport = :50007"), "{line:#}");
}

/// TCP never asks for SO_BROADCAST, so that this is no EACCES.
#[test]
fn addresses_of_many_are_no_firewall_and_no_lack_of_a_route() {
    let lab = Lab::new();
    let tracer = trace(&lab);
    for (address, port) in [("198.51.100.255", 7020), ("255.255.255.255", 7021), ("224.0.0.9", 7022)] {
        let to = v4(address, port);
        let line = failed(&tracer, to, "ENETUNREACH", lab.client.connect(to, PATIENCE));
        is(&line, "connect_failed", "certain", "is a broadcast or multicast address");
    }
    let to = SocketAddr::from(("ff02::9".parse::<IpAddr>().unwrap(), 7023));
    let line = failed(&tracer, to, "ENETUNREACH", lab.client.connect(to, PATIENCE));
    is(&line, "connect_failed", "certain", "multicast");
}

#[test]
fn a_program_that_refuses_is_known_by_its_own_word() {
    let lab = Lab::new();
    let refusing = Refusing::new("tcptrace-refusing");
    let tracer = trace(&lab);
    // It sees no cgroup2 in its own /sys, and where it is in /proc.
    let waits = "until grep -q tcptrace-refusing /proc/self/cgroup; do sleep 0.05; done";
    let line = format!("{waits}; exec 3<>/dev/tcp/{SERVER_V4}/7030");
    let process = lab.client.spawn(["bash", "-c", &line]);
    refusing.take(process.pid().as_raw());
    let error = process.finish(PATIENCE).stderr;
    assert!(error.contains("Operation not permitted"), "{error}");
    let line = failed(&tracer, v4("0.0.0.0", 7030), "EPERM", Err(io::Error::other(error)));
    is(&line, "connect_failed", "certain", "a BPF program of the caller's cgroup refuses the call");
    assert_eq!(line["process"]["command"], "bash", "{line:#}");
    // The same call outside of that cgroup is refused by the server, and no program.
    lab.client.connect((SERVER_V4, 7030).into(), PATIENCE).expect_err("nobody listens");
    assert_eq!(end(tracer).0.len(), 1);
}

/// By ICMP connect(2) returns after the next SYN, by RST at once; over IPv6 an ICMP error is EACCES.
#[test]
fn rules_that_reject_on_the_way_out_are_reported_every_time() {
    let lab = Lab::new();
    let _rules = lab.client.nft(
        "chain out { type filter hook output priority 0; tcp dport 7040 counter reject;\n\
         tcp dport 7041 counter reject with tcp reset;\n\
         tcp dport 7042 counter reject with icmpx admin-prohibited; }",
    );
    let tracer = trace(&lab);
    for (server, port, errno) in [
        (SERVER_V4, 7040, "ECONNREFUSED"),
        (SERVER_V4, 7041, "ECONNREFUSED"),
        (SERVER_V4, 7042, "EHOSTUNREACH"),
        (SERVER_V6, 7042, "EACCES"),
    ] {
        let to = SocketAddr::from((server, port));
        let result = lab.client.connect(to, PATIENCE);
        let returned = Instant::now();
        let error = result.expect_err("it is rejected");
        let is_it = |line: &Value| line["server"]["ip"] == server.to_string() && line["server"]["port"] == port;
        let line = tracer.wait_for_line(is_it, PATIENCE);
        assert!(returned.elapsed() < SOON, "{error}: {line:#}");
        assert_eq!((&line["type"], &line["errno"]), (&"connect".into(), &errno.into()), "{error}: {line:#}");
        is(&line, "firewall_reject", "certain", "NETFILTER_DROP");
        // By its handle, where the rule could be read.
        let next = line["cause"]["next"][0].to_string();
        assert!(next.contains("which rule rejects") || next.contains("handle"), "{line:#}");
    }
    assert_eq!(end(tracer).1["causes"]["firewall_reject"], 4);
}

/// A rule that only drops leaves the call to its timeout: no errno, and nobody rejected it.
#[test]
fn a_rule_that_drops_does_not_reject() {
    let lab = Lab::new();
    let _rule = lab.client.filter("output", "tcp dport 7050 counter drop");
    let tracer = trace(&lab);
    lab.client.connect((SERVER_V4, 7050).into(), Duration::from_millis(300)).expect_err("the SYN is dropped");
    let line = tracer.wait_for_line(|line| line["server"]["port"] == 7050, PATIENCE);
    is(&line, "dropped_by_local_firewall", "certain", "NETFILTER_DROP");
    assert_eq!(line["errno"], Value::Null, "{line:#}");
}

#[test]
fn what_failed_just_before_the_end_is_reported_and_counted() {
    for pause in [0, 200, 900] {
        let lab = Lab::new();
        lab.client.ip(&format!("route add unreachable {NOWHERE}"));
        let _rule = lab.client.filter("output", "tcp dport 7061 reject with tcp reset");
        let tracer = trace(&lab);
        lab.client.connect(v4(NOWHERE, 7060), PATIENCE).expect_err("there is no route");
        lab.client.connect((SERVER_V4, 7061).into(), PATIENCE).expect_err("it is rejected");
        std::thread::sleep(Duration::from_millis(pause));
        let (lines, summary) = end(tracer);
        assert_eq!(lines.len(), 2, "{pause} ms: {lines:#?}");
        let causes = &summary["causes"];
        assert_eq!((&causes["no_route"], &causes["firewall_reject"]), (&1.into(), &1.into()), "{summary:#}");
    }
}

/// Calls that work, that another address took the place of, that the server refused, by the traced interface or by
/// another, and that their program gave up: none of them is a call that made no SYN.
#[test]
fn nothing_is_said_of_calls_that_made_their_syn_or_were_not_needed() {
    let lab = Lab::new();
    lab.client.ip(&format!("link set lo up\nroute del default via {CLIENT_GATEWAY_V6}"));
    let _listener = lab.server.listen((SERVER_V4, WORKING).into());
    let _rule = lab.server.filter("input", "tcp dport 7071 drop");
    let tracer = trace(&lab);
    let call = |to: SocketAddr| lab.client.connect(to, PATIENCE);
    // Happy eyeballs: no way over IPv6, and IPv4 works.
    call((SERVER_V6, WORKING).into()).expect_err("there is no route over IPv6");
    call((SERVER_V4, WORKING).into()).expect("it listens");
    call((SERVER_V4, 7070).into()).expect_err("the server refuses");
    call(v4("127.0.0.1", 7072)).expect_err("nobody listens on the loopback, which is not traced");
    lab.client.connect((SERVER_V4, 7071).into(), Duration::from_millis(100)).expect_err("it gives up");
    let _held = lab.client.connect_from(50_008, (SERVER_V4, WORKING).into(), PATIENCE).expect("it listens");
    let refused = |line: &Value| line["type"] == "attempt" && line["server"]["port"] == 7070;
    tracer.wait_for_line(refused, PATIENCE);
    std::thread::sleep(Duration::from_secs(5));
    let (lines, summary) = end(tracer);
    assert!(lines.is_empty(), "{lines:#?}");
    assert_eq!(summary["attempts"]["avoided"].as_u64().or(summary["attempts"]["overtaken"].as_u64()), Some(1));
}
