//! The summary in JSON: the last line of a run.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use tcptrace_core::{
    event::{Counter, Counters},
    flow::Endpoint,
    handshake::Transition,
};
use tcptrace_vocabulary::outcome::Outcome;

use super::{
    finding::FindingObject,
    part::{Counts, KnownOutcomeCounts, OutcomeCounts, Seconds},
    short::{Ip, Time},
    word::Version,
};
use crate::{
    Setting,
    summary::{
        Hook, Ignored, IncidentCounts, Runs, Summary, Table, Times, at_once, from_first_syn, is_packets, percentile,
        transition_name,
    },
};

/// The totals of a run: the last line.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "summary", deny_unknown_fields)]
pub(super) struct SummaryLine<'a> {
    v: Version,
    r#type: SummaryType,
    traced_for_s: Seconds,
    /// of captures: their files; of a pattern's (-i any) those that have not gone
    interfaces: &'a [String],
    /// a pattern's that have gone
    interfaces_gone: u64,
    hooks: Vec<HookObject<'a>>,
    attempts: AttemptsObject,
    /// of completed handshakes; null without any
    times: Option<TimesObject>,
    /// lines reported, by cause
    causes: Counts,
    packets: Option<Counts>,
    segments: Option<Counts>,
    counters: Option<Counts>,
    worst: Vec<ServerObject>,
    findings: Vec<FindingObject>,
    incidents: IncidentsObject,
    /// entries of the ignore list (--ignore)
    ignored: Vec<IgnoredObject<'a>>,
    /// runs of the command of --on-incident; null without one
    on_incident: Option<RunsObject>,
    table: Option<TableObject>,
    /// packets of tunnels that were not looked into, by kind, without --decap; live a sample of them
    tunnels: Counts,
    /// by stage; empty if nothing was lost and uncounted is null
    losses: Counts,
    /// why the kernel's counters could not be read; everything that rests on them is then null, and losses in the kernel
    /// are unknown
    uncounted: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum SummaryType {
    Summary,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct HookObject<'a> {
    interface: &'a str,
    ingress: &'a str,
    reason: &'a str,
    egress: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct AttemptsObject {
    opened: Option<u64>,
    /// attempts whose SYN was sent a second time
    second_syn: Option<u64>,
    /// attempts whose SYN/ACK was sent a second time before they were established
    second_syn_ack: Option<u64>,
    /// of captures: attempts with packets in another order than they were sent in
    out_of_order: u64,
    by_outcome: KnownOutcomeCounts,
    stalled: u64,
    recovered: u64,
    in_flight: u64,
    /// ports that a checker tries again and again: counted and not reported, unless with --all
    health_checks: u64,
    /// attempts given up because another address of the same port answered the same process, in captures the same host:
    /// counted and not reported, unless with --all
    overtaken: u64,
    /// attempts of a hop walk of tcptrace diagnose on this host: counted and not reported, unless with --all
    probes: u64,
    /// attempts of unknown processes, with --process, --unit, --container or --pod: counted and not reported
    unlisted: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct IncidentsObject {
    begun: u64,
    /// those that had not ended when tracing did
    running: u64,
    /// failures that were counted together because too many incidents ran at once
    merged: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct RunsObject {
    /// those that ended, well or not
    runs: u64,
    /// those of them that failed, or took too long
    failed: u64,
    /// beginnings and ends for which it did not run, because too many waited
    skipped: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct IgnoredObject<'a> {
    filter: &'a str,
    reason: &'a str,
    /// when it expires
    until: Time,
    /// its failures are reported again
    has_expired: bool,
    /// attempts that it accepted: counted and not reported, unless with --all
    attempts: u64,
}

/// How long completed handshakes took, in powers of two of microseconds.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct TimesObject {
    /// with the time that SYNs and SYN/ACKs took that had to be sent again
    first_syn_to_synack: Option<PercentilesObject>,
    /// of those that needed one SYN and one SYN/ACK
    syn_to_synack: Option<PercentilesObject>,
    synack_to_ack: Option<PercentilesObject>,
}

/// Times that this share of them stays under.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct PercentilesObject {
    p50_s: Seconds,
    p90_s: Seconds,
    p99_s: Seconds,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct ServerObject {
    ip: Ip,
    port: u16,
    attempts: OutcomeCounts,
    /// of captures
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    established: Option<u64>,
    /// live
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    established_in_table: Option<u64>,
    other_ports_established: Vec<u16>,
}

/// How full the kernel's table got; null for captures.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
struct TableObject {
    slots: u64,
    /// attempts pending at a time, counted four times a second
    most_pending: u64,
    /// age of the youngest pending attempt whose slot another took
    youngest_replaced_s: Option<Seconds>,
}

impl Summary {
    /// The last JSON line, without its end.
    #[must_use]
    pub fn json(&self, setting: &Setting) -> String {
        serde_json::to_string(&SummaryLine::of(self, setting)).unwrap_or_default()
    }
}

impl<'a> SummaryLine<'a> {
    fn of(summary: &'a Summary, setting: &Setting) -> Self {
        let tally = summary.tally.as_ref().ok();
        Self {
            v: Version,
            r#type: SummaryType::Summary,
            traced_for_s: Seconds::of(summary.traced_for),
            interfaces: &summary.interfaces,
            interfaces_gone: summary.interfaces_gone,
            hooks: summary.hooks.iter().map(HookObject::of).collect(),
            attempts: AttemptsObject::of(summary),
            times: tally.and_then(TimesObject::of),
            causes: Counts(summary.causes.counts().into_iter().map(|(cause, count)| (cause.into(), count)).collect()),
            packets: tally.map(|tally| counters(tally, is_packets)),
            segments: tally.map(segments),
            counters: tally.map(|tally| counters(tally, |counter| !is_packets(counter) && !is_attempts(counter))),
            worst: summary.worst().into_iter().map(|worst| ServerObject::of(worst, summary)).collect(),
            findings: summary.findings.iter().map(|finding| FindingObject::of(finding, None, setting)).collect(),
            incidents: IncidentsObject::of(summary.incidents),
            ignored: summary.ignored.iter().map(IgnoredObject::of).collect(),
            on_incident: summary.on_incident.map(|Runs { runs, failed, skipped }| RunsObject { runs, failed, skipped }),
            table: summary.table.as_ref().map(TableObject::of),
            tunnels: Counts(summary.tunnels.iter().map(|&(kind, count)| (kind.into(), count)).collect()),
            losses: Counts(summary.losses().into_iter().map(|(stage, count)| (stage.into(), count)).collect()),
            uncounted: summary.unread(),
        }
    }
}

/// Whether a counter counts attempts, and stands with them.
fn is_attempts(counter: Counter) -> bool {
    matches!(counter, Counter::SynAgain | Counter::AnswerAgain)
}

fn segments(tally: &Counters) -> Counts {
    let count = |transition: Transition| tally.transitions[transition as usize];
    Counts(Transition::ALL.iter().map(|&transition| (transition_name(transition).into(), count(transition))).collect())
}

fn counters(tally: &Counters, wanted: fn(Counter) -> bool) -> Counts {
    let counters = Counter::ALL.iter().filter(|counter| wanted(**counter));
    Counts(counters.map(|&counter| (Cow::from(counter.name()), tally.counters[counter as usize])).collect())
}

impl<'a> HookObject<'a> {
    fn of(hook: &'a Hook) -> Self {
        let Hook { interface, ingress, reason, egress } = hook;
        Self { interface, ingress, reason, egress: egress.as_deref() }
    }
}

impl AttemptsObject {
    fn of(summary: &Summary) -> Self {
        let every = Outcome::ALL.into_iter().map(|outcome| (outcome, summary.attempts(outcome)));
        let tally = summary.tally.as_ref().ok();
        Self {
            opened: tally.map(|tally| tally.transitions[Transition::Opened as usize]),
            second_syn: tally.map(|tally| tally.counters[Counter::SynAgain as usize]),
            second_syn_ack: tally.map(|tally| tally.counters[Counter::AnswerAgain as usize]),
            out_of_order: summary.out_of_order,
            by_outcome: KnownOutcomeCounts(every.collect()),
            stalled: summary.stalls,
            recovered: summary.recovered,
            in_flight: summary.in_flight,
            health_checks: summary.health_checks,
            overtaken: summary.overtaken,
            probes: summary.probes,
            unlisted: summary.unlisted,
        }
    }
}

impl IncidentsObject {
    const fn of(IncidentCounts { begun, running, merged }: IncidentCounts) -> Self {
        Self { begun, running, merged }
    }
}

impl<'a> IgnoredObject<'a> {
    fn of(entry: &'a Ignored) -> Self {
        let Ignored { filter, reason, until, has_expired, attempts } = entry;
        let until = Time::of(until.as_nanosecond());
        Self { filter, reason, until, has_expired: *has_expired, attempts: *attempts }
    }
}

impl ServerObject {
    fn of(worst: (Endpoint, [u64; Outcome::ALL.len()], u64), summary: &Summary) -> Self {
        let (server, mut told, established) = worst;
        // The established ones have a figure of their own.
        told[Outcome::Established as usize] = 0;
        Self {
            ip: Ip::of(server.addr),
            port: server.port,
            attempts: OutcomeCounts::some(&told),
            established: summary.offline.then_some(established),
            established_in_table: (!summary.offline).then_some(established),
            other_ports_established: summary.works(server).into_iter().map(|(port, _)| port).collect(),
        }
    }
}

impl TimesObject {
    fn of(tally: &Counters) -> Option<Self> {
        let times = Self {
            first_syn_to_synack: PercentilesObject::of(&from_first_syn(tally)),
            syn_to_synack: PercentilesObject::of(&at_once(tally)),
            synack_to_ack: PercentilesObject::of(&tally.answer_to_ack),
        };
        (times.first_syn_to_synack.is_some() || times.synack_to_ack.is_some()).then_some(times)
    }
}

impl PercentilesObject {
    fn of(times: &Times) -> Option<Self> {
        let under = |percent| percentile(times, percent).map(Seconds::of);
        Some(Self { p50_s: under(50)?, p90_s: under(90)?, p99_s: under(99)? })
    }
}

impl TableObject {
    fn of(table: &Table) -> Self {
        let Table { slots, most_pending, youngest_replaced } = *table;
        Self { slots, most_pending, youngest_replaced_s: youngest_replaced.map(Seconds::of) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};
    use tcptrace_vocabulary::clock::Clock;

    use super::*;
    use crate::{setting::Latest, summary::of_nothing};

    #[test]
    fn what_was_not_counted_is_null_with_its_reason() {
        let setting = Setting {
            clock: Clock::EPOCH,
            interfaces: BTreeMap::new(),
            undirected: BTreeSet::new(),
            zone: jiff::tz::TimeZone::UTC,
            width: 100,
            services: BTreeMap::new(),
            is_capture: false,
            latest: Latest::default(),
        };
        let json = |tally| serde_json::from_str::<Value>(&of_nothing(tally, vec![]).json(&setting)).expect("JSON");
        let unread = json(Err("Bad file descriptor".to_owned()));
        for field in ["/attempts/opened", "/attempts/by_outcome/closed", "/packets", "/segments", "/counters"] {
            assert_eq!(unread.pointer(field), Some(&Value::Null), "{field}");
            assert!(json(Ok(Counters::default())).pointer(field).is_some_and(|value| !value.is_null()), "{field}");
        }
        assert_eq!(unread.pointer("/attempts/by_outcome/refused"), Some(&json!(0)), "userspace counts it");
        assert_eq!(unread["uncounted"], "the kernel's counters could not be read: Bad file descriptor");
        assert_eq!(json(Ok(Counters::default()))["uncounted"], Value::Null);
    }
}
