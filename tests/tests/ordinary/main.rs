//! The suite `ordinary`: 24 hours in which nothing is wrong, and what is told of them all the same.
//!
//! `day` makes the traffic of scenarios, `told` is the list of what may be told, each line with its reason;
//! `live` is the same for real, played by `scenery`. Nothing here
//! says what a failure looks like: the other suites do. Whoever makes the tracer quieter takes rows out of `told`.

mod day;
mod live;
mod scenery;
mod told;

use std::collections::BTreeMap;

use day::{Day, NO_WAY_NETWORK, SILENT_NETWORK};
use serde_json::{Value, json};
use tcptrace_tests::pcap;
use tcptrace_vocabulary::outcome::Outcome;
use told::{Judgement, TOLD};

/// What a line says of an attempt, as [`TOLD`] writes it: outcome, stage, by what it was stalled, whether it recovered.
fn words(line: &Value) -> String {
    let text = |it: &Value| it.as_str().map(str::to_owned);
    let mut words = vec![text(&line["outcome"]).unwrap_or_else(|| line["type"].to_string())];
    words.extend(text(&line["stage"]));
    words.extend(text(&line["stalled"]["by"]));
    words.extend((line["recovered"] == true).then(|| "recovered".to_owned()));
    words.extend((line["trust"]["still_open"] == true).then(|| "still_open".to_owned()));
    words.join(" ")
}

#[test]
fn only_what_is_justified_is_told() {
    let day = Day::new(1);
    let read = pcap::read(&day.capture.store().0, &[]);
    assert_eq!((read.code, &read.stderr[..]), (Some(0), ""));
    assert_eq!(read.summary["losses"], json!({}));

    let mut told: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let mut causes: BTreeMap<[String; 4], usize> = BTreeMap::new();
    let mut failures = String::new();
    let (findings, lines): (Vec<_>, Vec<_>) = read.lines.iter().partition(|it| it["type"] == "avoided");
    for line in lines {
        let case = day.case_of(&line["client"]["ip"], &line["client"]["port"]);
        let words = words(line);
        let row = TOLD.iter().find(|it| (it.case, it.words) == (case, &words));
        // Reports without causes have nothing to be wrong about.
        if let (Some(row), Some(cause)) = (row, line["cause"]["name"].as_str())
            && !row.causes.contains(&cause)
        {
            failures += &format!("{case} is told as '{words}' because of '{cause}', not {:?}: {line}\n", row.causes);
        }
        let because = |key: &str| line["cause"][key].as_str().unwrap_or("-").to_owned();
        *causes.entry([case.to_owned(), words.clone(), because("name"), because("confidence")]).or_default() += 1;
        *told.entry((case, words)).or_default() += 1;
    }
    assert_eq!(read.summary["attempts"]["overtaken"], day.overtaken(), "nobody waited for these");
    let of = |network: &str| findings.iter().filter(|it| it["network"] == network).count();
    println!("findings: {} of {SILENT_NETWORK}, {} of {NO_WAY_NETWORK}", of(SILENT_NETWORK), of(NO_WAY_NETWORK));
    assert_eq!((of(SILENT_NETWORK), of(NO_WAY_NETWORK)), (2, findings.len() - 2), "{findings:#?}");
    // For docs/no-false-alarm.md, with `--nocapture`.
    for ([case, words, cause, confidence], count) in &causes {
        println!("| {case} | {words} | {cause} | {confidence} | {count} of {} |", day.count(case));
    }
    for ((case, words), count) in &told {
        if !TOLD.iter().any(|it| (it.case, it.words) == (case, words)) {
            failures += &format!("nothing justifies that {count} of {case} are told as '{words}'\n");
        }
    }
    for row in TOLD {
        let count = told.get(&(row.case, row.words.to_owned())).copied().unwrap_or(0);
        let there_are = day.count(row.case);
        let fits = match row.judgement {
            Judgement::News => count == there_are,
            Judgement::Noise => count <= there_are,
        };
        if !fits || there_are == 0 {
            failures += &format!("{count} of {there_are} {} are told as '{}': {}\n", row.case, row.words, row.why);
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// What is not told is counted: every conversation is in the summary, as its scenario ends.
#[test]
fn every_conversation_is_counted() {
    let day = Day::new(2);
    assert!(day.conversations() > 40_000, "{}", day.conversations());
    let read = pcap::read(&day.capture.store().0, &[]);
    let expected = day.outcomes();
    let by_outcome = &read.summary["attempts"]["by_outcome"];
    for outcome in Outcome::ALL {
        let is = by_outcome[outcome.name()].as_u64().unwrap_or(0);
        assert_eq!(is, expected.get(outcome.name()).copied().unwrap_or(0), "{}: {by_outcome}", outcome.name());
    }
}
