//! What only the bytes of captured packets show: wrong checksums, timestamps that were never sent, two clocks behind one
//! address; and twins whose bytes look alike and say nothing.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    pcap::{self, Pcap, Read},
    traffic,
};

const SYN_ACK: u8 = flags::SYN | flags::ACK;
/// Offsets in a frame: behind the Ethernet and the IPv4 header.
const ADDRESSES: usize = 26;
const TCP: usize = 34;
const CHECKSUM: usize = TCP + 16;

/// A segment with timestamps, beside what every kernel sends.
fn stamped(frame: TcpFrame, own: u32, echoed: u32) -> TcpFrame {
    let stamps = [&[8, 10][..], &own.to_be_bytes(), &echoed.to_be_bytes()].concat();
    TcpFrame { options: [&[2, 4, 5, 180, 4, 2][..], &stamps, &[1, 3, 3, 7]].concat(), ..frame }
}

fn syn(port: u16, to: u16, stamp: u32) -> TcpFrame {
    let (client, server) = (SocketAddr::from(([198, 51, 100, 10], port)), SocketAddr::from(([203, 0, 113, 20], to)));
    stamped(TcpFrame::new(traffic::MACS, client, server, flags::SYN, 1000 + 77 * u32::from(port)), stamp, 0)
}

fn answer(syn: &TcpFrame, echoed: u32) -> TcpFrame {
    TcpFrame { ttl: 57, ..stamped(syn.answer(SYN_ACK, 9_000_000), 5_000_000, echoed) }
}

/// The checksum that a frame gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sum {
    Right,
    Wrong,
    /// The sender's card computes it: the sum of the pseudo-header alone is there.
    Later,
    /// No card, and no sum.
    None,
}

fn bytes(frame: &TcpFrame, sum: Sum) -> Vec<u8> {
    let mut octets = frame.bytes();
    let field = match sum {
        Sum::Right => return octets,
        Sum::Wrong => u16::from_be_bytes([octets[CHECKSUM], octets[CHECKSUM + 1]]) ^ 0x5a3c,
        Sum::Later => {
            let length = u16::from_be_bytes([octets[16], octets[17]]) - 20;
            let pairs = octets[ADDRESSES..TCP].chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(it[1]));
            let total = pairs.sum::<u32>() + 6 + u32::from(length);
            ((total & 0xffff) + (total >> 16)) as u16
        }
        Sum::None => 0,
    };
    octets[CHECKSUM..CHECKSUM + 2].copy_from_slice(&field.to_be_bytes());
    octets
}

/// Frames by their time in milliseconds.
#[derive(Default)]
struct Wire(Vec<(f64, Vec<u8>)>);

impl Wire {
    fn add(&mut self, at: f64, frame: &TcpFrame, sum: Sum) -> &mut Self {
        self.0.push((at, bytes(frame, sum)));
        self
    }

    /// A connection that works, with data both ways.
    fn opens(&mut self, at: f64, syn: &TcpFrame, own: u32, sums: (Sum, Sum)) -> &mut Self {
        let answer = answer(syn, own);
        let ack = answer.answer(flags::ACK, answer.ack);
        let data = TcpFrame { payload: vec![1; 40], ..ack.clone() };
        let served = TcpFrame { payload: vec![2; 40], ..data.answer(flags::ACK, data.ack) };
        self.add(at, syn, sums.0).add(at + 20.0, &answer, sums.1).add(at + 20.1, &ack, sums.0);
        self.add(at + 20.2, &data, sums.0).add(at + 40.0, &served, sums.1)
    }

    fn read(&mut self) -> Read {
        self.0.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut capture, mut last) = (Pcap::new(Link::Ethernet), 0.0);
        for (at, frame) in &self.0 {
            capture.frame(Duration::from_secs_f64((at - last) / 1000.0), frame);
            last = *at;
        }
        pcap::read(&capture.store().0, &["--all"])
    }
}

#[track_caller]
fn of(read: &Read, port: u16) -> &Value {
    let found = read.attempts().find(|it| it["client"]["port"] == port);
    found.unwrap_or_else(|| panic!("no attempt from port {port}: {:?}", read.lines))
}

fn cause(attempt: &Value) -> (&str, &str) {
    let word = |field: &str| attempt["cause"][field].as_str().unwrap_or("");
    (word("name"), word("confidence"))
}

fn says(attempt: &Value, words: &str) -> bool {
    attempt["cause"]["evidence"].to_string().contains(words)
}

/// Silent SYNs with this checksum, beside another port of the host that answers.
fn silent(sum: Sum, beside: (Sum, Sum)) -> Value {
    let mut wire = Wire::default();
    wire.opens(0.0, &syn(1, 80, 100), 100, beside);
    let lost = syn(2, 81, 500);
    wire.add(500.0, &lost, sum).add(1500.0, &lost, sum).add(3500.0, &lost, sum);
    wire.opens(20_000.0, &syn(3, 80, 20_000), 20_000, beside);
    of(&wire.read(), 2).clone()
}

#[test]
fn a_syn_with_a_wrong_checksum_is_dropped_by_its_receiver() {
    let it = silent(Sum::Wrong, (Sum::Right, Sum::Right));
    assert_eq!(cause(&it), ("bad_checksum", "likely"), "{it}");
    assert!(says(&it, "wrong in each of 3 SYNs"), "{it}");
    let next = it["cause"]["next"].to_string();
    assert!(next.contains("on 203.0.113.20: nstat") && next.contains("on 198.51.100.10"), "{it}");
    // What the sender's card computes is not wrong, nor what is right; nor what others' wrong ones show to be nothing.
    for (sum, beside) in [
        (Sum::Later, (Sum::Later, Sum::Right)),
        (Sum::None, (Sum::None, Sum::Right)),
        (Sum::Right, (Sum::Right, Sum::Right)),
        (Sum::Wrong, (Sum::Wrong, Sum::Right)),
        (Sum::Wrong, (Sum::Wrong, Sum::Wrong)),
        (Sum::Wrong, (Sum::Right, Sum::Wrong)),
    ] {
        let it = silent(sum, beside);
        assert_eq!(cause(&it), ("firewall_drop", "likely"), "{sum:?} beside {beside:?}: {it}");
        assert!(!says(&it, "checksum"), "{it}");
    }
}

#[test]
fn a_syn_ack_with_a_wrong_checksum_does_not_reach_the_client() {
    let half_open = |sums: [Sum; 3], client: Sum| {
        let mut wire = Wire::default();
        let first = syn(1, 80, 100);
        for (number, sum) in (0..).zip(sums) {
            let at = f64::from(number) * 1000.0;
            wire.add(at, &first, client).add(at + 20.0, &answer(&first, 100), sum);
        }
        of(&wire.read(), 1).clone()
    };
    let it = half_open([Sum::Wrong; 3], Sum::Right);
    assert_eq!((&it["outcome"], cause(&it)), (&"half_open".into(), ("bad_checksum", "likely")), "{it}");
    // Nothing in the capture is right: it may have been rewritten.
    let it = half_open([Sum::Wrong; 3], Sum::Later);
    assert_eq!(cause(&it), ("bad_checksum", "possible"), "{it}");
    assert!(says(&it, "rewritten"), "{it}");
    for sums in [[Sum::Later; 3], [Sum::Right; 3], [Sum::Wrong, Sum::Right, Sum::Wrong]] {
        let it = half_open(sums, Sum::Right);
        assert_eq!(cause(&it), ("firewall_drop", "possible"), "{sums:?}: {it}");
    }
    // The SYNs are wrong as well, and the server took them.
    assert_eq!(cause(&half_open([Sum::Wrong; 3], Sum::Wrong)), ("firewall_drop", "possible"));
}

/// What was not captured whole has no checksum to look at.
#[test]
fn a_packet_that_was_cut_has_no_checksum() {
    let lost = syn(2, 81, 500);
    let mut capture = Pcap::new(Link::Ethernet);
    for _ in 0..3 {
        let mut frame = bytes(&lost, Sum::Wrong);
        frame.extend([0; 30]);
        capture.frame(Duration::from_secs(1), &frame);
        // By its own account it is longer on the wire.
        let header = capture.octets.len() - frame.len() - 8;
        capture.octets[header + 4..header + 8].copy_from_slice(&(frame.len() as u32 + 10).to_le_bytes());
    }
    let read = pcap::read(&capture.store().0, &["--all"]);
    assert_ne!(cause(of(&read, 2)).0, "bad_checksum", "{:?}", read.lines);
}

/// The SYN/ACK echoes what no SYN had; a client resets that.
#[test]
fn an_echo_of_a_timestamp_that_was_never_sent_is_refused() {
    let aborted = |stamps: &[u32], echoed: u32| {
        let mut wire = Wire::default();
        for (number, stamp) in (0..).zip(stamps) {
            wire.add(f64::from(number) * 1000.0, &syn(1, 80, *stamp), Sum::Right);
        }
        let answer = answer(&syn(1, 80, stamps[0]), echoed);
        let at = (stamps.len() - 1) as f64 * 1000.0;
        wire.add(at + 20.0, &answer, Sum::Right);
        wire.add(at + 20.1, &TcpFrame { window: 0, ..answer.answer(flags::RST, answer.ack) }, Sum::Right);
        of(&wire.read(), 1).clone()
    };
    let it = aborted(&[700_000], 3_000_000_000);
    assert_eq!((&it["outcome"], cause(&it)), (&"aborted".into(), ("options_blocked", "likely")), "{it}");
    assert!(says(&it, "echoes the timestamp 3000000000") && says(&it, "had 700000"), "{it}");
    assert!(it["cause"]["next"].to_string().contains("TS val and ecr"), "{it}");
    // A SYN before the capture had it, perhaps.
    let it = aborted(&[700_000], 699_000);
    assert_eq!(cause(&it).1, "possible", "{it}");
    // The first SYN's, the last one's, one between them, or none: that is no reason.
    for (stamps, echoed) in
        [(&[700_000][..], 700_000), (&[700_000, 701_000], 700_000), (&[700_000, 701_000], 701_000), (&[700_000], 0)]
    {
        let it = aborted(stamps, echoed);
        assert_ne!(cause(&it).0, "options_blocked", "{stamps:?} {echoed}: {it}");
    }
    // Who takes it all the same takes it.
    let mut wire = Wire::default();
    wire.opens(0.0, &syn(1, 80, 700_000), 3_000_000_000, (Sum::Right, Sum::Right));
    assert_eq!(of(&wire.read(), 1)["cause"], Value::Null);
}

/// Attempts of one address by their timestamps: those that are answered, each second, and silent ones between them.
fn clocks(answered: &[u32], lost: &[u32]) -> Vec<Value> {
    let mut wire = Wire::default();
    for (number, stamp) in (0..).zip(answered) {
        wire.opens(f64::from(number) * 1000.0, &syn(100 + number as u16, 80, *stamp), *stamp, (Sum::Right, Sum::Right));
    }
    let after = answered.len() as f64 * 1000.0;
    for (number, stamp) in (0..).zip(lost) {
        for again in [0, 1000, 3000] {
            let it = syn(200 + number as u16, 80, stamp + again);
            wire.add(after + 100.0 * f64::from(number) + f64::from(again), &it, Sum::Right);
        }
    }
    let read = wire.read();
    (0..lost.len()).map(|number| of(&read, 200 + number as u16).clone()).collect()
}

/// A server that takes them for one client's ignores the SYNs of the slower clock. It is no proof, and the cause stays
/// unknown.
#[test]
fn two_clocks_behind_one_address_are_evidence() {
    for it in clocks(&[7_000_000, 7_001_000, 7_002_000], &[4_000_000, 4_000_100]) {
        assert_eq!(cause(&it), ("unknown", "possible"), "{it}");
        assert!(says(&it, "two clocks behind one address") && says(&it, "is behind 7002000"), "{it}");
        assert!(it["cause"]["next"].to_string().contains("PAWS"), "{it}");
    }
    for (what, answered, lost) in [
        ("one clock that goes on", &[7_000_000, 7_001_000][..], 7_002_100),
        ("a clock of its own each time", &[7_000_000, 90_000_000, 3_000_000], 4_000_000),
        ("one answer shows no clock", &[7_000_000], 4_000_000),
        ("a clock that is ahead", &[7_000_000, 7_001_000], 90_000_000),
        ("a clock that wraps", &[u32::MAX - 1500, u32::MAX - 500], 600),
    ] {
        for it in clocks(answered, &[lost]) {
            assert!(!says(&it, "clocks"), "{what}: {it}");
        }
    }
}
