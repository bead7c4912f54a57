//! Where packets are read: every hook sees the same, beside programs of others and beside another tracer.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Value, json};
use tcptrace_tests::lab::{
    Lab, OnAccept,
    foreign_tcx::{self, Direction},
};

use crate::attached::attached;
use crate::view::{Account, BOTH, PATIENCE, View};

/// One connection that opens and one that is refused, of either IP version.
fn connect(lab: &Lab) {
    for (port, ip) in BOTH {
        let _server = lab.server.listen_and((ip, 80).into(), OnAccept::Close);
        lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap();
        lab.client.connect_from(port + 10, (ip, 6036).into(), PATIENCE).unwrap_err();
    }
}

#[track_caller]
fn assert_seen(account: &Account) {
    for (port, _) in BOTH {
        let established = account.opened(port);
        assert_eq!((&established["outcome"], &established["syn_ack"]["ttl"]), (&json!("established"), &json!(63)));
        assert_eq!(established["seen"]["client"], json!({ "interface": "eth0", "direction": "out" }));
        assert_eq!(established["seen"]["server"], json!({ "interface": "eth0", "direction": "in" }));
        let refused = account.only(port + 10);
        assert_eq!((&refused["outcome"], &refused["end"]["ttl"]), (&json!("refused"), &json!(63)));
    }
    assert_eq!(account.figure("/segments/opened"), 4);
    account.assert_nothing_lost();
}

/// Traces in the client by one hook, which is to be attached as `expected`.
#[track_caller]
fn check(args: &[&str], expected: &[&str], banner: &str) {
    let lab = Lab::new();
    let client = View::start(&lab.client, &[&["-i", "eth0", "--all"], args].concat());
    assert_eq!(attached(&lab.client, "eth0"), expected);
    connect(&lab);
    let client = client.end();
    assert!(client.stderr.contains(banner), "{}", client.stderr);
    assert_seen(&client);
    assert_eq!(attached(&lab.client, "eth0"), [""; 0]);
}

#[test]
fn established_and_refused_by_the_hook_chosen_for_veth() {
    let reason = "eth0: in by TC (veth: native XDP costs a TCP stream most of its throughput), out by tcx";
    check(&[], &["tcx ingress tc_ingress", "tcx egress tc_egress"], reason);
}

#[test]
fn established_and_refused_by_native_xdp() {
    let banner = "eth0: in by native XDP (chosen with --hook xdp), out by tcx";
    check(&["--hook", "xdp"], &["tcx egress tc_egress", "xdp"], banner);
}

#[test]
fn established_and_refused_by_generic_xdp() {
    let banner = "eth0: in by generic XDP (chosen with --hook generic), out by tcx";
    check(&["--hook", "generic"], &["tcx egress tc_egress", "xdp"], banner);
}

#[test]
fn established_and_refused_by_tcx() {
    let banner = "eth0: in by TC (chosen with --hook tc), out by tcx";
    check(&["--hook", "tc"], &["tcx ingress tc_ingress", "tcx egress tc_egress"], banner);
}

#[test]
fn established_and_refused_by_clsact() {
    let banner = "eth0: in by TC (chosen with --hook tc), out by clsact";
    check(&["--hook", "tc", "--tc", "clsact"], &["clsact", "filter ingress", "filter egress"], banner);
}

/// Two tracers on one interface, whatever each is attached by: both see everything.
#[track_caller]
fn check_two(first: &[&str], second: &[&str]) -> [Account; 2] {
    let lab = Lab::new();
    let tracers = [first, second].map(|args| View::start(&lab.client, &[&["-i", "eth0", "--all"], args].concat()));
    connect(&lab);
    let accounts = tracers.map(View::end);
    accounts.iter().for_each(assert_seen);
    // Not the order: a line with evidence of this host waits for it, and each tracer waits by its own clock.
    let ids = accounts.each_ref().map(|account| {
        let mut ids: Vec<_> = account.lines.iter().map(|line| line["handshake_id"].to_string()).collect();
        ids.sort_unstable();
        ids
    });
    assert_eq!(ids[0], ids[1]);
    assert_eq!(attached(&lab.client, "eth0"), [""; 0]);
    accounts
}

#[test]
fn established_and_refused_beside_a_foreign_xdp_program() {
    let [_, second] = check_two(&["--hook", "xdp"], &["--hook", "xdp"]);
    assert!(second.stderr.contains("eth0: in by TC (another XDP program (id "), "{}", second.stderr);
    assert!(second.stderr.contains(") stays attached), out by tcx"), "{}", second.stderr);
}

#[test]
fn established_and_refused_by_two_tracers_on_one_interface() {
    let accounts = check_two(&[], &[]);
    let packets = accounts.each_ref().map(|it| &it.summary["packets"]["tcp_control"]);
    assert_eq!(packets[0], packets[1]);
}

#[test]
fn established_and_refused_by_tcx_before_clsact() {
    check_two(&["--tc", "clsact"], &[]);
}

/// A filter of somebody else in clsact still runs behind ours, and stays when we go.
#[test]
fn refused_on_the_wire_and_dropped_by_a_foreign_filter_behind_ours() {
    for tc in ["tcx", "clsact"] {
        let lab = Lab::new();
        lab.client.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"]);
        // In classic BPF: return TC_ACT_SHOT. Of all the classifiers, it is the one that the tracer needs as well.
        let drop_all = ["protocol", "all", "pref", "60000", "bpf", "direct-action", "bytecode", "1,6 0 0 2"];
        lab.client.run(["tc", "filter", "add", "dev", "eth0", "ingress"].into_iter().chain(drop_all));
        let before = attached(&lab.client, "eth0");
        let client = View::start(&lab.client, &["-i", "eth0", "--tc", tc]);
        for (port, ip) in BOTH {
            let error = lab.client.connect_from(port, (ip, 6036).into(), Duration::from_millis(300)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        let client = client.end();
        let outcomes: Vec<&Value> = client.lines.iter().map(|line| &line["outcome"]).collect();
        assert_eq!(outcomes, ["refused"; 2]);
        assert_eq!(attached(&lab.client, "eth0"), before);
    }
}

/// A tcx program that was there first and ends the chain still runs, behind ours, and is named.
#[test]
fn established_and_refused_before_a_tcx_program_that_ends_the_chain() {
    let lab = Lab::new();
    let _foreign = lab.client.enter(|| {
        let eth0 = nix::net::if_::if_nametoindex("eth0").unwrap();
        [Direction::Ingress, Direction::Egress].map(|it| foreign_tcx::attach(eth0, it).unwrap())
    });
    let before = attached(&lab.client, "eth0");
    let client = View::start(&lab.client, &["-i", "eth0", "--all"]);
    connect(&lab);
    let client = client.end();
    let passed_on = "packets then pass ends_here (in), ends_here (out)";
    assert!(client.stderr.contains(passed_on), "{}", client.stderr);
    assert_seen(&client);
    assert_eq!(attached(&lab.client, "eth0"), before);
}
