//! Handshakes inside tunnels: told with the tunnel's ends beside them when asked for, and not at all otherwise.

use std::time::Duration;

use serde_json::{Value, json};
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    pcap::{self, Pcap},
    traffic::MACS,
    tunnels::TUNNELS,
};

#[test]
fn refused_in_every_tunnel() {
    for (number, (kind, tunnel)) in TUNNELS.iter().enumerate() {
        let client = ([198, 51, 100, 2], 40_000).into();
        let syn = TcpFrame::new(MACS, client, ([203, 0, 113, 2], 6036).into(), flags::SYN, 7);
        let mut capture = Pcap::new(Link::Ethernet);
        capture.frame(Duration::ZERO, &tunnel(&syn.bytes(), true));
        capture.frame(Duration::from_millis(1), &tunnel(&syn.answer(flags::RST | flags::ACK, 0).bytes(), false));
        let stored = capture.store();
        let unasked = pcap::read(&stored.0, &[]);
        assert_eq!(unasked.lines, Vec::<Value>::new(), "{number}: nobody asked");
        let tunnels = unasked.summary["tunnels"].as_object().expect("counts");
        assert_eq!(tunnels.values().collect::<Vec<_>>(), [&json!(2)], "{number}: the summary hints at {kind}");
        let read = pcap::read(&stored.0, &["--decap"]);
        assert_eq!((read.lines.len(), &read.summary["tunnels"]), (1, &json!({})), "{number}: {kind}");
        let line = &read.lines[0];
        assert_eq!((&line["outcome"], &line["server"]["port"]), (&json!("refused"), &json!(6036)), "{number}");
        assert_eq!(line["outer"]["kind"], *kind, "{number}");
        if *kind != "mpls" {
            let ends = [&line["outer"]["client_side"], &line["outer"]["server_side"]];
            let is_v6 = ends[0].as_str().unwrap().contains(':');
            let expected = if is_v6 { ["2001:db8::1", "2001:db8::2"] } else { ["192.0.2.1", "192.0.2.2"] };
            assert_eq!(ends, expected, "{number}");
        }
    }
}

/// What is in no tunnel is told as ever, and a tunnel that breaks off is the packet that it is.
#[test]
fn what_is_no_tunnel_stays_as_it_is() {
    let client = ([198, 51, 100, 2], 40_000).into();
    let syn = TcpFrame::new(MACS, client, ([203, 0, 113, 2], 6036).into(), flags::SYN, 7);
    let mut capture = Pcap::new(Link::Ethernet);
    capture.frame(Duration::ZERO, &syn.bytes());
    capture.frame(Duration::ZERO, &syn.answer(flags::RST | flags::ACK, 0).bytes());
    for (_, tunnel) in TUNNELS {
        let whole = tunnel(&syn.bytes(), true);
        // Up to where the inner TCP header begins; behind it the core sees a segment, or that it breaks off.
        for length in 0..whole.len() - 20 {
            capture.frame(Duration::ZERO, &whole[..length]);
        }
    }
    let read = pcap::read(&capture.store().0, &["--decap", "--all"]);
    assert_eq!(read.lines.len(), 1, "{:#?}", read.lines);
    assert!(read.lines[0].get("outer").is_none());
}
