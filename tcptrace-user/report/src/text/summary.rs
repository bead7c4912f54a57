//! The summary for people: a paragraph, and its last line alone.

use std::fmt::Write as _;

use tcptrace_core::{
    event::{Counter, Counters},
    flow::Endpoint,
    handshake::Transition,
};
use tcptrace_vocabulary::{
    outcome::Outcome,
    words::{count, endpoint, ip},
};

use super::columns::duration;
use crate::summary::{
    Ignored, IncidentCounts, Runs, Summary, Table, Times, at_once, from_first_syn, is_packets, percentile,
};

impl Summary {
    /// The paragraph for people, without its end.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![self.totals()];
        lines.extend(self.cause_line());
        lines.extend(self.unlisted_line());
        lines.extend(self.tally.iter().flat_map(time_lines));
        lines.extend(self.order_line());
        lines.extend(self.worst().into_iter().map(|worst| self.server_line(worst)));
        lines.extend(self.incident_line());
        lines.extend(self.ignored.iter().map(ignored_line));
        lines.extend(self.on_incident.as_ref().map(runs_line));
        lines.extend(self.findings.iter().map(|finding| format!("  {}", finding.plain())));
        lines.extend(self.table.as_ref().map(table_line));
        lines.extend(self.tally.as_ref().ok().map(packet_line));
        lines.extend(self.tunnels.iter().map(|tunnel| tunnel_line(tunnel, self.offline)));
        lines.push(format!("  {}", self.loss_line()));
        lines.join("\n")
    }

    /// The losses, in a line.
    #[must_use]
    pub fn loss_line(&self) -> String {
        let losses = self.losses();
        let mut losses: Vec<_> = losses.iter().map(|(stage, count)| format!("{count} {stage}")).collect();
        if let Some(unread) = self.unread() {
            losses.push(format!("those in the kernel are unknown: {unread}"));
        } else if losses.is_empty() {
            losses.push("none".to_owned());
        }
        format!("losses: {}", losses.join(", "))
    }

    fn totals(&self) -> String {
        let attempts = self.tally.as_ref().map_or_else(
            |_| "attempts and handshakes not counted".to_owned(),
            |tally| {
                let [opened, established] = [Transition::Opened, Transition::Completed]
                    .map(|transition| tally.transitions[transition as usize]);
                format!("{}, {established} completed", count(opened, "attempt"))
            },
        );
        let mut line = format!("{} on {}: {attempts}", duration(self.traced_for), self.place());
        for counted in counts(&self.told) {
            let _ = write!(line, ", {counted}");
        }
        let _ = write!(line, "; {} stalled, {} recovered, {} in flight", self.stalls, self.recovered, self.in_flight);
        line
    }

    /// The interfaces by name, or a pattern's by their number.
    fn place(&self) -> String {
        let Some(words) = &self.selected else { return self.interfaces.join(", ") };
        let gone = if self.interfaces_gone == 0 { String::new() } else { format!(", {} gone", self.interfaces_gone) };
        format!("{words} ({}{gone})", count(self.interfaces.len() as u64, "interface"))
    }

    fn cause_line(&self) -> Option<String> {
        let causes = self.causes.counts().into_iter().map(|(cause, count)| format!("{count} {cause}"));
        let unlisted =
            [(self.health_checks, "health check"), (self.overtaken, "lost race"), (self.probes, "diagnose probe")];
        let unlisted = unlisted.into_iter().filter(|(number, _)| *number > 0);
        let unlisted = unlisted.map(|(number, what)| format!("{} not listed (--all does)", count(number, what)));
        let all: Vec<_> = causes.chain(unlisted).collect();
        (!all.is_empty()).then(|| format!("  causes: {}", all.join(", ")))
    }

    fn unlisted_line(&self) -> Option<String> {
        let attempts = count(self.unlisted, "attempt");
        (self.unlisted > 0).then(|| format!("  not listed: {attempts} of unknown processes"))
    }

    fn order_line(&self) -> Option<String> {
        let attempts = count(self.out_of_order, "attempt");
        (self.out_of_order > 0).then(|| format!("  order: {attempts} with packets out of order in the capture"))
    }

    fn incident_line(&self) -> Option<String> {
        let IncidentCounts { begun, running, merged } = self.incidents;
        let mut line = format!("  incidents: {begun}, {running} not over");
        if merged > 0 {
            let _ = write!(line, "; {} counted together because too many ran", count(merged, "failure"));
        }
        (begun > 0).then_some(line)
    }

    fn server_line(&self, (server, told, established): (Endpoint, [u64; Outcome::ALL.len()], u64)) -> String {
        let mut line = format!("  {}: {}", endpoint(server), counts(&told).collect::<Vec<_>>().join(", "));
        if established > 0 {
            let what = if self.offline { "established" } else { "opened, still in the table" };
            let _ = write!(line, "; {established} {what}");
        }
        let works = self.works(server);
        if !works.is_empty() {
            let ports = works.iter().map(|(port, count)| format!("{port} ({count})")).collect::<Vec<_>>();
            let _ = write!(line, "; {} answers on {}", ip(server.addr), ports.join(", "));
        }
        line
    }
}

/// How long handshakes took. Those that had to send something again are in the line from the first SYN.
fn time_lines(tally: &Counters) -> Vec<String> {
    let [syns, answers] = [Counter::SynAgain, Counter::AnswerAgain].map(|it| tally.counters[it as usize]);
    let mut lines = Vec::new();
    let mut line = |label: &str, times: &Times| {
        if let (Some(median), Some(tail)) = (percentile(times, 50), percentile(times, 99)) {
            lines.push(format!("  {label}: half under {}, 99 % under {}", duration(median), duration(tail)));
        }
    };
    if syns + answers > 0 {
        line("first SYN to SYN/ACK", &from_first_syn(tally));
        line("SYN to SYN/ACK, each sent once", &at_once(tally));
    } else {
        line("SYN to SYN/ACK", &at_once(tally));
    }
    line("SYN/ACK to ACK", &tally.answer_to_ack);
    if syns + answers > 0 {
        let attempts = count(tally.transitions[Transition::Opened as usize], "attempt");
        lines.insert(
            0,
            format!("  sent again: of {attempts}, {syns} needed a second SYN and {answers} a second SYN/ACK"),
        );
    }
    lines
}

fn runs_line(Runs { runs, failed, skipped }: &Runs) -> String {
    format!("  on-incident: {}, {failed} failed, {skipped} skipped", count(*runs, "run"))
}

fn ignored_line(entry: &Ignored) -> String {
    let attempts = count(entry.attempts, "attempt");
    let end = if entry.has_expired { "expired" } else { "until" };
    let until = entry.until.strftime("%Y-%m-%d %H:%MZ");
    format!(
        "  ignored: {attempts} of '{}' ({}; {end} {until})",
        entry.filter.escape_debug(),
        entry.reason.escape_debug()
    )
}

fn tunnel_line((kind, number): &(&'static str, u64), is_all: bool) -> String {
    let sampled = if is_all { "" } else { " in a sample" };
    format!("  not looked into: {} of {kind}{sampled}; --decap does", count(*number, "packet"))
}

fn packet_line(tally: &Counters) -> String {
    let seen = |counter: Counter| tally.counters[counter as usize];
    let packets = Counter::ALL.iter().filter(|counter| is_packets(**counter) && seen(**counter) > 0);
    let packets: Vec<_> = packets.map(|counter| format!("{} {}", seen(*counter), counter.name())).collect();
    format!("  packets: {}", if packets.is_empty() { "none".to_owned() } else { packets.join(", ") })
}

/// Attempts by outcome in words, without the established ones.
fn counts(told: &[u64; Outcome::ALL.len()]) -> impl Iterator<Item = String> {
    let some = Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Established);
    let some = some.map(|outcome| (outcome, told[outcome as usize])).filter(|(_, count)| *count > 0);
    some.map(|(outcome, count)| format!("{count} {}", outcome.name()))
}

fn table_line(table: &Table) -> String {
    let Table { slots, most_pending, youngest_replaced } = table;
    let mut line = format!("  table: at most {most_pending} of {slots} slots pending");
    if let Some(age) = youngest_replaced {
        let _ = write!(line, "; the youngest that lost its slot was {} old", duration(*age));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::of_nothing;

    #[test]
    fn losses_are_none_only_where_the_counters_say_so() {
        let unread = || Err("Bad file descriptor".to_owned());
        let unknown = "those in the kernel are unknown: the kernel's counters could not be read: Bad file descriptor";
        let mut lost = Counters::default();
        lost.lost[Transition::Refused as usize] = 4;
        let shed = || vec![("output_shed", 3)];
        for (what, summary, is_complete, expected) in [
            ("nothing", of_nothing(Ok(Counters::default()), vec![]), true, "losses: none".to_owned()),
            ("both", of_nothing(Ok(lost), shed()), false, "losses: 4 ring_full_refused, 3 output_shed".to_owned()),
            ("unread", of_nothing(unread(), vec![]), false, format!("losses: {unknown}")),
            ("unread, and lost here", of_nothing(unread(), shed()), false, format!("losses: 3 output_shed, {unknown}")),
        ] {
            assert_eq!((summary.is_complete(), summary.loss_line()), (is_complete, expected), "{what}");
        }
    }
}
