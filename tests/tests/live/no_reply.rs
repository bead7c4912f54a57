//! `no_reply`: SYNs, and silence.

use std::io::ErrorKind;

use serde_json::json;
use tcptrace_tests::lab::{ConnectOptions, Lab};

use crate::view::{BOTH, BOTH_OTHERS, PATIENCE, View, assert_golden};

#[test]
fn no_reply_to_syns_dropped_at_the_router() {
    let lab = Lab::new();
    lab.client_gives_up_after_three_syns();
    let views = View::everywhere(&lab, &[]);
    let _rule = lab.router.filter("forward", "tcp dport 80 drop");
    let options = |port| ConnectOptions { from_port: Some(port), ..Default::default() };
    let connecting = BOTH.map(|(port, ip)| lab.client.start_connect((ip, 80).into(), options(port)).unwrap());
    for (port, _) in BOTH {
        // At once, with the third SYN, long before anybody gives up.
        let stall = views[0].wait("stall", port);
        assert_eq!((&stall["outcome"], &stall["stalled"]["by"]), (&json!("no_reply"), &json!("third_syn")));
        assert_eq!((&stall["syn"]["tries"], &stall["trust"]["still_open"]), (&json!(3), &json!(true)));
    }
    for it in connecting {
        let error = it.finish(PATIENCE).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error().is_some()), (ErrorKind::TimedOut, true), "the kernel gave up");
    }
    for (port, _) in BOTH {
        let end = views[0].wait("attempt", port);
        assert_eq!((&end["outcome"], &end["reason"]), (&json!("no_reply"), &json!("no-response")));
        assert_eq!((&end["syn"]["tries"], &end["trust"]["still_open"]), (&json!(3), &json!(false)));
        assert_eq!((&end["syn_ack"], &end["end"], &end["icmp"]), (&json!(null), &json!(null), &json!(null)));
    }
    let [client, router, server] = views.map(View::end);
    assert_golden("no_reply_to_syns_dropped_at_the_router", &client.lines);
    for (port, _) in BOTH {
        let seen = json!({ "client": { "interface": "client0", "direction": "in" }, "server": null });
        assert_eq!(router.after_stall(port)["seen"], seen);
    }
    assert_eq!(server.figure("/segments/opened"), 0, "nothing reached the server");
}

#[test]
fn no_reply_from_one_site_while_another_works() {
    let lab = Lab::new();
    let client = View::start(&lab.client, &["-i", "eth0", "--all"]);
    let rules = BOTH.map(|(_, ip)| {
        let family = if ip.is_ipv4() { "ip" } else { "ip6" };
        lab.router.filter("forward", &format!("{family} daddr {ip} tcp flags syn drop"))
    });
    let _sites =
        [BOTH, BOTH_OTHERS].concat().iter().map(|&(_, ip)| lab.server.listen((ip, 80).into())).collect::<Vec<_>>();
    let silent = BOTH.map(|(port, ip)| {
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        lab.client.start_connect((ip, 80).into(), options).unwrap()
    });
    let _open = BOTH_OTHERS.map(|(port, ip)| lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap());
    for (port, ip) in BOTH {
        let stall = client.wait("stall", port);
        assert_eq!(stall["server"], json!({ "ip": ip, "port": 80 }));
        assert_eq!((&stall["stalled"]["by"], &stall["syn"]["tries"]), (&json!("third_syn"), &json!(3)));
    }
    let client = client.end();
    for (number, (port, ip)) in BOTH.into_iter().enumerate() {
        let end = client.after_stall(port);
        assert_eq!((&end["outcome"], &end["trust"]["still_open"]), (&json!("no_reply"), &json!(true)));
        let worst = &client.summary["worst"][number];
        assert_eq!((&worst["ip"], &worst["attempts"]), (&json!(ip), &json!({ "no_reply": 1 })));
    }
    for (port, ip) in BOTH_OTHERS {
        assert_eq!(client.opened(port)["outcome"], "established", "{ip} works");
    }
    assert_eq!(client.summary["worst"].as_array().unwrap().len(), 2);
    assert_eq!(client.figure("/segments/completed"), 2);
    drop((silent, rules));
}

#[test]
fn no_reply_to_a_client_that_gives_up_after_one_syn() {
    let lab = Lab::new();
    let client = View::start(&lab.client, &["-i", "eth0", "--stall-after", "0.5"]);
    let _rule = lab.router.filter("forward", "tcp dport 80 drop");
    for (port, ip) in BOTH {
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        lab.client.start_connect((ip, 80).into(), options).unwrap().abandon();
    }
    for (port, _) in BOTH {
        let stall = client.wait("stall", port);
        assert_eq!((&stall["stalled"]["by"], &stall["syn"]["tries"]), (&json!("silence"), &json!(1)));
        let end = client.wait("attempt", port);
        assert_eq!((&end["outcome"], &end["syn"]["tries"]), (&json!("no_reply"), &json!(1)));
        assert_eq!(end["trust"]["still_open"], false, "nothing more can be expected of it");
    }
    client.end().assert_nothing_lost();
}

/// An application that tries again from the same port.
#[test]
fn no_reply_to_the_first_of_two_attempts_from_one_port() {
    let lab = Lab::new();
    let client = View::start(&lab.client, &["-i", "eth0"]);
    let _servers = BOTH.map(|(_, ip)| lab.server.listen((ip, 80).into()));
    let rule = lab.router.filter("forward", "tcp dport 80 drop");
    for (port, ip) in BOTH {
        let options = ConnectOptions { from_port: Some(port), ..Default::default() };
        lab.client.start_connect((ip, 80).into(), options).unwrap().abandon();
    }
    drop(rule);
    let _open = BOTH.map(|(port, ip)| lab.client.connect_from(port, (ip, 80).into(), PATIENCE).unwrap());
    let client = client.end();
    for (port, _) in BOTH {
        let line = client.only(port);
        assert_eq!((&line["outcome"], &line["syn"]["tries"]), (&json!("no_reply"), &json!(1)));
    }
    assert_eq!((client.figure("/segments/superseded"), client.figure("/segments/opened")), (2, 4));
    assert_eq!(client.figure("/segments/completed"), 2);
}
