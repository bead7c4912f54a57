//! The parser against another one: etherparse writes and reads what the core reads.
//!
//! The core is lenient where etherparse is strict (checksums, options that break off, lengths of offloaded frames), so
//! it is compared on what etherparse accepts. Known differences are listed where they are excluded.

use etherparse::{
    EtherType, Ethernet2Header, IpAuthHeader, IpFragOffset, IpNumber, Ipv4Header, Ipv6Header, Ipv6RawExtHeader,
    LinkExtSlice, NetSlice, SingleVlanHeader, SlicedPacket, TcpHeader, TcpOptionElement, TransportSlice, VlanId,
    ip_number,
};
use proptest::{collection::vec, prelude::*, sample};
use tcptrace_core::{
    flow::{Addr, Endpoint},
    segment::{self, Flags, Found, Link, Options, Segment, Skip},
    seq::Seq,
};
use tcptrace_scenario as scenario;

/// A frame that a host could have sent, by its parts.
#[derive(Clone, Debug)]
struct Valid {
    vlans: Vec<u16>,
    /// Source and destination: the first four bytes are the IPv4 address where `v6` is false.
    hosts: ([u8; 16], [u8; 16]),
    v6: bool,
    ttl: u8,
    ip4_options: usize,
    /// Number and length of each extension header, in units of eight bytes.
    ip6_extensions: Vec<(u8, usize)>,
    ports: (u16, u16),
    numbers: (u32, u32),
    flags: u8,
    window: u16,
    /// Options as on the wire, each whole.
    options: Vec<Vec<u8>>,
    payload: usize,
}

fn valid() -> impl Strategy<Value = Valid> {
    let link = (vec(0..4096u16, 0..=2), any::<([u8; 16], [u8; 16])>(), any::<bool>(), any::<u8>());
    let ip = (0..=10usize, vec((sample::select(vec![60u8, 43, 51]), 0..4usize), 0..=6));
    let tcp = (any::<(u16, u16)>(), any::<(u32, u32)>(), any::<u8>(), any::<u16>(), options(), 0..1400usize);
    (link, ip, tcp).prop_map(|((vlans, hosts, v6, ttl), (ip4_options, ip6_extensions), tcp)| {
        let (ports, numbers, flags, window, options, payload) = tcp;
        Valid { vlans, hosts, v6, ttl, ip4_options, ip6_extensions, ports, numbers, flags, window, options, payload }
    })
}

/// Some options in any order, padding between them, at most forty bytes.
fn options() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let all = (any::<u16>(), any::<u8>(), any::<[u8; 8]>()).prop_map(|(mss, shift, stamp)| {
        let [high, low] = mss.to_be_bytes();
        vec![
            vec![2, 4, high, low],
            vec![3, 3, shift],
            vec![4, 2],
            [&[8, 10][..], &stamp].concat(),
            vec![30, 4, 0, 1],
            vec![34, 2],
            vec![34, 6, 1, 2, 3, 4],
            vec![253, 3, 0],
            vec![1],
            vec![1],
        ]
    });
    let some = all.prop_flat_map(|all| {
        let count = 0..=all.len();
        sample::subsequence(all, count).prop_shuffle()
    });
    some.prop_map(|mut some| {
        while some.iter().map(Vec::len).sum::<usize>() > 40 {
            some.pop();
        }
        some
    })
}

impl Valid {
    fn frame(&self) -> Vec<u8> {
        let network = if self.v6 { EtherType::IPV6 } else { EtherType::IPV4 };
        let types = [EtherType::PROVIDER_BRIDGING, EtherType::VLAN_TAGGED_FRAME];
        let tags = &types[2 - self.vlans.len()..];
        let ether_type = tags.first().copied().unwrap_or(network);
        let mut frame = Ethernet2Header { source: [2; 6], destination: [4; 6], ether_type }.to_bytes().to_vec();
        for (index, &id) in self.vlans.iter().enumerate() {
            let vlan_id = VlanId::try_new(id).expect("below 4096");
            let ether_type = tags.get(index + 1).copied().unwrap_or(network);
            frame.extend(SingleVlanHeader { vlan_id, ether_type, ..SingleVlanHeader::default() }.to_bytes());
        }
        let segment = self.segment();
        frame.extend(if self.v6 { self.ipv6(segment.len()) } else { self.ipv4(segment.len()) });
        frame.extend(segment);
        frame
    }

    fn ipv4(&self, length: usize) -> Vec<u8> {
        let address = |octets: &[u8; 16]| *octets.first_chunk::<4>().expect("sixteen octets");
        let (src, dst) = (address(&self.hosts.0), address(&self.hosts.1));
        let mut header = Ipv4Header::new(0, self.ttl, IpNumber::TCP, src, dst).expect("an empty packet fits");
        header.identification = self.window & 1;
        header.options = vec![1; self.ip4_options * 4].as_slice().try_into().expect("at most forty octets");
        header.set_payload_len(length).expect("a small packet");
        // A first fragment has the whole header.
        header.more_fragments = self.ttl.is_multiple_of(2);
        header.fragment_offset = IpFragOffset::ZERO;
        header.header_checksum = header.calc_header_checksum();
        header.to_bytes().to_vec()
    }

    fn ipv6(&self, length: usize) -> Vec<u8> {
        let mut chain = Vec::new();
        for (index, &(number, units)) in self.ip6_extensions.iter().enumerate() {
            let next = self.ip6_extensions.get(index + 1).map_or(ip_number::TCP, |it| IpNumber(it.0));
            if number == 51 {
                let header = IpAuthHeader::new(next, 1, 2, &vec![0; units * 8 + 4]).expect("a multiple of four octets");
                chain.extend(header.to_bytes());
            } else {
                let header =
                    Ipv6RawExtHeader::new_raw(next, &vec![0; 6 + units * 8]).expect("a multiple of eight octets");
                chain.extend(header.to_bytes());
            }
        }
        let header = Ipv6Header {
            payload_length: u16::try_from(chain.len() + length).expect("a small packet"),
            next_header: self.ip6_extensions.first().map_or(ip_number::TCP, |it| IpNumber(it.0)),
            hop_limit: self.ttl,
            source: self.hosts.0,
            destination: self.hosts.1,
            ..Ipv6Header::default()
        };
        [&header.to_bytes()[..], &chain].concat()
    }

    fn segment(&self) -> Vec<u8> {
        let mut header = TcpHeader::new(self.ports.0, self.ports.1, self.numbers.0, self.window);
        header.set_options_raw(&self.options.concat()).expect("at most forty octets");
        header.acknowledgment_number = self.numbers.1;
        let bit = |bit: u8| self.flags & bit != 0;
        (header.fin, header.syn, header.rst, header.psh) = (bit(0x01), bit(0x02), bit(0x04), bit(0x08));
        (header.ack, header.urg, header.ece, header.cwr) = (bit(0x10), bit(0x20), bit(0x40), bit(0x80));
        [&header.to_bytes()[..], &vec![0; self.payload]].concat()
    }

    /// What the core is to make of it.
    fn expected(&self) -> Segment {
        let host = |octets: &[u8; 16]| address(self.v6, octets);
        let mut options = Options::default();
        if self.flags & Flags::SYN != 0 {
            for option in &self.options {
                read_option(&mut options, option);
            }
            if self.flags & 0xc0 == if self.flags & Flags::ACK != 0 { 0x40 } else { 0xc0 } {
                options.present |= Options::ECN;
            }
        }
        Segment {
            src: Endpoint { addr: host(&self.hosts.0), port: self.ports.0 },
            dst: Endpoint { addr: host(&self.hosts.1), port: self.ports.1 },
            flags: Flags(self.flags),
            seq: Seq(self.numbers.0),
            ack: Seq(self.numbers.1),
            window: self.window,
            ttl: self.ttl,
            payload: self.payload as u16,
            has_id: !self.v6 && self.window & 1 != 0,
            has_options: !self.options.is_empty(),
            options,
        }
    }
}

fn address(v6: bool, octets: &[u8]) -> Addr {
    if v6 {
        let whole = u128::from_be_bytes(octets.try_into().expect("sixteen octets"));
        Addr { hi: (whole >> 64) as u64, lo: whole as u64 }
    } else {
        Addr::v4(u32::from_be_bytes(*octets.first_chunk().expect("four octets")))
    }
}

fn read_option(options: &mut Options, option: &[u8]) {
    match option {
        &[2, 4, high, low] => {
            options.mss = u16::from_be_bytes([high, low]);
            options.present |= Options::MSS;
        }
        &[3, 3, shift] => {
            options.window_scale = shift;
            options.present |= Options::WINDOW_SCALE;
        }
        [4, 2] => options.present |= Options::SACK_PERMITTED,
        [8, 10, ..] => options.present |= Options::TIMESTAMPS,
        [30, ..] => options.present |= Options::MPTCP,
        [34, ..] => options.present |= Options::FAST_OPEN,
        _ => {}
    }
}

/// What the core reads of a frame, if it finds TCP.
fn read(frame: &[u8]) -> Option<Segment> {
    match segment::locate(frame, Link::Ethernet) {
        Found::Tcp(located) => Some(Segment::read(frame, &located)),
        Found::Error(_) | Found::Skipped(_) => None,
    }
}

/// A frame with bytes of its headers changed.
fn edited(mut frame: Vec<u8>, edits: Vec<(sample::Index, u8)>) -> Vec<u8> {
    for (index, octet) in edits {
        let at = index.index(frame.len().min(120));
        frame[at] = octet;
    }
    frame
}

/// The same segment as etherparse reads it; `None` where it finds no TCP, or reads by other rules than the core.
fn read_by_etherparse(frame: &[u8]) -> Option<Segment> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    // The core looks behind two VLAN tags and behind no MACsec.
    if packet.link_exts.len() > 2 || packet.link_exts.iter().any(|it| matches!(it, LinkExtSlice::Macsec(_))) {
        return None;
    }
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
    let (src, dst, ttl, id) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            // etherparse looks behind IPv4's authentication header, as nothing on the way of a handshake does.
            if ip.extensions().auth.is_some() {
                return None;
            }
            let header = ip.header();
            (
                address(false, &header.source()),
                address(false, &header.destination()),
                header.ttl(),
                header.identification(),
            )
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            // A payload length of zero, to etherparse, is a jumbogram's.
            if header.payload_length() == 0 || ip.extensions().clone().into_iter().count() > 6 {
                return None;
            }
            (address(true, &header.source()), address(true, &header.destination()), header.hop_limit(), 0)
        }
        NetSlice::Arp(_) => return None,
    };
    let flags = Flags(tcp.slice()[13]);
    let mut options = Options::default();
    if tcp.syn() {
        for option in tcp.options_iterator() {
            // What etherparse does not know, or refuses, it does not step over.
            match option.ok()? {
                TcpOptionElement::MaximumSegmentSize(mss) => {
                    read_option(&mut options, &[2, 4, (mss >> 8) as u8, mss as u8]);
                }
                TcpOptionElement::WindowScale(shift) => read_option(&mut options, &[3, 3, shift]),
                TcpOptionElement::SelectiveAcknowledgementPermitted => read_option(&mut options, &[4, 2]),
                TcpOptionElement::Timestamp(..) => read_option(&mut options, &[8, 10]),
                TcpOptionElement::Noop | TcpOptionElement::SelectiveAcknowledgement(..) => {}
            }
        }
        if flags.0 & 0xc0 == if tcp.ack() { 0x40 } else { 0xc0 } {
            options.present |= Options::ECN;
        }
    }
    Some(Segment {
        src: Endpoint { addr: src, port: tcp.source_port() },
        dst: Endpoint { addr: dst, port: tcp.destination_port() },
        flags,
        seq: Seq(tcp.sequence_number()),
        ack: Seq(tcp.acknowledgment_number()),
        window: tcp.window_size(),
        ttl,
        payload: tcp.payload().len() as u16,
        has_id: id != 0,
        has_options: tcp.data_offset() > 5,
        options,
    })
}

fn config() -> ProptestConfig {
    // A failure worth keeping becomes a scenario.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_valid_frame_is_read_as_it_was_written(valid in valid()) {
        prop_assert_eq!(read(&valid.frame()), Some(valid.expected()));
    }

    /// Without its Ethernet header it reads the same.
    #[test]
    fn the_link_changes_nothing(valid in valid()) {
        let frame = Valid { vlans: Vec::new(), ..valid.clone() }.frame();
        let Found::Tcp(located) = segment::locate(&frame[14..], Link::Ip) else {
            return Err(TestCaseError::fail("no TCP found"));
        };
        prop_assert_eq!(Segment::read(&frame[14..], &located), valid.expected());
    }

    /// A frame that breaks off shows what is left of it, and nothing else.
    #[test]
    fn a_prefix_never_shows_other_values(valid in valid()) {
        let frame = valid.frame();
        let whole = valid.expected();
        for length in 0..frame.len() - valid.payload {
            let prefix = &frame[..length];
            match segment::locate(prefix, Link::Ethernet) {
                Found::Tcp(located) => {
                    let part = Segment::read(prefix, &located);
                    let options = part.options;
                    prop_assert_eq!(Segment { options: whole.options, ..part }, whole, "{} octets", length);
                    let list = options.present & !(Options::MALFORMED | Options::ECN);
                    prop_assert_eq!(list & !whole.options.present, 0, "{} octets", length);
                    let mss = if list & Options::MSS != 0 { whole.options.mss } else { 0 };
                    let shift = if list & Options::WINDOW_SCALE != 0 { whole.options.window_scale } else { 0 };
                    prop_assert_eq!((options.mss, options.window_scale), (mss, shift), "{} octets", length);
                }
                Found::Skipped(Skip::Malformed | Skip::NotIp) => {}
                other => return Err(TestCaseError::fail(format!("{length} octets are {other:?}"))),
            }
        }
    }

    /// Frames of the scenarios, and others, with bytes changed: what etherparse accepts, the core reads alike.
    #[test]
    fn what_etherparse_accepts_is_read_alike(
        base in prop_oneof![sample::select(scenario::corpus()), valid().prop_map(|it| it.frame())],
        edits in vec((any::<sample::Index>(), any::<u8>()), 0..6),
    ) {
        let frame = edited(base, edits);
        if let Some(segment) = read_by_etherparse(&frame) {
            prop_assert_eq!(read(&frame), Some(segment));
        }
    }

    /// What a glance tells, a closer look tells as well.
    #[test]
    fn a_glance_is_right(
        base in prop_oneof![sample::select(scenario::corpus()), valid().prop_map(|it| it.frame())],
        edits in vec((any::<sample::Index>(), any::<u8>()), 0..6),
    ) {
        let frame = edited(base, edits);
        for (octets, link) in [(&frame[..], Link::Ethernet), (frame.get(14..).unwrap_or(&[]), Link::Ip)] {
            let Some(ends) = segment::glance(octets, link) else { continue };
            let Found::Tcp(located) = segment::locate(octets, link) else {
                return Err(TestCaseError::fail("no TCP found"));
            };
            prop_assert_eq!((located.src, located.dst), ends);
            prop_assert!(!located.flags.any(Flags::SYN | Flags::FIN | Flags::RST));
        }
    }

    /// And of plain data it tells.
    #[test]
    fn a_glance_knows_data(valid in valid()) {
        let plain = Valid { vlans: Vec::new(), ..valid };
        let frame = plain.frame();
        let Found::Tcp(located) = segment::locate(&frame[..], Link::Ethernet) else {
            return Err(TestCaseError::fail("no TCP found"));
        };
        let data = !located.flags.any(Flags::SYN | Flags::FIN | Flags::RST) && located.header() >= 20;
        let options = frame[12] == 8 && frame[14] != 0x45 || frame[12] == 0x86 && frame[20] != 6;
        prop_assert_eq!(segment::glance(&frame[..], Link::Ethernet).is_some(), data && !options);
    }
}
