//! What happens when the table or the ring is full, and that established traffic fills neither.

use std::os::fd::AsFd;

use tcptrace::live::kernel::{Program, Settings};
use tcptrace_core::{
    event::{Counter, Event},
    handshake::Transition,
    segment::Link,
};
use tcptrace_tests::{
    prog_run,
    scenario::{self, Family, Seen, Setting},
};

use crate::rig::{Hook, Rig, small};

const HOOK: Hook = Hook::Xdp(Program::XdpIngressFrags);

/// The packets of a few lines, each from the client's port `port`.
fn send(rig: &Rig, port: u16, lines: &str) {
    let text = format!("case\n {}\n = nothing\n", lines.replace('\n', "\n "));
    let scenario = scenario::parse(&text).expect("the text is right").remove(0);
    let setting = Setting { client_port: port, ..Setting::new(Family::V4) };
    for step in &scenario.steps {
        rig.see(&step.frame(&setting, Link::Ethernet), Seen::default());
    }
}

fn syn(rig: &Rig, ports: std::ops::RangeInclusive<u16>) {
    ports.for_each(|port| send(rig, port, "C > S SYN |"));
}

fn refuse(rig: &Rig, port: u16) {
    send(rig, port, "S > C RST/ACK seq=0 |");
}

fn ports(rig: &Rig) -> Vec<u16> {
    let mut ports: Vec<u16> = rig.attempts().iter().map(|it| it.client_port).collect();
    ports.sort_unstable();
    ports
}

fn counter(rig: &Rig, counter: Counter) -> u64 {
    rig.tally().counters[counter as usize]
}

/// One set of eight slots: the oldest settled makes room, then the oldest; each is counted as what it is.
#[test]
fn a_full_table_makes_room_for_the_newest() {
    let mut rig = Rig::new(HOOK, &Settings { max_attempts: 8, ..small() });
    assert_eq!(rig.capacity(), 8);
    rig.fresh();
    syn(&rig, 1..=4);
    refuse(&rig, 2);
    refuse(&rig, 3);
    syn(&rig, 5..=8);
    refuse(&rig, 6);
    assert_eq!(ports(&rig), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((counter(&rig, Counter::ReplacedSettled), counter(&rig, Counter::ReplacedPending)), (0, 0));

    syn(&rig, 9..=10);
    assert_eq!(ports(&rig), [1, 4, 5, 6, 7, 8, 9, 10], "the settled ones go, the oldest first");
    syn(&rig, 11..=11);
    assert_eq!(ports(&rig), [1, 4, 5, 7, 8, 9, 10, 11], "the younger settled one before the older pending ones");
    assert_eq!((counter(&rig, Counter::ReplacedSettled), counter(&rig, Counter::ReplacedPending)), (3, 0));

    syn(&rig, 12..=13);
    assert_eq!(ports(&rig), [5, 7, 8, 9, 10, 11, 12, 13], "then the oldest of all");
    assert_eq!((counter(&rig, Counter::ReplacedSettled), counter(&rig, Counter::ReplacedPending)), (3, 2));

    // An attempt whose place was taken is unknown from then on, and its answer matches none.
    send(&rig, 1, "S > C SYN/ACK |");
    assert_eq!(counter(&rig, Counter::AnswerUnmatched), 1);
    assert_eq!(rig.tally().transitions[Transition::Opened as usize], 13);
}

/// However fast they come, it is the oldest that goes.
#[test]
fn a_burst_keeps_its_newest() {
    let mut rig = Rig::new(HOOK, &Settings { max_attempts: 8, ..small() });
    rig.fresh();
    syn(&rig, 1..=16);
    assert_eq!(ports(&rig), [9, 10, 11, 12, 13, 14, 15, 16]);
    // An attempt that takes its own flow's place is as young as any.
    send(&rig, 9, "C > S SYN seq=isn+640001 |");
    syn(&rig, 17..=17);
    assert_eq!(ports(&rig), [9, 11, 12, 13, 14, 15, 16, 17]);
    assert_eq!((counter(&rig, Counter::ReplacedSettled), counter(&rig, Counter::ReplacedPending)), (0, 9));
}

/// A newer attempt of the same flow takes its own slot: nobody else's.
#[test]
fn a_superseding_syn_replaces_nobody() {
    let mut rig = Rig::new(HOOK, &Settings { max_attempts: 8, ..small() });
    rig.fresh();
    syn(&rig, 1..=8);
    send(&rig, 5, "C > S SYN seq=isn+640001 |");
    assert_eq!(ports(&rig), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((counter(&rig, Counter::ReplacedSettled), counter(&rig, Counter::ReplacedPending)), (0, 0));
}

/// A page holds 23 records; those after them are counted, by kind, and none is half written.
#[test]
fn a_full_ring_loses_nothing_unsaid() {
    const HEADER: usize = 8;
    const ROOM: usize = 4095 / (HEADER + size_of::<Event>());
    let mut rig = Rig::new(HOOK, &Settings { ring: 4096, max_attempts: 1024, ..small() });
    rig.fresh();
    for port in 1..=40 {
        send(&rig, port, "C > S SYN |\nS > C RST/ACK seq=0 |");
    }
    for port in 41..=45 {
        send(&rig, port, "C > S SYN |\nR > C ICMP admin quoting SYN |");
    }
    let tally = rig.tally();
    assert_eq!(tally.transitions[Transition::Refused as usize], 40);
    assert_eq!(tally.lost[Transition::Refused as usize], 40 - ROOM as u64);
    assert_eq!(tally.lost[Transition::Unreachable as usize], 5);
    assert_eq!(tally.lost.iter().sum::<u64>(), 45 - ROOM as u64);
    let events = rig.events();
    assert_eq!(events.len(), ROOM);
    for ((transition, event), port) in events.iter().zip(1..) {
        assert_eq!(
            (*transition, event.handshake.client_port),
            (Transition::Refused, port),
            "in order, the oldest kept"
        );
    }
    // Read, it has room again.
    send(&rig, 46, "C > S SYN |\nS > C RST/ACK seq=0 |");
    assert_eq!(rig.events().len(), 1);
    assert_eq!(rig.tally().lost, tally.lost);
}

/// The fast path: data of established flows is counted and touches no slot, in whichever state the attempt ended.
#[test]
fn data_touches_no_slot() {
    let endings = [
        "C > S SYN |\nS > C SYN/ACK |\nC > S ACK |",
        "C > S SYN |\nS > C RST/ACK seq=0 |",
        "C > S SYN |\nC > S RST |",
        "C > S SYN |\nS > C SYN/ACK |\nS > C RST |",
    ];
    for hook in [HOOK, Hook::Tc] {
        let mut rig = Rig::new(hook, &small());
        for ending in endings {
            rig.fresh();
            send(&rig, 1, ending);
            let (attempts, before) = (rig.attempts(), rig.tally());
            rig.events();
            let lines = ["C > S PSH/ACK len=1400 |", "S > C ACK ack=isn+1401 |", "C > S NULL |", "C > S URG/ACK |"];
            let setting = Setting { client_port: 1, ..Setting::new(Family::V4) };
            for line in lines {
                let text = format!("case\n {line}\n = nothing\n");
                let step = scenario::parse(&text).expect("the text is right").remove(0).steps.remove(0);
                let frame = step.frame(&setting, Link::Ethernet);
                prog_run::run(rig.program(false).as_fd(), &frame, 1000).expect("it runs");
            }
            let after = rig.tally();
            let established = Counter::Established as usize;
            assert_eq!(after.counters[established] - before.counters[established], 4000, "{ending}");
            assert_eq!(
                after.counters[Counter::Control as usize],
                before.counters[Counter::Control as usize],
                "{ending}"
            );
            assert_eq!(after.transitions, before.transitions, "{ending}");
            assert_eq!(rig.attempts(), attempts, "{ending}");
            assert!(rig.events().is_empty(), "{ending}");
        }
    }
}

/// A frame of several buffers (a jumbo frame, or one joined by the NIC): its headers are in the first.
#[test]
fn a_jumbo_frame_is_read() {
    let mut rig = Rig::new(HOOK, &small());
    rig.fresh();
    send(
        &rig,
        1,
        "C > S SYN len=8000 |\nS > C SYN/ACK ack=isn+8001 |\nC > S PSH/ACK len=8900 seq=isn+8001 |\nC > S ACK len=8900 |",
    );
    let tally = rig.tally();
    let count = |it: Transition| tally.transitions[it as usize];
    assert_eq!([Transition::Opened, Transition::Answered, Transition::Completed].map(count), [1, 1, 1]);
    assert_eq!(tally.counters[Counter::Established as usize], 1);
}
