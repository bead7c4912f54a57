//! Ten thousand connects a second that are refused, by a tracer that has one core: each reported with its cause, and
//! folded into the incidents of a few servers.
//!
//! No two that are reported one by one are to the same port of the same host, and no host has so many that its client
//! scans it: neither a flood nor a scan stands for any of them. The server takes a whole network for its own addresses.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tcptrace_tests::{
    cpu,
    figures::{Account, Column, Goal, Options, Table},
    lab::{Lab, SERVER_V4, Tracer},
};

const A_SECOND: u32 = 10_000;
/// Servers that fail again and again.
const SERVERS: u32 = 8;
/// Ports of a host that are asked for: a quarter of what makes a scan.
const PORTS: u32 = 8;
/// What is connected at once, before the clock is looked at.
const AT_ONCE: u32 = 10;
/// Until what was seen is told: two sweeps, and some.
const REST: Duration = Duration::from_secs(1);

const COLUMNS: &[Column] = &[
    Column("per_s", "failures/s", 0),
    Column("told_percent", "told with a cause, %", 3),
    Column("cpu_us", "tracer, CPU us/failure", 1),
    Column("core_percent", "tracer, % of a core", 1),
    Column("lost", "lost by its account", 0),
];

const OFF: &str = "--local off";

pub(crate) fn measure(lab: &Lab, options: &Options, account: &mut Account) -> Result<()> {
    let seconds = if options.full { options.seconds.unwrap_or(5) as u32 } else { 1 };
    lab.server.ip("route add local 10.0.0.0/8 dev lo");
    lab.router.ip(&format!("route add 10.0.0.0/8 via {SERVER_V4}"));
    let mut table = Table::new("refused connects, told by one core", COLUMNS);
    for round in 0..options.rounds.min(5) {
        for (local, rival) in [("off", None), ("own", Some(OFF)), ("all", Some(OFF))] {
            let figures = told(lab, local, round as u32, seconds * if options.full { A_SECOND } else { 500 })?;
            table.add(&format!("--local {local}"), rival, &figures);
        }
    }
    for name in [OFF, "--local own", "--local all"] {
        let core = table.figures(name, "core_percent");
        account.goal(format!("10,000 failures a second, {name}: % of a core"), core, Goal::AtMost(100.0));
        account.goal(
            format!("{name}: told with a cause, %"),
            table.figures(name, "told_percent"),
            Goal::AtLeast(99.99),
        );
    }
    account.tables.push(table);
    let mut table = Table::new("the same of a few servers, folded into incidents, as text", COLUMNS);
    for round in 0..options.rounds.min(5) {
        for (local, rival) in [("off", None), ("own", Some(OFF)), ("all", Some(OFF))] {
            let figures = folded(lab, local, round as u32, seconds * if options.full { A_SECOND } else { 500 })?;
            table.add(&format!("--local {local}"), rival, &figures);
        }
    }
    for name in [OFF, "--local own", "--local all"] {
        let core = table.figures(name, "core_percent");
        account.goal(format!("10,000 failures a second folded, {name}: % of a core"), core, Goal::AtMost(25.0));
        let told = table.figures(name, "told_percent");
        account.goal(format!("folded, {name}: counted with a cause, %"), told, Goal::AtLeast(99.99));
    }
    account.tables.push(table);
    Ok(())
}

/// Failures of a few servers: what the tracer costs, and how many its incidents counted.
fn folded(lab: &Lab, local: &str, round: u32, count: u32) -> Result<[f64; 5]> {
    let tracer = Tracer::start(&lab.client, ["-i", "eth0", "--local", local]);
    let (took, used) =
        cost(lab, &tracer, |number| (Ipv4Addr::from_bits(0x0a80_0001 + (round << 16) + number % SERVERS), 80), count)?;
    let finished = tracer.stop();
    // "1250 refused; none worked [incident 3]", below the line of an incident that ran to the end.
    let ends = finished.lines.windows(2).filter(|pair| pair[0].contains("  not over  "));
    let counted: u64 = ends.filter_map(|pair| pair[1].trim().split_once(" refused")?.0.parse::<u64>().ok()).sum();
    let nothing_lost = finished.stderr.contains("losses: none");
    let (count, seconds) = (f64::from(count), took.as_secs_f64());
    let lost = if nothing_lost { 0.0 } else { f64::NAN };
    Ok([count / seconds, counted as f64 * 100.0 / count, used * 1e6 / count, used * 100.0 / seconds, lost])
}

/// How long so many failures took, and the seconds of a processor that the tracer used meanwhile.
fn cost(
    lab: &Lab,
    tracer: &Tracer,
    server: impl Fn(u32) -> (Ipv4Addr, u16) + Send,
    count: u32,
) -> Result<(Duration, f64)> {
    let pid = tracer.process().pid();
    cpu::keep_on(pid, 1)?;
    let before = cpu::of_process(pid);
    let took = lab.client.enter(|| fail(server, count))?;
    let wall = Instant::now();
    thread::sleep(REST);
    let used = cpu::of_process(pid).saturating_sub(before).as_secs_f64();
    ensure!(wall.elapsed() < REST * 2, "the machine stood still");
    Ok((took, used))
}

fn told(lab: &Lab, local: &str, round: u32, count: u32) -> Result<[f64; 5]> {
    let tracer = Tracer::start(&lab.client, ["-i", "eth0", "--json", "--local", local]);
    let server =
        |number| (Ipv4Addr::from_bits(0x0a00_0001 + (round << 16) + number / PORTS), (1 + number % PORTS) as u16);
    let (took, used) = cost(lab, &tracer, server, count)?;
    let lines = tracer.stop().lines;
    let (summary, lines) = lines.split_last().context("there is no summary")?;
    let summary: Value = serde_json::from_str(summary)?;
    let lost: u64 = summary["losses"].as_object().into_iter().flatten().filter_map(|(_, it)| it.as_u64()).sum();
    let is_told = |it: &&String| it.contains(r#""outcome":"refused""#) && it.contains(r#""cause":{"name""#);
    let told = lines.iter().filter(is_told).count() as f64;
    let (count, seconds) = (f64::from(count), took.as_secs_f64());
    Ok([count / seconds, told * 100.0 / count, used * 1e6 / count, used * 100.0 / seconds, lost as f64])
}

/// So many, each at its time; how long that took.
fn fail(server: impl Fn(u32) -> (Ipv4Addr, u16), count: u32) -> Result<Duration> {
    cpu::stay_on(0)?;
    let started = Instant::now();
    for number in 0..count {
        if number % AT_ONCE == 0 {
            let at = started + Duration::from_secs(number.into()) / A_SECOND;
            thread::sleep(at.saturating_duration_since(Instant::now()));
        }
        let to = SocketAddr::from(server(number));
        match TcpStream::connect(to) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            other => bail!("{to} is closed, and yet: {other:?}"),
        }
    }
    Ok(started.elapsed())
}
