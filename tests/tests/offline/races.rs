//! Races between the addresses of one name (RFC 8305): what another address overtook is counted, what somebody waited for is
//! told; and networks that are gone round again and again are one finding.

use std::time::Duration;

use serde_json::{Value, json};
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    pcap::{self, Pcap, Read},
    scenario::{self, Family, Scenario, Setting},
};

const LOSERS: [&str; 3] =
    ["ordinary_eyeballs_loser_silent", "ordinary_eyeballs_loser_late", "ordinary_eyeballs_loser_unreachable"];
const WINNER: &str = "ordinary_web_keep_alive";
const SILENT: &str = LOSERS[0];
const HEAD_START: Duration = Duration::from_millis(250);
const MINUTE: Duration = Duration::from_secs(60);

/// What a capture is made of.
struct Making {
    link: Link,
    scenarios: Vec<Scenario>,
    frames: Vec<(Duration, Vec<u8>)>,
    port: u16,
}

impl Making {
    fn new(link: Link) -> Self {
        let lost =
            "racer_gives_up v6\n    C > S  SYN | opened\n    +1s C > S  SYN | syn_retried\n    = no_reply syn 2\n";
        let waits = "racer_waits v6\n    C > S  SYN | opened\n    +1s C > S  SYN | syn_retried\n    \
                     +2s C > S  SYN | syn_retried!\n    +4s C > S  SYN | syn_retried\n    = no_reply syn 4\n";
        let mut scenarios = scenario::all();
        for text in [lost, waits] {
            scenarios.extend(scenario::parse(text).unwrap_or_else(|error| panic!("{error}")));
        }
        Self { link, scenarios, frames: Vec::new(), port: 1024 }
    }

    /// A conversation at a moment, by a client of which the rest is given.
    fn converse(&mut self, case: &str, at: Duration, setting: Setting) {
        self.change(case, at, setting, |_| {});
    }

    fn change(&mut self, case: &str, mut at: Duration, setting: Setting, change: impl Fn(&mut Vec<u8>)) {
        self.port += 1;
        let setting = Setting { client_port: self.port, ..setting };
        let scenario = self.scenarios.iter().find(|it| it.name == case).expect("there is such a case");
        for step in &scenario.steps {
            at += step.after;
            let mut frame = step.frame(&setting, self.link);
            change(&mut frame);
            self.frames.push((at, frame));
        }
    }

    /// One try of two addresses.
    fn race(&mut self, loser: &str, at: Duration, head_start: Duration, client_host: u8) {
        self.converse(loser, at, Setting { client_host, ..v6() });
        self.converse(WINNER, at + head_start, Setting { client_host, ..v4() });
    }

    fn read(mut self, args: &[&str]) -> Read {
        self.frames.sort_by_key(|it| it.0);
        let mut capture = Pcap::new(self.link);
        let mut now = Duration::ZERO;
        for (at, frame) in self.frames {
            capture.frame(at - now, &frame);
            now = at;
        }
        pcap::read(&capture.store().0, args)
    }

    fn told(self) -> (Vec<Value>, Value) {
        let read = self.read(&[]);
        assert_eq!((read.code, &read.stderr[..]), (Some(0), ""));
        let lines =
            read.lines.iter().map(|it| if it["type"] == "attempt" { it["outcome"].clone() } else { it.clone() });
        (lines.collect(), read.summary["attempts"]["overtaken"].clone())
    }
}

const fn v4() -> Setting {
    Setting::new(Family::V4)
}

const fn v6() -> Setting {
    Setting::new(Family::V6)
}

fn one(loser: &str, head_start: Duration) -> (Vec<Value>, Value) {
    let mut making = Making::new(Link::Ethernet);
    making.race(loser, Duration::ZERO, head_start, 2);
    making.told()
}

#[test]
fn a_loser_is_counted() {
    for loser in LOSERS.into_iter().chain(["racer_gives_up"]) {
        assert_eq!(one(loser, HEAD_START), (vec![], json!(1)), "{loser}");
    }
    // A client that learns at once that there is no way does not wait.
    assert_eq!(one(LOSERS[2], Duration::from_millis(2)), (vec![], json!(1)));
    let mut making = Making::new(Link::Ethernet);
    making.race(SILENT, Duration::ZERO, HEAD_START, 2);
    let read = making.read(&["--all"]);
    let outcomes: Vec<_> = read.lines.iter().map(|it| it["outcome"].clone()).collect();
    assert_eq!(outcomes, ["no_reply", "closed"], "with --all it is listed");
}

#[test]
fn who_waited_is_told() {
    let no_reply = || (vec![json!("no_reply")], json!(0));
    assert_eq!(one("racer_waits", HEAD_START), no_reply(), "four SYNs in seven seconds");
    assert_eq!(one(SILENT, Duration::from_secs(5)), no_reply(), "the next address comes five seconds later");
    assert_eq!(one(SILENT, Duration::from_millis(5)), no_reply(), "both at once: no head start is that short");
    let mut making = Making::new(Link::Ethernet);
    making.converse(SILENT, Duration::ZERO, v6());
    assert_eq!(making.told(), no_reply(), "there is no other address");
    let mut making = Making::new(Link::Ethernet);
    making.converse(SILENT, Duration::ZERO, v6());
    making.converse("ordinary_slow_server_linear", HEAD_START * 3, v4());
    assert_eq!(making.told(), (vec![json!("no_reply"), json!("closed")], json!(0)), "the other one is slow, too");
    let mut making = Making::new(Link::Ethernet);
    making.converse(SILENT, Duration::ZERO, v6());
    making.converse(WINNER, HEAD_START, Setting { server_port: 80, ..v4() });
    assert_eq!(making.told(), no_reply(), "another service");
}

/// Two addresses are one host's if the capture says so.
#[test]
fn hosts_are_not_mixed_up() {
    let no_reply = |told: usize| (vec![json!("no_reply"); told], json!(0));
    let mut making = Making::new(Link::Ethernet);
    making.converse(SILENT, Duration::ZERO, Setting { client_host: 2, ..v6() });
    making.converse(WINNER, HEAD_START, Setting { client_host: 3, ..v4() });
    assert_eq!(making.told(), no_reply(1), "another link address");
    let mut making = Making::new(Link::Ip);
    making.race(SILENT, Duration::ZERO, HEAD_START, 2);
    assert_eq!(making.told(), no_reply(1), "no link address");

    // Behind a router: its link address, and a hop less.
    let routed = |hops: u8| {
        move |frame: &mut Vec<u8>| {
            let ttl = if frame[12..14] == [0x86, 0xdd] { 14 + 7 } else { 14 + 8 };
            if frame[ttl] == 64 {
                frame[ttl] -= hops;
                frame[11] = 0xee;
            }
        }
    };
    let mut making = Making::new(Link::Ethernet);
    making.change(SILENT, Duration::ZERO, Setting { client_host: 2, ..v6() }, routed(1));
    making.change(WINNER, HEAD_START, Setting { client_host: 3, ..v4() }, routed(1));
    assert_eq!(making.told(), no_reply(1), "a TTL that no stack begins with");
    // Behind something that takes no hop, and has its own link address for all: known as soon as two are seen, before or after.
    for at in [Duration::ZERO, MINUTE] {
        let mut making = Making::new(Link::Ethernet);
        making.change(SILENT, MINUTE / 2, Setting { client_host: 2, ..v6() }, routed(0));
        making.change(WINNER, MINUTE / 2 + HEAD_START, Setting { client_host: 3, ..v4() }, routed(0));
        making.change(WINNER, at, Setting { client_host: 4, ..v4() }, routed(0));
        assert_eq!(making.told(), no_reply(1), "two IPv4 addresses, one link address");
    }
}

/// Without link addresses, one address is one host; who asks many others at a time has no single name in mind.
#[test]
fn one_address_is_one_host() {
    let replicas = |count: u8| {
        let mut making = Making::new(Link::Ip);
        making.converse(SILENT, Duration::ZERO, v4());
        for server_host in 3..3 + count {
            let at = HEAD_START * u32::from(server_host - 2) / 2 + HEAD_START / 2;
            making.converse(WINNER, at, Setting { server_host, ..v4() });
        }
        making.told()
    };
    assert_eq!(replicas(1), (vec![], json!(1)));
    assert_eq!(replicas(12).0.len(), 0, "the first that connects has overtaken it");
    let mut making = Making::new(Link::Ip);
    making.converse(SILENT, MINUTE, v4());
    for server_host in 3..9 {
        making.converse(
            WINNER,
            MINUTE + Duration::from_millis(5) * u32::from(server_host),
            Setting { server_host, ..v4() },
        );
    }
    assert_eq!(making.told(), (vec![json!("no_reply")], json!(0)), "a crawler");
    let mut making = Making::new(Link::Ip);
    making.converse(SILENT, MINUTE, v4());
    making.converse(WINNER, MINUTE + HEAD_START, v4());
    assert_eq!(making.told(), (vec![json!("no_reply")], json!(0)), "the same address");
}

fn finding(state: &str, network: &str, clients: u64, attempts: Value) -> Value {
    json!(["avoided", state, network, clients, attempts])
}

fn findings(making: Making) -> Vec<Value> {
    let (lines, _) = making.told();
    lines.iter().map(|it| json!([it["type"], it["state"], it["network"], it["clients"], it["attempts"]])).collect()
}

#[test]
fn a_network_that_is_gone_round_is_one_finding() {
    let mut making = Making::new(Link::Ethernet);
    for number in 0..5u8 {
        making.race(LOSERS[if number == 1 { 2 } else { 0 }], MINUTE * u32::from(number), HEAD_START, 2 + number % 2);
    }
    let network = "2001:db8:2::/64";
    let told = [
        finding("began", network, 2, json!({ "no_reply": 2, "unreachable": 1 })),
        finding("over", network, 2, json!({ "no_reply": 4, "unreachable": 1 })),
    ];
    assert_eq!(findings(making), told);

    let twice = |between: &[(&str, u32)]| {
        let mut making = Making::new(Link::Ethernet);
        (0..3).for_each(|it| making.race(SILENT, MINUTE * 4 * it, HEAD_START, 2));
        between.iter().for_each(|(case, at)| making.converse(case, MINUTE * *at, v6()));
        findings(making).len()
    };
    assert_eq!(twice(&[]), 2);
    assert_eq!(twice(&[("ordinary_web_short", 5)]), 0, "it answers somebody");
    let mut making = Making::new(Link::Ethernet);
    (0..6).for_each(|it| making.race(SILENT, MINUTE * 6 * it, HEAD_START, 2));
    assert!(findings(making).is_empty(), "two in ten minutes");
}

/// A way that nothing comes by in a whole family is no matter of each network.
#[test]
fn a_family_that_is_gone_round_is_one_finding() {
    let mut making = Making::new(Link::Ethernet);
    for number in 0..20u16 {
        let at = MINUTE * number.into();
        making.converse(SILENT, at, Setting { server_net: 0x100 + number, ..v6() });
        making.converse(WINNER, at + HEAD_START, v4());
    }
    let told =
        ["began", "over"].map(|it| finding(it, "::/0", 1, json!({ "no_reply": if it == "over" { 20 } else { 3 } })));
    assert_eq!(findings(making), told);
}
