//! Frames that nobody would send, in any order, with clocks that jump: nothing panics, nothing grows, nothing is told
//! twice.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample};
use tcptrace::offline::flows::{Finished, Flows, Raw, Wanted};
use tcptrace_core::{
    flow::{Endpoint, HashKey},
    handshake::{Nanos, Point},
    segment::Link,
};
use tcptrace_tests::{
    lab::{TcpFrame, flags},
    scenario,
    traffic::MACS,
};

/// A frame of the corpus, some of its bytes changed, perhaps cut.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<sample::Index>(), any::<u8>());
    (sample::select(scenario::corpus()), vec(change, 0..3), any::<Option<sample::Index>>()).prop_map(
        |(mut frame, changes, cut)| {
            for (at, octet) in changes {
                let at = at.index(frame.len());
                frame[at] = octet;
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len()));
            }
            frame
        },
    )
}

fn run(frames: &[(Vec<u8>, u64)], capacity: usize) -> (Vec<Finished>, Flows) {
    let wanted = Wanted { all: true, stall_after: 3_000_000_000, capacity, filter: None, evidence: true };
    let mut flows = Flows::new(wanted, HashKey(1, 2));
    let mut told = Vec::new();
    for (octets, at) in frames {
        let raw =
            Raw { octets, original: octets.len() as u32, interface: 1, direction: None, outer: None, around: None };
        flows.see(octets, Link::Ethernet, Nanos(*at), Point::ingress(1), raw);
        told.extend(flows.ready());
    }
    flows.finish();
    loop {
        match flows.ready() {
            ready if ready.is_empty() => break,
            ready => told.extend(ready),
        }
    }
    (told, flows)
}

/// The attempts that were reported, by their two ends.
fn pairs(told: &[Finished]) -> BTreeSet<[Endpoint; 2]> {
    let ends = told.iter().map(|it| [it.attempt.handshake.client(), it.attempt.handshake.server()]);
    ends.map(|[one, other]| [one.min(other), one.max(other)]).collect()
}

proptest! {
    #[test]
    fn any_frames_are_told_once_and_in_order(
        frames in vec((frame(), any::<u64>()), 1..200),
        capacity in 1..50usize,
    ) {
        let (told, flows) = run(&frames, capacity);
        let left: u64 = flows.so_far().0.iter().sum();
        prop_assert_eq!((left, flows.worked.by_outcome.iter().sum::<u64>()), (0, 0), "with --all each is told");
        prop_assert!(told.iter().all(|it| it.packets.len() <= 64 && it.decided <= it.packets.len()));
        // With less room no flow is forgotten. How many attempts it makes of one is another matter: what was evicted is
        // not there to tell the next SYN from.
        let (roomy, _) = run(&frames, 1 << 20);
        prop_assert_eq!(pairs(&told), pairs(&roomy));
    }

    /// The order of first packets is the order of the capture, where its clock does not jump.
    #[test]
    fn attempts_come_in_the_order_of_their_first_packets(frames in vec(frame(), 1..200)) {
        let frames: Vec<_> = frames.into_iter().zip((1..).map(|it| it * 1_000_000)).collect();
        let (told, _) = run(&frames, 1 << 20);
        prop_assert!(told.is_sorted_by_key(|it| it.attempt.seen.0));
    }
}

/// Packets of connections without trouble make room for others'; beyond that, what is not kept is counted.
#[test]
fn evidence_has_a_bound() {
    const ALL: usize = 64 << 20;
    let told = |established: u16, failed: u16| {
        let wanted = Wanted { all: false, stall_after: 3_000_000_000, capacity: 1 << 20, filter: None, evidence: true };
        let mut flows = Flows::new(wanted, HashKey(1, 2));
        let mut see = |frame: &TcpFrame, at| {
            let octets = frame.bytes();
            let raw = Raw {
                octets: &octets,
                original: octets.len() as u32,
                interface: 1,
                direction: None,
                outer: None,
                around: None,
            };
            flows.see(&octets, Link::Ethernet, Nanos(at), Point::ingress(1), raw);
        };
        for port in 1..=established + failed {
            let client = ([198, 51, 100, 2], port).into();
            let mut syn = TcpFrame::new(MACS, client, ([203, 0, 113, 2], 80).into(), flags::SYN, 7);
            syn.payload = vec![0; 30_000];
            see(&syn, u64::from(port));
            if port <= established {
                let answer = syn.answer(flags::SYN | flags::ACK, 99);
                see(&answer, u64::from(port));
                see(&answer.answer(flags::ACK, answer.ack), u64::from(port));
            }
        }
        flows.finish();
        let mut octets = 0;
        loop {
            let ready = flows.ready();
            if ready.is_empty() {
                return (octets, flows.evidence_cut);
            }
            octets += ready.iter().flat_map(|it| &it.packets).map(|it| it.octets.len()).sum::<usize>();
        }
    };
    // 45 MB of each fit together only without the first.
    let (octets, cut) = told(1500, 1500);
    assert!(octets > 1500 * 30_000 && cut == 0, "{octets} {cut}");
    let (octets, cut) = told(0, 3000);
    assert!(octets <= ALL && cut > 700, "{octets} {cut}");
}
