//! The driver as userspace holds it: loaded with a plan, aimed at a program, run in batches.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, SchedClassifier, Xdp},
};
use tcptrace::live::kernel::Program;
use tcptrace_tests::{generator::OBJECT, prog_run};

/// Packets of which the mean time is taken: some twenty microseconds, so that few hold an interrupt, and none is as
/// coarse as the clock.
pub(crate) const BATCH: u32 = 1 << BATCH_BITS;
const BATCH_BITS: u32 = 10;

/// Which hook's programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    pub(crate) fn of(program: Program) -> Self {
        if program.name().starts_with("xdp") { Self::Xdp } else { Self::Tc }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "XDP",
            Self::Tc => "TC",
        }
    }

    /// What a program returns that passes the packet on: XDP_PASS, TCX_NEXT.
    pub(crate) const fn passes(self) -> u32 {
        match self {
            Self::Xdp => 2,
            Self::Tc => u32::MAX,
        }
    }
}

/// How packets differ from one another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// 4 or 6; 0 leaves the packet as it is.
    pub(crate) ip_version: u8,
    /// The packets of a flow, by their flags. SYN with ACK comes from the server.
    pub(crate) flags: &'static [u8],
    pub(crate) order: Order,
    /// Flows before the first comes again; zero: it never does.
    pub(crate) flows: u64,
    /// Whether a flow that comes again has another ISN.
    pub(crate) fresh_isn: bool,
    /// Servers: a power of two, at most 256.
    pub(crate) servers: u64,
    /// Where the numbers of flows begin: two drivers whose flows are to be others begin elsewhere.
    pub(crate) first_flow: u64,
}

/// When a flow's next packet comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// That many flows later.
    Lag(u64),
    /// When all flows had theirs; their number is a multiple of [`BATCH`].
    Passes,
}

impl Plan {
    /// Which of a flow's packets a batch holds; `None` where it holds all kinds.
    fn step_of(&self, batch: u32) -> Option<usize> {
        match self.order {
            Order::Passes => Some((batch / (self.flows as u32 / BATCH)) as usize % self.flags.len()),
            Order::Lag(_) => None,
        }
    }
}

/// A loaded driver.
pub(crate) struct Driver {
    ebpf: Ebpf,
    times: Array<MapData, u64>,
    hook: Hook,
    plan: Plan,
    targets: u32,
    /// Batches run so far.
    batches: u32,
}

impl Driver {
    /// Loads a driver that hands its packets to one target, or to two in turn.
    pub(crate) fn new(hook: Hook, plan: &Plan, targets: &[&ProgramFd]) -> Result<Self> {
        let flags = plan.flags.iter().rev().fold(0, |all, &it| all << 8 | u64::from(it));
        let lag = match plan.order {
            Order::Lag(flows) => flows,
            Order::Passes => 0,
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("IP_VERSION", &plan.ip_version, true)
            .override_global("STEPS", &(plan.flags.len() as u64), true)
            .override_global("FLAGS", &flags, true)
            .override_global("LAG", &lag, true)
            .override_global("IN_PASSES", &u8::from(matches!(plan.order, Order::Passes)), true)
            .override_global("FLOWS", &plan.flows, true)
            .override_global("FRESH_ISN", &u8::from(plan.fresh_isn), true)
            .override_global("FIRST_FLOW", &plan.first_flow, true)
            .override_global("SERVER_MASK", &(plan.servers - 1), true)
            .override_global("BATCH_BITS", &u64::from(BATCH_BITS), true)
            .override_global("TARGET_MASK", &(targets.len() as u64 - 1), true)
            .load(OBJECT)
            .context("cannot load the driver")?;
        let array = match hook {
            Hook::Xdp => "XDP_TARGETS",
            Hook::Tc => "TC_TARGETS",
        };
        let mut array = ProgramArray::try_from(ebpf.map_mut(array).context("no array of targets in the object")?)?;
        for (index, target) in (0..).zip(targets) {
            array.set(index, target, 0).context("cannot aim the driver at its target")?;
        }
        let times = Array::try_from(ebpf.take_map("TIMES").context("no TIMES in the object")?)?;
        load(&mut ebpf, hook, "bench")?;
        Ok(Self { ebpf, times, hook, plan: *plan, targets: targets.len() as u32, batches: 0 })
    }

    /// Runs batches of copies of `packet`, as many for each target: their nanoseconds per packet, by target; those of one
    /// step if that is given. Of the last batch only the beginning is known.
    pub(crate) fn run(&mut self, packet: &[u8], batches: u32, step: Option<usize>) -> Result<[Vec<f64>; 2]> {
        let program = program(&self.ebpf, self.hook, "bench")?;
        let marks = self.batches..self.batches + batches * self.targets;
        let ran =
            prog_run::run(program.as_fd(), packet, marks.len() as u32 * BATCH).context("cannot run the driver")?;
        ensure!(ran.retval == self.hook.passes(), "a program returned {}", ran.retval as i32);
        self.batches = marks.end;
        let kept = self.times.len();
        ensure!(marks.len() <= kept as usize, "{} batches, but only {kept} times are kept", marks.len());
        let begins: Vec<u64> = marks.clone().map(|it| self.times.get(&(it % kept), 0)).collect::<Result<_, _>>()?;
        let mut times = [Vec::new(), Vec::new()];
        for (mark, pair) in marks.zip(begins.windows(2)) {
            let of_step = self.plan.step_of(mark / self.targets);
            if step.is_none() || step == of_step {
                times[(mark % self.targets) as usize].push((pair[1] - pair[0]) as f64 / f64::from(BATCH));
            }
        }
        Ok(times)
    }
}

/// The rival: a program that passes everything on and does nothing else.
pub(crate) struct Rival(Ebpf);

impl Rival {
    /// Loads both.
    pub(crate) fn load() -> Result<Self> {
        let mut ebpf = Ebpf::load(OBJECT).context("cannot load the rival")?;
        load(&mut ebpf, Hook::Xdp, "empty")?;
        load(&mut ebpf, Hook::Tc, "empty")?;
        Ok(Self(ebpf))
    }

    /// One of them.
    pub(crate) fn program(&self, hook: Hook) -> Result<&ProgramFd> {
        program(&self.0, hook, "empty")
    }
}

fn name(hook: Hook, what: &str) -> String {
    match hook {
        Hook::Xdp => format!("{what}_xdp"),
        Hook::Tc => format!("{what}_tc"),
    }
}

fn load(ebpf: &mut Ebpf, hook: Hook, what: &str) -> Result<()> {
    let program = ebpf.program_mut(&name(hook, what)).context("not in the object")?;
    match hook {
        Hook::Xdp => <&mut Xdp>::try_from(program)?.load(),
        Hook::Tc => <&mut SchedClassifier>::try_from(program)?.load(),
    }
    .with_context(|| format!("cannot load {}", name(hook, what)))
}

fn program<'a>(ebpf: &'a Ebpf, hook: Hook, what: &str) -> Result<&'a ProgramFd> {
    let program = ebpf.program(&name(hook, what)).context("not in the object")?;
    Ok(match hook {
        Hook::Xdp => <&Xdp>::try_from(program)?.fd()?,
        Hook::Tc => <&SchedClassifier>::try_from(program)?.fd()?,
    })
}
