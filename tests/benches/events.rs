//! What an event costs userspace, from the ring of the kernel side to a report: nanoseconds and allocations.
//!
//! The kernel side fills the ring, which nobody reads meanwhile, with attempts refused, aborted and completed; then it is
//! emptied, on one core. All stages but the last are functions called in a row; that is the reader as a session has it. Needs root. Without `--bench`, which `cargo bench` passes, everything is run once, with few events.

use std::{
    env,
    hint::black_box,
    os::fd::AsFd as _,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    maps::{MapData, RingBuf},
    programs::ProgramFd,
};
use serde_json::json;
use tcptrace::{
    live::{
        decode,
        events::{self, Decoded, Reader},
        kernel::{Kernel, Program, Settings},
    },
    track::Tracker,
};
use tcptrace_core::{event::Event, flood::Policy, segment::Link};
use tcptrace_tests::{
    allocations::{self, Counting},
    host, prog_run,
    scenario::{self, Family, Setting},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Events a second that one core is to take.
const GOAL: f64 = 2e6;

/// A stage's rounds.
struct Stage {
    name: &'static str,
    /// Nanoseconds an event, by round.
    nanos: Vec<f64>,
    /// Allocations an event, in the last round: what grows to its size has grown.
    allocations: f64,
}

/// The kernel side, and what it is shown.
struct Source {
    kernel: Kernel,
    program: ProgramFd,
    /// Flows of each kind and version of IP.
    ports: u16,
    round: u32,
}

impl Source {
    fn load(ports: u16) -> Result<(Self, RingBuf<MapData>)> {
        let mut kernel = Kernel::load(&Settings { tell_all: true, flood: Some(Policy::NEVER), ..Settings::default() })?;
        let ring = kernel.take_events().context("the object has no ring of events")?;
        let program = kernel.xdp(Program::XdpIngressFrags)?.fd()?.try_clone()?;
        Ok((Self { kernel, program, ports, round: 0 }, ring))
    }

    /// Fills the ring with each flow's next attempt. The first filling has fewer events: nothing is superseded.
    fn fill(&mut self) -> Result<()> {
        const TEXT: &str = "refused\n C > S SYN |\n S > C RST/ACK seq=0 |\n = nothing\n\
                            aborted\n C > S SYN |\n C > S RST |\n = nothing\n\
                            completed\n C > S SYN |\n S > C SYN/ACK |\n C > S ACK |\n = nothing\n";
        self.round += 1;
        for (kind, scenario) in (0..).zip(scenario::parse(TEXT).map_err(anyhow::Error::msg)?) {
            for port in 1..=self.ports {
                for family in [Family::V4, Family::V6] {
                    let isn = self.round << 16;
                    let client_port = kind * self.ports + port;
                    let setting = Setting { isn, client_port, ..Setting::new(family) };
                    for step in &scenario.steps {
                        prog_run::run(self.program.as_fd(), &step.frame(&setting, Link::Ethernet), 1)?;
                    }
                }
            }
        }
        ensure!(self.kernel.tally()?.lost.iter().all(|it| *it == 0), "the ring is too small");
        Ok(())
    }
}

impl Stage {
    const fn new(name: &'static str) -> Self {
        Self { name, nanos: Vec::new(), allocations: 0.0 }
    }

    /// Runs a round, which says how many events it had.
    fn round(&mut self, run: impl FnOnce() -> Result<usize>) -> Result<()> {
        let before = allocations::so_far();
        let started = Instant::now();
        let events = run()? as f64;
        let (nanos, allocations) = (started.elapsed().as_nanos() as f64, allocations::so_far() - before);
        self.nanos.push(nanos / events);
        self.allocations = allocations as f64 / events;
        Ok(())
    }

    /// Nanoseconds: median, least, most.
    fn spread(&self) -> [f64; 3] {
        let mut nanos = self.nanos.clone();
        nanos.sort_by(f64::total_cmp);
        [nanos[nanos.len() / 2], nanos[0], nanos[nanos.len() - 1]]
    }

    fn is_met(&self) -> bool {
        1e9 / self.spread()[0] >= GOAL
    }
}

fn main() -> Result<()> {
    let given = |option: &str| env::args().any(|it| it == option);
    let (ports, rounds) = if given("--bench") { (2_900, 15) } else { (10, 1) };
    let (mut source, mut ring) = Source::load(ports)?;
    let mut stages = vec![
        Stage::new("decode"),
        Stage::new("ring, decode"),
        Stage::new("decode, track"),
        Stage::new("ring, decode, track"),
    ];
    let mut records = Vec::new();
    for _ in 0..2 {
        source.fill()?;
        records.clear();
        while let Some(record) = ring.next() {
            records.extend_from_slice(&record);
        }
    }
    let count = records.len() / size_of::<Event>();
    let mut tracker = Tracker::new(prog_run::now(), Settings::default().stall_after, true);
    for _ in 0..rounds {
        let all = || records.chunks_exact(size_of::<Event>());
        stages[0].round(|| Ok(all().filter_map(|it| black_box(decode::event(black_box(it)))).count()))?;
        source.fill()?;
        stages[1].round(|| Ok(drain(&mut ring, |it| _ = black_box(it))))?;
        stages[2].round(|| {
            let told = all().filter_map(|it| decode::event(black_box(it)));
            Ok(told.map(|it| track(&mut tracker, it)).count())
        })?;
        source.fill()?;
        stages[3].round(|| Ok(drain(&mut ring, |it| track(&mut tracker, it))))?;
    }
    ensure!(stages[..2].iter().all(|it| it.allocations == 0.0), "decoding allocates");
    stages.push(in_a_session(&mut source, ring, &mut tracker, count, rounds)?);
    if given("--json") {
        print_json(&stages, count);
    } else {
        print(&stages, count);
    }
    Ok(())
}

fn track(tracker: &mut Tracker, (transition, event): Decoded) {
    black_box(tracker.event(transition, &event));
}

fn drain(ring: &mut RingBuf<MapData>, mut take: impl FnMut(Decoded)) -> usize {
    let mut count = 0;
    while let Some(record) = ring.next() {
        if let Some(told) = decode::event(&record) {
            take(told);
            count += 1;
        }
    }
    count
}

/// The reader among all else that a session awaits, and the tracker, on one thread.
fn in_a_session(
    source: &mut Source,
    ring: RingBuf<MapData>,
    tracker: &mut Tracker,
    count: usize,
    rounds: usize,
) -> Result<Stage> {
    let mut stage = Stage::new("ring, decode, track, beside all that a session awaits");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reader = runtime.block_on(async { Reader::new(ring) })?;
    let mut waits = runtime.block_on(async { Waits::new() })?;
    for _ in 0..rounds {
        source.fill()?;
        // The reader rests when it has read all: the time is from when it is ready on.
        runtime.block_on(waits.ready(&mut reader))?;
        stage.round(|| {
            let mut left = count;
            runtime.block_on(async {
                loop {
                    for _ in 0..events::BATCH {
                        let Some(told) = reader.read() else { break };
                        track(tracker, told);
                        left -= 1;
                    }
                    if left == 0 {
                        return Ok(count);
                    }
                    waits.ready(&mut reader).await?;
                }
            })
        })?;
        // It has to find the end.
        ensure!(reader.read().is_none(), "more events than there were");
    }
    Ok(stage)
}

/// What a session awaits beside events; none of it comes.
struct Waits {
    signals: [Signal; 4],
    ticks: [time::Interval; 2],
    limit: Pin<Box<time::Sleep>>,
    failure: (oneshot::Sender<()>, oneshot::Receiver<()>),
}

impl Waits {
    fn new() -> Result<Self> {
        const LONG: Duration = Duration::from_secs(86_400);
        let kinds =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::user_defined1()];
        let [one, two, three, four] = kinds.map(signal);
        let tick = || time::interval_at(time::Instant::now() + LONG, LONG);
        Ok(Self {
            signals: [one?, two?, three?, four?],
            ticks: [tick(), tick()],
            limit: Box::pin(time::sleep(LONG)),
            failure: oneshot::channel(),
        })
    }

    async fn ready(&mut self, reader: &mut Reader) -> Result<()> {
        let [interrupt, terminate, hangup, user1] = &mut self.signals;
        let [sweep, packets] = &mut self.ticks;
        tokio::select! {
            ready = reader.ready() => ready.context("the ring cannot be polled"),
            _ = sweep.tick() => bail!("a day has passed"),
            _ = packets.tick() => bail!("a day has passed"),
            _ = &mut self.failure.1 => bail!("nobody fails"),
            _ = user1.recv() => bail!("a signal"),
            () = &mut self.limit => bail!("a day has passed"),
            () = async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            } => bail!("a signal"),
        }
    }
}

fn print(stages: &[Stage], count: usize) {
    println!("{}, kernel {}", host::processor(), host::kernel());
    println!(
        "{count} events a round, medians of {} rounds; goal: {:.0} M events/s and core",
        stages[0].nanos.len(),
        GOAL / 1e6
    );
    println!("{:<52}{:>10}{:>18}{:>12}{:>13}", "", "ns/event", "min to max", "events/s", "allocations");
    for it in stages {
        let [median, least, most] = it.spread();
        let range = format!("{least:.1} to {most:.1}");
        let met = if it.is_met() { "met" } else { "NOT MET" };
        println!("{:<52}{median:>10.1}{range:>18}{:>12.0}{:>13.3}  {met}", it.name, 1e9 / median, it.allocations);
    }
}

fn print_json(stages: &[Stage], count: usize) {
    let rows = stages.iter().map(|it| {
        let [median, min, max] = it.spread();
        json!({
            "name": it.name,
            "ns_per_event": { "median": median, "min": min, "max": max },
            "events_per_second": 1e9 / median,
            "allocations_per_event": it.allocations,
            "met": it.is_met(),
        })
    });
    let rows: Vec<_> = rows.collect();
    println!("{:#}", json!({ "machine": host::json(), "events": count, "goal_events_per_second": GOAL, "rows": rows }));
}
