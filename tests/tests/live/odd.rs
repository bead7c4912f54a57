//! `challenged` and `wrong_answer`: answers that answer something else.

use serde_json::json;
use tcptrace_tests::lab::{ConnectOptions, Lab, flags, reset};

use crate::view::{BOTH, PATIENCE, View, assert_golden};

fn from(port: u16) -> ConnectOptions {
    ConnectOptions { from_port: Some(port), ..Default::default() }
}

/// Connects from these ports to port 80, and forgets the connections at the client alone: nothing leaves it.
fn forget_connections(lab: &Lab) {
    let open = BOTH.map(|(port, ip)| lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap());
    let _silenced = lab.client.filter("output", "tcp dport 80 drop");
    open.into_iter().for_each(reset);
}

#[test]
fn challenged_by_an_old_connection_of_the_same_ports() {
    let lab = Lab::new();
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    forget_connections(&lab);
    let view = View::start(&lab.client, &["-i", "eth0"]);
    let wire = lab.client.raw_link("eth0");
    for (port, ip) in BOTH {
        let connecting = lab.client.start_connect((ip, 80).into(), from(port)).unwrap();
        wire.recv_tcp(PATIENCE, |it| it.source.port() == port && it.has(flags::RST)).unwrap();
        connecting.abandon();
    }
    for (port, _) in BOTH {
        let line = view.wait("attempt", port);
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("challenged"), &json!("ack")));
    }
    assert_golden("challenged_by_an_old_connection_of_the_same_ports", &view.end().lines);
}

/// The client's RST to the challenge ends the old connection, and its next SYN opens the new one.
#[test]
fn established_after_a_challenge() {
    let lab = Lab::new();
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    forget_connections(&lab);
    let view = View::start(&lab.client, &["-i", "eth0"]);
    let connecting = BOTH.map(|(port, ip)| lab.client.start_connect((ip, 80).into(), from(port)).unwrap());
    let _open = connecting.map(|it| it.finish(PATIENCE).unwrap());
    let account = view.end();
    for (port, _) in BOTH {
        let line = account.only(port);
        assert_eq!((&line["outcome"], &line["syn"]["tries"]), (&json!("established"), &json!(2)));
        assert_eq!(line["facts"], json!(["challenged", "answer_rejected"]));
    }
}

#[test]
fn wrong_answer_by_a_server_that_acknowledges_another_syn() {
    let lab = Lab::new();
    let view = View::start(&lab.client, &["-i", "eth0"]);
    let wire = lab.client.raw_link("eth0");
    for (port, ip) in BOTH {
        let _server = lab.server.respond((ip, 80).into(), |segment| {
            let mut syn_ack = segment.answer(flags::SYN | flags::ACK, 7);
            syn_ack.ack = syn_ack.ack.wrapping_add(1000);
            if segment.is_syn() { vec![syn_ack] } else { Vec::new() }
        });
        let connecting = lab.client.start_connect((ip, 80).into(), from(port)).unwrap();
        wire.recv_tcp(PATIENCE, |it| it.source.port() == port && it.has(flags::RST)).unwrap();
        connecting.abandon();
    }
    for (port, _) in BOTH {
        let line = view.wait("attempt", port);
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("wrong_answer"), &json!("syn-ack")));
    }
    assert_golden("wrong_answer_by_a_server_that_acknowledges_another_syn", &view.end().lines);
}
