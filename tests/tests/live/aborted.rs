//! `aborted` and `reset_on_answer`: a RST between the SYN and the final ACK, from either side.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use tcptrace_tests::lab::{
    CLIENT_GATEWAY_MAC, CLIENT_MAC, ConnectOptions, Lab, SERVER_V4, SERVER_V6, TcpFrame, Towards, flags, stranger_v4,
    stranger_v6,
};

use crate::view::{BOTH, PATIENCE, View, assert_golden};

#[test]
fn aborted_by_a_client_that_closes_during_the_handshake() {
    let lab = Lab::new();
    let views = View::everywhere(&lab, &[]);
    let wire = lab.server.raw_link("eth0");
    for (port, ip) in BOTH {
        let _server = lab.server.listen((ip, 80).into());
        lab.connect_and_close_during_handshake(port, (ip, 80).into());
        wire.recv_tcp(PATIENCE, |it| it.source.port() == port && it.has(flags::RST)).unwrap();
    }
    let accounts = views.map(View::end);
    for (port, _) in BOTH {
        for account in &accounts {
            let line = account.only(port);
            assert_eq!((&line["outcome"], &line["stage"]), (&json!("aborted"), &json!("after_answer")));
            assert_eq!((&line["syn"]["tries"], &line["syn_ack"]["tries"]), (&json!(1), &json!(1)));
            assert_eq!((&line["end"]["by"], &line["end"]["flags"]), (&json!("client"), &json!("RST")));
        }
    }
    assert_golden("aborted_by_a_client_that_closes_during_the_handshake", &accounts[0].lines);
}

#[test]
fn aborted_by_a_raw_client_before_any_answer() {
    let lab = Lab::new();
    let client = View::start(&lab.client, &["-i", "eth0"]);
    let link = lab.client.raw_link("eth0");
    let _rule = lab.router.filter("forward", "tcp dport 80 drop");
    for (port, from, to) in [(40004, stranger_v4(1), SERVER_V4), (40006, stranger_v6(1), SERVER_V6)] {
        let macs = (CLIENT_MAC, CLIENT_GATEWAY_MAC);
        let syn = TcpFrame::new(macs, (from, port).into(), (to, 80).into(), flags::SYN, u32::MAX);
        link.send(&syn.bytes());
        link.send(&syn.followed_by(flags::RST).bytes());
    }
    let client = client.end();
    for (port, _) in BOTH {
        let line = client.only(port);
        assert_eq!((&line["outcome"], &line["stage"]), (&json!("aborted"), &json!("before_answer")));
        assert_eq!((&line["syn"]["isn"], &line["syn_ack"]), (&json!(u32::MAX), &json!(null)));
        assert_eq!(line["end"], json!({ "by": "client", "flags": "RST", "ttl": 64, "window": 64240 }));
    }
    assert_golden("aborted_by_a_raw_client_before_any_answer", &client.lines);
}

/// The close itself sends nothing, so the attempt falls silent first.
#[test]
fn aborted_by_an_answer_that_comes_after_the_client_gave_up() {
    let lab = Lab::new();
    let client = View::start(&lab.client, &["-i", "eth0", "--stall-after", "0.5"]);
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    let wires = BOTH.map(|_| lab.server.raw_link("eth0"));
    let held = lab.hold(Towards::Client);
    for (port, ip) in BOTH {
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        lab.client.start_connect((ip, 80).into(), options).unwrap().abandon();
    }
    for (port, _) in BOTH {
        assert_eq!(client.wait("attempt", port)["outcome"], "no_reply");
    }
    held.release();
    for ((port, _), wire) in BOTH.into_iter().zip(wires) {
        wire.recv_tcp(PATIENCE, |it| it.source.port() == port && it.has(flags::RST)).unwrap();
    }
    let client = client.end();
    for (port, _) in BOTH {
        assert_eq!(client.kinds(port), ["stall", "attempt", "attempt"]);
        let last = client.of_port(port).last().unwrap();
        assert_eq!((&last["outcome"], &last["stage"]), (&json!("aborted"), &json!("after_answer")));
    }
}

#[test]
fn reset_on_answer_by_the_server() {
    let lab = Lab::new();
    let views = View::everywhere(&lab, &[]);
    for (port, ip) in BOTH {
        let _server = lab.reset_on_answer((ip, 80).into());
        let error = lab.connect_delaying_final_ack(port, (ip, 80).into(), Duration::from_secs(10));
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let accounts = views.map(View::end);
    for (port, _) in BOTH {
        for account in &accounts {
            let line = account.only(port);
            assert_eq!((&line["outcome"], &line["reason"]), (&json!("reset_on_answer"), &json!("reset")));
            assert_eq!((&line["syn"]["tries"], &line["syn_ack"]["tries"]), (&json!(1), &json!(1)));
            assert_eq!((&line["end"]["by"], &line["end"]["flags"]), (&json!("server"), &json!("RST/ACK")));
        }
    }
    assert_golden("reset_on_answer_by_the_server", &accounts[0].lines);
}
