//! An incident that runs or is over, for people. Its first failure was printed in full.

use tcptrace_vocabulary::{
    incident::{Incident, Phase, Place, Role},
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
pub(crate) fn incident(incident: &Incident, setting: &Setting, quiet: bool, verbose: bool) -> String {
    let (word, style) = match incident.phase {
        Phase::Begun => ("wider", RED),
        Phase::Update => ("still failing", RED),
        Phase::Ended if incident.is_cut => ("not over", RED),
        Phase::Ended => ("over", GREEN),
    };
    let lasted = Some(incident.last.since(incident.began)).filter(|lasted| *lasted > 0);
    let report =
        with_story(&head(setting, incident.at, style, word, &whom(incident, setting), lasted), &story(incident), quiet);
    if incident.phase == Phase::Begun || incident.is_cause_new || quiet {
        report + &why::verdict(&incident.verdict, false, quiet, verbose)
    } else {
        report
    }
}

/// From whom to whom.
fn whom(incident: &Incident, setting: &Setting) -> String {
    let from = match (incident.clients, incident.client) {
        (0 | 1, client) => client.map_or_else(|| "*".to_owned(), |client| ip(client).to_string()),
        (clients, _) => count(clients as u64, "client"),
    };
    let to = match incident.place {
        Place::Port(_) => setting.server(incident.first),
        Place::Host(addr) => format!("{}, all ports", ip(addr)),
        Place::Network(network) => network_name(network),
        Place::Everything => "everything".to_owned(),
        Place::Others => "many servers, counted together".to_owned(),
    };
    format!("{from} → {to}")
}

fn story(incident: &Incident) -> String {
    let mut parts = vec![failures(incident)];
    if incident.rate >= 1.0 && incident.phase == Phase::Update {
        parts.push(format!("{} a second", rate(incident.rate)));
    }
    if let Some(share) = incident.working() {
        parts.push(match incident.worked {
            0 => "none worked".to_owned(),
            worked => format!("{worked} worked ({})", percent(share)),
        });
    }
    if let [first, more @ ..] = &incident.processes[..] {
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let end = if incident.role == Role::Server { "listener" } else { "client" };
        parts.push(format!("{end} {}{more}", why::name(first)));
    }
    if incident.took_over > 0 && incident.phase == Phase::Begun {
        parts.push(format!("stands for {} from now on", count(incident.took_over, "earlier incident")));
    }
    format!("{} [incident {}]", parts.join("; "), incident.id)
}

/// How often what happened.
fn failures(incident: &Incident) -> String {
    let some = Outcome::ALL.into_iter().map(|outcome| (outcome.name(), incident.outcomes[outcome as usize]));
    let some = some.chain([("not_sent", incident.not_sent), ("recovered after a stall", incident.recovered)]);
    let all = some.chain([("stalled", incident.waiting)]).filter(|(_, count)| *count > 0);
    let all: Vec<_> = all.map(|(name, count)| format!("{count} {name}")).collect();
    if all.is_empty() { "no failure yet".to_owned() } else { all.join(", ") }
}
