//! Two CPUs on one flow: no packet is lost unsaid, no slot is torn, and the flow has one slot from its first packet on.

use std::{
    hint,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Barrier,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
    thread,
};

use tcptrace::live::kernel::Settings;
use tcptrace_core::{
    event::Counter,
    handshake::{Facts, Handshake, Transition},
    segment::Link,
};
use tcptrace_tests::{
    prog_run,
    scenario::{self, Family, Setting},
};

use crate::rig::{Hook, Rig, small};

const PACKETS: u32 = 300_000;

fn frame(line: &str) -> Vec<u8> {
    frame_from(Setting::new(Family::V4).client_port, line)
}

fn frame_from(client_port: u16, line: &str) -> Vec<u8> {
    let text = format!("case\n {line} |\n = nothing\n");
    let step = scenario::parse(&text).expect("the text is right").remove(0).steps.remove(0);
    step.frame(&Setting { client_port, ..Setting::new(Family::V4) }, Link::Ethernet)
}

/// Runs one frame on each of two threads at once, many times.
fn at_once(rig: &Rig, lines: [&str; 2]) {
    let barrier = Barrier::new(2);
    let run = |program: &OwnedFd, line: &str| {
        let frame = frame(line);
        barrier.wait();
        prog_run::run(program.as_fd(), &frame, PACKETS).expect("it runs");
    };
    thread::scope(|scope| {
        scope.spawn(|| run(rig.program(false), lines[0]));
        scope.spawn(|| run(rig.program(true), lines[1]));
    });
}

/// Each packet did something, or is counted as lost to contention.
fn assert_all_counted(rig: &Rig, before: u64) {
    let tally = rig.tally();
    let count = |it: Transition| tally.transitions[it as usize];
    // A superseding SYN makes two transitions.
    let stepped = tally.transitions.iter().sum::<u64>() - count(Transition::Superseded);
    let contended = tally.counters[Counter::Contended as usize];
    assert_eq!(stepped + contended, before + 2 * u64::from(PACKETS), "{tally:?}");
    assert_eq!(tally.counters[Counter::Control as usize], before + 2 * u64::from(PACKETS));
    assert_eq!(
        (tally.counters[Counter::ReplacedPending as usize], tally.counters[Counter::ReplacedSettled as usize]),
        (0, 0)
    );
}

#[test]
fn both_sides_of_one_attempt() {
    let mut rig = Rig::new(Hook::Tc, &small());
    rig.fresh();
    let syn = frame("C > S SYN");
    prog_run::run(rig.program(false).as_fd(), &syn, 1).expect("it runs");
    at_once(&rig, ["C > S SYN", "S > C SYN/ACK"]);
    assert_all_counted(&rig, 1);
    let attempts = rig.attempts();
    assert_eq!(attempts.len(), 1, "{attempts:#?}");
    assert_eq!(attempts[0].facts, Facts(0));
    // Both sides were seen, each with the other's interruptions: a slot that was torn would not say so.
    assert_eq!((attempts[0].syn.mss, attempts[0].answer.mss), (1460, 1460));
}

#[test]
fn two_attempts_for_one_slot() {
    let mut rig = Rig::new(Hook::Tc, &small());
    rig.fresh();
    let syn = frame("C > S SYN");
    prog_run::run(rig.program(false).as_fd(), &syn, 1).expect("it runs");
    at_once(&rig, ["C > S SYN", "C > S SYN seq=isn+640001"]);
    assert_all_counted(&rig, 1);
    let tally = rig.tally();
    let superseded = Transition::Superseded as usize;
    let told = rig.events().iter().filter(|(it, _)| *it == Transition::Superseded).count() as u64;
    // Every superseded attempt was open: told, or counted as lost.
    assert_eq!(told + tally.lost[superseded], tally.transitions[superseded]);
    assert_eq!(rig.attempts().len(), 1);
}

/// The same SYN on both CPUs at the same moment, as on a router whose two interfaces interrupt two CPUs, flow after
/// flow: whoever comes second finds what the first opened.
#[test]
fn one_attempt_opened_on_both() {
    const FLOWS: u16 = 2000;
    let mut rig = Rig::new(Hook::Tc, &Settings { max_attempts: 1 << 15, ..small() });
    rig.fresh();
    let turns = [AtomicU16::new(0), AtomicU16::new(0)];
    thread::scope(|scope| {
        for cpu in [0, 1] {
            let (program, turns) = (rig.program(cpu == 1), &turns);
            scope.spawn(move || {
                for port in 1..=FLOWS {
                    let syn = frame_from(port, "C > S SYN");
                    turns[cpu].store(port, SeqCst);
                    while turns[1 - cpu].load(SeqCst) < port {
                        hint::spin_loop();
                    }
                    prog_run::run(program.as_fd(), &syn, 1).expect("it runs");
                }
            });
        }
    });
    let attempts = rig.attempts();
    let once = |pair: &[Handshake]| pair[0].client_port < pair[1].client_port;
    assert!(attempts.windows(2).all(once), "a flow has two slots");
    let tally = rig.tally();
    let count = |it: Transition| tally.transitions[it as usize];
    let contended = tally.counters[Counter::Contended as usize];
    assert_eq!(count(Transition::Opened), attempts.len() as u64);
    assert_eq!(
        count(Transition::Opened) + count(Transition::SeenAgain) + count(Transition::SynRetried) + contended,
        2 * u64::from(FLOWS),
        "{tally:?}"
    );
}
