//! Captures at the edge of what is read: cut within a header, frames in PPPoE and behind many tags, files with something
//! behind their end, evidence that cannot be written.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, Tracer, flags},
    pcap::{self, Pcap, Stored},
    traffic::MACS,
};

fn syn(port: u16) -> TcpFrame {
    TcpFrame::new(MACS, ([198, 51, 100, 2], port).into(), ([203, 0, 113, 2], 80).into(), flags::SYN, 7)
}

/// A capture of one frame, of which so many bytes were kept.
fn cut(frame: &[u8], kept: usize) -> Pcap {
    let mut capture = Pcap::new(Link::Ethernet);
    capture.frame(Duration::ZERO, frame);
    let length = u32::try_from(kept).unwrap();
    capture.octets[24 + 8..24 + 12].copy_from_slice(&length.to_le_bytes());
    capture.octets.truncate(24 + 16 + kept);
    capture
}

/// Options that the snapshot length cut off are a loss, and no fault of who sent them.
#[test]
fn cut_options_are_not_malformed() {
    const HEADERS: usize = 14 + 20 + 20;
    let with = |options: &[u8]| TcpFrame { options: options.to_vec(), ..syn(1) }.bytes();
    let told = |frame: &[u8], kept: usize| {
        let read = pcap::read(&cut(frame, kept).store().0, &[]);
        let options = read.lines[0]["syn"]["options"].clone();
        (options["malformed"] == true, options["mss"].clone(), read.summary["losses"].clone())
    };
    let frame = with(&[2, 4, 5, 180, 1, 3, 3, 7]);
    assert_eq!(told(&frame, frame.len()), (false, json!(1460), json!({})));
    let lost = json!({ "cut_by_snaplen": 1 });
    for kept in 0..8 {
        let mss = if kept < 4 { json!(null) } else { json!(1460) };
        assert_eq!(told(&frame, HEADERS + kept), (false, mss, lost.clone()), "{kept} octets of options");
    }
    // One that cannot be is one as far as it was captured, and one that is longer than the list too.
    for options in [[2, 1, 5, 180], [2, 5, 5, 180]] {
        let frame = with(&options);
        assert_eq!(told(&frame, HEADERS + 2), (true, json!(null), json!({})));
    }
}

/// What the core does not look behind live is looked behind here; what is none of it stays what it was.
#[test]
fn tags_and_pppoe_are_looked_behind() {
    let refused = |wrap: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mut capture = Pcap::new(Link::Ethernet);
        for frame in [syn(1), syn(1).answer(flags::RST | flags::ACK, 0)] {
            let frame = frame.bytes();
            capture.frame(Duration::from_millis(1), &[&frame[..12], &wrap(&frame[12..])].concat());
        }
        let read = pcap::read(&capture.store().0, &[]);
        (read.lines.iter().any(|it| it["outcome"] == "refused"), read.summary["packets"]["not_ip"].clone())
    };
    let tag = [0x81, 0x00, 0, 7];
    for tags in 0..=8 {
        assert_eq!(refused(&|it| [&tag.repeat(tags), it].concat()), (true, json!(0)), "{tags} tags");
    }
    assert_eq!(refused(&|it| [&tag.repeat(9), it].concat()), (false, json!(2)));
    let session = |head: [u8; 2], protocol: u8, it: &[u8]| {
        let length = u16::try_from(it.len()).unwrap().to_be_bytes();
        [&[0x88, 0x64], &head[..], &[0, 1], &length, &[0, protocol], &it[2..]].concat()
    };
    assert_eq!(refused(&|it| session([0x11, 0], 0x21, it)), (true, json!(0)));
    assert_eq!(refused(&|it| [&tag[..], &session([0x11, 0], 0x21, it)].concat()), (true, json!(0)));
    // Another version, a session's end, another protocol than IP.
    for (head, protocol) in [([0x12, 0], 0x21), ([0x11, 0xa7], 0x21), ([0x11, 0], 0x23)] {
        assert_eq!(refused(&|it| session(head, protocol, it)), (false, json!(2)));
    }
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(octets).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Zeros behind a compressed file are padding, another one goes on; anything else is damage behind all there is.
#[test]
fn what_is_behind_a_gzip_file_is_said() {
    let mut capture = Pcap::new(Link::Ethernet);
    (1..=3).for_each(|port| capture.frame(Duration::from_secs(1), &syn(port).bytes()));
    let (one, other) = capture.octets.split_at(90);
    let (whole, first, second) = (gzip(&capture.octets), gzip(one), gzip(other));
    for octets in [[&whole[..], &[0; 600]].concat(), [first, second].concat()] {
        let read = pcap::read(&Stored::new(&octets).0, &[]);
        assert_eq!((read.code, read.lines.len(), &read.stderr[..]), (Some(0), 3, ""));
    }
    let read = pcap::read(&Stored::new(&[&whole[..], &[0; 3], b"something else"].concat()).0, &[]);
    assert_eq!((read.code, read.lines.len()), (Some(1), 3));
    let said = format!("from byte {} on, is ignored", whole.len() + 3);
    assert!(read.stderr.contains(&said), "{}", read.stderr);
    assert_eq!(read.summary["losses"], json!({ "damaged": 1 }));
}

/// A disk that is full: said once, counted, and all is reported.
#[test]
fn evidence_that_cannot_be_written_stops_nothing() {
    let mut capture = Pcap::new(Link::Ethernet);
    (1..=100).for_each(|port| capture.frame(Duration::from_millis(1), &syn(port).bytes()));
    let (stored, evidence) = (capture.store(), Stored::new(b""));
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$0\" --json -r \"$1\" -w \"$2\"";
    let output = Command::new("sh")
        .args(["-c", script])
        .args([Tracer::binary().as_path(), &stored.0, &evidence.0])
        .output()
        .unwrap();
    let (stdout, stderr) = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).into();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let mut lines: Vec<serde_json::Value> = stdout.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    lines.retain(|it| it["type"] != "incident");
    assert_eq!(lines.len(), 101);
    assert!(lines[100]["losses"]["evidence_shed"].as_u64().unwrap() > 10, "{}", lines[100]);
    assert_eq!(stderr.matches("cannot write evidence").count(), 1, "{stderr}");
}
