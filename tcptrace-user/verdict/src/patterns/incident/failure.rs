//! A failure, as an incident takes it in: an attempt that stalled, failed or recovered, or a call of connect(2).

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Nanos,
};
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{Local, Process},
    incident::{Role, Symptom},
    outcome::Outcome,
    verdict::{Unsent, Verdict},
};

/// A failure, as an incident takes it in.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Its first SYN, or its call of connect(2).
    pub began: Nanos,
    /// Its last packet.
    pub last: Nanos,
    /// Its client, if that had an address.
    pub client: Option<Addr>,
    /// The server's address and port.
    pub server: Endpoint,
    /// Where this host stands.
    pub role: Role,
    /// What went wrong, as anybody can see it.
    pub symptom: Symptom,
    /// The process of the end that is here: who connects, or listens.
    pub process: Option<&'a Process>,
    /// Its verdict.
    pub verdict: &'a Verdict,
    /// What became of a stall.
    pub stall: Stall,
    /// `None`: it stalls, and its end follows.
    pub ended: Option<Ended>,
}

/// The part of a failure that is a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// There was none.
    None,
    /// It begins, and the attempt's end follows.
    Begins,
    /// It was noted before.
    Ends,
    /// It is known with its end.
    Whole,
}

impl Stall {
    /// The stall of an attempt that has ended; a capture's is known with its end.
    const fn of(attempt: &Attempt, is_capture: bool) -> Self {
        match (attempt.stalled.is_some(), is_capture) {
            (false, _) => Self::None,
            (true, false) => Self::Ends,
            (true, true) => Self::Whole,
        }
    }
}

/// How a failure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As an attempt.
    As(Outcome),
    /// It was established after all.
    Recovered,
    /// connect(2) put no SYN on the wire.
    NotSent,
}

impl<'a> Failure<'a> {
    /// An attempt with a verdict, as it stalls or ends; `None` if it has none, or is no failure.
    #[must_use]
    pub fn of(attempt: &'a Attempt, is_end: bool, is_capture: bool) -> Option<Self> {
        let why = attempt.why.as_deref()?;
        let hs = &attempt.handshake;
        Some(Self {
            began: hs.first_syn,
            last: attempt.seen.1,
            client: Some(hs.client_addr),
            server: hs.server(),
            role: role(&why.local),
            symptom: Symptom::of(attempt.outcome)?,
            process: process(&why.local),
            verdict: &why.verdict,
            stall: if is_end { Stall::of(attempt, is_capture) } else { Stall::Begins },
            ended: is_end.then_some(Ended::As(attempt.outcome)),
        })
    }

    /// An attempt that was in trouble and then worked; `None` for any other.
    #[must_use]
    pub fn of_recovered(attempt: &'a Attempt, is_capture: bool) -> Option<Self> {
        let why = attempt.why.as_deref().filter(|_| attempt.recovered && attempt.outcome.is_open())?;
        let hs = &attempt.handshake;
        // As it looked when it stalled.
        let is_answered = attempt.stalled.is_some_and(|it| hs.answer.tries > 0 && hs.first_answer <= it.at);
        Some(Self {
            began: hs.first_syn,
            last: hs.last_seen(),
            client: Some(hs.client_addr),
            server: hs.server(),
            role: role(&why.local),
            symptom: if is_answered { Symptom::Unfinished } else { Symptom::Silence },
            process: process(&why.local),
            verdict: &why.verdict,
            stall: Stall::of(attempt, is_capture),
            ended: Some(Ended::Recovered),
        })
    }

    /// A call that put no SYN on the wire.
    #[must_use]
    pub fn of_call(call: &'a Unsent) -> Self {
        Self {
            began: call.called,
            last: call.called,
            client: call.client.map(|it| it.addr),
            server: call.server,
            role: Role::Client,
            symptom: Symptom::Local,
            process: Some(&call.process),
            verdict: &call.verdict,
            stall: Stall::None,
            ended: Some(Ended::NotSent),
        }
    }
}

/// Where this host stands. An end that is not known to be here is taken to be elsewhere.
fn role(local: &Local) -> Role {
    match (local.client_here == Ok(true), local.server_here == Ok(true)) {
        (true, _) => Role::Client,
        (false, true) => Role::Server,
        (false, false) => Role::Between,
    }
}

/// The process of the end that is here.
fn process(local: &Local) -> Option<&Process> {
    match role(local) {
        Role::Client => local.process.as_ref().ok(),
        Role::Server => local.listener.as_ref().ok()?.as_ref()?.process.as_ref().ok(),
        Role::Between => None,
    }
}
