//! The summary of a run, at its end and at SIGUSR1: totals, the worst servers and ports, losses by stage.
//!
//! `text` and `json` render it.

use std::{cmp::Reverse, collections::HashMap};

use jiff::Timestamp;
use tcptrace_core::{
    event::{BUCKETS, Counter, Counters},
    flow::Endpoint,
    handshake::Transition,
};
use tcptrace_vocabulary::{outcome::Outcome, verdict::Causes};

use crate::finding::Finding;

/// The most servers that are listed.
const SERVERS: usize = 10;

/// The places where an interface's packets were read.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The interface's name.
    pub interface: String,
    /// The hook for incoming packets: `xdp`, `generic`, `tc`.
    pub ingress: String,
    /// Why that hook was chosen.
    pub reason: String,
    /// The hook for outgoing packets; `None` if this interface has only incoming ones.
    pub egress: Option<String>,
}

/// How full the table got.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Attempts that the table holds at most.
    pub slots: u64,
    /// The most attempts that were pending at a time, counted by each sweep.
    pub most_pending: u64,
    /// Age in nanoseconds of the youngest pending attempt whose slot another took; `None` if no pending attempt lost
    /// its slot.
    pub youngest_replaced: Option<u64>,
}

/// The contents of the summary.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Whether captures were read: then every attempt is reported when it ended, or at least counted.
    pub offline: bool,
    /// The duration of tracing, in nanoseconds.
    pub traced_for: u64,
    /// Names of the interfaces; of captures, their files.
    pub interfaces: Vec<String>,
    /// The words that selected them, where patterns are among these and there may be many.
    pub selected: Option<String>,
    /// The number of interfaces that a pattern took and that have gone.
    pub interfaces_gone: u64,
    /// The hooks of each interface, and why they were chosen.
    pub hooks: Vec<Hook>,
    /// The counters of packets, transitions and losses: the kernel's live, the reader's for a capture. An error is the
    /// reason why the kernel's could not be read; everything that rests on them is then unknown.
    pub tally: Result<Counters, String>,
    /// Attempts by outcome, reported one by one or only counted.
    pub told: [u64; Outcome::ALL.len()],
    /// Stalls reported.
    pub stalls: u64,
    /// Attempts that were established after they had stalled or failed.
    pub recovered: u64,
    /// Ports looked at again and again: counted, not reported.
    pub health_checks: u64,
    /// Attempts that another address of the same port overtook (RFC 8305): counted, not reported.
    pub overtaken: u64,
    /// Attempts of a hop walk on this host (`tcptrace diagnose`): counted, not reported.
    pub probes: u64,
    /// Attempts of unknown processes, where attempts are listed by their processes: counted, not reported.
    pub unlisted: u64,
    /// Verdicts reported, by cause.
    pub causes: Causes,
    /// Attempts still pending, whose end was not reported.
    pub in_flight: u64,
    /// By server: lines reported by outcome, and established attempts still in the table.
    pub servers: HashMap<Endpoint, ([u64; Outcome::ALL.len()], u64)>,
    /// Attempts with packets out of order in the capture.
    pub out_of_order: u64,
    /// Packets of tunnels that were not looked into, by the tunnel's kind, without `--decap`. Live it is a sample.
    pub tunnels: Vec<(&'static str, u64)>,
    /// Floods, scans and avoided networks.
    pub findings: Vec<Finding>,
    /// Incidents, by what became of them.
    pub incidents: IncidentCounts,
    /// The entries of the ignore list.
    pub ignored: Vec<Ignored>,
    /// Runs of the command for incidents; `None` without one.
    pub on_incident: Option<Runs>,
    /// How full the kernel's table got; `None` for captures.
    pub table: Option<Table>,
    /// Losses in userspace, by stage.
    pub user_losses: Vec<(&'static str, u64)>,
}

/// Numbers of incidents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IncidentCounts {
    /// Those that began.
    pub begun: u64,
    /// Those of them that still run.
    pub running: u64,
    /// Failures that were counted together because too many incidents ran.
    pub merged: u64,
}

/// An entry of the ignore list, and what it accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its filter, as written.
    pub filter: String,
    /// Why its failures are accepted.
    pub reason: String,
    /// When it expires.
    pub until: Timestamp,
    /// Whether it has expired: its failures are reported again.
    pub has_expired: bool,
    /// Attempts that it accepted: counted, not reported.
    pub attempts: u64,
}

/// Runs of the command for incidents (`--on-incident`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Those that ended, well or not.
    pub runs: u64,
    /// Those of them that failed, or took too long.
    pub failed: u64,
    /// Beginnings and ends for which it did not run, because too many waited.
    pub skipped: u64,
}

impl Summary {
    /// Losses by stage, those of the kernel first; only what was lost.
    #[must_use]
    pub fn losses(&self) -> Vec<(String, u64)> {
        let kernel = self.tally.iter().flat_map(|tally| {
            let counters = [Counter::ReplacedPending, Counter::Contended, Counter::EvidenceLost]
                .map(|counter| (counter.name().to_owned(), tally.counters[counter as usize]));
            let ring = Transition::ALL
                .iter()
                .map(|&lost| (format!("ring_full_{}", transition_name(lost)), tally.lost[lost as usize]));
            counters.into_iter().chain(ring)
        });
        let user = self.user_losses.iter().map(|&(name, count)| (name.to_owned(), count));
        kernel.chain(user).filter(|(_, count)| *count > 0).collect()
    }

    /// Whether the summary is known to have everything: nothing was lost, and the counters of losses could be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tally.is_ok() && self.losses().is_empty()
    }

    /// Why the counters are unknown, as a sentence.
    pub(crate) fn unread(&self) -> Option<String> {
        self.tally.as_ref().err().map(|reason| format!("the kernel's counters could not be read: {reason}"))
    }

    /// The number of attempts of an outcome; `None` if only the kernel counts it and its counters could not be read.
    pub(crate) fn attempts(&self, outcome: Outcome) -> Option<u64> {
        (self.tally.is_ok() || !is_counted_by_kernel(outcome)).then_some(self.told[outcome as usize])
    }

    /// Servers with failures, the worst first, each with its figures.
    pub(crate) fn worst(&self) -> Vec<(Endpoint, [u64; Outcome::ALL.len()], u64)> {
        let mut worst: Vec<_> = self
            .servers
            .iter()
            .map(|(&server, &(told, established))| (server, told, established))
            .filter(|(_, told, _)| failures(told) > 0)
            .collect();
        worst.sort_by_key(|(server, told, _)| (Reverse(failures(told)), *server));
        worst.truncate(SERVERS);
        worst
    }

    /// Other ports of a server's host that have established attempts.
    pub(crate) fn works(&self, server: Endpoint) -> Vec<(u16, u64)> {
        let mut ports: Vec<_> = self
            .servers
            .iter()
            .filter(|(it, (_, established))| it.addr == server.addr && it.port != server.port && *established > 0)
            .map(|(it, (_, established))| (it.port, *established))
            .collect();
        ports.sort_unstable();
        ports.truncate(SERVERS);
        ports
    }
}

fn failures(told: &[u64; Outcome::ALL.len()]) -> u64 {
    Outcome::ALL.into_iter().filter(|it| it.is_failure()).map(|it| told[it as usize]).sum()
}

/// Whether live only the kernel counts the attempts of an outcome: each of their ends is reported with `--all` alone.
const fn is_counted_by_kernel(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Established | Outcome::Closed | Outcome::ResetByClient | Outcome::ResetByServer)
}

/// Whether a counter counts every packet of its kind once; their sum is all packets seen.
pub(crate) const fn is_packets(counter: Counter) -> bool {
    matches!(
        counter,
        Counter::Established
            | Counter::Control
            | Counter::IcmpError
            | Counter::NotTcp
            | Counter::NotIp
            | Counter::LaterFragment
            | Counter::Malformed
    )
}

/// A transition's name in JSON.
pub(crate) const fn transition_name(transition: Transition) -> &'static str {
    match transition {
        Transition::Opened => "opened",
        Transition::SynRetried => "syn_retried",
        Transition::Answered => "answered",
        Transition::AnswerRetried => "syn_ack_retried",
        Transition::Completed => "completed",
        Transition::Refused => "refused",
        Transition::Aborted => "aborted",
        Transition::ResetOnAnswer => "reset_on_answer",
        Transition::Unreachable => "unreachable",
        Transition::Challenged => "challenged",
        Transition::WrongAnswer => "wrong_answer",
        Transition::Superseded => "superseded",
        Transition::SeenAgain => "seen_again",
        Transition::Noted => "noted",
        Transition::Closed => "closed",
        Transition::ResetByClient => "reset_by_client",
        Transition::ResetByServer => "reset_by_server",
        Transition::Replaced => "replaced",
    }
}

/// Times as a histogram: counts by power of two of microseconds.
pub(crate) type Times = [u64; BUCKETS];

/// First SYN to SYN/ACK, of all that completed: the times of those that needed one of each, and of the others.
pub(crate) fn from_first_syn(tally: &Counters) -> Times {
    std::array::from_fn(|bucket| tally.syn_to_answer[bucket] + tally.syn_to_answer[BUCKETS + bucket])
}

/// SYN to SYN/ACK, of those that needed one of each.
pub(crate) fn at_once(tally: &Counters) -> Times {
    std::array::from_fn(|bucket| tally.syn_to_answer[bucket])
}

/// Nanoseconds that a percentage of the times stays under; the upper end of a bucket. `None` without times.
pub(crate) fn percentile(times: &Times, percent: u64) -> Option<u64> {
    let total: u64 = times.iter().sum();
    let wanted = (total * percent).div_ceil(100);
    let mut sum = 0;
    for (bucket, count) in times.iter().enumerate() {
        sum += count;
        if sum >= wanted && total > 0 {
            return Some((1 << bucket) * 1_000);
        }
    }
    None
}

/// A summary of nothing, for the tests of its two renderings.
#[cfg(test)]
pub(crate) fn of_nothing(tally: Result<Counters, String>, user_losses: Vec<(&'static str, u64)>) -> Summary {
    Summary {
        offline: false,
        traced_for: 1_000_000_000,
        interfaces: vec!["eth0".to_owned()],
        selected: None,
        interfaces_gone: 0,
        hooks: Vec::new(),
        tally,
        told: [0; Outcome::ALL.len()],
        stalls: 0,
        recovered: 0,
        health_checks: 0,
        overtaken: 0,
        probes: 0,
        unlisted: 0,
        causes: Causes::default(),
        in_flight: 0,
        servers: HashMap::new(),
        out_of_order: 0,
        tunnels: Vec::new(),
        findings: Vec::new(),
        incidents: IncidentCounts::default(),
        ignored: Vec::new(),
        on_incident: None,
        table: None,
        user_losses,
    }
}
