//! A packet in the kernel, with diagnosis and without: the same packets to two loaded objects, by turns.
//!
//! The hooks stay attached while the other has its turn: the driver's packets pass neither, and that is what is shown.

use anyhow::{Context as _, Result};
use tcptrace::live::kernel::{Kernel, Program, Settings};
use tcptrace_core::{flood::Policy, segment::Flags};
use tcptrace_tests::{
    cpu,
    figures::{Account, Column, Goal, Options, Table},
    frames,
};

use crate::driver::{Driver, Hook, Order, Plan};

const COLUMNS: &[Column] = &[Column("ns", "ns/packet, driver included", 1)];

/// As the rows of the bench `packet`.
const DATA: Plan = Plan {
    ip_version: 4,
    flags: &[Flags::ACK],
    order: Order::Lag(0),
    flows: 10_240,
    fresh_isn: true,
    servers: 256,
    first_flow: 0,
};
const SYNS: Plan = Plan { flags: &[Flags::SYN], flows: 0, ..DATA };

const WITHOUT: &str = "without diagnosis";
const WITH: &str = "with diagnosis";

pub(crate) fn measure(options: &Options, account: &mut Account) -> Result<()> {
    let batches = if options.full { 256 } else { 2 };
    for (name, program, plan) in [
        ("XDP data", Program::XdpIngressFrags, DATA),
        ("TC data", Program::TcIngress, DATA),
        ("XDP SYN", Program::XdpIngressFrags, SYNS),
        ("TC SYN", Program::TcIngress, SYNS),
    ] {
        let mut table = Table::new(name, COLUMNS);
        // Where a map's pages lie makes a difference, too: each round has maps of its own.
        for _ in 0..options.rounds {
            round(&mut table, program, &plan, batches)?;
        }
        let goal = format!("{name}: ns, times without diagnosis");
        account.goal(goal, &table.ratios(WITH, WITHOUT, "ns"), Goal::AtMost(1.01));
        account.tables.push(table);
    }
    Ok(())
}

fn round(table: &mut Table, program: Program, plan: &Plan, batches: u32) -> Result<()> {
    let settings = Settings { flood: Some(Policy::NEVER), stall_after: u64::MAX, ..Settings::default() };
    let mut without = Kernel::load(&Settings { connects: 0, drops: 0, ..settings.clone() })?;
    let mut with = Kernel::load(&settings)?;
    let _hooks = (
        with.attach_connects().ok().context("the hooks of connect(2) cannot be attached")?,
        with.attach_drops().ok().context("the hook of drops cannot be attached")?,
    );
    cpu::stay_on(0)?;
    let mut drivers = [driver(&mut without, program, plan)?, driver(&mut with, program, plan)?];
    let mut times = [Vec::new(), Vec::new()];
    // The first turn fills caches and tables; after that each goes first as often as the other.
    for turn in 0..=4 {
        for which in [turn % 2, (turn + 1) % 2] {
            let [batches, _] = drivers[which].run(&frames::syn(4), batches, None)?;
            if turn > 0 {
                times[which].extend(batches);
            }
        }
    }
    let [without, with] = times.map(lowest_tenth);
    table.add(WITHOUT, None, &[without]);
    table.add(WITH, Some(WITHOUT), &[with]);
    Ok(())
}

fn driver(kernel: &mut Kernel, program: Program, plan: &Plan) -> Result<Driver> {
    let hook = Hook::of(program);
    let target = match hook {
        Hook::Xdp => kernel.xdp(program)?.fd()?.try_clone()?,
        Hook::Tc => kernel.classifier(program)?.fd()?.try_clone()?,
    };
    Driver::new(hook, plan, &[&target])
}

/// As in `packet`: nothing makes a batch shorter than it is, and much makes it longer.
fn lowest_tenth(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 10).copied().unwrap_or(f64::NAN)
}
