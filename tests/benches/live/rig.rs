//! The wire: a veth pair of the lab, a generator at one end, and the accounts of the other.
//!
//! One core does it all: after each batch of frames the generator's thread receives them, in its softirq. So nothing
//! waits in a ring that overflows, nobody has to be woken, and the time is that of a thread, which counts nobody else's
//! work. (A kernel with CONFIG_IRQ_TIME_ACCOUNTING takes the softirq's time off the thread's; only `machine` has it
//! then.) GRO is on for every variant: without it, and without an XDP program, a veth device takes no such frames.

use std::{fs, thread, time::Duration, time::Instant};

use anyhow::Result;
use nix::unistd::Pid;
use tcptrace_tests::{
    cpu,
    generator::{Generator, PROCESSOR},
    lab::{Lab, Ns},
};

use crate::variant::{Lost, Variant};

/// The receiving interface, in the server, and its peer, in the router.
pub(crate) const RECEIVER: &str = "eth0";
pub(crate) const SENDER: &str = "server0";

/// What is in buffers when the generator stops is read by then.
const REST: Duration = Duration::from_millis(100);

/// What goes before what is measured: caches, and buffers that grow.
const WARM_UP: Duration = Duration::from_millis(100);

pub(crate) struct Rig {
    lab: Lab,
    /// The kernel thread that helps out where a softirq takes too long.
    softirqs: Option<Pid>,
}

/// One variant under one kind of traffic.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// The kernel's time for sending and receiving.
    pub(crate) kernel: Duration,
    /// The time of the variant's process.
    pub(crate) process: Duration,
    /// The time of all processes, foreign ones included.
    pub(crate) machine: Duration,
    pub(crate) lost: Lost,
}

/// The accounts at one moment.
struct Accounts {
    received: u64,
    softirqs: Duration,
    process: Duration,
    machine: Duration,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let lab = Lab::new();
        lab.server.run(["ethtool", "-K", RECEIVER, "gro", "on"]);
        Self { lab, softirqs: process_called(&format!("ksoftirqd/{PROCESSOR}")) }
    }

    /// The namespace that receives.
    pub(crate) fn receiver(&self) -> &Ns {
        &self.lab.server
    }

    /// The namespace that sends.
    pub(crate) fn sender(&self) -> &Ns {
        &self.lab.router
    }

    /// Sends for a while at a variant.
    pub(crate) fn measure(&self, variant: Variant, generator: &Generator, time: Duration) -> Result<Sample> {
        let running = variant.start(self.receiver())?;
        generator.send_for(WARM_UP.min(time))?;
        thread::sleep(REST);
        let before = self.accounts(running.pid());
        let sent = generator.send_for(time)?;
        thread::sleep(REST);
        let after = self.accounts(running.pid());
        Ok(Sample {
            wall: sent.wall,
            sent: sent.packets,
            received: after.received - before.received,
            kernel: sent.cpu + after.softirqs - before.softirqs,
            process: after.process.saturating_sub(before.process),
            machine: after.machine - before.machine,
            lost: running.end()?,
        })
    }

    /// The share of a core that a variant takes when there is nothing to do.
    pub(crate) fn idle(&self, variant: Variant, time: Duration) -> Result<f64> {
        let running = variant.start(self.receiver())?;
        thread::sleep(REST);
        let (before, started) = (self.accounts(running.pid()), Instant::now());
        thread::sleep(time);
        let used = self.accounts(running.pid()).process.saturating_sub(before.process);
        let share = used.as_secs_f64() / started.elapsed().as_secs_f64();
        running.end()?;
        Ok(share)
    }

    fn accounts(&self, process: Option<Pid>) -> Accounts {
        Accounts {
            received: self.received(),
            softirqs: self.softirqs.map_or(Duration::ZERO, cpu::of_process),
            process: process.map_or(Duration::ZERO, cpu::of_process),
            machine: cpu::of_machine(),
        }
    }

    /// Packets that the interface has counted as they came in, whatever became of them.
    fn received(&self) -> u64 {
        // Not /proc/net, which is the main thread's.
        let table = self.lab.server.enter(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap_or_default();
        let line = table.lines().find_map(|line| line.trim().strip_prefix(RECEIVER)?.strip_prefix(':'));
        line.and_then(|it| it.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    }
}

fn process_called(name: &str) -> Option<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = processes.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let is_it = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it.trim() == name);
    pids.find(is_it).map(Pid::from_raw)
}
