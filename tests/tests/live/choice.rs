//! Where nothing can be traced (no interface to choose, one that cannot be read, a kernel that is too old): said, and by
//! which exit code.

use std::process::Output;

use tcptrace_tests::lab::{CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6, Lab, Ns, Tracer};

/// A run that is to end by itself, behind the words of another program.
fn run(ns: &Ns, before: &[&str], args: &[&str]) -> Output {
    let binary = Tracer::binary();
    ns.try_run([before, &[binary.to_str().expect("the path of the binary is UTF-8")], args].concat())
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
    let error =
        "cannot choose an interface: no default route; name one with --iface, or trace all with --iface any: lo, eth0";
    assert_error(&run(&lab.client, &[], &[]), 1, error);
}

/// ARPHRD_IEEE80211_RADIOTAP (include/uapi/linux/if_arp.h): what an interface in monitor mode has.
const RADIOTAP: u16 = 803;

#[test]
fn unsupported_link_type() {
    let lab = Lab::new();
    let tun = lab.client.tun("mon0");
    tun.set_link_type(RADIOTAP);
    let error = "cannot trace 'mon0': its link type 803 is neither Ethernet nor IP; choose another interface";
    assert_error(&run(&lab.client, &[], &["-i", "mon0"]), 1, error);
}

/// The personality UNAME26 has uname(2) say 2.6 and some: what a kernel is asked for its version by.
#[test]
fn a_kernel_that_is_too_old() {
    let lab = Lab::new();
    let output = run(&lab.client, &["setarch", "--uname-2.6"], &["-i", "eth0"]);
    let release = lab.client.read_sysctl("kernel.osrelease").expect("every kernel has one");
    assert_error(&output, 69, &format!("this kernel is {release}: tcptrace needs Linux 5.15 or later"));
}
