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

#[cfg(test)]
mod tests {
    use tcptrace_core::{
        flow::Addr,
        handshake::{Handshake, State},
    };

    use super::*;

    const CLIENT: Endpoint = Endpoint { addr: Addr::v4(0xc633_6402), port: 40_000 };
    const PROXY: Endpoint = Endpoint { addr: Addr::v4(0xcb00_7102), port: 80 };
    const BACKEND: Endpoint = Endpoint { addr: Addr::v4(0x0af4_0105), port: 9000 };

    fn attempt(client: Endpoint, server: Endpoint, began: u64, last: u64, outcome: Outcome) -> Attempt {
        let handshake = Handshake {
            client_addr: client.addr,
            client_port: client.port,
            server_addr: server.addr,
            server_port: server.port,
            first_syn: Nanos(began),
            state: State::Established as u8,
            ..Handshake::default()
        };
        Attempt { seen: (Nanos(began), Nanos(last)), ..Attempt::from_handshake(handshake, outcome) }
    }

    fn process(pid: u32, unit: Option<&str>) -> Process {
        Process { pid, command: "proxy".to_owned(), unit: unit.map(str::to_owned), ..Process::default() }
    }

    #[test]
    fn a_failure_belongs_to_its_process_and_its_time() {
        let onward = Endpoint { port: 50_000, ..PROXY };
        let accepted = attempt(CLIENT, PROXY, 100, 200, Outcome::ResetByServer);
        let with = |from: Process, failed: &Attempt, of: Process| {
            let mut failures = Failures::default();
            failures.note(&from, failed);
            failures.of(&of, &accepted).map(|it| it.server)
        };
        let its = attempt(onward, BACKEND, 120, 150, Outcome::Refused);
        let one = || process(7, None);
        assert_eq!(with(one(), &its, one()), Some(BACKEND));
        assert_eq!(with(process(8, None), &its, one()), None, "another process");
        assert_eq!(with(process(8, Some("p.service")), &its, process(7, Some("p.service"))), Some(BACKEND), "a worker");
        for (what, failed) in [
            ("before it was accepted", attempt(onward, BACKEND, 99, 150, Outcome::Refused)),
            ("after the reset", attempt(onward, BACKEND, 120, 201, Outcome::Refused)),
            ("it worked", attempt(onward, BACKEND, 120, 150, Outcome::Established)),
            ("to itself", attempt(onward, PROXY, 120, 150, Outcome::Refused)),
            ("the same client", attempt(CLIENT, BACKEND, 120, 150, Outcome::Refused)),
        ] {
            assert_eq!(with(one(), &failed, one()), None, "{what}");
        }
        let mut failures = Failures::default();
        failures.note_unsent(&one(), Nanos(120), BACKEND);
        assert_eq!(failures.of(&one(), &accepted), Some(Onward { server: BACKEND, outcome: None }));
        (0..MOST as u64).for_each(|at| failures.note_unsent(&process(9, None), Nanos(at), BACKEND));
        assert_eq!(failures.of(&one(), &accepted), None, "the oldest makes room");
    }
}
