//! What reading a capture costs: packets a second and memory, beside tcpdump, which only filters, and tshark, which does
//! what people use today; same file, same run, in turn.
//!
//! Without `--bench`, which `cargo bench` passes, a small capture is read once.

use std::{
    env, fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    lab::{TcpFrame, Tracer, flags},
    pcap::Pcap,
};

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
/// Offsets in a frame behind Ethernet: the second half of each address.
const SOURCE_AND_TARGET: [usize; 2] = [14 + 14, 14 + 18];

/// Connections of 23 packets and 10 kB, one in 50 silent and one in 50 refused.
fn capture(packets: usize) -> (Vec<u8>, Vec<usize>) {
    let mut capture = Pcap::new(Link::Ethernet);
    let mut clients = Vec::new();
    let step = Duration::from_micros(3);
    let mut random = 1u32;
    let mut count = 0;
    while count < packets {
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 8
        };
        let client = ([198, 51, (next() % 256) as u8, (next() % 256) as u8], 1024 + (next() % 60_000) as u16).into();
        let kind = next() % 50;
        let syn = TcpFrame::new(MACS, client, ([203, 0, 113, 2], 443).into(), flags::SYN, next());
        let mut frames = vec![(syn.clone(), 0)];
        if kind == 1 {
            frames.push((syn.answer(flags::RST | flags::ACK, 0), 1));
        } else if kind > 1 {
            let answer = syn.answer(flags::SYN | flags::ACK, next());
            let ack = answer.answer(flags::ACK, answer.ack);
            let mut request = ack.followed_by(flags::PSH | flags::ACK);
            request.payload = vec![b'q'; 200];
            let mut response = request.answer(flags::PSH | flags::ACK, answer.next_seq());
            response.payload = vec![b'a'; 1000];
            frames.extend([(answer, 1), (ack, 0)]);
            for _ in 0..8 {
                frames.extend([(request.clone(), 0), (response.clone(), 1)]);
            }
            let fin = request.followed_by(flags::FIN | flags::ACK);
            let last = fin.answer(flags::FIN | flags::ACK, response.next_seq());
            frames.extend([(fin, 0), (last.clone(), 1), (last.answer(flags::ACK, last.ack), 0)]);
        }
        for (frame, side) in frames {
            clients.push(capture.octets.len() + 16 + SOURCE_AND_TARGET[side] - 2);
            capture.frame(step, &frame.bytes());
            count += 1;
        }
    }
    (capture.octets, clients)
}

/// A run's time and the most memory it had.
struct Cost {
    seconds: f64,
    megabytes: f64,
}

fn run(mut command: Command, feed: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<Cost> {
    let name = format!("{command:?}");
    let started = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context(name)?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut input = child.stdin.take().context("a pipe was asked for")?;
    let mut kilobytes = 0.0;
    let mut look = || {
        let status = fs::read_to_string(&status_file).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        kilobytes = f64::max(kilobytes, peak.unwrap_or(0.0));
    };
    feed(&mut input)?;
    look();
    drop(input);
    // Not what wait4 tells: that begins with the memory that this process had when it forked.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        look();
        thread::sleep(Duration::from_millis(2));
    };
    ensure!(status.success(), "{command:?}: {status}");
    Ok(Cost { seconds: started.elapsed().as_secs_f64(), megabytes: kilobytes / 1024.0 })
}

struct Rival {
    name: &'static str,
    argv: Vec<String>,
    packets: usize,
}

fn main() -> Result<()> {
    let full = env::args().any(|it| it == "--bench");
    let (packets, few, rounds) = if full { (1_000_000, 50_000, 5) } else { (2_000, 2_000, 1) };
    let directory = env::temp_dir().join(format!("tcptrace-bench-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let result = measure(&directory, packets, few, rounds, full);
    fs::remove_dir_all(&directory)?;
    result
}

fn measure(directory: &Path, packets: usize, few: usize, rounds: usize, full: bool) -> Result<()> {
    let (octets, clients) = capture(packets);
    let [big, small] = ["big.pcap", "small.pcap"].map(|name| directory.join(name).display().to_string());
    fs::write(&big, &octets)?;
    fs::write(&small, capture(few).0)?;
    let size = octets.len();
    drop(octets);
    let tracer = Tracer::binary().display().to_string();
    let words = |argv: &[&str]| argv.iter().map(|it| (*it).to_owned()).collect();
    let flags = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0";
    let rivals = [
        Rival { name: "tcptrace -r", argv: words(&[&tracer, "-r", &big, "-q"]), packets: clients.len() },
        Rival {
            name: "tcptrace -r --all --json",
            argv: words(&[&tracer, "-r", &big, "--all", "--json"]),
            packets: clients.len(),
        },
        Rival {
            name: "tcpdump, flags to /dev/null",
            argv: words(&["tcpdump", "-r", &big, "-w", "/dev/null", flags]),
            packets: clients.len(),
        },
        Rival {
            name: "tshark -2, completeness",
            argv: words(&["tshark", "-2", "-r", &small, "-T", "fields", "-e", "tcp.completeness"]),
            packets: few,
        },
    ];
    println!("{:<30} {:>14} {:>12}   (medians of {rounds} rounds)", "", "packets/s", "MB at most");
    for rival in &rivals {
        let mut costs = Vec::new();
        for _ in 0..rounds {
            let mut command = Command::new(&rival.argv[0]);
            command.args(&rival.argv[1..]);
            costs.push(run(command, |_| Ok(()))?);
        }
        costs.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        let median = &costs[rounds / 2];
        println!("{:<30} {:>14.0} {:>12.0}", rival.name, rival.packets as f64 / median.seconds, median.megabytes);
    }
    // The same connections again and again, each time from other addresses: ten times the length, or 2 GB.
    let times = if full { (2 << 30) / size + 1 } else { 10 };
    let mut command = Command::new(&tracer);
    command.args(["-r", "-", "-q"]);
    let cost = run(command, |to| {
        let mut octets = fs::read(&big)?;
        to.write_all(&octets[..24])?;
        for time in 0..times {
            clients.iter().for_each(|at| octets[*at] = time as u8);
            to.write_all(&octets[24..])?;
        }
        Ok(())
    })?;
    let name = format!("tcptrace -r -, {} MB", (times * size) >> 20);
    println!("{name:<30} {:>14.0} {:>12.0}", (times * clients.len()) as f64 / cost.seconds, cost.megabytes);
    Ok(())
}
