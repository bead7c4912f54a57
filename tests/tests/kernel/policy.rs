//! What is set at loading: what is told, when a completion is late, the programs' log.

use std::{thread, time::Duration};

use tcptrace::live::kernel::{Kernel, Program, Settings};
use tcptrace_core::{handshake::Transition, segment::Link};
use tcptrace_tests::scenario::{self, Family, Setting};

use crate::rig::{Hook, Rig, small};

const HOOK: Hook = Hook::Xdp(Program::XdpIngress);

/// A handshake that takes `time`; the transitions told.
fn told(settings: &Settings, time: Duration) -> Vec<Transition> {
    let mut rig = Rig::new(HOOK, settings);
    rig.fresh();
    let text = "case\n C > S SYN |\n S > C SYN/ACK |\n C > S ACK |\n = nothing\n";
    let scenario = scenario::parse(text).expect("the text is right").remove(0);
    for (index, step) in scenario.steps.iter().enumerate() {
        if index == 2 {
            thread::sleep(time);
        }
        rig.see(&step.frame(&Setting::new(Family::V6), Link::Ethernet), step.seen);
    }
    rig.events().into_iter().map(|(transition, _)| transition).collect()
}

#[test]
fn a_late_completion_is_told() {
    let settings = Settings { stall_after: 20_000_000, ..small() };
    assert_eq!(told(&settings, Duration::from_millis(21)), [Transition::Completed]);
    let settings = Settings { stall_after: 60_000_000_000, ..small() };
    assert_eq!(told(&settings, Duration::from_millis(21)), []);
}

#[test]
fn every_completion_is_told_where_asked() {
    let settings = Settings { tell_all: true, ..small() };
    assert_eq!(told(&settings, Duration::ZERO), [Transition::Completed]);
}

/// With their log on the programs are other programs to the verifier; it takes all of them, and they do the same.
#[test]
fn all_programs_load_with_their_log_on() {
    let settings = Settings { debug: true, tell_all: true, ..small() };
    assert_eq!(told(&settings, Duration::ZERO), [Transition::Completed]);
    let mut kernel = Kernel::load(&settings).expect("the object loads");
    for program in [Program::XdpIngressFrags, Program::XdpIngress] {
        kernel.xdp(program).unwrap_or_else(|error| panic!("{}: {error}", program.name()));
    }
    for program in [Program::TcIngress, Program::TcEgress, Program::TcIngressIp, Program::TcEgressIp] {
        kernel.classifier(program).unwrap_or_else(|error| panic!("{}: {error}", program.name()));
    }
}
