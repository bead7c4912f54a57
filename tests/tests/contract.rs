//! The JSON contract does not shrink: what its first version promises, the schema that is printed promises as well.
//!
//! That lines are what either says is held by every suite that sees one (`tcptrace_tests::contract::hold`).

use std::collections::BTreeSet;

use serde_json::Value;
use tcptrace_tests::contract::{fields, first, printed};

/// Definitions that readers may refer to by name.
const DEFINITIONS: [&str; 12] = [
    "attempt",
    "connect",
    "finding",
    "flood",
    "scan",
    "avoided",
    "summary",
    "diagnosis",
    "outcome",
    "cause",
    "scope",
    "endpoint",
];

/// Causes of the first version that have other names now; CHANGELOG.md says which.
const RENAMED: [&str; 1] = ["no_route_or_local_block"];

/// Types of lines that the first version has not.
const TYPES: [&str; 1] = ["incident"];

/// Fields that the first version has not.
const ADDED: &[&str] = &[
    "attempt.incident",
    "attempt.translated",
    "translated.client",
    "translated.client.ip",
    "translated.client.port",
    "translated.server",
    "translated.server.ip",
    "translated.server.port",
    "connect.incident",
    "summary.incidents",
    "summary.interfaces_gone",
    "incidents.begun",
    "incidents.running",
    "incidents.merged",
    "summary.on_incident",
    "on_incident.runs",
    "on_incident.failed",
    "on_incident.skipped",
    "summary.ignored",
    "ignored.[]",
    "ignored.[].attempts",
    "ignored.[].filter",
    "ignored.[].has_expired",
    "ignored.[].reason",
    "ignored.[].until",
    "process.container_name",
    "process.namespace",
    "process.pod",
    "local.client_netns",
    "local.server_netns",
    "attempts.unlisted",
    "connect.outcome",
    "connect.errno",
    "counters.reverse_path_drops",
    "counters.no_routes_out",
    "counters.checksum_errors",
    "counters.conntrack_drops",
    "counters.conntrack_insert_failed",
    "counters.conntrack_entries",
    "counters.conntrack_limit",
    "drops.[].fits",
    "drops.[].packet",
    "drops.[].netns",
    "local.listening_at",
    "local.listening_at.[]",
    "local.rules",
    "cause.recorded",
    "attempts.second_syn",
    "attempts.second_syn_ack",
    "attempts.out_of_order",
    "summary.tunnels",
    "summary.tunnels.*",
    "summary.times",
    "times.first_syn_to_synack",
    "times.syn_to_synack",
    "times.synack_to_ack",
    ".p50_s",
    ".p90_s",
    ".p99_s",
    "local.rules.[]",
    "local.rules.[].chain",
    "local.rules.[].family",
    "local.rules.[].grew",
    "local.rules.[].handle",
    "local.rules.[].hook",
    "local.rules.[].packets",
    "local.rules.[].rejects",
    "local.rules.[].table",
];

/// What findings have in common with incidents.
const OF_INCIDENTS: [&str; 10] =
    ["id", "phase", "at", "still_open", "symptom", "width", "outcomes", "clients", "rate", "working"];

/// Whether a field is one that findings have in common with incidents, or below one.
fn is_of_incidents(path: &str) -> bool {
    let field = ["flood.", "scan.", "avoided.", "findings.[]."].iter().find_map(|it| path.split_once(it));
    field.is_some_and(|(_, field)| OF_INCIDENTS.contains(&field.split('.').next().unwrap_or_default()))
}

#[test]
fn every_field_of_the_first_version_is_still_there() {
    let (first, printed) = (fields(&first()), fields(&printed()));
    assert!(first.len() > 250, "the walk found {} fields", first.len());
    let mut wrong = Vec::new();
    for (path, then) in &first {
        let Some(now) = printed.get(path) else {
            wrong.push(format!("{path}: gone"));
            continue;
        };
        if !now.types.is_subset(&then.types) {
            wrong.push(format!("{path}: {:?} was {:?}", now.types, then.types));
        }
        let then_words: BTreeSet<_> = then.words.iter().filter(|word| !RENAMED.contains(&word.as_str())).collect();
        if !then_words.iter().all(|word| now.words.contains(*word)) || then.words.is_empty() != now.words.is_empty() {
            wrong.push(format!("{path}: {:?} was {:?}", now.words, then.words));
        }
        if !then.required.is_subset(&now.required) {
            wrong.push(format!("{path}: requires {:?}, did {:?}", now.required, then.required));
        }
        if (&now.pattern, now.is_closed) != (&then.pattern, then.is_closed) {
            wrong.push(format!("{path}: {now:?} was {then:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_has_been_added_to_the_first_version_is_listed() {
    let (first, printed) = (fields(&first()), fields(&printed()));
    let is_new = |path: &str| path.split('.').next().is_some_and(|it| TYPES.contains(&it));
    let is_listed =
        |path: &str| is_new(path) || is_of_incidents(path) || ADDED.iter().any(|added| path.ends_with(added));
    let added: Vec<_> = printed.keys().filter(|path| !first.contains_key(*path) && !is_listed(path)).collect();
    assert!(added.is_empty(), "write these into CHANGELOG.md and into `ADDED`: {added:?}");
    for listed in ADDED {
        assert!(printed.keys().any(|path| path.ends_with(listed)), "{listed} is in `ADDED`, and not printed");
    }
}

#[test]
fn the_definitions_have_the_names_they_had() {
    let printed = printed();
    for name in DEFINITIONS {
        assert!(printed["$defs"].get(name).is_some_and(Value::is_object), "{name}");
    }
}
