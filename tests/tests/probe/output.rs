//! How it is said: as text, without privilege, interrupted, with evidence.

use std::{
    fs::File,
    io::Read as _,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use nix::{pty::openpty, sys::signal::Signal};
use tcptrace_tests::lab::{Lab, SERVER_V4, Tracer};

use crate::told::{PATIENCE, run};

/// The lines without their times, which differ.
fn steps(lines: &[String]) -> Vec<String> {
    let columns = |line: &String| {
        let is_step = ["ok  ", "!!  ", "??  ", "--  "].iter().any(|it| line.starts_with(it));
        let (step, rest) = (line.chars().take(13).collect::<String>(), line.chars().skip(24).collect::<String>());
        if is_step { format!("{} | {rest}", step.trim_end()) } else { line.clone() }
    };
    lines.iter().map(columns).collect()
}

#[test]
fn text_is_a_line_a_step_and_a_verdict() {
    let lab = Lab::new();
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let finished = run(&lab.client, &["203.0.113.2", "80", "6036"]);
    assert_eq!(finished.status.code(), Some(3), "{}", finished.stderr);
    assert_eq!(finished.stderr, "");
    let lines = steps(&finished.lines);
    assert_eq!(
        lines[0],
        "ok  route | via 198.51.100.1 on eth0, from 198.51.100.2/24 (permanent), MTU 1500; the gateway has a fixed link address"
    );
    assert!(lines[1].starts_with("ok  ping | 3 of 3 answered, "), "{}", lines[1]);
    assert_eq!(lines[2], "ok  path MTU | packets of 1500 bytes pass whole");
    let expected = [
        "ok  tcp 80 | open  [mss 1460/1460 ws 7/7 sack ts ttl 63]",
        "!!  tcp 6036 | RST (ECONNREFUSED)",
        "--  others | 22 RST, 443 RST, 65432 RST",
        "--  hops | SYNs to 6036: 1 198.51.100.1, 2 RST",
        "--  hops | SYNs to 80: 1 198.51.100.1, 2 answered",
        "",
        "port_closed (possible, this port only): port 6036 of 203.0.113.2 refuses connections: RST/ACK with",
        "TTL 63 and window 0; the host's SYN/ACKs have TTL 63 too; a rule that rejects on the host sends the",
        "same RST. Also: open: 80. Next: on 203.0.113.2, in its netns: ss -ltnp 'sport = :6036'; no line:",
        "start the service.",
    ];
    assert_eq!(lines[3..], expected);
}

#[test]
fn without_any_privilege_it_says_what_is_left_out() {
    let lab = Lab::new();
    let _rule = lab.client.filter("output", "tcp dport 6036 drop");
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let binary = Tracer::binary();
    let setpriv = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"];
    let argv = [&setpriv[..], &[binary.to_str().unwrap(), "diagnose", "--json", "203.0.113.2:6036"]].concat();
    let finished = lab.client.spawn(argv).finish(PATIENCE);
    let object = &finished.json()[0];
    tcptrace_tests::contract::hold(object);
    assert!(object["left_out"][0].as_str().unwrap().contains("CAP_NET_RAW"), "{object:#}");
    assert!(object["addresses"][0]["connects"][0]["wire"].is_null());
    // That no SYN leaves shows by the first router, which sees those of others.
    assert_eq!(object["verdict"]["cause"], "dropped_by_local_firewall");
    assert_eq!(object["verdict"]["confidence"], "likely");
}

#[test]
fn an_interrupt_prints_what_is_known() {
    let lab = Lab::new();
    let _rule = lab.router.filter("forward", "ip daddr 203.0.113.2 drop");
    let binary = Tracer::binary();
    let wire = lab.client.raw_link("eth0");
    let process = lab.client.spawn([binary.to_str().unwrap(), "diagnose", "--json", "203.0.113.2:80"]);
    wire.recv_tcp(Duration::from_secs(30), |segment| segment.target == (SERVER_V4, 80).into()).unwrap();
    process.signal(Signal::SIGINT);
    let finished = process.finish(PATIENCE);
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let object = &finished.json()[0];
    tcptrace_tests::contract::hold(object);
    assert_eq!((&object["interrupted"], &object["result"]), (&true.into(), &"unfinished".into()), "{object:#}");
    assert_eq!(object["addresses"][0]["route"]["interface"], "eth0");
}

/// One diagnosis whose standard error is a terminal, and what that was sent.
fn on_a_terminal(lab: &Lab, term: &str) -> (Output, String) {
    let pty = openpty(None, None).unwrap();
    let mut terminal = File::from(pty.master);
    let reader = thread::spawn(move || {
        let (mut sent, mut some) = (Vec::new(), [0; 1024]);
        // A terminal that nobody has open any more is an error to read (EIO).
        while let Ok(count @ 1..) = terminal.read(&mut some) {
            sent.extend(&some[..count]);
        }
        String::from_utf8(sent).unwrap()
    });
    let output = lab.client.enter(|| {
        let mut command = Command::new(Tracer::binary());
        command.args(["diagnose", "--json", "203.0.113.2:6036"]).env("TERM", term);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(pty.slave).output().unwrap()
    });
    (output, reader.join().unwrap())
}

#[test]
fn on_a_terminal_it_says_what_it_is_about_and_takes_that_away() {
    let lab = Lab::new();
    let _rule = lab.router.filter("forward", "ip daddr 203.0.113.2 drop");
    let (output, sent) = on_a_terminal(&lab, "xterm");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
    let (last, lines) =
        sent.split("\r\x1b[K").collect::<Vec<_>>().split_last().map(|it| (*it.0, it.1.to_vec())).unwrap();
    assert_eq!(last, "", "{sent:?}");
    for step in ["ping", "tcp 6036", "others", "hops"] {
        let is_told = |it: &&str| it.starts_with("203.0.113.2:6036, ") && it.contains(step);
        assert!(lines.iter().any(is_told), "{step}: {sent:?}");
    }
    assert!(lines.iter().all(|it| it.len() < 80), "{sent:?}");
    let (output, sent) = on_a_terminal(&lab, "dumb");
    assert_eq!((output.status.code(), sent.as_str()), (Some(3), ""));
}

#[test]
fn what_is_no_target_is_wrong_usage() {
    let lab = Lab::new();
    let finished = run(&lab.client, &["https://example.org/"]);
    assert_eq!(finished.status.code(), Some(2));
    assert!(finished.stderr.starts_with("tcptrace: cannot diagnose 'https://example.org/': "), "{}", finished.stderr);
}

#[test]
fn evidence_is_its_own_packets_with_the_verdict() {
    let lab = Lab::new();
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host.pcapng");
    let path = file.to_str().unwrap();
    let finished = run(&lab.client, &["-w", path, "203.0.113.2:6036"]);
    assert_eq!(finished.status.code(), Some(3), "{}", finished.stderr);
    let fields =
        ["tshark", "-r", path, "-Y", "tcp.port == 6036", "-T", "fields", "-e", "tcp.flags.str", "-e", "frame.comment"];
    let packets = lab.client.run(fields);
    let connect: Vec<_> = packets.lines().take(2).collect();
    assert!(connect[0].contains('S') && connect[1].contains('R'), "{packets}");
    assert!(connect[1].contains("tcptrace: diagnose: port_closed (possible)"), "{packets}");
    // What it writes can be read by what it is part of.
    let read = lab.client.run([Tracer::binary().to_str().unwrap(), "-r", path, "--json", "port", "6036"]);
    assert!(read.contains("\"outcome\":\"refused\""), "{read}");
}
