//! A flood for a minute, and what fails beside it: `cargo xtask bench flood`.
//!
//! A generator sends SYNs from random sources to one listener as fast as it can, and meanwhile a hundred connections a
//! second fail for real (`failures`), most of them with other services: each of those is looked for in what tcptrace
//! told, by hook. The flood is to be one finding. The tracer's memory is to be the same when it ends as in the middle:
//! what each processor lets in before it knows that this is a flood stalls some seconds later, all at once. What a SYN of
//! a flood costs in the kernel is `packet`'s to say, and `live`'s. `--seconds` is how long it takes. Without `--bench`,
//! which `cargo bench` passes, it is a second.

mod failures;
mod told;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::unistd::Pid;
use tcptrace_core::segment::Flags;
use tcptrace_tests::{
    cpu,
    figures::{Account, Column, Goal, Options, Table},
    frames,
    generator::{Generator, Plan, Sent},
    lab::{Lab, Tracer},
    memory,
};

use crate::{
    failures::{A_SECOND, KINDS, Services},
    told::Told,
};

/// To `failures::FLOODED`.
const SYNS: Plan = Plan { flags: &[Flags::SYN], flows: 0, servers: 1, data_between: 0 };
const HOOKS: [&str; 2] = ["xdp", "tc"];

/// After the flood: what fell silent last has stalled by then, with the pause that ends a flood.
const REST: Duration = Duration::from_secs(12);
/// For who only wants to see it run: a stall takes three seconds.
const SHORT_REST: Duration = Duration::from_secs(5);

const MIB: f64 = (1 << 20) as f64;
/// How often the tracer's memory is looked at.
const LOOK: Duration = Duration::from_millis(500);

const FLOOD: &[Column] = &[
    Column("sent_million_per_s", "sent, M/s", 2),
    Column("hook_million_per_s", "at the hook, M/s", 2),
    Column("in_finding_percent", "in the finding, %", 3),
    Column("findings", "floods found", 0),
    Column("listed", "of it listed", 0),
    Column("missing", "missing elsewhere", 0),
    Column("otherwise", "told otherwise", 0),
    Column("lost", "lost by its account", 0),
];

const PROCESS: &[Column] = &[
    Column("process_percent", "process, % of a core", 2),
    Column("rss_first_mib", "resident at first, MiB", 2),
    Column("rss_half_mib", "in the middle, MiB", 2),
    Column("rss_last_mib", "at the end, MiB", 2),
    Column("rss_greatest_mib", "at most, MiB", 2),
];

const FAILURES: &[Column] = &[
    Column("per_s", "made a second", 1),
    Column("made", "made", 0),
    Column("told", "told", 0),
    Column("told_otherwise", "told otherwise", 0),
    Column("missing", "missing", 0),
];

fn main() -> Result<()> {
    let options = Options::read(1)?;
    let seconds = options.seconds.unwrap_or(if options.full { 60 } else { 1 });
    let time = Duration::from_secs(seconds);
    let rest = if options.full { REST } else { SHORT_REST };
    let mut flood = Table::new(&format!("SYNs from everywhere to one listener, {seconds} s"), FLOOD);
    let mut process = Table::new("the tracer meanwhile", PROCESS);
    let mut failures = Table::new(&format!("{A_SECOND} failures a second meanwhile"), FAILURES);
    for _ in 0..options.rounds {
        for hook in HOOKS {
            let run = run(hook, time, rest).with_context(|| hook.to_owned())?;
            let name = named(hook);
            flood.add(&name, None, &run.flood());
            flood.note(&name, &run.told.story);
            process.add(&name, None, &run.process());
            for (kind, told) in KINDS.iter().zip(run.told.kinds) {
                let name = format!("{hook}: {}", kind.name);
                let per_second = told.made() as f64 / run.sent.wall.as_secs_f64();
                let counts = [told.made(), told.as_it_was, told.otherwise, told.missing];
                failures.add(&name, None, &[&[per_second], &counts.map(|it| it as f64)[..]].concat());
            }
        }
    }
    let mut account = Account::default();
    HOOKS.iter().for_each(|hook| judge(&mut account, hook, &flood, &process));
    account.tables.extend([flood, process, failures]);
    account.print(&options);
    Ok(())
}

fn named(hook: &str) -> String {
    format!("tcptrace --hook {hook}")
}

fn judge(account: &mut Account, hook: &str, flood: &Table, process: &Table) {
    let name = named(hook);
    for (table, column, what, goal) in [
        (flood, "missing", "failures elsewhere that are missing", Goal::AtMost(0.0)),
        (flood, "otherwise", "failures elsewhere that are told as another", Goal::AtMost(0.0)),
        (flood, "findings", "floods found: one", Goal::AtLeast(1.0)),
        (flood, "findings", "floods found: no more", Goal::AtMost(1.0)),
        (flood, "in_finding_percent", "% of the flood's SYNs at the hook that are in the finding", Goal::AtLeast(99.9)),
        (flood, "listed", "attempts of the flood that are listed", Goal::AtMost(0.0)),
        (process, "process_percent", "process, % of a core", Goal::AtMost(10.0)),
    ] {
        account.goal(format!("{name}: {what}"), table.figures(&name, column), goal);
    }
    let growth = process.figures(&name, "rss_last_mib").iter().zip(process.figures(&name, "rss_half_mib"));
    let growth: Vec<f64> = growth.map(|(last, half)| last - half).collect();
    account.goal(format!("{name}: MiB that grew in the second half"), &growth, Goal::AtMost(1.0));
}

/// A hook's flood, with all that came of it.
struct Run {
    sent: Sent,
    told: Told,
    /// The tracer's time on a processor while it lasted.
    cpu: Duration,
    /// Its resident bytes, by look.
    resident: Vec<u64>,
}

impl Run {
    fn flood(&self) -> [f64; 8] {
        let per_second = |packets: u64| packets as f64 / self.sent.wall.as_secs_f64() / 1e6;
        let Told { at_the_hook, in_the_finding, findings, listed, lost, .. } = self.told;
        let elsewhere = KINDS.iter().zip(self.told.kinds).filter(|(kind, _)| !kind.is_of_the_flooded());
        let (missing, otherwise) = elsewhere.fold((0, 0), |sum, (_, it)| (sum.0 + it.missing, sum.1 + it.otherwise));
        [
            per_second(self.sent.packets),
            per_second(at_the_hook),
            in_the_finding as f64 / at_the_hook as f64 * 100.0,
            findings as f64,
            listed as f64,
            missing as f64,
            otherwise as f64,
            lost as f64,
        ]
    }

    fn process(&self) -> [f64; 5] {
        let looks = &self.resident;
        let [first, half, last, greatest] =
            [looks.first(), looks.get(looks.len() / 2), looks.last(), looks.iter().max()]
                .map(|it| it.map_or(f64::NAN, |it| *it as f64 / MIB));
        [self.cpu.as_secs_f64() / self.sent.wall.as_secs_f64() * 100.0, first, half, last, greatest]
    }
}

/// In a lab of its own: what one leaves half open, another would see.
fn run(hook: &str, time: Duration, rest: Duration) -> Result<Run> {
    let lab = Lab::new();
    lab.server.run(["ethtool", "-K", "eth0", "gro", "on"]);
    let services = Services::open(&lab);
    let generator = Generator::new(&lab.router, "server0", frames::syn(4), &SYNS)?;
    let tracer = Tracer::start(&lab.server, ["-i", "eth0", "--hook", hook, "--json"]);
    let pid = tracer.process().pid();
    let (sent, (cpu, resident), made) = thread::scope(|scope| {
        let flood = scope.spawn(|| generator.send_for(time));
        let watched = scope.spawn(|| watch(pid, time));
        let made = failures::make(&lab.client, time);
        (flood.join().expect("no panic"), watched.join().expect("no panic"), made)
    });
    let (sent, made) = (sent?, made?);
    thread::sleep(rest);
    let told = Told::of(&tracer.stop(), &made)?;
    drop(services);
    Ok(Run { sent, told, cpu, resident })
}

/// What a process takes of the processors, and its memory from time to time.
fn watch(pid: Pid, time: Duration) -> (Duration, Vec<u64>) {
    let (before, started) = (cpu::of_process(pid), Instant::now());
    let mut resident = Vec::from_iter(memory::resident(pid).ok());
    while started.elapsed() < time {
        thread::sleep(LOOK);
        resident.extend(memory::resident(pid).ok());
    }
    (cpu::of_process(pid).saturating_sub(before), resident)
}
