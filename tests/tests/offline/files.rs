//! Files as people have them: cut, damaged, compressed, on standard input, several, of a kind that is not read; what is
//! said, on which stream, and with which exit code.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    contract,
    lab::{TcpFrame, Tracer, flags},
    pcap::{self, Pcap, Stored},
    traffic::MACS,
};
use tcptrace_vocabulary::outcome::Outcome;

/// A SYN that is refused, from each of these ports, a second apart.
pub(crate) fn refused(ports: std::ops::Range<u16>) -> Pcap {
    let mut capture = Pcap::new(Link::Ethernet);
    for port in ports {
        let syn = TcpFrame::new(MACS, ([198, 51, 100, 2], port).into(), ([203, 0, 113, 2], 6036).into(), flags::SYN, 7);
        capture.frame(Duration::from_secs(1), &syn.bytes());
        capture.frame(Duration::from_millis(1), &syn.answer(flags::RST | flags::ACK, 0).bytes());
    }
    capture
}

fn ports(read: &pcap::Read) -> Vec<u64> {
    read.lines.iter().map(|it| it["client"]["port"].as_u64().unwrap()).collect()
}

/// The contract of a line: every field, of an attempt whose every field is known.
#[test]
fn refused_is_told_in_full() {
    let read = pcap::read(&refused(1..2).store().0, &[]);
    assert_eq!((read.code, &read.stderr[..]), (Some(0), ""));
    let mut line = read.lines[0].clone();
    let interface = line["seen"]["client"]["interface"].take();
    assert!(interface.as_str().unwrap().ends_with(".pcap"), "{interface}");
    let settings = {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings
    };
    settings.bind(|| insta::assert_snapshot!("offline_refused", serde_json::to_string_pretty(&line).unwrap()));
    assert_eq!(read.summary["attempts"]["by_outcome"]["refused"], 1);
    assert_eq!(read.summary["packets"]["tcp_control"], 2);
    assert_eq!(read.summary["losses"], json!({}));
}

#[test]
fn cut_capture_tells_what_is_whole_and_fails() {
    let whole = refused(1..4).octets;
    let read = pcap::read(&Stored::new(&whole[..whole.len() - 1]).0, &[]);
    // The last RST is gone: its SYN is without an answer, and silence of no length is nothing to tell of.
    assert_eq!((read.code, ports(&read)), (Some(1), vec![1, 2, 3]));
    assert_eq!(read.lines[2]["outcome"], "no_reply");
    assert_eq!(read.lines[2]["trust"]["still_open"], true);
    let offset = whole.len() - 1;
    assert!(read.stderr.contains(&format!("byte {offset}")), "{}", read.stderr);
    assert_eq!(read.summary["losses"], json!({ "damaged": 1 }));
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    for octets in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\x0a\x0d"] {
        let read = pcap::read(&Stored::new(octets).0, &[]);
        assert_eq!((read.code, read.lines.len()), (Some(1), 0));
        assert_eq!(read.stderr.lines().count(), 1, "{}", read.stderr);
    }
    let missing = pcap::read(std::path::Path::new("/nonexistent.pcap"), &[]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("cannot read '/nonexistent.pcap': No such file or directory"),
        "{}",
        missing.stderr
    );
}

#[test]
fn several_files_are_one() {
    let mut whole = refused(1..3);
    let second = refused(3..4).store();
    let syn = TcpFrame::new(MACS, ([198, 51, 100, 2], 9).into(), ([203, 0, 113, 2], 80).into(), flags::SYN, 7);
    whole.frame(Duration::from_secs(1), &syn.bytes());
    let mut rest = Pcap::new(Link::Ethernet);
    rest.frame(Duration::from_secs(4), &syn.answer(flags::RST | flags::ACK, 0).bytes());
    let (first, rest) = (whole.store(), rest.store());
    let read = pcap::read(&first.0, &["-r", second.0.to_str().unwrap(), "-r", rest.0.to_str().unwrap()]);
    assert_eq!((read.code, ports(&read)), (Some(0), vec![1, 2, 9, 3]), "{}", read.stderr);
    assert!(read.lines.iter().all(|it| it["outcome"] == "refused"));
}

#[test]
fn standard_input_is_a_file() {
    let mut tracer = Command::new(Tracer::binary())
        .args(["--json", "-r", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tracer.stdin.take().unwrap().write_all(&refused(1..3).octets).unwrap();
    let output = tracer.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), text.lines().filter(|it| !it.contains(r#""type":"incident""#)).count()),
        (Some(0), 3)
    );
}

#[test]
fn a_link_type_that_is_not_read_is_said() {
    let mut wifi = refused(1..3);
    wifi.octets[20] = 127;
    let read = pcap::read(&wifi.store().0, &[]);
    assert_eq!((read.code, read.lines.len()), (Some(1), 0));
    assert!(read.stderr.contains("802.11"), "{}", read.stderr);
    assert_eq!(read.summary["losses"], json!({ "unsupported_link_type": 4 }));
}

#[test]
fn a_filter_chooses_attempts_by_their_syn() {
    let stored = refused(1..5).store();
    assert_eq!(ports(&pcap::read(&stored.0, &["src", "port", "2", "or", "3"])), [2, 3]);
    assert_eq!(ports(&pcap::read(&stored.0, &["src port 6036"])), [0; 0]);
    let wrong = pcap::read(&stored.0, &["src", "prot", "2"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("src prot 2\n") && wrong.stderr.contains('^'), "{}", wrong.stderr);
}

#[test]
fn fail_on_and_count_hold_for_captures() {
    let stored = refused(1..5).store();
    assert_eq!(pcap::read(&stored.0, &["--fail-on", "refused"]).code, Some(3));
    assert_eq!(pcap::read(&stored.0, &["--fail-on", "no_reply"]).code, Some(0));
    // Also of what is only listed with --all.
    let mut open = Pcap::new(Link::Ethernet);
    let syn = TcpFrame::new(MACS, ([198, 51, 100, 2], 9).into(), ([203, 0, 113, 2], 80).into(), flags::SYN, 7);
    open.frame(Duration::ZERO, &syn.bytes());
    let answer = syn.answer(flags::SYN | flags::ACK, 99);
    open.frame(Duration::ZERO, &answer.bytes());
    open.frame(Duration::ZERO, &answer.answer(flags::ACK, 8).bytes());
    assert_eq!(pcap::read(&open.store().0, &["--fail-on", "established"]).code, Some(3));
    assert_eq!(ports(&pcap::read(&stored.0, &["-c", "2"])), [1, 2]);
}

/// Another address answers: told as it is asked for, and by whom it was answered.
#[test]
fn wrong_answer_from_another_address() {
    let mut capture = Pcap::new(Link::Ethernet);
    let client = ([198, 51, 100, 2], 40_000).into();
    let syn = TcpFrame::new(MACS, client, ([203, 0, 113, 2], 80).into(), flags::SYN, 7);
    capture.frame(Duration::ZERO, &syn.bytes());
    let mut answer = syn.answer(flags::SYN | flags::ACK, 99);
    answer.source = ([203, 0, 113, 9], 80).into();
    capture.frame(Duration::from_millis(1), &answer.bytes());
    let read = pcap::read(&capture.store().0, &["--all"]);
    assert_eq!(read.lines[0]["outcome"], "wrong_answer");
    assert_eq!(
        (&read.lines[0]["server"]["ip"], &read.lines[0]["answered_from"]),
        (&json!("203.0.113.2"), &json!("203.0.113.9"))
    );
    assert_eq!(read.lines[1]["outcome"], "answer_only");
}

/// Beyond the number of conversations that are kept, the oldest are reported early, and counted.
#[test]
fn too_many_conversations_are_told_early() {
    let mut capture = Pcap::new(Link::Ethernet);
    for port in 1..=1000u16 {
        let syn = TcpFrame::new(MACS, ([198, 51, 100, 2], port).into(), ([203, 0, 113, 2], 80).into(), flags::SYN, 7);
        capture.frame(Duration::from_millis(1), &syn.bytes());
    }
    let read = pcap::read(&capture.store().0, &["--max-attempts", "64"]);
    assert_eq!(ports(&read), (1..=1000).collect::<Vec<u64>>());
    assert!(read.summary["losses"]["told_early"].as_u64().unwrap() > 900, "{}", read.summary);
}

/// What `-w` wrote, `-r` reads to the same verdicts; tshark reads it without a word, and shows the comments.
#[test]
fn evidence_is_read_to_the_same_verdicts() {
    let mut capture = refused(1..4);
    // One that works, which is no evidence of anything.
    let syn = TcpFrame::new(MACS, ([198, 51, 100, 2], 9).into(), ([203, 0, 113, 2], 80).into(), flags::SYN, 7);
    let answer = syn.answer(flags::SYN | flags::ACK, 99);
    for frame in [&syn, &answer, &answer.answer(flags::ACK, 8)] {
        capture.frame(Duration::from_millis(1), &frame.bytes());
    }
    let (stored, evidence) = (capture.store(), Stored::new(b""));
    let path = evidence.0.to_str().unwrap();
    let first = pcap::read(&stored.0, &["-w", path]);
    assert_eq!((first.code, &first.stderr[..]), (Some(0), ""));
    let mut again = pcap::read(&evidence.0, &["--all"]);
    for (line, original) in again.lines.iter_mut().zip(&first.lines) {
        // The file's own name stands for the interface's in the one, and is kept in the other.
        line["seen"] = original["seen"].clone();
        // What worked beside it told of cause and scope, and is not in the evidence.
        line["cause"] = original["cause"].clone();
        line["scope"] = original["scope"].clone();
    }
    assert_eq!(again.lines, first.lines);
    let fields = ["frame.time_epoch", "tcp.srcport", "frame.comment"];
    let tshark = Command::new("tshark")
        .args(["-r", path, "-T", "fields"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .unwrap();
    let (stdout, stderr) = [tshark.stdout, tshark.stderr].map(|it| String::from_utf8(it).unwrap()).into();
    assert!(!stderr.contains("tshark:"), "{stderr}");
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 6);
    let id = first.lines[0]["handshake_id"].as_str().unwrap();
    // The answer of port 80 is what the RST's TTL is compared with; a closed port's window would be 0.
    let cause =
        "firewall_reject, possible: RST/ACK with TTL 64 and window 64240; it has no ACK, or a window other than 0";
    let verdict =
        format!("tcptrace: refused: SYN, server sent RST/ACK (ttl 64, window 64240); {cause}; handshake {id}");
    assert_eq!(lines[0], ["1700000001.000000000", "1", ""]);
    assert_eq!(lines[1][..2], ["1700000001.001000000", "6036"]);
    // The scope and the next steps follow, a line each.
    let (said, rest) = lines[1][2].split_once("\\n").expect("more than one line");
    assert_eq!((said, rest.starts_with("scope: port; ")), (&*verdict, true), "{rest}");
    assert!(lines.iter().skip(1).step_by(2).all(|it| it[2].starts_with("tcptrace: refused: ")));
}

/// The contract knows every word, and nothing else: a new outcome has to be written into it.
#[test]
fn the_schema_is_printed_and_knows_every_outcome() {
    let output = Command::new(Tracer::binary()).arg("schema").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$defs"]["outcome"]["enum"], json!(Outcome::ALL.map(Outcome::name)));
    let mut line = pcap::read(&refused(1..2).store().0, &[]).lines.remove(0);
    line["outcome"] = json!("melted");
    assert!(std::panic::catch_unwind(|| contract::hold(&line)).is_err(), "the schema lets everything pass");
}

#[test]
fn evidence_never_goes_over_its_own_source() {
    let stored = refused(1..2).store();
    let path = stored.0.to_str().unwrap();
    let before = std::fs::read(&stored.0).unwrap();
    let read = pcap::read(&stored.0, &["-w", path]);
    assert_eq!((read.code, std::fs::read(&stored.0).unwrap()), (Some(2), before.clone()));
    assert!(read.stderr.contains("it is being read"), "{}", read.stderr);
    // Nor over anything for the sake of a capture that is not there.
    let missing = pcap::read(std::path::Path::new("/nonexistent.pcap"), &["-w", path]);
    assert_eq!((missing.code, std::fs::read(&stored.0).unwrap()), (Some(1), before));
}

/// A packet of which too little was captured is a loss, and said to be one.
#[test]
fn a_snapshot_length_that_is_too_short_is_said() {
    let mut capture = refused(1..2);
    let at = 24;
    // The first record keeps 40 of its bytes.
    capture.octets[at + 8..at + 12].copy_from_slice(&40_u32.to_le_bytes());
    let length = u32::from_le_bytes(capture.octets[at + 12..at + 16].try_into().unwrap()) as usize;
    capture.octets.drain(at + 16 + 40..at + 16 + length);
    let read = pcap::read(&capture.store().0, &["--all"]);
    assert_eq!(read.summary["losses"], json!({ "cut_by_snaplen": 1 }));
}

/// Evidence of more tries than are kept has the packet that decided all the same.
#[test]
fn evidence_of_many_tries_keeps_the_verdict() {
    let mut capture = Pcap::new(Link::Ethernet);
    let syn = TcpFrame::new(MACS, ([198, 51, 100, 2], 9).into(), ([203, 0, 113, 2], 80).into(), flags::SYN, 7);
    for _ in 0..80 {
        capture.frame(Duration::from_secs(1), &syn.bytes());
    }
    capture.frame(Duration::from_secs(1), &syn.answer(flags::RST | flags::ACK, 0).bytes());
    let (stored, evidence) = (capture.store(), Stored::new(b""));
    let first = pcap::read(&stored.0, &["-w", evidence.0.to_str().unwrap()]);
    assert_eq!(first.summary["losses"], json!({ "evidence_cut": 17 }));
    assert_eq!(pcap::read(&evidence.0, &[]).lines[0]["outcome"], "refused");
}

#[test]
fn a_duration_that_is_none_is_answered_with_examples() {
    let stored = refused(1..2).store();
    for (flags, code) in [
        (&["--stall-after", "500ms"][..], 0),
        (&["--stall-after", "1m30s"], 0),
        (&["--stall-after", "2"], 0),
        (&["--stall-after", "soon"], 2),
        (&["-w", "/nonexistent/x", "-G", "1 fortnight"], 2),
    ] {
        let read = pcap::read(&stored.0, flags);
        assert_eq!(read.code, Some(code), "{flags:?}: {}", read.stderr);
        assert_eq!(read.stderr.contains("write one such as 90s, 500ms, 1m30s"), code == 2, "{}", read.stderr);
    }
}

/// The order of options and filter is free; `--` ends the options.
#[test]
fn options_may_follow_the_filter() {
    let stored = refused(1..5).store();
    assert_eq!(ports(&pcap::read(&stored.0, &["src", "port", "2", "or", "3", "-c", "1"])), [2]);
    assert_eq!(ports(&pcap::read(&stored.0, &["src port 2", "--stall-after", "1s", "or 3"])), [2, 3]);
    assert_eq!(ports(&pcap::read(&stored.0, &["-c", "1", "--", "src", "port", "2", "or", "3"])), [2]);
    let behind = pcap::read(&stored.0, &["--", "src", "port", "2", "-c", "1"]);
    assert_eq!(behind.code, Some(2));
    assert!(behind.stderr.contains("  src port 2 -c 1\n"), "{}", behind.stderr);
}

/// A command that is misspelt would be a filter; an option that is misspelt is clap's.
#[test]
fn the_word_that_was_meant_is_named() {
    for (words, said) in [
        (&["diagnos", "192.0.2.1"][..], "'diagnos' is unknown; did you mean the command 'tcptrace diagnose'?\n"),
        (&["shcema"], "did you mean the command 'tcptrace schema'?\n  shcema\n  ^^^^^^"),
        (&["expl", "half_open"], "did you mean the command 'tcptrace explain'?\n"),
        (&["-r", "/nonexistent", "dst", "prot", "443"], "did you mean 'port'?\n  dst prot 443\n      ^^^^"),
        (&["port", "443", "--jsn"], "a similar argument exists: '--json'"),
    ] {
        let output = Command::new(Tracer::binary()).args(words).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}
