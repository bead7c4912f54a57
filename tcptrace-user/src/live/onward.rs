//! Failed attempts of this host's processes, by process: why a proxy resets its client is that its own connect failed.
//!
//! Bounded memory. It decides no cause: `rules/peer.rs` (tcptrace-verdict) does.

use std::collections::VecDeque;

use tcptrace_core::{flow::Endpoint, handshake::Nanos};
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{Onward, Process},
    outcome::Outcome,
};

/// Failures that are remembered.
const MOST: usize = 256;
/// The time after a failure within which a proxy resets its client, and that a line about it may come late.
const SOON: u64 = 1_000_000_000;

/// The last failures, in the order in which they were explained.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<Failure>);

#[derive(Debug)]
struct Failure {
    process: Process,
    client: Option<Endpoint>,
    began: Nanos,
    ended: Nanos,
    onward: Onward,
}

impl Failures {
    /// Takes note of an attempt whose process is known.
    pub(super) fn note(&mut self, process: &Process, attempt: &Attempt) {
        let is_failed =
            matches!(attempt.outcome, Outcome::NoReply | Outcome::Refused | Outcome::Unreachable | Outcome::HalfOpen);
        if is_failed {
            let hs = &attempt.handshake;
            let onward = Onward { server: hs.server(), outcome: Some(attempt.outcome) };
            self.push(process, Some(hs.client()), hs.first_syn, attempt.seen.1, onward);
        }
    }

    /// Takes note of a call that sent no SYN.
    pub(super) fn note_unsent(&mut self, process: &Process, called: Nanos, server: Endpoint) {
        self.push(process, None, called, called, Onward { server, outcome: None });
    }

    fn push(&mut self, process: &Process, client: Option<Endpoint>, began: Nanos, ended: Nanos, onward: Onward) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Failure { process: process.clone(), client, began, ended, onward });
    }

    /// The failure of a process while it had this client's connection, which it reset.
    pub(super) fn of(&self, process: &Process, attempt: &Attempt) -> Option<Onward> {
        let (accepted, reset) = (attempt.handshake.first_syn, attempt.seen.1);
        let is_its = |it: &&Failure| {
            is_same(&it.process, process)
                && it.onward.server != attempt.handshake.server()
                && it.client != Some(attempt.handshake.client())
                && it.began >= accepted
                && it.ended <= reset
                && reset.since(it.ended) <= SOON
        };
        self.0.iter().rev().find(is_its).map(|it| it.onward)
    }
}

/// Whether two processes are one service: a master listens, and its workers connect.
fn is_same(one: &Process, other: &Process) -> bool {
    let is_known = one.unit.is_some() || one.container.is_some();
    let is_one = one.command == other.command && one.unit == other.unit && one.container == other.container;
    one.pid == other.pid || is_known && is_one
}
