//! Floods in a capture: listeners whose attempts lead nowhere, faster than clients make them.
//!
//! An account is a leaky bucket, as the kernel side's is (`tcptrace_core::flood`): an attempt that leads nowhere puts
//! one in, a completed handshake takes one out, and so does time. A capture is not sampled, and it shows what came
//! later. So a few clients are enough to recognise forged ones: each sent one SYN and was never heard again.

use std::collections::HashMap;

use tcptrace_core::{
    flood::Policy,
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos, Point},
    pressure::Width,
};
use tcptrace_verdict::{OF_A_KERNEL, patterns::flood::Passage, view::View};
use tcptrace_vocabulary::outcome::Outcome;

/// Clients that sent a single SYN before they make a flood, and how long one of them counts: more than sixteen within
/// sixteen seconds. A stack sends its SYN again after a second, or three (RFC 6298, RFC 1122), so [`SILENT`] is long
/// enough to know.
const LONE: u64 = 16;
const LONE_FOR: u64 = 1_000_000_000;
const SILENT: u64 = 3_000_000_000;
/// No stack sends a SYN again sooner, on average (RFC 6298: a second; Linux's shortest is a fifth of it).
const NO_STACK: u64 = 200_000_000;
/// Attempts that the table holds if nobody says otherwise.
const USUAL_TABLE: u64 = 1 << 18;
/// Listeners that have an account, clients of each that are counted separately, and clients drawn for the sample.
const LISTENERS: usize = 1 << 12;
const CLIENTS: usize = 1 << 14;
const DRAWN: usize = 1 << 12;

/// The accounts of a capture's listeners.
pub(super) struct Listeners {
    policy: Policy,
    accounts: HashMap<Endpoint, Account>,
    /// Floods that have ended, each with its last attempt's time.
    over: Vec<(Nanos, Passage)>,
}

#[derive(Default)]
struct Account {
    /// When the first attempt of those in the buckets began, and the last one.
    since: Nanos,
    last: Nanos,
    /// The place where that first attempt was seen.
    point: Point,
    nowhere: Bucket,
    lone: Bucket,
    /// Clients of late, and whether each came again.
    clients: HashMap<Addr, bool>,
    is_flooded: bool,
    /// The counts that are not in a passage yet.
    opens: u64,
    completed: u64,
    drawn: Vec<Addr>,
}

#[derive(Default)]
struct Bucket {
    holds: u64,
    leaked: Nanos,
}

impl Bucket {
    /// Lets it leak one every `every` nanoseconds.
    fn leak(&mut self, now: Nanos, every: u64) {
        let out = now.since(self.leaked) / every;
        if out >= self.holds {
            (self.holds, self.leaked) = (0, self.leaked.max(now));
        } else {
            self.holds -= out;
            self.leaked.0 += out * every;
        }
    }

    /// Puts one in. It holds little more than what makes it overflow, so that the end of a flood shows soon.
    fn fill(&mut self, most: u64) {
        self.holds = (self.holds + 1).min(most + most / 8 + 1);
    }

    fn empty(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }
}

impl Listeners {
    /// Accounts as live tracing has them for the table's usual size. `--max-attempts` bounds memory here: it does not
    /// make one client that tries again a flood.
    pub(super) fn new() -> Self {
        Self { policy: Policy::of(USUAL_TABLE, 1), accounts: HashMap::new(), over: Vec::new() }
    }

    /// Notes an attempt that ended, by its first SYN; `now` is the capture's clock. One that lost a race is not noted:
    /// its client was answered elsewhere.
    pub(super) fn note(&mut self, handshake: &Handshake, outcome: Outcome, view: View, now: Nanos) {
        let is_attempt = handshake.syn.tries > 0 && (outcome.is_failure() || outcome.is_open());
        if !is_attempt || is_hidden(handshake, outcome, view) {
            return;
        }
        let (server, at) = (handshake.server(), handshake.first_syn);
        if self.accounts.len() >= LISTENERS && !self.accounts.contains_key(&server) {
            self.accounts
                .retain(|_, account| account.is_flooded || account.opens > 1 && at.since(account.last) < SILENT);
            if self.accounts.len() >= LISTENERS {
                return;
            }
        }
        let account = self.accounts.entry(server).or_default();
        account.nowhere.leak(at, 1 << self.policy.leak);
        account.lone.leak(at, LONE_FOR);
        if account.nowhere.holds == 0 && account.lone.holds == 0 {
            self.over.extend(account.passage(server));
            *account = Account { since: at, point: handshake.client_point, ..Account::default() };
            (account.nowhere.leaked, account.lone.leaked) = (at, at);
        }
        account.last = account.last.max(at);
        account.opens += 1;
        if account.drawn.len() < DRAWN {
            account.drawn.push(handshake.client_addr);
        }
        if outcome.is_open() {
            account.completed += 1;
            account.nowhere.empty();
            account.lone.empty();
            return;
        }
        if !is_tried_again(handshake, outcome) {
            account.nowhere.fill(u64::from(self.policy.burst));
        }
        account.meet(handshake, outcome, now);
        account.is_flooded |= account.nowhere.holds > u64::from(self.policy.burst) || account.lone.holds > LONE;
    }

    /// The packets for flooded listeners since the last call, in the order in which the floods began; each with the
    /// time of its last attempt.
    pub(super) fn passages(&mut self) -> Vec<(Nanos, Passage)> {
        let mut passages = std::mem::take(&mut self.over);
        for (&server, account) in &mut self.accounts {
            passages.extend(account.passage(server));
        }
        passages.sort_by_key(|(_, passage)| (passage.since, passage.owner));
        passages
    }
}

impl Account {
    /// The attempts since the last passage, of a flooded listener.
    fn passage(&mut self, server: Endpoint) -> Option<(Nanos, Passage)> {
        if !self.is_flooded || self.opens == 0 {
            return None;
        }
        let passage = Passage {
            scope: Width::Listener,
            owner: server,
            point: self.point,
            since: self.since,
            opens: std::mem::take(&mut self.opens),
            answers: 0,
            passed_over: 0,
            completed: std::mem::take(&mut self.completed),
            clients: std::mem::take(&mut self.drawn),
        };
        Some((self.last, passage))
    }

    /// Meets the client of an attempt that led nowhere: a lone one, until it comes again.
    fn meet(&mut self, handshake: &Handshake, outcome: Outcome, now: Nanos) {
        let is_lone = matches!(outcome, Outcome::NoReply | Outcome::HalfOpen)
            && handshake.syn.tries == 1
            && now.since(handshake.last_syn) >= SILENT;
        let has_room = self.clients.len() < CLIENTS;
        match self.clients.get_mut(&handshake.client_addr) {
            Some(came_again) if *came_again => {}
            Some(came_again) => {
                *came_again = true;
                self.lone.empty();
            }
            None if has_room => {
                self.clients.insert(handshake.client_addr, !is_lone);
                if is_lone {
                    self.lone.fill(LONE);
                }
            }
            None => {}
        }
    }
}

/// Whether what came of an attempt was filtered out, as far as the capture shows. What no kernel sends (a SYN without
/// any of the options that all have) is no client's, answered or not.
fn is_hidden(handshake: &Handshake, outcome: Outcome, view: View) -> bool {
    let is_forged = handshake.syn.options & OF_A_KERNEL == 0;
    match outcome {
        Outcome::NoReply => !view.has_answers && !is_forged,
        Outcome::HalfOpen => !view.has_others && handshake.answer.tries == 1,
        Outcome::Refused
        | Outcome::Unreachable
        | Outcome::Challenged
        | Outcome::Aborted
        | Outcome::ResetOnAnswer
        | Outcome::WrongAnswer
        | Outcome::Established
        | Outcome::Closed
        | Outcome::HalfClosed
        | Outcome::ResetByClient
        | Outcome::ResetByServer
        | Outcome::AnswerOnly
        | Outcome::Midstream => false,
    }
}

/// Whether a client waits for an answer and asks again, as stacks do: many of them are an outage. What repeats its SYN
/// faster than any stack is no client.
fn is_tried_again(handshake: &Handshake, outcome: Outcome) -> bool {
    let lasted = handshake.last_syn.since(handshake.first_syn);
    let again = u64::from(handshake.syn.tries.saturating_sub(1));
    matches!(outcome, Outcome::NoReply | Outcome::HalfOpen) && again > 0 && lasted >= again * NO_STACK
}
