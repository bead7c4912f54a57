//! Conversations that no host would have, as captures: what more than one suite judges.

use std::{collections::HashMap, time::Duration};

use tcptrace_core::segment::Link;

use crate::{
    lab::{Mac, TcpFrame, flags},
    pcap::Pcap,
    scenario::{self, Family, Setting},
};

/// The two ends of the link.
pub const MACS: (Mac, Mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

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
#[must_use]
pub fn random(seed: u64) -> Pcap {
    let mut capture = Pcap::new(Link::Ethernet);
    packets(&mut Random(seed), |after, frame, _| capture.frame(after, &frame));
    capture
}

/// The same, with headers that are too short or longer than the packet, lengths that cannot be, fragments, and ICMP errors.
#[must_use]
pub fn odd(seed: u64) -> Pcap {
    const IP: usize = 14;
    const LENGTH: usize = IP + 2;
    const OFFSET: usize = IP + 20 + 12;
    const CUT: usize = 24;
    let mut capture = Pcap::new(Link::Ethernet);
    let mut before: Vec<u8> = Vec::new();
    packets(&mut Random(seed), |after, mut frame, random| {
        match random.next() % 40 {
            0 => frame[OFFSET] = random.next() as u8,
            1 => frame[LENGTH + 1] = random.of(&[0, 20, 30, 36, 38, 40, 41]),
            2..6 if !before.is_empty() => {
                let quoted = &before[IP..];
                let length = 20 + random.of(&[8, 12, 15, 16, 20, 40]);
                let kind = random.of(&[3, 3, 4, 5, 11, 12, 0]);
                let words = random.of(&[0, 0, 0, 3, 4, 32]);
                let error = [&[kind, 1, 0, 0, 0, words, 0, 0], &quoted[..length.min(quoted.len())]].concat();
                let mut header = frame[..IP + 20].to_vec();
                header[LENGTH + 1] = (20 + error.len()) as u8;
                header[IP + 9] = 1;
                capture.frame(after, &[header, error].concat());
            }
            // In two fragments that come at one time.
            6 if frame.len() > IP + 20 + CUT => {
                let (head, segment) = frame.split_at(IP + 20);
                let part = |octets: &[u8], place: [u8; 2]| {
                    let mut part = [head, octets].concat();
                    part[LENGTH..LENGTH + 2].copy_from_slice(&u16::to_be_bytes(20 + octets.len() as u16));
                    part[IP + 6..IP + 8].copy_from_slice(&place);
                    part
                };
                capture.frame(after, &part(&segment[..CUT], [0x20, 0]));
                capture.frame(Duration::ZERO, &part(&segment[CUT..], [0, CUT as u8 / 8]));
                return;
            }
            _ => {}
        }
        capture.frame(after, &frame);
        if random.next().is_multiple_of(4) {
            before = frame;
        }
    });
    capture
}

fn packets(random: &mut Random, mut each: impl FnMut(Duration, Vec<u8>, &mut Random)) {
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
        let after = Duration::from_nanos(1 + u64::from(random.next() % 1_000_000));
        each(after, frame.bytes(), random);
    }
}

/// Every conversation of at most two packets, each from a port of its own.
#[must_use]
pub fn every_flag() -> Pcap {
    let mut capture = Pcap::new(Link::Ethernet);
    for first in 0..64u16 {
        for second in 0..=64u16 {
            let client = ([198, 51, 100, 2], 1000 + first * 65 + second).into();
            let mut question = TcpFrame::new(MACS, client, ([203, 0, 113, 2], 443).into(), first as u8, 1000);
            question.ack = 1;
            capture.frame(Duration::from_micros(1), &question.bytes());
            if second < 64 {
                capture.frame(Duration::from_micros(1), &question.answer(second as u8, 5000).bytes());
            }
        }
    }
    capture
}

/// What stands before a packet on a link.
type Header = fn(Family) -> Vec<u8>;

/// The scenarios that are seen at one point, each from a port of its own, as captures of every link type that is read:
/// its name, and the capture.
#[must_use]
pub fn every_link() -> Vec<(&'static str, Pcap)> {
    // https://www.tcpdump.org/linktypes.html
    let links: [(&str, u32, Header); 6] = [
        ("null", 0, |family| vec![if family == Family::V4 { 2 } else { 10 }, 0, 0, 0]),
        ("ethernet", 1, |_| Vec::new()),
        ("raw", 101, |_| Vec::new()),
        ("loop", 108, |family| vec![0, 0, 0, if family == Family::V4 { 2 } else { 30 }]),
        ("cooked", 113, |family| [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 2, 0, 0][..], &ethertype(family)].concat()),
        ("cooked 2", 276, |family| [&ethertype(family)[..], &[0; 9], &[1, 0, 6, 2, 0, 0, 0, 0, 2]].concat()),
    ];
    links.map(|(name, number, header)| (name, scenarios(number, header))).into()
}

fn scenarios(number: u32, header: Header) -> Pcap {
    let link = if number == 1 { Link::Ethernet } else { Link::Ip };
    let mut capture = Pcap::new(link);
    capture.octets[20..24].copy_from_slice(&number.to_le_bytes());
    for (scenario, client_port) in scenario::all().iter().filter(|it| !it.has_two_points()).zip(20_000..) {
        for &family in scenario.families {
            let setting = Setting { client_port, ..Setting::new(family) };
            for step in &scenario.steps {
                capture.frame(step.after, &[header(family), step.frame(&setting, link)].concat());
            }
        }
    }
    capture
}

const fn ethertype(family: Family) -> [u8; 2] {
    match family {
        Family::V4 => [0x08, 0x00],
        Family::V6 => [0x86, 0xdd],
    }
}
