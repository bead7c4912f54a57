//! A thousand servers that fail and recover at random for ten minutes, as a capture: each outage is one incident, with
//! exact counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use serde_json::Value;
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    pcap::{self, Pcap},
    traffic::MACS,
};

use crate::{Random, id};

const SERVERS: u32 = 1000;
const MILLIS: u64 = 600_000;
/// The quiet after which an incident is over, in milliseconds: as long as it lasted, and within these.
const QUIET: (u64, u64) = (10_000, 600_000);
/// Milliseconds until a server answers.
const ANSWER: u64 = 1;

/// Attempts by time: the server, and whether it is down.
fn attempts() -> Vec<(u64, u32, bool)> {
    let (mut random, mut all) = (Random(7), Vec::new());
    for server in 0..SERVERS {
        let (mut at, mut is_down) = (random.between(0, 5_000), false);
        while at < MILLIS {
            let until = at + if is_down { random.between(3_000, 40_000) } else { random.between(15_000, 90_000) };
            while at < until.min(MILLIS) {
                all.push((at, server, is_down));
                at += if is_down { random.between(500, 3_000) } else { random.between(2_000, 12_000) };
            }
            is_down = !is_down;
        }
    }
    all.sort_unstable();
    all
}

/// A network of its own for each.
fn address(server: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a80_0001 + (server << 8))
}

fn capture(attempts: &[(u64, u32, bool)]) -> Pcap {
    let mut capture = Pcap::new(Link::Ethernet);
    let mut now = 0;
    for (number, (at, server, is_down)) in attempts.iter().enumerate() {
        let from = ([198, 51, 100, (number / 60_000) as u8 + 2], (number % 60_000) as u16 + 1).into();
        let syn = TcpFrame::new(MACS, from, (address(*server), 443).into(), flags::SYN, 7);
        capture.frame(Duration::from_millis(at - now), &syn.bytes());
        let answer = syn.answer(if *is_down { flags::RST | flags::ACK } else { flags::SYN | flags::ACK }, 9);
        capture.frame(Duration::from_millis(ANSWER), &answer.bytes());
        if !is_down {
            capture.frame(Duration::ZERO, &answer.answer(flags::ACK, syn.next_seq()).bytes());
        }
        now = at + ANSWER;
        // The next may have begun at the same moment.
        capture.back(Duration::from_millis(ANSWER));
        now -= ANSWER;
    }
    capture
}

/// How many failures each outage has, by the server and its first failure.
fn outages(attempts: &[(u64, u32, bool)]) -> BTreeMap<(Ipv4Addr, u64), u64> {
    let mut outages = BTreeMap::new();
    for server in 0..SERVERS {
        let mut running: Option<(u64, u64, u64)> = None;
        for (at, ..) in attempts.iter().filter(|(_, it, is_down)| *it == server && *is_down) {
            running = match running {
                Some((began, last, count)) if at - last < (last - began).clamp(QUIET.0, QUIET.1) => {
                    Some((began, at + ANSWER, count + 1))
                }
                over => {
                    outages.extend(over.map(|(began, _, count)| ((address(server), began), count)));
                    Some((*at, at + ANSWER, 1))
                }
            };
        }
        outages.extend(running.map(|(began, _, count)| ((address(server), began), count)));
    }
    outages
}

fn began(line: &Value) -> u64 {
    let time: jiff::Timestamp = line["began"].as_str().expect("a time").parse().expect("a time");
    time.as_millisecond().unsigned_abs() - Pcap::START * 1000
}

#[test]
fn a_thousand_servers_fail_and_recover() {
    let attempts = attempts();
    let read = pcap::read(&capture(&attempts).store().0, &[]);
    assert_eq!((read.code, &read.stderr[..]), (Some(0), ""));
    let of = |phase: &str| -> Vec<&Value> { read.incidents.iter().filter(|it| it["phase"] == phase).collect() };
    let (begun, ended) = (of("begun"), of("ended"));
    let ids = |lines: &[&Value]| lines.iter().map(|it| id(it)).collect::<BTreeSet<_>>();
    assert_eq!((begun.len(), ids(&begun).len()), (ended.len(), ended.len()), "each begins once");
    assert_eq!(ids(&begun), ids(&ended), "and ends once");
    let told: BTreeMap<_, _> = ended
        .iter()
        .map(|it| {
            let server = it["edge"]["server"]["ip"].as_str().expect("an address").parse().expect("an address");
            ((server, began(it)), it["attempts"].as_u64().expect("a number"))
        })
        .collect();
    assert_eq!(told, outages(&attempts));
    assert_eq!(read.summary["incidents"]["merged"], 0);
    // The share that works is of attempts since it began.
    let works = |it: &&&Value| it["working"]["attempts"].as_u64().is_some_and(|it| it > 0);
    assert!(ended.iter().filter(works).count() > ended.len() / 2);
}
