//! The same for real: half a minute of it in each test run, ten minutes with `TCPTRACE_ORDINARY_SECONDS=600`.
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
const SECONDS: u64 = 25;
/// As `--stall-after` is, and a sweep or two more.
const STALLS: Duration = Duration::from_secs(5);

/// A kind of line: case, words, cause, confidence.
type Kind = (&'static str, String, String, String);

#[test]
fn only_what_is_justified_is_told_live() {
    let seconds = env::var("TCPTRACE_ORDINARY_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(SECONDS);
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
    let made = scenery.play(Duration::from_secs(seconds));
    thread::sleep(STALLS);
    let mut failures = String::new();
    let mut told: BTreeMap<(&str, Kind), usize> = BTreeMap::new();
    for (place, tracer) in tracers {
        let lines = tracer.stop().json();
        lines.iter().for_each(contract::hold);
        let (summary, lines) = lines.split_last().expect("there is a summary");
        assert_eq!(summary["losses"], json!({}), "{place}");
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
