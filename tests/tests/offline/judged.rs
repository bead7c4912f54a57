//! Wireshark's judgement: `tcp.completeness`, as `tshark -2` prints it at a conversation's end, of conversations that no
//! host would have.
//!
//! tshark numbers conversations anew where a SYN has another number; here the other end may also open the next attempt
//! on the same conversation, whose completeness the last of them carries. That is the one difference, and it is checked.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Command,
    time::Duration,
};

use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{Mac, TcpFrame, flags},
    pcap::{self, Pcap},
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
        let number = |at: usize| fields[at].parse::<u32>().unwrap_or_else(|_| panic!("{line}"));
        streams.insert(number(0), number(1) as u8);
        let mut ports = [number(2) as u16, number(3) as u16];
        ports.sort_unstable();
        moments.entry((fields[4].to_owned(), ports)).or_insert(number(0));
    }
    (streams, moments)
}

/// Compares every conversation of a capture; how many there were.
#[track_caller]
pub(crate) fn assert_as_tshark(capture: &Pcap) -> usize {
    let stored = capture.store();
    let (streams, moments) = tshark(&stored.0);
    let read = pcap::read(&stored.0, &["--all", "--max-attempts", "1000000"]);
    let mut ours = Streams::new();
    for line in &read.lines {
        let mut ports = ["client", "server"].map(|side| line[side]["port"].as_u64().unwrap() as u16);
        ports.sort_unstable();
        let time = line["first_seen"].as_str().unwrap();
        let at: jiff::Timestamp = time.parse().unwrap();
        let at = format!("{}.{:09}", at.as_second(), at.subsec_nanosecond());
        let stream = moments.get(&(at, ports)).unwrap_or_else(|| panic!("no conversation of tshark's: {line}"));
        ours.insert(*stream, line["wireshark"]["completeness"].as_u64().unwrap() as u8);
    }
    assert_eq!(ours, streams);
    streams.len()
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next() as usize % choices.len()]
    }
}

/// Packets of many conversations, mixed: likely flags and any, right numbers and wrong ones, SYNs with new ones.
fn random(seed: u64) -> Pcap {
    const LIKELY: [u8; 12] = [
        flags::SYN,
        flags::SYN,
        flags::SYN,
        flags::SYN | flags::ACK,
        flags::SYN | flags::ACK,
        flags::ACK,
        flags::ACK,
        flags::PSH | flags::ACK,
        flags::FIN | flags::ACK,
        flags::FIN | flags::ACK,
        flags::RST,
        flags::RST | flags::ACK,
    ];
    let mut random = Random(seed);
    let mut capture = Pcap::new(Link::Ethernet);
    let mut numbers: HashMap<(u32, bool), u32> = HashMap::new();
    for _ in 0..4000 {
        let (flow, forth) = (random.next() % 200, random.next().is_multiple_of(2));
        let first = random.next();
        let wraps = random.of(&[0, u32::MAX, first]);
        let own = numbers.entry((flow, forth)).or_insert(wraps);
        if random.next().is_multiple_of(30) {
            *own = own.wrapping_add(random.of(&[1, 1000, 64_000]));
        }
        let own = *own;
        let peer = numbers.get(&(flow, !forth)).copied().unwrap_or(0);
        let odd = random.next() as u8 & 0x3f;
        let flag = if random.next().is_multiple_of(12) { odd } else { random.of(&LIKELY) };
        let seq = if flag & flags::SYN != 0 { 0 } else { random.of(&[1, 1, 1, 2, 101, 0, 5_u32.wrapping_neg()]) };
        let ack = random.of(&[1, 1, 1, 2, 101, 0]);
        let ends = [([198, 51, 100, 2], 1000 + flow as u16).into(), ([203, 0, 113, 2], 443).into()];
        let [source, target] = if forth { ends } else { [ends[1], ends[0]] };
        let mut frame = TcpFrame::new(MACS, source, target, flag, own.wrapping_add(seq));
        frame.ack = peer.wrapping_add(ack);
        frame.payload = vec![b'x'; random.of(&[0, 0, 0, 100])];
        capture.frame(Duration::from_nanos(1 + u64::from(random.next() % 1_000_000)), &frame.bytes());
    }
    capture
}

pub(crate) const MACS: (Mac, Mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

#[test]
fn random_conversations() {
    let conversations: usize = (1..=8).map(|seed| assert_as_tshark(&random(seed))).sum();
    assert!(conversations > 2500, "{conversations}");
}
