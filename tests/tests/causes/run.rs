//! Runs rows, each once, whoever asks first: its own test or the matrix.

use std::panic;
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::Value;

use crate::judge::{self, Verdict};
use crate::scenario::{Scenario, Told};
use crate::scene::Scene;
use crate::table::TABLE;

/// What a row came to.
#[derive(Debug)]
pub(crate) struct Record {
    /// What was said, in order; empty where nothing was.
    pub(crate) said: Vec<Verdict>,
    /// What is wrong with it.
    pub(crate) faults: Vec<String>,
}

/// By the row's place in the table.
static RECORDS: [OnceLock<Record>; TABLE.len()] = [const { OnceLock::new() }; TABLE.len()];

/// What a row came to: made by whoever asks first, while the others wait.
pub(crate) fn record(number: usize) -> &'static Record {
    RECORDS[number].get_or_init(|| {
        // A panic would leave the slot empty, and the next to ask would make it all again.
        panic::catch_unwind(|| run(&TABLE[number])).unwrap_or_else(|payload| {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref().copied()).unwrap_or("a panic without words");
            Record { said: Vec::new(), faults: vec![format!("it was not made: {text}")] }
        })
    })
}

/// A row's own test.
#[track_caller]
pub(crate) fn test(name: &str) {
    let number = TABLE.iter().position(|row| row.name == name).expect("each test is a row");
    let faults = &record(number).faults;
    assert!(faults.is_empty(), "{name}:\n{}", faults.join("\n"));
}

fn run(scenario: &Scenario) -> Record {
    let began = Instant::now();
    let scene = Scene::new(scenario);
    let socket = (scenario.make)(&scene);
    assert_eq!(socket, scenario.socket, "what became of the socket");
    match scenario.told {
        Told::Ended(_) => drop(scene.wait("attempt")),
        Told::Stalled(_) => drop(scene.wait("stall")),
        Told::Connect => drop(scene.wait("connect")),
        Told::Open(_) | Told::Nothing => {}
    }
    let lines = scene.end();
    let mut faults = told(scenario, &lines);
    let said: Vec<_> = lines.iter().filter_map(Verdict::of).collect();
    faults.extend(judge::judge(scenario, &lines, &said));
    if !faults.is_empty() {
        faults.extend(lines.iter().map(|line| format!("{line:#}")));
    }
    if std::env::var_os("TCPTRACE_SHOW_LINES").is_some() {
        lines.iter().for_each(|line| eprintln!("{}: {line}", scenario.name));
        eprintln!("{}: {:?}", scenario.name, began.elapsed());
    }
    Record { said, faults }
}

/// Holds what is listed against what was to be, apart from causes.
fn told(scenario: &Scenario, lines: &[Value]) -> Vec<String> {
    let last = lines.last().map(|it| (it["type"].as_str().unwrap_or_default(), it["outcome"].as_str()));
    let expected = match scenario.told {
        Told::Nothing => None,
        Told::Connect => Some(("connect", Some("not_sent"))),
        Told::Ended(outcome) | Told::Stalled(outcome) | Told::Open(outcome) => Some(("attempt", Some(outcome))),
    };
    (last != expected).then(|| format!("told as {last:?}, to be {expected:?}")).into_iter().collect()
}
