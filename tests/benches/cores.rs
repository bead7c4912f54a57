//! What two cores do beside what one does: `cargo xtask bench cores`.
//!
//! Each core runs the same program on packets of its own flows, over the same maps: first one alone, then both at once. A
//! figure is the lowest tenth of a round's batches, as in `packet`, with the driver that makes the packets. What two cores
//! share (the memory, the last cache, the processor's power) is in it as well.

#[expect(dead_code, reason = "it is shared, and nobody uses all of it")]
#[path = "packet/driver.rs"]
mod driver;

use std::{array, sync::Barrier, thread};

use anyhow::{Context as _, Result};
use tcptrace::live::kernel::{Kernel, Program, Settings};
use tcptrace_core::{event::Counter, flood::Policy, segment::Flags};
use tcptrace_tests::{
    cpu,
    figures::{Account, Column, Options, Table},
    frames,
};

use crate::driver::{Driver, Hook, Order, Plan};

const COLUMNS: &[Column] = &[
    Column("ns", "ns/packet and core", 1),
    Column("million_per_s", "M packets/s of all", 2),
    Column("contended", "locks given up", 0),
];

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
const FLOOD: Plan = Plan { servers: 1, ..SYNS };
const HANDSHAKES: Plan =
    Plan { flags: &[Flags::SYN, Flags::SYN | Flags::ACK, Flags::ACK], order: Order::Lag(3_413), ..DATA };

/// What is sent, and whether servers may count as flooded.
const TRAFFIC: [(&str, Plan, Option<Policy>); 4] = [
    ("data", DATA, Some(Policy::NEVER)),
    ("SYN that makes state", SYNS, Some(Policy::NEVER)),
    ("SYN flood on one server", FLOOD, None),
    ("packets of handshakes", HANDSHAKES, Some(Policy::NEVER)),
];

fn main() -> Result<()> {
    let options = Options::read(9)?;
    let batches = if options.full { 512 } else { 4 };
    let mut account = Account::default();
    for (name, plan, flood) in TRAFFIC {
        account.tables.push(measure(name, plan, flood, &options, batches).context(name)?);
    }
    account.print(&options);
    Ok(())
}

fn measure(name: &str, plan: Plan, flood: Option<Policy>, options: &Options, batches: u32) -> Result<Table> {
    let mut kernel = Kernel::load(&Settings { flood, stall_after: u64::MAX, ..Settings::default() })?;
    let mut events = kernel.take_events().context("the object has no ring of events")?;
    let program = kernel.xdp(Program::XdpIngressFrags)?.fd()?.try_clone()?;
    let drivers: [Result<Driver>; 2] = array::from_fn(|core| {
        let plan = Plan { first_flow: (core as u64) << 32, ..plan };
        Driver::new(Hook::Xdp, &plan, &[&program])
    });
    let [one, other] = drivers;
    let mut drivers = [one?, other?];
    let mut table = Table::new(name, COLUMNS);
    for round in 0..=options.rounds {
        for cores in [1, 2] {
            while events.next().is_some() {}
            let before = kernel.tally()?.counters[Counter::Contended as usize];
            let times = at_once(&mut drivers[..cores], batches)?;
            let contended = kernel.tally()?.counters[Counter::Contended as usize] - before;
            // The first round fills the table.
            if round > 0 {
                let mean = times.iter().sum::<f64>() / cores as f64;
                let all = times.iter().map(|it| 1e3 / it).sum();
                let (name, rival) = if cores == 1 { ("one core", None) } else { ("two cores", Some("one core")) };
                table.add(name, rival, &[mean, all, contended as f64]);
            }
        }
    }
    Ok(table)
}

/// Nanoseconds a packet, of each driver on a core of its own.
fn at_once(drivers: &mut [Driver], batches: u32) -> Result<Vec<f64>> {
    let ready = Barrier::new(drivers.len());
    thread::scope(|scope| {
        let running = drivers.iter_mut().enumerate().map(|(core, driver)| {
            let ready = &ready;
            scope.spawn(move || {
                cpu::stay_on(core)?;
                ready.wait();
                let [mut times, _] = driver.run(&frames::syn(4), batches, None)?;
                times.sort_by(f64::total_cmp);
                times.get(times.len() / 10).copied().context("nothing was timed")
            })
        });
        let running: Vec<_> = running.collect();
        running.into_iter().map(|it| it.join().expect("a core does not panic")).collect()
    })
}
