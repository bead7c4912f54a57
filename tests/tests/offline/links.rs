//! One handshake in every link layer that is read, with and without what else may stand before its IP header: tshark
//! gives each the same completeness.

use std::{process::Command, time::Duration};

use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    pcap::{self, Pcap},
    traffic::MACS,
};

/// From an Ethernet frame to what a capture has, for a packet of the client (`true`) or of the server.
type Wrap = fn(&[u8], bool) -> Vec<u8>;

/// Behind this, an IP packet.
fn ip(head: &[u8], frame: &[u8]) -> Vec<u8> {
    [head, &frame[14..]].concat()
}

/// An Ethernet header with this behind its addresses, then an IP packet.
fn ethernet(head: &[u8], frame: &[u8]) -> Vec<u8> {
    [&frame[..12], head, &frame[14..]].concat()
}

/// Linux's packet log: an attribute before the packet, of a length that is no multiple of four.
fn nflog(frame: &[u8], order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let packet = &frame[14..];
    let mut octets = vec![2, 0, 0, 5];
    for (kind, value) in [(10, &b"tcp\0\0"[..]), (9, packet)] {
        octets.extend(order(value.len() as u16 + 4));
        octets.extend(order(kind));
        octets.extend(value);
        octets.resize(octets.len().next_multiple_of(4), 0);
    }
    octets
}

fn pktap(frame: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; 156];
    for (at, number) in [(0, 156_u32), (4, 1), (8, 1)] {
        octets[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    [&octets, frame].concat()
}

/// IPv4 with an authentication header (RFC 4302) of 24 bytes.
fn authenticated(frame: &[u8]) -> Vec<u8> {
    let mut octets = frame.to_vec();
    let length = u16::from_be_bytes([frame[16], frame[17]]) + 24;
    octets[16..18].copy_from_slice(&length.to_be_bytes());
    octets[23] = 51;
    let header = [&[6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 12]].concat();
    octets.splice(34..34, header);
    octets
}

const LINKS: [(&str, u32, Wrap); 20] = [
    ("ppp", 9, |it, _| ip(&[0xff, 3, 0, 0x21], it)),
    ("ppp without framing", 9, |it, _| ip(&[0, 0x21], it)),
    ("ppp with a short protocol", 9, |it, _| ip(&[0xff, 3, 0x21], it)),
    ("ppp in hdlc", 50, |it, _| ip(&[0xff, 3, 0, 0x21], it)),
    ("cisco in hdlc", 50, |it, _| ip(&[0x0f, 0, 8, 0], it)),
    ("pppoe", 51, |it, _| ip(&[0x11, 0, 0, 1, 0, 42, 0, 0x21], it)),
    ("llc over atm", 100, |it, _| ip(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], it)),
    ("cisco hdlc", 104, |it, _| ip(&[0x0f, 0, 8, 0], it)),
    ("cisco hdlc, multicast", 104, |it, _| ip(&[0x8f, 0, 8, 0], it)),
    ("enc", 109, |it, _| ip(&[2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], it)),
    ("ppp with its direction", 204, |it, client| ip(&[client.into(), 0xff, 3, 0, 0x21], it)),
    ("nflog", 239, |it, _| nflog(it, u16::to_le_bytes)),
    ("pktap", 258, |it, _| pktap(it)),
    ("security tag", 1, |it, _| ethernet(&[0x89, 0x09, 1, 1, 0, 1, 0, 15, 8, 0], it)),
    ("security tag behind a vlan's", 1, |it, _| ethernet(&[0x81, 0, 0, 5, 0x89, 9, 1, 1, 0, 1, 0, 15, 8, 0], it)),
    ("security tag one way", 1, |it, client| {
        if client { it.to_vec() } else { ethernet(&[0x89, 0x09, 1, 1, 0, 1, 0, 15, 8, 0], it) }
    }),
    ("llc with snap", 1, |it, _| ethernet(&[0, 80, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], it)),
    ("llc with ip's own number", 1, |it, _| ethernet(&[0, 80, 6, 6, 3], it)),
    ("mac in mac", 1, |it, _| [&it[..12], &[0x88, 0xe7, 0, 0, 0, 42], it].concat()),
    ("authentication header", 1, |it, _| authenticated(it)),
];

/// A handshake, closed by a RST: 1 + 2 + 4 + 32.
fn handshake() -> [(TcpFrame, bool); 4] {
    let ends = (([198, 51, 100, 2], 40_000).into(), ([203, 0, 113, 2], 443).into());
    let syn = TcpFrame::new(MACS, ends.0, ends.1, flags::SYN, 7);
    let answer = syn.answer(flags::SYN | flags::ACK, 9000);
    let ack = TcpFrame { ack: answer.next_seq(), ..syn.followed_by(flags::ACK) };
    let rst = ack.followed_by(flags::RST | flags::ACK);
    [(syn, true), (answer, false), (ack, true), (rst, true)]
}

fn capture(number: u32, wrap: impl Fn(&[u8], bool) -> Vec<u8>) -> Pcap {
    let mut capture = Pcap::new(Link::Ethernet);
    capture.octets[20..24].copy_from_slice(&number.to_le_bytes());
    for (frame, client) in handshake() {
        capture.frame(Duration::from_millis(1), &wrap(&frame.bytes(), client));
    }
    capture
}

fn tshark(path: &std::path::Path) -> u8 {
    let mut command = Command::new("tshark");
    command.args(["-2", "-T", "fields", "-e", "tcp.completeness", "-r"]).arg(path);
    let output = command.output().expect("tshark is there: cargo xtask test installs it");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter_map(|line| line.parse().ok()).next_back().unwrap_or_default()
}

#[test]
fn every_link_layer_reads_as_tshark_reads_it() {
    for (what, number, wrap) in LINKS {
        let stored = capture(number, wrap).store();
        let read = pcap::read(&stored.0, &["--all"]);
        let ours: Vec<_> = read.attempts().map(|it| it["wireshark"]["completeness"].clone()).collect();
        assert_eq!(ours, [39], "{what}: {}", read.stderr);
        assert_eq!(tshark(&stored.0), 39, "{what}");
        assert_eq!(read.lines[0]["outcome"], "reset_by_client", "{what}");
    }
}

/// tshark 4.0 reads none of these: it takes the byte order of the packet log from the file, which may have been written
/// elsewhere.
#[test]
fn what_tshark_does_not_read() {
    let pppd: Wrap = |it, client| ip(&[client.into(), 3, 0, 0x21], it);
    let big: Wrap = |it, _| nflog(it, u16::to_be_bytes);
    let cisco: Wrap = |it, client| ip(&[client.into(), 0x0f, 0, 8, 0], it);
    for (what, number, wrap) in [("pppd", 166, pppd), ("cisco, directed", 205, cisco), ("nflog, big", 239, big)] {
        let read = pcap::read(&capture(number, wrap).store().0, &["--all"]);
        assert_eq!(read.lines[0]["wireshark"]["completeness"], 39, "{what}");
    }
}

/// Packets over IPv6 that are longer than their header can say.
#[test]
fn jumbograms_are_read() {
    fn long(frame: &[u8], option: bool) -> Vec<u8> {
        let mut octets = frame.to_vec();
        let length = u32::from(u16::from_be_bytes([frame[18], frame[19]])) + 70_000;
        octets[18..20].copy_from_slice(&[0, 0]);
        if option {
            octets[20] = 0;
            let [a, b, c, d] = (length + 8).to_be_bytes();
            octets.splice(54..54, [6, 0, 0xc2, 4, a, b, c, d]);
        }
        octets.resize(octets.len() + 70_000, 0);
        octets
    }
    let [client, server] = ["[2001:db8::2]:40000", "[2001:db8::3]:443"].map(|it| it.parse().expect("an endpoint"));
    let syn = TcpFrame::new(MACS, client, server, flags::SYN, 7);
    let answer = syn.answer(flags::SYN | flags::ACK, 9000);
    let ack = TcpFrame { ack: answer.next_seq(), ..syn.followed_by(flags::ACK) };
    let data = ack.followed_by(flags::ACK);
    for option in [true, false] {
        let mut capture = Pcap::new(Link::Ethernet);
        for frame in [&syn, &answer, &ack] {
            capture.frame(Duration::from_millis(1), &frame.bytes());
        }
        capture.frame(Duration::from_millis(1), &long(&data.bytes(), option));
        let stored = capture.store();
        let read = pcap::read(&stored.0, &["--all"]);
        // Linux has left out the option of late, and tshark 4.0 reads only those that have it.
        assert_eq!(tshark(&stored.0), if option { 15 } else { 7 });
        assert_eq!(read.lines[0]["wireshark"]["completeness"], 15, "{option}");
    }
}

/// What looks like a tag, and is none.
#[test]
fn what_is_no_ip_stays_what_it_is() {
    let frames: [(&str, Wrap); 5] = [
        ("llc of another network", |it, _| ethernet(&[0, 80, 0xaa, 0xaa, 3, 0, 0, 12, 8, 0], it)),
        ("spanning tree", |it, _| ethernet(&[0, 80, 0x42, 0x42, 3], it)),
        ("a security tag without a packet", |it, _| it[..12].iter().copied().chain([0x89, 9, 1, 1]).collect()),
        ("arp behind a security tag", |it, _| ethernet(&[0x89, 9, 1, 1, 0, 1, 0, 15, 8, 6], it)),
        ("mac in mac in mac", |it, _| {
            [&it[..12], &[0x88, 0xe7, 0, 0, 0, 1], &it[..12], &[0x88, 0xe7, 0, 0, 0, 2], it].concat()
        }),
    ];
    for (what, wrap) in frames {
        let read = pcap::read(&capture(1, wrap).store().0, &["--all"]);
        assert_eq!((read.code, read.lines.len()), (Some(0), 0), "{what}");
        assert_eq!(read.summary["packets"]["not_ip"], 4, "{what}");
    }
}

/// A link type that is not read is said by its name.
#[test]
fn other_link_types_are_named() {
    for (number, name) in [(147, "147 (USER0)"), (189, "189 (USB_LINUX)"), (107, "107 (FRELAY)"), (2, "2; tcptrace")] {
        let read = pcap::read(&capture(number, |it, _| it.to_vec()).store().0, &[]);
        assert_eq!(read.code, Some(1));
        assert!(read.stderr.contains(&format!("unsupported: link type {name}")), "{}", read.stderr);
    }
}
