//! The lab tested without the tracer: what it promises is what the stacks and the wire show.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::process::Command;
use std::time::Duration;

use nix::libc;

use super::*;

const QUIET: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn both_ip_versions_connect_through_the_router() {
    let lab = Lab::new();
    for (port, ip) in (40000..).zip([SERVER_V4, SERVER_V6, OTHER_V4, OTHER_V6]) {
        let to = SocketAddr::new(ip, 80);
        let wire = lab.client.raw_link("eth0");
        let _listener = lab.server.listen_and(to, OnAccept::Echo);
        let mut stream = lab.client.connect_from(port, to, PATIENCE).unwrap();
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(wire.conversation(port, QUIET), ["> S", "< S.", "> .", "> P.", "< .", "< P.", "> ."]);
    }
}

#[test]
fn a_handshake_looks_the_same_on_every_machine() {
    let lab = Lab::new();
    for (ip, mss, windows) in [(SERVER_V4, 1460_u16, (64240, 65160)), (SERVER_V6, 1440, (64800, 64260))] {
        let to = SocketAddr::new(ip, 80);
        let wire = lab.client.raw_link("eth0");
        let _listener = lab.server.listen(to);
        let _open = lab.client.connect(to, PATIENCE).unwrap();
        let syn = wire.recv_tcp(PATIENCE, TcpFrame::is_syn).unwrap();
        let syn_ack = wire.recv_tcp(PATIENCE, |segment| segment.source == to).unwrap();
        assert_eq!((syn.window, syn_ack.window), windows);
        assert_eq!((syn.ttl, syn_ack.ttl), (64, 63));
        assert_eq!((syn.source_mac, syn_ack.source_mac), (CLIENT_MAC, CLIENT_GATEWAY_MAC));
        for segment in [syn, syn_ack] {
            let [mss_high, mss_low] = mss.to_be_bytes();
            assert_eq!(segment.options[..8], [2, 4, mss_high, mss_low, 4, 2, 8, 10], "MSS, SACK permitted, timestamps");
            assert_eq!(segment.options[16..], [1, 3, 3, 7], "window scale 7");
        }
    }
}

#[test]
fn a_drop_rule_makes_a_connect_time_out_until_it_goes() {
    let lab = Lab::new();
    for ip in [SERVER_V4, SERVER_V6] {
        let to = SocketAddr::new(ip, 80);
        let _listener = lab.server.listen(to);
        let table = lab.server.filter("input", "tcp dport 80 counter drop");
        assert_eq!(lab.client.connect(to, QUIET).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(table.list().contains("counter packets 1 "), "{}", table.list());
        drop(table);
        lab.client.connect(to, PATIENCE).unwrap();
    }
}

#[test]
fn a_reject_rule_gives_its_errno() {
    let lab = Lab::new();
    let cases = [
        ("tcp reset", libc::ECONNREFUSED, libc::ECONNREFUSED),
        ("icmpx port-unreachable", libc::ECONNREFUSED, libc::ECONNREFUSED),
        ("icmpx host-unreachable", libc::EHOSTUNREACH, libc::EHOSTUNREACH),
        ("icmpx no-route", libc::ENETUNREACH, libc::ENETUNREACH),
        ("icmpx admin-prohibited", libc::EHOSTUNREACH, libc::EACCES),
    ];
    for (kind, v4, v6) in cases {
        let _rule = lab.router.filter("forward", &format!("tcp dport 80 reject with {kind}"));
        for (port, ip, expected) in [(40000, SERVER_V4, v4), (40001, SERVER_V6, v6)] {
            let wire = lab.client.raw_link("eth0");
            let error = lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(expected), "{kind} {ip}");
            let lines = wire.conversation(port, Duration::from_millis(50));
            assert_eq!(lines.iter().filter(|line| *line == "> S").count(), 1, "{kind} {ip}: {lines:?}");
        }
    }
}

#[test]
fn nobody_answers_for_an_absent_address() {
    let lab = Lab::new();
    let lab = &lab;
    thread::scope(|scope| {
        for ip in [ABSENT_V4, ABSENT_V6] {
            scope.spawn(move || {
                let error = lab.client.connect((ip, 80).into(), PATIENCE).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EHOSTUNREACH), "the router gives up after three tries");
            });
        }
    });
}

#[test]
fn labs_do_not_see_each_other() {
    let (one, two) = (Lab::new(), Lab::new());
    let to = SocketAddr::new(SERVER_V4, 80);
    let _listener = one.server.listen(to);
    one.client.connect(to, PATIENCE).unwrap();
    assert_eq!(two.client.connect(to, PATIENCE).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    one.client.sysctl("net.ipv4.tcp_syn_retries", "2");
    assert_eq!(one.client.read_sysctl("net.ipv4.tcp_syn_retries").unwrap(), "2");
    assert_eq!(two.client.read_sysctl("net.ipv4.tcp_syn_retries").unwrap(), "6");
}

#[test]
fn namespaces_go_with_the_lab_also_after_a_panic() {
    let lab = Lab::new();
    let paths = lab.namespaces().map(Ns::path);
    assert!(paths.iter().all(|path| path.exists()));
    assert!(lab.reproduce().contains("link add eth0"));
    let panicked = panic::catch_unwind(AssertUnwindSafe(move || {
        let _client_too = lab.client.clone();
        lab.client.enter(|| panic!("this panic is part of the test"));
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"this panic is part of the test"));
    assert!(!paths.iter().any(|path| path.exists()));
}

#[test]
fn namespaces_of_dead_tests_are_removed_and_those_of_live_ones_kept() {
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let lab = Lab::new();
    let log = CommandLog::default();
    let stale = Ns::new(&format!("tt-{}-0", dead.id()), "client", &log);
    log.ip_batch(None, &format!("netns add {}\n", stale.name())).unwrap();
    let left_over = stale.spawn(["sleep", "1000"]);
    eventually(PATIENCE, || {
        stale.run(["ip", "netns", "pids", stale.name()]).contains(&left_over.pid().to_string()).then_some(())
    });
    remove_stale();
    assert!(!stale.path().exists());
    assert!(!left_over.finish(PATIENCE).status.success());
    assert!(lab.namespaces().iter().all(|ns| ns.path().exists()));
}

#[test]
fn a_new_lab_loses_nothing() {
    for number in 0..10 {
        let (from, ip) = if number % 2 == 0 { (stranger_v4(1), SERVER_V4) } else { (stranger_v6(1), SERVER_V6) };
        let lab = Lab::new();
        let link = lab.client.raw_link("eth0");
        let macs = (CLIENT_MAC, CLIENT_GATEWAY_MAC);
        let syn = TcpFrame::new(macs, (from, 40000).into(), (ip, 80).into(), flags::SYN, 0);
        link.send(&syn.bytes());
        let answer = link.recv_tcp(PATIENCE, |segment| segment.target == syn.source);
        assert!(answer.is_some_and(|answer| answer.has(flags::RST)), "lab {number}: the SYN or its RST was lost");
    }
}
