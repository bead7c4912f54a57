//! A bridge and its ports: a packet passes two or three of them and is one packet.

use serde_json::json;
use tcptrace_tests::lab::{
    CLIENT_GATEWAY_MAC, CLIENT_MAC, Lab, Ns, TcpFrame, eventually, flags, stranger_v4, stranger_v6,
};

use crate::view::{BOTH, PATIENCE, View};

/// A bridge with two ports, `left` and `right`; hosts are to be at `left-host` and `right-host`.
pub(crate) fn make_bridge(ns: &Ns) {
    ns.ip("link add br0 type bridge
        link add left type veth peer name left-host
        link add right type veth peer name right-host
        link set left master br0
        link set right master br0");
    for link in ["br0", "left", "right", "left-host", "right-host"] {
        ns.ip(&format!("link set {link} addrgenmode none up"));
    }
    let forwarding = |port: &str| ns.run(["ip", "-d", "link", "show", "dev", port]).contains("state forwarding");
    eventually(PATIENCE, || ["left", "right"].into_iter().all(forwarding).then_some(()));
}

/// Traces ports and bridge while a handshake, and one that is refused, cross it.
fn check(args: &[&str]) {
    let lab = Lab::new();
    let ns = &lab.client;
    make_bridge(ns);
    let interfaces = ["-i", "left", "-i", "right", "-i", "br0", "--all"];
    let view = View::start(ns, &[&interfaces, args].concat());
    let [left, right] = ["left-host", "right-host"].map(|it| ns.raw_link(it));
    let pass = |forth: bool, frame: &TcpFrame| {
        let (from, to) = if forth { (&left, &right) } else { (&right, &left) };
        from.send(&frame.bytes());
        let same = |it: &TcpFrame| (it.source, it.target, it.flags) == (frame.source, frame.target, frame.flags);
        to.recv_tcp(PATIENCE, same).expect("the bridge passes it on");
    };
    let strangers = [stranger_v4(1), stranger_v6(1)];
    for ((port, ip), stranger) in BOTH.into_iter().zip(strangers) {
        let macs = (CLIENT_MAC, CLIENT_GATEWAY_MAC);
        let syn = TcpFrame::new(macs, (stranger, port).into(), (ip, 80).into(), flags::SYN, u32::MAX);
        let answer = syn.answer(flags::SYN | flags::ACK, 7);
        pass(true, &syn);
        pass(false, &answer);
        pass(true, &answer.answer(flags::ACK, 0));
        let syn = TcpFrame::new(macs, (stranger, port + 10).into(), (ip, 6036).into(), flags::SYN, 7);
        pass(true, &syn);
        pass(false, &syn.answer(flags::RST | flags::ACK, 0));
    }
    for (port, _) in BOTH {
        view.wait("attempt", port + 10);
    }
    let account = view.end();
    for (port, _) in BOTH {
        let established = account.opened(port);
        assert_eq!(established["outcome"], "established");
        assert_eq!([&established["syn"]["tries"], &established["syn_ack"]["tries"]], [&json!(1); 2]);
        assert_eq!(established["seen"]["client"], json!({ "interface": "left", "direction": "in" }));
        assert_eq!(established["seen"]["server"], json!({ "interface": "right", "direction": "in" }));
        let refused = account.only(port + 10);
        assert_eq!((&refused["outcome"], &refused["syn"]["tries"]), (&json!("refused"), &json!(1)));
    }
    let segments = ["opened", "syn_retried", "answered", "syn_ack_retried", "completed", "refused"];
    assert_eq!(segments.map(|it| account.figure(&format!("/segments/{it}"))), [4, 0, 2, 0, 2, 2]);
    // Out of the other port: four SYNs, two SYN/ACKs.
    assert!(account.figure("/segments/seen_again") >= 6, "{}", account.summary);
    account.assert_nothing_lost();
}

#[test]
fn established_and_refused_across_a_bridge_are_counted_once() {
    check(&[]);
}

#[test]
fn established_and_refused_across_a_bridge_by_native_xdp_are_counted_once() {
    check(&["--hook", "xdp"]);
}
