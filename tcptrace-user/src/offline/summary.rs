//! A run's account: the summary, from the desk's totals and what worked.

use std::collections::HashMap;

use tcptrace_core::flow::Endpoint;
use tcptrace_report::summary::Summary;
use tcptrace_vocabulary::outcome::Outcome;

use super::Run;
use crate::{desk::ByOutcome, output};

impl Run<'_> {
    pub(super) fn summary(&self, evidence_shed: u64) -> Summary {
        let (totals, worked) = (self.desk.totals(), &self.flows.worked);
        let mut servers: HashMap<Endpoint, (ByOutcome, u64)> = HashMap::new();
        for (server, ends) in totals.servers.iter().chain(worked.servers.iter()) {
            let (all, opened) = servers.entry(server).or_default();
            all.iter_mut().zip(ends).for_each(|(sum, more)| *sum += more);
            *opened += Outcome::ALL.into_iter().filter(|it| it.is_open()).map(|it| ends[it as usize]).sum::<u64>();
        }
        let findings = self.desk.findings();
        let tunnels = if self.args.decap { Vec::new() } else { self.flows.tunnels() };
        let unsupported = self.input.unsupported.values().sum();
        Summary {
            table: None,
            out_of_order: self.flows.out_of_order,
            tunnels,
            findings,
            incidents: self.desk.incidents(),
            on_incident: None,
            ignored: self.desk.ignored(self.flows.now),
            offline: true,
            traced_for: self.flows.now.since(self.flows.began.unwrap_or(self.flows.now)),
            interfaces: self.input.files.clone(),
            selected: None,
            interfaces_gone: 0,
            hooks: Vec::new(),
            tally: Ok(self.flows.tally),
            told: self.ends(),
            stalls: totals.stalls,
            recovered: totals.recovered,
            health_checks: totals.health_checks,
            causes: totals.causes.clone(),
            overtaken: totals.overtaken,
            probes: totals.probes,
            unlisted: totals.unlisted,
            in_flight: 0,
            servers,
            user_losses: vec![
                ("damaged", self.input.damaged),
                ("unsupported_link_type", unsupported),
                ("told_early", self.flows.evicted),
                ("servers_forgotten", totals.servers.forgotten + worked.servers.forgotten),
                ("findings_forgotten", self.desk.forgotten()),
                ("cut_by_snaplen", self.flows.cut),
                ("evidence_cut", self.flows.evidence_cut),
                ("evidence_shed", evidence_shed),
                ("messages_shed", output::shed_messages()),
                ("log_lost", self.page.log_lost()),
            ],
        }
    }

    /// Attempts that ended, by outcome.
    pub(super) fn ends(&self) -> ByOutcome {
        let worked = self.flows.worked.by_outcome;
        let mut sum = self.desk.totals().by_outcome;
        sum.iter_mut().zip(worked).for_each(|(sum, more)| *sum += more);
        sum
    }
}
