//! Captures whose packets are out of order, handshakes that cross, and what was sent again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    pcap::{self, Pcap, Read},
    traffic::MACS,
};

const SYN_ACK: u8 = flags::SYN | flags::ACK;
const RST_ACK: u8 = flags::RST | flags::ACK;
const TEN: Duration = Duration::from_micros(10);

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name)
}

/// The one attempt of a capture.
fn one(read: &Read) -> &Value {
    let all: Vec<_> = read.attempts().collect();
    assert_eq!(all.len(), 1, "{:#?}", read.lines);
    all[0]
}

fn has(attempt: &Value, fact: &str) -> bool {
    attempt["facts"].as_array().expect("facts").iter().any(|it| it == fact)
}

fn read(frames: &[(Duration, &TcpFrame)]) -> Read {
    let mut capture = Pcap::new(Link::Ethernet);
    frames.iter().for_each(|(after, frame)| capture.frame(*after, &frame.bytes()));
    pcap::read(&capture.store().0, &["--all"])
}

/// A connection's packets.
struct Connection {
    syn: TcpFrame,
    answer: TcpFrame,
    ack: TcpFrame,
    data: TcpFrame,
}

fn connection() -> Connection {
    let syn = TcpFrame::new(MACS, ([198, 51, 100, 2], 40_000).into(), ([203, 0, 113, 2], 80).into(), flags::SYN, 100);
    let answer = syn.answer(SYN_ACK, 500);
    let ack = TcpFrame { ack: answer.next_seq(), ..syn.followed_by(flags::ACK) };
    let data = TcpFrame { payload: b"GET".to_vec(), ..ack.followed_by(flags::ACK | flags::PSH) };
    Connection { syn, answer, ack, data }
}

/// Every order of three packets.
fn orders<T: Copy>([a, b, c]: [T; 3]) -> [[T; 3]; 6] {
    [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]]
}

#[test]
fn order_ack_first() {
    let read = pcap::read(&case("order-ack-first.pcap"), &["--all"]);
    let attempt = one(&read);
    assert_eq!((&attempt["outcome"], &attempt["cause"]), (&json!("established"), &Value::Null));
    assert!(has(attempt, "out_of_order") && !has(attempt, "answer_unseen"), "{attempt}");
    assert_eq!(attempt["times"]["syn_to_synack_s"], 0.0002);
    assert_eq!(attempt["times"]["synack_to_ack_s"], Value::Null, "the ACK stands before it");
    assert_eq!((&attempt["syn_ack"]["isn"], &attempt["trust"]["one_direction"]), (&json!(500), &json!(false)));
    assert_eq!(read.summary["attempts"]["out_of_order"], 1);
    assert_eq!(pcap::read(&case("order-ack-first.pcap"), &[]).lines, Vec::<Value>::new(), "nothing is wrong");
}

#[test]
fn order_rst_first() {
    let read = pcap::read(&case("order-rst-first.pcap"), &["--all"]);
    let attempt = one(&read);
    assert_eq!(attempt["outcome"], "refused");
    assert_eq!(
        (&attempt["cause"]["name"], &attempt["cause"]["confidence"]),
        (&json!("port_closed"), &json!("possible"))
    );
    assert!(has(attempt, "out_of_order"), "{attempt}");
}

#[test]
fn holepunch() {
    let read = pcap::read(&case("holepunch.pcap"), &["--all"]);
    let attempt = one(&read);
    assert_eq!((&attempt["outcome"], &attempt["cause"]), (&json!("established"), &Value::Null));
    assert!(has(attempt, "crossed") && attempt["syn_ack"].is_object(), "{attempt}");
    assert_eq!(attempt["times"]["syn_to_synack_s"], 0.02);
}

/// Whatever the order of the three packets, the connection is established, and only what is out of order is said to be.
#[test]
fn an_established_connection_in_every_order() {
    let Connection { syn, answer, ack, data } = connection();
    for (number, order) in orders([&syn, &answer, &ack]).into_iter().enumerate() {
        let read = read(&[(TEN, order[0]), (TEN, order[1]), (TEN, order[2]), (TEN, &data)]);
        let attempt = one(&read);
        assert_eq!(
            (&attempt["outcome"], &attempt["cause"]),
            (&json!("established"), &Value::Null),
            "{number}: {attempt}"
        );
        assert_eq!(has(attempt, "out_of_order"), number > 0, "{number}: {attempt}");
        assert_eq!((&attempt["syn"]["isn"], &attempt["syn_ack"]["isn"]), (&json!(100), &json!(500)), "{number}");
    }
}

/// The same of handshakes that a RST ends: by the client, by the server.
#[test]
fn a_reset_handshake_in_every_order() {
    let Connection { syn, answer, .. } = connection();
    let aborts = syn.followed_by(flags::RST);
    let resets = answer.followed_by(RST_ACK);
    for (rst, outcome) in [(&aborts, "aborted"), (&resets, "reset_on_answer")] {
        for (number, order) in orders([&syn, &answer, rst]).into_iter().enumerate() {
            let read = read(&[(TEN, order[0]), (TEN, order[1]), (TEN, order[2])]);
            let attempt = one(&read);
            assert_eq!((&attempt["outcome"], &attempt["syn_ack"]["tries"]), (&json!(outcome), &json!(1)), "{number}");
            assert_eq!(has(attempt, "out_of_order"), number > 0, "{number}: {attempt}");
        }
    }
}

/// Every way in which two directions are mixed, each in its own order: `true` is the client's next packet.
fn mixtures(client: usize, server: usize) -> Vec<Vec<bool>> {
    match (client, server) {
        (0, 0) => vec![Vec::new()],
        _ => {
            let mut all = Vec::new();
            for is_client in [true, false] {
                let (client, server) = (client.checked_sub(is_client.into()), server.checked_sub((!is_client).into()));
                let (Some(client), Some(server)) = (client, server) else { continue };
                all.extend(mixtures(client, server).into_iter().map(|rest| [vec![is_client], rest].concat()));
            }
            all
        }
    }
}

/// Two queues, one of each direction, merged in any way: a connection that is closed, and one that the server resets.
#[test]
fn two_queues_in_every_mixture() {
    let Connection { syn, answer, ack, data } = connection();
    let reply = TcpFrame { payload: b"200 OK".to_vec(), ..data.answer(flags::ACK, answer.next_seq()) };
    let fin = data.followed_by(flags::FIN | flags::ACK);
    let closes = reply.followed_by(flags::FIN | flags::ACK);
    let resets = reply.followed_by(RST_ACK);
    for (last, outcome, client) in
        [(&closes, "closed", vec![&syn, &ack, &data, &fin]), (&resets, "reset_by_server", vec![&syn, &ack, &data])]
    {
        let server = [&answer, &reply, last];
        for mixture in mixtures(client.len(), server.len()) {
            let (mut clients, mut servers) = (client.iter(), server.iter());
            let mut next = |is_client| if is_client { clients.next() } else { servers.next() };
            let frames: Vec<_> = mixture.iter().map(|it| (TEN, *next(*it).expect("as many as there are"))).collect();
            let read = read(&frames);
            let attempt = one(&read);
            assert_eq!(
                (&attempt["outcome"], &attempt["syn_ack"]["tries"]),
                (&json!(outcome), &json!(1)),
                "{mixture:?}"
            );
            assert!(!has(attempt, "answer_unseen"), "{mixture:?}: {attempt}");
        }
    }
}

/// An ICMP error before the SYN that it quotes; a twin a second before it is of nobody's.
#[test]
fn an_error_before_its_syn() {
    let Connection { syn, .. } = connection();
    let quoted = &syn.bytes()[14..42];
    let mut error = TcpFrame::new(MACS, ([203, 0, 113, 1], 0).into(), ([198, 51, 100, 2], 0).into(), 0, 0).bytes();
    error.truncate(34);
    error[16..18].copy_from_slice(&(20 + 8 + 28_u16).to_be_bytes());
    error[23] = 1;
    error.extend([3, 13, 0, 0, 0, 0, 0, 0]);
    error.extend(quoted);
    for (after, outcome) in [(TEN, "unreachable"), (Duration::from_secs(1), "no_reply")] {
        let mut capture = Pcap::new(Link::Ethernet);
        capture.frame(TEN, &error);
        capture.frame(after, &syn.bytes());
        let read = pcap::read(&capture.store().0, &["--all"]);
        assert_eq!((&one(&read)["outcome"], has(one(&read), "out_of_order")), (&json!(outcome), after == TEN));
    }
}

/// By the packets' own clock they are in order, and only the file is not.
#[test]
fn times_that_disagree_with_the_file_are_believed() {
    let Connection { syn, answer, ack, data } = connection();
    let mut capture = Pcap::new(Link::Ethernet);
    capture.frame(TEN * 2, &answer.bytes());
    capture.back(TEN * 2);
    capture.frame(Duration::ZERO, &syn.bytes());
    capture.frame(TEN * 5, &ack.bytes());
    capture.frame(TEN, &data.bytes());
    let read = pcap::read(&capture.store().0, &["--all"]);
    let attempt = one(&read);
    assert_eq!((&attempt["outcome"], &attempt["cause"]), (&json!("established"), &Value::Null));
    assert_eq!(attempt["times"]["syn_to_synack_s"], 0.000_02);
    assert_eq!(attempt["times"]["synack_to_ack_s"], 0.000_03);
    assert!(has(attempt, "out_of_order"));
}

/// Twins: no SYN/ACK at all, or one that a timer sent a second later; a RST that is another SYN's, or older.
#[test]
fn what_is_in_order_keeps_its_verdict() {
    let second = Duration::from_secs(1);
    let Connection { syn, answer, ack, data } = connection();
    let unseen = read(&[(TEN, &syn), (TEN, &ack), (TEN, &data)]);
    assert_eq!(one(&unseen)["cause"]["name"], "asymmetric_path");
    let late = read(&[(TEN, &syn), (TEN, &ack), (TEN, &data), (second, &answer)]);
    assert_eq!(one(&late)["cause"]["name"], "asymmetric_path");
    let rst = syn.answer(RST_ACK, 0);
    let other = TcpFrame { ack: rst.ack + 1, ..rst.clone() };
    for (what, frames) in [("another", [(TEN, &other), (TEN, &syn)]), ("older", [(TEN, &rst), (second, &syn)])] {
        let read = read(&frames);
        let last = read.attempts().last().expect("an attempt");
        assert_eq!((&last["outcome"], has(last, "out_of_order")), (&json!("no_reply"), false), "{what}");
    }
    // Something on the way resets, and the server's answer, which that did not see, comes all the same.
    let forged = TcpFrame { seq: 77, ..syn.answer(RST_ACK, 0) };
    let forged = read(&[(TEN, &syn), (TEN, &forged), (TEN, &answer), (TEN, &ack)]);
    assert_eq!((&one(&forged)["outcome"], has(one(&forged), "out_of_order")), (&json!("established"), false));
}

/// Both ends open: each answers the other's SYN, or only one does. No half of it is missing.
#[test]
fn crossing_syns_are_no_asymmetric_path() {
    let Connection { syn, .. } = connection();
    let other = TcpFrame { seq: 500, ack: 0, ..syn.answer(flags::SYN, 500) };
    let ours = TcpFrame { seq: 100, ..other.answer(SYN_ACK, 100) };
    let theirs = syn.answer(SYN_ACK, 500);
    let ack = ours.answer(flags::ACK, 501);
    let ms = Duration::from_millis(20);
    for (answered, frames) in [
        (0.06, vec![(ms, &syn), (ms, &other), (ms, &ours), (ms, &theirs), (ms, &ack)]),
        (0.02, vec![(ms, &syn), (ms, &other), (ms, &ours), (ms, &ack)]),
    ] {
        let read = read(&frames);
        let attempt = one(&read);
        assert_eq!((&attempt["outcome"], &attempt["cause"]), (&json!("established"), &Value::Null), "{attempt}");
        assert_eq!(attempt["times"]["syn_to_synack_s"], answered, "{attempt}");
        assert!(attempt["syn_ack"].is_object() && has(attempt, "crossed"), "{attempt}");
    }
}

#[test]
fn a_socket_connected_to_itself_is_no_asymmetric_path() {
    let end = ([127, 0, 0, 1], 40_000).into();
    let syn = TcpFrame::new(MACS, end, end, flags::SYN, 100);
    let answer = syn.answer(SYN_ACK, 100);
    let ack = TcpFrame { ack: 101, ..syn.followed_by(flags::ACK) };
    let ms = Duration::from_millis(1);
    for frames in [vec![(ms, &syn), (TEN, &answer), (TEN, &ack)], vec![(ms, &syn), (TEN, &answer)]] {
        let read = read(&frames);
        let attempt = one(&read);
        assert_eq!((&attempt["outcome"], &attempt["cause"]), (&json!("established"), &Value::Null), "{attempt}");
        assert!(attempt["syn_ack"].is_object(), "{attempt}");
    }
}

/// Two of eight connects took 1.02 s: the summary says that two needed a second SYN, and its percentiles begin there.
#[test]
fn snat_race() {
    let read = pcap::read(&case("snat-race.pcap"), &[]);
    let attempts = &read.summary["attempts"];
    assert_eq!((&attempts["second_syn"], &attempts["second_syn_ack"]), (&json!(2), &json!(0)));
    let times = &read.summary["times"];
    let under = |what: &str, share: &str| times[what][share].as_f64().expect("a time");
    assert!(under("first_syn_to_synack", "p99_s") > 1.02 && under("first_syn_to_synack", "p50_s") < 0.01, "{times}");
    assert!(under("syn_to_synack", "p99_s") < 0.01, "{times}");
    let text = text(&case("snat-race.pcap"));
    assert!(text.contains("sent again: of 8 attempts, 2 needed a second SYN and 0 a second SYN/ACK"), "{text}");
    assert!(text.contains("first SYN to SYN/ACK: half under 2.0 ms, 99 % under 1.05 s"), "{text}");
}

/// A SYN/ACK that was sent again counts as well; of a capture in which nothing was, the summary has no such line.
#[test]
fn what_was_sent_again_is_counted() {
    let Connection { syn, answer, ack, .. } = connection();
    let second = Duration::from_secs(1);
    let again = read(&[(TEN, &syn), (TEN, &answer), (second, &answer), (TEN, &ack)]);
    assert_eq!(
        (&again.summary["attempts"]["second_syn"], &again.summary["attempts"]["second_syn_ack"]),
        (&json!(0), &json!(1))
    );
    // The SYN/ACK that a server sends again after the connection is open was not needed.
    let spurious = read(&[(TEN, &syn), (TEN, &answer), (TEN, &ack), (second, &answer)]);
    assert_eq!(spurious.summary["attempts"]["second_syn_ack"], 0);
    let plain = read(&[(TEN, &syn), (TEN, &answer), (TEN, &ack)]);
    assert_eq!(
        (&plain.summary["attempts"]["second_syn"], &plain.summary["attempts"]["second_syn_ack"]),
        (&json!(0), &json!(0))
    );
    assert!(!text(&case("order-ack-first.pcap")).contains("sent again"));
}

#[test]
fn captures_of_other_links_are_read() {
    for name in ["enc-sgt.pcap", "linktype-ppp.pcap"] {
        let read = pcap::read(&case(name), &["--all"]);
        let attempt = one(&read);
        assert_eq!(
            (&attempt["outcome"], &attempt["wireshark"]["completeness"]),
            (&json!("established"), &json!(7)),
            "{name}"
        );
        assert_eq!((read.code, &read.stderr[..]), (Some(0), ""), "{name}");
    }
}

/// What a run over a capture prints for people.
fn text(path: &Path) -> String {
    let mut command = std::process::Command::new(tcptrace_tests::lab::Tracer::binary());
    let output = command.arg("-r").arg(path).env("TZ", "UTC").output().expect("the tracer starts");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
