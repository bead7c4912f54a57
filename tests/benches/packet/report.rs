//! The figures, as a table and as JSON.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tcptrace_tests::host;

use crate::{driver::BATCH, rows::Row, unprivileged::Unprivileged};

/// A row with what was measured: nanoseconds a packet, or a flow's packets where the row is about all of them.
pub(crate) struct Timed {
    row: Row,
    /// The lowest tenth of each round's batches, of the rival and of ours. A median would measure the neighbours: what
    /// shares this core makes a batch last twice as long, and nothing makes it shorter.
    rival: Vec<f64>,
    ours: Vec<f64>,
    /// All batches of all rounds; a batch's figure is its packets' mean.
    batches: [Vec<f64>; 2],
    /// How much each batch of ours took longer than the rival's before it.
    differences: Vec<f64>,
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
    pub(crate) unprivileged: Unprivileged,
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
    pub(crate) fn new(row: Row) -> Self {
        let [rival, ours, differences, one, other] = [const { Vec::new() }; 5];
        Self { row, rival, ours, differences, batches: [one, other], counted: f64::INFINITY }
    }

    /// Takes a round's batches, the rival's and ours.
    pub(crate) fn add(&mut self, round: [Vec<f64>; 2]) {
        let [rival, ours] = round.map(|it| it.iter().map(|it| it * f64::from(self.row.packets())).collect::<Vec<_>>());
        self.rival.push(quantile(&rival, DECILE));
        self.ours.push(quantile(&ours, DECILE));
        self.differences.extend(ours.iter().zip(&rival).map(|(ours, rival)| ours - rival));
        self.batches[0].extend(rival);
        self.batches[1].extend(ours);
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

    /// Rival, ours, above and ratio: of the lowest tenths, then of all batches half and 99 %. Above is the median of the
    /// rounds' differences, then a quantile of the batches' differences; ratio is ours by the rival's.
    fn figures(&self) -> [[f64; 4]; 3] {
        let [rival, ours] = [&self.rival, &self.ours].map(|it| Spread::of(it).median);
        let of_all = |share: f64| {
            let [rival, ours] = [0, 1].map(|it| quantile(&self.batches[it], share));
            [rival, ours, quantile(&self.differences, share), ours / rival]
        };
        [[rival, ours, self.above().median, ours / rival], of_all(0.5), of_all(0.99)]
    }

    fn is_met(&self) -> Option<bool> {
        self.row.goal.map(|goal| self.above().median <= goal)
    }
}

/// The share of a round's batches that is faster than the one kept.
pub(crate) const DECILE: f64 = 0.1;

/// The figure below which this share of them is.
pub(crate) fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
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
        format!("{} {}{}", self.hook.name(), self.name, self.place)
    }

    /// How many packets a figure is for.
    fn packets(&self) -> u32 {
        if self.step.is_some() { 1 } else { self.plan.flags.len() as u32 }
    }
}

impl Report {
    pub(crate) fn print(&self) {
        println!("{}, kernel {}", host::processor(), host::kernel());
        println!("an empty program alone: {} ns in XDP, {} ns in TC", self.empty[0], self.empty[1]);
        println!();
        println!("{:<20}{:>10}{:>14}{:>10}", "program", "verified", "instructions", "octets");
        let known = |it: Option<u32>| it.map_or("?".to_owned(), |it| it.to_string());
        for it in &self.programs {
            let instructions = known(it.translated.map(|octets| octets / 8));
            println!("{:<20}{:>10}{:>14}{:>10}", it.name, known(it.verified), instructions, it.jited);
        }
        println!();
        self.unprivileged.print();
        println!();
        println!("nanoseconds, the driver's that makes the packet included, in both; ratio is ours by the rival's");
        println!(
            "lowest tenth: of a round's batches of {BATCH} packets, the one that a tenth is faster than; medians of rounds"
        );
        println!(
            "p50, p99: of all batches of all rounds; above: of the differences between batches that follow each other"
        );
        println!("     a batch that others take the processor from in its middle is longer by microseconds a packet");
        let heads = ["lowest tenth", "p50", "p99"].map(|it| format!("{it:^30}")).concat();
        println!("{:<50}{heads}", "");
        let heads = ["rival", "ours", "above", "ratio"].map(|it| format!("{it:>7}")).concat();
        println!("{:<50}{heads}  {heads}  {heads}  {:>18}{:>6}", "", "above, min to max", "goal");
        for it in &self.rows {
            let above = it.above();
            let figures = it
                .figures()
                .map(|[rival, ours, above, ratio]| format!("{rival:>7.1}{ours:>7.1}{above:>7.1}{ratio:>7.2}  "))
                .concat();
            let range = format!("{:.1} to {:.1}", above.min, above.max);
            let goal = it.row.goal.map_or(String::new(), |goal| format!("{goal:.0}"));
            let met = it.is_met().map_or("", |it| if it { "met" } else { "NOT MET" });
            println!("{:<50}{figures}{range:>18}{goal:>6}  {met}", it.row.title());
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
                let named = |[rival, ours, above, ratio]: [f64; 4]| {
                    json!({ "rival_ns": rival, "ours_ns": ours, "above_ns": above, "ratio": ratio })
                };
                let [_, p50, p99] = it.figures().map(named);
                json!({
                    "name": it.row.title(),
                    "packets": it.row.packets(),
                    "counted": it.counted,
                    "rival_ns": Spread::of(&it.rival).json(),
                    "ours_ns": Spread::of(&it.ours).json(),
                    "above_ns": it.above().json(),
                    "ratio": it.figures()[0][3],
                    "p50": p50,
                    "p99": p99,
                    "batches": it.differences.len(),
                    "goal_ns": it.row.goal,
                    "met": it.is_met(),
                })
            })
            .collect();
        let empty = json!({ "xdp": self.empty[0] as u64, "tc": self.empty[1] as u64 });
        let without = self.unprivileged.json();
        println!(
            "{:#}",
            json!({
                "machine": host::json(),
                "empty_ns": empty,
                "programs": programs,
                "without_cap_perfmon": without,
                "rows": rows,
            })
        );
    }
}
