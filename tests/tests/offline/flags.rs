//! All combinations of flags of a conversation's first packets: one way, and the originator's with the responder's
//! answer. The golden table is `snapshots/flags.snap`; tshark judges the completeness of each.

use std::{collections::BTreeMap, fmt::Write as _};

use tcptrace_tests::{pcap, traffic};

use crate::judged::assert_as_tshark;

/// tcpdump's letters.
fn letters(flags: u8) -> String {
    let all = "FSRPAU".chars().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, letter)| letter);
    let letters: String = all.collect();
    if letters.is_empty() { "none".to_owned() } else { letters }
}

#[test]
fn table() {
    let capture = traffic::every_flag();
    let read = pcap::read(&capture.store().0, &["--all"]);
    let mut told: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for line in read.attempts() {
        let port = ["client", "server"].map(|side| line[side]["port"].as_u64().unwrap() as u16);
        let port = port.into_iter().find(|it| *it != 443).unwrap();
        let word = |it: &serde_json::Value| it.as_str().unwrap_or("-").to_owned();
        told.entry(port - 1000).or_default().push(format!(
            "{:<16} {:<7} {:<5} {}",
            word(&line["outcome"]),
            word(&line["zeek"]["conn_state"]),
            word(&line["zeek"]["history"]),
            line["wireshark"]["completeness"],
        ));
    }
    assert_eq!(told.len(), 64 * 65, "every conversation is told");
    let mut table = String::new();
    for first in 0..64u16 {
        let alone = told[&(first * 65 + 64)].join("; ");
        let _ = writeln!(table, "{:<8} {alone}", letters(first as u8));
        let mut by_what: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for second in 0..64u16 {
            by_what.entry(told[&(first * 65 + second)].join("; ")).or_default().push(letters(second as u8));
        }
        for (what, answers) in by_what {
            let _ = writeln!(table, "         {what}\n             < {}", answers.join(" "));
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(
        "A conversation of one packet with these flags, and of the same with an answer (<): outcome, Zeek's conn_state\n\
         and history, Wireshark's completeness.",
    );
    settings.bind(|| insta::assert_snapshot!("flags", table));
}

#[test]
fn completeness_is_wiresharks() {
    // An answer that is a SYN with another number begins one more.
    assert!(assert_as_tshark(&traffic::every_flag()) >= 64 * 65);
}
