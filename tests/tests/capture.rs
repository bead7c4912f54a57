//! Captures written here in every variant, read back packet by packet; then cut short, damaged and made up; and read by
//! tshark, and converted by its companions.

use std::{
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use tcptrace_capture::{
    Damage, DamageKind, Direction, LinkType, Part, Payload, Reader, Source, Unsupported, direction, payload,
};

const EPB: u32 = 6;
const SPB: u32 = 3;
const PB: u32 = 2;
const IDB: u32 = 1;
const SECOND: u64 = 1_000_000_000;

/// A packet read, and what is expected of one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    time: Option<u64>,
    octets: Vec<u8>,
    original: u32,
    interface: usize,
    link: u32,
    direction: Option<Direction>,
    offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

const ORDERS: [Order; 2] = [Order::Little, Order::Big];

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

/// A capture as it is written: where parts of it end, and which packets are there to read.
#[derive(Clone)]
struct File {
    order: Order,
    octets: Vec<u8>,
    /// The end of the header, and of each record or block.
    ends: Vec<usize>,
    expected: Vec<Got>,
}

fn frame(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

impl File {
    fn pcap(order: Order, magic: u32, link: u32, snaplen: u32) -> Self {
        let mut file = Self { order, octets: Vec::new(), ends: Vec::new(), expected: Vec::new() };
        file.put(&order.u32(magic));
        file.put(&order.u16(2));
        file.put(&order.u16(4));
        for value in [0, 0, snaplen, link] {
            file.put(&order.u32(value));
        }
        file.ends.push(file.octets.len());
        file
    }

    fn put(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    fn record(&mut self, seconds: u32, fraction: u32, unit: u64, octets: &[u8], original: u32) {
        let offset = self.octets.len() as u64;
        for value in [seconds, fraction, octets.len() as u32, original] {
            self.put(&self.order.u32(value));
        }
        self.put(octets);
        self.ends.push(self.octets.len());
        self.expected.push(Got {
            time: Some(u64::from(seconds) * SECOND + u64::from(fraction) * unit),
            octets: octets.to_vec(),
            original,
            interface: 0,
            link: 1,
            direction: None,
            offset,
        });
    }

    fn pcapng() -> Self {
        Self { order: Order::Little, octets: Vec::new(), ends: Vec::new(), expected: Vec::new() }
    }

    /// A block, with padding.
    fn block(&mut self, kind: u32, content: &[u8]) -> u64 {
        let offset = self.octets.len() as u64;
        let padded = content.len().next_multiple_of(4);
        let length = self.order.u32(padded as u32 + 12);
        self.put(&self.order.u32(kind));
        self.put(&length);
        self.put(content);
        self.put(&[0; 3][..padded - content.len()]);
        self.put(&length);
        self.ends.push(self.octets.len());
        offset
    }

    fn section(&mut self, order: Order) {
        self.order = order;
        let mut content = order.u32(0x1a2b_3c4d).to_vec();
        content.extend(order.u16(1));
        content.extend(order.u16(0));
        content.extend([0xff; 8]);
        content.extend(option(order, 4, b"a test"));
        content.extend([0; 4]);
        self.block(0x0a0d_0d0a, &content);
    }

    fn interface(&mut self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) {
        let mut content = self.order.u16(link).to_vec();
        content.extend([0; 2]);
        content.extend(self.order.u32(snaplen));
        for (code, value) in options {
            content.extend(option(self.order, *code, value));
        }
        if !options.is_empty() {
            content.extend([0; 4]);
        }
        self.block(IDB, &content);
    }

    fn enhanced(&mut self, interface: u32, ticks: u64, octets: &[u8], options: &[u8], got: &Got) {
        let content = packet(self.order, self.order.u32(interface), ticks, octets, got.original, options);
        let offset = self.block(EPB, &content);
        self.expected.push(Got { octets: octets.to_vec(), offset, ..got.clone() });
    }

    /// As [`File::enhanced`], on the first interface, in microseconds, of Ethernet.
    fn plain(&mut self, ticks: u64, octets: &[u8]) {
        let got = got(Some(ticks * 1000), octets.len());
        self.enhanced(0, ticks, octets, &[], &got);
    }

    fn simple(&mut self, octets: &[u8], got: &Got) {
        let mut content = self.order.u32(got.original).to_vec();
        content.extend(octets);
        let offset = self.block(SPB, &content);
        self.expected.push(Got { octets: octets.to_vec(), offset, time: None, ..got.clone() });
    }
}

fn got(time: Option<u64>, original: usize) -> Got {
    let original = original as u32;
    Got { time, octets: Vec::new(), original, interface: 0, link: 1, direction: None, offset: 0 }
}

fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let mut octets = order.u16(code).to_vec();
    octets.extend(order.u16(value.len() as u16));
    octets.extend(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

/// The content of an Enhanced Packet Block.
fn packet(order: Order, interface: [u8; 4], ticks: u64, octets: &[u8], original: u32, options: &[u8]) -> Vec<u8> {
    let mut content = interface.to_vec();
    content.extend(order.u32((ticks >> 32) as u32));
    content.extend(order.u32(ticks as u32));
    content.extend(order.u32(octets.len() as u32));
    content.extend(order.u32(original));
    content.extend(octets);
    content.resize(content.len().next_multiple_of(4), 0);
    content.extend(options);
    content
}

/// Reads everything. The number of records and damages is bounded by the capture's length.
fn read(from: impl Read) -> (Vec<Got>, Vec<Damage>) {
    let mut reader = match Reader::new(from) {
        Ok(reader) => reader,
        Err(damage) => return (Vec::new(), vec![damage]),
    };
    let (mut packets, mut damages) = (Vec::new(), Vec::new());
    while let Some(next) = reader.next() {
        match next {
            Ok(packet) => packets.push(Got {
                time: packet.time,
                octets: packet.octets.to_vec(),
                original: packet.original,
                interface: packet.interface,
                link: packet.link.0,
                direction: packet.direction,
                offset: packet.offset,
            }),
            Err(damage) => damages.push(damage),
        }
    }
    assert!(reader.next().is_none(), "the end is not the end");
    assert!(packets.iter().all(|it| reader.interfaces()[it.interface].link.0 == it.link));
    (packets, damages)
}

#[track_caller]
fn assert_reads(file: &File) {
    for trickle in [None, Some(1), Some(7)] {
        let (packets, damages) = match trickle {
            None => read(&file.octets[..]),
            Some(step) => read(Trickle { octets: &file.octets, step, interrupt: false }),
        };
        assert_eq!(packets, file.expected);
        assert!(damages.is_empty(), "{damages:?}");
    }
}

/// Gives few bytes at once, and is interrupted before each time.
struct Trickle<'a> {
    octets: &'a [u8],
    step: usize,
    interrupt: bool,
}

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = self.step.min(self.octets.len()).min(into.len());
        let (now, later) = self.octets.split_at(count);
        into[..count].copy_from_slice(now);
        self.octets = later;
        Ok(count)
    }
}

fn some_pcap(order: Order, magic: u32, unit: u64) -> File {
    let mut file = File::pcap(order, magic, 1, 65_535);
    file.record(1_700_000_000, 999_999, unit, &frame(74, 1), 74);
    file.record(u32::MAX, 1, unit, &frame(60, 2), 1514);
    file.record(0, 0, unit, &[], 60);
    file.record(1_700_000_001, 123_456, unit, &frame(61, 3), 61);
    file
}

/// A section with two interfaces, blocks that are passed over, each kind of packet, and odd lengths.
fn some_pcapng(order: Order) -> File {
    let mut file = File::pcapng();
    file.section(order);
    file.interface(1, 0, &[]);
    file.block(0xff, &frame(41, 9));
    file.interface(101, 64, &[(2, b"eth0"), (9, &[9])]);
    file.plain(1_700_000_000_123_456, &frame(75, 1));
    let outgoing = [option(order, 1, b"why"), option(order, 2, &order.u32(2))].concat();
    let got = Got { link: 101, interface: 1, direction: Some(Direction::Outgoing), ..got(Some(7), 1500) };
    file.enhanced(1, 7, &frame(64, 2), &outgoing, &got);
    file.simple(&frame(61, 3), &Got { direction: None, interface: 0, link: 1, ..got.clone() }.of(61));
    file.block(5, &[0; 12]);
    file.plain(1_700_000_000_123_457, &[]);
    file
}

impl Got {
    fn of(self, original: u32) -> Self {
        Self { original, ..self }
    }
}

fn all_small_files() -> Vec<File> {
    let mut files = Vec::new();
    for order in ORDERS {
        files.push(some_pcap(order, 0xa1b2_c3d4, 1000));
        files.push(some_pcap(order, 0xa1b2_3c4d, 1));
        files.push(some_pcapng(order));
    }
    let mut two = some_pcapng(Order::Little);
    let more = some_pcapng(Order::Big);
    let start = two.octets.len();
    two.ends.extend(more.ends.iter().map(|end| end + start));
    two.expected.extend(more.expected.iter().map(|it| Got {
        interface: it.interface + 2,
        offset: it.offset + start as u64,
        ..it.clone()
    }));
    two.octets.extend(more.octets);
    files.push(two);
    files
}

#[test]
fn every_variant_reads_back() {
    for file in all_small_files() {
        assert_reads(&file);
    }
}

#[test]
fn pcap_tells_its_interface() {
    // The upper bits say that frames end in a check sequence of four bytes.
    for order in ORDERS {
        let file = File::pcap(order, 0xa1b2_c3d4, 0x4400_0071, 96);
        let reader = Reader::new(&file.octets[..]).unwrap();
        assert_eq!(reader.interfaces().len(), 1);
        assert_eq!(reader.interfaces()[0].link, LinkType::LINUX_SLL);
        assert_eq!(reader.interfaces()[0].snaplen, 96);
        assert_eq!(reader.interfaces()[0].name, None);
    }
}

#[test]
fn pcap_kuznetzov_has_longer_records_and_directions() {
    for order in ORDERS {
        let mut file = File::pcap(order, 0xa1b2_cd34, 1, 65_535);
        for (kind, direction) in [(0, Some(Direction::Incoming)), (4, Some(Direction::Outgoing)), (3, None)] {
            let offset = file.octets.len() as u64;
            for value in [5, 6, 60, 61] {
                file.put(&order.u32(value));
            }
            file.put(&order.u32(2));
            file.put(&order.u16(0x0800));
            file.put(&[kind, 0]);
            file.put(&frame(60, kind));
            let octets = frame(60, kind);
            file.expected.push(Got { octets, offset, direction, ..got(Some(5 * SECOND + 6000), 61) });
        }
        assert_reads(&file);
    }
}

#[test]
fn pcapng_clocks() {
    let cases: [(&[u8], i64, u64, Option<u64>); 15] = [
        (&[], 0, 1_700_000_000_000_001, Some(1_700_000_000_000_001_000)),
        (&[6], 0, 5, Some(5000)),
        (&[9], 0, 1_700_000_000_000_000_123, Some(1_700_000_000_000_000_123)),
        (&[0], 0, 12, Some(12 * SECOND)),
        (&[3], 0, 12, Some(12_000_000)),
        (&[12], 0, 1_700_000_000_999, Some(1_700_000_000)),
        (&[127], 0, u64::MAX - 1, Some(0)),
        // 2^-20 s is 953.67… ns.
        (&[0x94], 0, 1 << 20, Some(SECOND)),
        (&[0x94], 0, 3, Some(2861)),
        (&[0xa0], 0, 1 << 31, Some(SECOND / 2)),
        (&[0xff], 0, u64::MAX, Some(0)),
        (&[6], 100, 5, Some(100 * SECOND + 5000)),
        (&[9], -2, 3 * SECOND, Some(SECOND)),
        // Before the epoch, and after what 64 bits hold.
        (&[9], -4, 3 * SECOND, None),
        (&[0], i64::MAX, u64::MAX, None),
    ];
    for order in ORDERS {
        for (resolution, offset, ticks, time) in cases {
            let offset = order.u64(offset as u64);
            let mut options: Vec<(u16, &[u8])> = vec![(14, &offset)];
            if !resolution.is_empty() {
                options.push((9, resolution));
            }
            let mut file = File::pcapng();
            file.section(order);
            file.interface(1, 0, &options);
            file.enhanced(0, ticks, &frame(60, 0), &[], &got(time, 60));
            assert_reads(&file);
        }
    }
}

#[test]
fn pcapng_interfaces_count_up_over_sections() {
    let mut file = File::pcapng();
    for (at, order) in [Order::Big, Order::Little, Order::Big].into_iter().enumerate() {
        file.section(order);
        file.interface(1, 10 + at as u32, &[(2, b"first")]);
        file.interface(276, 0, &[(2, format!("any{at}").as_bytes()), (9, &[9])]);
        let got = Got { interface: 2 * at + 1, link: 276, ..got(Some(at as u64), 60) };
        file.enhanced(1, at as u64, &frame(60, 0), &[], &got);
        let got = Got { interface: 2 * at, link: 1, ..got };
        file.enhanced(0, at as u64, &frame(60, 0), &[], &Got { time: Some(at as u64 * 1000), ..got });
    }
    assert_reads(&file);
    let mut reader = Reader::new(&file.octets[..]).unwrap();
    while reader.next().is_some() {}
    let names: Vec<_> = reader.interfaces().iter().map(|it| it.name.clone().unwrap()).collect();
    assert_eq!(names, ["first", "any0", "first", "any1", "first", "any2"]);
    assert_eq!(reader.interfaces()[4].snaplen, 12);
}

#[test]
fn pcapng_simple_packets_end_where_the_snapshot_does() {
    for order in ORDERS {
        let mut file = File::pcapng();
        file.section(order);
        file.interface(1, 50, &[]);
        file.simple(&frame(50, 1), &got(None, 1500));
        file.simple(&frame(49, 2), &got(None, 49));
        assert_reads(&file);
    }
}

#[test]
fn pcapng_obsolete_packets() {
    for order in ORDERS {
        let mut file = File::pcapng();
        file.section(order);
        file.interface(1, 0, &[]);
        file.interface(1, 0, &[(9, &[9])]);
        // Interface 1, 2 drops.
        let interface = [order.u16(1), order.u16(2)].concat().try_into().unwrap();
        let flags = option(order, 2, &order.u32(1));
        let content = packet(order, interface, 1 << 40, &frame(61, 4), 99, &flags);
        let offset = file.block(PB, &content);
        let direction = Some(Direction::Incoming);
        let octets = frame(61, 4);
        file.expected.push(Got { octets, interface: 1, direction, offset, ..got(Some(1 << 40), 99) });
        assert_reads(&file);
    }
}

#[test]
fn every_cut_delivers_what_is_whole() {
    for file in all_small_files() {
        for cut in 0..=file.octets.len() {
            let (packets, damages) = read(&file.octets[..cut]);
            // A packet is whole if the part that begins at its offset ends before the cut.
            let whole = file.expected.iter().filter(|it| {
                let end = file.ends.iter().find(|&&end| end as u64 > it.offset).unwrap();
                *end <= cut
            });
            assert_eq!(packets, whole.cloned().collect::<Vec<_>>(), "cut at {cut}");
            if file.ends.contains(&cut) {
                assert!(damages.is_empty(), "cut at {cut}: {damages:?}");
                continue;
            }
            let [damage] = &damages[..] else { panic!("cut at {cut}: {damages:?}") };
            match &damage.what {
                DamageKind::Empty => assert_eq!((cut, damage.offset), (0, 0)),
                DamageKind::Unrecognised(begins) => assert!(cut < 4 && begins[..] == file.octets[..cut]),
                DamageKind::BreaksOff { announced, there, .. } => {
                    assert!(there < announced, "cut at {cut}: {damage}");
                    assert_eq!(damage.offset, cut as u64);
                    assert!(cut >= 4);
                }
                _ => panic!("cut at {cut}: {damage}"),
            }
        }
    }
}

#[test]
fn damage_says_what_and_where() {
    let text = |octets: &[u8]| -> Vec<String> { read(octets).1.iter().map(ToString::to_string).collect() };
    let mut cut = File::pcap(Order::Little, 0xa1b2_c3d4, 1, 65_535);
    cut.record(1, 2, 1000, &frame(1500, 0), 1500);
    let cut = &cut.octets[..24 + 16 + 37];
    assert_eq!(
        text(cut),
        ["the capture ends too early at byte 77: truncated record: the header says 1500 bytes, the file has 37"]
    );
    let cut = &cut[..30];
    assert_eq!(
        text(cut),
        ["the capture ends too early at byte 30: truncated record header: the header says 16 bytes, the file has 6"]
    );
    let cut = &some_pcapng(Order::Big).octets[..30];
    assert_eq!(
        text(cut),
        ["the capture ends too early at byte 30: truncated block: the header says 44 bytes, the file has 30"]
    );
    assert_eq!(text(&[]), ["the capture is empty: it has no file header"]);
    assert_eq!(
        text(b"PK\x03\x04 and so on"),
        ["this is neither a pcap nor a pcapng capture: it begins with 50 4b 03 04 20 61 6e 64"]
    );
    let mut absurd = some_pcap(Order::Little, 0xa1b2_c3d4, 1000);
    absurd.record(1, 2, 1000, &[], 60);
    let end = absurd.octets.len();
    absurd.octets[end - 8..end - 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    assert_eq!(
        text(&absurd.octets),
        ["the capture is damaged at byte 283: the record header says 2147483647 bytes, more than any packet and \
          more than the snapshot length 65535"]
    );
    assert_eq!(read(&absurd.octets[..]).0.len(), 4);
}

#[test]
fn pcap_lengths_up_to_the_snapshot_length_are_read() {
    let big = 300 << 10;
    let mut file = File::pcap(Order::Big, 0xa1b2_c3d4, 1, big as u32);
    file.record(1, 2, 1000, &frame(big, 0), big as u32);
    file.record(1, 2, 1000, &frame(60, 0), 60);
    assert_reads(&file);
    // Allowed, and yet more than is ever kept: left out, and reading goes on.
    let mut file = File::pcap(Order::Big, 0xa1b2_c3d4, 1, u32::MAX);
    file.record(1, 2, 1000, &frame(3 << 20, 0), 3 << 20);
    file.record(1, 2, 1000, &frame(60, 0), 60);
    let (packets, damages) = read(&file.octets[..]);
    assert_eq!(packets, file.expected[1..]);
    assert!(matches!(damages[..], [Damage { offset: 24, what: DamageKind::TooLong { length: 0x30_0000, .. } }]));
    let (packets, damages) = read(&file.octets[..2 << 20]);
    assert!(packets.is_empty());
    let there = (2 << 20) - 24 - 16;
    assert!(
        matches!(damages[..], [Damage { offset: 0x20_0000, what: DamageKind::BreaksOff { announced: 0x30_0000, there: it, .. } }] if it == there),
        "{damages:?}"
    );
}

#[test]
fn unknown_versions_are_refused() {
    let mut file = some_pcap(Order::Little, 0xa1b2_c3d4, 1000);
    file.octets[6] = 2;
    let (packets, damages) = read(&file.octets[..]);
    assert!(packets.is_empty());
    assert!(matches!(damages[..], [Damage { what: DamageKind::Version { major: 2, minor: 2 }, .. }]));
    let mut file = some_pcapng(Order::Little);
    file.octets[12] = 2;
    let (packets, damages) = read(&file.octets[..]);
    assert!(packets.is_empty());
    assert!(matches!(damages[..], [Damage { what: DamageKind::Version { major: 2, minor: 0 }, .. }]));
}

/// Puts something between two good packets and expects both, or only the first, and one damage in between.
#[track_caller]
fn between(put: impl Fn(&mut File), goes_on: bool) -> DamageKind {
    let mut what = None;
    for order in ORDERS {
        let mut file = File::pcapng();
        file.section(order);
        file.interface(1, 65_535, &[]);
        file.plain(1, &frame(60, 1));
        let offset = file.octets.len() as u64;
        put(&mut file);
        file.plain(2, &frame(61, 2));
        let (packets, mut damages) = read(&file.octets[..]);
        assert_eq!(packets, file.expected[..if goes_on { 2 } else { 1 }]);
        assert_eq!(damages.len(), 1, "{damages:?}");
        assert_eq!(damages[0].offset, offset);
        what = damages.pop().map(|damage| damage.what);
    }
    what.unwrap()
}

#[test]
fn pcapng_goes_on_where_a_block_is_consistent() {
    let what = between(
        |file| {
            let content = packet(file.order, file.order.u32(7), 0, &frame(60, 0), 60, &[]);
            file.block(EPB, &content);
        },
        true,
    );
    assert!(matches!(what, DamageKind::NoInterface { interface: 7, described: 1 }));
    let what = between(
        |file| {
            let mut content = packet(file.order, file.order.u32(0), 0, &frame(60, 0), 60, &[]);
            content[12..16].copy_from_slice(&file.order.u32(61));
            file.block(EPB, &content);
        },
        true,
    );
    assert!(matches!(what, DamageKind::Overfull { announced: 61, room: 60 }));
    let what = between(
        |file| {
            let mut content = packet(file.order, file.order.u32(0), 0, &frame(60, 0), 60, &[]);
            content[12..16].copy_from_slice(&file.order.u32(u32::MAX));
            file.block(EPB, &content);
        },
        true,
    );
    assert!(matches!(what, DamageKind::Absurd { captured: u32::MAX, snaplen: 65_535 }));
    for kind in [EPB, PB, SPB] {
        let what = between(
            |file| {
                file.block(kind, &[]);
            },
            true,
        );
        assert!(matches!(what, DamageKind::BlockLength(12)));
    }
    let what = between(
        |file| {
            file.block(SPB, &file.order.u32(60).into_iter().chain(frame(56, 0)).collect::<Vec<_>>());
        },
        true,
    );
    assert!(matches!(what, DamageKind::Overfull { announced: 60, room: 56 }));
    let what = between(
        |file| {
            file.block(EPB, &vec![0; 2 << 20]);
        },
        true,
    );
    assert!(matches!(what, DamageKind::TooLong { part: Part::Block, length: 0x20_000c }));
}

#[test]
fn pcapng_ends_where_blocks_are_lost() {
    let bad_length = |length: u32| {
        move |file: &mut File| {
            file.block(0xbad, &[0; 16]);
            let at = file.octets.len() - 24;
            file.octets[at..at + 4].copy_from_slice(&file.order.u32(length));
        }
    };
    for length in [0, 4, 8, 11, 13, 30] {
        assert!(matches!(between(bad_length(length), false), DamageKind::BlockLength(it) if it == length));
    }
    for kind in [EPB, 0xbad, IDB] {
        let what = between(
            |file| {
                file.block(kind, &[0; 40]);
                let end = file.octets.len();
                file.octets[end - 4..].copy_from_slice(&file.order.u32(56));
            },
            false,
        );
        assert!(matches!(what, DamageKind::BlockLengths { first: 52, last: 56 }));
    }
    let what = between(
        |file| {
            let at = file.octets.len();
            file.section(file.order);
            file.octets[at + 8..at + 12].copy_from_slice(b"good");
        },
        false,
    );
    assert!(matches!(what, DamageKind::ByteOrder(_)));
}

#[test]
fn pcapng_interfaces_keep_their_numbers_behind_a_damaged_one() {
    for order in ORDERS {
        let mut file = File::pcapng();
        file.section(order);
        file.interface(1, 0, &[]);
        let short = file.block(IDB, &[0; 4]);
        let clock = file.octets.len() as u64;
        file.interface(1, 0, &[(14, &[0; 4])]);
        file.interface(101, 0, &[]);
        let flags = [order.u16(2).to_vec(), order.u16(400).to_vec(), vec![0; 4]].concat();
        // Damaged options of a packet take nothing from it.
        file.enhanced(3, 5, &frame(60, 1), &flags, &Got { interface: 3, link: 101, ..got(Some(5000), 60) });
        file.enhanced(2, 5, &frame(60, 2), &[], &Got { interface: 2, ..got(None, 60) });
        file.enhanced(1, 5, &frame(60, 2), &[], &Got { interface: 1, link: u32::MAX, ..got(None, 60) });
        let (packets, damages) = read(&file.octets[..]);
        assert_eq!(packets, file.expected);
        assert_eq!(damages.len(), 2, "{damages:?}");
        assert!(matches!(damages[0], Damage { offset, what: DamageKind::BlockLength(16) } if offset == short));
        assert!(matches!(damages[1], Damage { offset, what: DamageKind::InterfaceOptions(2) } if offset == clock));
    }
}

#[test]
fn pcapng_keeps_a_limited_number_of_interfaces() {
    let mut file = File::pcapng();
    file.section(Order::Little);
    let name = [b'x'; 3000];
    for _ in 0..65_536 {
        file.interface(1, 0, &[]);
    }
    file.interface(1, 0, &[(2, &name)]);
    file.section(Order::Big);
    file.interface(1, 0, &[(2, &name)]);
    file.plain(1, &frame(60, 1));
    let (packets, damages) = read(&file.octets[..]);
    assert!(packets.is_empty());
    assert!(matches!(
        damages[..],
        [
            Damage { what: DamageKind::TooManyInterfaces(65_536), .. },
            Damage { what: DamageKind::TooManyInterfaces(65_536), .. },
            Damage { what: DamageKind::NoInterface { interface: 0, described: 0 }, .. },
        ]
    ));
}

#[test]
fn a_failing_read_comes_after_what_was_read() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    for file in all_small_files() {
        let (packets, damages) = read(file.octets.chain(Failing));
        assert_eq!(packets, file.expected);
        let text: Vec<_> = damages.iter().map(ToString::to_string).collect();
        let end = file.octets.len();
        assert_eq!(text, [format!("cannot read the capture beyond byte {end}: the disk is gone")]);
    }
    assert!(matches!(read(Failing).1[..], [Damage { offset: 0, what: DamageKind::Unreadable(_) }]));
}

// Sources.

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

fn zstd(octets: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

struct Stored {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn store(octets: &[u8]) -> Stored {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    std::fs::write(&path, octets).unwrap();
    Stored { path, _folder: folder }
}

/// Some thousand packets, each with its own bytes.
fn long() -> File {
    let mut file = File::pcap(Order::Little, 0xa1b2_3c4d, 1, 65_535);
    let mut random = 1_u32;
    for at in 0..4000 {
        let octets: Vec<u8> = (0..60 + at % 900)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8 & 0x3f
            })
            .collect();
        file.record(at, at, 1, &octets, octets.len() as u32);
    }
    file
}

#[test]
fn sources_are_recognised_and_say_how_far_they_are() {
    let file = long();
    let (first, rest) = file.octets.split_at(100_001);
    let stored = [
        file.octets.clone(),
        gzip(&file.octets),
        zstd(&file.octets),
        [gzip(first), gzip(&[]), gzip(rest)].concat(),
        [zstd(first), zstd(rest)].concat(),
    ];
    for octets in stored {
        let stored = store(&octets);
        let source = Source::open(&stored.path).unwrap();
        assert_eq!(source.size(), Some(octets.len() as u64));
        assert!((1..=octets.len() as u64).contains(&source.consumed()));
        let mut reader = Reader::new(source).unwrap();
        let mut last = 0;
        let mut count = 0;
        while let Some(packet) = reader.next() {
            let packet = packet.unwrap();
            let expected = &file.expected[count];
            assert_eq!((packet.octets, packet.offset), (&expected.octets[..], expected.offset));
            count += 1;
            let consumed = reader.source().consumed();
            assert!(consumed >= last);
            last = consumed;
        }
        assert_eq!(count, file.expected.len());
        assert_eq!(last, octets.len() as u64);
    }
}

#[test]
fn a_pipe_is_a_source_without_a_size() {
    let file = some_pcap(Order::Little, 0xa1b2_c3d4, 1000);
    let stored = store(&[]);
    let pipe = stored.path.with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let octets = gzip(&file.octets);
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            let mut pipe = std::fs::File::options().write(true).open(pipe).unwrap();
            for octet in octets {
                pipe.write_all(&[octet]).unwrap();
            }
        }
    });
    let source = Source::open(&pipe).unwrap();
    assert_eq!(source.size(), None);
    let (packets, damages) = read(source);
    writer.join().unwrap();
    assert_eq!(packets, file.expected);
    assert!(damages.is_empty(), "{damages:?}");
}

#[test]
fn sources_that_are_none() {
    assert_eq!(Source::open(Path::new("/no/such/file")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(Source::open(&std::env::temp_dir()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    let stored = store(&[]);
    let (_, damages) = read(Source::open(&stored.path).unwrap());
    assert!(matches!(damages[..], [Damage { what: DamageKind::Empty, .. }]));
}

/// What a decoder gives one byte after the other, until it fails or ends.
fn decoded(mut from: impl Read) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut octet = [0];
    while let Ok(1) = from.read(&mut octet) {
        octets.push(octet[0]);
    }
    octets
}

#[test]
fn every_cut_of_a_compressed_file_delivers_what_can_be_decompressed() {
    let file = some_pcapng(Order::Little);
    for is_gzip in [true, false] {
        let octets = if is_gzip { gzip(&file.octets) } else { zstd(&file.octets) };
        let stored = store(&octets);
        for cut in 0..octets.len() {
            let octets = &octets[..cut];
            std::fs::write(&stored.path, octets).unwrap();
            let decoded = match octets {
                [0x1f, 0x8b, ..] => decoded(flate2::bufread::MultiGzDecoder::new(octets)),
                [0x28, 0xb5, 0x2f, 0xfd, ..] => decoded(zstd::stream::read::Decoder::with_buffer(octets).unwrap()),
                _ => octets.to_vec(),
            };
            let (packets, damages) = read(Source::open(&stored.path).unwrap());
            assert_eq!(packets, read(&decoded[..]).0, "cut at {cut}");
            assert_eq!(damages.len(), 1, "cut at {cut}: {damages:?}");
            if decoded != octets {
                let text = damages[0].to_string();
                assert!(text.ends_with(&format!("file ends too early, at byte {cut}")), "{text}");
                assert_eq!(damages[0].offset, decoded.len() as u64);
            }
        }
    }
}

#[test]
fn a_damaged_compressed_file_delivers_what_comes_before() {
    let file = long();
    // A gzip block of a type that there is not: no more is lost than the decoder's last sip.
    let half = file.octets.len() / 2;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&file.octets[..half]).unwrap();
    encoder.flush().unwrap();
    let at = encoder.get_ref().len();
    encoder.write_all(&file.octets[half..]).unwrap();
    let mut octets = encoder.finish().unwrap();
    octets[at] |= 6;
    let stored = store(&octets);
    let (packets, damages) = read(Source::open(&stored.path).unwrap());
    assert!(matches!(damages[..], [Damage { what: DamageKind::Unreadable(_), .. }]), "{damages:?}");
    assert_eq!(packets, file.expected[..packets.len()]);
    assert!((half - 2048..=half).contains(&(damages[0].offset as usize)), "{} of {half}", damages[0].offset);
    // Every damaged header of a zstd block: the blocks before it are delivered whole.
    let sound = zstd(&file.octets);
    let mut blocks = Vec::new();
    let mut at = 6;
    while sound[at] & 1 == 0 {
        at += 3 + (usize::from(sound[at]) >> 3 | usize::from(sound[at + 1]) << 5 | usize::from(sound[at + 2]) << 13);
        blocks.push(at);
    }
    assert!(blocks.len() > 10);
    for (before, at) in blocks.into_iter().enumerate() {
        let mut octets = sound.clone();
        octets[at] |= 6;
        let stored = store(&octets);
        let (packets, damages) = read(Source::open(&stored.path).unwrap());
        let offset = (before as u64 + 1) << 17;
        assert!(matches!(damages[..], [Damage { offset: it, what: DamageKind::Unreadable(_) }] if it == offset));
        assert_eq!(packets.len(), file.ends[1..].iter().filter(|&&end| end as u64 <= offset).count());
    }
    // A wrong check sum at the end: the packets are there, and the doubt is told.
    for mut octets in [gzip(&file.octets), zstd(&file.octets)] {
        let at = octets.len() - if octets.starts_with(&[0x1f]) { 8 } else { 4 };
        octets[at] ^= 1;
        let stored = store(&octets);
        let (packets, damages) = read(Source::open(&stored.path).unwrap());
        assert!(packets == file.expected);
        assert!(matches!(damages[..], [Damage { what: DamageKind::Unreadable(_), .. }]), "{damages:?}");
        assert!(damages[0].to_string().contains("compressed file is damaged: "), "{}", damages[0]);
    }
}

// Link types.

#[test]
fn payloads() {
    let four = [0x45, 0, 0, 20];
    let six = [0x60, 0, 0, 0];
    let behind = |head: &[u8], packet: &[u8]| [head, packet].concat();
    for link in [101, 12, 14, 228, 229] {
        assert_eq!(payload(LinkType(link), &four), Ok(Payload::Ip(&four)));
        assert_eq!(payload(LinkType(link), &six), Ok(Payload::Ip(&six)));
        assert_eq!(payload(LinkType(link), &[0x50]), Ok(Payload::Other));
        assert_eq!(payload(LinkType(link), &[]), Ok(Payload::Other));
    }
    assert_eq!(payload(LinkType::ETHERNET, &six), Ok(Payload::Ethernet(&six)));
    for link in [0, 108] {
        for family in [2, 10, 24, 28, 30_u32] {
            assert_eq!(payload(LinkType(link), &behind(&family.to_le_bytes(), &six)), Ok(Payload::Ip(&six)));
            assert_eq!(payload(LinkType(link), &behind(&family.to_be_bytes(), &six)), Ok(Payload::Ip(&six)));
        }
        assert_eq!(payload(LinkType(link), &behind(&[7, 0, 0, 0], &six)), Ok(Payload::Other));
        assert_eq!(payload(LinkType(link), &behind(&[2, 0, 0, 2], &six)), Ok(Payload::Other));
        assert_eq!(payload(LinkType(link), &[2, 0, 0]), Ok(Payload::Other));
    }
    for (link, at, length) in [(113, 14, 16), (276, 0, 20)] {
        let head = |protocol: u16| {
            let mut head = vec![0; length];
            head[at..at + 2].copy_from_slice(&protocol.to_be_bytes());
            head
        };
        let link = LinkType(link);
        assert_eq!(payload(link, &behind(&head(0x0800), &four)), Ok(Payload::Ip(&four)));
        assert_eq!(payload(link, &behind(&head(0x86dd), &six)), Ok(Payload::Ip(&six)));
        assert_eq!(payload(link, &behind(&head(0x0806), &four)), Ok(Payload::Other));
        let tagged = behind(&behind(&head(0x8100), &[0, 5, 0x08, 0]), &four);
        assert_eq!(payload(link, &tagged), Ok(Payload::Ip(&four)));
        let twice = behind(&behind(&head(0x88a8), &[0, 5, 0x81, 0, 0, 6, 0x86, 0xdd]), &six);
        assert_eq!(payload(link, &twice), Ok(Payload::Ip(&six)));
        let thrice = behind(&behind(&head(0x88a8), &[0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 0x86, 0xdd]), &six);
        assert_eq!(payload(link, &thrice), Ok(Payload::Other));
        for cut in 0..twice.len() - 4 {
            assert_eq!(payload(link, &twice[..cut]), Ok(Payload::Other));
        }
    }
}

/// What stands before the packet is cut at every byte: nothing of it is taken for a packet.
#[test]
fn payloads_of_lines() {
    let packet = [0x45, 0, 0, 20];
    for (link, head) in [
        (LinkType::PPP, &[0xff, 3, 0, 0x21][..]),
        (LinkType::PPP, &[0, 0x57]),
        (LinkType::PPP_HDLC, &[0x8f, 0, 0x86, 0xdd]),
        (LinkType::PPP_PPPD, &[1, 3, 0, 0x21]),
        (LinkType::PPP_WITH_DIR, &[1, 0xff, 3, 0, 0x21]),
        (LinkType::PPP_ETHER, &[0x11, 0, 0, 1, 0, 6, 0, 0x21]),
        (LinkType::ATM_RFC1483, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
        (LinkType::C_HDLC, &[0x0f, 0, 8, 0]),
        (LinkType::C_HDLC_WITH_DIR, &[0, 0x0f, 0, 8, 0]),
        (LinkType::ENC, &[2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        (LinkType::NFLOG, &[2, 0, 0, 5, 5, 0, 10, 0, b'x', 0, 0, 0, 8, 0, 9, 0]),
        (LinkType::NFLOG, &[2, 0, 0, 5, 0, 8, 0, 1, 8, 0, 3, 0, 0, 8, 0, 9]),
    ] {
        let whole = [head, &packet].concat();
        assert_eq!(payload(link, &whole), Ok(Payload::Ip(&packet)), "{link:?}");
        for cut in 0..head.len() {
            assert_eq!(payload(link, &whole[..cut]), Ok(Payload::Other), "{link:?}");
        }
    }
}

#[test]
fn directions() {
    let kinds = [Some(Direction::Incoming); 3].into_iter().chain([None, Some(Direction::Outgoing), None]);
    for (kind, expected) in kinds.enumerate() {
        let mut octets = [0; 20];
        octets[1] = kind as u8;
        assert_eq!(direction(LinkType::LINUX_SLL, &octets), expected);
        let mut octets = [0; 20];
        octets[10] = kind as u8;
        assert_eq!(direction(LinkType::LINUX_SLL2, &octets), expected);
        assert_eq!(direction(LinkType::ETHERNET, &octets), None);
    }
    for link in [LinkType::PPP_PPPD, LinkType::PPP_WITH_DIR, LinkType::C_HDLC_WITH_DIR] {
        assert_eq!(direction(link, &[0]), Some(Direction::Incoming));
        assert_eq!(direction(link, &[1]), Some(Direction::Outgoing));
        assert_eq!(direction(link, &[]), None);
    }
    assert_eq!(direction(LinkType::LINUX_SLL, &[0]), None);
    assert_eq!(direction(LinkType::LINUX_SLL2, &[0; 10]), None);
}

#[test]
fn unsupported_link_types_have_names() {
    for link in [105, 127, 119, 163, 192] {
        let text = payload(LinkType(link), &[0x45]).unwrap_err().to_string();
        assert!(text.starts_with("unsupported: 802.11 ") && text.contains(&link.to_string()), "{text}");
    }
    assert_eq!(payload(LinkType(147), &[]), Err(Unsupported(LinkType(147))));
    assert_eq!(Unsupported(LinkType(147)).to_string(), "unsupported: link type 147 (USER0)");
    assert_eq!(Unsupported(LinkType(2)).to_string(), "unsupported: link type 2");
}

// Whatever is read.

/// Reads what may be anything: no panic, an end, and no more of anything than there are bytes for.
fn survive(octets: &[u8], step: usize) {
    let (packets, damages) = read(Trickle { octets, step, interrupt: false });
    assert!(12 * (packets.len() + damages.len()) <= octets.len() + 24);
    assert!(packets.iter().map(|it| it.octets.len()).sum::<usize>() <= octets.len());
    for packet in &packets {
        let _ = payload(LinkType(packet.link), &packet.octets);
        let _ = direction(LinkType(packet.link), &packet.octets);
    }
    for damage in &damages {
        assert!(damage.offset <= octets.len() as u64);
        assert!(!damage.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn anything_is_survived(octets in prop::collection::vec(any::<u8>(), 0..400), magic in 0..7_usize, step in 1..50_usize) {
        let files = all_small_files();
        let head = &files[magic].octets[..files[magic].ends[0]];
        survive(&octets, step);
        survive(&[head, &octets].concat(), step);
    }

    #[test]
    fn mutations_are_survived(
        which in 0..7_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        words in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 0..3),
        insert in prop::collection::vec(any::<u8>(), 0..9),
        (at, end) in any::<(prop::sample::Index, prop::sample::Index)>(),
        step in 1..500_usize,
    ) {
        let mut octets = all_small_files().swap_remove(which).octets;
        let start = 12;
        for (at, value) in changes {
            let at = start + at.index(octets.len() - start);
            octets[at] = value;
        }
        for (at, value) in words {
            let at = start + at.index(octets.len() - start - 4) / 4 * 4;
            octets[at..at + 4].copy_from_slice(&(value >> (value & 31)).to_le_bytes());
        }
        let at = at.index(octets.len());
        octets.splice(at..at, insert);
        octets.truncate(octets.len() - end.index(octets.len()) / 4);
        survive(&octets, step);
    }

    #[test]
    fn links_are_survived(octets in prop::collection::vec(any::<u8>(), 0..60), link in 0..300_u32) {
        let _ = payload(LinkType(link), &octets);
        let _ = direction(LinkType(link), &octets);
    }

    #[test]
    fn compressed_mutations_are_survived(
        is_gzip: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let file = some_pcapng(Order::Big);
        let mut octets = if is_gzip { gzip(&file.octets) } else { zstd(&file.octets) };
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        let stored = store(&octets);
        read(Source::open(&stored.path).unwrap());
    }
}

// Other programs.

/// Times, captured lengths and original lengths, as tshark reads them.
fn tshark(path: &Path) -> Vec<(Option<u64>, usize, u32)> {
    let fields = ["frame.time_epoch", "frame.cap_len", "frame.len"].into_iter().flat_map(|field| ["-e", field]);
    let output = Command::new("tshark").arg("-nr").arg(path).args(["-T", "fields"]).args(fields).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let mut words = line.split('\t');
            let time = words.next().unwrap().split_once('.').map(|(seconds, nanos)| {
                assert_eq!(nanos.len(), 9);
                seconds.parse::<u64>().unwrap() * SECOND + nanos.parse::<u64>().unwrap()
            });
            (time, words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap())
        })
        .collect()
}

fn read_file(path: &Path) -> Vec<Got> {
    let (packets, damages) = read(Source::open(path).unwrap());
    assert!(damages.is_empty(), "{}: {damages:?}", path.display());
    packets
}

#[track_caller]
fn assert_as_tshark(path: &Path) -> usize {
    let packets = read_file(path);
    let ours: Vec<_> = packets.iter().map(|it| (it.time, it.octets.len(), it.original)).collect();
    assert_eq!(ours, tshark(path), "{}", path.display());
    ours.len()
}

fn convert(path: &Path, format: &str) -> PathBuf {
    let into = path.with_extension(format);
    let status = Command::new("editcap").args(["-F", format]).arg(path).arg(&into).status().unwrap();
    assert!(status.success());
    into
}

#[test]
fn written_files_read_as_tshark_reads_them() {
    for file in all_small_files() {
        let stored = store(&file.octets);
        assert_eq!(assert_as_tshark(&stored.path), file.expected.len());
        for octets in [gzip(&file.octets), zstd(&file.octets)] {
            std::fs::write(&stored.path, octets).unwrap();
            assert_as_tshark(&stored.path);
        }
    }
    for resolution in [3, 9, 10, 0x8a, 0x94, 0xa0] {
        let mut file = File::pcapng();
        file.section(Order::Big);
        file.interface(1, 0, &[(9, &[resolution]), (14, &Order::Big.u64(1_000_000))]);
        for ticks in [0, 1, 999, 12_345_678_901] {
            file.enhanced(0, ticks, &frame(60, 0), &[], &got(None, 60));
        }
        let stored = store(&file.octets);
        assert_eq!(assert_as_tshark(&stored.path), 4);
    }
}

#[test]
fn converted_files_read_as_the_original() {
    let same = |packets: Vec<Got>| -> Vec<Got> { packets.into_iter().map(|it| Got { offset: 0, ..it }).collect() };
    let (mut total, mut merged) = (0, Vec::new());
    let classic =
        |file: &File| [[0xa1, 0xb2, 0xc3, 0xd4], [0xd4, 0xc3, 0xb2, 0xa1]].iter().any(|it| file.octets.starts_with(it));
    for file in all_small_files().iter().filter(|it| classic(it)) {
        let stored = store(&file.octets);
        let packets = same(read_file(&stored.path));
        for format in ["pcapng", "nsecpcap", "modpcap"] {
            let converted = same(read_file(&convert(&stored.path, format)));
            // Kuznetzov's header claims that each packet came in.
            let direction = (format == "modpcap").then_some(Direction::Incoming);
            let packets: Vec<_> = packets.iter().map(|it| Got { direction, ..it.clone() }).collect();
            assert_eq!(converted, packets, "as {format}");
        }
        total += packets.len();
        merged.push(stored);
    }
    assert!(total > 0, "there are no captures");
    let whole = store(&[]);
    let paths = merged.iter().map(|it| &it.path);
    assert!(Command::new("mergecap").arg("-a").arg("-w").arg(&whole.path).args(paths).status().unwrap().success());
    assert_eq!(assert_as_tshark(&whole.path), total);
}
