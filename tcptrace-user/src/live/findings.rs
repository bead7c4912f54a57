//! Floods, scans and networks that are gone round, while tracing: what the kernel's accounts say, and which attempts a finding stands for.

use tcptrace_core::handshake::Nanos;
use tcptrace_report::finding::Finding;
use tcptrace_verdict::patterns::{avoided::Networks, flood::Floods, scan::Scans};
use tcptrace_vocabulary::report::Report;

use super::accounts::Accounts;
use crate::host;

/// The findings of a run.
pub struct Findings {
    accounts: Accounts,
    floods: Floods,
    scans: Scans,
    /// Those where attempts are overtaken.
    pub networks: Networks,
}

impl Findings {
    #[must_use]
    pub fn new(accounts: Accounts) -> Self {
        Self { accounts, floods: Floods::default(), scans: Scans::default(), networks: Networks::default() }
    }

    /// Whether a finding stands for this report, which is then not told.
    pub fn takes(&mut self, report: &Report, now: Nanos) -> bool {
        self.floods.takes(report) || self.scans.takes(report, now)
    }

    /// What is to be told now.
    pub fn look(&mut self, now: Nanos) -> Vec<Finding> {
        let mut found = Vec::new();
        let passages = self.accounts.look();
        if !passages.is_empty() || self.are_on() {
            let floods = self.floods.look(now, passages, host::cookies_sent());
            found.extend(floods.into_iter().map(|it| Finding::Flood(Box::new(it))));
        }
        found.extend(self.scans.look(now).into_iter().map(Finding::Scan));
        found.extend(self.networks.look(now).into_iter().map(Finding::Avoided));
        found
    }

    /// Whether a flood goes on.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.floods.are_on()
    }

    /// Tracing ends: what has not ended does.
    pub fn finish(&mut self) -> Vec<Finding> {
        let floods = self.floods.finish().into_iter().map(|it| Finding::Flood(Box::new(it)));
        let networks = self.networks.finish().into_iter().map(Finding::Avoided);
        floods.chain(self.scans.finish().into_iter().map(Finding::Scan)).chain(networks).collect()
    }

    /// All of the run, as they are now.
    pub fn all(&self) -> impl Iterator<Item = Finding> {
        let floods = self.floods.floods.iter().cloned().map(|it| Finding::Flood(Box::new(it)));
        let networks = self.networks.all().cloned().map(Finding::Avoided);
        floods.chain(self.scans.all().cloned().map(Finding::Scan)).chain(networks)
    }

    /// How many are not among them any more.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.floods.forgotten + self.scans.forgotten + self.networks.forgotten
    }
}
