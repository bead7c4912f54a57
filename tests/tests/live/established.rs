//! `established`: late, told with `--all`, and the same everywhere.

use std::net::IpAddr;

use serde_json::json;
use tcptrace_tests::lab::{ConnectOptions, Lab};

use crate::view::{BOTH, PATIENCE, View, assert_golden};

#[test]
fn established_after_two_lost_syns() {
    let lab = Lab::new();
    let client = View::start(&lab.client, &["-i", "eth0"]);
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    let wires = BOTH.map(|_| lab.client.raw_link("eth0"));
    let rule = lab.router.filter("forward", "tcp flags syn drop");
    let connecting = BOTH.map(|(port, ip)| {
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        lab.client.start_connect((ip, 80).into(), options).unwrap()
    });
    for ((port, _), wire) in BOTH.into_iter().zip(&wires) {
        for _ in 0..2 {
            wire.recv_tcp(PATIENCE, |it| it.source.port() == port && it.is_syn()).unwrap();
        }
    }
    // The third is a second or more away.
    drop(rule);
    let _open = connecting.map(|it| it.finish(PATIENCE).unwrap());
    for (port, _) in BOTH {
        client.wait("attempt", port);
    }
    let client = client.end();
    for (port, _) in BOTH {
        let line = client.after_stall(port);
        assert_eq!((&line["outcome"], &line["recovered"]), (&json!("established"), &json!(true)));
        assert_eq!((&line["syn"]["tries"], &line["syn_ack"]["tries"]), (&json!(3), &json!(1)));
        let seconds = |path| line.pointer(path).unwrap().as_f64().unwrap();
        // The network was quick: all the delay lies before the SYN that was answered.
        assert!(seconds("/times/handshake_s") > 1.9, "{line:#}");
        assert!(seconds("/times/syn_to_synack_s") < 0.9, "{line:#}");
    }
    assert_golden("established_after_two_lost_syns", &client.lines);
    assert_eq!((client.figure("/attempts/stalled"), client.figure("/attempts/recovered")), (2, 2));
}

#[test]
fn established_is_told_with_all_only() {
    let lab = Lab::new();
    let [all, usual] = [&["-i", "eth0", "--all"][..], &["-i", "eth0"]].map(|args| View::start(&lab.client, args));
    for (first, ip) in BOTH {
        let _server = lab.server.listen((ip, 80).into());
        for port in (0..3).map(|number| first + 10 * number) {
            lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap();
        }
    }
    let [all, usual] = [all, usual].map(View::end);
    // Each when it opens and when it ends.
    assert_eq!((all.lines.len(), usual.lines.len()), (12, 0));
    for (port, _) in BOTH {
        let line = all.opened(port);
        assert_eq!((&line["outcome"], &line["recovered"]), (&json!("established"), &json!(false)));
    }
    assert_golden("established_is_told_with_all_only", BOTH.map(|(port, _)| all.opened(port)));
    assert_eq!([&all, &usual].map(|it| it.figure("/segments/completed")), [6, 6]);
}

#[test]
fn established_refused_and_silent_alike_in_three_places() {
    let lab = Lab::new();
    lab.client_gives_up_after_three_syns();
    let views = View::everywhere(&lab, &["--all"]);
    let _rule = lab.server.filter("input", "tcp dport 443 drop");
    let mut open = Vec::new();
    for (port, ip) in BOTH {
        open.push(lab.server.listen((ip, 80).into()));
        lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap();
        lab.client.connect_from(port + 10, (ip, 6036).into(), PATIENCE).unwrap_err();
    }
    let _silent = BOTH.map(|(port, ip)| {
        let options = ConnectOptions { from_port: Some(port + 20), ..Default::default() };
        lab.client.start_connect((ip, 443).into(), options).unwrap()
    });
    for (port, _) in BOTH {
        for view in &views {
            view.wait("stall", port + 20);
        }
    }
    let accounts = views.map(View::end);
    for (port, _) in BOTH {
        for (port, outcome) in [(port, "half_closed"), (port + 10, "refused"), (port + 20, "no_reply")] {
            let ends = accounts.each_ref().map(|it| it.of_port(port).last().unwrap());
            assert_eq!(ends.map(|it| &it["outcome"]), [outcome; 3]);
            assert_eq!(ends.map(|it| &it["handshake_id"]), [&ends[0]["handshake_id"]; 3]);
        }
    }
    for account in &accounts {
        // Three of either version, and two retries of the silent one: on the router, each was seen twice.
        let segments = ["opened", "syn_retried", "answered", "syn_ack_retried", "completed", "refused"];
        let segments = segments.map(|name| account.figure(&format!("/segments/{name}")));
        assert_eq!(segments, [6, 4, 2, 0, 2, 2]);
        account.assert_nothing_lost();
    }
    assert_eq!(accounts.map(|it| it.figure("/segments/seen_again") > 0), [false, true, false]);
}

#[test]
fn established_and_refused_on_loopback_once() {
    let lab = Lab::new();
    let view = View::start(&lab.server, &["-i", "lo", "--all"]);
    let hosts: [IpAddr; 2] = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap());
    for ((port, _), ip) in BOTH.into_iter().zip(hosts) {
        let _server = lab.server.listen((ip, 80).into());
        lab.server.connect_from(port, (ip, 80).into(), PATIENCE).unwrap();
        lab.server.connect_from(port + 10, (ip, 6036).into(), PATIENCE).unwrap_err();
    }
    let account = view.end();
    for (port, _) in BOTH {
        assert_eq!(account.opened(port)["outcome"], "established");
        assert_eq!(account.only(port + 10)["outcome"], "refused");
    }
    let segments = ["opened", "syn_retried", "answered", "completed", "refused", "seen_again"];
    assert_eq!(segments.map(|name| account.figure(&format!("/segments/{name}"))), [4, 0, 2, 2, 2, 0]);
    assert!(account.stderr.contains("out by the same packets"), "{}", account.stderr);
}
