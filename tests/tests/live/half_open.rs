//! `half_open`: a SYN/ACK, and no final ACK; and what the other places see of the same handshake.

use std::net::SocketAddr;

use serde_json::json;
use tcptrace_tests::lab::{ConnectOptions, Lab, flags};

use crate::view::{BOTH, PATIENCE, View, assert_golden};

/// Not the RST/ACK of a closed port, and not the bare ACK.
const DROP_SYN_ACK: &str = "tcp flags & (syn | ack) == syn | ack drop";
/// From the client, so that the server's own ACKs pass.
const DROP_FINAL_ACK: &str = r#"iifname "client0" tcp flags & (fin | syn | rst | ack) == ack drop"#;

/// The client's socket is closed after its first SYN, so that only the server's timer makes SYN/ACKs: a SYN that comes
/// again has one sent too, and both within a millisecond of each other now and then.
#[test]
fn half_open_when_the_syn_ack_is_dropped_on_the_way_back() {
    let lab = Lab::new();
    lab.server.sysctl("net.ipv4.tcp_synack_retries", "2");
    let views = View::everywhere(&lab, &[]);
    let _rule = lab.router.filter("forward", DROP_SYN_ACK);
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    let wire = lab.server.raw_link("eth0");
    for (port, ip) in BOTH {
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        let connecting = lab.client.start_connect((ip, 80).into(), options).unwrap();
        wire.recv_tcp(PATIENCE, |it| it.target.port() == port && it.has(flags::SYN | flags::ACK)).unwrap();
        connecting.abandon();
    }
    for (port, _) in BOTH {
        for view in &views[1..] {
            let stall = view.wait("stall", port);
            assert_eq!((&stall["outcome"], &stall["stalled"]["by"]), (&json!("half_open"), &json!("third_syn_ack")));
            view.wait("attempt", port);
        }
    }
    let accounts = views.map(View::end);
    let [client, router, server] = &accounts;
    for (port, _) in BOTH {
        let line = client.after_stall(port);
        assert_eq!((&line["outcome"], &line["syn"]["tries"]), (&json!("no_reply"), &json!(1)));
        for account in [router, server] {
            let line = account.after_stall(port);
            assert_eq!((&line["outcome"], &line["reason"]), (&json!("half_open"), &json!("syn-ack")));
            assert_eq!((&line["syn"]["tries"], &line["syn_ack"]["tries"]), (&json!(1), &json!(3)));
            assert_eq!(line["handshake_id"], client.after_stall(port)["handshake_id"]);
        }
    }
    assert_golden("half_open_when_the_syn_ack_is_dropped_on_the_way_back", &server.lines);
    for account in [router, server] {
        assert_eq!((account.figure("/segments/opened"), account.figure("/segments/syn_retried")), (2, 0));
        assert_eq!((account.figure("/segments/answered"), account.figure("/segments/syn_ack_retried")), (2, 4));
    }
    assert_eq!(client.figure("/segments/answered"), 0);
}

#[test]
fn half_open_for_a_server_whose_client_keeps_trying() {
    let lab = Lab::new();
    lab.client_gives_up_after_three_syns();
    let views = View::everywhere(&lab, &[]);
    let _rule = lab.router.filter("forward", DROP_SYN_ACK);
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    let _trying = BOTH.map(|(port, ip)| {
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        lab.client.start_connect((ip, 80).into(), options).unwrap()
    });
    for (port, _) in BOTH {
        assert_eq!(views[0].wait("stall", port)["stalled"]["by"], "third_syn");
        for view in &views[1..] {
            view.wait("stall", port);
        }
    }
    let [client, router, server] = views.map(View::end);
    for (port, _) in BOTH {
        let line = client.after_stall(port);
        assert_eq!((&line["outcome"], &line["syn"]["tries"]), (&json!("no_reply"), &json!(3)));
        for account in [&router, &server] {
            let line = account.after_stall(port);
            assert_eq!((&line["outcome"], &line["syn"]["tries"]), (&json!("half_open"), &json!(3)));
            assert!(line["syn_ack"]["tries"].as_u64().unwrap() >= 3, "{line:#}");
        }
    }
    // Each of the three SYNs passed both interfaces of the router.
    assert_eq!((router.figure("/segments/opened"), router.figure("/segments/syn_retried")), (2, 4));
}

/// The same handshake is `established` where the final ACK was seen, and stalls there all the same: its server does
/// not know.
#[test]
fn half_open_when_the_final_ack_is_dropped() {
    let lab = Lab::new();
    lab.server.sysctl("net.ipv4.tcp_synack_retries", "2");
    let views = View::everywhere(&lab, &[]);
    let _rule = lab.router.filter("forward", DROP_FINAL_ACK);
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    let _open = BOTH.map(|(port, ip)| lab.client.connect_from(port, SocketAddr::new(ip, 80), PATIENCE).unwrap());
    for (port, _) in BOTH {
        for (view, outcome) in views.iter().zip(["established", "established", "half_open"]) {
            let stall = view.wait("stall", port);
            assert_eq!((&stall["outcome"], &stall["stalled"]["by"]), (&json!(outcome), &json!("third_syn_ack")));
            assert_eq!((&stall["syn"]["tries"], &stall["syn_ack"]["tries"]), (&json!(1), &json!(3)));
        }
    }
    let accounts = views.map(View::end);
    for (port, _) in BOTH {
        let ends = accounts.each_ref().map(|it| it.after_stall(port));
        assert_eq!(ends.map(|it| &it["outcome"]), ["established", "established", "half_open"]);
        assert_eq!(ends.map(|it| &it["recovered"]), [false; 3]);
        assert_eq!(ends.map(|it| &it["trust"]["still_open"]), [false, false, true]);
        assert_eq!(ends.map(|it| &it["handshake_id"]), [&ends[0]["handshake_id"]; 3]);
    }
    let [client, router, server] = &accounts;
    // Each SYN/ACK passed both interfaces of the router.
    for account in [client, router, server] {
        assert_eq!((account.figure("/segments/answered"), account.figure("/segments/syn_ack_retried")), (2, 4));
    }
    for (name, account) in [("client", client), ("server", server)] {
        assert_golden(&format!("half_open_when_the_final_ack_is_dropped_{name}"), &account.lines);
    }
}
