//! `-i any` and patterns: which interfaces they take, those that come later, and a packet that passes several.

use serde_json::json;
use tcptrace_tests::lab::{
    CLIENT_GATEWAY_MAC, CLIENT_MAC, Lab, Ns, OnAccept, SERVER_V4, TcpFrame, eventually, flags, stranger_v4,
};

use crate::attached::{assert_nothing_left, attached};
use crate::interfaces::{assert_refused, make_pair, refuse};
use crate::view::{Account, PATIENCE, View};

/// Waits until packets are read both ways on an interface that came later.
#[track_caller]
pub(crate) fn wait_until_attached(ns: &Ns, interface: &str) {
    eventually(PATIENCE, || (attached(ns, interface).len() == 2).then_some(()));
}

/// Each attempt was refused once, whatever its packets passed.
#[track_caller]
fn assert_counted_once(account: &Account, ports: &[u16]) {
    for port in ports {
        assert_eq!(account.only(*port)["syn"]["tries"], 1);
    }
    let counts = ["opened", "refused", "syn_retried"].map(|it| account.figure(&format!("/segments/{it}")));
    assert_eq!(counts, [ports.len() as u64, ports.len() as u64, 0]);
    account.assert_nothing_lost();
}

#[test]
fn refused_on_any_interface_is_counted_once() {
    let lab = Lab::new();
    make_pair(&lab.client, "near");
    let view = View::start(&lab.client, &["-i", "any"]);
    // Both ends of the pair are in this namespace.
    refuse(&lab.client, "near", 40000);
    lab.client.connect_from(40001, (SERVER_V4, 6036).into(), PATIENCE).unwrap_err();
    lab.client.connect_from(40002, "127.0.0.1:6036".parse().unwrap(), PATIENCE).unwrap_err();
    assert_refused(&view, 40000, "near");
    assert_refused(&view, 40001, "eth0");
    let looped = view.wait("attempt", 40002);
    assert_eq!(looped["seen"]["client"], json!({ "interface": "lo", "direction": "in" }));
    let account = view.end();
    assert_counted_once(&account, &[40000, 40001, 40002]);
    let banner = "tcptrace: any: 4 interfaces, 3 in by TC, out by tcx; lo in by TC; those that come later too";
    let lines: Vec<_> = account.stderr.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.contains("any: ")).collect::<Vec<_>>(), [&banner]);
    assert!(account.stderr.contains("far and near carry the same packets"), "{}", account.stderr);
    assert_eq!(account.summary["interfaces"], json!(["eth0", "far", "lo", "near"]));
    for interface in ["lo", "eth0", "near", "far"] {
        assert_nothing_left(&lab.client, interface);
    }
}

#[test]
fn each_interface_of_any_is_listed_with_v_and_counted_in_text() {
    let lab = Lab::new();
    let tracer = lab.client.spawn([
        tcptrace_tests::lab::Tracer::binary().to_str().unwrap(),
        "-v",
        "-i",
        "any",
        "--duration",
        "100ms",
    ]);
    let finished = tracer.finish(PATIENCE);
    for line in ["eth0: in by TC (veth: ", "lo: in by TC (loopback: has no native XDP), out by the same packets"] {
        assert!(finished.stderr.contains(line), "{}", finished.stderr);
    }
    assert!(finished.stderr.contains(" on any (2 interfaces): 0 attempts"), "{}", finished.stderr);
}

#[test]
fn patterns_take_what_matches_and_is_not_left_out() {
    let lab = Lab::new();
    let ns = &lab.client;
    for name in ["web0", "web1", "db0"] {
        ns.ip(&format!("link add {name} type veth peer name {name}-far"));
    }
    let view = View::start(ns, &["-i", "web*", "-i", "eth0", "-i", "!*-far"]);
    let account = view.end();
    assert_eq!(account.summary["interfaces"], json!(["eth0", "web0", "web1"]));
    assert!(account.stderr.contains("tcptrace: eth0: in by TC (veth: "), "{}", account.stderr);
    let banner = "web*, eth0, !*-far: 2 interfaces, in by TC, out by tcx; 2 down; those that come later too";
    assert!(account.stderr.contains(banner), "{}", account.stderr);
    let view = View::start(ns, &["-i", "!*-far", "-i", "!eth?"]);
    let account = view.end();
    assert_eq!(account.summary["interfaces"], json!(["db0", "lo", "web0", "web1"]));
}

#[test]
fn refused_on_an_interface_that_a_pattern_takes_later() {
    let lab = Lab::new();
    let ns = &lab.client;
    let view = View::start(ns, &["-i", "near*"]);
    view.wait_for_notice("near*: no such interface yet; it is traced as soon as it comes; these exist: lo, eth0");
    for (port, name) in [(40000, "near0"), (40001, "near1")] {
        make_pair(ns, name);
        wait_until_attached(ns, name);
        refuse(ns, name, port);
        assert_refused(&view, port, name);
        ns.ip(&format!("link del {name}"));
    }
    // Renamed into the pattern.
    make_pair(ns, "other");
    ns.ip("link set other down\nlink set other name near2\nlink set near2 up");
    wait_until_attached(ns, "near2");
    crate::interfaces::bring_up(ns, "near2");
    refuse(ns, "near2", 40002);
    assert_refused(&view, 40002, "near2");
    let account = view.end();
    assert_counted_once(&account, &[40000, 40001, 40002]);
    let summary = &account.summary;
    assert_eq!((&summary["interfaces"], &summary["interfaces_gone"]), (&json!(["near2"]), &json!(2)));
    for word in ["has gone", "went down", "is up", "is called"] {
        assert!(!account.stderr.contains(word), "{}", account.stderr);
    }
}

/// A macvlan and the interface below it.
#[test]
fn refused_through_a_macvlan_is_counted_once() {
    let lab = Lab::new();
    let ns = &lab.client;
    make_pair(ns, "near");
    ns.ip("link add link near name upper type macvlan mode bridge\nlink set upper up");
    eventually(PATIENCE, || ns.ip("link show dev upper").contains(" state UP ").then_some(()));
    let view = View::start(ns, &["-i", "any"]);
    let text = ns.ip("link show dev upper");
    let mac = text.split_whitespace().skip_while(|it| *it != "link/ether").nth(1).expect("an Ethernet address");
    let mut octets = mac.split(':').map(|it| u8::from_str_radix(it, 16).expect("two digits"));
    let mac = std::array::from_fn(|_| octets.next().expect("six of them"));
    let (client, server) = ((stranger_v4(1), 40000).into(), (SERVER_V4, 6036).into());
    let syn = TcpFrame::new((mac, CLIENT_GATEWAY_MAC), client, server, flags::SYN, 7);
    ns.raw_link("upper").send(&syn.bytes());
    ns.raw_link("far").send(&syn.answer(flags::RST | flags::ACK, 0).bytes());
    assert_refused(&view, 40000, "upper");
    let account = view.end();
    assert_counted_once(&account, &[40000]);
    // Out by the lower one and in at the far end; back in at the lower one, then at the upper one.
    assert!(account.figure("/segments/seen_again") >= 2, "{}", account.summary);
}

/// A connection that works, beside the failures, in a namespace where every packet passes two ends of a pair.
#[test]
fn established_between_the_ends_of_a_pair_is_counted_once() {
    let lab = Lab::new();
    let view = View::start(&lab.router, &["-i", "any", "--all"]);
    let _server = lab.server.listen_and((SERVER_V4, 80).into(), OnAccept::Close);
    lab.client.connect_from(40000, (SERVER_V4, 80).into(), PATIENCE).unwrap();
    view.wait("open", 40000);
    let account = view.end();
    assert_eq!(account.opened(40000)["seen"]["client"], json!({ "interface": "client0", "direction": "in" }));
    assert_eq!(account.figure("/segments/opened"), 1);
    assert_eq!(account.figure("/segments/completed"), 1);
    account.assert_nothing_lost();
}

/// Two SYNs of the same pair of ends in two VLANs would be one flow; one in a VLAN is one attempt.
#[test]
fn refused_in_a_vlan_across_a_bridge_is_counted_once() {
    let lab = Lab::new();
    let ns = &lab.client;
    crate::bridge::make_bridge(ns);
    let view = View::start(ns, &["-i", "any"]);
    let syn = TcpFrame::new(
        (CLIENT_MAC, CLIENT_GATEWAY_MAC),
        (stranger_v4(1), 40000).into(),
        (SERVER_V4, 6036).into(),
        flags::SYN,
        7,
    );
    let answer = syn.answer(flags::RST | flags::ACK, 0);
    let [left, right] = ["left-host", "right-host"].map(|it| ns.raw_link(it));
    for (from, to, frame) in [(&left, &right, &syn), (&right, &left, &answer)] {
        from.send(&crate::rewrite::tagged(&frame.bytes(), &[0x8100]));
        let same = |it: &TcpFrame| (it.source, it.flags) == (frame.source, frame.flags);
        to.recv_tcp(PATIENCE, same).expect("the bridge passes it on");
    }
    assert_refused(&view, 40000, "left-host");
    let account = view.end();
    assert_counted_once(&account, &[40000]);
    assert!(account.figure("/segments/seen_again") >= 3, "{}", account.summary);
}
