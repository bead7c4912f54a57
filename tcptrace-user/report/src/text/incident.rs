//! An incident that runs or is over, for people. Its first failure was printed in full.

use tcptrace_vocabulary::{
    incident::{Course, Incident, Place},
    outcome::Outcome,
    words::{count, ip},
};

use super::{
    columns::{GREEN, RED, head, percent, rate, with_story},
    why,
};
use crate::{Setting, finding::network_name};

/// An incident's report, without its end, styled and not folded. `quiet` makes it one line.
#[must_use]
pub(crate) fn incident(it: &Incident, setting: &Setting, quiet: bool, verbose: bool) -> String {
    let (word, style) = match it.phase {
        Course::Begun => ("wider", RED),
        Course::Update => ("still failing", RED),
        Course::Ended if it.is_cut => ("not over", RED),
        Course::Ended => ("over", GREEN),
    };
    let lasted = Some(it.last.since(it.began)).filter(|lasted| *lasted > 0);
    let report = with_story(&head(setting, it.at, style, word, &whom(it, setting), lasted), &story(it), quiet);
    if it.phase == Course::Begun || it.is_cause_new || quiet {
        report + &why::verdict(&it.verdict, false, quiet, verbose)
    } else {
        report
    }
}

/// From whom to whom.
fn whom(it: &Incident, setting: &Setting) -> String {
    let from = match (it.clients, it.client) {
        (0 | 1, client) => client.map_or_else(|| "*".to_owned(), |client| ip(client).to_string()),
        (clients, _) => count(clients as u64, "client"),
    };
    let to = match it.place {
        Place::Port(_) => setting.server(it.first),
        Place::Host(addr) => format!("{}, all ports", ip(addr)),
        Place::Network(network) => network_name(network),
        Place::Everything => "everything".to_owned(),
        Place::Others => "many servers, counted together".to_owned(),
    };
    format!("{from} → {to}")
}

fn story(it: &Incident) -> String {
    let mut parts = vec![failures(it)];
    if it.rate >= 1.0 && it.phase == Course::Update {
        parts.push(format!("{} a second", rate(it.rate)));
    }
    if let Some(share) = it.working() {
        parts.push(match it.worked {
            0 => "none worked".to_owned(),
            worked => format!("{worked} worked ({})", percent(share)),
        });
    }
    if it.took_over > 0 && it.phase == Course::Begun {
        parts.push(format!("stands for {} from now on", count(it.took_over, "earlier incident")));
    }
    format!("{} [incident {}]", parts.join("; "), it.id)
}

/// How often what happened.
fn failures(it: &Incident) -> String {
    let some = Outcome::ALL.into_iter().map(|outcome| (outcome.name(), it.outcomes[outcome as usize]));
    let some = some.chain([("not_sent", it.not_sent), ("recovered after a stall", it.recovered)]);
    let all = some.chain([("stalled", it.waiting)]).filter(|(_, count)| *count > 0);
    let all: Vec<_> = all.map(|(name, count)| format!("{count} {name}")).collect();
    if all.is_empty() { "no failure yet".to_owned() } else { all.join(", ") }
}
