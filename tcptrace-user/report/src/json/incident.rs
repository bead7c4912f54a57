//! The line of an incident: its beginning, its news, its end.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use tcptrace_vocabulary::{
    cause::Confidence,
    incident::{Course, Incident, Place, Role, Symptom},
    words::ip,
};

use super::{
    part::{Counts, Endpoint, OutcomeCounts, Rate},
    short::Time,
    word::{Version, Word},
};
use crate::{Setting, finding::network_name};

/// The failures of one server port, host or network that look the same. It has a line when it begins, when it has
/// news or is brought to mind, and when it is over.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "incident", deny_unknown_fields)]
pub(super) struct IncidentObject {
    v: Version,
    r#type: IncidentType,
    phase: Phase,
    /// unique in a run; every attempt's line has its incident's
    id: u64,
    edge: Edge,
    symptom: SymptomWord,
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

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Phase {
    Begun,
    Update,
    Ended,
}

/// The server of the first failure, as this host sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Edge {
    /// where this host stands; between: neither end is known to be here
    role: RoleWord,
    server: Endpoint,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum RoleWord {
    Client,
    Server,
    Between,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum SymptomWord {
    Silence,
    Refusal,
    Reset,
    Unfinished,
    Local,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum WidthWord {
    Port,
    Host,
    Network,
    Everything,
    Others,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct Working {
    /// attempts that worked
    attempts: u64,
    /// of those that worked or failed, between 0 and 1
    share: f64,
    /// successes are read from the table now and then: there may have been more
    sample: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct IncidentCause {
    name: &'static str,
    confidence: Word<Confidence>,
    evidence: Vec<Cow<'static, str>>,
    next: Vec<Cow<'static, str>>,
}

impl IncidentObject {
    fn of(it: &Incident, setting: &Setting) -> Self {
        let time = |at| Time::of(setting.clock.wall(at));
        let words = |them: &[String]| them.iter().cloned().map(Cow::Owned).collect();
        Self {
            v: Version,
            r#type: IncidentType::Incident,
            phase: match it.phase {
                Course::Begun => Phase::Begun,
                Course::Update => Phase::Update,
                Course::Ended => Phase::Ended,
            },
            id: it.id,
            edge: Edge { role: RoleWord::of(it.role), server: Endpoint::of(it.first) },
            symptom: SymptomWord::of(it.symptom),
            width: WidthWord::of(it.place),
            covers: covers(it.place),
            began: time(it.began),
            last: time(it.last),
            at: time(it.at),
            still_open: it.is_cut,
            attempts: it.attempts(),
            causes: Counts(it.causes.counts().into_iter().map(|(name, count)| (name.into(), count)).collect()),
            outcomes: OutcomeCounts::some(&it.outcomes),
            not_sent: it.not_sent,
            stalls: it.stalls,
            waiting: it.waiting,
            recovered: it.recovered,
            working: it.working().map(|share| Working { attempts: it.worked, share, sample: true }),
            clients: it.clients as u64,
            rate: Rate(it.rate),
            cause: IncidentCause {
                name: it.verdict.cause.name(),
                confidence: Word(it.verdict.confidence),
                evidence: words(&it.verdict.evidence),
                next: words(&it.verdict.next),
            },
            took_over: it.took_over,
            absorbed_by: it.absorbed_by,
        }
    }
}

impl RoleWord {
    const fn of(role: Role) -> Self {
        match role {
            Role::Client => Self::Client,
            Role::Server => Self::Server,
            Role::Between => Self::Between,
        }
    }
}

impl SymptomWord {
    const fn of(symptom: Symptom) -> Self {
        match symptom {
            Symptom::Silence => Self::Silence,
            Symptom::Refusal => Self::Refusal,
            Symptom::Reset => Self::Reset,
            Symptom::Unfinished => Self::Unfinished,
            Symptom::Local => Self::Local,
        }
    }
}

impl WidthWord {
    const fn of(place: Place) -> Self {
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
pub(crate) fn line(it: &Incident, setting: &Setting) -> String {
    serde_json::to_string(&IncidentObject::of(it, setting)).unwrap_or_default()
}
