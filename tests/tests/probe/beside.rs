//! Beside a tracer on the same host: the probes of the hop walk and the connects to ports that nobody asked for are not
//! told as failures, the connects to the port that was asked for are.

use serde_json::Value;
use tcptrace_tests::{
    contract,
    lab::{Lab, SERVER_V4, SERVER_V6, Tracer},
};

use crate::told::{diagnose, target};

const PORT: u16 = 6036;

/// The attempts that the client's tracer told while both addresses were diagnosed, and its summary.
fn traced(args: &[&str]) -> (Vec<Value>, Value) {
    let lab = Lab::new();
    let _rule = lab.router.filter("forward", &format!("tcp dport {PORT} drop"));
    let tracer = Tracer::start(&lab.client, [&["-i", "eth0", "--json"], args].concat());
    for ip in [SERVER_V4, SERVER_V6] {
        let told = diagnose(&lab, &[&target(ip, PORT)]);
        let walks = told.object["addresses"][0]["walks"].as_array().unwrap();
        assert_eq!((&walks[0]["end"], &walks[0]["hops"][0]["ttl"]), (&"dies".into(), &1.into()), "{:#}", told.object);
    }
    let mut lines = tracer.stop().json();
    lines.iter().for_each(contract::hold);
    let summary = lines.pop().unwrap();
    lines.retain(|it| it["type"] == "attempt");
    (lines, summary)
}

/// To a port that nobody asked for. The server refuses all of them.
fn is_compared(line: &&Value) -> bool {
    line["server"]["port"] != PORT
}

/// A machine that stands still lets the kernel send a second SYN before the walk has closed the socket.
fn is_probe(it: &&Value) -> bool {
    it["syn"]["ttl"].as_u64().unwrap() <= 30 && it["syn"]["tries"] == 1
}

fn is_connect(it: &&Value) -> bool {
    it["syn"]["ttl"] == 64
}

#[test]
fn probes_are_counted_and_connects_told() {
    let (lines, summary) = traced(&[]);
    assert_eq!(lines.iter().filter(is_probe).count(), 0, "{lines:#?}");
    assert_eq!(lines.iter().filter(is_compared).count(), 0, "{lines:#?}");
    assert_eq!(lines.iter().filter(is_connect).count(), 2, "one connect over each family: {lines:#?}");
    // A hop that speaks, and those beyond it that are tried before silence is believed; four ports of each address.
    let probes = summary["attempts"]["probes"].as_u64().unwrap();
    assert!((16..=68).contains(&probes), "{summary:#}");
    let worst = summary["worst"].as_array().unwrap();
    assert!(worst.iter().all(|it| it["attempts"].get("unreachable").is_none()), "{worst:#?}");
}

#[test]
fn with_all_probes_are_told() {
    let (lines, summary) = traced(&["--all"]);
    let told = lines.iter().filter(is_probe).count();
    assert!(told >= 8, "{lines:#?}");
    assert!(lines.iter().any(|it| is_compared(&it)), "{lines:#?}");
    assert_eq!(summary["attempts"]["probes"], 0);
}

#[test]
fn where_this_host_is_not_asked_they_are_failures() {
    let (lines, summary) = traced(&["--local", "off"]);
    assert!(lines.iter().any(|it| is_probe(&it)), "{lines:#?}");
    assert_eq!(summary["attempts"]["probes"], 0);
}
