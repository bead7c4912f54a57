//! The tables that were weighed, beside the one that was taken: `cargo xtask bench candidates`.
//!
//! Each is a program of its own (tcptrace-ebpf's `candidates`), run like those of `packet`: same driver, same packets,
//! in turn with the empty program, the lowest tenth of a round's batches. All run on one processor, or the tables of
//! CPUs would be others. How often a filter says yes wrongly is counted, with data of flows that nobody opened.

#[expect(dead_code, reason = "it is shared, and nobody uses all of it")]
#[path = "packet/driver.rs"]
mod driver;

use std::iter;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::Array,
    programs::{ProgramFd, Xdp},
};
use nix::unistd::Pid;
use tcptrace_core::{segment::Flags, table::WAYS};
use tcptrace_tests::{
    charged, cpu,
    figures::{Account, Column, Options, Table},
    frames,
    generator::PROCESSOR,
};

use crate::driver::{BATCH, Driver, Hook, Order, Plan, Rival};

/// The object that the build script made of tcptrace-ebpf.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-candidates"));

/// How a candidate may answer: indices of its `ANSWERS`.
const MAY_BE_PENDING: u32 = 1;
const KEPT: u32 = 2;

const MIB: f64 = (1 << 20) as f64;

/// A map, and its entries for a number of slots.
type Sizes = (&'static str, fn(u32) -> u32);

/// A program with its maps.
#[derive(Clone, Copy)]
struct Candidate {
    name: &'static str,
    program: &'static str,
    maps: &'static [Sizes],
    bits: u64,
    /// The number of tables, one a CPU.
    tables: u32,
}

const SETS: Sizes = ("SETS", |slots| slots / WAYS as u32);
const SLOTS: Sizes = ("SLOTS", |slots| slots);
const HASH: Sizes = ("HASH", |slots| slots);

const NONE: Candidate = Candidate { name: "no table", program: "none", maps: &[], bits: 64, tables: 1 };
const DIRECTORY: Candidate = Candidate { maps: &[SETS, SLOTS], ..program("directory, lock a set", "directory") };
const BITS_22: Candidate = Candidate { maps: &[("BITS", |_| 1 << 16)], bits: 1 << 22, ..program("2^22 bits", "bits") };
const BITS_24: Candidate = Candidate { maps: &[("BITS", |_| 1 << 18)], bits: 1 << 24, ..program("2^24 bits", "bits") };
const BLOOM: Candidate = Candidate { maps: &[("BLOOM", |slots| slots)], ..program("bloom filter map", "bloom") };
const FOUR_WAYS: Candidate =
    Candidate { maps: &[("FOURS", |slots| slots / 4)], ..program("4 ways, tag in the slot", "four_ways") };
const OWN_CPU: Candidate =
    Candidate { maps: &[SETS, SLOTS], tables: 2, ..program("a table a CPU (2), its own", "own_cpu") };
const HASH_REFUSES: Candidate = Candidate { maps: &[HASH], ..program("HASH, refuses", "hash_refuses") };
const HASH_OLDEST: Candidate =
    Candidate { maps: &[HASH, ("KEYS", |slots| slots)], ..program("HASH, oldest deleted", "hash_oldest") };
const LRU_HASH: Candidate = Candidate { maps: &[("LRU_HASH", |slots| slots)], ..program("LRU_HASH", "lru_hash") };

const fn program(name: &'static str, program: &'static str) -> Candidate {
    Candidate { name, program, ..NONE }
}

const fn every_cpu(name: &'static str, tables: u32) -> Candidate {
    Candidate { maps: &[SETS], tables, ..program(name, "every_cpu") }
}

/// What is asked about data; by those of several hashes no more than by one.
const ASKED: &[Candidate] = &[NONE, DIRECTORY, BITS_22, BITS_24, BLOOM, FOUR_WAYS, OWN_CPU, HASH_REFUSES, LRU_HASH];
/// What keeps attempts; bits and filters only stand in front of it.
const KEEPING: &[Candidate] = &[NONE, DIRECTORY, BITS_24, FOUR_WAYS, OWN_CPU, HASH_OLDEST, HASH_REFUSES, LRU_HASH];
const SEARCHING: &[Candidate] = &[
    NONE,
    DIRECTORY,
    every_cpu("a table a CPU, 2 of them", 2),
    every_cpu("a table a CPU, 8 of them", 8),
    every_cpu("a table a CPU, 64 of them", 64),
];
const OPERATIONS: &[Candidate] = &[
    NONE,
    program("bpf_ktime_get_ns", "clock"),
    program("bpf_ktime_get_coarse_ns", "coarse_clock"),
    program("bpf_jiffies64", "jiffies"),
    program("compare-and-exchange", "exchange"),
];
const GUESSING: &[Candidate] = &[DIRECTORY, BITS_22, BITS_24, BLOOM];

const MANY: Plan = Plan {
    ip_version: 4,
    flags: &[Flags::ACK],
    order: Order::Lag(0),
    flows: 10 * BATCH as u64,
    fresh_isn: false,
    servers: 256,
    first_flow: 0,
};
const ONE: Plan = Plan { ip_version: 0, flows: 1, ..MANY };
const ANSWERS: Plan = Plan { flags: &[Flags::SYN | Flags::ACK], ..MANY };
const SYNS: Plan = Plan { flags: &[Flags::SYN], flows: 0, fresh_isn: true, ..MANY };
/// Those that go before, of flows that no other plan has.
const FIRST_SYNS: Plan = Plan { first_flow: 1 << 40, ..SYNS };
/// Data of flows that never come again.
const STRANGERS: Plan = Plan { flows: 0, ..MANY };

/// Batches of SYNs that make 100,000 attempts.
const PENDING: u32 = 98;
/// The tool's own default, and what a large server wants.
const DEFAULT: u32 = 1 << 18;
const SMALL: u32 = 1 << 14;
const LARGE: u32 = 1 << 20;

/// What is measured: candidates over the same packets.
struct Group {
    title: &'static str,
    plan: Plan,
    /// Slots of each table.
    slots: u32,
    /// Batches of SYNs that go before.
    before: u32,
    /// The answer whose share of all is told.
    answer: u32,
    candidates: &'static [Candidate],
}

const GROUPS: [Group; 7] = [
    data("data of one flow, none pending", ONE, 0),
    data("data of 10,240 flows, none pending", MANY, 0),
    data("data of 10,240 flows, 100,000 pending", MANY, PENDING),
    syn("SYN that makes state, table of 16 k, full", SMALL),
    syn("SYN that makes state, table of 1 M, full", LARGE),
    Group { candidates: SEARCHING, ..data("SYN/ACK of no attempt", ANSWERS, 0) },
    Group { candidates: OPERATIONS, ..data("data of one flow, and one operation", ONE, 0) },
];

const fn data(title: &'static str, plan: Plan, before: u32) -> Group {
    Group { title, plan, slots: DEFAULT, before, answer: MAY_BE_PENDING, candidates: ASKED }
}

const fn syn(title: &'static str, slots: u32) -> Group {
    // Twice the slots: chance leaves few of them empty.
    Group { title, plan: SYNS, slots, before: 2 * slots / BATCH, answer: KEPT, candidates: KEEPING }
}

const COLUMNS: &[Column] = &[
    Column("empty_ns", "empty program, ns", 1),
    Column("above_ns", "above it, ns", 1),
    Column("ratio", "ratio", 2),
    Column("mib", "maps, MiB", 1),
    Column("answer_percent", "yes, or kept, %", 2),
];

/// How many attempts began before strangers are asked about, in batches.
const GUESSES: [u32; 3] = [10, PENDING, 977];
const GUESSED: &[Column] = &[
    Column("after_10_k_percent", "after 10 k SYNs, %", 4),
    Column("after_100_k_percent", "after 100 k, %", 4),
    Column("after_1_m_percent", "after 1 M, %", 4),
];

fn main() -> Result<()> {
    let options = Options::read(7)?;
    cpu::stay_on(PROCESSOR)?;
    let rival = Rival::load()?;
    let mut account = Account::default();
    for group in GROUPS {
        let mut table = Table::new(group.title, COLUMNS);
        for (_, candidate) in (0..options.rounds).flat_map(|round| group.candidates.iter().map(move |it| (round, it))) {
            let context = || format!("{}: {}", group.title, candidate.name);
            let figures = measure(&group, candidate, &rival, options.full).with_context(context)?;
            table.add(candidate.name, None, &figures);
        }
        account.tables.push(table);
    }
    account.tables.push(guess(&options)?);
    account.print(&options);
    Ok(())
}

/// Runs a candidate's round, over maps of its own: in which pages they lie makes more of a difference than what comes by.
fn measure(group: &Group, it: &Candidate, rival: &Rival, full: bool) -> Result<[f64; COLUMNS.len()]> {
    let (slots, before, batches) =
        if full { (group.slots, group.before, 128) } else { (SMALL, group.before.min(1), 2) };
    let others = charged::of_process(Pid::this())?;
    let loaded = Loaded::new(it, slots)?;
    let mib = (charged::of_process(Pid::this())? - others) as f64 / MIB;
    if before > 0 {
        Driver::new(Hook::Xdp, &FIRST_SYNS, &[loaded.program()?])?.run(&frames::syn(4), before, None)?;
    }
    let frame = if group.answer == KEPT { frames::syn(4) } else { frames::data(4, 64) };
    let mut driver = Driver::new(Hook::Xdp, &group.plan, &[rival.program(Hook::Xdp)?, loaded.program()?])?;
    // What comes first warms up.
    driver.run(&frame, batches, None)?;
    let answers = loaded.answers(group.answer)?;
    let [empty, ours] = driver.run(&frame, batches, None)?.map(lowest_tenth);
    let answers = loaded.answers(group.answer)? - answers;
    Ok([empty, ours - empty, ours / empty, mib, percent(answers, batches)])
}

/// The share of packets of unknown flows that would go on to a table, after ever more SYNs.
fn guess(options: &Options) -> Result<Table> {
    let batches = if options.full { 1 << 12 } else { 2 };
    let mut table = Table::new("data that goes on to the table for nothing", GUESSED);
    for it in GUESSING {
        for _ in 0..options.rounds.min(3) {
            let loaded = Loaded::new(it, DEFAULT)?;
            let mut syns = Driver::new(Hook::Xdp, &FIRST_SYNS, &[loaded.program()?])?;
            let mut strangers = Driver::new(Hook::Xdp, &STRANGERS, &[loaded.program()?])?;
            let mut shares = [0.0; GUESSES.len()];
            for ((share, until), from) in shares.iter_mut().zip(GUESSES).zip(iter::once(0).chain(GUESSES)) {
                syns.run(&frames::syn(4), until - from, None)?;
                let before = loaded.answers(MAY_BE_PENDING)?;
                strangers.run(&frames::data(4, 64), batches, None)?;
                *share = percent(loaded.answers(MAY_BE_PENDING)? - before, batches);
            }
            table.add(it.name, None, &shares);
        }
    }
    Ok(table)
}

/// A tenth of the batches is faster than this one.
fn lowest_tenth(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 10).copied().unwrap_or(f64::NAN)
}

fn percent(answers: u64, batches: u32) -> f64 {
    100.0 * answers as f64 / f64::from(batches * BATCH)
}

/// A candidate as userspace holds it.
struct Loaded {
    ebpf: Ebpf,
    program: &'static str,
}

impl Loaded {
    /// Maps of other candidates have one entry.
    fn new(it: &Candidate, slots: u32) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        let (slot_mask, bit_mask) = (u64::from(slots - 1), it.bits - 1);
        loader.override_global("SLOT_MASK", &slot_mask, true);
        loader.override_global("BIT_MASK", &bit_mask, true);
        loader.override_global("TABLES", &it.tables, true);
        for (map, entries) in it.maps {
            loader.map_max_entries(map, entries(slots) * it.tables);
        }
        let mut ebpf = loader.load(OBJECT).context("cannot load the candidates' maps")?;
        let xdp: &mut Xdp = ebpf.program_mut(it.program).context("not in the object")?.try_into()?;
        xdp.load().context("cannot load the program")?;
        Ok(Self { ebpf, program: it.program })
    }

    fn program(&self) -> Result<&ProgramFd> {
        let xdp: &Xdp = self.ebpf.program(self.program).context("not in the object")?.try_into()?;
        Ok(xdp.fd()?)
    }

    /// How often it gave an answer.
    fn answers(&self, answer: u32) -> Result<u64> {
        let answers = Array::<_, u64>::try_from(self.ebpf.map("ANSWERS").context("no ANSWERS in the object")?)?;
        Ok(answers.get(&answer, 0)?)
    }
}
