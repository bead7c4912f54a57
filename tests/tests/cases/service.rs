//! The service behind the port: a refusal, or a queue that nobody empties, and what became of the process.

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcptrace_tests::lab::{Cgroup, Lab, Limit, OnAccept, Process, SERVER_V4, Tracer, eventually};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than it takes the tracer to see who listens.
const SEEN: Duration = Duration::from_secs(5);
const PORT: u16 = 80;

fn to() -> SocketAddr {
    (SERVER_V4, PORT).into()
}

fn serve(lab: &Lab) -> Process {
    serve_with(lab, to(), "")
}

/// A service with a trouble of its own.
fn serve_with(lab: &Lab, address: SocketAddr, trouble: &str) -> Process {
    let service = lab.server.spawn([env!("CARGO_BIN_EXE_service"), &address.to_string(), trouble]);
    service.wait_for("the service", PATIENCE, |streams| (!streams.stdout.is_empty()).then_some(()));
    service
}

fn trace(lab: &Lab) -> Tracer {
    let tracer = Tracer::start(&lab.server, ["-i", "eth0", "--json"]);
    std::thread::sleep(SEEN);
    tracer
}

#[track_caller]
fn verdict(tracer: &Tracer, kind: &str, port: u16) -> Value {
    let is_it = |line: &Value| line["type"] == kind && line["server"]["port"] == port && !line["cause"].is_null();
    tracer.wait_for_line(is_it, PATIENCE)["cause"].take()
}

#[track_caller]
fn says(cause: &Value, name: &str, evidence: &str) {
    assert_eq!(cause["name"], name, "{cause:#}");
    assert!(cause["evidence"].to_string().contains(evidence), "{evidence}: {cause:#}");
}

/// The queue of a process that is stopped fills up; of one that is slow it does as well, and nobody stopped that.
#[test]
fn a_stopped_process_is_named_beside_its_full_queue() {
    for stops in [true, false] {
        let lab = Lab::new();
        lab.client_gives_up_after_three_syns();
        let service = stops.then(|| serve(&lab));
        let _idle = (!stops).then(|| lab.server.listen_without_accept(to(), 1));
        let pid = service.as_ref().map_or(std::process::id() as i32, |service| service.pid().as_raw());
        if let Some(service) = &service {
            service.signal(Signal::SIGSTOP);
        }
        let tracer = trace(&lab);
        let _held: Vec<_> = (0..2).map(|_| lab.client.connect(to(), PATIENCE).expect("two fit")).collect();
        eventually(PATIENCE, || (lab.server.accept_queue(PORT) == Some((2, 1))).then_some(()));
        lab.client.connect(to(), PATIENCE).expect_err("the queue is full");
        let cause = verdict(&tracer, "stall", PORT);
        says(&cause, "listen_queue_full", "queue");
        let is_stopped =
            cause["evidence"].to_string().contains(&format!("(pid {pid}), which listens there, is stopped"));
        assert_eq!(is_stopped, stops, "{cause:#}");
        let step = format!("on this host: kill -CONT {pid}; and find out who stopped it");
        assert_eq!(cause["next"][0] == step, stops, "{cause:#}");
    }
}

/// Whoever listened is remembered; a port that nobody was seen on has no such evidence.
#[test]
fn a_process_that_has_ended_is_named_beside_the_closed_port() {
    let lab = Lab::new();
    let service = serve(&lab);
    let pid = service.pid();
    let tracer = trace(&lab);
    service.signal(Signal::SIGKILL);
    eventually(PATIENCE, || lab.server.accept_queue(PORT).is_none().then_some(()));
    lab.client.connect(to(), PATIENCE).expect_err("nobody listens");
    let cause = verdict(&tracer, "attempt", PORT);
    says(&cause, "port_closed", &format!("service (pid {pid}) listened there, was last seen"));
    assert!(!cause["evidence"].to_string().contains("want of memory"), "nobody ran out of it: {cause:#}");

    lab.client.connect((SERVER_V4, 81).into(), PATIENCE).expect_err("nobody listens");
    let cause = verdict(&tracer, "attempt", 81);
    says(&cause, "port_closed", "nobody listens");
    assert!(!cause["evidence"].to_string().contains("listened there"), "{cause:#}");
}

/// A service that another took the place of works, and nothing is said of the one before.
#[test]
fn a_service_that_was_started_again_is_not_the_one_that_ended() {
    let lab = Lab::new();
    let first = serve(&lab);
    let tracer = trace(&lab);
    first.signal(Signal::SIGKILL);
    eventually(PATIENCE, || lab.server.accept_queue(PORT).is_none().then_some(()));
    let _second = serve(&lab);
    lab.client.connect(to(), PATIENCE).expect("it listens again");
    lab.client.connect((SERVER_V4, 81).into(), PATIENCE).expect_err("nobody listens");
    verdict(&tracer, "attempt", 81);
    let lines = tracer.stop().json();
    assert!(lines.iter().all(|line| line["type"] == "summary" || line["server"]["port"] == 81), "{lines:#?}");
}

/// Killed for want of memory, or by somebody: both have ended, and only one of them wanted memory.
#[test]
fn a_service_that_wanted_too_much_memory_is_named_with_the_kernels_kill() {
    for is_hungry in [true, false] {
        let lab = Lab::new();
        let group = Cgroup::new(if is_hungry { Limit::Memory(24 << 20) } else { Limit::None });
        let service = serve_with(&lab, to(), if is_hungry { "hungry" } else { "" });
        group.take(service.pid().as_raw());
        let tracer = trace(&lab);
        if is_hungry {
            let _ = lab.client.connect(to(), PATIENCE);
        } else {
            service.signal(Signal::SIGKILL);
        }
        eventually(PATIENCE, || lab.server.accept_queue(PORT).is_none().then_some(()));
        lab.client.connect(to(), PATIENCE).expect_err("nobody listens");
        let is_refused = |line: &Value| line["type"] == "attempt" && line["outcome"] == "refused";
        let cause = tracer.wait_for_line(is_refused, PATIENCE)["cause"].take();
        says(&cause, "port_closed", "listened there, was last seen");
        let is_named =
            cause["evidence"].to_string().contains("killed 1 process of its cgroup for want of memory (oom_kill)");
        assert_eq!(is_named, is_hungry, "{cause:#}");
        assert_eq!(cause["next"].to_string().contains("oom-kill"), is_hungry, "{cause:#}");
    }
}

/// A service that accepts nobody: for a quota of its cgroup, or because it is busy.
#[test]
fn a_throttled_service_is_named_beside_its_full_queue() {
    for is_throttled in [true, false] {
        let lab = Lab::new();
        lab.client_gives_up_after_three_syns();
        // No more than a fifth of a processor without a quota that is used up: other tests want theirs.
        let group = is_throttled.then(|| Cgroup::new(Limit::Cpu(2000)));
        let service = serve_with(&lab, to(), "busy");
        if let Some(group) = &group {
            group.take(service.pid().as_raw());
        }
        let tracer = trace(&lab);
        let _held: Vec<_> = (0..2).map(|_| lab.client.connect(to(), PATIENCE).expect("two fit")).collect();
        eventually(PATIENCE, || (lab.server.accept_queue(PORT) == Some((2, 1))).then_some(()));
        lab.client.connect(to(), PATIENCE).expect_err("the queue is full");
        let cause = verdict(&tracer, "stall", PORT);
        says(&cause, "listen_queue_full", "queue");
        let is_named = cause["evidence"].to_string().contains("was throttled in");
        assert_eq!(is_named, is_throttled, "{cause:#}");
        assert_eq!(cause["next"].to_string().contains("cpu.max"), is_throttled, "{cause:#}");
    }
}

/// What a proxy accepts and resets: because its own call failed, or for a reason of its own.
#[test]
fn a_proxy_is_known_by_its_own_failed_call() {
    let lab = Lab::new();
    let backend = SocketAddr::from((SERVER_V4, 9000));
    let _proxy = serve_with(&lab, to(), &backend.to_string());
    let tracer = Tracer::start(&lab.server, ["-i", "eth0", "-i", "lo", "--json", "--local", "own"]);
    std::thread::sleep(SEEN);
    let unserved = |line: &Value| line["type"] == "attempt" && line["outcome"] == "reset_by_server";
    let _held = lab.client.connect(to(), PATIENCE);
    let cause = tracer.wait_for_line(unserved, PATIENCE)["cause"].take();
    assert_eq!(cause["confidence"], "likely", "{cause:#}");
    says(&cause, "no_backend", &format!("called {backend} meanwhile, which was refused"));
    // The same, for a reason of its own: nobody else was called.
    let _sends_away = lab.server.listen_and((SERVER_V4, 82).into(), OnAccept::Reset);
    let _held = lab.client.connect((SERVER_V4, 82).into(), PATIENCE);
    let its = |line: &Value| unserved(line) && line["server"]["port"] == 82;
    let cause = tracer.wait_for_line(its, PATIENCE)["cause"].take();
    assert_eq!(cause["confidence"], "possible", "{cause:#}");
    says(&cause, "no_backend", "sends clients away");
}

/// A listener of another interface takes no SYN of this one, and neither does one outside of a VRF.
#[test]
fn a_listener_of_another_interface_is_named_beside_the_closed_port() {
    let lab = Lab::new();
    lab.server.ip("link add mgmt type bridge\nlink set mgmt up");
    let _bound = lab.server.listen_on_interface(to(), "mgmt");
    let _free = lab.server.listen((SERVER_V4, 81).into());
    let tracer = trace(&lab);
    lab.client.connect((SERVER_V4, 81).into(), PATIENCE).expect("it is bound to no interface");
    lab.client.connect(to(), PATIENCE).expect_err("it listens elsewhere");
    let cause = verdict(&tracer, "attempt", PORT);
    says(&cause, "port_closed", "the socket that listens on port 80 is bound to interface mgmt");
    assert_eq!(cause["confidence"], "certain", "{cause:#}");
    assert!(!cause.to_string().contains("start the service"), "{cause:#}");
}
