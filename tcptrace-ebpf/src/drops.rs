//! The kernel's drops and their reasons: the part of a packet that matters, a flow's record, and how much is looked at.
//!
//! Pure: the hook is the kernel programs' `dropped`. A reason is a number here; only the running kernel knows its
//! meaning (enum skb_drop_reason, include/net/dropreason-core.h).

use crate::{
    flow::{Addr, Endpoint},
    handshake::{LONGEST_SILENCE, Nanos},
    packet::Packet,
    segment::{Flags, TCP, u16_at, u32_at, u64_at},
    seq::Seq,
};

/// Records kept for each group of packets.
pub const KEPT: usize = 2;
/// Groups of packets: by sender, and of each those with SYN apart, which no flood of RSTs then pushes out.
pub const GROUPS: usize = 4;

/// Packets of one kind and number, dropped for one reason in one network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Drops {
    /// The last one.
    pub at: Nanos,
    /// The cookie of the network namespace in which they were dropped (SO_NETNS_COOKIE); zero: nobody said.
    pub netns: u64,
    pub reason: u32,
    /// The number of drops. If it is zero, no other field here counts.
    pub count: u32,
    /// The client's ISN by the packet's own numbers: [`Glimpse::isn`].
    pub isn: Seq,
    /// [`Glimpse::label`].
    pub label: u32,
}

impl Drops {
    /// What was dropped.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        let flags = Flags(self.label as u8);
        if flags.any(Flags::SYN) {
            return if flags.any(Flags::ACK) { Kind::SynAck } else { Kind::Syn };
        }
        if flags.any(Flags::RST) {
            return Kind::Rst;
        }
        if flags.any(Flags::FIN) {
            return Kind::Fin;
        }
        if self.label & BARE > 0 { Kind::Ack } else { Kind::Data }
    }
}

/// What a dropped packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A SYN without ACK, whatever else it has.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// Neither SYN nor RST nor FIN, and no data.
    Ack,
    /// A RST, with or without ACK.
    Rst,
    /// A FIN.
    Fin,
    /// Data, and none of the above.
    Data,
}

impl Kind {
    /// The word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "syn_ack",
            Self::Ack => "ack",
            Self::Rst => "rst",
            Self::Fin => "fin",
            Self::Data => "data",
        }
    }
}

/// In [`Glimpse::label`], beside the flags: it carries no data.
const BARE: u32 = 1 << 8;

/// A flow's drops in both directions, by its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowDrops {
    /// Odd while it is written, zero while nobody has.
    pub version: u64,
    /// The ends, the lesser first: which of them is the client is not known here.
    pub low_addr: Addr,
    pub high_addr: Addr,
    pub low_port: u16,
    pub high_port: u16,
    /// Not zero: the flow is a [`Origin::Ours`].
    pub is_ours: u32,
    /// By [`group`]; of each the newest first.
    pub drops: [[Drops; KEPT]; GROUPS],
}

const _: () = assert!(size_of::<FlowDrops>() == 304 && align_of::<FlowDrops>() == 8);

/// The group of packets with or without SYN of one end: 0 is the lesser one.
#[inline(always)]
#[must_use]
pub const fn group(sender: usize, has_syn: bool) -> usize {
    (sender & 1) << 1 | has_syn as usize
}

/// The relation of a dropped packet to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A packet of an attempt in the table, or one that this host itself sent.
    Ours,
    /// A packet of a flow that came from elsewhere and that nobody follows: most of these are a flood's.
    Strange,
}

impl FlowDrops {
    /// The flow's ends, the lesser first.
    #[must_use]
    pub const fn ends(&self) -> [Endpoint; 2] {
        [Endpoint { addr: self.low_addr, port: self.low_port }, Endpoint { addr: self.high_addr, port: self.high_port }]
    }

    /// When the last packet was dropped.
    #[inline(always)]
    #[must_use]
    pub fn newest(&self) -> Nanos {
        let [a, b, c, d] = &self.drops;
        a[0].at.max(b[0].at).max(c[0].at).max(d[0].at)
    }

    /// Notes a packet, and returns whether there was a place for it. An [`Origin::Strange`] packet takes no place from
    /// an [`Origin::Ours`] record while that record may still be looked up.
    #[inline(always)]
    pub fn note(&mut self, glimpse: &Glimpse, origin: Origin, reason: u32, netns: u64, now: Nanos) -> bool {
        let &Glimpse { src, dst, flags, .. } = glimpse;
        let from = usize::from(is_above(src, dst));
        let (low, high) = if from == 0 { (src, dst) } else { (dst, src) };
        let is_same = self.low_addr == low.addr
            && self.high_addr == high.addr
            && self.low_port == low.port
            && self.high_port == high.port;
        if !is_same {
            if origin == Origin::Strange && self.is_ours != 0 && now.since(self.newest()) < LONGEST_SILENCE {
                return false;
            }
            (self.low_addr, self.low_port) = (low.addr, low.port);
            (self.high_addr, self.high_port) = (high.addr, high.port);
            self.is_ours = 0;
            self.drops = [[Drops::default(); KEPT]; GROUPS];
        }
        if origin == Origin::Ours {
            self.is_ours = 1;
        }
        let (isn, label) = (glimpse.isn(), glimpse.label());
        let [first, second] = &mut self.drops[group(from, flags.any(Flags::SYN))];
        let is_it = |it: &Drops| it.reason == reason && it.netns == netns && it.label == label && it.isn == isn;
        if first.count == 0 || !is_it(first) {
            let count = if is_it(second) { second.count } else { 0 };
            *second = *first;
            *first = Drops { at: now, netns, reason, count, isn, label };
        }
        first.at = now;
        first.count = first.count.saturating_add(1);
        true
    }
}

/// Whether `a` is the greater end. Not derived `Ord`, which compiles to branches that the verifier multiplies by.
#[inline(always)]
fn is_above(a: Endpoint, b: Endpoint) -> bool {
    if a.addr.hi != b.addr.hi {
        return a.addr.hi > b.addr.hi;
    }
    if a.addr.lo != b.addr.lo {
        return a.addr.lo > b.addr.lo;
    }
    a.port > b.port
}

/// The facts that are read from a dropped packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub seq: Seq,
    pub ack: Seq,
    pub flags: Flags,
    /// Whether it carries no data.
    pub is_bare: bool,
}

/// Looks at a packet from its IP header on; `None`: not TCP, or where nobody would follow it.
///
/// The place of the TCP header is computed from the IP header. The skb's own field does not give it: before IP has
/// looked at a packet, that field holds the network header's place (`__netif_receive_skb_core`), or nothing. IPv6
/// extension headers are not looked behind: no packet of a handshake has any.
#[inline(always)]
#[must_use]
pub fn glimpse<P: Packet + ?Sized>(packet: &P) -> Option<Glimpse> {
    // As many as an IPv6 header has, and at least what an IPv4 and a TCP header have.
    let ip: [u8; 40] = packet.bytes(0)?;
    let (at, src, dst, length) = match ip[0] >> 4 {
        4 => {
            let at = usize::from(ip[0] & 15) * 4;
            if at < 20 || ip[9] != TCP || u16_at(&ip, 6) & 0x1fff != 0 {
                return None;
            }
            (at, Addr::v4(u32_at(&ip, 12)), Addr::v4(u32_at(&ip, 16)), u16_at(&ip, 2).wrapping_sub(at as u16))
        }
        6 if ip[6] == TCP => {
            let addr = |at| Addr { hi: u64_at(&ip, at), lo: u64_at(&ip, at + 8) };
            (40, addr(8), addr(24), u16_at(&ip, 4))
        }
        _ => return None,
    };
    let tcp: [u8; 14] = packet.bytes(at)?;
    Some(Glimpse {
        src: Endpoint { addr: src, port: u16_at(&tcp, 0) },
        dst: Endpoint { addr: dst, port: u16_at(&tcp, 2) },
        seq: Seq(u32_at(&tcp, 4)),
        ack: Seq(u32_at(&tcp, 8)),
        flags: Flags(tcp[13]),
        is_bare: length <= u16::from(tcp[12] >> 4) * 4,
    })
}

/// Two ends that stand for all flows whose SYN has this number: by their hash a SYN is found that was translated.
#[inline(always)]
#[must_use]
pub fn ends_of_isn(isn: Seq) -> (Endpoint, Endpoint) {
    let none = Endpoint { addr: Addr { hi: 0, lo: 0 }, port: 0 };
    (none, Endpoint { addr: Addr { hi: 0, lo: isn.0 as u64 }, ..none })
}

impl Glimpse {
    /// The client's ISN, if this is a packet of a handshake: a SYN has it; what answers a SYN acknowledges the number
    /// after it; what the client sends next has the number after it. A RST that answers a SYN has no number of its own
    /// (RFC 9293, section 3.10.7.1). Of any other packet it is some number.
    #[inline(always)]
    #[must_use]
    pub const fn isn(&self) -> Seq {
        const ANSWER: u8 = Flags::SYN | Flags::ACK;
        let is_refusal = self.flags.any(Flags::RST) && self.seq.0 == 0;
        if self.is_syn() {
            self.seq
        } else if self.flags.0 & ANSWER == ANSWER || is_refusal {
            Seq(self.ack.0.wrapping_sub(1))
        } else {
            Seq(self.seq.0.wrapping_sub(1))
        }
    }

    /// Its flags and whether it is bare, for [`Drops::kind`].
    #[inline(always)]
    #[must_use]
    pub const fn label(&self) -> u32 {
        const TOLD: u8 = Flags::FIN | Flags::SYN | Flags::RST | Flags::ACK;
        (self.flags.0 & TOLD) as u32 | if self.is_bare { BARE } else { 0 }
    }

    /// Whether it opens a connection.
    #[inline(always)]
    #[must_use]
    pub const fn is_syn(&self) -> bool {
        self.flags.0 & (Flags::SYN | Flags::ACK | Flags::RST) == Flags::SYN
    }

    /// Whether it may matter to a handshake: it opens or resets; it belongs to one that is pending; or it carries no
    /// data and its attempt is in the table still, since the final ACK that nobody took looked at the driver as if it
    /// had completed the handshake. Data of established connections does not: what is dropped of it says how the
    /// network fares, and would push out what was dropped before.
    #[inline(always)]
    #[must_use]
    pub const fn matters(&self, is_pending: bool, is_followed: bool) -> bool {
        self.flags.any(Flags::SYN | Flags::RST) || is_pending || is_followed && self.is_bare
    }
}

/// Byte offsets, in the running kernel, of the fields that the hook reads, each within the structure that its name
/// begins with. A field that is not needed is 0, as all are where the hook is not loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FieldOffsets {
    pub skb_head: u32,
    pub skb_network_header: u32,
    pub skb_protocol: u32,
    /// `skb_iif`, the interface that it came in by; 0 where it did not come in.
    pub skb_iif: u32,
    pub skb_dev: u32,
    pub skb_sk: u32,
    /// `_skb_refdst`.
    pub skb_dst: u32,
    pub dst_dev: u32,
    pub dev_net: u32,
    /// In `struct sock_common`, with which every socket begins.
    pub sock_net: u32,
    pub net_cookie: u32,
}

const _: () = assert!(size_of::<FieldOffsets>() == 44);

impl FieldOffsets {
    /// The hook is not loaded.
    pub const NONE: Self = Self {
        skb_head: 0,
        skb_network_header: 0,
        skb_protocol: 0,
        skb_iif: 0,
        skb_dev: 0,
        skb_sk: 0,
        skb_dst: 0,
        dst_dev: 0,
        dev_net: 0,
        sock_net: 0,
        net_cookie: 0,
    };
}

/// The packets that a CPU may look at within one tick of the kernel's jiffies, 1 to 10 ms.
///
/// A packet that is looked at costs some 100 ns, one that is not a few; [`LOOKS`] in 4 ms are 1 % of a CPU.
/// [`Origin::Strange`] packets have a smaller budget: a flood's drops would otherwise fill the table in a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Budget {
    pub tick: u64,
    pub looked: u32,
    pub strangers: u32,
}

const _: () = assert!(size_of::<Budget>() == 16 && align_of::<Budget>() == 8);

/// Packets looked at, a tick.
pub const LOOKS: u32 = 512;
/// The [`Origin::Strange`] packets among them that are noted, a tick.
pub const STRANGERS: u32 = 8;

impl Budget {
    /// Whether another packet is looked at.
    #[inline(always)]
    pub fn allows_look(&mut self, tick: u64) -> bool {
        if self.tick != tick {
            *self = Self { tick, looked: 0, strangers: 0 };
        }
        if self.looked >= LOOKS {
            return false;
        }
        self.looked += 1;
        true
    }

    /// Whether another packet of this origin is noted.
    #[inline(always)]
    pub fn allows(&mut self, origin: Origin) -> bool {
        match origin {
            Origin::Ours => true,
            Origin::Strange if self.strangers >= STRANGERS => false,
            Origin::Strange => {
                self.strangers += 1;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Endpoint = Endpoint { addr: Addr::v4(0xc633_6402), port: 40_000 };
    const B: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 443 };
    const C: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7103), port: 443 };

    fn between(src: Endpoint, dst: Endpoint) -> Glimpse {
        Glimpse { src, dst, seq: Seq(7), ack: Seq(0), flags: Flags(Flags::SYN), is_bare: true }
    }

    fn drops(reason: u32, count: u32, at: u64) -> Drops {
        let label = if count > 0 { between(A, B).label() } else { 0 };
        Drops { at: Nanos(at), netns: 0, reason, count, isn: Seq(if count > 0 { 7 } else { 0 }), label }
    }

    #[test]
    fn directions_are_apart_and_reasons_the_newest_first() {
        let mut it = FlowDrops::default();
        for (at, (src, dst, reason)) in
            (1..).zip([(A, B, 5), (A, B, 5), (B, A, 6), (A, B, 7), (A, B, 5), (A, B, 8), (A, B, 8)])
        {
            assert!(it.note(&between(src, dst), Origin::Ours, reason, 0, Nanos(at)));
        }
        assert_eq!(it.ends(), [A, B]);
        assert_eq!(it.drops[group(0, true)], [drops(8, 2, 7), drops(5, 3, 5)]);
        assert_eq!(it.drops[group(1, true)], [drops(6, 1, 3), drops(0, 0, 0)]);
        assert_eq!([it.drops[group(0, false)], it.drops[group(1, false)]], [[drops(0, 0, 0); KEPT]; 2]);
        assert_eq!(it.newest(), Nanos(7));
    }

    #[test]
    fn a_drop_is_of_one_packet() {
        let packet = |flags, seq, ack, is_bare| {
            let (seq, ack) = (Seq(seq), Seq(ack));
            Glimpse { seq, ack, flags: Flags(flags), is_bare, ..between(A, B) }
        };
        let (syn, ack, rst) = (Flags::SYN, Flags::ACK, Flags::RST);
        let mut it = FlowDrops::default();
        for (glimpse, kind, isn) in [
            (packet(syn, 7, 0, true), Kind::Syn, 7),
            (packet(syn, 7, 0, false), Kind::Syn, 7),
            (packet(syn | 0xc0, 9, 0, true), Kind::Syn, 9),
            (packet(syn | ack, 100, 8, true), Kind::SynAck, 7),
            (packet(ack, 8, 101, true), Kind::Ack, 7),
            (packet(ack | 8, 8, 101, false), Kind::Data, 7),
            (packet(ack | Flags::FIN, 8, 101, true), Kind::Fin, 7),
            (packet(rst, 8, 0, true), Kind::Rst, 7),
            (packet(rst | ack, 0, 8, true), Kind::Rst, 7),
            (packet(ack, 0, 0, true), Kind::Ack, u32::MAX),
        ] {
            assert!(it.note(&glimpse, Origin::Ours, 5, 0, Nanos(1)));
            let noted = it.drops[group(0, glimpse.flags.any(syn))][0];
            assert_eq!((noted.kind(), noted.isn, noted.count), (kind, Seq(isn), 1), "{glimpse:?}");
        }
        for number in 0..9 {
            assert!(it.note(&packet(rst, number, 0, true), Origin::Ours, 5, 0, Nanos(2)));
        }
        assert_eq!(it.drops[group(0, true)][0].kind(), Kind::SynAck, "no RST takes the place of what has SYN");
    }

    #[test]
    fn strangers_give_way() {
        let mut it = FlowDrops::default();
        assert!(it.note(&between(A, B), Origin::Strange, 5, 0, Nanos(1)));
        assert!(it.note(&between(A, C), Origin::Strange, 5, 0, Nanos(2)));
        assert!(it.note(&between(A, B), Origin::Ours, 5, 0, Nanos(3)));
        assert_eq!(
            it.drops[group(0, true)],
            [drops(5, 1, 3), drops(0, 0, 0)],
            "of who was there before nothing is left"
        );
        assert!(!it.note(&between(A, C), Origin::Strange, 5, 0, Nanos(4)));
        assert!(it.note(&between(A, B), Origin::Strange, 5, 0, Nanos(5)), "the same flow, known or not");
        assert!(!it.note(&between(A, C), Origin::Strange, 5, 0, Nanos(6)));
        assert!(it.note(&between(A, C), Origin::Ours, 5, 0, Nanos(7)));
        assert!(it.note(&between(A, B), Origin::Strange, 5, 0, Nanos(8 + LONGEST_SILENCE)));
    }

    #[test]
    fn a_tick_has_its_budget() {
        let mut it = Budget::default();
        for tick in [1, 2] {
            assert_eq!((0..2 * LOOKS).filter(|_| it.allows_look(tick)).count(), LOOKS as usize);
            assert_eq!((0..LOOKS).filter(|_| it.allows(Origin::Strange)).count(), STRANGERS as usize);
            assert!(it.allows(Origin::Ours));
        }
    }

    fn ipv4(options: usize, flags: u8, payload: u16) -> Vec<u8> {
        let header = 20 + options;
        let mut octets = vec![0; header + 20];
        octets[0] = 0x40 | (header / 4) as u8;
        octets[2..4].copy_from_slice(&(header as u16 + 20 + payload).to_be_bytes());
        octets[9] = TCP;
        octets[12..20].copy_from_slice(&[198, 51, 100, 2, 203, 0, 113, 2]);
        octets[header..header + 12].copy_from_slice(&[0x9c, 0x40, 0x01, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8]);
        octets[header + 12..header + 14].copy_from_slice(&[0x50, flags]);
        octets
    }

    #[test]
    fn a_glimpse_finds_ends_flags_and_data() {
        for options in [0, 4, 40] {
            for (payload, is_bare) in [(0, true), (1, false)] {
                let found = glimpse(ipv4(options, Flags::SYN, payload).as_slice());
                assert_eq!(
                    found,
                    Some(Glimpse {
                        src: A,
                        dst: B,
                        seq: Seq(0x0102_0304),
                        ack: Seq(0x0506_0708),
                        flags: Flags(Flags::SYN),
                        is_bare
                    })
                );
            }
        }
        let mut octets = vec![0; 60];
        octets[0] = 0x60;
        octets[4..6].copy_from_slice(&20u16.to_be_bytes());
        octets[6] = TCP;
        octets[23] = 1;
        octets[39] = 2;
        octets[40..44].copy_from_slice(&[0x9c, 0x40, 0x01, 0xbb]);
        octets[52..54].copy_from_slice(&[0x50, Flags::ACK]);
        let end = |lo, port| Endpoint { addr: Addr { hi: 0, lo }, port };
        let (seq, ack, flags) = (Seq(0), Seq(0), Flags(Flags::ACK));
        let expected = Glimpse { src: end(1, 40_000), dst: end(2, 443), seq, ack, flags, is_bare: true };
        assert_eq!(glimpse(octets.as_slice()), Some(expected));
    }

    #[test]
    fn what_is_no_tcp_header_is_passed_over() {
        let change = |at: usize, to: u8| {
            let mut octets = ipv4(0, Flags::SYN, 0);
            octets[at] = to;
            glimpse(octets.as_slice())
        };
        assert!(change(8, 1).is_some());
        for (at, to) in [(0, 0x44), (0, 0x55), (9, 17), (7, 1), (0, 0x4f)] {
            assert_eq!(change(at, to), None, "octet {at} is {to:#x}");
        }
        let whole = ipv4(0, Flags::SYN, 0);
        assert!((0..40).all(|length| glimpse(&whole[..length]).is_none()));
    }

    #[test]
    fn data_of_the_established_does_not_matter() {
        let it = |flags, is_bare| Glimpse { flags: Flags(flags), is_bare, ..between(A, B) };
        assert!(it(Flags::SYN, true).matters(false, false) && it(Flags::RST | Flags::ACK, true).matters(false, false));
        assert!(!it(Flags::ACK, true).matters(false, false));
        assert!(it(Flags::ACK, true).matters(false, true), "the final ACK of a queue that was full");
        assert!(!it(Flags::ACK, false).matters(false, true));
        assert!(it(Flags::ACK, false).matters(true, true));
    }
}
