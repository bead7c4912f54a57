//! A conversation of any frames: the machine takes every step, and what Zeek and Wireshark would say stays within bounds.

use tcptrace_core::{
    handshake::{Handshake, Nanos, Point, Side},
    segment::{Flags, Options, Segment},
    seq::Seq,
};
use tcptrace_vocabulary::{
    foreign::{Glance, Sender, Wireshark, Zeek},
    outcome::Outcome,
};

/// Eight bytes a segment: side and pause, flags, and what is added to the numbers that are right.
fn segment(of: &[u8], before: &Handshake, side: Side) -> Segment {
    let (client, server) = (before.client(), before.server());
    let [(src, own), (dst, peer)] = match side {
        Side::Client => [(client, before.isn), (server, before.server_isn)],
        Side::Server => [(server, before.server_isn), (client, before.isn)],
    };
    let signed = |octet: u8| i32::from(octet as i8) as u32;
    Segment {
        src,
        dst,
        flags: Flags(of[1]),
        seq: own.add(signed(of[2])),
        ack: peer.add(signed(of[3])),
        window: of[4].into(),
        ttl: of[5],
        payload: of[6].into(),
        has_id: of[4] & 1 != 0,
        has_options: of[4] & 2 != 0,
        options: Options { present: of[7], ..Options::default() },
    }
}

/// Panics where they do not.
pub(crate) fn check(octets: &[u8]) {
    let mut now = Nanos(1 << 40);
    let syn = Segment {
        flags: Flags(Flags::SYN),
        seq: Seq(u32::MAX),
        ..segment(&[0; 8], &Handshake::default(), Side::Client)
    };
    let mut handshake = Handshake::open(&syn, now, Point(2));
    let (mut zeek, mut wireshark) = (Zeek::default(), Wireshark::default());
    for of in octets.chunks_exact(8) {
        let (side, sender) = if of[0] & 1 == 0 { (Side::Client, Sender::First) } else { (Side::Server, Sender::Other) };
        now.0 += u64::from(of[0]) * 10_000_000;
        let segment = segment(of, &handshake, side);
        let before = handshake.facts.0;
        handshake.step(side, &segment, now, Point(2 + u32::from(of[0] & 2)));
        assert_eq!(before & !handshake.facts.0, 0, "a fact was lost");
        let glance = Glance::from(&segment);
        zeek.see(sender, &glance);
        wireshark.see(sender, &glance);
    }
    assert!(Outcome::to_the_end(&handshake).is_some());
    assert!(zeek.history().len() <= 40 && !zeek.conn_state().is_empty());
    assert!(wireshark.completeness() < 64);
}
