//! A run's account: the summary, and what of it decides the exit code.

use tcptrace_report::{finding::Finding, summary::Summary};
use tcptrace_vocabulary::outcome::Outcome;

use super::Run;
use crate::output;

impl Run<'_> {
    pub(super) fn summary(&self, evidence_shed: u64) -> Summary {
        let opened = |told: &[u64; Outcome::ALL.len()]| {
            Outcome::ALL.into_iter().filter(|it| it.is_open()).map(|it| told[it as usize]).sum()
        };
        let findings = self.networks.all().cloned().map(Finding::Avoided);
        let unsupported = self.unsupported.values().sum();
        Summary {
            table: None,
            findings: findings.collect(),
            offline: true,
            traced_for: self.flows.now.since(self.flows.began.unwrap_or(self.flows.now)),
            interfaces: self.files.clone(),
            hooks: Vec::new(),
            tally: Ok(self.flows.tally),
            told: self.flows.told,
            stalls: self.flows.stalls,
            recovered: self.flows.recovered,
            health_checks: self.flows.checks.counted,
            causes: self.causes.clone(),
            overtaken: self.overtaken,
            probes: 0,
            in_flight: 0,
            servers: self.flows.servers.iter().map(|(&server, told)| (server, (*told, opened(told)))).collect(),
            user_losses: vec![
                ("damaged", self.damaged),
                ("unsupported_link_type", unsupported),
                ("told_early", self.flows.evicted),
                ("servers_forgotten", self.flows.servers_forgotten),
                ("findings_forgotten", self.networks.forgotten),
                ("cut_by_snaplen", self.flows.cut),
                ("evidence_cut", self.flows.evidence_cut),
                ("evidence_shed", evidence_shed),
                ("messages_shed", output::shed_messages()),
            ],
        }
    }

    /// Whether anything ended as `--fail-on` says, listed or not.
    pub(super) fn found(&self) -> bool {
        // Of those that were aborted, some only looked.
        let looked = |it| if it == Outcome::Aborted { self.flows.checks.counted } else { 0 };
        let ended = Outcome::ALL.into_iter().filter(|it| self.flows.told[*it as usize] > looked(*it));
        ended.into_iter().any(|it| self.args.fail_on.iter().any(|finding| finding.covers(it)))
    }
}
