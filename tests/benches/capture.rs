//! What reading a capture costs: packets a second and memory, beside tcpdump, which only filters, and the tools that judge
//! connections: tshark, the tcptrace of the nineties, argus. The same file of a million packets, in turn, each round.
//!
//! tshark gets the first twentieth of it: more takes minutes, and its cost a packet grows with the connections. What is not
//! installed is left out, and said so. `--json` for machines. Without `--bench`, which `cargo bench` passes, a small capture
//! is read once.
//!
//! Time is told by the clock and by the processor: argus sleeps for a second whatever it reads, and neighbours take the
//! processor, which is nobody's work.

use std::{
    env, fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use tcptrace_core::segment::Link;
use tcptrace_tests::{
    figures::{Account, Column, Options, Table},
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

/// A run's times and the most memory it had.
struct Cost {
    seconds: f64,
    /// The seconds of the processor, in the program and in the kernel on its behalf.
    busy: f64,
    megabytes: f64,
}

/// Seconds of the processor that the children took which have ended.
fn children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok([usage.user_time(), usage.system_time()].iter().map(|it| it.num_microseconds() as f64 / 1e6).sum())
}

fn run(mut command: Command, feed: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<Cost> {
    let name = format!("{command:?}");
    let (before, started) = (children()?, Instant::now());
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
    let seconds = started.elapsed().as_secs_f64();
    Ok(Cost { seconds, busy: children()? - before, megabytes: kilobytes / 1024.0 })
}

/// A reader of captures, and what it takes.
struct Rival {
    name: &'static str,
    argv: Vec<String>,
    packets: usize,
    /// Asked whether it is there, it says this.
    known_by: (&'static [&'static str], &'static str),
    /// What brings it.
    package: &'static str,
}

impl Rival {
    /// There is more than one tcptrace.
    fn is_there(&self) -> bool {
        let (options, word) = self.known_by;
        let said = Command::new(&self.argv[0]).args(options).stdin(Stdio::null()).output();
        said.is_ok_and(|it| [it.stdout, it.stderr].iter().any(|it| String::from_utf8_lossy(it).contains(word)))
    }
}

const COLUMNS: &[Column] = &[
    Column("packets_per_second", "packets/s by the clock", 0),
    Column("packets_per_processor_second", "by the processor", 0),
    Column("megabytes", "MB at most", 1),
];

fn main() -> Result<()> {
    let options = Options::read(5)?;
    let directory = env::temp_dir().join(format!("tcptrace-bench-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let result = measure(&directory, &options);
    fs::remove_dir_all(&directory)?;
    result
}

/// Ours first.
fn rivals(big: &str, small: &str, packets: usize, few: usize) -> Vec<Rival> {
    const VERSION: &[&str] = &["--version"];
    let tracer = Tracer::binary().display().to_string();
    let flags = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0";
    let rival = |name, argv: &[&str], packets, known_by, package| {
        let argv = argv.iter().map(|it| (*it).to_owned()).collect();
        Rival { name, argv, packets, known_by, package }
    };
    let ours = (VERSION, "tcptrace");
    vec![
        rival("tcptrace -r", &[&tracer, "-r", big, "-q"], packets, ours, ""),
        rival("tcptrace -r --all --json", &[&tracer, "-r", big, "--all", "--json"], packets, ours, ""),
        rival(
            "tcpdump, flags to /dev/null",
            &["tcpdump", "-r", big, "-w", "/dev/null", flags],
            packets,
            (VERSION, "tcpdump version"),
            "tcpdump",
        ),
        rival(
            "tcptrace of the nineties",
            &["/usr/bin/tcptrace", "-n", big],
            packets,
            (&["-v"], "Ostermann"),
            "tcptrace",
        ),
        rival(
            "argus, records",
            &["/usr/sbin/argus", "-X", "-r", big, "-w", "-"],
            packets,
            (&["-h"], "Argus Version"),
            "argus-server",
        ),
        rival(
            "tshark -2, completeness",
            &["tshark", "-2", "-r", small, "-T", "fields", "-e", "tcp.completeness"],
            few,
            (VERSION, "TShark"),
            "tshark",
        ),
    ]
}

fn measure(directory: &Path, options: &Options) -> Result<()> {
    let (packets, few) = if options.full { (1_000_000, 50_000) } else { (2_000, 2_000) };
    let (octets, clients) = capture(packets);
    let [big, small] = ["big.pcap", "small.pcap"].map(|name| directory.join(name).display().to_string());
    fs::write(&big, &octets)?;
    let (beginning, those) = capture(few);
    fs::write(&small, beginning)?;
    let size = octets.len();
    drop(octets);
    let (rivals, missing): (Vec<_>, Vec<_>) =
        rivals(&big, &small, clients.len(), those.len()).into_iter().partition(Rival::is_there);
    let ours = rivals.first().filter(|it| it.package.is_empty()).context("the program is not built")?.name;
    for it in missing {
        eprintln!("{} is not here: apt-get install --no-install-recommends {}", it.name, it.package);
    }
    let figures =
        |packets: usize, cost: &Cost| [packets as f64 / cost.seconds, packets as f64 / cost.busy, cost.megabytes];
    let mut table = Table::new(&format!("reading {} packets; tshark {}", clients.len(), those.len()), COLUMNS);
    for _ in 0..options.rounds {
        for rival in &rivals {
            let mut command = Command::new(&rival.argv[0]);
            command.args(&rival.argv[1..]);
            let cost = run(command, |_| Ok(()))?;
            table.add(rival.name, (rival.name != ours).then_some(ours), &figures(rival.packets, &cost));
        }
    }
    // The same connections again and again, each time from other addresses: ten times the length, or 2 GB.
    let times = if options.full { (2 << 30) / size + 1 } else { 10 };
    let mut command = Command::new(Tracer::binary());
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
    let mut long = Table::new(&format!("reading {} MB from a pipe", (times * size) >> 20), COLUMNS);
    long.add("tcptrace -r -", None, &figures(times * clients.len(), &cost));
    let mut account = Account::default();
    account.tables.extend([table, long]);
    account.print(options);
    Ok(())
}
