//! Floods and scans: one finding each, and what else fails is told as ever.

use std::{io::ErrorKind, thread, time::Duration};

use serde_json::{Value, json};
use tcptrace_core::segment::Flags;
use tcptrace_tests::{
    frames,
    generator::{Generator, Plan},
    lab::{ConnectOptions, Connecting, Lab, Noise, OTHER_V4, SERVER_V4, SERVER_V6},
};

use crate::view::{PATIENCE, View};

/// SYNs from everywhere to 203.0.113.0, port 443.
const SYNS: Plan = Plan { flags: &[Flags::SYN], flows: 0, servers: 1, data_between: 0 };
const FLOODED: &str = "203.0.113.0";

fn findings<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|it| it["type"] == kind).collect()
}

/// As fast as the machine can send, on every hook, with failures at another address going on.
#[test]
fn a_syn_flood_hides_nothing() {
    const REFUSED: u16 = 200;
    const SILENT: u16 = 20;
    for hook in ["tc", "xdp"] {
        let lab = Lab::new();
        lab.server.run(["ethtool", "-K", "eth0", "gro", "on"]);
        let _drop = lab.server.filter("input", "tcp dport 81 drop");
        let view = View::start(&lab.server, &["-i", "eth0", "--hook", hook]);
        let _noise = Noise::begin();
        let generator = Generator::new(&lab.router, "server0", frames::syn(4), &SYNS).expect("it loads");
        let sent = thread::scope(|scope| {
            let flood = scope.spawn(|| generator.send_for(Duration::from_secs(6)).expect("frames are sent"));
            thread::sleep(Duration::from_secs(1));
            let silent: Vec<_> = (0..SILENT)
                .map(|number| {
                    let options = ConnectOptions { from_port: Some(20_000 + number), ..Default::default() };
                    lab.client.start_connect((SERVER_V4, 81).into(), options).expect("a SYN leaves")
                })
                .collect();
            for number in 0..REFUSED {
                let error = lab.client.connect_from(30_000 + number, (SERVER_V4, 6036).into(), PATIENCE).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            }
            let sent = flood.join().expect("the flood ends").packets;
            for number in 0..SILENT {
                view.wait("stall", 20_000 + number);
            }
            silent.into_iter().for_each(Connecting::abandon);
            sent
        });
        let account = view.end();
        for number in 0..REFUSED {
            assert_eq!(account.only(30_000 + number)["outcome"], "refused", "{hook}");
        }
        for number in 0..SILENT {
            assert_eq!(account.after_stall(20_000 + number)["outcome"], "no_reply", "{hook}");
        }
        account.assert_nothing_lost();
        let listed = account.lines.iter().filter(|it| it["server"]["ip"] == FLOODED && it["type"] != "flood");
        assert_eq!(listed.count(), 0, "{hook}: no attempt of the flood is listed");
        let told = findings(&account.lines, "flood");
        let [began, over] = told[..] else { panic!("{hook}: {} lines about the flood: {told:#?}", told.len()) };
        assert_eq!((&began["state"], &over["state"]), (&json!("began"), &json!("over")));
        assert_eq!(over["server"], json!({ "ip": FLOODED, "port": 443 }));
        assert_eq!((&over["kind"], &over["completed"]), (&json!("syn"), &json!(0)));
        assert_eq!(over["sources"]["top"], json!([]), "from everywhere");
        assert!(over["sources"]["networks"].as_u64() > Some(50), "{over:#}");
        assert!(over["per_second"].as_f64() > Some(10_000.0), "{over:#}");
        // To the last SYN of those that the wire did not lose: followed or counted. The rest is what failed besides, its
        // answers and its retries.
        let opened = account.figure("/segments/opened") - u64::from(REFUSED + SILENT);
        let flood = account.figure("/counters/flood_passed_over") + opened;
        let besides = account.figure("/packets/tcp_control") - flood;
        let known = u64::from(2 * REFUSED + SILENT);
        assert!((known..=known + 9 * u64::from(SILENT)).contains(&besides) && flood <= sent, "{hook}: {besides}");
        // The finding's too, less those that the time let leak before it was one.
        let packets = over["packets"].as_u64().expect("a number");
        assert!(packets <= flood && packets * 100 >= flood * 99, "{hook}: {packets} of {flood}");
        assert_eq!(over["passed_over"], account.summary["counters"]["flood_passed_over"]);
        assert!(opened < 20_000, "{hook}: {opened} were followed");
        assert_eq!(account.summary["findings"].as_array().map(Vec::len), Some(1));
        assert!(account.figure("/table/most_pending") < 20_000);
    }
}

/// One SYN in 256 for each address of a network: no listener of them is flooded, all of them are.
#[test]
fn a_flood_of_a_network_is_one_finding() {
    const REFUSED: u16 = 100;
    let lab = Lab::new();
    lab.server.run(["ethtool", "-K", "eth0", "gro", "on"]);
    let view = View::start(&lab.server, &["-i", "eth0"]);
    let plan = Plan { servers: 256, ..SYNS };
    let _noise = Noise::begin();
    let generator = Generator::new(&lab.router, "server0", frames::syn(4), &plan).expect("it loads");
    thread::scope(|scope| {
        let flood = scope.spawn(|| generator.send_for(Duration::from_secs(5)).expect("frames are sent"));
        thread::sleep(Duration::from_secs(1));
        for number in 0..REFUSED {
            lab.client.connect_from(30_000 + number, (SERVER_V6, 6036).into(), PATIENCE).unwrap_err();
        }
        flood.join().expect("the flood ends")
    });
    let account = view.end();
    for number in 0..REFUSED {
        assert_eq!(account.only(30_000 + number)["outcome"], "refused");
    }
    account.assert_nothing_lost();
    let told = findings(&account.lines, "flood");
    let [began, over] = told[..] else { panic!("{} lines about the flood: {told:#?}", told.len()) };
    assert_eq!((&began["state"], &over["state"]), (&json!("began"), &json!("over")));
    for it in told {
        assert_eq!((&it["scope"], &it["network"]), (&json!("network"), &json!("203.0.113.0/24")));
        assert_eq!((&it["server"], &it["host"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(over["ports"], json!([{ "port": 443, "share": 1.0 }]));
    let listed = account.lines.iter().filter(|it| it["server"]["port"] == 443);
    assert_eq!(listed.count(), 0, "no attempt of the flood is listed");
    assert!(account.figure("/table/most_pending") < 60_000);
}

#[test]
fn a_port_scan_is_one_finding() {
    const PORTS: u16 = 300;
    let lab = Lab::new();
    let _web = lab.server.listen((SERVER_V4, 80).into());
    let view = View::start(&lab.server, &["-i", "eth0"]);
    for port in 1000..1000 + PORTS {
        lab.client.connect((SERVER_V4, port).into(), PATIENCE).unwrap_err();
    }
    // What works and what fails elsewhere is none of it.
    lab.client.connect((SERVER_V4, 80).into(), PATIENCE).unwrap();
    lab.client.connect_from(30_000, (OTHER_V4, 6036).into(), PATIENCE).unwrap_err();
    let account = view.end();
    assert_eq!(account.only(30_000)["outcome"], "refused");
    let told = findings(&account.lines, "scan");
    let [began, over] = told[..] else { panic!("{} lines about the scan: {told:#?}", told.len()) };
    assert_eq!((&began["state"], &over["state"]), (&json!("began"), &json!("over")));
    assert_eq!((&over["host"], &over["ports"]), (&json!({ "ip": SERVER_V4 }), &json!(PORTS)));
    let listed = account.lines.iter().filter(|it| it["server"]["ip"] == json!(SERVER_V4) && it["type"] == "attempt");
    let listed = listed.count() as u64;
    assert_eq!(over["attempts"], json!({ "refused": u64::from(PORTS) - listed }));
    assert_eq!(listed, 31, "until it was one");
}
