//! The line of an incident: its beginning, its news, its end.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use tcptrace_vocabulary::{
    cause::Confidence,
    incident::{Incident, Phase, Place, Role, Symptom},
    words::ip,
};

use super::{
    part::{Counts, Endpoint, OutcomeCounts, Rate},
    short::Time,
    why::ProcessLine,
    word::{Version, Word},
};
use crate::{Setting, finding::network_name};

/// The failures of one server port, host or network that look the same. It has a line when it begins, when it has
/// news or is brought to mind, and when it is over.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "incident", deny_unknown_fields)]
pub(super) struct IncidentObject<'a> {
    v: Version,
    r#type: IncidentType,
    phase: Word<Phase>,
    /// unique in a run; every attempt's line has its incident's
    id: u64,
    edge: Edge,
    symptom: Word<Symptom>,
    /// others: what there was no room for, counted together
    width: WidthWord,
    /// what it covers beyond one port: an address, or a network with the length of its prefix
    covers: Option<String>,
    began: Time,
    /// its last failure
    last: Time,
    /// when this was so
    at: Time,
    /// tracing ended while it ran
    still_open: bool,
    /// failures that ended; those of incidents that it took over are among them
    attempts: u64,
    /// verdicts on them
    causes: Counts,
    outcomes: OutcomeCounts,
    /// calls of connect(2) that put no SYN on the wire
    not_sent: u64,
    /// attempts that stalled; their ends are among outcomes once they have ended
    stalls: u64,
    /// those of them whose end is not known yet
    waiting: u64,
    /// stalled ones that were established after all
    recovered: u64,
    /// the share of attempts there that worked since it began; null before any has ended
    working: Option<Working>,
    /// different ones, up to 256
    clients: u64,
    /// those that connect, or listen where the server is here, as far as they are known: the first failure's first, up
    /// to eight that differ by name or place
    processes: Vec<ProcessLine<'a>>,
    /// failures a second over the last ten seconds or more; 0 until ten seconds have passed
    rate: Rate,
    /// the surest verdict so far
    cause: IncidentCause,
    /// incidents that it took over because it is wider
    took_over: u64,
    /// the wider incident that took this one over, and has its counts
    absorbed_by: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum IncidentType {
    Incident,
}

/// The server of the first failure, as this host sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Edge {
    /// where this host stands; between: neither end is known to be here
    role: Word<Role>,
    server: Endpoint,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum WidthWord {
    Port,
    Host,
    Network,
    Everything,
    Others,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub(super) struct Working {
    /// attempts that worked
    pub(super) attempts: u64,
    /// of those that worked or failed, between 0 and 1
    pub(super) share: f64,
    /// successes are read from the table now and then: there may have been more
    pub(super) sample: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct IncidentCause {
    name: &'static str,
    confidence: Word<Confidence>,
    evidence: Vec<Cow<'static, str>>,
    next: Vec<Cow<'static, str>>,
}

impl<'a> IncidentObject<'a> {
    fn of(incident: &'a Incident, setting: &Setting) -> Self {
        let time = |at| Time::of(setting.clock.wall(at));
        let words = |them: &[String]| them.iter().cloned().map(Cow::Owned).collect();
        Self {
            v: Version,
            r#type: IncidentType::Incident,
            phase: Word(incident.phase),
            id: incident.id,
            edge: Edge { role: Word(incident.role), server: Endpoint::of(incident.first) },
            symptom: Word(incident.symptom),
            width: WidthWord::of(incident.place),
            covers: covers(incident.place),
            began: time(incident.began),
            last: time(incident.last),
            at: time(incident.at),
            still_open: incident.is_cut,
            attempts: incident.attempts(),
            causes: Counts(incident.causes.counts().into_iter().map(|(name, count)| (name.into(), count)).collect()),
            outcomes: OutcomeCounts::some(&incident.outcomes),
            not_sent: incident.not_sent,
            stalls: incident.stalls,
            waiting: incident.waiting,
            recovered: incident.recovered,
            working: incident.working().map(|share| Working { attempts: incident.worked, share, sample: true }),
            clients: incident.clients as u64,
            processes: incident.processes.iter().map(ProcessLine::of).collect(),
            rate: Rate(incident.rate),
            cause: IncidentCause {
                name: incident.verdict.cause.name(),
                confidence: Word(incident.verdict.confidence),
                evidence: words(&incident.verdict.evidence),
                next: words(&incident.verdict.next),
            },
            took_over: incident.took_over,
            absorbed_by: incident.absorbed_by,
        }
    }
}

impl WidthWord {
    pub(super) const fn of(place: Place) -> Self {
        match place {
            Place::Port(_) => Self::Port,
            Place::Host(_) => Self::Host,
            Place::Network(_) => Self::Network,
            Place::Everything => Self::Everything,
            Place::Others => Self::Others,
        }
    }
}

fn covers(place: Place) -> Option<String> {
    match place {
        Place::Host(addr) => Some(ip(addr).to_string()),
        Place::Network(network) => Some(network_name(network)),
        Place::Port(_) | Place::Everything | Place::Others => None,
    }
}

/// A JSON line, without its end.
#[must_use]
pub(crate) fn line(incident: &Incident, setting: &Setting) -> String {
    serde_json::to_string(&IncidentObject::of(incident, setting)).unwrap_or_default()
}
