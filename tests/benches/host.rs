//! What the host's own traffic loses to the tool, by hook: `cargo xtask bench host`.
//!
//! Two hosts of the lab that share a wire, the tool on the interface of the one that serves. One TCP stream, as fast as
//! it goes; and new connections, one after the other: the server closes what it accepts, and then the client resets it,
//! so that none is left in TIME-WAIT and none waits to be accepted. In every round each hook has its turn, and one
//! without the tool: what a figure is compared with. Many short rounds: what strangers do to a few of them, the median
//! does not show. The time of both ends' threads, with what they do in their softirqs, strangers disturb least. Without
//! `--bench`, which `cargo bench` passes, everything runs once, for a moment.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tcptrace_tests::{
    cpu,
    figures::{Account, Column, Goal, Options, Table},
    lab::{Lab, SERVER_V4, Tracer, reset},
};

/// Where the ends run, so that no figure depends on where the scheduler would put them.
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// One write or read of the stream.
const CHUNK: usize = 128 << 10;

const STREAM: &[Column] = &[Column("gbit_per_s", "Gbit/s", 2), Column("cpu_ms_per_gbit", "CPU, ms/Gbit", 2)];
const CONNECTIONS: &[Column] = &[
    Column("per_s", "connections/s", 0),
    Column("p50_us", "connect, half, us", 1),
    Column("p99_us", "connect, 99 %, us", 1),
    Column("cpu_us", "CPU, us/connection", 2),
];

const WITHOUT: &str = "without the tool";
const HOOKS: [&str; 4] = ["auto", "tc", "xdp", "generic"];

fn main() -> Result<()> {
    let options = Options::read(20)?;
    let time = Duration::from_millis(if options.full { 500 } else { 50 });
    let lab = Lab::new();
    let mut stream = Table::new("one TCP stream", STREAM);
    let mut connections = Table::new("new connections", CONNECTIONS);
    for _ in 0..options.rounds {
        for hook in [None].into_iter().chain(HOOKS.map(Some)) {
            let name = hook.map_or(WITHOUT.to_owned(), named);
            let rival = hook.map(|_| WITHOUT);
            // Dropped, and so killed, when its turn is over.
            let _tracer = hook.map(|it| Tracer::start(&lab.server, ["-i", "eth0", "--hook", it]));
            stream.add(&name, rival, &throughput(&lab, time).context("the stream")?);
            connections.add(&name, rival, &connecting(&lab, time).context("new connections")?);
        }
    }
    let mut account = Account::default();
    let auto = named("auto");
    let times = |table: &Table, column| table.ratios(&auto, WITHOUT, column);
    account.goal(
        "one TCP stream, --hook auto: Gbit/s, times without",
        &times(&stream, "gbit_per_s"),
        Goal::AtLeast(0.99),
    );
    let rate = times(&connections, "per_s");
    account.goal("new connections, --hook auto: a second, times without", &rate, Goal::AtLeast(0.99));
    for (column, what) in [("p50_us", "half of them"), ("p99_us", "99 % of them")] {
        let what = format!("new connections, --hook auto: latency of {what}, times without");
        account.goal(what, &times(&connections, column), Goal::AtMost(1.01));
    }
    account.tables.extend([stream, connections]);
    account.print(&options);
    Ok(())
}

fn named(hook: &str) -> String {
    format!("--hook {hook}")
}

/// Bits a second as they arrive, in thousand millions, and the time of both ends' threads for so many.
fn throughput(lab: &Lab, time: Duration) -> Result<[f64; 2]> {
    let listener = listen(lab)?;
    let to = listener.local_addr()?;
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&listener));
        let sender = lab.router.enter(|| send(to, time))?;
        let (gigabits, seconds, cpu) = receiver.join().expect("the receiver does not panic")?;
        Ok([gigabits / seconds, (sender + cpu).as_secs_f64() * 1e3 / gigabits])
    })
}

fn send(to: SocketAddr, time: Duration) -> Result<Duration> {
    cpu::stay_on(CLIENT)?;
    let mut stream = TcpStream::connect(to)?;
    let chunk = vec![0; CHUNK];
    let started = Instant::now();
    while started.elapsed() < time {
        stream.write_all(&chunk)?;
    }
    Ok(cpu::of_this_thread())
}

fn receive(listener: &TcpListener) -> Result<(f64, f64, Duration)> {
    cpu::stay_on(SERVER)?;
    let (mut stream, _) = listener.accept()?;
    let mut chunk = vec![0; CHUNK];
    let (mut octets, started) = (0, Instant::now());
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok((octets as f64 * 8.0 / 1e9, started.elapsed().as_secs_f64(), cpu::of_this_thread())),
            read => octets += read,
        }
    }
}

/// Connections a second, the microseconds of connect(2) that half of them and 99 % stay under, and those of both ends'
/// threads for each.
fn connecting(lab: &Lab, time: Duration) -> Result<[f64; 4]> {
    let listener = listen(lab)?;
    let to = listener.local_addr()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| accept(&listener, &done));
        let connected = lab.router.enter(|| connect(to, time));
        // What the server waits for is one more.
        done.store(true, Relaxed);
        lab.router.enter(|| TcpStream::connect(to))?;
        let server = server.join().expect("the server does not panic")?;
        let (mut times, seconds, client) = connected?;
        times.sort_unstable();
        let count = times.len();
        let under = |percent: usize| times[(count * percent / 100).min(count - 1)].as_secs_f64() * 1e6;
        let cpu = (client + server).as_secs_f64() * 1e6 / count as f64;
        Ok([count as f64 / seconds, under(50), under(99), cpu])
    })
}

fn accept(listener: &TcpListener, done: &AtomicBool) -> Result<Duration> {
    cpu::stay_on(SERVER)?;
    while !done.load(Relaxed) {
        drop(listener.accept());
    }
    Ok(cpu::of_this_thread())
}

/// How long each connection took to be there, and how long they took in all.
fn connect(to: SocketAddr, time: Duration) -> Result<(Vec<Duration>, f64, Duration)> {
    cpu::stay_on(CLIENT)?;
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let before = Instant::now();
        let mut stream = TcpStream::connect(to)?;
        times.push(before.elapsed());
        let _ = stream.read(&mut [0])?;
        reset(stream);
    }
    Ok((times, started.elapsed().as_secs_f64(), cpu::of_this_thread()))
}

/// A socket in the server, on a port of its own.
fn listen(lab: &Lab) -> Result<TcpListener> {
    lab.server.enter(|| TcpListener::bind((SERVER_V4, 0))).context("cannot listen in the server")
}
