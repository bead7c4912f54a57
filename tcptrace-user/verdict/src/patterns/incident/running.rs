//! An incident that runs: its counts, when it has news, when it is over.

use std::collections::HashSet;

use tcptrace_core::{flow::Addr, handshake::Nanos};
use tcptrace_vocabulary::{
    cause::Cause,
    incident::{Incident, Phase},
    outcome::Outcome,
    verdict::Causes,
};

use super::{Ended, Failure, Key, SECOND, Stall};
use crate::patterns::lifecycle::Course;

/// Clients that are counted separately.
const CLIENTS: usize = 256;
/// The quiet after which it is over: as long as it lasted, and within these.
const QUIET: (u64, u64) = (10 * SECOND, 600 * SECOND);
/// The time over which a rate is taken.
const RATE: u64 = 10 * SECOND;
/// When it is brought to mind, since its beginning; then every hour.
const REMINDERS: [u64; 3] = [10 * SECOND, 60 * SECOND, 600 * SECOND];
const HOUR: u64 = 3600 * SECOND;

/// An incident that runs.
pub(super) struct Running {
    pub(super) told: Incident,
    pub(super) clients: HashSet<Addr>,
    /// Failures since `counted`, of which the rate is taken.
    recent: u64,
    counted: Nanos,
    /// The power of ten of the rate, and the clients, that were last reported.
    reported: (i32, bool),
    /// The cause that was last reported.
    cause: Cause,
    reminded: usize,
    /// Failures that the last reminder, or the first report, had.
    failures: u64,
}

impl Course for Running {
    type Finding = Incident;

    fn finding(&self) -> Incident {
        self.told.clone()
    }

    fn close(self) -> Incident {
        Incident { phase: Phase::Ended, ..self.told }
    }
}

impl Running {
    pub(super) fn new(id: u64, key: Key, failure: &Failure<'_>, now: Nanos) -> Self {
        let told = Incident {
            id,
            role: key.role,
            symptom: key.symptom,
            place: key.place,
            first: failure.server,
            client: failure.client,
            began: failure.began,
            last: failure.last,
            phase: Phase::Begun,
            at: failure.last,
            is_cut: false,
            causes: Causes::default(),
            outcomes: [0; Outcome::ALL.len()],
            not_sent: 0,
            stalls: 0,
            waiting: 0,
            recovered: 0,
            worked: 0,
            clients: 0,
            processes: Vec::new(),
            rate: 0.0,
            verdict: failure.verdict.clone(),
            is_cause_new: false,
            took_over: 0,
            absorbed_by: None,
        };
        let cause = told.verdict.cause;
        Self {
            told,
            clients: HashSet::new(),
            recent: 0,
            counted: failure.began.min(now),
            reported: (0, false),
            cause,
            reminded: 0,
            failures: 1,
        }
    }

    pub(super) fn add(&mut self, failure: &Failure<'_>) {
        let told = &mut self.told;
        told.began = told.began.min(failure.began);
        told.last = told.last.max(failure.last);
        if let Some(client) = failure.client.filter(|_| self.clients.len() < CLIENTS) {
            self.clients.insert(client);
        }
        told.clients = self.clients.len();
        failure.process.iter().for_each(|it| told.add_process(it));
        // What comes later is known better.
        if failure.verdict.confidence >= told.verdict.confidence {
            told.verdict = failure.verdict.clone();
        }
        match failure.stall {
            Stall::None => {}
            Stall::Begins => (told.stalls, told.waiting) = (told.stalls + 1, told.waiting + 1),
            Stall::Ends => told.waiting = told.waiting.saturating_sub(1),
            Stall::Whole => told.stalls += 1,
        }
        // One that stalled was counted then.
        self.recent += u64::from(failure.stall != Stall::Ends);
        let Some(ended) = failure.ended else { return };
        told.causes.count(failure.verdict);
        match ended {
            Ended::As(outcome) => told.outcomes[outcome as usize] += 1,
            Ended::NotSent => told.not_sent += 1,
            Ended::Recovered => told.recovered += 1,
        }
    }

    /// Its beginning says what it took over: that is no news any more.
    pub(super) fn begin_as_reported(&mut self, now: Nanos) {
        self.reported.1 = self.told.clients > 1;
        self.is_reminder_due(now);
        // The one that began it is reported as well.
        self.failures = self.told.failures() + 1;
    }

    /// Takes over what a narrower incident has counted.
    pub(super) fn take_over(&mut self, narrower: &Incident, clients: HashSet<Addr>) {
        let told = &mut self.told;
        told.began = told.began.min(narrower.began);
        told.last = told.last.max(narrower.last);
        told.causes.add(&narrower.causes);
        told.outcomes.iter_mut().zip(narrower.outcomes).for_each(|(own, its)| *own += its);
        told.not_sent += narrower.not_sent;
        told.stalls += narrower.stalls;
        told.waiting += narrower.waiting;
        told.recovered += narrower.recovered;
        told.worked += narrower.worked;
        told.took_over += 1 + narrower.took_over;
        self.clients.extend(clients.into_iter().take(CLIENTS.saturating_sub(self.clients.len())));
        told.clients = self.clients.len();
        narrower.processes.iter().for_each(|it| told.add_process(it));
    }

    /// The incident, if it has news: its rate changed by a decade, a second client joined, or it is time.
    pub(super) fn news(&mut self, now: Nanos) -> Option<Incident> {
        self.told.at = now.max(self.told.at);
        self.told.is_cause_new = self.told.verdict.cause != self.cause;
        let passed = now.since(self.counted);
        if passed >= RATE {
            self.told.rate = self.recent as f64 / (passed as f64 / SECOND as f64);
            (self.recent, self.counted) = (0, now);
        }
        let decade = if self.told.rate >= 1.0 { self.told.rate.log10().floor() as i32 + 1 } else { 0 };
        let state = (decade, self.told.clients > 1);
        let is_due = self.is_reminder_due(now);
        // While it fades its rate falls, and its end says the rest.
        let is_news = decade > self.reported.0 || state.1 && !self.reported.1;
        if is_news {
            self.reported = (decade.max(self.reported.0), state.1 || self.reported.1);
        }
        (is_news || is_due).then(|| {
            self.cause = self.told.verdict.cause;
            self.told.phase = Phase::Update;
            self.told.clone()
        })
    }

    /// Whether a reminder has come due: of what still fails.
    fn is_reminder_due(&mut self, now: Nanos) -> bool {
        let age = now.since(self.told.began);
        let due = |number: usize| {
            REMINDERS.get(number).copied().unwrap_or_else(|| (number - REMINDERS.len() + 1) as u64 * HOUR)
        };
        let fails = now.since(self.told.last) < QUIET.0;
        let before = self.reminded;
        while due(self.reminded) <= age {
            self.reminded += 1;
        }
        let failures = self.told.failures();
        let is_due = self.reminded > before && fails && failures > self.failures;
        if is_due {
            self.failures = failures;
        }
        is_due
    }

    /// Whether nothing has failed for as long as it lasted, and no attempt is stalled, or none has an end any more.
    pub(super) fn is_over(&self, now: Nanos) -> bool {
        let (lasted, quiet) = (self.told.last.since(self.told.began), now.since(self.told.last));
        let waits = self.told.waiting > 0 && quiet < QUIET.1;
        quiet >= lasted.clamp(QUIET.0, QUIET.1) && !waits
    }
}
