//! The desk of a run over captures: attempts go in, lines come out.

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Nanos,
};
use tcptrace_report::finding::Finding;
use tcptrace_verdict::{case::Case, judge, past::Past, patterns::Surroundings};
use tcptrace_vocabulary::{
    attempt::{Attempt, OtherHalf},
    facts::{Local, Missing},
    incident::Incident,
    network::Network,
    report::Report,
    verdict::{Verdict, Why},
};

use super::{
    Run, Stop,
    flows::{Finished, Kept},
};
use crate::{
    cli,
    desk::{Settled, Wanted, World},
};

/// The longest time, in nanoseconds, by which a flood's attempts may have begun before it.
const AHEAD: u64 = 3_000_000_000;

impl Run<'_> {
    /// Reports what can be reported.
    pub(super) fn tell(&mut self) -> Result<(), Stop> {
        loop {
            let ready = self.flows.ready();
            if ready.is_empty() {
                return Ok(());
            }
            self.tell_all(ready)?;
        }
    }

    fn tell_all(&mut self, attempts: Vec<Finished>) -> Result<(), Stop> {
        for (handshake, outcome, last) in self.flows.checks() {
            self.desk.see_end(&handshake, outcome, last);
        }
        for (began, server) in self.flows.successes() {
            self.desk.see_success(server, began);
        }
        let passages = self.flows.passages();
        for (last, passage) in &passages {
            self.flows.history.note_flood(passage.owner, passage.since, *last);
        }
        self.passages.extend(passages);
        for told in attempts {
            let now = told.attempt.handshake.first_syn;
            self.feed(now)?;
            let recorded = self.recorded.remove(&told.attempt.id());
            let mut world = Captured { past: &self.flows.history, is_overtaken: told.is_overtaken, recorded };
            let settled = self.desk.receive(Report::Attempt(told.attempt), &mut world, now);
            if let Some(settled) = settled {
                self.tell_one(&settled, &told.packets, told.decided)?;
            }
            let found = self.desk.look(now);
            self.print_findings(found)?;
            let incidents = self.desk.look_at_incidents(now);
            self.print_incidents(&incidents)?;
            if self.desk.is_full() {
                return Err(Stop::Enough);
            }
        }
        Ok(())
    }

    /// Brings the desk the floods that had begun by then.
    pub(super) fn feed(&mut self, now: Nanos) -> Result<(), Stop> {
        while let Some((last, passage)) =
            self.passages.pop_front_if(|(_, it)| it.since.0 <= now.0.saturating_add(AHEAD))
        {
            let found = self.desk.flood(passage, last);
            self.print_findings(found)?;
        }
        Ok(())
    }

    fn tell_one(
        &mut self,
        Settled { report, is_line }: &Settled,
        packets: &[Kept],
        decided: usize,
    ) -> Result<(), Stop> {
        if report.attempt().is_trouble()
            && let Err(error) = self.prove(report.attempt(), packets, decided)
        {
            self.on_evidence_error(error)?;
        }
        if !is_line {
            return Ok(());
        }
        self.page.line.clear();
        cli::format(self.args).write_report(&mut self.page.line, report, &self.setting);
        self.page.print(self.proof.writer.is_some())
    }

    pub(super) fn print_incidents(&mut self, incidents: &[Incident]) -> Result<(), Stop> {
        for incident in incidents {
            let line = cli::format(self.args).incident(incident, &self.setting, cli::lists_each(self.args));
            let Some(line) = line else { continue };
            self.page.line.clear();
            self.page.line.extend_from_slice(line.as_bytes());
            self.page.print(self.proof.writer.is_some())?;
        }
        Ok(())
    }

    /// Prints what many attempts have in common.
    pub(super) fn print_findings(&mut self, found: Vec<Finding>) -> Result<(), Stop> {
        for finding in &found {
            self.page.line.clear();
            let line = cli::format(self.args).finding(finding, &self.setting);
            self.page.line.extend_from_slice(line.as_bytes());
            self.page.print(self.proof.writer.is_some())?;
        }
        Ok(())
    }
}

/// The lookups of the desk in a capture: nothing is known of this host, since a capture may be of any.
struct Captured<'a> {
    past: &'a Past,
    /// Whether the report's attempt lost a race.
    is_overtaken: bool,
    /// The verdict that the capture has of it.
    recorded: Option<Verdict>,
}

impl Surroundings for Captured<'_> {
    fn answered_since(&mut self, host: Addr, since: Nanos) -> bool {
        self.past.answered_since(host, since)
    }

    fn answers(&mut self, network: Network, at: Nanos) -> bool {
        self.past.is_heard(network.addresses(), at)
    }

    fn has_opened(&mut self, server: Endpoint) -> bool {
        self.past.host(server.addr).is_some_and(|host| host.has_opened(server.port))
    }

    fn is_here(&mut self, _address: Addr) -> bool {
        false
    }
}

impl World for Captured<'_> {
    /// The filter was asked when the attempt ended.
    fn is_wanted(&mut self, _report: &Report) -> Wanted {
        Wanted::Yes
    }

    fn race(&mut self, _attempt: &Attempt, _now: Nanos) -> Option<Nanos> {
        None
    }

    fn is_overtaken(&mut self, _attempt: &Attempt, _now: Nanos) -> bool {
        self.is_overtaken
    }

    fn other_half(&mut self, attempt: &Attempt) -> Option<OtherHalf> {
        self.past.other_half(&attempt.handshake)
    }

    fn is_half_of_another(&mut self, attempt: &Attempt) -> bool {
        self.past.is_half_of_another(&attempt.handshake, attempt.outcome)
    }

    fn explain(&mut self, attempt: &mut Attempt, checks: u32) {
        let local = Local::unknown(Missing::NotAsked);
        let recorded = self.recorded.is_some();
        let judged = || judge(&Case { attempt, local: &local, past: self.past, checks });
        let verdict = self.recorded.take().unwrap_or_else(judged);
        attempt.why = Some(Box::new(Why { verdict, local, recorded }));
    }
}
