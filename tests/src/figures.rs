//! What the benches share: their options, and figures by round, as a table and as JSON.
//!
//! A figure is shown as the median of its rounds with the least and the greatest, and so is its ratio to a rival's in
//! the same round: whatever slows the machine down slows both.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::host;

/// What a bench was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: usize,
    pub json: bool,
    /// Measure, rather than only show that everything runs: `cargo bench` says so, `cargo test` does not.
    pub full: bool,
    /// How long `flood` goes on; the others have times of their own.
    pub seconds: Option<u64>,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// When there is something else in it.
    pub fn read(rounds: usize) -> Result<Self> {
        const USAGE: &str = "usage: [--rounds N] [--seconds N] [--json] [--test]";
        let number = |it: Option<String>| it.and_then(|it| it.parse().ok()).context(USAGE);
        let mut options = Self { rounds, json: false, full: false, seconds: None };
        let mut once = false;
        let mut given = std::env::args().skip(1);
        while let Some(it) = given.next() {
            match it.as_str() {
                "--bench" => options.full = true,
                "--test" => once = true,
                "--json" => options.json = true,
                "--rounds" => options.rounds = number(given.next())?,
                "--seconds" => options.seconds = Some(number(given.next())? as u64),
                it => bail!("unknown argument '{it}': {USAGE}"),
            }
        }
        options.full &= !once;
        if !options.full {
            options.rounds = 1;
        }
        ensure!(options.rounds > 0, "no rounds, no figures: {USAGE}");
        Ok(options)
    }
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// The spread of the figures that are numbers; all three are NaN if there is none.
    #[must_use]
    pub fn of(figures: &[f64]) -> Self {
        let mut sorted: Vec<f64> = figures.iter().copied().filter(|it| it.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let half = sorted.len() / 2;
        let median =
            if sorted.len().is_multiple_of(2) && half > 0 { (at(half - 1) + at(half)) / 2.0 } else { at(half) };
        Self { median, min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }

    /// As an object; what is no number is null.
    #[must_use]
    pub fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.median.is_nan() {
            return f.pad("-");
        }
        let digits = f.precision().unwrap_or(1);
        let Self { median, min, max } = self;
        let text = format!("{median:.digits$} ({min:.digits$} to {max:.digits$})");
        match f.width() {
            Some(width) => write!(f, "{text:>width$}"),
            None => f.write_str(&text),
        }
    }
}

/// A column: its name in JSON, its head in the table, and how many digits it has behind the point.
#[derive(Clone, Copy, Debug)]
pub struct Column(pub &'static str, pub &'static str, pub usize);

/// Figures by row and column, one of each a round.
#[derive(Debug)]
pub struct Table {
    title: String,
    columns: &'static [Column],
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    rival: Option<String>,
    /// By column.
    figures: Vec<Vec<f64>>,
    note: String,
}

impl Table {
    #[must_use]
    pub fn new(title: &str, columns: &'static [Column]) -> Self {
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a round's figures, by column, to a row; in every round there is also its rival's row.
    pub fn add(&mut self, name: &str, rival: Option<&str>, figures: &[f64]) {
        let known = self.rows.iter().position(|it| it.name == name);
        let at = known.unwrap_or_else(|| {
            let (name, rival) = (name.to_owned(), rival.map(str::to_owned));
            self.rows.push(Row { name, rival, figures: vec![Vec::new(); figures.len()], note: String::new() });
            self.rows.len() - 1
        });
        self.rows[at].figures.iter_mut().zip(figures).for_each(|(all, it)| all.push(*it));
    }

    /// Says something of a row, instead of what was said before.
    pub fn note(&mut self, name: &str, note: &str) {
        if let Some(row) = self.rows.iter_mut().find(|it| it.name == name) {
            note.clone_into(&mut row.note);
        }
    }

    /// A row's figures in a column, by round.
    #[must_use]
    pub fn figures(&self, name: &str, column: &str) -> &[f64] {
        let at = self.columns.iter().position(|it| it.0 == column);
        let row = self.rows.iter().find(|it| it.name == name);
        at.zip(row).map_or(&[], |(at, row)| &row.figures[at])
    }

    /// The ratios of a row's figures to another's, by round.
    #[must_use]
    pub fn ratios(&self, name: &str, rival: &str, column: &str) -> Vec<f64> {
        self.figures(name, column).iter().zip(self.figures(rival, column)).map(|(one, other)| one / other).collect()
    }

    /// Prints it: a line a row, and one of the ratios to its rival.
    pub fn print(&self) {
        println!("\n{}", self.title);
        print!("{:<30}", "");
        self.columns.iter().for_each(|it| print!("{:>26}", it.1));
        println!();
        for row in &self.rows {
            print!("{:<30}", row.name);
            for (Column(_, _, digits), figures) in self.columns.iter().zip(&row.figures) {
                print!("{:>26.*}", *digits, Spread::of(figures));
            }
            println!();
            if let Some(rival) = &row.rival {
                print!("{:<30}", format!("  times {rival}"));
                self.columns.iter().for_each(|it| print!("{:>26.3}", Spread::of(&self.ratios(&row.name, rival, it.0))));
                println!();
            }
            if !row.note.is_empty() {
                println!("  {}", row.note);
            }
        }
    }

    #[must_use]
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            let mut object = Map::new();
            object.insert("name".to_owned(), json!(row.name));
            object.insert("rival".to_owned(), json!(row.rival));
            for (Column(name, ..), figures) in self.columns.iter().zip(&row.figures) {
                let mut figure = Spread::of(figures).json();
                if let Some(rival) = &row.rival {
                    figure["times_rival"] = Spread::of(&self.ratios(&row.name, rival, name)).json();
                }
                object.insert((*name).to_owned(), figure);
            }
            object.insert("note".to_owned(), json!(row.note));
            Value::Object(object)
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

/// What a figure is to be. It does not fail the run: a bench on a machine that others use too says what it saw.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
        }
    }
}

/// A bench's account: its tables, and its figures that have goals.
#[derive(Debug, Default)]
pub struct Account {
    pub tables: Vec<Table>,
    goals: Vec<(String, Spread, Goal)>,
}

impl Account {
    /// Adds a figure with its goal.
    pub fn goal(&mut self, what: impl Into<String>, figures: &[f64], goal: Goal) {
        self.goals.push((what.into(), Spread::of(figures), goal));
    }

    /// Prints all of it, or one JSON document.
    pub fn print(&self, options: &Options) {
        if options.json {
            println!("{:#}", self.json(options));
            return;
        }
        println!("{}, kernel {}", host::processor(), host::kernel());
        println!("medians of {} rounds (least to greatest)", options.rounds);
        self.tables.iter().for_each(Table::print);
        println!();
        for (what, figure, goal) in &self.goals {
            let met = if goal.is_met(figure.median) { "met" } else { "NOT MET" };
            println!("{what:<88}{figure:>30.3}  {:<16}{met}", goal.to_string());
        }
    }

    fn json(&self, options: &Options) -> Value {
        let tables: Vec<Value> = self.tables.iter().map(Table::json).collect();
        let goals = self.goals.iter().map(|(what, figure, goal)| {
            let met = goal.is_met(figure.median);
            json!({ "what": what, "figure": figure.json(), "goal": goal.to_string(), "met": met })
        });
        json!({ "machine": host::json(), "rounds": options.rounds, "tables": tables, "goals": goals.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut table = Table::new("", &[Column("time", "time", 1)]);
        for (ours, rival) in [(2.0, 1.0), (40.0, 10.0), (9.0, 3.0)] {
            table.add("rival", None, &[rival]);
            table.add("ours", Some("rival"), &[ours]);
        }
        let json = table.json();
        assert_eq!(json["rows"][1]["time"]["median"], 9.0);
        assert_eq!(json["rows"][1]["time"]["times_rival"], json!({ "median": 3.0, "min": 2.0, "max": 4.0 }));
        assert_eq!(json["rows"][0]["time"].get("times_rival"), None);
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let spread = Spread::of(&[f64::NAN, 1.0, 2.0]);
        assert_eq!(format!("{spread:.1}"), "1.5 (1.0 to 2.0)");
        assert_eq!(Spread::of(&[]).json()["median"], Value::Null);
        assert!(!Goal::AtMost(1.0).is_met(Spread::of(&[]).median));
    }
}
