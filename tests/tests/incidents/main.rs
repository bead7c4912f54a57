//! The suite `incidents`: what one cause does is reported once, with exact counts.
//!
//! `outage` has real sockets, `soak` has them by the thousand, `width` those that are wider than a port, `capture` reads the same from files,
//! `translated` has attempts behind NAT, `ignored` the ignore list, `command` `--on-incident`, `screen` the text as people
//! see it.

mod capture;
mod command;
mod ignored;
mod outage;
mod screen;
mod soak;
mod translated;
mod width;

use std::{collections::HashMap, time::Duration};

use serde_json::Value;
use tcptrace_tests::{
    contract,
    lab::{Finished, Ns, Tracer},
};

/// For what comes by itself; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two tracers on the client's interface, one for people and one for programs.
struct Watch {
    text: Tracer,
    json: Tracer,
}

/// What they said.
struct Account {
    /// Lines of text, without the summary.
    text: Vec<String>,
    attempts: Vec<Value>,
    incidents: Vec<Value>,
    summary: Value,
}

impl Watch {
    #[track_caller]
    fn start(ns: &Ns, interface: &str) -> Self {
        let args = ["-i", interface, "--local", "own"];
        Self { text: Tracer::start(ns, args), json: Tracer::start(ns, args.iter().chain(&["--json"])) }
    }

    #[track_caller]
    fn end(self) -> Account {
        Account::of(&self.text.stop(), &self.json.stop())
    }
}

impl Account {
    #[track_caller]
    fn of(text: &Finished, json: &Finished) -> Self {
        let mut attempts = json.json();
        let incidents = json.incidents();
        attempts.iter().chain(&incidents).for_each(contract::hold);
        let summary = attempts.pop().expect("a summary");
        // A processor that its host stops while it holds a set's lock loses the account of a segment, and counts it.
        let mut losses = summary["losses"].clone();
        losses.as_object_mut().expect("an object").shift_remove("table_contended");
        assert_eq!(losses, serde_json::json!({}));
        attempts.retain(|it| it["type"] == "attempt" || it["type"] == "connect");
        Self { text: text.lines.clone(), attempts, incidents, summary }
    }

    /// The last lines of incidents that no other took over, with their attempts.
    fn ended(&self) -> Vec<&Value> {
        let ended = self.incidents.iter().filter(|it| it["phase"] == "ended" && it["absorbed_by"].is_null());
        ended.collect()
    }

    /// Each incident begins once and ends once, and has the attempts that name it or one that it took over.
    #[track_caller]
    fn assert_exact(&self) {
        let of = |phase: &str| {
            let mut ids: Vec<_> = self.incidents.iter().filter(|it| it["phase"] == phase).map(id).collect();
            ids.sort_unstable();
            ids
        };
        let (begun, ended) = (of("begun"), of("ended"));
        assert_eq!(begun, ended);
        assert!(begun.windows(2).all(|pair| pair[0] < pair[1]), "{begun:?}");
        assert_eq!(self.summary["incidents"]["begun"], begun.len());
        let heirs: HashMap<_, _> =
            self.incidents.iter().filter_map(|it| Some((id(it), it["absorbed_by"].as_u64()?))).collect();
        let heir = |mut id: u64| {
            while let Some(wider) = heirs.get(&id) {
                id = *wider;
            }
            id
        };
        let mut named = HashMap::<u64, usize>::new();
        for line in self.attempts.iter().filter_map(|line| line["incident"].as_u64()) {
            *named.entry(heir(line)).or_default() += 1;
        }
        for it in self.ended() {
            let named = named.get(&id(it)).copied().unwrap_or_default();
            let recovered = it["recovered"].as_u64().expect("a number") as usize;
            assert_eq!(it["attempts"].as_u64().expect("a number") as usize + recovered, named, "{it:#}");
        }
    }
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        least + (self.0 >> 33) % (most - least + 1)
    }
}

fn id(line: &Value) -> u64 {
    line["id"].as_u64().expect("an incident has an id")
}
