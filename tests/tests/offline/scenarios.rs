//! Every scenario as a capture: told as the model ends, in both families, on both kinds of link.

use serde_json::{Value, json};
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    pcap::{self, Pcap},
    scenario::{self, Family, Setting, frame},
};

/// The last line about the two endpoints, whoever opened.
fn told<'a>(lines: &'a [Value], setting: &Setting) -> Option<&'a Value> {
    let (client, server) = frame::endpoints(setting);
    let ports = [json!(client.port), json!(server.port)];
    let about = |it: &&Value| ports.contains(&it["client"]["port"]) && ports.contains(&it["server"]["port"]);
    // An answer from another address is a conversation of its own.
    let asked = |it: &&Value| about(it) && it["syn"] != Value::Null;
    let unasked = |it: &&Value| about(it) && it["outcome"] == "answer_only";
    lines.iter().rev().find(asked).or_else(|| lines.iter().rev().find(unasked))
}

fn run(link: Link, family: Family) {
    let mut failures = String::new();
    for scenario in scenario::all().iter().filter(|it| !it.has_two_points() && it.families.contains(&family)) {
        let setting = Setting::new(family);
        let mut capture = Pcap::new(link);
        for step in &scenario.steps {
            capture.frame(step.after, &step.frame(&setting, link));
        }
        let read = pcap::read(&capture.store().0, &["--all"]);
        assert_eq!((read.code, &read.stderr[..]), (Some(0), ""), "{}", scenario.name);
        let is = told(&read.lines, &setting).map_or_else(
            || "nothing".to_owned(),
            |line| {
                let number = |of: &str| line[of]["tries"].as_u64().unwrap_or(0);
                let facts: Vec<_> = line["facts"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
                let mut words = vec![line["outcome"].as_str().unwrap().to_owned()];
                words.extend(
                    [("syn", number("syn")), ("answer", number("syn_ack"))]
                        .iter()
                        .filter(|it| it.1 > 0)
                        .map(|(word, count)| format!("{word} {count}")),
                );
                words.extend(facts.iter().filter(|it| !LATER.contains(it)).map(|it| (*it).to_owned()));
                words.join(" ")
            },
        );
        let beyond = BEYOND_LIVE.iter().find(|(name, _)| *name == scenario.name);
        let expected = beyond.map_or_else(|| scenario.expected.to_string(), |(_, expected)| (*expected).to_owned());
        let expected: Vec<_> = expected.split(' ').filter(|it| !LATER.contains(it)).collect();
        if is != expected.join(" ") {
            failures += &format!("{}: is '{is}', not '{}'\n", scenario.name, expected.join(" "));
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// Facts that a capture shows and the programs do not see: data of an established connection.
const LATER: [&str; 3] = ["client_data", "server_data", "data_acked"];

/// Scenarios of which a capture tells more than the programs can: an answer from elsewhere, packets out of order, the
/// only SYN/ACK of a handshake that crosses.
const BEYOND_LIVE: [(&str, &str); 5] = [
    ("syn_sent_bystander_answers", "wrong_answer syn 1 wrong_answer"),
    ("established_syn_ack_after_ack", "established syn 1 answer 1 out_of_order"),
    ("aborted_syn_ack_late", "aborted syn 1 answer 1 out_of_order"),
    ("none_syn_ack_before_syn", "established syn 1 answer 1 out_of_order"),
    ("syn_sent_simultaneous_open_answer_unseen", "established syn 1 answer 1 crossed client_answered"),
];

#[test]
fn ipv4_in_ethernet() {
    run(Link::Ethernet, Family::V4);
}

#[test]
fn ipv6_in_ethernet() {
    run(Link::Ethernet, Family::V6);
}

#[test]
fn ipv4_raw() {
    run(Link::Ip, Family::V4);
}

#[test]
fn ipv6_raw() {
    run(Link::Ip, Family::V6);
}
