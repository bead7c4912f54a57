//! Interfaces that go down, are renamed, go away and come back, while the tracer runs.

use serde_json::json;
use tcptrace_tests::lab::{
    CLIENT_GATEWAY_MAC, CLIENT_MAC, Lab, Ns, SERVER_V4, TcpFrame, eventually, flags, stranger_v4,
};

use crate::attached::assert_nothing_left;
use crate::view::{PATIENCE, View};

/// A SYN out of `interface`, and a RST/ACK from the other end of its pair.
pub(crate) fn refuse(ns: &Ns, interface: &str, port: u16) {
    let macs = (CLIENT_MAC, CLIENT_GATEWAY_MAC);
    let syn = TcpFrame::new(macs, (stranger_v4(1), port).into(), (SERVER_V4, 6036).into(), flags::SYN, 7);
    ns.raw_link(interface).send(&syn.bytes());
    ns.raw_link("far").send(&syn.answer(flags::RST | flags::ACK, 0).bytes());
}

pub(crate) fn make_pair(ns: &Ns, name: &str) {
    ns.ip(&format!("link add {name} type veth peer name far"));
    bring_up(ns, name);
}

pub(crate) fn bring_up(ns: &Ns, name: &str) {
    ns.ip(&format!("link set far up\nlink set {name} up"));
    let up = || ns.ip(&format!("link show dev {name}")).contains(" state UP ").then_some(());
    eventually(PATIENCE, up);
}

#[track_caller]
pub(crate) fn assert_refused(view: &View, port: u16, interface: &str) {
    let line = view.wait("attempt", port);
    assert_eq!(line["outcome"], "refused");
    assert_eq!(line["seen"]["client"], json!({ "interface": interface, "direction": "out" }));
}

#[track_caller]
fn check(args: &[&str]) {
    let lab = Lab::new();
    let ns = &lab.client;
    make_pair(ns, "near");
    let view = View::start(ns, &[&["-i", "near"], args].concat());
    refuse(ns, "near", 40000);
    assert_refused(&view, 40000, "near");

    ns.ip("link set near down");
    view.wait_for_notice("near went down: no packets until it is up again");
    bring_up(ns, "near");
    view.wait_for_notice("near is up");
    refuse(ns, "near", 40001);
    assert_refused(&view, 40001, "near");

    ns.ip("link set near down\nlink set near name renamed");
    view.wait_for_notice("near is called renamed now");
    bring_up(ns, "renamed");
    view.wait_for_notice("renamed is up");
    refuse(ns, "renamed", 40002);
    assert_refused(&view, 40002, "renamed");

    ns.ip("link del renamed");
    view.wait_for_notice("renamed has gone; waiting for it to come back");
    make_pair(ns, "renamed");
    view.wait_for_notice("back: renamed: in by ");
    refuse(ns, "renamed", 40003);
    assert_refused(&view, 40003, "renamed");

    let account = view.end();
    assert_eq!(account.figure("/segments/refused"), 4);
    assert_nothing_left(ns, "renamed");
}

#[test]
pub(crate) fn refused_before_and_after_the_interface_went() {
    check(&[]);
}

#[test]
pub(crate) fn refused_before_and_after_the_interface_went_with_native_xdp() {
    check(&["--hook", "xdp"]);
}

#[test]
pub(crate) fn refused_before_and_after_the_interface_went_with_clsact() {
    check(&["--tc", "clsact"]);
}

#[test]
pub(crate) fn refused_after_an_interface_that_was_down_comes_up() {
    let lab = Lab::new();
    lab.client.ip("link add near type veth peer name far");
    let view = View::start(&lab.client, &["-i", "near"]);
    view.wait_for_notice("near is down: no packets until it is up");
    bring_up(&lab.client, "near");
    view.wait_for_notice("near is up");
    refuse(&lab.client, "near", 40000);
    assert_refused(&view, 40000, "near");
    view.end().assert_nothing_lost();
}

#[test]
pub(crate) fn refused_on_the_interface_of_the_default_route() {
    let lab = Lab::new();
    let view = View::start(&lab.client, &[]);
    view.wait_for_notice("no interface given: tracing eth0, which has the default route");
    view.wait_for_notice("tracing; the table holds");
    lab.client.connect_from(40000, (SERVER_V4, 6036).into(), PATIENCE).unwrap_err();
    assert_refused(&view, 40000, "eth0");
    view.end().assert_nothing_lost();
}
