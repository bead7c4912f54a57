//! Whether what was said is right: the one place that knows what `cause` and `scope` look like in JSON.

use serde_json::Value;
use tcptrace_vocabulary::cause::{Cause, Confidence};

use crate::scenario::{Place, Right, Scenario};

/// What one line says of the cause.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) cause: Cause,
    pub(crate) confidence: Confidence,
    pub(crate) scope: String,
    pub(crate) evidence: String,
}

impl Verdict {
    /// Panics at a word that is not in the vocabulary.
    pub(crate) fn of(line: &Value) -> Option<Self> {
        let cause = line.get("cause").filter(|it| !it.is_null())?;
        let word = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no word: {value}")).to_owned();
        let [name, confidence] = ["name", "confidence"].map(|it| word(&cause[it]));
        let known = Cause::ALL.iter().find(|it| it.name() == name);
        let sure = [Confidence::Possible, Confidence::Likely, Confidence::Certain];
        let lines =
            |it: &Value| it["evidence"].as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join("\n");
        Some(Self {
            cause: *known.unwrap_or_else(|| panic!("no cause: {name}")),
            confidence: *sure.iter().find(|it| it.name() == confidence).unwrap_or_else(|| panic!("{confidence}")),
            scope: line["scope"]["extent"].as_str().unwrap_or_default().to_owned(),
            evidence: [lines(cause), lines(&line["scope"])].join("\n"),
        })
    }

    /// Whether it is called certain and is not so. `unknown` claims nothing.
    pub(crate) fn is_false(&self, scenario: &Scenario) -> bool {
        let is_true = |it: &Right| it.cause == self.cause && it.most == Confidence::Certain;
        self.confidence == Confidence::Certain && self.cause != Cause::Unknown && !scenario.right.iter().any(is_true)
    }

    /// Whether the row names it, and as surely as this.
    fn is_right(&self, right: &[Right]) -> bool {
        right.iter().any(|it| {
            it.cause == self.cause && (self.cause == Cause::Unknown || (it.least..=it.most).contains(&self.confidence))
        })
    }
}

/// What is wrong with the lines about a row's attempt.
pub(crate) fn judge(scenario: &Scenario, lines: &[Value], said: &[Verdict]) -> Vec<String> {
    [verdicts(scenario, said), local(scenario, lines)].concat()
}

/// For each line the verdicts that may never be given, and for the last one the verdict that is due.
fn verdicts(scenario: &Scenario, said: &[Verdict]) -> Vec<String> {
    let mut faults = Vec::new();
    for it in said.iter().filter(|it| it.is_false(scenario)) {
        faults.push(format!("called certain, and false: {}", it.cause.name()));
    }
    let Some(last) = said.last() else {
        if !may_be_silent(scenario) {
            faults.push("nothing is said of its cause".to_owned());
        }
        return faults;
    };
    if !last.is_right(scenario.right) {
        let (cause, confidence) = (last.cause.name(), last.confidence.name());
        faults.push(format!("said: {cause} ({confidence}); right: {:?}", scenario.right));
    }
    if !scenario.scope.is_empty() && !scenario.scope.contains(&&*last.scope) {
        faults.push(format!("scope '{}', to be one of {:?}", last.scope, scenario.scope));
    }
    let evidence = last.evidence.to_lowercase();
    for word in scenario.evidence.iter().filter(|it| !evidence.contains(&it.to_lowercase())) {
        faults.push(format!("the evidence does not say '{word}': {}", last.evidence));
    }
    faults
}

/// What the last line says of the host. Nothing may be missing that a row names; and a process that is named is the one
/// that connects: this one.
fn local(scenario: &Scenario, lines: &[Value]) -> Vec<String> {
    let Some(last) = lines.last() else { return Vec::new() };
    let mut faults = Vec::new();
    let next = last.pointer("/cause/next/0").and_then(Value::as_str).unwrap_or_default();
    if !next.starts_with(scenario.next) {
        faults.push(format!("the next step is '{next}', to begin with '{}'", scenario.next));
    }
    for (place, expected) in scenario.facts {
        let found = last.pointer(place).map(Value::to_string);
        if found.as_deref() != Some(expected) {
            faults.push(format!("{place} is {found:?}, to be {expected}"));
        }
    }
    let pid = ["/process/pid", "/local/process/pid"].iter().find_map(|it| last.pointer(it)?.as_u64());
    if scenario.place == Place::Client && pid.is_some_and(|it| it != u64::from(std::process::id())) {
        faults.push(format!("the process is {}, and not {pid:?}", std::process::id()));
    }
    faults
}

/// Whether the last word on a row is right.
pub(crate) fn is_right(scenario: &Scenario, said: &[Verdict]) -> bool {
    said.last().map_or(may_be_silent(scenario), |it| it.is_right(scenario.right))
}

/// Where nothing is wrong, or nothing is to be listed, there is nothing to say.
fn may_be_silent(scenario: &Scenario) -> bool {
    scenario.made.is_none() || scenario.right.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scenario::{Socket, maybe, well};

    fn line(name: &str, confidence: &str) -> Verdict {
        let cause = json!({ "name": name, "confidence": confidence, "evidence": ["RST from 203.0.113.2"], "next": [] });
        Verdict::of(&json!({ "cause": cause, "scope": { "extent": "port", "evidence": [] } })).unwrap()
    }

    #[test]
    fn a_certain_verdict_has_to_be_true_and_unknown_claims_nothing() {
        let row = Scenario::new(Some(Cause::PortClosed), Place::Client, |_| Socket::None)
            .right(const { &[well(Cause::PortClosed), maybe(Cause::FirewallReject)] });
        for (name, confidence, is_false, is_right) in [
            ("port_closed", "certain", false, true),
            ("port_closed", "possible", false, false),
            ("firewall_reject", "likely", false, true),
            ("firewall_reject", "certain", true, false),
            ("host_down", "certain", true, false),
            ("host_down", "likely", false, false),
            ("unknown", "certain", false, false),
        ] {
            let said = line(name, confidence);
            assert_eq!(said.is_false(&row), is_false, "{name} {confidence}");
            assert_eq!(said.is_right(row.right), is_right, "{name} {confidence}");
        }
    }

    #[test]
    fn what_a_row_names_has_to_be_said() {
        let row = Scenario::new(Some(Cause::PortClosed), Place::Client, |_| Socket::None);
        let row = row.right(const { &[well(Cause::PortClosed)] }).scope(&["port"]).evidence(&["rst"]);
        let said = line("port_closed", "likely");
        assert_eq!(verdicts(&row, &[]), ["nothing is said of its cause"]);
        assert_eq!(verdicts(&row, std::slice::from_ref(&said)), [""; 0]);
        assert_eq!(
            verdicts(&row, &[line("host_down", "certain"), said.clone()]).len(),
            1,
            "what was said before counts"
        );
        let other = Verdict { scope: "host".to_owned(), evidence: String::new(), ..said };
        assert_eq!(verdicts(&row, &[other]).len(), 2);
        let row = row.facts(&[("/local/listening", "false")]);
        let here = std::process::id();
        let with = |listening, pid| json!({ "local": { "listening": listening, "process": { "pid": pid } } });
        assert_eq!(local(&row, &[with(false, here)]), [""; 0]);
        assert_eq!(local(&row, &[with(true, here + 1)]).len(), 2);
    }

    #[test]
    fn a_line_without_a_cause_is_no_verdict() {
        assert_eq!(Verdict::of(&json!({ "type": "attempt" })), None);
        assert_eq!(Verdict::of(&json!({ "type": "attempt", "cause": null })), None);
        assert_eq!(line("port_closed", "likely").scope, "port");
    }
}
