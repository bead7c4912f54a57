//! Which interface is traced, where none is named or the one named cannot be read: said, and an error.

use std::process::Output;

use tcptrace_tests::lab::{CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6, Lab, Ns, Tracer};

/// A run that is to end by itself.
fn run(ns: &Ns, args: &[&str]) -> Output {
    let binary = Tracer::binary();
    ns.try_run([&[binary.to_str().expect("the path of the binary is UTF-8")], args].concat())
}

#[track_caller]
fn assert_error(output: &Output, code: i32, expected: &str) {
    let expected = format!("tcptrace: {expected}");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), &*stdout, stderr.trim_end()), (Some(code), "", &*expected));
}

#[test]
fn no_default_route() {
    let lab = Lab::new();
    lab.client.ip(&format!("route del default via {CLIENT_GATEWAY_V4}\nroute del default via {CLIENT_GATEWAY_V6}"));
    let error = "no default route to choose an interface by: name one with --iface; these exist: lo, eth0";
    assert_error(&run(&lab.client, &[]), 1, error);
}

#[test]
fn no_such_interface() {
    let lab = Lab::new();
    let error = "cannot attach to 'eth7': no such interface; these exist: lo, eth0";
    assert_error(&run(&lab.client, &["-i", "eth0", "-i", "eth7"]), 2, error);
}

/// ARPHRD_IEEE80211_RADIOTAP (include/uapi/linux/if_arp.h): what an interface in monitor mode has.
const RADIOTAP: u16 = 803;

#[test]
fn unsupported_link_type() {
    let lab = Lab::new();
    let tun = lab.client.tun("mon0");
    tun.set_link_type(RADIOTAP);
    let error = "cannot trace 'mon0': its link type 803 is neither Ethernet nor IP; choose another interface";
    assert_error(&run(&lab.client, &["-i", "mon0"]), 1, error);
}
