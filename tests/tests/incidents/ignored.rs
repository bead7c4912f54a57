//! `--ignore` and `--fail-on OUTCOME:COUNT`, on a capture with refused and unanswered attempts.

use std::time::Duration;

use serde_json::json;
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    pcap::{self, Pcap, Stored},
    traffic::MACS,
};

/// Two ports of one server refuse ten attempts each, a second apart; a third answers all the while.
fn refused() -> Pcap {
    let mut capture = Pcap::new(Link::Ethernet);
    let syn = |from: u16, to: u16| {
        TcpFrame::new(MACS, ([198, 51, 100, 2], from).into(), ([203, 0, 113, 2], to).into(), flags::SYN, 7)
    };
    for number in 1..=20u16 {
        let refused = syn(number, 6036 + number % 2);
        capture.frame(Duration::from_secs(1), &refused.bytes());
        capture.frame(Duration::from_millis(1), &refused.answer(flags::RST | flags::ACK, 0).bytes());
        let opened = syn(number, 80);
        let answer = opened.answer(flags::SYN | flags::ACK, 9);
        for frame in [&opened, &answer, &answer.answer(flags::ACK, opened.next_seq())] {
            capture.frame(Duration::from_millis(1), &frame.bytes());
        }
    }
    capture
}

fn list(until: &str) -> Stored {
    let entry = format!(
        "[[ignore]]\nfilter = \"dst port 6036\"\nsymptom = \"refusal\"\nreason = \"ticket 4711\"\nuntil = {until}\n"
    );
    Stored::new(entry.as_bytes())
}

#[test]
fn what_is_accepted_is_counted() {
    let (capture, list) = (refused().store(), list("2100-01-01"));
    let list = list.0.to_str().expect("a path is text");
    let read = pcap::read(&capture.0, &["--ignore", list, "--fail-on", "any:11"]);
    assert_eq!(read.code, Some(0), "ten of one incident are no eleven: {}", read.stderr);
    assert_eq!(read.attempts().count(), 10);
    assert!(read.attempts().all(|it| it["server"]["port"] == 6037));
    let ignored = &read.summary["ignored"][0];
    assert_eq!((&ignored["attempts"], &ignored["reason"]), (&json!(10), &json!("ticket 4711")));
    assert_eq!((&ignored["has_expired"], &ignored["until"]), (&json!(false), &json!("2100-01-02T00:00:00.000000000Z")));
    assert_eq!(read.summary["attempts"]["by_outcome"]["refused"], 20, "it happened all the same");
    assert_eq!(read.summary["incidents"]["begun"], 1);
    let all = pcap::read(&capture.0, &["--ignore", list, "--all"]);
    assert_eq!(all.attempts().count(), 40, "--all lists all");
    assert_eq!(all.summary["incidents"]["begun"], 1, "and what is accepted is of no incident all the same");
}

/// Clients that end what they opened with a RST, and looks at a port, are listed with `--all` and are no incidents.
#[test]
fn what_is_no_failure_is_of_no_incident() {
    let mut capture = Pcap::new(Link::Ethernet);
    for number in 1..=6u16 {
        let from = ([198, 51, 100, 2], number).into();
        let syn = TcpFrame::new(MACS, from, ([203, 0, 113, 2], 80 + number % 2).into(), flags::SYN, 7);
        let answer = syn.answer(flags::SYN | flags::ACK, 9);
        let ack = answer.answer(flags::ACK, syn.next_seq());
        let reset = answer.answer(flags::RST | flags::ACK, syn.next_seq());
        capture.frame(Duration::from_secs(5), &syn.bytes());
        for frame in [&answer, &ack, &reset] {
            capture.frame(Duration::from_millis(1), &frame.bytes());
        }
    }
    let read = pcap::read(&capture.store().0, &["--all"]);
    assert_eq!(read.attempts().count(), 6);
    assert!(read.attempts().all(|it| it["outcome"] == "reset_by_client" && it["incident"].is_null()));
    assert_eq!((&read.summary["incidents"]["begun"], read.incidents.len()), (&json!(0), 0));
}

/// Five of ten come before it expires, on 2023-11-14 at 22:13:31.
#[test]
fn what_has_expired_is_back() {
    let (capture, list) = (refused().store(), list("2023-11-14T22:13:31Z"));
    let read = pcap::read(&capture.0, &["--ignore", list.0.to_str().expect("a path is text")]);
    let of = |port: u16| read.attempts().filter(|it| it["server"]["port"] == port).count();
    assert_eq!((of(6036), of(6037)), (5, 10));
    let ignored = &read.summary["ignored"][0];
    assert_eq!((&ignored["attempts"], &ignored["has_expired"]), (&json!(5), &json!(true)));
}

#[test]
fn a_list_with_a_mistake_is_wrong_usage() {
    let capture = refused().store();
    let wrong = Stored::new(b"[[ignore]]\nfilter = \"dst prt 80\"\nreason = \"x\"\nuntil = 2030-01-01\n");
    let read = pcap::read(&capture.0, &["--ignore", wrong.0.to_str().expect("a path is text")]);
    assert_eq!(read.code, Some(2), "{}", read.stderr);
    assert!(read.stderr.contains("entry 1 of [[ignore]]: filter: "), "{}", read.stderr);
    let read = pcap::read(&capture.0, &["--ignore", "/there/is/none"]);
    assert!(read.stderr.contains("cannot read the ignore list '/there/is/none'"), "{}", read.stderr);
}

#[test]
fn so_many_of_one_incident_fail_a_run() {
    let capture = refused().store();
    for (fail_on, code) in [
        ("refused:10", 3),
        ("refused:11", 0),
        ("any:10", 3),
        ("no_reply:1", 0),
        ("no_reply:1,refused:3", 3),
        ("any", 3),
    ] {
        let read = pcap::read(&capture.0, &["--fail-on", fail_on]);
        assert_eq!(read.code, Some(code), "--fail-on {fail_on}");
    }
    for wrong in ["refused:0", "refused:x", "refusal:1"] {
        assert_eq!(pcap::read(&capture.0, &["--fail-on", wrong]).code, Some(2), "--fail-on {wrong}");
    }
}
