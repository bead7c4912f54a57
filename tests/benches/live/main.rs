//! What watching an interface costs under load, beside tcpdump: `cargo xtask bench live`.
//!
//! A generator sends as fast as it can, and one core does the sending and the receiving: with nobody watching, with a
//! program that does nothing, with tcptrace and with tcpdump, in turn. The cost of a packet is the time of the threads
//! that work for it: that one, and the process that watches. What tcpdump drops costs it less than what it keeps, which
//! is to its favour. What a core could receive that does nothing else follows from the cost less that of the generator.
//! `machine` is the same of the whole machine, strangers included. Behind whoever watches, the stack drops every packet
//! at its door: see `generator`. Without `--bench`, which `cargo bench` passes, every variant runs once, for a moment.

mod rig;
mod variant;

use std::time::Duration;

use anyhow::{Context as _, Result};
use tcptrace_core::segment::Flags;
use tcptrace_tests::{
    figures::{Account, Column, Goal, Options, Table},
    frames,
    generator::{Generator, Plan},
};

use crate::{
    rig::{Rig, SENDER, Sample},
    variant::{TCPTRACE_TC, TCPTRACE_XDP, VARIANTS, Variant},
};

struct Traffic {
    name: &'static str,
    frame: fn() -> Vec<u8>,
    plan: Plan,
    /// How many times ours tcpdump's cost is to be.
    goal: Option<f64>,
}

const DATA: Plan = Plan { flags: &[Flags::ACK], flows: 8192, servers: 256, data_between: 0 };
const FLOOD: Plan = Plan { flags: &[Flags::SYN], flows: 0, servers: 1, data_between: 0 };
const MIX: Plan =
    Plan { flags: &[Flags::SYN, Flags::SYN | Flags::ACK, Flags::ACK], flows: 0, servers: 256, data_between: 99 };

/// The last is the one that is tried where nothing is measured.
const TRAFFIC: [Traffic; 4] = [
    Traffic { name: "SYN flood on one server", frame: || frames::syn(4), plan: FLOOD, goal: Some(4.0) },
    Traffic { name: "data, 64 octets", frame: || frames::data(4, 64), plan: DATA, goal: Some(7.0) },
    Traffic { name: "data, 1,500 octets", frame: || frames::data(4, 1500), plan: DATA, goal: Some(7.0) },
    Traffic { name: "1 % handshakes, 99 % data", frame: || frames::syn(4), plan: MIX, goal: None },
];

const COLUMNS: &[Column] = &[
    Column("cpu_ns", "CPU, ns/packet", 0),
    Column("added_ns", "added, ns/packet", 1),
    Column("core_receives_million_per_s", "a core receives, M/s", 2),
    Column("received_million_per_s", "received, M/s", 2),
    Column("lost_on_wire_percent", "lost on the wire, %", 1),
    Column("process_percent", "process, % of a core", 1),
    Column("machine_ns", "machine, ns/packet", 0),
    Column("lost", "lost by its account", 0),
];

const IDLE: &[Column] = &[Column("process_percent", "process, % of a core", 3)];

fn main() -> Result<()> {
    let options = Options::read(5)?;
    let (time, idle) = if options.full { (1000, 10_000) } else { (20, 200) };
    let (time, idle) = (Duration::from_millis(time), Duration::from_millis(idle));
    let rig = Rig::new();
    let mut account = Account::default();
    for traffic in if options.full { &TRAFFIC[..] } else { &TRAFFIC[3..] } {
        let table = measure(&rig, traffic, options.rounds, time).with_context(|| traffic.name)?;
        judge(&mut account, traffic, &table);
        account.tables.push(table);
    }
    let mut table = Table::new("without traffic", IDLE);
    for _ in 0..options.rounds.div_ceil(2) {
        table.add(&TCPTRACE_XDP.name(), None, &[rig.idle(TCPTRACE_XDP, idle)? * 100.0]);
    }
    account.goal(
        "without traffic: process, % of a core",
        table.figures(&TCPTRACE_XDP.name(), IDLE[0].0),
        Goal::AtMost(1.0),
    );
    account.tables.push(table);
    account.print(&options);
    Ok(())
}

fn measure(rig: &Rig, traffic: &Traffic, rounds: usize, time: Duration) -> Result<Table> {
    let generator = Generator::new(rig.sender(), SENDER, (traffic.frame)(), &traffic.plan)?;
    let mut table = Table::new(traffic.name, COLUMNS);
    let nobody = Variant::Nobody.name();
    for _ in 0..rounds {
        let [mut generator_alone, mut base] = [None; 2];
        for variant in VARIANTS {
            let it = rig.measure(variant, &generator, time).with_context(|| variant.name())?;
            let each = it.each(it.kernel + it.process);
            let receiving = it.each(it.kernel) - *generator_alone.get_or_insert(each);
            if variant == Variant::Nobody {
                base = Some(each);
            }
            let rival = (![Variant::Drop, Variant::Nobody].contains(&variant)).then_some(nobody.as_str());
            let figures = [
                each,
                base.map_or(f64::NAN, |base| each - base),
                if receiving > 0.0 { 1e3 / receiving } else { f64::NAN },
                it.received as f64 / it.wall.as_secs_f64() / 1e6,
                it.sent.saturating_sub(it.received) as f64 / it.sent as f64 * 100.0,
                it.process.as_secs_f64() / it.wall.as_secs_f64() * 100.0,
                it.each(it.machine),
                it.lost.count as f64,
            ];
            table.add(&variant.name(), rival, &figures);
            table.note(&variant.name(), &it.lost.text);
        }
    }
    Ok(table)
}

impl Sample {
    /// Nanoseconds a packet.
    fn each(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / self.received as f64
    }
}

fn judge(account: &mut Account, traffic: &Traffic, table: &Table) {
    let [rival, empty] = [Variant::TcpdumpFlags, Variant::EmptyXdp].map(Variant::name);
    for ours in [TCPTRACE_XDP, TCPTRACE_TC].map(Variant::name) {
        if let Some(goal) = traffic.goal {
            let times = table.ratios(&rival, &ours, "added_ns");
            account.goal(format!("{}: {rival} adds, times {ours}", traffic.name), &times, Goal::AtLeast(goal));
        }
        if traffic.plan.flags == FLOOD.flags {
            let process = table.figures(&ours, "process_percent");
            account.goal(format!("{}: {ours}, process, % of a core", traffic.name), process, Goal::AtMost(10.0));
        }
    }
    let ours = TCPTRACE_XDP.name();
    let received = table.ratios(&ours, &empty, "core_receives_million_per_s");
    account.goal(format!("{}: a core receives, {ours}, times {empty}", traffic.name), &received, Goal::AtLeast(0.9));
}
