//! What is told of what was found, and what is only counted.

use std::path::Path;

use tcptrace_report::{connect, finding::Finding, json, text};
use tcptrace_vocabulary::{outcome::Outcome, report::Report, verdict::Unsent};

use super::Session;
use crate::{clock::monotonic, exit::FailOn};

impl Session {
    /// Tells what was found of many attempts together.
    pub(super) fn find(&mut self, findings: Vec<Finding>) {
        for it in findings {
            self.printed.found |= self.options.fail_on.contains(&FailOn::Any);
            let line = if self.options.json { it.line(&self.setting) } else { it.text(&self.setting) };
            self.line(line);
        }
    }

    pub(super) fn tell(&mut self, reports: impl IntoIterator<Item = Report>) {
        let reports: Vec<_> = reports.into_iter().map(|it| (self.diagnosis.is_probe(it.attempt()), it)).collect();
        // What was not meant to arrive says nothing of its host.
        reports.iter().filter(|(is_probe, _)| !is_probe).for_each(|(_, it)| self.diagnosis.note(it));
        for (is_probe, report) in reports {
            let it = report.attempt();
            // It was sent while a hook was still missing, by which its answer may have come.
            if it.outcome == Outcome::NoReply && it.handshake.last_syn < self.feed.started {
                if matches!(report, Report::Attempt(_)) {
                    self.feed.tracker.forgive(it.handshake.server(), it.outcome, 1);
                }
                continue;
            }
            if is_probe && !self.options.all && self.diagnosis.probes.takes(&report, monotonic()) {
                if let Report::Attempt(it) = &report {
                    self.feed.tracker.forgive(it.handshake.server(), it.outcome, 1);
                }
                continue;
            }
            let checks = if self.options.all { None } else { self.diagnosis.checks.takes(&report, monotonic()) };
            match checks {
                Some(checks) => {
                    let it = report.attempt();
                    self.feed.tracker.forgive(it.handshake.server(), it.outcome, checks);
                }
                None if !self.options.all && self.diagnosis.holds(&report, monotonic()) => {}
                None => self.tell_one(report),
            }
        }
    }

    /// Tells a report, unless nobody wants it.
    pub(super) fn tell_one(&mut self, mut report: Report) {
        let it = report.attempt_mut();
        it.outer = self.feed.kernel.table.outer(&it.handshake);
        if self
            .options
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.matches(it.handshake.client(), it.handshake.server()))
        {
            return;
        }
        // Of what was told when it opened the end is no other attempt.
        let counts = match &report {
            Report::Stall(_) => false,
            Report::Open(_) => true,
            Report::Attempt(it) => !(self.options.all && it.outcome.is_open()),
        };
        let it = report.attempt();
        let is_end = matches!(report, Report::Attempt(_));
        self.printed.found |= is_end && self.options.fail_on.iter().any(|finding| finding.covers(it.outcome));
        // Of what was told as stalled or open the end is told all the same.
        if self.enough() && (!is_end || counts && it.stalled.is_none()) {
            return;
        }
        if is_end && !(self.options.all || it.is_trouble()) {
            return;
        }
        if self.findings.takes(&report, monotonic()) {
            return;
        }
        if !self.options.all && self.diagnosis.is_overtaken(report.attempt(), &self.feed.kernel.table, monotonic()) {
            self.diagnosis.note_overtaken(&report, &mut self.findings.networks, &self.feed.kernel.table, monotonic);
            return;
        }
        let it = report.attempt_mut();
        if it.wants_cause() {
            self.diagnosis.explain(it, &self.feed.kernel.table, monotonic);
        }
        let it = report.attempt();
        let proven = it.is_trouble() && !matches!(report, Report::Stall(_));
        if let Some(evidence) = self.evidence.as_mut().filter(|_| proven) {
            evidence.verdict(it);
        }
        self.printed.told += u64::from(counts);
        let line = if self.options.json {
            json::line(&report, &self.setting)
        } else {
            text::line(&report, &self.setting, self.options.quiet, self.options.verbose > 0)
        };
        self.line(line);
    }

    /// Tells of calls of connect(2) that put no SYN on the wire.
    pub(super) fn tell_unsent(&mut self, unsent: &[Unsent]) {
        let client = |it: &Unsent| it.client.unwrap_or_default();
        let wanted =
            |it: &&Unsent| self.options.filter.as_ref().is_none_or(|filter| filter.matches(client(it), it.server));
        for it in unsent.iter().filter(wanted) {
            self.printed.found |= self.options.fail_on.contains(&FailOn::Any);
            let line = if self.options.json {
                connect::line(it, &self.setting)
            } else {
                connect::text(it, &self.setting, self.options.quiet)
            };
            self.line(line);
        }
    }

    fn line(&self, line: String) {
        if let Some(output) = self.printed.output.as_ref().filter(|_| !self.is_silent()) {
            output.line(line);
        }
    }

    /// Standard output is the evidence's.
    pub(super) fn is_silent(&self) -> bool {
        self.options.write.as_deref() == Some(Path::new("-"))
    }
}
