//! What loss, filters, mirrors and long ways leave in a capture, and looks like a rule, a flood or a host that is gone;
//! each beside the thing itself.

use std::time::Duration;

use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    pcap::{self, Pcap, Read},
};

use crate::wire::{OPTIONS, SERVER, Wire, answer, cause, evidence, of, syn, syn_from};

const CLIENT: [u8; 4] = [198, 51, 100, 10];
const OTHER: [u8; 4] = [198, 51, 100, 11];

/// A SYN and two more, at Linux's times.
fn thrice(wire: &mut Wire, at: f64, frame: &TcpFrame) {
    wire.add(at, frame).add(at + 1000.0, frame).add(at + 3000.0, frame);
}

/// A capture with only the packets that a filter lets pass.
fn filtered(wire: &Wire, passes: impl Fn(&TcpFrame) -> bool) -> Read {
    Wire(wire.0.iter().filter(|(_, frame)| passes(frame)).cloned().collect()).read()
}

fn causes(read: &Read) -> Vec<(&str, &str)> {
    read.attempts().map(cause).collect()
}

fn findings(read: &Read) -> usize {
    read.summary["findings"].as_array().expect("findings").len()
}

/// Of two equal paths one is dead: a fourth of the client's ports always lose, for minutes, and others are served.
#[test]
fn a_dead_path_of_several_is_no_rule() {
    let mut wire = Wire::default();
    for port in 0..200u16 {
        let at = f64::from(port) * 1000.0;
        match port % 4 {
            3 => thrice(&mut wire, at, &syn(port + 1000, 443)),
            _ => {
                wire.opens(at, &syn(port + 1000, 443), 20.0);
            }
        }
        wire.opens(at + 500.0, &syn_from(OTHER, port + 1000, SERVER, 443), 20.0);
        wire.opens(at + 700.0, &syn_from(OTHER, port + 3000, SERVER, 22), 20.0);
    }
    let read = wire.read();
    let of_client = read.attempts().filter(|it| it["scope"]["extent"] == "client").count();
    assert!(of_client <= 1, "{of_client}: after the last nothing more is known");
    let silent: Vec<_> = read.attempts().filter(|it| it["outcome"] == "no_reply").collect();
    assert_eq!(silent.len(), 50);
    for it in silent {
        assert_ne!(cause(it), ("firewall_drop", "likely"), "{it}");
    }
    // A rule against this client: none of its SYNs is answered.
    let mut wire = Wire::default();
    for port in 0..10u16 {
        let at = f64::from(port) * 1000.0;
        thrice(&mut wire, at, &syn(port + 1000, 443));
        wire.opens(at + 500.0, &syn_from(OTHER, port + 1000, SERVER, 443), 20.0);
    }
    assert_eq!(cause(of(&wire.read(), 1003)), ("firewall_drop", "likely"));
}

/// Three SYNs in a row are lost: with others it was one or two.
#[test]
fn plain_loss_is_no_rule() {
    let lossy = |others: u16| {
        let mut wire = Wire::default();
        thrice(&mut wire, 1000.0, &syn(1, 443));
        wire.opens(2000.0, &syn(2, 80), 20.0);
        wire.opens(2500.0, &syn_from(OTHER, 2, SERVER, 443), 20.0);
        for port in 0..others {
            let lost = syn_from(OTHER, 10 + port, SERVER, 443);
            wire.add(1500.0, &lost).opens(2500.0, &lost, 20.0);
        }
        wire.add(90_000.0, &syn(9, 79));
        wire.read()
    };
    let read = lossy(1);
    assert_eq!(cause(of(&read, 1)), ("firewall_drop", "possible"));
    assert!(evidence(of(&read, 1)).contains("packets get lost on the way"), "{}", of(&read, 1));
    assert_eq!(cause(of(&lossy(0), 1)), ("firewall_drop", "likely"));
}

/// What falls back to fewer options under loss or overload: SYNs without any get lost there as well.
#[test]
fn options_that_are_lost_with_everything_else_are_not_blocked() {
    let with = |port| TcpFrame { flags: flags::SYN | flags::ECE | flags::CWR, ..syn(port, 443) };
    let falls_back = |wire: &mut Wire, at: f64, port| {
        wire.add(at, &with(port)).opens(at + 1000.0, &syn(port, 443), 20.0);
    };
    let twice = |also: &dyn Fn(&mut Wire)| {
        let mut wire = Wire::default();
        falls_back(&mut wire, 0.0, 1);
        falls_back(&mut wire, 20_000.0, 2);
        also(&mut wire);
        wire.read()
    };
    assert_eq!(cause(of(&twice(&|_| ()), 2)), ("options_blocked", "likely"));
    // Overload: a plain SYN had to be sent again, and one that fell back as well.
    let plain = |wire: &mut Wire| {
        wire.add(30_000.0, &syn(3, 443)).opens(31_000.0, &syn(3, 443), 20.0);
    };
    assert_eq!(cause(of(&twice(&plain), 2)), ("options_blocked", "possible"));
    let again = |wire: &mut Wire| {
        wire.add(30_000.0, &with(3)).add(31_000.0, &syn(3, 443)).opens(33_000.0, &syn(3, 443), 20.0);
    };
    let read = twice(&again);
    assert_eq!(cause(of(&read, 2)), ("options_blocked", "possible"));
    assert!(evidence(of(&read, 2)).contains("got lost, too"), "{}", of(&read, 2));
    // Fast Open's data makes a SYN larger than one without.
    let large = |port| {
        let options = [&OPTIONS[..], &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]].concat();
        TcpFrame { options, payload: vec![7; 1300], ..syn(port, 443) }
    };
    let mut wire = Wire::default();
    for (at, port) in [(0.0, 1), (20_000.0, 2)] {
        wire.add(at, &large(port)).opens(at + 1000.0, &syn(port, 443), 20.0);
    }
    assert_eq!(cause(of(&wire.read(), 2)), ("options_blocked", "possible"));
}

/// A busy server: forty clients that open, and go.
fn busy() -> Wire {
    let mut wire = Wire::default();
    for client in 0..40u8 {
        let from = [20 + client, 1, 2, client];
        wire.opens(f64::from(client) * 100.0, &syn_from(from, 5000, SERVER, 443), 20.0);
    }
    wire.add(60_000.0, &syn(1, 79)).add(61_000.0, &syn(1, 79));
    wire
}

#[test]
fn a_capture_of_syns_is_no_flood_and_no_outage() {
    let read = filtered(&busy(), TcpFrame::is_syn);
    assert_eq!(findings(&read), 0, "{}", read.summary);
    assert!(causes(&read).iter().all(|it| it.0 == "unknown"), "{:?}", causes(&read));
    let it = of(&read, 5000);
    assert!(evidence(it).contains("no SYN/ACK of anybody is in this capture"), "{it}");
    assert!(it["cause"]["next"].to_string().contains("filtered by flags"), "{it}");
    // The whole of it, with a flood in it that no filter made: SYNs of forged clients, among others' answers.
    let mut wire = busy();
    for client in 0..30u8 {
        wire.add(5000.0 + f64::from(client), &syn_from([90 + client, 7, 7, 7], 6000, SERVER, 25_565));
    }
    let read = wire.read();
    assert_eq!(findings(&read), 1, "{}", read.summary);
    assert!(read.attempts().filter(|it| it["server"]["port"] == 25_565).all(|it| cause(it) == ("syn_flood", "likely")));
}

#[test]
fn a_capture_without_acks_shows_no_client_that_vanished() {
    let read = filtered(&busy(), |it| it.has(flags::SYN));
    assert_eq!(findings(&read), 0, "{}", read.summary);
    for it in read.attempts().filter(|it| it["outcome"] == "half_open") {
        assert_eq!(cause(it).0, "unknown", "{it}");
        assert!(evidence(it).contains("no packet without SYN is in this capture"), "{it}");
    }
    // A SYN/ACK that is sent again shows that something is wrong there as well.
    let first = syn(7, 443);
    let repeats = |wire: &mut Wire| {
        wire.add(70_000.0, &first).add(70_020.0, &answer(&first)).add(71_040.0, &answer(&first));
        wire.add(73_060.0, &answer(&first)).add(77_060.0, &answer(&first));
    };
    let mut wire = busy();
    repeats(&mut wire);
    let read = filtered(&wire, |it| it.has(flags::SYN));
    assert_eq!(cause(of(&read, 7)), ("client_vanished", "possible"));
    // Where others' ACKs are seen, it is a client that fell silent.
    assert_eq!(cause(of(&wire.read(), 7)), ("client_vanished", "likely"));
}

#[test]
fn a_capture_of_one_direction_shows_no_asymmetric_path() {
    let from_clients = filtered(&busy(), |it| it.target.port() < 1024);
    assert_eq!(findings(&from_clients), 0, "{}", from_clients.summary);
    assert!(causes(&from_clients).iter().all(|it| it.1 != "likely"), "{:?}", causes(&from_clients));
    let from_servers = filtered(&busy(), |it| it.source.port() < 1024);
    assert!(causes(&from_servers).iter().all(|it| it.1 != "likely"), "{:?}", causes(&from_servers));
    // One connection whose SYN/ACK took another way, among others.
    let mut wire = busy();
    let first = syn(7, 443);
    let ack = answer(&first).answer(flags::ACK, first.next_seq());
    wire.add(70_000.0, &first).add(70_020.0, &ack);
    wire.add(70_030.0, &TcpFrame { payload: vec![1; 9], ..ack.followed_by(flags::ACK | flags::PSH) });
    assert_eq!(cause(of(&wire.read(), 7)), ("asymmetric_path", "likely"));
}

/// A server's answers are lost, and each of its devices sends its whole ladder: an outage.
#[test]
fn devices_that_try_again_are_no_flood() {
    let scene = |tries: u32| {
        let mut wire = Wire::default();
        for client in 0..40u8 {
            let first = syn_from([20 + client, 1, 2, client], 5000, SERVER, 8883);
            let mut at = f64::from(client) * 100.0;
            for it in 0..tries {
                wire.add(at, &first).add(at + 20.0, &answer(&first));
                at += 1000.0 * f64::from(1 << it);
            }
        }
        wire.opens(90_000.0, &syn(1, 79), 20.0);
        wire.read()
    };
    let ladder = scene(6);
    assert_eq!(findings(&ladder), 0, "{}", ladder.summary);
    assert!(causes(&ladder).iter().all(|it| it.0 != "syn_flood"), "{:?}", causes(&ladder));
    let once = scene(1);
    assert!(causes(&once).iter().any(|it| it == &("syn_flood", "likely")), "{:?}", causes(&once));
}

/// An ICMP error about a SYN, from an address to its sender.
fn error(from: [u8; 4], about: &TcpFrame, code: u8) -> Vec<u8> {
    let to = about.source;
    let outer =
        TcpFrame { ttl: 64, ..TcpFrame::new((about.target_mac, about.source_mac), (from, 0).into(), to, 0, 0) }.bytes();
    let quoted = &about.bytes()[14..];
    let mut frame = outer[..34].to_vec();
    frame[16..18].copy_from_slice(&u16::to_be_bytes(28 + quoted.len() as u16));
    frame[23] = 1;
    frame.extend([3, code, 0, 0, 0, 0, 0, 0]);
    frame.extend(quoted);
    frame
}

/// Frames of one capture, by the time in milliseconds.
fn read_frames(mut frames: Vec<(f64, Vec<u8>)>, args: &[&str]) -> Read {
    frames.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut capture, mut last) = (Pcap::new(Link::Ethernet), 0.0);
    for (at, frame) in frames {
        capture.frame(Duration::from_secs_f64((at - last) / 1000.0), &frame);
        last = at;
    }
    pcap::read(&capture.store().0, args)
}

const ROUTER: [u8; 4] = [192, 0, 2, 1];

fn opened(at: f64, round_trip: f64, port: u16) -> Vec<(f64, Vec<u8>)> {
    let mut wire = Wire::default();
    wire.opens(at, &syn(port, 80), round_trip);
    wire.0.iter().map(|(at, frame)| (*at, frame.bytes())).collect()
}

/// An error that came a round trip after the SYN shows no look-up, however long that is.
#[test]
fn a_long_way_is_no_look_up() {
    let host = [203, 0, 113, 99];
    let with = |after: f64, before: Vec<(f64, Vec<u8>)>, tries: &[f64]| {
        let first = syn_from(CLIENT, 7, host, 443);
        let syns = tries.iter().map(|at| (10_000.0 + at, first.bytes()));
        let own = syns.chain([(10_000.0 + after, error(ROUTER, &first, 1))]);
        let read = read_frames(before.into_iter().chain(own).collect(), &["--all"]);
        let it = of(&read, 7);
        (cause(it).0.to_owned(), cause(it).1.to_owned())
    };
    let said = |cause: &str, confidence: &str| (cause.to_owned(), confidence.to_owned());
    assert_eq!(with(600.0, opened(0.0, 580.0, 1), &[0.0]), said("host_down", "possible"), "a satellite");
    assert_eq!(with(600.0, Vec::new(), &[0.0]), said("host_down", "possible"), "nothing is known of the way");
    assert_eq!(with(1020.0, opened(0.0, 15.0, 1), &[0.0, 1000.0]), said("host_down", "possible"), "the second SYN's");
    assert_eq!(with(600.0, opened(0.0, 15.0, 1), &[0.0]), said("host_down", "likely"), "a look-up that hurries");
    assert_eq!(with(3060.0, Vec::new(), &[0.0, 1000.0]), said("host_down", "likely"), "no way is as long");
    assert_eq!(with(20.0, opened(0.0, 15.0, 1), &[0.0]).0, "firewall_reject", "no look-up is as short");
}

/// An error about an older SYN of the same ports says nothing of this one.
#[test]
fn an_error_about_an_older_syn_is_not_this_ones() {
    let old = syn(7, 443);
    let new = TcpFrame { seq: old.seq + 99_999, ..old.clone() };
    let said = |about: &TcpFrame| {
        let frames = vec![
            (0.0, old.bytes()),
            (5000.0, new.bytes()),
            (5010.0, error(ROUTER, about, 13)),
            (6000.0, new.bytes()),
            (8000.0, new.bytes()),
        ];
        let read = read_frames(frames, &["--all"]);
        let outcomes: Vec<_> = read.attempts().map(|it| it["outcome"].as_str().unwrap().to_owned()).collect();
        outcomes
    };
    assert_eq!(said(&old)[1], "no_reply");
    assert_eq!(said(&new), ["no_reply", "unreachable"]);
}

/// A SYN that its own host never sent leaves an error to itself, and nothing else.
#[test]
fn an_error_of_the_own_host_stands_for_its_syn() {
    let unseen = syn(7, 443);
    let alone = |from, code, about: &TcpFrame| {
        let frames = opened(0.0, 20.0, 1).into_iter().chain([(9000.0, error(from, about, code))]).collect();
        read_frames(frames, &[])
    };
    for (code, expected) in
        [(13, ("firewall_reject", "certain")), (3, ("firewall_reject", "likely")), (1, ("host_down", "possible"))]
    {
        let read = alone(CLIENT, code, &unseen);
        let it = of(&read, 7);
        assert_eq!((&it["outcome"], cause(it)), (&"unreachable".into(), expected), "{it}");
        assert!(!it.to_string().contains("this host"), "{it}");
        assert!(!evidence(it).contains("after 0.0 ms"), "its time is not known: {it}");
        assert_eq!(it["syn"]["tries"].as_u64().unwrap_or(0), 0, "{it}");
    }
    // A router's error about a SYN that was not captured, backscatter, and errors about what is no SYN.
    assert_eq!(alone(ROUTER, 13, &unseen).lines.len(), 0);
    assert_eq!(alone(CLIENT, 13, &unseen.followed_by(flags::ACK)).lines.len(), 0);
    assert_eq!(alone(SERVER, 13, &answer(&unseen)).lines.len(), 0);
    // The SYN is there: one attempt.
    let frames = vec![(0.0, unseen.bytes()), (0.1, error(CLIENT, &unseen, 13))];
    let read = read_frames(frames, &["--all"]);
    assert_eq!((read.attempts().count(), &of(&read, 7)["syn"]["tries"]), (1, &1.into()));
}

/// A mirror shows a SYN before its translation and after it, and the answer at one of the two places.
#[test]
fn a_half_of_a_translated_attempt_is_no_failure() {
    let inside = syn_from([10, 0, 0, 7], 7, SERVER, 443);
    let masked = |by: u32| {
        let it = syn_from(CLIENT, 7, SERVER, 443);
        TcpFrame { seq: inside.seq.wrapping_add(by), ttl: 63, ..it }
    };
    let forwarded = TcpFrame { seq: inside.seq, ttl: 63, ..syn_from([10, 0, 0, 7], 7, [10, 9, 9, 9], 8443) };
    let half = |other: &TcpFrame, opens: bool| {
        let mut wire = Wire::default();
        wire.add(0.0, &inside);
        if opens {
            wire.opens(0.1, other, 20.0)
        } else {
            wire.add(0.1, other)
        };
        wire.add(60_000.0, &syn(9, 79));
        let outcomes = |read: &Read| read.attempts().map(|it| it["outcome"].clone()).collect::<Vec<_>>();
        let (some, all) = (wire.read_with(&[]), wire.read());
        (outcomes(&some).len(), cause(of(&all, 7)).1.to_owned())
    };
    // The last attempt of the capture is a failure of its own.
    assert_eq!(half(&masked(0), true), (1, "possible".to_owned()), "its source was translated");
    assert_eq!(half(&forwarded, true), (1, "possible".to_owned()), "its destination");
    let other = TcpFrame { seq: inside.seq, ..syn_from([10, 0, 0, 7], 8, [10, 9, 9, 9], 8443) };
    assert_eq!(half(&other, true).0, 2, "another socket, numbered by the same clock");
    assert_eq!(half(&masked(1), true).0, 2, "another number: another attempt");
    assert_eq!(half(&masked(0), false).0, 2, "neither was answered: one failure");
}

/// Two machines have the client's address: the other resets each answer. A client that looks at a port resets itself.
#[test]
fn a_reset_of_another_machine_is_no_check() {
    let mac = |number| [2, 0, 0, 0, 9, number];
    let looks = |sends: u8, resets: u8, ttl: u8, again: bool| {
        let mut wire = Wire::default();
        for port in 0..4u16 {
            let at = f64::from(port) * 10_000.0;
            let first = TcpFrame { source_mac: mac(sends), ttl, ..syn(port + 1, 80) };
            let reset = answer(&first).answer(flags::RST, first.next_seq());
            let reset = TcpFrame { source_mac: mac(resets), ttl, ..reset };
            wire.add(at, &first).add(at + 1.0, &answer(&first)).add(at + 1.2, &reset);
            if again {
                wire.add(at + 1000.0, &first).add(at + 1001.0, &answer(&first)).add(at + 1001.2, &reset);
            }
        }
        wire.read_with(&[])
    };
    let read = looks(1, 2, 64, false);
    assert_eq!((read.attempts().count(), &read.summary["attempts"]["health_checks"]), (4, &0.into()));
    assert!(read.attempts().all(|it| cause(it) == ("duplicate_ip", "possible")), "{:?}", causes(&read));
    assert!(evidence(of(&read, 1)).contains("198.51.100.10 sent the SYN from 02:00:00:00:09:01, and the RST from"));
    let asks = looks(1, 2, 64, true);
    assert!(asks.attempts().all(|it| cause(it) == ("duplicate_ip", "likely")), "{:?}", causes(&asks));
    // One machine; and a router's address, which sends by two ways.
    for read in [looks(1, 1, 64, false), looks(1, 2, 60, false)] {
        assert_eq!(read.attempts().filter(|it| cause(it).0 == "duplicate_ip").count(), 0);
        assert!(read.summary["attempts"]["health_checks"].as_u64() > Some(1), "{}", read.summary);
    }
}

/// What a server repeats of an older connection is not called an answer.
#[test]
fn a_repeated_fin_is_no_challenge() {
    let first = syn(7, 80);
    let fin = TcpFrame { ttl: 57, ack: first.seq.wrapping_sub(5000), ..first.answer(flags::FIN | flags::ACK, 77) };
    let mut wire = Wire::default();
    wire.add(0.0, &first).add(20.0, &fin).add(1000.0, &first).add(1020.0, &fin);
    wire.opens(30_000.0, &syn(9, 80), 20.0);
    let read = wire.read();
    let it = of(&read, 7);
    assert_eq!((&it["outcome"], cause(it)), (&"challenged".into(), ("port_reuse", "likely")), "{it}");
    assert!(evidence(it).contains("its FIN/ACK") && !evidence(it).contains("answered the SYN"), "{it}");
}
