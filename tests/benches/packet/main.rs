//! What a packet costs in the kernel, by kind, above a program that only returns XDP_PASS: `cargo xtask bench`.
//!
//! Rival and tracer get the same packets from the same driver (`tests/bpf`), in turn, so that a round
//! holds both. Cost is throughput's: packets follow each other without a pause, in one thread, with no stack behind.
//! No network is touched. Without `--bench`, which `cargo bench` passes, or with `--test`, every kind of row is run once.

mod driver;
mod report;
mod rows;
mod unprivileged;

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::ProgramInfo;
use tcptrace::live::kernel::{Kernel, Program, Settings};
use tcptrace_tests::{frames, prog_run};

use crate::{
    driver::{BATCH, Driver, Hook, Plan, Rival},
    report::{Loaded, Report, Timed},
    rows::{Before, Counts, Row},
    unprivileged::Unprivileged,
};

/// Those whose size is told.
const PROGRAMS: [Program; 6] = [
    Program::XdpIngressFrags,
    Program::XdpIngress,
    Program::TcIngress,
    Program::TcEgress,
    Program::TcIngressIp,
    Program::TcEgressIp,
];

const USAGE: &str = "usage: cargo xtask bench [--rounds N] [--json] [--test] [WORD-OF-A-ROW]...";

struct Args {
    rounds: usize,
    json: bool,
    test: bool,
    words: Vec<String>,
}

fn main() -> Result<()> {
    let args = arguments()?;
    let rival = Rival::load()?;
    let mut timed = Vec::new();
    let wanted = |it: &Row| args.words.iter().all(|word| it.title().contains(word.as_str()));
    for row in rows::all().into_iter().filter(|it| wanted(it) && (it.is_tested || !args.test)) {
        let title = row.title();
        timed.push(measure(row, &rival, &args).with_context(|| format!("row '{title}'"))?);
    }
    let batches = if args.test { 2 } else { 128 };
    let unprivileged = Unprivileged::measure(&rival, args.rounds, batches)?;
    let report = Report { empty: empty(&rival, &args)?, programs: programs()?, unprivileged, rows: timed };
    if args.json {
        report.print_json();
    } else {
        report.print();
    }
    Ok(())
}

fn arguments() -> Result<Args> {
    let mut args = Args { rounds: 15, json: false, test: true, words: Vec::new() };
    let mut once = false;
    let mut given = std::env::args().skip(1);
    while let Some(it) = given.next() {
        match it.as_str() {
            "--bench" => args.test = false,
            "--test" => once = true,
            "--json" => args.json = true,
            "--rounds" => args.rounds = given.next().and_then(|it| it.parse().ok()).context(USAGE)?,
            it if it.starts_with('-') => bail!("unknown option '{it}': {USAGE}"),
            _ => args.words.push(it),
        }
    }
    args.test |= once;
    if args.test {
        args.rounds = 1;
    }
    ensure!(args.rounds > 0, "no rounds, no figures: {USAGE}");
    Ok(args)
}

/// Runs a row: fresh maps, then its rounds. The ring is read between calls only, so a call's events have to fit it.
fn measure(row: Row, rival: &Rival, args: &Args) -> Result<Timed> {
    let settings = Settings { max_attempts: row.slots, stall_after: u64::MAX, flood: row.flood, ..Settings::default() };
    let mut kernel = Kernel::load(&settings)?;
    let mut events = kernel.take_events().context("the object has no ring of events")?;
    let ours = match row.hook {
        Hook::Xdp => kernel.xdp(Program::XdpIngressFrags)?.fd()?.try_clone()?,
        Hook::Tc => kernel.classifier(Program::TcIngress)?.fd()?.try_clone()?,
    };
    let frame = (row.frame)(row.version);
    for Before { version, plan, batches, makes } in row.before(args.test) {
        let plan = Plan { ip_version: version, ..plan };
        let before = counted(&kernel, Counts::Makes(makes))?;
        Driver::new(row.hook, &plan, &[&ours])?.run(&frames::syn(version), batches, None)?;
        let flows = u64::from(batches * BATCH) / plan.flags.len() as u64;
        let made = counted(&kernel, Counts::Makes(makes))? - before;
        ensure!(made > flows * 9 / 10, "before it, only {made} of {flows} made {makes:?}");
        while events.next().is_some() {}
    }
    let mut driver = Driver::new(row.hook, &row.plan, &[rival.program(row.hook)?, &ours])?;
    let mut timed = Timed::new(row);
    for round in 0..row.warm_up + args.rounds {
        let mut times = [const { Vec::new() }; 2];
        for _ in 0..if args.test { 1 } else { row.calls } {
            while events.next().is_some() {}
            let before = counted(&kernel, row.counts)?;
            for (all, call) in times.iter_mut().zip(driver.run(&frame, row.batches, row.step)?) {
                all.extend(call);
            }
            if round >= row.warm_up {
                let steps = row.plan.flags.len() as u32;
                timed.check(counted(&kernel, row.counts)? - before, row.batches * BATCH / steps)?;
            }
        }
        if round >= row.warm_up {
            timed.add(times);
        }
    }
    Ok(timed)
}

fn counted(kernel: &Kernel, what: Counts) -> Result<u64> {
    let tally = kernel.tally()?;
    Ok(match what {
        Counts::As(counter) => tally.counters[counter as usize],
        Counts::Makes(transition) => tally.transitions[transition as usize],
    })
}

/// The empty program alone, without a driver: here only the kernel's own clock is left, which counts whole nanoseconds.
fn empty(rival: &Rival, args: &Args) -> Result<[u128; 2]> {
    let runs = if args.test { 1 } else { 2_000_000 };
    let fastest = |hook: Hook| -> Result<u128> {
        let mut fastest = u128::MAX;
        for _ in 0..args.rounds {
            let ran = prog_run::run(rival.program(hook)?.as_fd(), &frames::data(4, 64), runs)?;
            fastest = fastest.min(ran.each.as_nanos());
        }
        Ok(fastest)
    };
    Ok([fastest(Hook::Xdp)?, fastest(Hook::Tc)?])
}

/// Every program of the object, as the kernel holds it.
fn programs() -> Result<Vec<Loaded>> {
    let mut kernel = Kernel::load(&Settings::default())?;
    let mut loaded = Vec::new();
    for program in PROGRAMS {
        let info = match Hook::of(program) {
            Hook::Xdp => kernel.xdp(program)?.info()?,
            Hook::Tc => kernel.classifier(program)?.info()?,
        };
        loaded.push(size(program, &info));
    }
    Ok(loaded)
}

fn size(program: Program, info: &ProgramInfo) -> Loaded {
    Loaded {
        name: program.name(),
        verified: info.verified_instruction_count(),
        translated: info.size_translated(),
        jited: info.size_jitted(),
    }
}
