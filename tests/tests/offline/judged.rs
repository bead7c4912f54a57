//! Wireshark's judgement: `tcp.completeness`, as `tshark -2` prints it at a conversation's end, of conversations that no
//! host would have.
//!
//! tshark numbers conversations anew where a SYN has another number; here the other end may also open the next attempt
//! on the same conversation: each of them carries its completeness.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Command,
    time::Duration,
};

use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
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
    for line in read.attempts() {
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

/// Connections that FTP announced, in their order or not: tshark knows them before their first packet.
#[test]
fn announced_conversations() {
    let (client, server) = ([198, 51, 100, 2], [203, 0, 113, 2]);
    let mut capture = Pcap::new(Link::Ethernet);
    let mut connect = |from: ([u8; 4], u16), to: ([u8; 4], u16), says: &[u8]| {
        let syn = TcpFrame::new(traffic::MACS, from.into(), to.into(), flags::SYN, 100);
        let answer = syn.answer(flags::SYN | flags::ACK, 500);
        let ack = answer.answer(flags::ACK, answer.ack);
        let mut frames = vec![syn, answer, ack.clone()];
        if !says.is_empty() {
            let forth = ack.followed_by(flags::PSH | flags::ACK);
            let mut data = if says[0].is_ascii_digit() { ack.answer(flags::PSH | flags::ACK, ack.ack) } else { forth };
            data.payload = says.to_vec();
            frames.push(data);
        }
        frames.iter().for_each(|it| capture.frame(Duration::from_micros(1), &it.bytes()));
    };
    connect((client, 1000), (server, 21), b"227 Entering Passive Mode (203,0,113,2,78,32)\r\n");
    for (port, to) in [(3000, 20_001), (3001, 20_000), (3002, 20_000)] {
        connect((client, port), (server, to), b"");
    }
    connect((client, 1001), (server, 21), b"229 Entering Extended Passive Mode (|||20002|)\r\n");
    connect((client, 3003), (server, 20_002), b"");
    connect((client, 1002), (server, 21), b"PORT 198,51,100,2,78,32\r\n");
    connect((server, 2020), (client, 20_000), b"");
    connect((server, 20), (client, 20_000), b"");
    assert_eq!(assert_as_tshark(&capture), 9);
}
