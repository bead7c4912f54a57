//! The same for real: half a minute of it in each test run. `TCPTRACE_ORDINARY_SECONDS=600` plays it for ten minutes,
//! `TCPTRACE_ORDINARY_RATE=400` with 400 short connections a second beside it.
//!
//! Three tracers watch it, at the client, at the router and at the server. docs/no-false-alarm.md has what they told in
//! ten minutes.

use std::{collections::BTreeMap, env, thread, time::Duration};

use serde_json::{Value, json};
use tcptrace_tests::{
    contract,
    lab::{Ns, Tracer},
};

use crate::{
    scenery::{self, Scenery},
    told::{Judgement, TOLD_LIVE, Told},
    words,
};

/// For how long traffic is played.
const SECONDS: u32 = 25;
/// How many short connections a second are made beside it.
const RATE: u32 = 20;
/// As `--stall-after` is, and a sweep or two more.
const STALLS: Duration = Duration::from_secs(5);

/// A kind of line: case, words, cause, confidence.
type Kind = (&'static str, String, String, String);

#[test]
fn only_what_is_justified_is_told_live() {
    let number = |name: &str, usual| env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(usual);
    let seconds = number("TCPTRACE_ORDINARY_SECONDS", SECONDS);
    let scenery = Scenery::new();
    let lab = &scenery.lab;
    let tracer = |ns: &Ns, interfaces: &[&str]| {
        let args = ["--json", "--local", "own"].iter().chain(interfaces);
        Tracer::start(ns, args)
    };
    let tracers = [
        ("client", tracer(&lab.client, &["-i", "eth0"])),
        ("router", tracer(&lab.router, &["-i", "client0", "-i", "server0"])),
        ("server", tracer(&lab.server, &["-i", "eth0"])),
    ];
    let made = scenery.play(Duration::from_secs(seconds.into()), number("TCPTRACE_ORDINARY_RATE", RATE));
    thread::sleep(STALLS);
    let mut failures = String::new();
    let mut told: BTreeMap<(&str, Kind), usize> = BTreeMap::new();
    for (place, tracer) in tracers {
        let lines = tracer.stop().json();
        lines.iter().for_each(contract::hold);
        let (summary, lines) = lines.split_last().expect("there is a summary");
        println!("losses at the {place}: {}", summary["losses"]);
        let mut losses = summary["losses"].clone();
        // A processor that its host stops while it holds a set's lock: one attempt in ten thousand may be lost so.
        let contended = losses.as_object_mut().and_then(|it| it.shift_remove("table_contended"));
        let most = summary["attempts"]["opened"].as_u64().unwrap_or(0) / 10_000;
        if losses != json!({}) || contended.is_some_and(|it| it.as_u64() > Some(most)) {
            failures += &format!("losses at the {place}: {}\n", summary["losses"]);
        }
        for line in lines {
            let kind = kind(line);
            if row(&kind).is_none() {
                failures += &format!("nothing justifies at the {place}: {kind:?}: {line}\n");
            }
            *told.entry((place, kind)).or_default() += 1;
        }
    }
    // A panic would print each of its commands.
    drop(scenery);
    println!("{seconds} s, attempts made: {made:?}");
    for ((place, (case, words, cause, confidence)), count) in &told {
        println!("| {place} | {case} | {words} | {cause} | {confidence} | {count} |");
    }
    for row in TOLD_LIVE.iter().filter(|it| matches!(it.judgement, Judgement::News)) {
        if !told.keys().any(|(_, kind)| (kind.0, kind.1.as_str()) == (row.case, row.words)) {
            failures += &format!("no {} is told as '{}': {}\n", row.case, row.words, row.why);
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn kind(line: &Value) -> Kind {
    let text = |it: &Value| it.as_str().unwrap_or("-").to_owned();
    if line["type"] == "avoided" && line["network"] == scenery::SILENT_NETWORK {
        return ("eyeballs_loser_silent", format!("avoided {}", text(&line["state"])), "-".to_owned(), "-".to_owned());
    }
    let mut words = words(line);
    if line["type"] != "attempt" {
        words = format!("{} {words}", text(&line["type"]));
    }
    let case = scenery::case_of(line["server"]["port"].as_u64().unwrap_or(0));
    (case, words, text(&line["cause"]["name"]), text(&line["cause"]["confidence"]))
}

fn row((case, words, cause, _): &Kind) -> Option<&'static Told> {
    TOLD_LIVE.iter().find(|it| it.case == *case && it.words == words && it.causes.contains(&cause.as_str()))
}
