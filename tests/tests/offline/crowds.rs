//! Floods and scans of captures are one finding each, as live; and what looks like one and is none.

use std::time::Duration;

use etherparse::PacketBuilder;
use serde_json::Value;
use tcptrace_core::segment::Link;
use tcptrace_tests::pcap::{self, Pcap, Read};

const SERVER: [u8; 4] = [203, 0, 113, 20];
const STEP: Duration = Duration::from_millis(10);

/// A capture's frames, each with its time.
#[derive(Default)]
struct Crowd {
    frames: Vec<(Duration, Vec<u8>)>,
}

impl Crowd {
    fn segment(&mut self, at: Duration, from: ([u8; 4], u16), to: ([u8; 4], u16), flags: &str, numbers: (u32, u32)) {
        let mut segment = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4(from.0, to.0, 64)
            .tcp(from.1, to.1, numbers.0, 64_240);
        segment = if flags.contains('S') { segment.syn() } else { segment };
        segment = if flags.contains('A') { segment.ack(numbers.1) } else { segment };
        segment = if flags.contains('R') { segment.rst() } else { segment };
        let mut frame = Vec::new();
        segment.write(&mut frame, &[]).expect("memory does not fail");
        self.frames.push((at, frame));
    }

    /// A SYN that nothing answers.
    fn syn(&mut self, at: Duration, client: [u8; 4], client_port: u16, port: u16) {
        self.segment(at, (client, client_port), (SERVER, port), "S", (u32::from(client_port) << 8, 0));
    }

    /// A SYN that is refused.
    fn refused(&mut self, at: Duration, client: [u8; 4], client_port: u16, port: u16) {
        self.syn(at, client, client_port, port);
        let ack = (u32::from(client_port) << 8) + 1;
        self.segment(at + STEP / 10, (SERVER, port), (client, client_port), "RA", (0, ack));
    }

    /// A handshake that completes.
    fn served(&mut self, at: Duration, client: [u8; 4], client_port: u16, port: u16) {
        self.syn(at, client, client_port, port);
        let isn = u32::from(client_port) << 8;
        self.segment(at + STEP / 10, (SERVER, port), (client, client_port), "SA", (7, isn + 1));
        self.segment(at + STEP / 5, (client, client_port), (SERVER, port), "A", (isn + 1, 8));
    }

    /// What the tool makes of it; the capture goes on for two minutes after the last of it.
    fn read(mut self, args: &[&str]) -> Read {
        let last = self.frames.iter().map(|it| it.0).max().unwrap_or_default();
        self.served(last + Duration::from_secs(120), [198, 51, 100, 10], 50_000, 80);
        self.cut(args)
    }

    /// The same of a capture that ends with the last of it.
    fn cut(mut self, args: &[&str]) -> Read {
        self.frames.sort_by_key(|it| it.0);
        let (mut capture, mut now) = (Pcap::new(Link::Ethernet), Duration::ZERO);
        for (at, frame) in self.frames {
            capture.frame(at - now, &frame);
            now = at;
        }
        pcap::read(&capture.store().0, args)
    }
}

/// A client of a network of its own.
fn stranger(number: u32) -> [u8; 4] {
    let [_, a, b, c] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    [(20 + number % 100) as u8, a, b, c]
}

fn types(lines: &[Value]) -> Vec<&str> {
    let mut types: Vec<_> = lines.iter().map(|it| it["type"].as_str().expect("a line has a type")).collect();
    types.dedup();
    types
}

fn findings(read: &Read) -> Vec<&str> {
    types(read.summary["findings"].as_array().expect("a summary has findings"))
}

fn flood(many: u32) -> Crowd {
    let mut crowd = Crowd::default();
    (0..many).for_each(|it| crowd.syn(STEP * it, stranger(it), 1024 + it as u16, 25_565));
    crowd
}

#[test]
fn a_flood_of_forged_clients_is_one_finding() {
    let read = flood(26).read(&[]);
    assert_eq!((types(&read.lines), findings(&read)), (vec!["flood"], vec!["flood"]), "{:#?}", read.lines);
    let found = &read.summary["findings"][0];
    assert_eq!(
        (&found["server"]["port"], &found["packets"], &found["completed"]),
        (&25_565.into(), &26.into(), &0.into())
    );
    assert_eq!(found["attempts"]["no_reply"], 26);
    assert_eq!(found["passed_over"], 0, "a capture is not sampled");
    assert_eq!(read.summary["attempts"]["by_outcome"]["no_reply"], 26);
    // The real clients among them, which are served, do not end it; a long one is reported as it begins and as it ends.
    let mut crowd = flood(3000);
    (0..50).for_each(|it| crowd.served(STEP * it * 50, stranger(100_000 + it), 30_000 + it as u16, 25_565));
    let read = crowd.read(&[]);
    let states: Vec<_> = read.lines.iter().map(|it| (&it["type"], &it["state"])).collect();
    assert_eq!(states, [(&"flood".into(), &"began".into()), (&"flood".into(), &"over".into())]);
}

#[test]
fn a_scan_is_one_finding() {
    let mut crowd = Crowd::default();
    (0..500u16).for_each(|it| crowd.refused(STEP * u32::from(it), [198, 51, 100, 7], 40_000 + it, 1 + it));
    let read = crowd.read(&["--fail-on", "refused"]);
    assert_eq!((types(&read.lines), findings(&read)), (vec!["attempt", "scan"], vec!["scan"]));
    assert_eq!(read.lines.iter().filter(|it| it["type"] == "attempt").count(), 31, "as live");
    assert_eq!((read.summary["findings"][0]["ports"].as_u64(), read.code), (Some(500), Some(3)));
    assert_eq!(read.summary["attempts"]["by_outcome"]["refused"], 500);
}

#[test]
fn innocent_crowds_are_no_flood() {
    // Six hundred clients in six seconds, all served.
    let mut busy = Crowd::default();
    (0..600).for_each(|it| busy.served(STEP * it, stranger(it), 1024 + it as u16, 443));
    // One client that tries again and again, and that nobody answers.
    let mut stubborn = Crowd::default();
    (0..200u16).for_each(|it| stubborn.syn(STEP * u32::from(it), [198, 51, 100, 7], 40_000 + it, 443));
    // A server that fell silent: its clients send their SYNs again.
    let mut outage = Crowd::default();
    for it in 0..60 {
        outage.syn(STEP * it, stranger(it), 1024 + it as u16, 443);
        outage.syn(STEP * it + Duration::from_secs(1), stranger(it), 1024 + it as u16, 443);
    }
    // What any address of the Internet gets: a stranger now and then.
    let mut noise = Crowd::default();
    (0..200).for_each(|it| noise.syn(Duration::from_secs(3) * it, stranger(it), 1024 + it as u16, 23));
    // A port that refuses a few clients a second.
    let mut closed = Crowd::default();
    (0..300).for_each(|it| closed.refused(STEP * 10 * it, stranger(it), 1024 + it as u16, 8080));
    for (name, crowd, lines) in [
        ("busy", busy, 0),
        ("stubborn", stubborn, 200),
        ("outage", outage, 60),
        ("noise", noise, 200),
        ("closed", closed, 300),
    ] {
        let read = crowd.read(&[]);
        assert_eq!((findings(&read), read.lines.len()), (vec![], lines), "{name}");
    }
    // A capture that ends before a client would send its SYN again tells nothing.
    assert!(findings(&flood(26).cut(&[])).is_empty());
}

/// An exit code of 3 has a line to go with it: a client that was refused at one address went on to the next.
#[test]
fn a_race_that_was_lost_is_no_reason_to_fail() {
    let mut race = Crowd::default();
    race.syn(Duration::ZERO, [198, 51, 100, 7], 40_000, 443);
    let (client, other) = (([198, 51, 100, 7], 40_001), ([203, 0, 113, 77], 443));
    let at = Duration::from_millis(250);
    race.segment(at, client, other, "S", (1000, 0));
    race.segment(at + STEP, other, client, "SA", (7, 1001));
    race.segment(at + 2 * STEP, client, other, "A", (1001, 8));
    let read = race.read(&["--fail-on", "any"]);
    assert_eq!(read.summary["attempts"]["overtaken"], 1);
    assert_eq!((read.lines.len(), read.code), (0, Some(0)));
}
