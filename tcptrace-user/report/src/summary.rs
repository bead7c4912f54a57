//! The end's account, and SIGUSR1's: totals, the worst servers and ports, losses by stage.

use std::{cmp::Reverse, collections::HashMap, fmt::Write as _};

use serde_json::{Map, Value, json};
use tcptrace_core::{
    event::{Counter, Counters},
    flow::Endpoint,
    handshake::Transition,
};
use tcptrace_vocabulary::{
    outcome::Outcome,
    verdict::Causes,
    words::{count, endpoint, ip},
};

use crate::text::duration;

/// Servers listed at most.
const SERVERS: usize = 10;

/// Where an interface's packets were read.
#[derive(Clone, Debug)]
pub struct Hook {
    pub interface: String,
    pub ingress: String,
    pub reason: String,
    /// `None` where all packets come in.
    pub egress: Option<String>,
}

/// How full the table got.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub slots: u64,
    /// Attempts pending at a time, by the sweeps' looks.
    pub most_pending: u64,
    /// Nanoseconds, of the youngest pending attempt whose slot another took.
    pub youngest_replaced: Option<u64>,
}

/// What the summary says.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Of captures: every attempt is told as it ended, or at least counted.
    pub offline: bool,
    /// Nanoseconds of tracing.
    pub traced_for: u64,
    pub interfaces: Vec<String>,
    /// How each was attached to, and why so.
    pub hooks: Vec<Hook>,
    /// The counters of packets, transitions and losses: the kernel's live, the reader's of a capture. An error says why
    /// the kernel's could not be read; nothing that rests on them is then known.
    pub tally: Result<Counters, String>,
    /// Attempts by outcome, told one by one or only counted.
    pub told: [u64; Outcome::ALL.len()],
    pub stalls: u64,
    pub recovered: u64,
    /// Ports looked at again and again: counted, not told.
    pub health_checks: u64,
    /// Attempts that another address of the same port overtook (RFC 8305): counted, not told.
    pub overtaken: u64,
    /// Attempts of a hop walk on this host (`tcptrace diagnose`): counted, not told.
    pub probes: u64,
    /// Verdicts told, by cause.
    pub causes: Causes,
    /// Attempts still pending, whose end was not told.
    pub in_flight: u64,
    /// By server: lines told by outcome, and established attempts still in the table.
    pub servers: HashMap<Endpoint, ([u64; Outcome::ALL.len()], u64)>,
    /// Floods and scans: as text, and as JSON.
    pub findings: Vec<(String, Value)>,
    /// How full the kernel's table got; captures have none.
    pub table: Option<Table>,
    /// Losses in userspace, by stage.
    pub user_losses: Vec<(&'static str, u64)>,
}

impl Summary {
    /// Losses by stage, those of the kernel first; only what was lost.
    #[must_use]
    pub fn losses(&self) -> Vec<(String, u64)> {
        let kernel = self.tally.iter().flat_map(|tally| {
            let counters = [Counter::ReplacedPending, Counter::Contended, Counter::EvidenceLost]
                .map(|counter| (counter.name().to_owned(), tally.counters[counter as usize]));
            let ring = Transition::ALL.iter().map(|&it| (format!("ring_full_{}", name(it)), tally.lost[it as usize]));
            counters.into_iter().chain(ring)
        });
        let user = self.user_losses.iter().map(|&(name, count)| (name.to_owned(), count));
        kernel.chain(user).filter(|(_, count)| *count > 0).collect()
    }

    /// Whether all that happened is known to be in it: nothing was lost, and the counters that would say so could be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tally.is_ok() && self.losses().is_empty()
    }

    /// Why the counters are unknown, as a sentence.
    fn unread(&self) -> Option<String> {
        self.tally.as_ref().err().map(|reason| format!("the kernel's counters could not be read: {reason}"))
    }

    /// Servers with failures, the worst first, each with its figures.
    fn worst(&self) -> Vec<(Endpoint, [u64; Outcome::ALL.len()], u64)> {
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
    fn works(&self, server: Endpoint) -> Vec<(u16, u64)> {
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

    /// What the figure of established attempts by server counts.
    const fn established(&self) -> &'static str {
        if self.offline { "established" } else { "established still in the table" }
    }

    /// The paragraph for eyes.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = write!(out, "{} on {}: ", duration(self.traced_for), self.interfaces.join(", "));
        let _ = match &self.tally {
            Ok(tally) => {
                let [opened, established] =
                    [Transition::Opened, Transition::Completed].map(|it| tally.transitions[it as usize]);
                write!(out, "{}, {established} established", count(opened, "attempt"))
            }
            Err(_) => write!(out, "attempts and handshakes not counted"),
        };
        for outcome in Outcome::ALL.into_iter().filter(|it| *it != Outcome::Established) {
            let told = self.told[outcome as usize];
            if told > 0 {
                let _ = write!(out, ", {told} {}", outcome.name());
            }
        }
        let _ = writeln!(out, "; {} stalled, {} recovered, {} in flight", self.stalls, self.recovered, self.in_flight);
        let mut causes: Vec<_> = self.causes.counts().iter().map(|(cause, count)| format!("{count} {cause}")).collect();
        for (number, what) in [
            (self.health_checks, "health check"),
            (self.overtaken, "overtaken attempt"),
            (self.probes, "hop-walk probe"),
        ] {
            if number > 0 {
                causes.push(format!("{} not listed (--all does)", count(number, what)));
            }
        }
        if !causes.is_empty() {
            let _ = writeln!(out, "  causes: {}", causes.join(", "));
        }
        for (label, buckets) in self
            .tally
            .iter()
            .flat_map(|tally| [("SYN to SYN/ACK", &tally.syn_to_answer), ("SYN/ACK to ACK", &tally.answer_to_ack)])
        {
            if let (Some(median), Some(tail)) = (percentile(buckets, 50), percentile(buckets, 99)) {
                let _ = writeln!(out, "  {label}: half under {}, 99 % under {}", duration(median), duration(tail));
            }
        }
        for (server, told, established) in self.worst() {
            let counts = Outcome::ALL
                .into_iter()
                .filter(|it| *it != Outcome::Established && told[*it as usize] > 0)
                .map(|it| format!("{} {}", told[it as usize], it.name()))
                .collect::<Vec<_>>();
            let _ = write!(out, "  {}: {}", endpoint(server), counts.join(", "));
            if established > 0 {
                let _ = write!(out, "; {established} {}", self.established());
            }
            let works = self.works(server);
            if !works.is_empty() {
                let ports = works.iter().map(|(port, count)| format!("{port} ({count})")).collect::<Vec<_>>();
                let _ = write!(out, "; {} answers on {}", ip(server.addr), ports.join(", "));
            }
            out.push('\n');
        }
        for (text, _) in &self.findings {
            let _ = writeln!(out, "  {text}");
        }
        if let Some(Table { slots, most_pending, youngest_replaced }) = self.table {
            let _ = write!(out, "  table: at most {most_pending} of {slots} slots pending");
            if let Some(age) = youngest_replaced {
                let _ = write!(out, "; the youngest that lost its slot was {} old", duration(age));
            }
            out.push('\n');
        }
        if let Ok(tally) = &self.tally {
            let seen = |it: &Counter| tally.counters[*it as usize];
            let packets = Counter::ALL.iter().filter(|it| is_packets(**it) && seen(it) > 0);
            let packets = packets.map(|it| format!("{} {}", seen(it), it.name())).collect::<Vec<_>>();
            let packets = if packets.is_empty() { "none".to_owned() } else { packets.join(", ") };
            let _ = writeln!(out, "  packets: {packets}");
        }
        let _ = write!(out, "  {}", self.loss_line());
        out
    }

    /// What was lost, in a line.
    #[must_use]
    pub fn loss_line(&self) -> String {
        let losses = self.losses();
        let mut losses = losses.iter().map(|(stage, count)| format!("{count} {stage}")).collect::<Vec<_>>();
        if let Some(unread) = self.unread() {
            losses.push(format!("those in the kernel are unknown: {unread}"));
        } else if losses.is_empty() {
            losses.push("none".to_owned());
        }
        format!("losses: {}", losses.join(", "))
    }

    /// The last JSON line.
    #[must_use]
    pub fn json(&self) -> String {
        let object = |pairs: Vec<(String, u64)>| {
            Value::Object(pairs.into_iter().map(|(name, count)| (name, json!(count))).collect::<Map<_, _>>())
        };
        let outcomes = Outcome::ALL.into_iter().map(|outcome| {
            let is_known = self.tally.is_ok() || !is_counted_by_kernel(outcome);
            (outcome.name().to_owned(), json!(is_known.then_some(self.told[outcome as usize])))
        });
        let tally = self.tally.as_ref().ok();
        let counters = |wanted: fn(Counter) -> bool| {
            let counters = |tally: &Counters| {
                let counters = Counter::ALL.iter().filter(|it| wanted(**it));
                object(counters.map(|it| (it.name().to_owned(), tally.counters[*it as usize])).collect())
            };
            tally.map(counters)
        };
        let segments = |tally: &Counters| {
            object(Transition::ALL.iter().map(|&it| (name(it).to_owned(), tally.transitions[it as usize])).collect())
        };
        let servers: Vec<_> = self
            .worst()
            .into_iter()
            .map(|(server, told, established)| {
                let counts: Vec<_> = Outcome::ALL
                    .into_iter()
                    .filter(|it| *it != Outcome::Established && told[*it as usize] > 0)
                    .map(|it| (it.name().to_owned(), told[it as usize]))
                    .collect();
                json!({
                    "ip": ip(server.addr).to_string(),
                    "port": server.port,
                    "attempts": object(counts),
                    if self.offline { "established" } else { "established_in_table" }: established,
                    "other_ports_established": self.works(server).into_iter().map(|(port, _)| port).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "v": super::json::VERSION,
            "type": "summary",
            "traced_for_s": self.traced_for as f64 / 1e9,
            "interfaces": self.interfaces,
            "hooks": self.hooks.iter().map(|it| json!({
                "interface": it.interface, "ingress": it.ingress, "reason": it.reason, "egress": it.egress,
            })).collect::<Vec<_>>(),
            "attempts": {
                "opened": tally.map(|it| it.transitions[Transition::Opened as usize]),
                "by_outcome": Value::Object(outcomes.collect()),
                "stalled": self.stalls,
                "recovered": self.recovered,
                "in_flight": self.in_flight,
                "health_checks": self.health_checks,
                "overtaken": self.overtaken,
                "probes": self.probes,
            },
            "causes": object(self.causes.counts().into_iter().map(|(cause, count)| (cause.to_owned(), count)).collect()),
            "packets": counters(is_packets),
            "segments": tally.map(segments),
            "counters": counters(|it| !is_packets(it)),
            "worst": servers,
            "findings": self.findings.iter().map(|(_, it)| it).collect::<Vec<_>>(),
            "table": self.table.map(|it| json!({
                "slots": it.slots,
                "most_pending": it.most_pending,
                "youngest_replaced_s": it.youngest_replaced.map(|it| it as f64 / 1e9),
            })),
            "losses": object(self.losses()),
            "uncounted": self.unread(),
        })
        .to_string()
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
const fn is_packets(it: Counter) -> bool {
    matches!(
        it,
        Counter::Established
            | Counter::Control
            | Counter::IcmpError
            | Counter::NotTcp
            | Counter::NotIp
            | Counter::LaterFragment
            | Counter::Malformed
    )
}

/// Nanoseconds that a percentage of the times stays under; the upper end of a bucket. `None` without times.
fn percentile(buckets: &[u64], percent: u64) -> Option<u64> {
    let total: u64 = buckets.iter().sum();
    let wanted = (total * percent).div_ceil(100);
    let mut sum = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        sum += count;
        if sum >= wanted && total > 0 {
            return Some((1 << bucket) * 1_000);
        }
    }
    None
}

/// A transition's name in JSON.
const fn name(it: Transition) -> &'static str {
    match it {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(tally: Result<Counters, String>, user_losses: Vec<(&'static str, u64)>) -> Summary {
        Summary {
            offline: false,
            traced_for: 1_000_000_000,
            interfaces: vec!["eth0".to_owned()],
            hooks: Vec::new(),
            tally,
            told: [0; Outcome::ALL.len()],
            stalls: 0,
            recovered: 0,
            health_checks: 0,
            overtaken: 0,
            probes: 0,
            causes: Causes::default(),
            in_flight: 0,
            servers: HashMap::new(),
            findings: Vec::new(),
            table: None,
            user_losses,
        }
    }

    #[test]
    fn losses_are_none_only_where_the_counters_say_so() {
        let unread = || Err("Bad file descriptor".to_owned());
        let unknown = "those in the kernel are unknown: the kernel's counters could not be read: Bad file descriptor";
        let mut lost = Counters::default();
        lost.lost[Transition::Refused as usize] = 4;
        let shed = || vec![("output_shed", 3)];
        for (what, summary, is_complete, expected) in [
            ("nothing", summary(Ok(Counters::default()), vec![]), true, "losses: none".to_owned()),
            ("both", summary(Ok(lost), shed()), false, "losses: 4 ring_full_refused, 3 output_shed".to_owned()),
            ("unread", summary(unread(), vec![]), false, format!("losses: {unknown}")),
            ("unread, and lost here", summary(unread(), shed()), false, format!("losses: 3 output_shed, {unknown}")),
        ] {
            assert_eq!((summary.is_complete(), summary.loss_line()), (is_complete, expected), "{what}");
        }
    }

    #[test]
    fn what_was_not_counted_is_null_with_its_reason() {
        let json = |tally| serde_json::from_str::<Value>(&summary(tally, vec![]).json()).expect("JSON");
        let unread = json(Err("Bad file descriptor".to_owned()));
        for field in ["/attempts/opened", "/attempts/by_outcome/closed", "/packets", "/segments", "/counters"] {
            assert_eq!(unread.pointer(field), Some(&Value::Null), "{field}");
            assert!(json(Ok(Counters::default())).pointer(field).is_some_and(|it| !it.is_null()), "{field}");
        }
        assert_eq!(unread.pointer("/attempts/by_outcome/refused"), Some(&json!(0)), "userspace counts it");
        assert_eq!(unread["uncounted"], "the kernel's counters could not be read: Bad file descriptor");
        assert_eq!(json(Ok(Counters::default()))["uncounted"], Value::Null);
    }
}
