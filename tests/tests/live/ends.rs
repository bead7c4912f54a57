//! How tracing ends: signals, limits, findings, and a kill that leaves nothing behind.

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use tcptrace_tests::lab::{Lab, SERVER_V4, SERVER_V6, Tracer, eventually};

use crate::attached::{assert_nothing_left, attached};
use crate::interfaces::make_pair;
use crate::view::{Account, PATIENCE, View};

const CLOSED: [(u16, SocketAddr); 2] =
    [(40004, SocketAddr::new(SERVER_V4, 6036)), (40006, SocketAddr::new(SERVER_V6, 6036))];

fn be_refused(lab: &Lab) {
    for (port, to) in CLOSED {
        lab.client.connect_from(port, to, PATIENCE).unwrap_err();
    }
}

#[test]
fn a_signal_ends_with_the_summary_and_nothing_left() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let lab = Lab::new();
        let process = lab.client.spawn([Tracer::binary().to_str().unwrap(), "-i", "eth0", "--json"]);
        process.wait_for("the banner", PATIENCE, |it| it.stderr.iter().any(|it| it.contains("Ctrl-C")).then_some(()));
        be_refused(&lab);
        process.signal(signal);
        let finished = process.finish(PATIENCE);
        assert_eq!(finished.status.code(), Some(0), "{signal}");
        assert_eq!(Account::of(&finished).lines.len(), 2, "{signal}");
        assert_eq!(attached(&lab.client, "eth0"), [""; 0], "{signal}");
    }
}

#[test]
fn a_kill_leaves_nothing() {
    let clsact = ["--tc", "clsact", "--decap"];
    for args in [&[][..], &["--hook", "xdp"], &["--hook", "generic"], &clsact[..2], &clsact] {
        let lab = Lab::new();
        let view = View::start(&lab.client, &[&["-i", "eth0"], args].concat());
        assert!(!attached(&lab.client, "eth0").is_empty());
        view.process().signal(Signal::SIGKILL);
        assert_nothing_left(&lab.client, "eth0");
    }
}

/// One guard for all interfaces, also for those that came later.
#[test]
fn a_kill_leaves_nothing_on_any_interface_with_clsact() {
    let lab = Lab::new();
    let view = View::start(&lab.client, &["-i", "any", "--tc", "clsact"]);
    make_pair(&lab.client, "gone");
    let is_attached = |name: &str| eventually(PATIENCE, || (attached(&lab.client, name).len() == 3).then_some(()));
    ["gone", "far"].into_iter().for_each(is_attached);
    lab.client.ip("link del gone");
    make_pair(&lab.client, "near");
    ["near", "far"].into_iter().for_each(is_attached);
    let tracer = view.process().pid();
    let children = || std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap();
    assert_eq!(children().split_whitespace().count(), 1);
    view.process().signal(Signal::SIGKILL);
    for interface in ["lo", "eth0", "near", "far"] {
        assert_nothing_left(&lab.client, interface);
    }
}

/// The guard takes off what the killed tracer attached, and neither the qdisc that was there before nor the filters of
/// another tracer.
#[test]
fn a_kill_leaves_what_others_have_in_clsact() {
    let lab = Lab::new();
    lab.client.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"]);
    let [killed, other] = [(); 2].map(|()| View::start(&lab.client, &["-i", "eth0", "--tc", "clsact"]));
    assert_eq!(attached(&lab.client, "eth0").len(), 5);
    killed.process().signal(Signal::SIGKILL);
    eventually(PATIENCE, || {
        (attached(&lab.client, "eth0") == ["clsact", "filter ingress", "filter egress"]).then_some(())
    });
    be_refused(&lab);
    assert_eq!(other.end().lines.len(), 2);
    assert_eq!(attached(&lab.client, "eth0"), ["clsact"]);
}

#[test]
fn a_duration_ends_by_itself() {
    let lab = Lab::new();
    let view = Tracer::start(&lab.client, ["-i", "eth0", "--json", "--duration", "3000ms"]);
    be_refused(&lab);
    let finished = view.finish(PATIENCE);
    assert_eq!(finished.status.code(), Some(0));
    let account = Account::of(&finished);
    assert_eq!(account.lines.len(), 2);
    let traced_for = account.summary["traced_for_s"].as_f64().unwrap();
    assert!((2.9..60.0).contains(&traced_for), "{traced_for}");
}

#[test]
fn a_count_ends_by_itself() {
    let lab = Lab::new();
    let tracer = Tracer::start(&lab.client, ["-i", "eth0", "--json", "-c", "1"]);
    be_refused(&lab);
    let finished = tracer.finish(PATIENCE);
    assert_eq!(finished.status.code(), Some(0));
    assert_eq!(Account::of(&finished).lines.len(), 1);
}

#[test]
fn sigusr1_sums_up_and_goes_on() {
    let lab = Lab::new();
    let tracer = Tracer::start(&lab.client, ["-i", "eth0"]);
    be_refused(&lab);
    let refused = |count| {
        tracer.process().wait_for("refused lines", PATIENCE, |streams| {
            (streams.stdout.iter().filter(|line| line.contains("refused")).count() == count).then_some(())
        });
    };
    refused(2);
    tracer.process().signal(Signal::SIGUSR1);
    tracer.process().wait_for("the summary", PATIENCE, |streams| {
        streams.stderr.iter().any(|line| line.contains(" 2 attempts, 0 completed, 2 refused;")).then_some(())
    });
    be_refused(&lab);
    refused(4);
    let finished = tracer.stop();
    assert!(finished.stderr.contains(" 4 attempts, 0 completed, 4 refused;"), "{}", finished.stderr);
    assert!(finished.stderr.contains("203.0.113.2:6036: 2 refused\n"), "{}", finished.stderr);
    assert!(finished.stderr.ends_with("losses: none\n"), "{}", finished.stderr);
}

#[test]
fn findings_make_the_exit_code_3() {
    for (fail_on, code) in [("refused", 3), ("no_reply,refused", 3), ("any", 3), ("half_open", 0)] {
        let lab = Lab::new();
        let tracer = Tracer::start(&lab.client, ["-i", "eth0", "--json", "--fail-on", fail_on]);
        be_refused(&lab);
        let finished = tracer.stop();
        assert_eq!(finished.status.code(), Some(code), "--fail-on {fail_on}");
        assert_eq!(Account::of(&finished).lines.len(), 2);
    }
}

/// Whether the kernel asks the filter or userspace does: what it does not want is no finding.
#[test]
fn what_the_filter_does_not_want_is_no_finding() {
    let lab = Lab::new();
    let long = (1..=40).map(|port| format!("port {port}")).collect::<Vec<_>>().join(" or ");
    for filter in ["port 1", &long] {
        let view = View::start(&lab.client, &["-i", "eth0", "--fail-on", "any,closed,established", filter]);
        be_refused(&lab);
        // It asserts that the exit code is 0.
        assert_eq!(view.end().lines.len(), 0, "{filter}");
    }
}
