//! What becomes of a connection, and of half a handshake: told with `--all`, and the same as of a capture of it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};

use nix::sys::signal::Signal;
use serde_json::json;
use tcptrace_tests::{
    lab::{
        ConnectOptions, Lab, OTHER_V4, OTHER_V6, OnAccept, SERVER_GATEWAY_MAC, SERVER_MAC, SERVER_V4, SERVER_V6,
        TcpFrame, eventually, flags, reset,
    },
    pcap::{self, Stored},
};

use crate::view::{BOTH, PATIENCE, View};

/// What each client port's connection comes to: the port beyond the first, outcome, stage.
const ENDS: [(u16, &str, Option<&str>); 5] = [
    (0, "closed", None),
    (10, "reset_by_client", Some("post_ack")),
    (20, "reset_by_server", Some("unserved")),
    (30, "half_closed", None),
    (40, "established", None),
];

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_end_as_in_a_capture_of_it() {
    let lab = Lab::new();
    let stored = Stored::new(&[]);
    let path = stored.0.to_str().unwrap();
    let tcpdump =
        lab.client.spawn(["tcpdump", "-Z", "root", "-i", "eth0", "--immediate-mode", "-U", "-w", path, "tcp"]);
    tcpdump.wait_for("tcpdump", PATIENCE, |it| it.stderr.iter().any(|it| it.contains("listening")).then_some(()));
    let view = View::start(&lab.client, &["-i", "eth0", "--all"]);
    let mut open = Vec::new();
    for (first, ip) in BOTH {
        let closing = lab.server.listen_and((ip, 80).into(), OnAccept::Close);
        let mut stream = lab.client.connect_from(first, (ip, 80).into(), PATIENCE).unwrap();
        // Its FIN has come, and ours answers it.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        drop(stream);

        let waiting = lab.server.listen_without_accept((ip, 81).into(), 9);
        reset(lab.client.connect_from(first + 10, (ip, 81).into(), PATIENCE).unwrap());
        let mut accepted = waiting.accept().unwrap();
        accepted.read(&mut [0]).unwrap_err();

        let mut stream = lab.client.connect_from(first + 20, (ip, 81).into(), PATIENCE).unwrap();
        stream.write_all(b"?").unwrap();
        let mut accepted = waiting.accept().unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        reset(accepted);
        stream.read(&mut [0]).unwrap_err();

        let stream = lab.client.connect_from(first + 30, (ip, 81).into(), PATIENCE).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut accepted = waiting.accept().unwrap();
        // The FIN has passed when the server has read it.
        assert_eq!(accepted.read(&mut [0]).unwrap(), 0);
        open.push((stream, accepted));
        open.push((lab.client.connect_from(first + 40, (ip, 81).into(), PATIENCE).unwrap(), waiting.accept().unwrap()));
        drop(closing);
    }
    for (first, _) in BOTH {
        for (port, ..) in &ENDS[..3] {
            view.wait("attempt", first + port);
        }
    }
    let account = view.end();
    // What tcpdump has not read when it is told to end, it does not write.
    let captured = eventually(PATIENCE, || {
        let it = pcap::read(&stored.0, &["--all"]);
        let counts = it.summary["attempts"]["by_outcome"].clone();
        ENDS.iter().all(|(_, outcome, _)| counts[outcome] == 2).then_some(it)
    });
    tcpdump.signal(Signal::SIGINT);
    tcpdump.finish(PATIENCE);
    for (first, _) in BOTH {
        for (port, outcome, stage) in ENDS {
            account.opened(first + port);
            let live = account.of_port(first + port).last().unwrap();
            assert_eq!((&live["outcome"], &live["stage"]), (&json!(outcome), &json!(stage)), "{live:#}");
            assert_eq!(live["trust"]["still_open"], json!(port >= 30));
            let offline = captured.lines.iter().find(|it| it["handshake_id"] == live["handshake_id"]);
            let offline = offline.unwrap_or_else(|| panic!("not in the capture: {live:#}"));
            for pointer in ["/outcome", "/stage", "/reason", "/zeek/conn_state", "/syn", "/syn_ack", "/agreed"] {
                assert_eq!(live.pointer(pointer), offline.pointer(pointer), "{pointer} of {live:#}");
            }
        }
    }
    for (_, outcome, _) in ENDS {
        assert_eq!(account.figure(&format!("/attempts/by_outcome/{outcome}")), 2, "{outcome}");
    }
    account.assert_nothing_lost();
}

/// A SYN/ACK whose SYN went another way, and one whose receiver knows nothing of it; who goes on after it is in the
/// middle of a connection.
#[test]
fn answer_only_where_nobody_goes_on() {
    let lab = Lab::new();
    let view = View::start(&lab.server, &["-i", "eth0", "--all", "--stall-after", "0.5"]);
    let link = lab.server.raw_link("eth0");
    let wire = lab.client.raw_link("eth0");
    let macs = (SERVER_MAC, SERVER_GATEWAY_MAC);
    for (port, ip) in BOTH {
        let client =
            if ip.is_ipv4() { tcptrace_tests::lab::stranger_v4(1) } else { tcptrace_tests::lab::stranger_v6(1) };
        for port in [port, port + 10] {
            let from: SocketAddr = (ip, 80).into();
            let syn_ack = TcpFrame::new(macs, from, (client, port).into(), flags::SYN | flags::ACK, 1);
            link.send(&TcpFrame { ack: 7, ..syn_ack }.bytes());
            wire.recv_tcp(PATIENCE, |it| it.target.port() == port).expect("it comes by at the client's end");
        }
        let going_on = TcpFrame::new(macs, (ip, 80).into(), (client, port + 10).into(), flags::ACK, 2);
        link.send(&TcpFrame { ack: 7, ..going_on }.bytes());
    }
    for (port, _) in BOTH {
        let line = view.wait("attempt", port);
        assert_eq!((&line["outcome"], &line["syn"]), (&json!("answer_only"), &json!(null)));
        assert_eq!(line["zeek"], json!({ "conn_state": "OTH", "history": "H" }));
    }
    let account = view.end();
    for (port, _) in BOTH {
        assert_eq!(account.kinds(port + 10), [""; 0]);
    }
    assert_eq!(account.figure("/attempts/by_outcome/answer_only"), 2);
    assert_eq!(account.figure("/segments/opened"), 0);
}

/// The translator on the way rewrites the answer's sender: the client's stack refuses it, and tries until it gives up.
#[test]
fn wrong_answer_from_another_address() {
    let lab = Lab::new();
    lab.client_gives_up_after_three_syns();
    let view = View::start(&lab.client, &["-i", "eth0"]);
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    let rewrite =
        |family: &str, from, to| format!("{family} saddr {from} tcp sport 80 notrack {family} saddr set {to};");
    let rules = [rewrite("ip", SERVER_V4, OTHER_V4), rewrite("ip6", SERVER_V6, OTHER_V6)].concat();
    let _table = lab.router.nft(&format!("chain raw {{ type filter hook prerouting priority -300; {rules} }}"));
    let _silent = BOTH.map(|(port, ip)| {
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        lab.client.start_connect((ip, 80).into(), options).unwrap()
    });
    for ((port, ip), (_, other)) in BOTH.into_iter().zip(crate::view::BOTH_OTHERS) {
        let line = view.wait("attempt", port);
        assert_eq!((&line["outcome"], &line["answered_from"]), (&json!("wrong_answer"), &json!(other)), "{line:#}");
        assert_eq!(line["server"]["ip"], json!(ip));
    }
    assert!(view.end().lines.iter().all(|it| it["type"] == "stall" || it["outcome"] == "wrong_answer"));
}
