//! `refused`: the server answers the SYN with a RST.

use std::io::ErrorKind;

use serde_json::json;
use tcptrace_tests::lab::Lab;

use crate::view::{BOTH, PATIENCE, View, assert_golden};

#[test]
fn refused_by_a_closed_port() {
    let lab = Lab::new();
    let views = View::everywhere(&lab, &[]);
    for (port, ip) in BOTH {
        let error = lab.client.connect_from(port, (ip, 6036).into(), PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    let accounts = views.map(View::end);
    let [client, ..] = &accounts;
    for (port, ip) in BOTH {
        let line = client.only(port);
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("refused"), &json!("reset")));
        assert_eq!(line["server"], json!({ "ip": ip, "port": 6036 }));
        assert_eq!(line["end"], json!({ "by": "server", "flags": "RST/ACK", "ttl": 63, "window": 0 }));
        assert_eq!(line["syn"]["tries"], 1);
        // The router reads the RST on its way in from the server, the server on its way out: no hop yet.
        let ttls = accounts.each_ref().map(|it| (&it.only(port)["syn"]["ttl"], &it.only(port)["end"]["ttl"]));
        assert_eq!(ttls, [(&json!(64), &json!(63)), (&json!(64), &json!(64)), (&json!(63), &json!(64))]);
        let ids = accounts.each_ref().map(|it| &it.only(port)["handshake_id"]);
        assert_eq!(ids, [ids[0]; 3]);
    }
    assert_golden("refused_by_a_closed_port", &client.lines);
    for account in &accounts {
        assert_eq!((account.figure("/segments/refused"), account.figure("/segments/opened")), (2, 2));
        account.assert_nothing_lost();
    }
}

#[test]
fn refused_on_port_6036_while_port_80_opens() {
    let lab = Lab::new();
    let client = View::start(&lab.client, &["-i", "eth0"]);
    for (port, ip) in BOTH {
        let _web = lab.server.listen((ip, 80).into());
        lab.client.connect_from(port + 100, (ip, 80).into(), PATIENCE).unwrap();
        let error = lab.client.connect_from(port, (ip, 6036).into(), PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    let client = client.end();
    for (number, (port, ip)) in BOTH.into_iter().enumerate() {
        assert!(client.kinds(port + 100).is_empty(), "port 80 works: nothing to tell");
        assert_eq!(client.only(port)["end"]["flags"], "RST/ACK");
        let expected = json!({
            "ip": ip,
            "port": 6036,
            "attempts": { "refused": 1 },
            "established_in_table": 0,
            "other_ports_established": [80],
        });
        assert_eq!(client.summary["worst"][number], expected);
    }
    assert_eq!(client.summary["worst"].as_array().unwrap().len(), 2);
    assert_eq!(client.figure("/segments/completed"), 2);
}
