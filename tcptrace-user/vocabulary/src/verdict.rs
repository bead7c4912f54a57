//! A verdict: the cause of a failure, how sure it is, what it rests on, how far it reaches, and what to do.

use std::{cmp::Reverse, collections::BTreeMap};

use tcptrace_core::{flow::Endpoint, handshake::Nanos};

use crate::{
    cause::{Cause, Confidence},
    facts::{Local, Process},
    scope::Scope,
};

/// Why an attempt failed, how sure that is, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The cause.
    pub cause: Cause,
    /// The confidence in the cause.
    pub confidence: Confidence,
    /// The sentences that it rests on, the strongest first.
    pub evidence: Vec<String>,
    /// The reach of the failure.
    pub scope: Scope,
    /// The next steps; for an unknown cause, the steps that would find it.
    pub next: Vec<String>,
}

/// The number of verdicts of each cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(BTreeMap<Cause, u64>);

impl Causes {
    /// Counts a verdict.
    pub fn count(&mut self, verdict: &Verdict) {
        *self.0.entry(verdict.cause).or_default() += 1;
    }

    /// Counts those of others as well.
    pub fn add(&mut self, others: &Self) {
        for (cause, count) in &others.0 {
            *self.0.entry(*cause).or_default() += count;
        }
    }

    /// The causes that occurred with their numbers, the most frequent first.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts: Vec<_> = self.0.iter().map(|(cause, count)| (cause.name(), *count)).collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts
    }
}

/// A verdict, with the facts of this host.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// The verdict.
    pub verdict: Verdict,
    /// The facts of this host that it was made with.
    pub local: Local,
    /// Whether the verdict was read from a capture's comment, and not made from its packets.
    pub recorded: bool,
}

/// A connect(2) that put no SYN on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsent {
    /// When connect(2) was called.
    pub called: Nanos,
    /// Its own address and port; `None` if the call failed before it had them.
    pub client: Option<Endpoint>,
    /// The address and port that the call was for.
    pub server: Endpoint,
    /// The process that called.
    pub process: Process,
    /// The errno of the call; `None` if it had none, or none is known.
    pub errno: Option<i32>,
    /// The number of its incident.
    pub incident: Option<u64>,
    /// Why no SYN was sent.
    pub verdict: Verdict,
}
