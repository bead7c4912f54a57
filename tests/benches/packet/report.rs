//! The figures, as a table and as JSON.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{driver::Hook, rows::Row};

/// A row with what was measured: nanoseconds, a figure a round.
pub(crate) struct Timed {
    row: &'static Row,
    rival: Vec<f64>,
    ours: Vec<f64>,
    /// The least share of packets that were what the row says.
    counted: f64,
}

/// A program as the kernel holds it; `None` where it does not say.
pub(crate) struct Loaded {
    pub(crate) name: &'static str,
    pub(crate) verified: Option<u32>,
    pub(crate) translated: Option<u32>,
    pub(crate) jited: u32,
}

/// All that is printed.
pub(crate) struct Report {
    /// The rival without a driver, by hook.
    pub(crate) empty: [u128; 2],
    pub(crate) programs: Vec<Loaded>,
    pub(crate) rows: Vec<Timed>,
}

/// Median, least and greatest of a row's rounds.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Timed {
    pub(crate) fn new(row: &'static Row) -> Self {
        Self { row, rival: Vec::new(), ours: Vec::new(), counted: f64::INFINITY }
    }

    /// Takes a round's batches, the rival's and ours.
    ///
    /// A tenth of the batches is faster than the one kept of a side. A median would measure the neighbours: what shares
    /// this core makes a batch last twice as long, and nothing makes it shorter.
    pub(crate) fn add(&mut self, batches: [Vec<f64>; 2]) {
        let [rival, ours] = batches.map(|mut it| {
            it.sort_by(f64::total_cmp);
            it.get(it.len() / 10).map_or(f64::NAN, |it| it * f64::from(self.row.packets()))
        });
        self.rival.push(rival);
        self.ours.push(ours);
    }

    /// Makes sure that the packets were what the row says.
    pub(crate) fn check(&mut self, counted: u64, of: u32) -> Result<()> {
        let share = counted as f64 / f64::from(of);
        ensure!(share > 0.9, "only {counted} of {of} counted as {:?}", self.row.counts);
        self.counted = self.counted.min(share);
        Ok(())
    }

    fn above(&self) -> Spread {
        let differences: Vec<f64> = self.ours.iter().zip(&self.rival).map(|(ours, rival)| ours - rival).collect();
        Spread::of(&differences)
    }

    fn is_met(&self) -> Option<bool> {
        self.row.goal.map(|goal| self.above().median <= goal)
    }
}

impl Spread {
    fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Self { median: at(sorted.len() / 2), min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl Row {
    /// The name, with the hook in front.
    pub(crate) fn title(&self) -> String {
        let hook = match self.hook {
            Hook::Xdp => "XDP",
            Hook::Tc => "TC",
        };
        format!("{hook} {}", self.name)
    }

    /// How many packets a figure is for.
    fn packets(&self) -> u32 {
        if self.step.is_some() { 1 } else { self.plan.flags.len() as u32 }
    }
}

impl Report {
    pub(crate) fn print(&self) {
        println!("{}, kernel {}", processor(), kernel());
        println!("an empty program alone: {} ns in XDP, {} ns in TC", self.empty[0], self.empty[1]);
        println!();
        println!("{:<20}{:>10}{:>14}{:>10}", "program", "verified", "instructions", "octets");
        let known = |it: Option<u32>| it.map_or("?".to_owned(), |it| it.to_string());
        for it in &self.programs {
            let instructions = known(it.translated.map(|octets| octets / 8));
            println!("{:<20}{:>10}{:>14}{:>10}", it.name, known(it.verified), instructions, it.jited);
        }
        println!();
        println!(
            "{:<44}{:>8}{:>8}{:>8}{:>20}{:>6}",
            "ns, medians of rounds", "rival", "ours", "above", "(min to max)", "goal"
        );
        for it in &self.rows {
            let above = it.above();
            let goal = it.row.goal.map_or(String::new(), |goal| format!("{goal:.0}"));
            let met = it.is_met().map_or("", |it| if it { "met" } else { "NOT MET" });
            println!(
                "{:<44}{:>8.1}{:>8.1}{:>8.1}{:>20}{goal:>6}  {met}",
                it.row.title(),
                Spread::of(&it.rival).median,
                Spread::of(&it.ours).median,
                above.median,
                format!("({:.1} to {:.1})", above.min, above.max),
            );
        }
    }

    pub(crate) fn print_json(&self) {
        let programs: Vec<Value> = self
            .programs
            .iter()
            .map(|it| {
                json!({
                    "name": it.name,
                    "verified_instructions": it.verified,
                    "translated_octets": it.translated,
                    "jited_octets": it.jited,
                })
            })
            .collect();
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|it| {
                json!({
                    "name": it.row.title(),
                    "packets": it.row.packets(),
                    "counted": it.counted,
                    "rival_ns": Spread::of(&it.rival).json(),
                    "ours_ns": Spread::of(&it.ours).json(),
                    "above_ns": it.above().json(),
                    "goal_ns": it.row.goal,
                    "met": it.is_met(),
                })
            })
            .collect();
        let machine = json!({ "processor": processor(), "kernel": kernel() });
        let empty = json!({ "xdp": self.empty[0] as u64, "tc": self.empty[1] as u64 });
        println!("{:#}", json!({ "machine": machine, "empty_ns": empty, "programs": programs, "rows": rows }));
    }
}

fn processor() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown processor".to_owned(), |(_, model)| model.to_owned())
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or("unknown".to_owned(), |it| it.trim().to_owned())
}
