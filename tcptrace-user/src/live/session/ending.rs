//! The sum of a run, and its end.

use std::{
    collections::{BTreeSet, HashMap},
    process::ExitCode,
    thread,
    time::Duration,
};

use tcptrace_core::{
    event::{Counter, Counters, is_open},
    handshake::{Nanos, State, Transition},
};
use tcptrace_report::summary::{self, Summary};
use tcptrace_vocabulary::outcome::Outcome;

use super::Session;
use crate::{
    clock::monotonic,
    exit,
    host::Tunnels,
    live::{evidence::Evidence, on_incident::Runner},
    output::{self, Output},
    recorder::FileTotals,
};

/// Longer than connect(2) takes to its SYN, or to fail without one; and longer than a reading of the calls is kept.
const UNDER_WAY: Duration = Duration::from_millis(110);

impl Session {
    pub(super) fn summary(&self) -> Summary {
        let totals = self.desk.totals();
        let mut servers: HashMap<_, _> = totals.servers.iter().map(|(server, ends)| (server, (ends, 0))).collect();
        let mut in_flight = 0;
        let mut told = totals.by_outcome;
        // The table has them all, reported or not.
        told[Outcome::HalfClosed as usize] = 0;
        let tally = self.feed.kernel.tally().map_err(|error| error.to_string());
        let now = if self.feed.ended == Nanos(0) { monotonic() } else { self.feed.ended };
        for it in self.feed.kernel.table.attempts() {
            if it.state() == State::Established {
                servers.entry(it.server()).or_default().1 += 1;
                told[Outcome::HalfClosed as usize] += u64::from(Outcome::to_the_end(&it) == Some(Outcome::HalfClosed));
            } else if matches!(it.state(), State::SynSent | State::SynReceived) && !self.feed.tracker.has_told(&it, now)
            {
                in_flight += 1;
            }
        }
        if let Ok(tally) = &tally {
            count_ends(tally, &mut told);
        }
        Summary {
            offline: false,
            table: Some(summary::Table {
                slots: self.feed.kernel.table.capacity() as u64,
                most_pending: self.feed.most_pending as u64,
                youngest_replaced: tally.as_ref().ok().map(|it| it.youngest_replaced).filter(|&age| age > 0),
            }),
            out_of_order: 0,
            tunnels: self.tunnels.as_ref().map(Tunnels::counts).unwrap_or_default(),
            findings: self.desk.findings(),
            incidents: self.desk.incidents(),
            on_incident: self.runner.as_ref().map(Runner::counts),
            ignored: self.desk.ignored(now),
            traced_for: now.since(self.feed.started),
            hooks: self.attachments.hooks(),
            interfaces: self.interfaces(),
            interfaces_gone: self.attachments.went,
            selected: self.options.interfaces.has_patterns().then(|| self.options.interfaces.to_string()),
            tally,
            told,
            stalls: totals.stalls,
            health_checks: totals.health_checks,
            overtaken: totals.overtaken + self.judge.overtaken_calls(),
            probes: totals.probes,
            unlisted: totals.unlisted,
            causes: totals.causes.clone(),
            recovered: totals.recovered,
            in_flight,
            servers,
            user_losses: self.user_losses(),
        }
    }

    fn user_losses(&self) -> Vec<(&'static str, u64)> {
        let mut losses = vec![
            ("undecodable", self.feed.reader.undecodable),
            ("untracked", self.feed.tracker.untracked),
            ("servers_forgotten", self.desk.totals().servers.forgotten),
            ("connects_unexplained", self.judge.unexamined()),
            ("interfaces_untraced", self.attachments.untraced),
            ("findings_forgotten", self.desk.forgotten()),
            ("output_shed", self.printed.output.as_ref().map_or(0, Output::shed)),
            ("messages_shed", output::shed_messages()),
            ("log_lost", self.printed.output.as_ref().map_or(0, Output::log_lost)),
        ];
        losses.extend(self.evidence.iter().flat_map(Evidence::losses));
        losses
    }

    /// Names of the interfaces, without those of a pattern that have gone.
    fn interfaces(&self) -> Vec<String> {
        let named = self.setting.interfaces.iter().filter(|(index, _)| !self.attachments.has_gone(**index));
        named.map(|(_, name)| name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Tells what is still open, and sums up: in the last JSON line, or behind the last text line.
    pub(super) fn end(mut self) -> ExitCode {
        self.tell_unsent_at_end();
        let table = &self.feed.kernel.table;
        let mut reports = self.feed.tracker.finish(|it| table.find(it));
        if self.options.all {
            let mut open: Vec<_> = table.attempts().filter(is_open).collect();
            open.sort_unstable_by_key(|it| it.first_syn);
            reports.extend(open.iter().map(|it| self.feed.tracker.close(it, self.feed.ended, true)));
        }
        self.look_for_findings(self.feed.ended);
        self.tell(reports);
        self.tell_due(self.feed.ended, true);
        let found = self.desk.end();
        self.print_findings(&found);
        let over = self.desk.end_incidents(self.feed.ended);
        self.print_incidents(&over);
        // The summary has what became of them.
        self.runner.iter_mut().for_each(Runner::settle);
        self.complete_evidence();
        if self.options.log.is_some() {
            // The summary has the lines that were lost.
            self.printed.output.iter().for_each(Output::settle);
        }
        let summary = self.summary();
        // The ends of connections are reported one by one with --all only, and counted by the kernel in any case: those
        // that the filter wants, if the kernel knows it. It knows no process.
        let are_exact = self.options.selection.is_empty()
            && self.options.filter.as_ref().is_none_or(|filter| filter.tests().is_some());
        let lost = summary.tally.as_ref().ok().filter(|_| are_exact).map(lost_failures).unwrap_or_default();
        let is_failed = self.desk.is_failed(are_exact.then_some(&summary.told), &lost);
        let is_logged = self.finish_output(&summary);
        if !is_logged || self.evidence.as_ref().is_some_and(Evidence::has_failed) {
            ExitCode::from(exit::RUNTIME)
        } else if is_failed {
            ExitCode::from(exit::FINDINGS)
        } else {
            ExitCode::SUCCESS
        }
    }

    /// Prints the summary, and sees all lines out; false where the file of `--log` lacks some.
    fn finish_output(&mut self, summary: &Summary) -> bool {
        let closing = self.options.format.closing(summary, &self.setting);
        let is_logged = self.logs_text();
        let last = if is_logged {
            closing.as_deref().map(output::said)
        } else {
            self.options.format.last_line(summary, &self.setting).filter(|_| !self.is_silent())
        };
        let lost = self.printed.output.take().map_or(0, |output| output.finish(last));
        if let Some(closing) = closing.filter(|_| !is_logged) {
            say!("{closing}");
        }
        if let Some(path) = self.options.log.as_ref().filter(|_| lost > 0) {
            say!("{lost} lines of the log '{}' are lost", path.display());
        }
        lost == 0
    }

    /// Reports the calls of connect(2) that failed just now.
    fn tell_unsent_at_end(&mut self) {
        // A call that was under way when the programs were taken off has its SYN, or its failure, by then.
        thread::sleep(UNDER_WAY);
        let unsent = self.judge.unsent_at_end(monotonic(), &self.feed.kernel.table, self.feed.ended);
        self.tell_unsent(unsent);
    }

    fn complete_evidence(&mut self) {
        let summary = self.summary();
        let Some(evidence) = &mut self.evidence else { return };
        let wall = |at| u64::try_from(self.setting.clock.wall(at)).unwrap_or_default();
        evidence.finish(
            &self.setting,
            FileTotals {
                start_ns: wall(self.feed.started),
                end_ns: wall(self.feed.ended),
                dropped: summary.tally.as_ref().ok().map(|it| it.counters[Counter::EvidenceLost as usize]),
                comment: format!("packets of failed handshakes only; {}", summary.loss_line()),
            },
        );
    }
}

/// The outcomes of failures whose events were lost: the kernel counts them by what happened.
fn lost_failures(counters: &Counters) -> Vec<Outcome> {
    let failures = [
        (Outcome::Refused, Transition::Refused),
        (Outcome::Unreachable, Transition::Unreachable),
        (Outcome::Aborted, Transition::Aborted),
        (Outcome::ResetOnAnswer, Transition::ResetOnAnswer),
    ];
    let is_lost = |transition: Transition| counters.lost[transition as usize] > 0;
    failures.into_iter().filter(|(_, transition)| is_lost(*transition)).map(|(outcome, _)| outcome).collect()
}

/// Adds the ends of connections, which the kernel counts; that one is half closed, only its slot says.
fn count_ends(tally: &Counters, told: &mut [u64; Outcome::ALL.len()]) {
    let count = |transition: Transition| tally.transitions[transition as usize];
    let ends = [
        (Outcome::Closed, Transition::Closed),
        (Outcome::ResetByClient, Transition::ResetByClient),
        (Outcome::ResetByServer, Transition::ResetByServer),
    ];
    ends.into_iter().for_each(|(outcome, transition)| told[outcome as usize] = count(transition));
    let ended: u64 = ends.into_iter().map(|(_, transition)| count(transition)).sum();
    told[Outcome::Established as usize] =
        count(Transition::Completed).saturating_sub(ended + told[Outcome::HalfClosed as usize]);
}
