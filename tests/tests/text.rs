//! The lines for eyes, of every outcome: plain, with `-q`, with `-v`, with both. The golden file is
//! `snapshots/text.snap`.
//!
//! Packets make the attempts; what packets do not show (stalls, losses, tunnels) is added by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::tz::{Offset, TimeZone};
use tcptrace::{
    clock::Clock,
    offline::flows::{Flows, Raw, Wanted},
};
use tcptrace_core::{
    flow::{Addr, HashKey},
    handshake::{Nanos, Point},
    segment::Link,
    tunnel::{Kind, Outer},
};
use tcptrace_report::{Latest, Setting, text};
use tcptrace_tests::scenario::{self, Family};
use tcptrace_vocabulary::{
    attempt::{Attempt, Stalled, StalledBy, Trust},
    outcome::Outcome,
    report::Report,
};

const SECOND: u64 = 1_000_000_000;
/// 2023-11-14 22:13:20 UTC.
const START: u64 = 1_700_000_000 * SECOND;
const STALL_AFTER: u64 = 3 * SECOND;

/// Packets, a line each, and what becomes of them.
const CASES: [(Outcome, &str); 20] = [
    (Outcome::NoReply, "C > S SYN |"),
    (Outcome::NoReply, "C > S SYN <mss 1460,sackOK,TS,wscale 7> |\n+1s C > S SYN <mss 1460> |\n+2s C > S SYN |"),
    (Outcome::Refused, "C > S SYN <mss 1460> |\n+7ms S > C RST/ACK seq=0 win=0 ttl=63 |"),
    (Outcome::Unreachable, "C > S SYN |\n+1ms R > C ICMP admin quoting SYN |"),
    (Outcome::Challenged, "C > S SYN |\n+1ms S > C ACK ack=7 |"),
    (Outcome::HalfOpen, "C > S SYN |\n+20ms S > C SYN/ACK |\n+1s S > C SYN/ACK |"),
    (Outcome::Aborted, "C > S SYN |\n+5ms C > S RST ttl=64 |"),
    (Outcome::Aborted, "C > S SYN |\n+5ms S > C SYN/ACK |\n+1ms C > S RST win=0 |"),
    (Outcome::ResetOnAnswer, "C > S SYN |\n+5ms S > C SYN/ACK |\n+1ms S > C RST win=0 ttl=250 |"),
    (Outcome::WrongAnswer, "C > S SYN |\n+5ms S > C SYN/ACK ack=isn+7 |"),
    (
        Outcome::Established,
        "C > S SYN/ECE/CWR <mss 1460,sackOK,TS,wscale 7> |\n+20ms S > C SYN/ACK/ECE <mss 1400,sackOK,wscale 9> |\n\
         +150us C > S ACK |",
    ),
    (Outcome::Established, "C > S SYN |\n+20ms C > S ACK |"),
    (
        Outcome::Established,
        "C > S SYN |\n+1s C > S SYN |\n+2s C > S SYN |\n+4s C > S SYN |\n+20ms S > C SYN/ACK |\n+1ms C > S ACK |",
    ),
    (Outcome::Closed, "C > S SYN |\nS > C SYN/ACK |\nC > S ACK |\n+2s C > S FIN/ACK |\n+1ms S > C FIN/ACK |"),
    (Outcome::HalfClosed, "C > S SYN |\nS > C SYN/ACK |\nC > S ACK |\n+2s C > S FIN/ACK |"),
    (Outcome::HalfClosed, "C > S SYN |\nS > C SYN/ACK |\nC > S ACK |\n+2s S > C FIN/ACK |"),
    (Outcome::ResetByClient, "C > S SYN |\nS > C SYN/ACK |\nC > S ACK |\n+1ms C > S RST seq=isn+1 |"),
    (
        Outcome::ResetByServer,
        "C > S SYN |\nS > C SYN/ACK |\nC > S ACK |\nC > S PSH/ACK len=9 |\n+90s S > C RST seq=sisn+1 |",
    ),
    (Outcome::AnswerOnly, "S > C SYN/ACK |\n+1s S > C SYN/ACK |"),
    (Outcome::Midstream, "C > S PSH/ACK len=9 |\n+1ms S > C ACK |"),
];

/// What packets make of an attempt, by the machinery that reads captures.
fn attempt(packets: &str, family: Family) -> Attempt {
    let text = format!("case\n {}\n = nothing", packets.replace('\n', "\n "));
    let scenario = scenario::parse(&text).expect("the text is right").remove(0);
    let wanted = Wanted { all: true, stall_after: STALL_AFTER, capacity: 8, filter: None, evidence: false };
    let mut flows = Flows::new(wanted, HashKey(1, 2));
    let mut now = Nanos(START);
    for step in &scenario.steps {
        now.0 += step.after.as_nanos() as u64;
        let octets = &step.frame(&scenario::Setting::new(family), Link::Ip)[..];
        let raw =
            Raw { octets, original: octets.len() as u32, interface: 1, direction: None, outer: None, around: None };
        flows.see(octets, Link::Ip, now, Point::ingress(1), raw);
    }
    flows.finish();
    let mut told = flows.ready();
    assert_eq!(told.len(), 1, "one conversation of {packets}");
    told.remove(0).attempt
}

fn setting(zone: TimeZone) -> Setting {
    let interfaces = BTreeMap::from([(1, "eth0".to_owned())]);
    Setting {
        clock: Clock::EPOCH,
        interfaces,
        undirected: BTreeSet::new(),
        zone,
        width: 100,
        services: BTreeMap::new(),
        is_capture: false,
        latest: Latest::default(),
    }
}

/// The line as a file has it: `anstream` takes the styles out.
fn line(report: &Report, quiet: bool, verbose: bool) -> String {
    let styled = text::line(report, &setting(TimeZone::UTC), quiet, verbose);
    let styled = if quiet { styled } else { text::fold(&styled, 100) };
    let mut line = String::new();
    for (at, part) in styled.split("\x1b[").enumerate() {
        line += if at == 0 { part } else { part.split_once('m').expect("a style ends with an m").1 };
    }
    line.replace('\n', "\n        ")
}

fn show(report: &Report) -> String {
    [("", false, false), ("-q", true, false), ("-v", false, true), ("-qv", true, true)].iter().fold(
        String::new(),
        |mut all, (flag, quiet, verbose)| {
            let _ = writeln!(all, "    {flag:<3} {}", line(report, *quiet, *verbose));
            all
        },
    )
}

#[test]
fn every_outcome() {
    let mut golden = String::new();
    for (outcome, packets) in CASES {
        let [v4, v6] = [Family::V4, Family::V6].map(|family| attempt(packets, family));
        assert_eq!([v4.outcome, v6.outcome], [outcome; 2], "{packets}");
        let _ = writeln!(golden, "{packets}\n{}", show(&Report::Attempt(v4)));
        golden.insert_str(golden.len() - 1, &format!("    v6  {}\n", line(&Report::Attempt(v6), false, false)));
    }
    assert_eq!(BTreeSet::from(CASES.map(|(outcome, _)| outcome)), BTreeSet::from(Outcome::ALL), "every outcome");
    assert_golden("text", &golden);
}

/// A stall says by what, and how long after the first SYN.
#[test]
fn every_stall() {
    let [silent, half_open, established] = [
        "C > S SYN |\n+1s C > S SYN |\n+2s C > S SYN |",
        "C > S SYN |\n+1ms S > C SYN/ACK |\n+1s S > C SYN/ACK |\n+2s S > C SYN/ACK |",
        "C > S SYN |\n+1ms S > C SYN/ACK |\n+1ms C > S ACK |\n+1s S > C SYN/ACK |\n+2s S > C SYN/ACK |",
    ]
    .map(|packets| attempt(packets, Family::V4));
    let mut golden = String::new();
    for (it, by) in [
        (&silent, StalledBy::ThirdSyn),
        (&silent, StalledBy::Silence),
        (&half_open, StalledBy::ThirdSynAck),
        (&established, StalledBy::ThirdSynAck),
    ] {
        let at = Nanos(it.handshake.first_syn.0 + 3 * SECOND + SECOND / 8);
        let trust = Trust { still_open: true, ..Trust::default() };
        let it = Attempt { stalled: Some(Stalled { at, by }), trust, ..it.clone() };
        let _ = writeln!(golden, "{}\n{}", by.name(), show(&Report::Stall(it)));
    }
    assert_golden("text_stalls", &golden);
}

/// What stands beside the story: a tunnel, what was lost meanwhile, who sent the error, that it goes on.
#[test]
fn every_addition() {
    let it = attempt("C > S SYN |\n+1ms R > C ICMP net quoting SYN |", Family::V4);
    let (src, dst) = (Addr::v4(0xc000_0201), Addr::v4(0xc000_0202));
    let vxlan = Outer { src, dst, kind: Kind::Vxlan as u8, has_ends: 1, ..Outer::default() };
    let mpls = Outer { kind: Kind::Mpls as u8, ..Outer::default() };
    let additions = [
        ("in a tunnel", Attempt { outer: Some(vxlan), ..it.clone() }),
        ("in a tunnel without ends", Attempt { outer: Some(mpls), ..it.clone() }),
        (
            "with losses",
            Attempt { trust: Trust { events_lost: 2, attempts_lost: 1, ..Trust::default() }, ..it.clone() },
        ),
        ("still open", Attempt { trust: Trust { still_open: true, ..Trust::default() }, ..it.clone() }),
        ("of no known sender", Attempt { icmp_from: None, ..it.clone() }),
    ];
    let golden = additions.map(|(what, it)| format!("{what}\n{}\n", show(&Report::Attempt(it)))).concat();
    assert_golden("text_additions", &golden);
    let east = TimeZone::fixed(Offset::constant(5));
    let dated = text::line(&Report::Attempt(it), &setting(east), true, false);
    assert!(dated.starts_with("2023-11-15 03:13:20.001+05:00  "), "{dated}");
}

fn assert_golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
