//! Evidence is read back: by the capture reader, by tshark and by capinfos.
//!
//! What the reader itself does with damaged files is tested elsewhere.
//! <https://www.wireshark.org/docs/man-pages/tshark.html>

use std::{
    env, fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use tcptrace_capture::{
    self,
    write::{Direction, InterfaceDescription, InterfaceId, PacketRecord, Rotation, Statistics, Writer},
};

const ETHERNET: InterfaceDescription<'_> =
    InterfaceDescription { name: "eth0", link: 1, snaplen: 262_144, description: Some("up → link") };
const TUNNEL: InterfaceDescription<'_> =
    InterfaceDescription { name: "tun0", link: 101, snaplen: 0, description: None };

/// 2026-11-21 09:30:00.123456789 UTC.
const TIME: u64 = 1_795_253_400_123_456_789;
const SECOND: u64 = 1_000_000_000;

/// An empty directory of a test's own.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// A SYN of 54 bytes.
fn ethernet() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend(ip());
    frame
}

fn ip() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet.extend([0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

fn plain(interface: InterfaceId, time_ns: u64, octets: &[u8]) -> PacketRecord<'_> {
    PacketRecord { interface, time_ns, octets, original: octets.len() as u32, direction: None, comment: None }
}

/// A packet as the reader gives it, with its interface's name and link type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    time: Option<u64>,
    octets: Vec<u8>,
    original: u32,
    interface: Option<String>,
    link: u32,
    direction: Option<Direction>,
}

fn read(octets: &[u8]) -> Vec<Read> {
    let mut reader = tcptrace_capture::Reader::new(octets).unwrap();
    let (mut packets, mut interfaces) = (Vec::new(), Vec::new());
    while let Some(packet) = reader.next() {
        let tcptrace_capture::Packet { time, octets, original, interface, link, direction, .. } = packet.unwrap();
        let octets = octets.to_owned();
        packets.push(Read { time, octets, original, interface: None, link: link.0, direction });
        interfaces.push(interface);
    }
    for (packet, interface) in packets.iter_mut().zip(interfaces) {
        packet.interface.clone_from(&reader.interfaces()[interface].name);
    }
    packets
}

fn read_file(path: &Path) -> Vec<Read> {
    read(&fs::read(path).unwrap())
}

/// The types of a file's blocks, and their contents.
fn blocks(octets: &[u8]) -> Vec<(u32, &[u8])> {
    let number = |at: usize| u32::from_le_bytes(octets[at..at + 4].try_into().unwrap());
    let (mut blocks, mut at) = (Vec::new(), 0);
    while at < octets.len() {
        let length = number(at + 4) as usize;
        assert_eq!(number(at + length - 4) as usize, length);
        blocks.push((number(at), &octets[at + 8..at + length - 4]));
        at += length;
    }
    blocks
}

/// What a program of Wireshark's prints about a file, if it has nothing to complain about.
fn run(program: &str, file: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    if program == "tshark" {
        command.arg("-n").arg("-r");
    }
    let output = command.arg(file).args(arguments).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut complaints = errors.lines().filter(|line| !line.starts_with("Running as user \"root\""));
    assert_eq!(complaints.next(), None, "{errors}");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let fields: Vec<_> = fields.iter().flat_map(|field| ["-e", field]).collect();
    let text = run("tshark", file, &[&["-T", "fields"], &fields[..]].concat());
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let path = directory("read_back").join("trace.pcapng");
    let mut writer = Writer::create(&path, Rotation::default()).unwrap();
    let mut expected = Vec::new();
    let ethernet = writer.interface(ETHERNET);
    let mut tunnel = None;
    for length in 0..=70_u8 {
        let octets: Vec<u8> = (0..length).map(|octet| octet ^ 0x0a).collect();
        // Lengths of every remainder, the largest and the smallest time, an interface that comes late.
        let time = [TIME + u64::from(length), u64::MAX, 0, u64::from(u32::MAX)][usize::from(length / 4 % 4)];
        let (interface, name, link) = if length % 3 == 2 {
            (*tunnel.get_or_insert_with(|| writer.interface(TUNNEL)), "tun0", 101)
        } else {
            (ethernet, "eth0", 1)
        };
        let (direction, read_direction) = [
            (None, None),
            (Some(Direction::Incoming), Some(Direction::Incoming)),
            (Some(Direction::Outgoing), Some(Direction::Outgoing)),
        ][usize::from(length / 2 % 3)];
        let original = u32::from(length) * 20;
        let comment = (length % 5 == 0).then_some("verdict");
        let packet = PacketRecord { interface, time_ns: time, octets: &octets, original, direction, comment };
        writer.packet(&packet).unwrap();
        expected.push(Read {
            time: Some(time),
            octets,
            original,
            interface: Some(name.to_owned()),
            link,
            direction: read_direction,
        });
    }
    assert_eq!(writer.finish().unwrap(), [path.as_path()]);
    assert_eq!(read_file(&path), expected);
    assert_eq!(tshark(&path, &["frame.number"]).len(), expected.len());
}

#[test]
fn tshark_shows_what_was_written() {
    let path = directory("tshark").join("trace.pcapng");
    let mut writer = Writer::create(&path, Rotation::default()).unwrap();
    let eth = writer.interface(ETHERNET);
    let (frame, packet) = (ethernet(), ip());
    let syn = PacketRecord { original: 1514, direction: Some(Direction::Outgoing), ..plain(eth, TIME, &frame) };
    writer.packet(&syn).unwrap();
    let tun = writer.interface(TUNNEL);
    let comment = "port closed — 拒否 \"x\" 🛑";
    let reset =
        PacketRecord { direction: Some(Direction::Incoming), comment: Some(comment), ..plain(tun, TIME + 1, &packet) };
    writer.packet(&reset).unwrap();
    writer.packet(&PacketRecord { comment: Some(""), ..plain(eth, 999_999_999, &frame) }).unwrap();
    writer.group_end().unwrap();
    writer.finish().unwrap();
    let fields = ["frame.time_epoch", "frame.comment", "frame.interface_name", "frame.len", "frame.cap_len"];
    let rows = tshark(&path, &fields);
    assert_eq!(rows[0], ["1795253400.123456789", "", "eth0", "1514", "54"]);
    assert_eq!(rows[1], ["1795253400.123456790", comment, "tun0", "40", "40"]);
    assert_eq!(rows[2], ["0.999999999", "", "eth0", "54", "54"]);
    assert_eq!(rows.len(), 3);
    let fields = ["frame.packet_flags_direction", "frame.protocols", "frame.interface_description", "tcp.flags"];
    let rows = tshark(&path, &fields);
    assert_eq!(rows[0], ["0x00000002", "eth:ethertype:ip:tcp", "up → link", "0x0002"]);
    assert_eq!(rows[1], ["0x00000001", "raw:ip:tcp", "", "0x0002"]);
    assert_eq!(rows[2], ["", "eth:ethertype:ip:tcp", "up → link", "0x0002"]);
}

#[test]
fn statistics_end_each_file() {
    let path = directory("statistics").join("trace.pcapng");
    let mut writer = Writer::create(&path, Rotation { rotate_size: Some(1), ..Rotation::default() }).unwrap();
    let (eth, tun) = (writer.interface(ETHERNET), writer.interface(TUNNEL));
    let frame = ethernet();
    let told = Statistics { received: 1000, dropped: Some(17), comment: None, start_ns: TIME, end_ns: TIME + SECOND };
    writer.packet(&plain(eth, TIME, &frame)).unwrap();
    writer.statistics(eth, told);
    writer.group_end().unwrap();
    writer.packet(&plain(eth, TIME, &frame)).unwrap();
    writer.group_end().unwrap();
    let received = u64::from(u32::MAX) + 2;
    writer.statistics(eth, Statistics { received, dropped: Some(18), comment: Some("ring full"), ..told });
    writer.statistics(tun, Statistics { received: 0, dropped: Some(0), ..told });
    let files = writer.finish().unwrap();
    assert_eq!(files.len(), 2);

    let blocks = |file: &Path| run("tshark", file, &["-X", "read_format:MIME Files Format", "-V"]);
    let count = |text: &str, line: &str| text.lines().filter(|it| it.trim() == line).count();
    let first = blocks(&files[0]);
    assert_eq!(count(&first, "Number of Received Packets: 1000"), 1, "{first}");
    assert_eq!(count(&first, "Number of Dropped Packets: 17"), 1, "{first}");
    let second = blocks(&files[1]);
    assert_eq!(count(&second, "Number of Received Packets: 4294967297"), 1, "{second}");
    assert_eq!(count(&second, "Number of Dropped Packets: 18"), 1, "{second}");
    assert_eq!(count(&second, "Number of Dropped Packets: 0"), 1, "{second}");
    assert_eq!(count(&second, "Comment: ring full"), 1, "{second}");
    assert_eq!(count(&second, "[Timestamp: Nov 21, 2026 09:30:01.123456789 UTC]"), 2, "{second}");

    for (file, entries) in [(&files[0], [1, 0]), (&files[1], [1, 1])] {
        let text = run("capinfos", file, &[]);
        let shown = text.lines().filter_map(|line| line.trim().strip_prefix("Number of stat entries = "));
        assert_eq!(shown.map(|it| it.parse().unwrap()).collect::<Vec<u32>>(), entries, "{text}");
        let octets = fs::read(file).unwrap();
        let kinds: Vec<_> = self::blocks(&octets).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds[..4], [0x0a0d_0d0a, 1, 1, 6]);
        assert!(kinds[4..].iter().all(|kind| *kind == 5), "{kinds:?}");
    }
    // Start and end: the upper half first.
    let octets = fs::read(&files[0]).unwrap();
    let (_, last) = self::blocks(&octets)[4];
    for (at, code, time) in [(12, 2, TIME), (24, 3, TIME + SECOND)] {
        let mut expected = vec![code, 0, 8, 0];
        expected.extend(((time >> 32) as u32).to_le_bytes());
        expected.extend((time as u32).to_le_bytes());
        assert_eq!(last[at..at + 12], expected);
    }
}

#[test]
fn long_comments_are_cut_between_characters() {
    let path = directory("comments").join("trace.pcapng");
    let mut writer = Writer::create(&path, Rotation::default()).unwrap();
    let eth = writer.interface(ETHERNET);
    let frame = ethernet();
    let comments = ["a".repeat(65_532), "a".repeat(65_533), "é".repeat(40_000), format!("a{}", "漢".repeat(30_000))];
    let written = [65_532, 65_532, 65_532, 65_530];
    for comment in &comments {
        writer.packet(&PacketRecord { comment: Some(comment), ..plain(eth, TIME, &frame) }).unwrap();
    }
    writer.packet(&PacketRecord { comment: Some("x\ny"), ..plain(eth, TIME, &frame) }).unwrap();
    writer.finish().unwrap();
    let rows = tshark(&path, &["frame.comment", "frame.len"]);
    for ((row, comment), length) in rows.iter().zip(&comments).zip(written) {
        assert_eq!(row[0].len(), length);
        assert!(comment.starts_with(&row[0]));
        assert_eq!(row[1], "54");
    }
    assert_eq!(rows[4][0], r"x\ny");
    assert_eq!(read_file(&path).len(), 5);
}

#[test]
fn packets_are_cut_to_the_snapshot_length() {
    let path = directory("snaplen").join("trace.pcapng");
    let mut writer = Writer::create(&path, Rotation::default()).unwrap();
    let narrow = writer.interface(InterfaceDescription { snaplen: 7, ..ETHERNET });
    let wide = writer.interface(TUNNEL);
    let long = vec![0x45; 300_000];
    writer.packet(&plain(narrow, TIME, &long[..8])).unwrap();
    writer.packet(&plain(wide, TIME, &long)).unwrap();
    writer.packet(&PacketRecord { original: 3, ..plain(wide, TIME, &long[..8]) }).unwrap();
    writer.finish().unwrap();
    let rows = tshark(&path, &["frame.cap_len", "frame.len"]);
    assert_eq!(rows, [["7", "8"], ["262144", "300000"], ["8", "8"]]);
    let lengths: Vec<_> = read_file(&path).iter().map(|it| (it.octets.len(), it.original)).collect();
    assert_eq!(lengths, [(7, 8), (262_144, 300_000), (8, 8)]);
}

/// Writes groups of packets, whose bytes begin with the group's number, and reads which groups are in which file.
fn groups(path: &Path, options: Rotation, groups: &[(u64, usize)]) -> (Vec<PathBuf>, Vec<Vec<u8>>) {
    let mut writer = Writer::create(path, options).unwrap();
    let (eth, tun) = (writer.interface(ETHERNET), writer.interface(TUNNEL));
    for (number, &(time, packets)) in groups.iter().enumerate() {
        for at in 0..packets {
            let octets = [number as u8; 54];
            writer.packet(&plain(if at % 2 == 0 { eth } else { tun }, time, &octets)).unwrap();
        }
        let end_ns = time;
        let told = Statistics { received: number as u64, dropped: Some(0), comment: None, start_ns: 0, end_ns };
        writer.statistics(eth, told);
        writer.group_end().unwrap();
    }
    assert_eq!(writer.shed(), 0);
    let kept: Vec<_> = writer.files().map(Path::to_owned).collect();
    let files = writer.finish().unwrap();
    assert_eq!(kept, files);
    let contents = files.iter().map(|file| {
        let packets = read_file(file);
        // Also by the judge that users will take.
        assert_eq!(tshark(file, &["frame.number"]).len(), packets.len());
        let octets = fs::read(file).unwrap();
        let count = |kind| blocks(&octets).iter().filter(|it| it.0 == kind).count();
        assert_eq!((count(1), count(5)), (2, 1));
        packets.iter().map(|packet| packet.octets[0]).collect()
    });
    let contents = contents.collect();
    (files, contents)
}

/// The groups of each file, if each packet of each group is there, once and in its group.
fn whole(contents: &[Vec<u8>], written: &[(u64, usize)]) -> Vec<Vec<u8>> {
    let files = contents.iter().map(|file| {
        let mut file = file.clone();
        for group in file.chunk_by(|a, b| a == b) {
            assert_eq!(group.len(), written[usize::from(group[0])].1, "group {} is split", group[0]);
        }
        file.dedup();
        file
    });
    files.collect()
}

#[test]
fn size_rotates_between_groups() {
    let path = directory("size").join("trace.pcapng");
    let most = 1_500;
    let options = Rotation { rotate_size: Some(most), ..Rotation::default() };
    // The fifth is longer than a file by itself.
    let written = [3, 2, 5, 1, 40, 1, 4, 9, 2, 2, 2, 2].map(|packets| (TIME, packets));
    let (files, contents) = groups(&path, options, &written);
    let found = whole(&contents, &written);
    assert_eq!(found.concat(), (0..12).collect::<Vec<_>>());
    assert!(found.contains(&vec![4]), "{found:?}");
    let lengths: Vec<_> = files.iter().map(|file| fs::metadata(file).unwrap().len()).collect();
    for (at, file) in found.iter().enumerate() {
        assert!(lengths[at] <= most || *file == [4], "{} octets", lengths[at]);
        // None was begun too early: with the next group, which takes 88 bytes a packet, it would be too long.
        if let Some(next) = found.get(at + 1) {
            let packets = written[usize::from(next[0])].1 as u64;
            assert!(lengths[at] + packets * 88 > most, "{found:?}");
        }
    }
    assert!(!path.exists());
    for (at, file) in files.iter().enumerate() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let stamp = name.strip_prefix(&format!("trace_{:05}_", at + 1)).and_then(|it| it.strip_suffix(".pcapng"));
        let stamp = stamp.unwrap_or_else(|| panic!("{name}"));
        assert!(stamp.len() == 14 && stamp.bytes().all(|it| it.is_ascii_digit()), "{name}");
    }
}

#[test]
fn a_file_may_be_exactly_as_long() {
    let path = directory("exact").join("trace.pcapng");
    let written = [(TIME, 3), (TIME, 4)];
    let (files, _) = groups(&path, Rotation::default(), &written);
    assert_eq!(files, [path.as_path()]);
    let length = fs::metadata(&path).unwrap().len();
    for (most, expected) in [(length, vec![vec![0, 1]]), (length - 1, vec![vec![0], vec![1]])] {
        let options = Rotation { rotate_size: Some(most), ..Rotation::default() };
        let (_, contents) = groups(&path, options, &written);
        assert_eq!(whole(&contents, &written), expected);
    }
}

#[test]
fn a_late_interface_takes_its_room() {
    let path = directory("late").join("trace.pcapng");
    let frame = ethernet();
    let write = |options| {
        let mut writer = Writer::create(&path, options).unwrap();
        for interface in [ETHERNET, TUNNEL] {
            let id = writer.interface(interface);
            writer.packet(&plain(id, TIME, &frame)).unwrap();
            writer.group_end().unwrap();
        }
        writer.finish().unwrap()
    };
    assert_eq!(write(Rotation::default()), [path.as_path()]);
    let length = fs::metadata(&path).unwrap().len();
    for (most, files) in [(length, 1), (length - 1, 2)] {
        assert_eq!(write(Rotation { rotate_size: Some(most), ..Rotation::default() }).len(), files);
    }
}

#[test]
fn time_rotates_between_groups() {
    let path = directory("time").join("trace.pcapng");
    let options = Rotation { rotate_every: Some(Duration::from_secs(60)), ..Rotation::default() };
    let second = |second: u64| TIME + second * SECOND;
    let times = [second(0), second(60) - 1, second(60), second(61), second(58), second(118), second(400), second(401)];
    let written = times.map(|time| (time, 3));
    let (_, contents) = groups(&path, options, &written);
    // The fifth comes late, and the sixth is a minute after it.
    assert_eq!(whole(&contents, &written), [vec![0, 1], vec![2, 3, 4], vec![5], vec![6, 7]]);
}

#[test]
fn a_time_far_off_does_not_stop_rotation() {
    let path = directory("far_off").join("trace.pcapng");
    let options = Rotation { rotate_every: Some(Duration::from_secs(60)), ..Rotation::default() };
    let written = [TIME, u64::MAX, TIME + SECOND, TIME + 59 * SECOND, TIME + 61 * SECOND].map(|time| (time, 1));
    let (_, contents) = groups(&path, options, &written);
    assert_eq!(whole(&contents, &written), [vec![0], vec![1, 2, 3], vec![4]]);
}

#[test]
fn a_group_that_straddles_the_time_is_whole() {
    let path = directory("straddle").join("trace.pcapng");
    let options = Rotation { rotate_every: Some(Duration::from_secs(60)), ..Rotation::default() };
    let mut writer = Writer::create(&path, options).unwrap();
    let eth = writer.interface(ETHERNET);
    let frame = ethernet();
    for (group, seconds) in [vec![0], vec![50, 200, 70], vec![201]].into_iter().enumerate() {
        for second in seconds {
            let packet = PacketRecord { original: 100 + group as u32, ..plain(eth, TIME + second * SECOND, &frame) };
            writer.packet(&packet).unwrap();
        }
        writer.group_end().unwrap();
    }
    let files = writer.finish().unwrap();
    let found = files.iter().map(|file| read_file(file).iter().map(|it| it.original - 100).collect::<Vec<_>>());
    assert_eq!(found.collect::<Vec<_>>(), [vec![0], vec![1, 1, 1, 2]]);
}

#[test]
fn the_oldest_files_go() {
    let directory = directory("keep");
    let path = directory.join("trace.pcapng");
    fs::write(directory.join("trace_00000_20200101000000.pcapng"), "of an earlier run").unwrap();
    let options = Rotation { rotate_size: Some(1), keep: Some(3), ..Rotation::default() };
    let written = [(TIME, 2); 7];
    let (files, contents) = groups(&path, options, &written);
    assert_eq!(whole(&contents, &written), [vec![4], vec![5], vec![6]]);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 4);
    assert!(files[2].to_str().unwrap().contains("trace_00007_"));
}

#[test]
fn a_very_long_group_is_not_split() {
    let path = directory("long_group").join("trace.pcapng");
    let options = Rotation { rotate_size: Some(3 << 20), ..Rotation::default() };
    let mut writer = Writer::create(&path, options).unwrap();
    let eth = writer.interface(ETHERNET);
    let octets = vec![0; 64 << 10];
    for (group, packets) in [1_u32, 80, 1].into_iter().enumerate() {
        for second in 0..packets {
            let original = (100_000 + group) as u32;
            let time = TIME + u64::from(second) * SECOND;
            writer.packet(&PacketRecord { original, ..plain(eth, time, &octets) }).unwrap();
        }
        if group == 1 {
            // It is not all held back either.
            assert!(fs::metadata(writer.files().last().unwrap()).unwrap().len() > 4 << 20);
        }
        writer.group_end().unwrap();
    }
    let files = writer.finish().unwrap();
    let found = files.iter().map(|file| read_file(file).iter().map(|it| it.original - 100_000).collect::<Vec<_>>());
    assert_eq!(found.collect::<Vec<_>>(), [vec![0], vec![1; 80], vec![2]]);
}

#[test]
fn interfaces_keep_their_identity_over_files() {
    let path = directory("identity").join("trace.pcapng");
    let options = Rotation { rotate_size: Some(1), ..Rotation::default() };
    let mut writer = Writer::create(&path, options).unwrap();
    let frame = ethernet();
    let mut ids = Vec::new();
    for number in 0..4 {
        let name = format!("veth{number}");
        ids.push(writer.interface(InterfaceDescription { name: &name, ..ETHERNET }));
        for id in &ids {
            writer.packet(&plain(*id, TIME, &frame)).unwrap();
        }
        writer.group_end().unwrap();
    }
    let files = writer.finish().unwrap();
    for (number, file) in files.iter().enumerate() {
        let names: Vec<_> = tshark(file, &["frame.interface_name"]).concat();
        assert_eq!(names, (0..=number).map(|number| format!("veth{number}")).collect::<Vec<_>>());
    }
    assert_eq!(files.len(), 4);
}

#[test]
fn an_interface_of_another_writer_is_refused() {
    let directory = directory("another_writer");
    let mut one = Writer::create(directory.join("one"), Rotation::default()).unwrap();
    let mut other = Writer::create(directory.join("other"), Rotation::default()).unwrap();
    let id = one.interface(ETHERNET);
    let error = other.packet(&plain(id, TIME, &ethernet())).unwrap_err();
    assert_eq!(error.to_string(), "packet of interface 0, but 0 are described");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    other.finish().unwrap();
}

#[test]
fn without_packets_there_is_a_file_all_the_same() {
    let path = directory("empty").join("trace.pcapng");
    let mut writer = Writer::create(&path, Rotation::default()).unwrap();
    writer.interface(ETHERNET);
    writer.group_end().unwrap();
    writer.finish().unwrap();
    assert_eq!(tshark(&path, &["frame.number"]).len(), 0);
    assert!(run("capinfos", &path, &[]).contains("Name = eth0"));
}

#[test]
fn a_dropped_writer_completes_its_file() {
    let path = directory("drop").join("trace.pcapng");
    let mut writer = Writer::create(&path, Rotation::default()).unwrap();
    let eth = writer.interface(ETHERNET);
    writer.packet(&plain(eth, TIME, &ethernet())).unwrap();
    writer.statistics(eth, Statistics { received: 1, dropped: Some(0), comment: None, start_ns: 0, end_ns: 1 });
    drop(writer);
    let octets = fs::read(&path).unwrap();
    assert_eq!(blocks(&octets).iter().map(|it| it.0).collect::<Vec<_>>(), [0x0a0d_0d0a, 1, 6, 5]);
}

#[test]
fn files_are_private_and_overwritten() {
    let directory = directory("private");
    let path = directory.join("trace.pcapng");
    Writer::create(&path, Rotation::default()).unwrap().finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let length = fs::metadata(&path).unwrap().len();
    fs::write(&path, vec![0; 10_000]).unwrap();
    Writer::create(&path, Rotation::default()).unwrap().finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
}

#[test]
fn symbolic_links_are_not_followed() {
    let directory = directory("links");
    let (victim, path) = (directory.join("victim"), directory.join("trace.pcapng"));
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &path).unwrap();
    let error = Writer::create(&path, Rotation::default()).unwrap_err().to_string();
    let path = path.display();
    let cause = "it is a symbolic link, which may be a trap; give the file that it points to";
    assert_eq!(error, format!("cannot create '{path}': {cause}"));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    // One that points nowhere is not made to point somewhere.
    let (nowhere, dangling) = (directory.join("nowhere"), directory.join("dangling"));
    symlink(&nowhere, &dangling).unwrap();
    Writer::create(&dangling, Rotation::default()).unwrap_err();
    assert!(!nowhere.exists());
}

#[test]
fn what_cannot_be_created_is_named() {
    let path = directory("nowhere").join("no/such/trace.pcapng");
    let error = Writer::create(&path, Rotation::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let text = format!("cannot create '{}': No such file or directory (os error 2)", path.display());
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_full_disk_is_an_error() {
    let error = Writer::create("/dev/full", Rotation::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(error.to_string(), "cannot write to '/dev/full': No space left on device (os error 28)");
}

#[test]
fn a_closed_pipe_is_an_error_once() {
    let path = directory("pipe").join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Read and write, so that neither side waits for the other.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut writer = Writer::create(&path, Rotation::default()).unwrap();
    let eth = writer.interface(ETHERNET);
    let frame = ethernet();
    writer.packet(&plain(eth, TIME, &frame)).unwrap();
    writer.group_end().unwrap();
    assert_eq!(writer.shed(), 0);
    drop(reader);
    // A child that another test starts holds what is open here until it becomes its own program. ENXIO: nobody reads.
    let probe = || fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
    while probe().is_ok() {
        thread::yield_now();
    }
    writer.packet(&plain(eth, TIME, &frame)).unwrap();
    writer.packet(&plain(eth, TIME, &frame)).unwrap();
    let error = writer.group_end().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(error.to_string(), format!("cannot write to '{}': Broken pipe (os error 32)", path.display()));
    for _ in 0..5 {
        writer.packet(&plain(eth, TIME, &frame)).unwrap();
        writer.group_end().unwrap();
    }
    assert_eq!(writer.shed(), 7);
    assert_eq!(writer.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_directory_that_comes_back_is_written_to_again() {
    let directory = directory("comes_back").join("inner");
    fs::create_dir(&directory).unwrap();
    let options = Rotation { rotate_size: Some(1), ..Rotation::default() };
    let mut writer = Writer::create(directory.join("trace.pcapng"), options).unwrap();
    let eth = writer.interface(ETHERNET);
    let frame = ethernet();
    let mut group = |packets| {
        for _ in 0..packets {
            writer.packet(&plain(eth, TIME, &frame)).unwrap();
        }
        writer.group_end().map(|()| writer.shed()).map_err(|error| (error.kind(), writer.shed()))
    };
    assert_eq!(group(1), Ok(0));
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(group(2), Err((io::ErrorKind::NotFound, 2)));
    assert_eq!(group(3), Ok(5));
    fs::create_dir(&directory).unwrap();
    assert_eq!(group(4), Ok(5));
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(group(5), Err((io::ErrorKind::NotFound, 10)));
    fs::create_dir(&directory).unwrap();
    assert_eq!(group(6), Ok(10));
    let files = writer.finish().unwrap();
    assert_eq!(read_file(files.last().unwrap()).len(), 6);
}

/// Runs a test of this file that is ignored otherwise, in a process of its own, under a shell's settings.
fn child(settings: &str, test: &str, path: &Path) -> std::process::Output {
    let script = format!("{settings} exec \"$0\" --exact {test} --ignored --nocapture");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(env::current_exe().unwrap()).env("EVIDENCE", path);
    command.stdin(Stdio::null()).output().unwrap()
}

fn child_path() -> PathBuf {
    env::var_os("EVIDENCE").expect("this test is run by another").into()
}

#[test]
fn a_file_that_cannot_grow_ends_with_a_whole_block() {
    let path = directory("grow").join("trace.pcapng");
    // A limit that is a full disk's stand-in: a write gets as far as it, then fails.
    let output = child("trap '' XFSZ; ulimit -f 32;", "grow_in_a_child", &path);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(read_file(&path).len(), 5);
    assert_eq!(tshark(&path, &["frame.len"]).concat(), ["100", "100", "100", "54", "54"]);
}

#[test]
#[ignore = "run by another test, under a limit"]
fn grow_in_a_child() {
    let mut writer = Writer::create(child_path(), Rotation::default()).unwrap();
    let eth = writer.interface(ETHERNET);
    let (frame, long) = (ethernet(), vec![0; 60_000]);
    let mut group = |octets: &[u8], packets| {
        for _ in 0..packets {
            writer.packet(&plain(eth, TIME, octets)).unwrap();
        }
        writer.group_end().map(|()| writer.shed()).map_err(|error| (error.kind(), writer.shed()))
    };
    assert_eq!(group(&long[..100], 3), Ok(0));
    assert_eq!(group(&long, 2), Err((io::ErrorKind::FileTooLarge, 2)));
    assert_eq!(group(&long, 1), Ok(3));
    assert_eq!(group(&frame, 2), Ok(3));
    assert_eq!(group(&long, 1), Err((io::ErrorKind::FileTooLarge, 4)));
    writer.finish().unwrap();
}

#[test]
fn standard_output_is_not_rotated() {
    let directory = directory("stdout");
    let output = child(&format!("cd '{}';", directory.display()), "stdout_in_a_child", &directory);
    assert!(output.status.success(), "{output:?}");
    // The test runner has its say before.
    let begin = output.stdout.windows(4).position(|it| it == [0x0a, 0x0d, 0x0d, 0x0a]).unwrap();
    let octets = &output.stdout[begin..];
    assert_eq!(read(octets).len(), 20);
    assert_eq!(blocks(octets).iter().filter(|it| it.0 == 0x0a0d_0d0a).count(), 1);
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
}

#[test]
#[ignore = "run by another test, which reads its output"]
fn stdout_in_a_child() {
    child_path();
    let options = Rotation { rotate_size: Some(1), rotate_every: Some(Duration::ZERO), keep: Some(1) };
    let mut writer = Writer::create("-", options).unwrap();
    let eth = writer.interface(ETHERNET);
    for second in 0..20 {
        writer.packet(&plain(eth, TIME + second * SECOND, &ethernet())).unwrap();
        writer.group_end().unwrap();
    }
    assert_eq!(writer.finish().unwrap(), Vec::<PathBuf>::new());
    std::process::exit(0);
}
