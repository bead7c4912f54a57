//! The desk of a session: reports go in, lines come out.

use std::path::Path;

use tcptrace_core::handshake::Nanos;
use tcptrace_report::{Format, finding::Finding};
use tcptrace_vocabulary::{
    incident::{Incident, Phase},
    report::Report,
    verdict::Unsent,
};

use super::Session;
use crate::{
    clock::monotonic,
    desk::{Disposition, Settled, Wanted},
    live::{findings, why::Here},
    output,
};

/// The lookups of the desk, borrowed from the session's other parts.
macro_rules! here {
    ($session:ident) => {
        Here {
            judge: &mut $session.judge,
            table: &$session.feed.kernel.table,
            filter: $session.options.filter.as_ref(),
            selection: &$session.options.selection,
            started: $session.feed.started,
        }
    };
}

impl Session {
    /// Prints what many attempts have in common, as far as that is news.
    pub(super) fn look_for_findings(&mut self, now: Nanos) {
        findings::feed(&mut self.accounts, &mut self.desk);
        let found = self.desk.look(now);
        self.print_findings(&found);
    }

    /// Prints what is news of incidents. While one runs, what works beside it counts.
    pub(super) fn look_at_incidents(&mut self, now: Nanos) {
        let successes = self.judge.successes(&self.feed.kernel.table, self.desk.has_incidents());
        successes.into_iter().for_each(|(began, server)| self.desk.see_success(server, began));
        let incidents = self.desk.look_at_incidents(now);
        self.print_incidents(&incidents);
    }

    pub(super) fn print_incidents(&self, incidents: &[Incident]) {
        if let Some(runner) = &self.runner {
            let edges = incidents.iter().filter(|it| it.phase != Phase::Update);
            edges.filter_map(|it| Format::Json.incident(it, &self.setting, false)).for_each(|line| runner.run(line));
        }
        let line = |it| self.options.format.incident(it, &self.setting, self.options.each);
        incidents.iter().filter_map(line).for_each(|line| self.line(line));
    }

    pub(super) fn print_findings(&self, found: &[Finding]) {
        for finding in found {
            if let Some(runner) = &self.runner {
                runner.run(Format::Json.finding(finding, &self.setting));
            }
            self.line(self.options.format.finding(finding, &self.setting));
        }
    }

    /// Takes note of all reports before any is decided: what others of the same moment did is evidence.
    pub(super) fn tell(&mut self, reports: impl IntoIterator<Item = Report>) {
        let mut reports: Vec<_> = reports.into_iter().collect();
        for report in &mut reports {
            let attempt = report.attempt_mut();
            attempt.outer = self.feed.kernel.table.outer(&attempt.handshake);
            // A probe is not meant to arrive, and says nothing of its host.
            if self.judge.is_probe(report.attempt()) {
                continue;
            }
            self.judge.note(report);
            if let Report::Attempt(attempt) = report {
                self.desk.see(attempt);
            }
        }
        let now = monotonic();
        for report in reports {
            let mut here = here!(self);
            if let Some(settled) = self.desk.receive(report, &mut here, now) {
                self.print(&settled);
            }
        }
    }

    /// Prints what was held for long enough; with `all`, decides whatever is held.
    pub(super) fn tell_due(&mut self, now: Nanos, all: bool) {
        let mut here = here!(self);
        for settled in self.desk.due(now, all, &mut here) {
            self.print(&settled);
        }
    }

    fn print(&mut self, Settled { report, is_line }: &Settled) {
        let attempt = report.attempt();
        let proven = attempt.is_trouble() && !matches!(report, Report::Stall(_));
        if let Some(evidence) = self.evidence.as_mut().filter(|_| proven) {
            evidence.verdict(attempt);
        }
        if *is_line {
            self.line(self.options.format.report(report, &self.setting));
        }
    }

    /// Prints calls of connect(2) that put no SYN on the wire.
    pub(super) fn tell_unsent(&mut self, unsent: Vec<Unsent>) {
        let now = monotonic();
        for mut call in unsent {
            let client = call.client.unwrap_or_default();
            let is_ours = self.options.filter.as_ref().is_none_or(|filter| filter.matches(client, call.server));
            let caller = || self.options.selection.wants(&[Ok(Some(call.process.clone()))]);
            let wanted = if is_ours { caller() } else { Wanted::No };
            if self.desk.receive_unsent(&mut call, wanted, now) == Disposition::Print {
                self.line(self.options.format.unsent(&call, &self.setting));
            }
        }
    }

    fn line(&self, line: String) {
        if let Some(output) = self.printed.output.as_ref().filter(|_| !self.is_silent()) {
            output.line(line);
        }
    }

    /// Says a summary in text: in the file of `--log` if that is text as well, else on standard error.
    pub(super) fn say_summary(&self, summary: &str) {
        match &self.printed.output {
            Some(output) if self.logs_text() => output.line(output::said(summary)),
            _ => say!("{summary}"),
        }
    }

    pub(super) fn logs_text(&self) -> bool {
        self.options.log.is_some() && self.options.format != Format::Json
    }

    /// Standard output is the evidence's.
    pub(super) fn is_silent(&self) -> bool {
        self.options.log.is_none() && self.options.write.as_deref() == Some(Path::new("-"))
    }
}
