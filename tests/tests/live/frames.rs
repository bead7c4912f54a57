//! What packets may look like: without a link header, tagged, with options, in fragments, out of the blue.

use std::net::IpAddr;

use serde_json::json;
use tcptrace_tests::lab::{
    CLIENT_GATEWAY_MAC, CLIENT_MAC, ConnectOptions, Lab, SERVER_GATEWAY_MAC, SERVER_MAC, TcpFrame, TcpOptionElement,
    Tracer, eventually, flags, stranger_v4, stranger_v6,
};
use tcptrace_tests::{traffic::MACS, tunnels::TUNNELS};

use crate::rewrite::{as_fragment, tagged, with_ip_options};
use crate::view::{BOTH, PATIENCE, View, assert_golden};

const STRANGERS: [IpAddr; 2] = [stranger_v4(1), stranger_v6(1)];

/// A SYN of either IP version, from a client that is nobody's.
fn syns(port: u16) -> [TcpFrame; 2] {
    let mut strangers = STRANGERS.into_iter();
    BOTH.map(|(client_port, ip)| {
        let from = strangers.next().expect("one for either version");
        let macs = (CLIENT_MAC, CLIENT_GATEWAY_MAC);
        TcpFrame::new(macs, (from, client_port).into(), (ip, port).into(), flags::SYN, u32::MAX)
    })
}

/// Without `--decap` the summary hints at tunnels, by a sample; plain packets are none.
#[test]
fn tunnels_that_nobody_looks_into_are_hinted_at() {
    let lab = Lab::new();
    let [syn, _] = syns(6036);
    let sent = |args: &[&str], frames: &[Vec<u8>]| {
        let tracer = Tracer::start(&lab.server, [&["-i", "eth0", "--json", "--local", "own"], args].concat());
        let wire = lab.router.raw_link("server0");
        frames.iter().for_each(|frame| wire.send(frame));
        std::thread::sleep(std::time::Duration::from_millis(700));
        tracer.stop().json().pop().expect("a summary")["tunnels"].take()
    };
    for (number, (kind, tunnel)) in TUNNELS.iter().enumerate() {
        let frames = [tunnel(&syn.bytes(), true), tunnel(&syn.bytes(), false)];
        // Of tunnels in tunnels it is the outermost.
        let tunnels = sent(&[], &frames);
        let counts: Vec<_> = tunnels.as_object().expect("counts").values().collect();
        assert_eq!(counts, [&json!(2)], "{number}: {kind}: {tunnels}");
    }
    let frames: Vec<_> = TUNNELS.iter().map(|(_, tunnel)| tunnel(&syn.bytes(), true)).collect();
    assert_eq!(sent(&["--decap"], &frames), json!({}), "they are looked into");
    assert_eq!(sent(&[], &[syn.bytes(), syn.answer(flags::RST, 7).bytes()]), json!({}));
}

#[test]
fn refused_and_no_reply_on_a_tun_device() {
    let lab = Lab::new();
    let tun = lab.client.tun("tun0");
    lab.client.ip("link set tun0 addrgenmode none up
        addr add 192.0.2.1/24 dev tun0
        addr add 2001:db8:5::1/64 dev tun0 nodad");
    let view = View::start(&lab.client, &["-i", "tun0", "--stall-after", "0.5"]);
    view.wait_for_notice("tun0: in by TC (tun: packets without the link header that XDP needs), out by tcx");
    let peers: [IpAddr; 2] = ["192.0.2.2", "2001:db8:5::2"].map(|ip| ip.parse().unwrap());
    for ((port, _), ip) in BOTH.into_iter().zip(peers) {
        // An IPv6 address is usable a moment after it was added.
        let connecting = eventually(PATIENCE, || {
            let options = ConnectOptions { from_port: Some(port), ..Default::default() };
            lab.client.start_connect((ip, 6036).into(), options).ok()
        });
        let syn = tun.recv_tcp(PATIENCE, |it| it.source.port() == port).expect("the SYN leaves through the tun device");
        tun.send(&TcpFrame { window: 0, ..syn.answer(flags::RST | flags::ACK, 0) });
        assert_eq!(connecting.finish(PATIENCE).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        let options = ConnectOptions { from_port: Some(port + 10), ..Default::default() };
        lab.client.start_connect((ip, 443).into(), options).unwrap().abandon();
    }
    for (port, _) in BOTH {
        assert_eq!(view.wait("stall", port + 10)["stalled"]["by"], "silence");
    }
    let account = view.end();
    for (port, _) in BOTH {
        let line = account.only(port);
        assert_eq!((&line["outcome"], &line["end"]["flags"]), (&json!("refused"), &json!("RST/ACK")));
        assert_eq!(line["seen"]["client"], json!({ "interface": "tun0", "direction": "out" }));
        assert_eq!(account.after_stall(port + 10)["outcome"], "no_reply");
    }
    assert_golden("refused_on_a_tun_device", BOTH.map(|(port, _)| account.only(port)));
}

#[test]
fn aborted_behind_one_and_two_vlan_tags() {
    let lab = Lab::new();
    let client = View::start(&lab.client, &["-i", "eth0"]);
    let router = ["tc", "xdp"].map(|hook| View::start(&lab.router, &["-i", "client0", "--hook", hook]));
    let link = lab.client.raw_link("eth0");
    for (number, tags) in [(0, &[0x8100][..]), (10, &[0x88a8, 0x8100])] {
        for syn in syns(80) {
            let mut syn = syn;
            syn.source.set_port(syn.source.port() + number);
            link.send(&tagged(&syn.bytes(), tags));
            link.send(&tagged(&syn.followed_by(flags::RST).bytes(), tags));
        }
    }
    let [tc, xdp] = router.map(View::end);
    for account in [client.end(), tc, xdp] {
        for (port, _) in BOTH {
            assert_eq!(account.only(port)["outcome"], "aborted");
            assert_eq!(account.only(port + 10)["outcome"], "aborted");
        }
        assert_eq!((account.figure("/segments/opened"), account.figure("/packets/malformed")), (4, 0));
    }
}

#[test]
fn refused_with_ipv4_options_and_ipv6_extension_headers() {
    let lab = Lab::new();
    let views = View::everywhere(&lab, &[]);
    let link = lab.client.raw_link("eth0");
    for syn in syns(6036) {
        link.send(&with_ip_options(&syn.bytes()));
        let rst = link.recv_tcp(PATIENCE, |it| it.target == syn.source && it.has(flags::RST));
        assert!(rst.is_some(), "the server refuses such a SYN as any other");
    }
    for account in views.map(View::end) {
        for (port, _) in BOTH {
            assert_eq!(account.only(port)["outcome"], "refused");
        }
        assert_eq!(account.figure("/segments/opened"), 2);
        account.assert_nothing_lost();
    }
}

#[test]
fn aborted_in_a_first_fragment_and_later_ones_counted() {
    let lab = Lab::new();
    let views = View::everywhere(&lab, &[]);
    let link = lab.client.raw_link("eth0");
    for syn in syns(80) {
        // All fragments but the last are multiples of eight bytes.
        let syn = syn.with_options(&[TcpOptionElement::MaximumSegmentSize(1400)]);
        link.send(&as_fragment(&syn.bytes(), 0));
        // What looks like a SYN in here is somebody's data.
        let mut later = syn.clone();
        later.source.set_port(50000);
        link.send(&as_fragment(&later.bytes(), 100));
        link.send(&syn.followed_by(flags::RST).bytes());
    }
    // The server's own stack puts nothing together and answers nothing, so its view tells that all has arrived.
    for (port, _) in BOTH {
        views[2].wait("attempt", port);
    }
    let [client, router, server] = views.map(View::end);
    for account in [&client, &router, &server] {
        for (port, _) in BOTH {
            assert_eq!(account.only(port)["outcome"], "aborted");
        }
        assert_eq!((account.figure("/segments/opened"), account.figure("/packets/malformed")), (2, 0));
    }
    // One of either version, and on the router each passes two interfaces.
    assert_eq!([client, router, server].map(|it| it.figure("/packets/later_fragments")), [2, 4, 2]);
}

#[test]
fn a_syn_ack_out_of_the_blue_is_counted_and_not_told() {
    let lab = Lab::new();
    let [client, _, server] = View::everywhere(&lab, &[]);
    let wire = lab.client.raw_link("eth0");
    let link = lab.server.raw_link("eth0");
    for syn in syns(80) {
        let syn_ack = syn.answer(flags::SYN | flags::ACK, 1);
        link.send(&TcpFrame { source_mac: SERVER_MAC, target_mac: SERVER_GATEWAY_MAC, ..syn_ack }.bytes());
        wire.recv_tcp(PATIENCE, |it| it.target == syn.source).expect("the router sends it on to the client");
    }
    for account in [client.end(), server.end()] {
        assert!(account.lines.is_empty(), "{:?}", account.lines);
        assert_eq!(account.figure("/counters/syn_ack_unmatched"), 2);
        assert_eq!(account.figure("/segments/opened"), 0);
    }
}

/// Nobody here ends the tunnels: what is in them passes by, and is told with their ends beside it.
#[test]
fn refused_in_tunnels_where_they_are_looked_into() {
    let lab = Lab::new();
    let [plain, inside] = [&["-i", "eth0"][..], &["-i", "eth0", "--decap"]].map(|args| View::start(&lab.client, args));
    let link = lab.router.raw_link("client0");
    for (number, (_, tunnel)) in (0..).zip(&TUNNELS[..TUNNELS.len() - 1]) {
        let syn =
            TcpFrame::new(MACS, ([10, 0, 0, 1], 40_000 + number).into(), ([10, 0, 0, 2], 80).into(), flags::SYN, 7);
        link.send(&tunnel(&syn.bytes(), true));
        link.send(&tunnel(&syn.answer(flags::RST | flags::ACK, 0).bytes(), false));
    }
    for (number, (kind, _)) in (0..).zip(&TUNNELS[..TUNNELS.len() - 1]) {
        let line = inside.wait("attempt", 40_000 + number);
        assert_eq!((&line["outcome"], &line["outer"]["kind"]), (&json!("refused"), &json!(kind)), "{line:#}");
        if *kind != "mpls" {
            let ends = [&line["outer"]["client_side"], &line["outer"]["server_side"]];
            assert!(ends == ["192.0.2.1", "192.0.2.2"] || ends == ["2001:db8::1", "2001:db8::2"], "{line:#}");
        }
    }
    assert!(plain.end().lines.is_empty());
    inside.end().assert_nothing_lost();
}
