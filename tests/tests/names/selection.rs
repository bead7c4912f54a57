//! `--process`, `--unit`, `--container`, `--pod`: what is listed, what is left out, what is only counted.

use std::{collections::BTreeSet, process::Command};

use tcptrace_tests::lab::{Lab, Tracer};

use crate::{Caller, PATIENCE, attempt, docker, pod, root, server, trace};

/// Four callers at once, each at a port of its own: which ports are listed.
#[test]
fn each_option_lists_its_own() {
    let (lab, root) = (Lab::new(), root());
    let to = server(&lab);
    let wants: [(&[&str], &[u64]); 7] = [
        (&["--container", "web-*"], &[81]),
        (&["--container", "3f9a1c0b5e7d", "--pod", "shop/*"], &[82]),
        (&["--pod", "web-0"], &[82]),
        (&["--unit", "web"], &[83]),
        (&["--unit", "web.service", "--unit", "other"], &[83]),
        (&["--process", "ba*", "--process", "curl"], &[81, 82, 83, 84]),
        (&["--process", "curl"], &[]),
    ];
    let tracers = wants.map(|(args, ports)| {
        let args = [&["--json"], args].concat();
        (trace(&lab.client, root.path(), &args), args, ports)
    });
    let _callers =
        [(81, Some(docker())), (82, Some(pod())), (83, Some("system.slice/web.service".to_owned())), (84, None)]
            .map(|(port, cgroup)| Caller::start(&lab.client, cgroup.as_deref(), to, port));
    for (tracer, _, ports) in &tracers {
        for port in *ports {
            tracer.wait_for_line(|line| line["type"] == "attempt" && line["server"]["port"] == *port, PATIENCE);
        }
    }
    // What is not to be listed had as much time.
    for (tracer, args, ports) in tracers {
        let lines = tracer.stop().json();
        let listed = lines.iter().filter(|line| line["type"] == "attempt");
        let listed: BTreeSet<_> = listed.filter_map(|line| line["server"]["port"].as_u64()).collect();
        assert_eq!(listed, ports.iter().copied().collect(), "{args:?}");
        let summary = lines.last().expect("a summary");
        assert_eq!(summary["attempts"]["unlisted"], 0, "every process is known: {args:?}");
    }
}

/// A router has neither end: nothing is listed, and all of it is counted.
#[test]
fn attempts_of_unknown_processes_are_counted() {
    let (lab, root) = (Lab::new(), root());
    let to = server(&lab);
    let below = root.path().to_str().expect("it is text");
    let args = ["-i", "client0", "--local", "own", "--names-below", below, "--process", "bash"];
    let tracer = Tracer::start(&lab.router, args);
    let witness = trace(&lab.client, root.path(), &["--json"]);
    let _caller = Caller::start(&lab.client, None, to, 81);
    attempt(&witness, 81);
    let finished = tracer.stop();
    assert_eq!(finished.lines, [""; 0], "{}", finished.stderr);
    assert!(finished.stderr.contains("  not listed: "), "{}", finished.stderr);
    assert!(finished.stderr.contains(" of unknown processes"), "{}", finished.stderr);
}

#[test]
fn without_processes_there_is_nothing_to_choose_by() {
    for args in [&["--local", "off", "--pod", "web-0"][..], &["-r", "x.pcap", "--unit", "web"], &["--process", ""]] {
        let output = Command::new(Tracer::binary()).args(args).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
