//! Captures through every hook, packet by packet: after each, the slot of its flow, what was told and what was counted
//! are the model's.
//!
//! The clock is the kernel's, and the model is given the time measured before each run. A packet that follows its
//! flow's last one by about as long as makes it the same packet again waits a little; where it was interrupted all the
//! same, so that neither verdict would be wrong, the capture is run again: it would prove nothing.

use std::{collections::HashMap, fmt, thread};

use tcptrace::{
    live::kernel::{Program, Settings},
    track::InTable as Slot,
};
use tcptrace_core::{
    event::{Counter, Counters},
    flood::Policy,
    flow::Endpoint,
    handshake::{Handshake, Nanos},
    segment::{self, Found, Link},
};
use tcptrace_tests::{
    prog_run,
    scenario::{Seen, model::Model},
};

use crate::{
    recorded::{Capture, Packet, generated, kept, met_by_others},
    rig::{Hook, Rig, order, telling},
    scenarios::{Calls, without_buckets},
};

/// Room for so many attempts that none makes room for another, and few enough slots to clear for each capture.
fn room(max_attempts: u32) -> Settings {
    Settings { max_attempts, ring: 1 << 20, flood: Some(Policy::NEVER), ..Settings::default() }
}

type Flow = (Endpoint, Endpoint);

/// The sender and the receiver: for an ICMP error, of the segment that it quotes.
fn ends(octets: &[u8], link: Link) -> Option<Flow> {
    match segment::locate(octets, link) {
        Found::Tcp(it) => Some((it.src, it.dst)),
        Found::Error(it) => Some((it.src, it.dst)),
        Found::Skipped(_) => None,
    }
}

/// What one flow has behind it: times around every call, the capture's time of its last packet.
#[derive(Default)]
struct Past {
    calls: Calls,
    around: Vec<(Nanos, Nanos)>,
    time: u64,
}

/// A packet that comes again within this time at one point is the same packet. No flow here is seen at two points a
/// direction, so it is the only time that decides anything.
const SAME: u64 = 1_000_000;
/// How near to it a run is not begun.
const MARGIN: u64 = 100_000;
/// By which the two readings of one clock may differ.
const SKEW: u64 = 20_000;

impl Past {
    /// Waits until the next packet can be told apart: a millisecond later where it was later in the capture.
    fn wait(&self, time: u64) {
        let later = time.saturating_sub(self.time) >= SAME;
        let Some(&(_, last)) = self.around.last() else { return };
        loop {
            let now = prog_run::now();
            let early = later && now.since(last) < SAME + MARGIN;
            if !early && self.around.iter().all(|it| now.since(it.1).abs_diff(SAME) > MARGIN) {
                return;
            }
            thread::yield_now();
        }
    }

    /// Whether some packet before may, for all that was measured, have come a millisecond before this one, or less.
    fn is_doubtful(&self, call: (Nanos, Nanos)) -> bool {
        let shortest = |it: &(Nanos, Nanos)| call.0.since(it.1).saturating_sub(SKEW);
        let longest = |it: &(Nanos, Nanos)| call.1.since(it.0) + SKEW;
        self.around.iter().any(|it| shortest(it) < SAME && longest(it) >= SAME)
    }

    fn push(&mut self, call: (Nanos, Nanos), time: u64) {
        self.calls.push(call);
        self.around.push(call);
        self.time = time;
    }
}

/// A flow is found by some bits of a hash, so a data packet may by chance be looked at more closely: then it is counted
/// as the other of these two kinds.
fn counted(tally: &Counters) -> impl PartialEq + fmt::Debug {
    let mut tally = *tally;
    let established = std::mem::take(&mut tally.counters[Counter::Established as usize]);
    tally.counters[Counter::Control as usize] += established;
    without_buckets(&tally)
}

/// What a hook was shown of a capture.
#[derive(Default)]
struct Shown {
    packets: usize,
    /// How long those are that BPF_PROG_TEST_RUN does not take.
    untaken: Vec<usize>,
}

/// Runs a capture; `None` if one of the runs was interrupted at the wrong moment.
fn run(rig: &mut Rig, capture: &Capture) -> Option<Shown> {
    rig.fresh();
    let hook = rig.hook;
    let mut model = Model::new(telling(&room(0)));
    let mut flows: HashMap<Flow, Past> = HashMap::new();
    let mut shown = Shown::default();
    for (number, packet) in capture.packets.iter().enumerate() {
        let Some(octets) = as_hook_takes_it(hook, packet) else { continue };
        if !rig.takes(octets) {
            shown.untaken.push(octets.len());
            continue;
        }
        shown.packets += 1;
        let ends = ends(octets, hook.link());
        let flow = ends.map(|(a, b)| (a.min(b), a.max(b)));
        // One of the two is this host, where both ways can be told apart.
        let out = hook.has_points() && ends.is_some_and(|(from, to)| from < to);
        let seen = Seen { interface: 0, out };
        let mut nobody = Past::default();
        let past = flow.map_or(&mut nobody, |flow| flows.entry(flow).or_default());
        past.wait(packet.time);
        let ran = rig.see(octets, seen);
        if past.is_doubtful(ran.between) {
            return None;
        }
        past.push(ran.between, packet.time);
        let told = model.events.len();
        model.see(octets, hook.link(), ran.between.0, rig.point(seen));
        let place = || format!("{hook:?}, packet {} of {}: {octets:02x?}", number + 1, capture.name);
        let expected = flow.and_then(|(a, b)| model.attempt(a, b));
        let slot = expected.map(|it| match rig.kernel.table.find(it) {
            Slot::Here(it) => Some(past.calls.attempt(it)),
            Slot::Gone | Slot::Busy => None,
        });
        assert_eq!(slot, expected.map(|it| Some(*it)), "the slot, {}", place());
        let events: Vec<_> = rig.events().into_iter().map(|it| past.calls.event(it)).collect();
        assert_eq!(events, model.events[told..], "what is told, {}", place());
        assert_eq!(counted(&rig.tally()), counted(&model.tally), "what is counted, {}", place());
    }
    // Nothing is left that belongs to nobody, and the slots of others are as they were.
    let mut expected: Vec<Handshake> = model.attempts().copied().collect();
    expected.sort_by_key(order);
    let attempts: Vec<Handshake> = rig.attempts();
    let past = |it: &Handshake| &flows[&(it.client().min(it.server()), it.client().max(it.server()))].calls;
    let attempts: Vec<_> = attempts.into_iter().map(|it| past(&it).attempt(it)).collect();
    assert_eq!(attempts, expected, "{hook:?}, at the end of {}", capture.name);
    Some(shown)
}

/// Ethernet is for the programs that read it; IP also for those without a link header, which have no use for tags.
fn as_hook_takes_it(hook: Hook, packet: &Packet) -> Option<&[u8]> {
    match (hook.link(), packet.link) {
        (Link::Ethernet, Link::Ethernet) | (Link::Ip, Link::Ip) => Some(&packet.octets),
        (Link::Ip, Link::Ethernet) => {
            matches!(packet.octets.get(12..14)?, [0x08, 0x00] | [0x86, 0xdd]).then(|| &packet.octets[14..])
        }
        (Link::Ethernet, Link::Ip) => None,
    }
}

fn run_all(hook: Hook) {
    for (kind, captures, attempts) in
        [("met by others", met_by_others(), 1 << 10), ("kept", kept(), 1 << 10), ("generated", generated(), 1 << 16)]
    {
        let mut rig = Rig::new(hook, &room(attempts));
        let (mut packets, mut untaken) = (0, 0);
        for capture in captures.iter().filter(|it| !it.packets.is_empty()) {
            let shown = (0..1000).find_map(|_| run(&mut rig, capture));
            let shown = shown.unwrap_or_else(|| panic!("{}: the machine interrupted every try", capture.name));
            packets += shown.packets;
            untaken += shown.untaken.len();
            if !shown.untaken.is_empty() {
                println!("BPF_PROG_TEST_RUN does not take packets of {:?} octets: {}", shown.untaken, capture.name);
            }
        }
        let (number, unread) = (captures.len(), captures.iter().map(|it| it.unread).sum::<usize>());
        println!(
            "{hook:?}, {kind}: {number} captures, {packets} packets as the model has them, {untaken} not taken, {unread} \
             records that are not read"
        );
        assert!(packets > 0 || captures.is_empty(), "{hook:?}, {kind}: no packet was taken");
    }
}

#[test]
fn xdp_with_frags() {
    run_all(Hook::Xdp(Program::XdpIngressFrags));
}

#[test]
fn xdp_without_frags() {
    run_all(Hook::Xdp(Program::XdpIngress));
}

#[test]
fn tc() {
    run_all(Hook::Tc);
}

#[test]
fn tc_without_link_header() {
    run_all(Hook::TcIp);
}
