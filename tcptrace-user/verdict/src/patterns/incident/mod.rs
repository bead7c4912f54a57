//! Incidents: the failures of one server port, host or network that look the same, from the first to the last. One
//! finding with exact counts, where each attempt is one line more.
//!
//! An incident is as wide as the scope of its verdicts. One that turns out wider takes the narrower ones over, with
//! their counts. Nothing here decides what is printed.

mod failure;
mod running;

use std::{cmp::Reverse, collections::BinaryHeap};

use tcptrace_core::{flow::Endpoint, handshake::Nanos};
use tcptrace_vocabulary::{
    cause::Confidence,
    incident::{Incident, Phase, Place, Role, Symptom},
    verdict::Verdict,
};

pub use self::failure::{Ended, Failure, Stall};
use self::running::Running;
use super::lifecycle::{Lifecycle, Numbers};

/// Incidents that run at once. Beyond these, the failures of new ones are counted together.
const RUNNING: usize = 768;
/// Attempts that worked, kept between two looks.
const SUCCESSES: usize = 1 << 17;
const SECOND: u64 = 1_000_000_000;

/// What tells incidents apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    role: Role,
    symptom: Symptom,
    place: Place,
}

/// The incidents of a run.
#[derive(Default)]
pub struct Incidents {
    findings: Lifecycle<Key, Running>,
    /// Attempts that worked, the first to have begun on top.
    successes: BinaryHeap<Reverse<(Nanos, Endpoint)>>,
    /// Failures that were counted together because too many incidents ran.
    merged: u64,
    /// Incidents that ran when tracing ended.
    cut: u64,
}

impl Incidents {
    /// None yet; see [`Numbers`].
    #[must_use]
    pub fn numbered(numbers: &Numbers) -> Self {
        Self { findings: Lifecycle::numbered(numbers), ..Self::default() }
    }

    /// Takes a failure in; returns its incident, and whether it is the first there.
    pub fn note(&mut self, failure: &Failure<'_>, now: Nanos) -> (&Incident, bool) {
        let mut place = self.place(failure);
        if self.end_if_over(failure, place) {
            place = self.place(failure);
        }
        self.merged += u64::from(place == Place::Others);
        let key = Key { role: failure.role, symptom: failure.symptom, place };
        let is_first = self.findings.get_mut(&key).is_none();
        if is_first {
            self.begin(key, failure, now);
        }
        self.findings.get_mut(&key).expect("it runs").1.add(failure);
        if is_first {
            self.findings.announce(&key);
        }
        let (_, running) = self.findings.get_mut(&key).expect("it runs");
        (&running.told, is_first)
    }

    /// Takes note of an attempt that worked, and of when it began. Incidents of that time may still begin: it is counted
    /// at the next look.
    pub fn note_success(&mut self, server: Endpoint, began: Nanos) {
        if self.successes.len() < SUCCESSES {
            self.successes.push(Reverse((began, server)));
        }
    }

    /// Counts what worked until now.
    fn count_successes(&mut self, now: Nanos) {
        while let Some(Reverse((began, server))) = self.successes.peek().copied().filter(|it| it.0.0 <= now) {
            self.successes.pop();
            if self.are_on() {
                self.count_success(server, began);
            }
        }
    }

    fn count_success(&mut self, server: Endpoint, began: Nanos) {
        for place in Place::around(server) {
            for (role, symptom) in Role::ALL.into_iter().flat_map(|role| Symptom::ALL.map(|symptom| (role, symptom))) {
                if let Some((_, running)) = self.findings.get_mut(&Key { role, symptom, place }) {
                    running.told.worked += u64::from(began >= running.told.began);
                }
            }
        }
    }

    /// Incidents to report: those that began, have news, or are over.
    pub fn look(&mut self, now: Nanos) -> Vec<Incident> {
        self.count_successes(now);
        let mut news: Vec<_> = self.findings.running_mut().filter_map(|(_, running)| running.news(now)).collect();
        news.sort_by_key(|it| it.id);
        self.findings.end(|it| it.is_over(now));
        [self.findings.news(), news].concat()
    }

    /// The end of the run, at a moment.
    pub fn end(&mut self, now: Nanos) -> Vec<Incident> {
        let mut news = self.look(now);
        self.findings.running_mut().for_each(|(_, running)| running.told.is_cut = true);
        self.cut = self.findings.running() as u64;
        self.findings.end(|_| true);
        news.retain(|it| it.phase != Phase::Update);
        [news, self.findings.news()].concat()
    }

    /// Whether any runs.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.findings.running() > 0
    }

    /// The number of incidents that began.
    #[must_use]
    pub const fn begun(&self) -> u64 {
        self.findings.begun()
    }

    /// The number of incidents that run, or ran when tracing ended.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.cut + self.findings.running() as u64
    }

    /// Failures that were counted together because too many incidents ran.
    #[must_use]
    pub const fn merged(&self) -> u64 {
        self.merged
    }

    /// Ends the incident of a place if nothing had failed there for long enough when a failure began.
    fn end_if_over(&mut self, failure: &Failure<'_>, place: Place) -> bool {
        let key = Key { role: failure.role, symptom: failure.symptom, place };
        let over = self.findings.get_mut(&key).filter(|(_, running)| running.is_over(failure.began));
        let Some((_, running)) = over else { return false };
        let id = running.told.id;
        running.told.at = failure.began;
        self.findings.end(|it| it.told.id == id);
        true
    }

    /// The place of the incident for a failure: the widest that runs and covers it, unless its own verdict is wider, or
    /// knows better.
    fn place(&mut self, failure: &Failure<'_>) -> Place {
        let own = Place::of(failure.server, failure.verdict.scope.extent);
        let mut runs = |place| {
            let key = Key { role: failure.role, symptom: failure.symptom, place };
            let running = self.findings.get_mut(&key);
            running.is_some_and(|(_, it)| place == own || !has_own_cause(failure.verdict, &it.told.verdict))
        };
        let widest = Place::around(failure.server).into_iter().find(|place| runs(*place));
        match widest {
            Some(place) if !own.is_wider_than(place) => place,
            Some(_) | None if self.findings.running() < RUNNING => own,
            Some(place) => place,
            None => Place::Others,
        }
    }

    /// Begins an incident, and lets it take over those that it covers.
    fn begin(&mut self, key: Key, failure: &Failure<'_>, now: Nanos) {
        let is_narrower = |it: &Running| {
            let Incident { role, symptom, place, .. } = it.told;
            let is_covered = key.place.is_wider_than(place) && key.place.takes(place);
            (role, symptom) == (key.role, key.symptom)
                && is_covered
                && !has_own_cause(&it.told.verdict, failure.verdict)
        };
        let id = self.findings.begin(key, |id| Running::new(id.0, key, failure, now));
        let mut taken = Vec::new();
        for (_, narrower) in self.findings.running_mut().filter(|(it, running)| *it != id && is_narrower(running)) {
            (narrower.told.absorbed_by, narrower.told.at) = (Some(id.0), now);
            taken.push((narrower.told.clone(), std::mem::take(&mut narrower.clients)));
        }
        let (_, running) = self.findings.get_mut(&key).expect("it has just begun");
        taken.into_iter().for_each(|(told, clients)| running.take_over(&told, clients));
        running.begin_as_reported(now);
        self.findings.end(|it| it.told.absorbed_by.is_some());
    }
}

/// Whether a verdict is sure of a cause that is not the other's: a port that a rule rejects stays that, though its host is
/// gone meanwhile.
fn has_own_cause(verdict: &Verdict, other: &Verdict) -> bool {
    verdict.confidence == Confidence::Certain && verdict.cause != other.cause
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcptrace_core::flow::Addr;
    use tcptrace_vocabulary::{
        cause::Cause,
        outcome::Outcome,
        scope::{Extent, Scope},
    };

    fn verdict(cause: Cause, extent: Extent) -> Verdict {
        let scope = Scope { extent, evidence: Vec::new() };
        Verdict { cause, confidence: Confidence::Likely, evidence: Vec::new(), scope, next: Vec::new() }
    }

    const CLIENT: Addr = Addr::v4(0x0a00_0001);

    const fn server(host: u32, port: u16) -> Endpoint {
        Endpoint { addr: Addr::v4(0x0a01_0000 + host), port }
    }

    const fn at(millis: u64) -> Nanos {
        Nanos(1_000 * SECOND + millis * 1_000_000)
    }

    fn failure<'a>(server: Endpoint, verdict: &'a Verdict, millis: u64) -> Failure<'a> {
        Failure {
            began: at(millis),
            last: at(millis),
            client: Some(CLIENT),
            server,
            role: Role::Client,
            symptom: Symptom::Silence,
            process: None,
            verdict,
            stall: Stall::None,
            ended: Some(Ended::As(Outcome::NoReply)),
        }
    }

    fn phases(found: &[Incident]) -> Vec<(u64, Phase)> {
        found.iter().map(|it| (it.id, it.phase)).collect()
    }

    #[test]
    fn it_begins_is_brought_to_mind_and_ends_once() {
        let (mut incidents, verdict) = (Incidents::default(), verdict(Cause::FirewallDrop, Extent::Port));
        let mut told = Vec::new();
        for millis in (0..130_000).step_by(500) {
            let (it, is_first) = incidents.note(&failure(server(1, 80), &verdict, millis), at(millis));
            assert_eq!((it.id, is_first), (0, millis == 0));
            told.extend(incidents.look(at(millis)));
        }
        for millis in (130_000..300_000).step_by(500) {
            told.extend(incidents.look(at(millis)));
        }
        let expected = [Phase::Begun, Phase::Update, Phase::Update, Phase::Ended].map(|it| (0, it));
        assert_eq!(phases(&told), expected, "after 10 s with its rate, and after a minute");
        let last = told.last().expect("four");
        assert_eq!((last.attempts(), last.outcomes[Outcome::NoReply as usize]), (260, 260));
    }

    #[test]
    fn what_turns_out_wider_takes_the_narrower_over() {
        let (port, host) = (verdict(Cause::Unknown, Extent::Port), verdict(Cause::HostDown, Extent::Host));
        let mut incidents = Incidents::default();
        for number in 0..50 {
            incidents.note(&failure(server(1, 80 + number), &port, number.into()), at(number.into()));
        }
        incidents.note(&failure(server(2, 80), &port, 60), at(60));
        let (it, is_first) = incidents.note(&failure(server(1, 80), &host, 100), at(100));
        let id = it.id;
        assert!(is_first);
        // What is narrower by itself belongs to it as well.
        let (it, is_first) = incidents.note(&failure(server(1, 99), &port, 110), at(110));
        assert_eq!((it.id, is_first), (id, false));
        let told = incidents.look(at(120));
        let absorbed = told.iter().filter(|it| it.absorbed_by == Some(id) && it.phase == Phase::Ended).count();
        assert_eq!(absorbed, 50);
        let all = incidents.end(at(130));
        let wide = all.iter().find(|it| it.id == id).expect("it ended");
        assert_eq!((wide.attempts(), wide.place), (52, Place::Host(server(1, 0).addr)));
        assert_eq!(all.len(), 2, "the other host's is its own");
    }

    /// A thousand edges that fail and recover: each incident begins and ends once, and the counts are exact.
    #[test]
    fn a_thousand_outages_are_counted_exactly() {
        let verdict = verdict(Cause::PortClosed, Extent::Port);
        let (mut incidents, mut told, mut failed) = (Incidents::default(), Vec::new(), vec![0u64; 1000]);
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        for millis in (0..600_000).step_by(10) {
            // Three hundred of them take turns, for twenty seconds each.
            let edge = ((millis / 20_000 * 300) + random() % 300) % 1000;
            failed[edge as usize] += 1;
            incidents.note(&failure(server(edge as u32 * 256, 80), &verdict, millis), at(millis));
            if millis % 200 == 0 {
                told.extend(incidents.look(at(millis)));
            }
        }
        told.extend(incidents.end(at(600_000)));
        assert_eq!((incidents.merged(), incidents.findings.running()), (0, 0));
        let of = |phase| told.iter().filter(move |it| it.phase == phase).map(|it| it.id);
        let (mut begun, mut ended): (Vec<_>, Vec<_>) = (of(Phase::Begun).collect(), of(Phase::Ended).collect());
        begun.sort_unstable();
        ended.sort_unstable();
        assert_eq!(begun, ended);
        assert!(begun.windows(2).all(|pair| pair[0] < pair[1]));
        let mut counted = vec![0; 1000];
        for it in told.iter().filter(|it| it.phase == Phase::Ended) {
            counted[(it.first.addr.lo as u32 - 0x0a01_0000) as usize / 256] += it.attempts();
        }
        assert_eq!(counted, failed);
    }

    /// A million edges at once: bounded, and every failure is in a count.
    #[test]
    fn a_million_edges_are_no_more_memory() {
        let verdict = verdict(Cause::Unknown, Extent::Port);
        let mut incidents = Incidents::default();
        for number in 0..1_000_000u32 {
            incidents.note(&failure(server(number, number as u16), &verdict, 0), at(0));
        }
        assert!(incidents.findings.running() <= RUNNING + 2);
        assert_eq!(incidents.findings.all().iter().map(Incident::attempts).sum::<u64>(), 1_000_000);
        assert_eq!(incidents.merged(), 1_000_000 - RUNNING as u64);
    }
}
