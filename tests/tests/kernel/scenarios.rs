//! Every scenario through every hook, packet by packet: the kernel's table, counters and events against the model's.
//!
//! The clock is the real one. Delays are cut to what the rules on time distinguish, and a row in which a call or a
//! pause came too close to such a bound is run again: it would prove nothing.

use std::{thread, time::Duration};

use tcptrace::live::kernel::{Program, Settings};
use tcptrace_core::{
    event::{BUCKETS, Counters, Event},
    handshake::{Handshake, Nanos, Transition},
};
use tcptrace_tests::scenario::{self, Effect, Family, Scenario, Setting, Step, frame, model::Model, words};

use crate::rig::{Hook, Rig, order, small, telling};

/// Times around every call so far.
#[derive(Default)]
pub(crate) struct Calls(Vec<(Nanos, Nanos)>);

impl Calls {
    pub(crate) fn push(&mut self, call: (Nanos, Nanos)) {
        self.0.push(call);
    }

    /// Whether some two packets lie so that kernel and model may differ about "the same packet again": 1 ms, 200 ms.
    pub(crate) fn are_doubtful(&self) -> bool {
        const BOUNDS: [u64; 2] = [1_000_000, 200_000_000];
        const SKEW: u64 = 50_000;
        let pairs =
            self.0.iter().enumerate().flat_map(|(index, late)| self.0[..index].iter().map(move |it| (it, late)));
        let mut gaps = pairs.map(|(it, late)| (late.0.since(it.1).saturating_sub(SKEW), late.1.since(it.0) + SKEW));
        gaps.any(|(least, most)| BOUNDS.into_iter().any(|bound| least < bound && bound <= most))
    }

    /// The kernel's time of a packet as the model has it: the moment before the call in which it falls.
    fn as_in_model(&self, time: Nanos) -> Nanos {
        const SKEW: u64 = 20_000;
        let off = |(before, after): &(Nanos, Nanos)| before.since(time) + time.since(*after);
        match self.0.iter().min_by_key(|it| off(it)) {
            Some(call) if off(call) < SKEW => call.0,
            _ => time,
        }
    }

    /// An attempt with the model's times.
    pub(crate) fn attempt(&self, mut it: Handshake) -> Handshake {
        for time in [&mut it.first_syn, &mut it.last_syn, &mut it.first_answer, &mut it.last_answer, &mut it.ended] {
            *time = self.as_in_model(*time);
        }
        it
    }

    /// An event with the model's times.
    pub(crate) fn event(&self, (transition, it): (Transition, Event)) -> (Transition, Event) {
        (transition, Event { time: self.as_in_model(it.time), handshake: self.attempt(it.handshake), ..it })
    }
}

/// How long to wait for a step's delay: what the bounds on time tell apart, and no longer.
fn pause(step: &Step, two_points: bool) -> Duration {
    let (short, long) = (Duration::from_millis(2), Duration::from_millis(220));
    match step.after {
        it if it < Duration::from_millis(1) => it,
        it => it.clamp(short, if two_points { long } else { short }),
    }
}

/// The histograms' buckets depend on the machine; how much is in them does not.
pub(crate) fn without_buckets(tally: &Counters) -> (Vec<u64>, Vec<u64>, Vec<u64>, [u64; 3]) {
    let (once, again) = tally.syn_to_answer.split_at(BUCKETS);
    let times = [once, again, &tally.answer_to_ack].map(|it| it.iter().sum());
    (tally.counters.into(), tally.transitions.into(), tally.lost.into(), times)
}

fn transitions(effects: &[Effect]) -> Vec<Effect> {
    let untold = |it: &Effect| match it {
        Effect::Transition(transition, _) => Effect::Transition(*transition, false),
        Effect::Counter(_) => *it,
    };
    effects.iter().map(untold).collect()
}

enum Row {
    Passed,
    Failed(String),
    /// The machine was too slow for it.
    Again(String),
}

fn row(rig: &mut Rig, settings: &Settings, scenario: &Scenario, setting: &Setting) -> Row {
    rig.fresh();
    let mut model = Model::new(telling(settings));
    let mut calls = Calls::default();
    let link = rig.hook.link();
    for step in &scenario.steps {
        thread::sleep(pause(step, scenario.has_two_points()));
        let frame = step.frame(setting, link);
        let ran = rig.see(&frame, step.seen);
        calls.push(ran.between);
        if calls.are_doubtful() {
            return Row::Again("a call was interrupted at the wrong moment".to_owned());
        }
        let told = model.events.len();
        let effects = model.see(&frame, link, ran.between.0, rig.point(step.seen));
        if transitions(&effects) != transitions(&step.effects) {
            return Row::Again(format!("line {} does {}", step.line, words::effects(&effects)));
        }
        let mut expected: Vec<Handshake> = model.attempts().copied().collect();
        expected.sort_by_key(order);
        let attempts: Vec<Handshake> = rig.attempts().into_iter().map(|it| calls.attempt(it)).collect();
        let events: Vec<_> = rig.events().into_iter().map(|it| calls.event(it)).collect();
        let pending = rig.kernel.table.pending().count();
        let differ = [
            (pending != expected.iter().filter(|it| it.state().is_pending()).count())
                .then(|| format!("{pending} lanes are marked as pending: {expected:#?}")),
            (attempts != expected).then(|| format!("table: {attempts:#?}\nmodel: {expected:#?}")),
            (events != model.events[told..]).then(|| format!("told: {events:#?}\nmodel: {:#?}", &model.events[told..])),
            (without_buckets(&rig.tally()) != without_buckets(&model.tally))
                .then(|| format!("counted: {:?}\nmodel: {:?}", rig.tally(), model.tally)),
        ];
        if let Some(difference) = differ.into_iter().flatten().next() {
            return Row::Failed(format!("line {}: {}\n{difference}", step.line, step.text));
        }
    }
    let (client, server) = frame::endpoints(setting);
    match scenario.expected.check(model.attempt(client, server)) {
        Ok(()) => Row::Passed,
        Err(difference) => Row::Failed(format!("in the end: {difference}")),
    }
}

/// Runs all scenarios that the hook can express.
fn run_all(hook: Hook, settings: &Settings, families: &[Family]) {
    let mut rig = Rig::new(hook, settings);
    let mut failures = String::new();
    for scenario in scenario::all().iter().filter(|it| hook.has_points() || !it.has_two_points()) {
        for &family in scenario.families {
            // Two points need real pauses: each in one family is enough.
            if scenario.has_two_points() && !families.contains(&family) {
                continue;
            }
            let mut tries = 0;
            let failure = loop {
                tries += 1;
                match row(&mut rig, settings, scenario, &Setting::new(family)) {
                    Row::Passed => break None,
                    Row::Failed(difference) => break Some(difference),
                    // Other tests keep every CPU busy for half a second, which is hundreds of tries.
                    Row::Again(why) if tries == 2000 => break Some(format!("after {tries} tries, {why}")),
                    Row::Again(_) => {}
                }
            };
            if let Some(difference) = failure {
                failures += &format!("{} ({family:?}, {hook:?})\n{difference}\n", scenario.name);
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn xdp_with_frags() {
    run_all(Hook::Xdp(Program::XdpIngressFrags), &small(), Family::ALL);
}

/// Told about every handshake that completes, too.
#[test]
fn xdp_without_frags() {
    run_all(Hook::Xdp(Program::XdpIngress), &Settings { tell_all: true, ..small() }, Family::ALL);
}

#[test]
fn tc() {
    run_all(Hook::Tc, &small(), &[Family::V4]);
}

#[test]
fn tc_without_link_header() {
    run_all(Hook::TcIp, &small(), &[Family::V6]);
}
