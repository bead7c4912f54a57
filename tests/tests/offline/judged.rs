//! Wireshark's judgement: `tcp.completeness`, as `tshark -2` prints it at a conversation's end, of conversations that no
//! host would have.
//!
//! tshark numbers conversations anew where a SYN has another number; here the other end may also open the next attempt
//! on the same conversation: each of them carries its completeness.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Command,
};

use tcptrace_tests::{
    pcap::{self, Pcap},
    traffic,
};

/// A conversation by tshark's account: its completeness, and the time of each packet with its two ports.
type Streams = BTreeMap<u32, u8>;
type Moments = HashMap<(String, [u16; 2]), u32>;

fn tshark(path: &Path) -> (Streams, Moments) {
    let fields = ["tcp.stream", "tcp.completeness", "tcp.srcport", "tcp.dstport", "frame.time_epoch"];
    let mut command = Command::new("tshark");
    command.args(["-2", "-Y", "tcp", "-T", "fields"]).args(fields.iter().flat_map(|it| ["-e", it])).arg("-r").arg(path);
    let output = command.output().expect("tshark is there: cargo xtask test installs it");
    let (mut streams, mut moments) = (Streams::new(), Moments::new());
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let fields: Vec<_> = line.split('\t').collect();
        // Less of a segment is quoted than makes one.
        if fields[0].is_empty() {
            continue;
        }
        let number = |at: usize| fields[at].parse::<u32>().unwrap_or_else(|_| panic!("{line}"));
        streams.insert(number(0), number(1) as u8);
        let mut ports = [number(2) as u16, number(3) as u16];
        ports.sort_unstable();
        moments.entry((fields[4].to_owned(), ports)).or_insert(number(0));
    }
    (streams, moments)
}

/// Compares every conversation of a capture, all of which are told; how many there were.
#[track_caller]
pub(crate) fn assert_as_tshark(capture: &Pcap) -> usize {
    let (streams, ours) = compare(capture);
    assert_eq!(ours, streams);
    streams.len()
}

/// Compares every conversation that is told: tshark's and ours.
#[track_caller]
fn compare(capture: &Pcap) -> (Streams, Streams) {
    let stored = capture.store();
    let (streams, moments) = tshark(&stored.0);
    let read = pcap::read(&stored.0, &["--all", "--max-attempts", "1000000"]);
    let (mut ours, mut differences) = (Streams::new(), Vec::new());
    for line in &read.lines {
        let mut ports = ["client", "server"].map(|side| line[side]["port"].as_u64().unwrap() as u16);
        ports.sort_unstable();
        let time = line["first_seen"].as_str().unwrap();
        let at: jiff::Timestamp = time.parse().unwrap();
        let at = format!("{}.{:09}", at.as_second(), at.subsec_nanosecond());
        let stream = moments.get(&(at, ports)).unwrap_or_else(|| panic!("no conversation of tshark's: {line}"));
        let completeness = line["wireshark"]["completeness"].as_u64().unwrap() as u8;
        if streams[stream] != completeness {
            differences.push(format!("{} by tshark: {line}", streams[stream]));
        }
        ours.insert(*stream, completeness);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    (streams, ours)
}

#[test]
fn random_conversations() {
    let conversations: usize = (1..=8).map(|seed| assert_as_tshark(&traffic::random(seed))).sum();
    assert!(conversations > 2500, "{conversations}");
}

/// What no host sends, and what ICMP errors quote: each is a segment to tshark, and not all are to us.
#[test]
fn odd_conversations() {
    let (mut conversations, mut told) = (0, 0);
    for seed in 1..=8 {
        let (streams, ours) = compare(&traffic::odd(seed));
        conversations += streams.len();
        told += ours.len();
    }
    assert!(told > 2000 && conversations - told < 100, "{told} of {conversations}");
}
