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
    pub cause: Cause,
    pub confidence: Confidence,
    pub evidence: Vec<String>,
    pub scope: Scope,
    /// What to do next; of what is unknown, what would tell.
    pub next: Vec<String>,
}

/// How many verdicts there were of each cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(BTreeMap<Cause, u64>);

impl Causes {
    pub fn count(&mut self, it: &Verdict) {
        *self.0.entry(it.cause).or_default() += 1;
    }

    /// Those that there were, the most frequent first.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts: Vec<_> = self.0.iter().map(|(cause, count)| (cause.name(), *count)).collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts
    }
}

/// A verdict, with what this host knew.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    pub verdict: Verdict,
    pub local: Local,
}

/// A connect(2) that put no SYN on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsent {
    pub called: Nanos,
    /// Where it had come so far as to have one.
    pub client: Option<Endpoint>,
    pub server: Endpoint,
    pub process: Process,
    pub verdict: Verdict,
}
