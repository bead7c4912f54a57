//! Connections over the loopback, one after the other: each is a connect(2), an accept(2) and two closes, and passes
//! what is hooked. The rival of `--local` is the tracer without it: what packets cost is `host`'s to say.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use tcptrace_tests::{
    cpu,
    figures::{Account, Column, Options, Table},
    lab::{Lab, Tracer, reset},
};

const COLUMNS: &[Column] = &[
    Column("per_s", "connections/s", 0),
    Column("cpu_us", "CPU of both ends, us/connection", 2),
    Column("connect_tenth_us", "connect(2) 10 %, us", 2),
    Column("connect_half_us", "connect(2) half, us", 2),
];

const WITHOUT: &str = "without the tool";
const OFF: &str = "--local off";

pub(crate) fn measure(lab: &Lab, options: &Options, account: &mut Account) -> Result<()> {
    let time = Duration::from_millis(if options.full { 500 } else { 50 });
    let mut table = Table::new("connections over the loopback", COLUMNS);
    for _ in 0..options.rounds {
        for (local, rival) in
            [(None, None), (Some("off"), Some(WITHOUT)), (Some("own"), Some(OFF)), (Some("all"), Some(OFF))]
        {
            // Dropped, and so killed, when its turn is over.
            let _tracer = local.map(|it| Tracer::start(&lab.client, ["-i", "lo", "--local", it]));
            let name = local.map_or(WITHOUT.to_owned(), |it| format!("--local {it}"));
            table.add(&name, rival, &lab.client.enter(|| connecting(time))?);
        }
    }
    account.tables.push(table);
    Ok(())
}

fn connecting(time: Duration) -> Result<[f64; 4]> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = listener.local_addr()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| accept(&listener, &done));
        let connected = scope.spawn(|| connect(to, time)).join().expect("the client does not panic");
        // What the server waits for is one more.
        done.store(true, Relaxed);
        TcpStream::connect(to)?;
        let server = server.join().expect("the server does not panic")?;
        let (mut calls, seconds, client) = connected?;
        calls.sort_unstable();
        let count = calls.len() as f64;
        let [tenth, half] = [10, 2].map(|part| calls[calls.len() / part].as_secs_f64() * 1e6);
        Ok([count / seconds, (client + server).as_secs_f64() * 1e6 / count, tenth, half])
    })
}

fn accept(listener: &TcpListener, done: &AtomicBool) -> Result<Duration> {
    cpu::stay_on(1)?;
    while !done.load(Relaxed) {
        drop(listener.accept());
    }
    Ok(cpu::of_this_thread())
}

/// How long each connect(2) took, in how many seconds, and the CPU time of all.
fn connect(to: SocketAddr, time: Duration) -> Result<(Vec<Duration>, f64, Duration)> {
    cpu::stay_on(0)?;
    let mut calls = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let called = Instant::now();
        let mut stream = TcpStream::connect(to)?;
        calls.push(called.elapsed());
        let _ = stream.read(&mut [0])?;
        // No TIME-WAIT: the ports would not last.
        reset(stream);
    }
    Ok((calls, started.elapsed().as_secs_f64(), cpu::of_this_thread()))
}
