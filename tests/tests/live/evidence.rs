//! `-w` live: the packets of what failed, and of nothing else, with their verdicts; read back by tshark and by `-r`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tcptrace_tests::{
    lab::{ConnectOptions, Lab},
    pcap::{self, Stored},
};

use crate::view::{Account, BOTH, PATIENCE, View};

/// A refusal, a silence, an error of the router's, and a connection that is none of these, of either IP version.
fn fail(lab: &Lab, view: &View) {
    let rule = "tcp dport 81 drop; tcp dport 82 reject with icmpx admin-prohibited";
    let _rules = lab.router.filter("forward", rule);
    let mut silent = Vec::new();
    for (port, ip) in BOTH {
        let _server = lab.server.listen((ip, 80).into());
        lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap();
        lab.client.connect_from(port + 10, (ip, 6036).into(), PATIENCE).unwrap_err();
        let options = |port| ConnectOptions { from_port: Some(port), ..Default::default() };
        silent.push(lab.client.start_connect((ip, 81).into(), options(port + 20)).unwrap());
        lab.client.connect_from(port + 30, (ip, 82).into(), PATIENCE).unwrap_err();
    }
    for (port, _) in BOTH {
        for port in [port + 10, port + 20, port + 30] {
            view.wait("attempt", port);
        }
    }
}

/// The outcome of each handshake, by its id.
fn verdicts(lines: &[Value]) -> BTreeMap<String, String> {
    let word = |line: &Value, name: &str| line[name].as_str().expect("a word").to_owned();
    let attempts = lines.iter().filter(|it| it["type"] == "attempt");
    attempts.map(|it| (word(it, "handshake_id"), word(it, "outcome"))).collect()
}

fn tshark(path: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.args(["-r", path, "-T", "fields"]).args(fields.iter().flat_map(|it| ["-e", it]));
    let output = command.output().expect("tshark is there: cargo xtask test installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints = said.lines().filter(|it| !it.contains("Running as user")).collect::<Vec<_>>();
    assert!(output.status.success() && complaints.is_empty(), "{said}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn trace(args: &[&str]) -> (Account, Stored) {
    let lab = Lab::new();
    lab.client_gives_up_after_three_syns();
    let stored = Stored::new(&[]);
    let view = View::start(&lab.client, &[&["-i", "eth0", "-w", stored.0.to_str().unwrap()], args].concat());
    fail(&lab, &view);
    (view.end(), stored)
}

#[track_caller]
fn check(args: &[&str]) {
    let (account, stored) = trace(args);
    account.assert_nothing_lost();
    assert!(account.stderr.contains("MiB wait for a verdict"), "{}", account.stderr);
    let path = stored.0.to_str().unwrap();

    // Read back, they are the same handshakes with the same verdicts, and no others.
    let back = pcap::read(&stored.0, &["--all"]);
    assert_eq!((back.code, verdicts(&back.lines)), (Some(0), verdicts(&account.lines)), "{}", back.stderr);
    assert_eq!(verdicts(&back.lines).len(), 6);
    for line in &back.lines {
        assert_eq!(line["seen"]["client"]["interface"], "eth0");
        assert_eq!(line["seen"]["client"]["direction"], "out");
    }

    // Each has one comment, at the packet that decided.
    let rows = tshark(path, &["frame.comment", "tcp.flags.str", "icmp.type", "icmpv6.type", "frame.interface_name"]);
    let comments: Vec<_> = rows.iter().filter(|row| !row[0].is_empty()).collect();
    assert_eq!(comments.len(), 6, "{rows:?}");
    for row in &comments {
        let is_icmp = !row[2].is_empty() || !row[3].is_empty();
        let verdict = row[0].strip_prefix("tcptrace: ").unwrap_or_else(|| panic!("{row:?}"));
        match verdict.split(':').next().unwrap() {
            "refused" => assert!(row[1].contains('R'), "{row:?}"),
            "no_reply" => assert!(row[1].contains('S') && !is_icmp, "{row:?}"),
            "unreachable" => assert!(is_icmp, "{row:?}"),
            other => panic!("{other}: {row:?}"),
        }
        assert_eq!(row[4], "eth0");
    }
    // Three SYNs, SYN and RST, SYN and ICMP: of either version.
    assert_eq!(rows.len(), 14, "{rows:?}");
}

#[test]
fn failures_and_nothing_else_by_tc() {
    check(&[]);
}

#[test]
fn failures_and_nothing_else_by_native_xdp() {
    check(&["--hook", "xdp"]);
}

/// Where nothing more can be written, tracing goes on, says so, counts, and ends with 1.
#[test]
fn a_full_disk_is_said_and_counted() {
    let lab = Lab::new();
    // A file system of one page: the header fits.
    let directory = Stored::new(&[]);
    fs::remove_file(&directory.0).unwrap();
    fs::create_dir(&directory.0).unwrap();
    let mount = directory.0.to_str().unwrap();
    let full = |ns: &tcptrace_tests::lab::Ns| {
        let tracer = tcptrace_tests::lab::Tracer::binary();
        let script = format!(
            "mount -t tmpfs -o size=4k none {mount} && exec {} -i eth0 --json -w {mount}/trace.pcapng",
            tracer.display()
        );
        ns.spawn(["unshare", "--mount", "sh", "-c", &script])
    };
    let process = full(&lab.client);
    process.wait_for("the banner", PATIENCE, |it| it.stderr.iter().any(|it| it.contains("Ctrl-C")).then_some(()));
    let mut lines = 0;
    for port in 41_000..41_060 {
        let (_, ip) = BOTH[usize::from(port % 2)];
        lab.client.connect_from(port, (ip, 6036).into(), PATIENCE).unwrap_err();
        lines += 1;
    }
    process.wait_for("the error", PATIENCE, |it| it.stderr.iter().any(|it| it.contains("evidence: ")).then_some(()));
    let finished = process.stop();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let account = Account::of(&finished);
    assert_eq!(account.lines.len(), lines);
    assert!(account.figure("/losses/evidence_shed") > 0);
    let _ = fs::remove_dir(&directory.0);
}
