//! Outages that are wider than a port: one incident is left, with at most three reports.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use serde_json::Value;
use tcptrace_tests::lab::{ConnectOptions, Connecting, Lab, OTHER_V4, SERVER_V4};

use crate::{Account, PATIENCE, Watch};

fn ask(lab: &Lab, servers: impl IntoIterator<Item = SocketAddr>) -> Vec<Connecting> {
    let ask = |to| lab.client.start_connect(to, ConnectOptions::default()).expect("a socket is made");
    servers.into_iter().map(ask).collect()
}

/// The only incident that no other took over. Text had at most three reports: it began, it turned out wider, it ended.
#[track_caller]
fn only(account: &Account) -> &Value {
    account.assert_exact();
    let ended = account.ended();
    assert_eq!(ended.len(), 1, "{ended:#?}\n{}", account.text.join("\n"));
    // On a machine so busy that it lasts for ten seconds it is brought to mind as well.
    let reports = account.text.iter().filter(|line| !line.starts_with(' ') && !line.contains("  still failing  "));
    assert!(reports.count() <= 3, "{}", account.text.join("\n"));
    ended[0]
}

/// A host that works, and then is gone, with fifty ports.
#[test]
fn a_host_with_fifty_ports() {
    let lab = Lab::new();
    let ports = 8000..8050u16;
    let _listeners: Vec<_> = ports.clone().map(|port| lab.server.listen((OTHER_V4, port).into())).collect();
    let _other = lab.server.listen((SERVER_V4, 80).into());
    let watch = Watch::start(&lab.client, "eth0");
    for port in ports.clone() {
        lab.client.connect((OTHER_V4, port).into(), PATIENCE).expect("it works");
    }
    let _gone = lab.router.filter("forward", &format!("ip daddr {OTHER_V4} drop"));
    let mut waiting = Vec::new();
    for port in ports {
        waiting.extend(ask(&lab, [(OTHER_V4, port).into()]));
        lab.client.connect((SERVER_V4, 80).into(), PATIENCE).expect("the other address works");
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_secs(5));
    drop(waiting);
    let account = watch.end();
    let incident = only(&account);
    assert_eq!((&incident["width"], &incident["covers"]), (&"host".into(), &"203.0.113.3".into()), "{incident:#}");
    assert_eq!(incident["attempts"], 50);
}

/// Every host of a network behind the router, while another network works.
#[test]
fn a_network_behind_the_router() {
    let lab = Lab::new();
    let _listener = lab.server.listen((SERVER_V4, 80).into());
    let gone = |host: u8| SocketAddr::from((IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 80));
    lab.client.ip("route add 192.0.2.0/24 via 198.51.100.1");
    lab.router.ip("route add 192.0.2.0/24 via 203.0.113.2");
    let _drop = lab.router.filter("forward", "ip daddr 192.0.2.0/24 drop");
    let watch = Watch::start(&lab.client, "eth0");
    let mut waiting = Vec::new();
    for host in 1..=20 {
        waiting.extend(ask(&lab, [gone(host)]));
        lab.client.connect((SERVER_V4, 80).into(), PATIENCE).expect("the other network works");
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_secs(5));
    drop(waiting);
    let account = watch.end();
    let incident = only(&account);
    assert_eq!((&incident["width"], &incident["attempts"]), (&"network".into(), &20.into()), "{incident:#}");
    assert_eq!(incident["covers"], "192.0.2.0/24");
}

/// No way out at all.
#[test]
fn the_uplink() {
    let lab = Lab::new();
    let _drop = lab.router.filter("prerouting", "iifname client0 drop");
    let watch = Watch::start(&lab.client, "eth0");
    let mut waiting = Vec::new();
    for round in 0..40u8 {
        let host = Ipv4Addr::new(10, round, 1, 1);
        waiting.extend(ask(&lab, [(IpAddr::V4(host), 443).into()]));
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_secs(5));
    drop(waiting);
    let account = watch.end();
    let incident = only(&account);
    assert_eq!((&incident["width"], &incident["attempts"]), (&"everything".into(), &40.into()), "{incident:#}");
}

/// One backend of a service: it stays one port, beside others that work.
#[test]
fn one_backend() {
    let lab = Lab::new();
    let _listener = lab.server.listen((SERVER_V4, 80).into());
    let watch = Watch::start(&lab.client, "eth0");
    for _ in 0..30 {
        assert!(lab.client.connect((SERVER_V4, 81).into(), PATIENCE).is_err(), "the port is closed");
        lab.client.connect((SERVER_V4, 80).into(), PATIENCE).expect("the other port works");
    }
    let account = watch.end();
    let incident = only(&account);
    assert_eq!((&incident["width"], &incident["attempts"]), (&"port".into(), &30.into()), "{incident:#}");
}
