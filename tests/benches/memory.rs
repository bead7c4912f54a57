//! What attempts cost in memory, and what the sweep over them costs: `cargo xtask bench memory`.
//!
//! A table of a million slots, filled by the generator with handshakes that nobody answers, of some thousand servers,
//! slowly enough not to be a flood; of as many attempts as there are slots some lose theirs to others, since a flow can
//! only have one of eight. `--stall-after` is an hour, so that all that are left are pending and none is told. The
//! kernel's memory is what it charges for the maps; the process's is what is resident of it, less the maps that it looks
//! at. A table at rest is not read at all, so SYNs come now and then while the sweep is measured. Without `--bench`,
//! which `cargo bench` passes, a small table is filled once.

use std::{thread, time::Duration, time::Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tcptrace_core::segment::Flags;
use tcptrace_tests::{
    charged, cpu,
    figures::{Account, Column, Goal, Options, Table},
    frames,
    generator::{Generator, Plan},
    lab::{Lab, Tracer},
    memory,
};

const SYNS: Plan = Plan { flags: &[Flags::SYN], flows: 0, servers: 1 << 16, data_between: 0 };

/// Sent at once, and then a rest: some 12,000 a second, no more than is let in of listeners that lead nowhere.
const BURST: u32 = 1 << 12;
const REST: Duration = Duration::from_millis(350);

const MIB: f64 = (1 << 20) as f64;
/// In a second, while nothing is due.
const SWEEPS: f64 = 1.0;
/// So often something changes for them to find.
const CHANGES: Duration = Duration::from_millis(100);

const COLUMNS: &[Column] = &[
    Column("pending", "pending", 0),
    Column("kernel_mib", "kernel, MiB", 1),
    Column("process_mib", "process, MiB", 1),
    Column("process_peak_mib", "its peak with maps, MiB", 1),
    Column("total_mib", "both, MiB", 1),
    Column("kernel_octets_per_slot", "kernel, octets/slot", 1),
    Column("sweep_ms", "CPU of a sweep, ms", 3),
    Column("rest_percent", "at rest, % of a core", 3),
    Column("new_attempt_ns", "CPU, ns/new attempt", 0),
];

fn main() -> Result<()> {
    let options = Options::read(5)?;
    let (slots, watched) = if options.full { (1 << 20, 4000) } else { (1 << 12, 300) };
    let fillings = if options.full { vec![0, 100_000, 1_000_000] } else { vec![0, 4000] };
    let lab = Lab::new();
    lab.server.run(["ethtool", "-K", "eth0", "gro", "on"]);
    let generator = Generator::new(&lab.router, "server0", frames::syn(4), &SYNS)?;
    let mut table = Table::new(&format!("a table of {slots} slots"), COLUMNS);
    for _ in 0..options.rounds {
        for &attempts in &fillings {
            let figures = measure(&lab, &generator, slots, attempts, Duration::from_millis(watched))?;
            table.add(&named(attempts), (attempts > 0).then_some(&named(0)), &figures);
        }
    }
    let mut account = Account::default();
    let full = named(fillings[fillings.len() - 1]);
    for (column, what, goal) in [
        ("kernel_octets_per_slot", "octets of the kernel's memory a slot, its ring's included", 128.0),
        ("total_mib", "MiB, all told", 160.0),
        ("sweep_ms", "milliseconds of CPU for a sweep", 50.0),
    ] {
        account.goal(format!("{full}: {what}"), table.figures(&full, column), Goal::AtMost(goal));
    }
    account.tables.push(table);
    account.print(&options);
    Ok(())
}

fn named(attempts: u32) -> String {
    format!("{attempts} attempts")
}

/// Fills a fresh table and looks at its tracer for a while. The figures, by column.
fn measure(lab: &Lab, generator: &Generator, slots: u32, attempts: u32, watched: Duration) -> Result<[f64; 9]> {
    let options = ["-i", "eth0", "--hook", "xdp", "--json", "--stall-after", "3600", "--max-attempts"];
    let tracer = Tracer::start(&lab.server, options.into_iter().chain([slots.to_string().as_str()]));
    let pid = tracer.process().pid();
    let empty = cpu::of_process(pid);
    let mut left = attempts;
    while left > 0 {
        let burst = left.min(BURST);
        generator.send(burst)?;
        left -= burst;
        thread::sleep(REST);
    }
    // The sweep that reads what has just come is not one over a table at rest.
    thread::sleep(Duration::from_millis(1500));
    let share = |time: Duration, since: Instant| time.as_secs_f64() / since.elapsed().as_secs_f64();
    let (filled, started) = (cpu::of_process(pid), Instant::now());
    thread::sleep(watched);
    let rested = cpu::of_process(pid);
    let rest = share(rested - filled, started);
    let started = Instant::now();
    while started.elapsed() < watched {
        generator.send(1)?;
        thread::sleep(CHANGES);
    }
    let sweep = share(cpu::of_process(pid) - rested, started) / SWEEPS;
    let kernel = charged::of_process(pid)? as f64;
    let process = memory::resident(pid)? as f64;
    let peak = memory::peak(pid)? as f64;
    let summary = tracer.stop().lines.pop().context("tcptrace printed no summary")?;
    let summary: Value = serde_json::from_str(&summary)?;
    let pending = summary["attempts"]["in_flight"].as_f64().context("a summary without attempts in flight")?;
    Ok([
        pending,
        kernel / MIB,
        process / MIB,
        peak / MIB,
        (kernel + process) / MIB,
        kernel / f64::from(slots),
        sweep * 1e3,
        rest * 100.0,
        if attempts > 0 { (filled - empty).as_nanos() as f64 / f64::from(attempts) } else { f64::NAN },
    ])
}
