//! What the wire proves: captures that were judged wrongly, and twins that look alike and must not get that verdict.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::Value;
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    pcap::{self, Pcap, Read},
    traffic,
};

const SYN_ACK: u8 = flags::SYN | flags::ACK;
const RST_ACK: u8 = flags::RST | flags::ACK;
const DATA: u8 = flags::PSH | flags::ACK;
/// A kernel's options: MSS, SACK permitted, timestamps, no operation, window scale.
pub(crate) const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
const MPTCP: [u8; 4] = [30, 4, 0, 1];

/// A case of `tests/cases`, read with `--all`.
fn case(name: &str) -> Read {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases").join(name);
    pcap::read(&path, &["--all"])
}

/// The attempt of a client's port.
#[track_caller]
pub(crate) fn of(read: &Read, port: u16) -> &Value {
    let found = read.attempts().find(|it| it["client"]["port"] == port);
    found.unwrap_or_else(|| panic!("no attempt from port {port}: {:?}", read.lines))
}

pub(crate) fn cause(attempt: &Value) -> (&str, &str) {
    let word = |field: &str| attempt["cause"][field].as_str().unwrap_or("");
    (word("name"), word("confidence"))
}

pub(crate) fn evidence(attempt: &Value) -> String {
    attempt["cause"]["evidence"].to_string()
}

/// Packets of one capture, by the time in milliseconds.
#[derive(Default)]
pub(crate) struct Wire(pub(crate) Vec<(f64, TcpFrame)>);

impl Wire {
    pub(crate) fn add(&mut self, at: f64, frame: &TcpFrame) -> &mut Self {
        self.0.push((at, frame.clone()));
        self
    }

    /// A handshake that opens, with an answer from the server.
    pub(crate) fn opens(&mut self, at: f64, syn: &TcpFrame, round_trip: f64) -> &mut Self {
        let answer = answer(syn);
        let ack = answer.answer(flags::ACK, answer.ack);
        let data = TcpFrame { payload: vec![1; 40], ..ack.followed_by(DATA) };
        let served = TcpFrame { payload: vec![2; 40], ..data.answer(DATA, data.ack) };
        self.add(at, syn).add(at + round_trip, &answer).add(at + round_trip + 0.1, &ack);
        self.add(at + round_trip + 0.2, &data).add(at + 2.0 * round_trip + 0.3, &served)
    }

    pub(crate) fn read(&mut self) -> Read {
        self.read_with(&["--all"])
    }

    pub(crate) fn read_with(&mut self, args: &[&str]) -> Read {
        self.0.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut capture, mut last) = (Pcap::new(Link::Ethernet), 0.0);
        for (at, frame) in &self.0 {
            capture.frame(Duration::from_secs_f64((at - last) / 1000.0), &frame.bytes());
            last = *at;
        }
        pcap::read(&capture.store().0, args)
    }
}

pub(crate) fn syn_from(client: [u8; 4], port: u16, server: [u8; 4], to: u16) -> TcpFrame {
    let (client, server) = (SocketAddr::from((client, port)), SocketAddr::from((server, to)));
    let syn = TcpFrame::new(traffic::MACS, client, server, flags::SYN, 1000 + 77 * u32::from(port));
    TcpFrame { options: OPTIONS.to_vec(), ..syn }
}

pub(crate) const SERVER: [u8; 4] = [203, 0, 113, 20];

pub(crate) fn syn(port: u16, to: u16) -> TcpFrame {
    syn_from([198, 51, 100, 10], port, SERVER, to)
}

pub(crate) fn answer(syn: &TcpFrame) -> TcpFrame {
    TcpFrame { options: OPTIONS.to_vec(), ttl: 57, ..syn.answer(SYN_ACK, 9_000_000) }
}

fn rst(syn: &TcpFrame) -> TcpFrame {
    TcpFrame { window: 0, ttl: 57, ..syn.answer(RST_ACK, 0) }
}

/// The time of a RST counts from the first SYN: any of them may be the one that was answered.
#[test]
fn a_refusal_that_is_tried_again_is_no_fast_one() {
    let read = case("win-retry-after-rst.pcap");
    let it = of(&read, 50_001);
    assert_eq!(cause(it), ("port_closed", "possible"));
    assert!(!evidence(it).contains("came after"), "{it}");
    assert_eq!((&it["syn"]["tries"], &it["scope"]["extent"]), (&3.into(), &"port".into()));

    // A round trip longer than the first pause: the RST to the first SYN comes just after the second.
    let mut wire = Wire::default();
    let closed = syn(2, 81);
    wire.opens(0.0, &syn(1, 80), 1100.0);
    wire.add(5000.0, &closed).add(6000.0, &closed).add(6100.0, &rst(&closed));
    assert_eq!(cause(of(&wire.read(), 2)), ("port_closed", "possible"));
    // A first answer that took its time makes no RST another's; it may be.
    let mut wire = Wire::default();
    wire.opens(0.0, &syn(1, 80), 200.0);
    wire.add(5000.0, &closed).add(5004.0, &rst(&closed));
    assert_ne!(cause(of(&wire.read(), 2)).1, "likely");
}

#[test]
fn a_syn_ack_again_is_no_full_queue() {
    let read = case("synack-spurious.pcap");
    assert_eq!(of(&read, 40_000)["cause"], Value::Null);

    let repeats = |wire: &mut Wire, port, data: &[f64]| {
        let first = syn(port, 80);
        let answer = answer(&first);
        let ack = answer.answer(flags::ACK, answer.ack);
        wire.add(0.0, &first).add(20.0, &answer).add(20.1, &ack).add(1040.0, &answer);
        for at in data {
            let sent = TcpFrame { payload: vec![1; 40], ..ack.clone() };
            wire.add(*at - 10.0, &sent).add(*at, &TcpFrame { ttl: 57, ..sent.answer(flags::ACK, sent.ack) });
        }
    };
    // Nothing else is known: no more than possible, and both innocent reasons are named.
    let mut wire = Wire::default();
    repeats(&mut wire, 1, &[]);
    let read = wire.read();
    assert_eq!(cause(of(&read, 1)), ("listen_queue_full", "possible"));
    assert!(evidence(of(&read, 1)).contains("TCP_DEFER_ACCEPT"), "{}", of(&read, 1));
    // The server acknowledged data: it had the ACK.
    let mut wire = Wire::default();
    repeats(&mut wire, 1, &[1100.0]);
    assert_eq!(of(&wire.read(), 1)["cause"], Value::Null);
    // Another client's handshake completed meanwhile: there was room.
    let mut wire = Wire::default();
    repeats(&mut wire, 1, &[]);
    wire.opens(500.0, &syn_from([198, 51, 100, 11], 9, SERVER, 80), 20.0);
    assert_ne!(cause(of(&wire.read(), 1)).0, "listen_queue_full");
}

#[test]
fn single_syns_of_clients_that_never_return_are_a_flood() {
    let read = case("synflood-capture.pcap");
    for it in read.attempts().filter(|it| it["server"]["port"] == 25_565) {
        assert_eq!(cause(it), ("syn_flood", "likely"), "{it}");
    }
    let floods = read.summary["findings"].as_array().unwrap().iter().filter(|it| it["type"] == "flood");
    assert_eq!(floods.count(), 1, "{}", read.summary);
    assert_eq!(cause(read.attempts().find(|it| it["server"]["port"] == 80).unwrap()).0, "unknown");

    // Clients that try again, each by itself; and one that gives up again and again.
    let mut wire = Wire::default();
    for client in 0..30u8 {
        let it = syn_from([198, 51, 100, client], 1000, SERVER, 25_565);
        wire.add(f64::from(client) * 10.0, &it).add(f64::from(client) * 10.0 + 1000.0, &it);
    }
    for port in 0..30u16 {
        wire.add(f64::from(port) * 300.0, &syn_from([198, 51, 100, 77], 2000 + port, SERVER, 6379));
    }
    wire.add(140_000.0, &syn(1, 80));
    let read = wire.read();
    for it in read.attempts() {
        assert!(!["syn_flood", "application_gave_up"].contains(&cause(it).0), "{it}");
    }
}

#[test]
fn an_ack_of_another_number_is_no_silence() {
    let read = case("ack-unacceptable.pcap");
    let it = of(&read, 40_000);
    let below = |by: u32| {
        let mut wire = Wire::default();
        let first = syn(1, 80);
        let answer = answer(&first);
        let ack = TcpFrame { ack: answer.seq.wrapping_sub(by), ..answer.answer(flags::ACK, answer.ack) };
        wire.add(0.0, &first).add(20.0, &answer).add(20.1, &ack).add(1040.0, &answer).add(3100.0, &answer);
        wire.read()
    };
    let below = below(5000);
    for it in [it, of(&below, 1)] {
        assert_eq!((&it["outcome"], cause(it).0), (&"half_open".into(), "unknown"), "{it}");
        assert!(evidence(it).contains("does not acknowledge this SYN/ACK"), "{it}");
        assert!(!it.to_string().contains("silent"), "{it}");
    }
    // The final ACK is missing in the capture, and a later one acknowledges the first flight.
    let mut wire = Wire::default();
    let first = syn(2, 80);
    let answer = answer(&first);
    let later = TcpFrame { ack: answer.next_seq() + 14_480, ..answer.answer(flags::ACK, answer.ack) };
    wire.add(0.0, &first).add(20.0, &answer).add(60.0, &later);
    assert_eq!(of(&wire.read(), 2)["outcome"], "established");
}

#[test]
fn a_port_that_answers_others_is_not_closed() {
    let read = case("refused-port-open.pcap");
    for port in [50_010, 50_011] {
        let it = of(&read, port);
        assert_ne!(cause(it).1, "likely");
        assert_eq!(cause(it).0, "unknown", "{it}");
        assert!(evidence(it).contains("answered 0.") && evidence(it).contains("after"), "{it}");
        assert!(!it["cause"]["next"].to_string().contains("start the service"), "{it}");
    }
    // A service that stops is a closed port from then on.
    let mut wire = Wire::default();
    let closed = syn(2, 80);
    wire.opens(0.0, &syn(1, 80), 20.0);
    wire.add(5000.0, &closed).add(5020.0, &rst(&closed));
    assert_eq!(cause(of(&wire.read(), 2)), ("port_closed", "possible"));
    // Several distances of one address's SYN/ACKs are several hosts: a RST from a third is no firewall's for that.
    let mut wire = Wire::default();
    let (near, far) = (syn(1, 80), syn(3, 443));
    wire.add(0.0, &near).add(20.0, &answer(&near)).add(20.1, &answer(&near).answer(flags::ACK, near.next_seq()));
    let far_answer = TcpFrame { ttl: 50, ..answer(&far) };
    wire.add(100.0, &far).add(120.0, &far_answer).add(120.1, &far_answer.answer(flags::ACK, far.next_seq()));
    wire.add(5000.0, &closed).add(5020.0, &TcpFrame { ttl: 62, ..rst(&closed) });
    assert_ne!(cause(of(&wire.read(), 2)).1, "likely");
}

#[test]
fn one_syn_to_two_addresses_is_one_that_was_translated() {
    let read = case("clusterip-bridge.pcap");
    for it in read.attempts() {
        assert_eq!(cause(it), ("nat_mismatch", "likely"), "{it}");
    }
    // A scanner sends the same raw SYN to address after address.
    let mut wire = Wire::default();
    for (host, at) in [(30, 0.0), (31, 0.3), (32, 0.6)] {
        let it = TcpFrame { options: vec![2, 4, 5, 180], ..syn_from([198, 51, 100, 10], 1, [203, 0, 113, host], 80) };
        let it = TcpFrame { seq: 7, ttl: 52, ..it };
        let reset = TcpFrame { ttl: 64, ..answer(&it).answer(flags::RST, it.next_seq()) };
        if host == 31 {
            wire.add(at + 20.0, &answer(&it)).add(at + 20.1, &reset);
        }
        wire.add(at, &it);
    }
    for it in wire.read().attempts() {
        assert!(cause(it).0 != "nat_mismatch" && cause(it).1 != "likely", "{it}");
    }
    // Two clients' SYNs, and one client's at another time.
    let mut wire = Wire::default();
    let (one, other) = (syn(1, 80), syn_from([198, 51, 100, 10], 1, [203, 0, 113, 40], 80));
    wire.add(0.0, &TcpFrame { seq: 9, ..one }).opens(2000.0, &TcpFrame { seq: 9, ..other }, 20.0);
    assert!(wire.read().attempts().all(|it| cause(it).0 != "nat_mismatch"));
}

#[test]
fn a_raw_syn_and_its_kernels_reset_are_one_hosts() {
    let read = case("nmap-syn-scan.pcap");
    for it in read.attempts() {
        assert_eq!(cause(it).1, "possible", "{it}");
    }
}

#[test]
fn resets_that_are_ignored_are_no_silence() {
    let read = case("rst-unacceptable.pcap");
    let it = of(&read, 40_000);
    assert!(evidence(it).contains("6 RST/ACKs came (ttl 64, 4.0 ms after the SYN)"), "{it}");
    assert_ne!(it["reason"], "no-response");
    assert!(it["cause"]["next"].to_string().contains("TCP stack"), "{it}");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases/rst-unacceptable.pcap");
    let text = std::process::Command::new(tcptrace_tests::lab::Tracer::binary()).arg("-r").arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("6 RST/ACKs") && !text.contains("no answer"), "{text}");

    // One that comes too late for its number, and then the answer: nothing is left of it.
    let mut wire = Wire::default();
    let first = syn(1, 80);
    wire.opens(0.0, &first, 20.0).add(10.0, &TcpFrame { ack: 7, ..rst(&first) });
    let read = wire.read();
    assert_eq!((&of(&read, 1)["outcome"], &of(&read, 1)["cause"]), (&"established".into(), &Value::Null));
    // Silence is silence.
    let mut wire = Wire::default();
    wire.add(0.0, &first).add(1000.0, &first).add(20_000.0, &syn(2, 81));
    assert_eq!(of(&wire.read(), 1)["reason"], "no-response");
}

#[test]
fn giving_up_is_no_cause() {
    let read = case("connect-timeout-1s.pcap");
    for it in read.attempts().filter(|it| it["server"]["port"] == 6379) {
        assert_eq!(cause(it).0, "unknown", "{it}");
        assert!(it["scope"]["evidence"].to_string().contains("5 attempts"), "{it}");
        assert!(!it.to_string().contains("nothing else"), "{it}");
    }
    // The port answers, more slowly than this client waited.
    let mut wire = Wire::default();
    wire.opens(0.0, &syn(1, 80), 2500.0);
    wire.add(5000.0, &syn_from([198, 51, 100, 11], 2, SERVER, 80))
        .add(60_000.0, &syn_from(SERVER, 3, [192, 0, 2, 1], 81));
    assert_eq!(cause(of(&wire.read(), 2)), ("application_gave_up", "possible"));
}

#[test]
fn an_option_that_is_lost_and_left_out_is_blocked() {
    let read = case("mptcp-dropped.pcap");
    assert_eq!(cause(of(&read, 40_000)), ("options_blocked", "possible"));
    assert_eq!(cause(of(&read, 40_001)), ("options_blocked", "likely"));
    assert!(evidence(of(&read, 40_000)).contains("3 SYNs with MPTCP"), "{}", of(&read, 40_000));

    let with = |port| {
        let it = syn(port, 443);
        TcpFrame { options: [&OPTIONS[..], &MPTCP].concat(), ..it }
    };
    let falls_back = |wire: &mut Wire, at: f64, port| {
        wire.add(at, &with(port)).add(at + 1000.0, &with(port)).add(at + 3000.0, &with(port));
        wire.opens(at + 7000.0, &syn(port, 443), 20.0);
    };
    // Another SYN with the option was answered: the path lets it pass, and packets were lost.
    let mut wire = Wire::default();
    falls_back(&mut wire, 0.0, 1);
    falls_back(&mut wire, 20_000.0, 2);
    wire.opens(40_000.0, &with(3), 20.0);
    assert_eq!(cause(of(&wire.read(), 2)).0, "unknown");
    // The first without it was lost as well.
    let mut wire = Wire::default();
    wire.add(0.0, &with(1)).add(1000.0, &with(1)).add(3000.0, &syn(1, 443)).opens(7000.0, &syn(1, 443), 20.0);
    assert_ne!(cause(of(&wire.read(), 1)).0, "options_blocked");
    // Plain loss.
    let mut wire = Wire::default();
    let plain = syn(1, 443);
    wire.add(0.0, &plain).add(1000.0, &plain).add(3000.0, &plain).opens(7000.0, &plain, 20.0);
    assert_eq!(cause(of(&wire.read(), 1)).0, "unknown");
}

#[test]
fn one_flow_that_is_swallowed_is_told_by_its_siblings() {
    let read = case("pre-nat.pcap");
    let it = of(&read, 40_000);
    assert_eq!((cause(it).0, &it["scope"]["extent"]), ("unknown", &"attempt".into()), "{it}");
    assert!(evidence(it).contains("3 other attempts of this client to this port were answered meanwhile"), "{it}");
    let next = it["cause"]["next"].to_string();
    assert!(next.contains("conntrack -L") && next.contains("--sport 40000") && next.contains("ECMP"), "{it}");
}

#[test]
fn syns_that_cross_need_no_answer() {
    let read = case("holepunch.pcap");
    assert!(read.attempts().all(|it| cause(it).0 != "asymmetric_path"), "{:?}", read.lines);
}

/// Accepted, and reset before the server sent a byte: reported without `--all`. A FIN is counted.
#[test]
fn accepted_and_reset_is_reported() {
    let with = |port, end: u8, sends: bool, after: f64| {
        let mut wire = Wire::default();
        let first = syn(port, 80);
        let answer = answer(&first);
        let ack = answer.answer(flags::ACK, answer.ack);
        wire.add(0.0, &first).add(20.0, &answer).add(20.1, &ack);
        let mut last = ack;
        if sends {
            last = TcpFrame { payload: vec![1; 40], flags: DATA, ..last };
            wire.add(20.2, &last);
        }
        let end = TcpFrame { ttl: 57, ..last.answer(end, answer.next_seq()) };
        wire.add(20.2 + after, &end);
        wire.0.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut capture, mut before) = (Pcap::new(Link::Ethernet), 0.0);
        for (at, frame) in &wire.0 {
            capture.frame(Duration::from_secs_f64((at - before) / 1000.0), &frame.bytes());
            before = *at;
        }
        pcap::read(&capture.store().0, &[])
    };
    for (sends, stage) in [(true, "unserved"), (false, "post_ack")] {
        let read = with(1, RST_ACK, sends, 30.0);
        let it = of(&read, 1);
        assert_eq!((&it["outcome"], &it["stage"]), (&"reset_by_server".into(), &stage.into()), "{it}");
        assert_eq!(cause(it), ("no_backend", "possible"), "{it}");
    }
    for (end, after, why) in [(flags::FIN | flags::ACK, 30.0, "a FIN"), (RST_ACK, 5000.0, "later")] {
        assert_eq!(with(1, end, true, after).lines.len(), 0, "{why}");
    }
}
