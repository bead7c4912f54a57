//! A loaded object, the hooks that a test runs, and a way to start afresh without loading again.
//!
//! Loading takes the verifier a quarter of a second a program, and what a row needs is empty maps.

use std::{
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    process::Command,
};

use aya::maps::{Array, Map, MapData, RingBuf};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use tcptrace::live::{
    decode,
    kernel::{Kernel, Program, Settings},
};
use tcptrace_core::{
    event::{Counters, Event, Telling},
    flood::Policy,
    flow::Endpoint,
    handshake::{Handshake, Point, Transition},
    segment::Link,
    table::{Set, Slot, WAYS},
};
use tcptrace_tests::{
    prog_run::{self, Ran},
    scenario::Seen,
};

/// Which programs see the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// One XDP program; every packet comes in at the loopback.
    Xdp(Program),
    /// `tc_ingress` and `tc_egress`, on two interfaces.
    Tc,
    /// The same, looking into tunnels.
    TcDecap,
    /// `tc_ingress_ip` and `tc_egress_ip`: frames without a link header.
    TcIp,
}

impl Hook {
    pub(crate) const fn link(self) -> Link {
        match self {
            Self::Xdp(_) | Self::Tc | Self::TcDecap => Link::Ethernet,
            Self::TcIp => Link::Ip,
        }
    }

    /// Whether it can tell two points apart in a test run.
    pub(crate) const fn has_points(self) -> bool {
        !matches!(self, Self::Xdp(_))
    }
}

/// XDP_PASS and TCX_NEXT (include/uapi/linux/bpf.h).
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const TCX_NEXT: u32 = -1i32 as u32;

pub(crate) struct Rig {
    pub(crate) kernel: Kernel,
    pub(crate) hook: Hook,
    programs: Vec<OwnedFd>,
    /// Interface indexes by [`Seen::interface`].
    interfaces: [u32; 2],
    events: RingBuf<MapData>,
    sets: Array<MapData, [u64; SET_WORDS]>,
    slots: Array<MapData, [u64; SLOT_WORDS]>,
    counted: Counters,
}

const SET_WORDS: usize = size_of::<Set>() / 8;
const SLOT_WORDS: usize = size_of::<Slot>() / 8;

/// Enough for a few flows, and few enough slots to clear for each row; what the host knows beside packets is off.
pub(crate) fn small() -> Settings {
    let off = Settings { connects: 0, drops: 0, ..Settings::default() };
    Settings { max_attempts: 64, ring: 4096, flood: Some(Policy::NEVER), ..off }
}

impl Rig {
    pub(crate) fn new(hook: Hook, settings: &Settings) -> Self {
        assert_root();
        let interfaces = if hook.has_points() { two_interfaces() } else { [1, 1] };
        let mut kernel = Kernel::load(settings).expect("the object loads");
        let programs = match hook {
            Hook::Xdp(program) => vec![fd(&mut kernel, program)],
            Hook::Tc => [Program::TcIngress, Program::TcEgress].map(|it| fd(&mut kernel, it)).into(),
            Hook::TcDecap => [Program::TcIngressDecap, Program::TcEgressDecap].map(|it| fd(&mut kernel, it)).into(),
            Hook::TcIp => [Program::TcIngressIp, Program::TcEgressIp].map(|it| fd(&mut kernel, it)).into(),
        };
        let sets = Array::try_from(Map::Array(map_of(&mut kernel, hook, "SETS"))).expect("an array of sets");
        let slots = Array::try_from(Map::Array(map_of(&mut kernel, hook, "SLOTS"))).expect("an array of slots");
        let events = kernel.take_events().expect("nobody has taken it");
        Self { kernel, hook, programs, interfaces, events, sets, slots, counted: Counters::default() }
    }

    /// Where the kernel takes a packet to be seen.
    pub(crate) fn point(&self, seen: Seen) -> Point {
        let ifindex = self.interfaces[seen.interface];
        if seen.out { Point::egress(ifindex) } else { Point::ingress(ifindex) }
    }

    /// Whether BPF_PROG_TEST_RUN takes a frame: it wants an Ethernet header, for TC, behind one that announces IP, a
    /// whole IP header, and but for a program that knows of fragments no more than a page can hold beside what else the
    /// kernel puts there.
    pub(crate) fn takes(&self, frame: &[u8]) -> bool {
        const PAGEFUL: usize = 3400;
        let least = match (self.hook, frame.get(12..14)) {
            (Hook::Tc | Hook::TcDecap | Hook::TcIp, Some([0x08, 0x00])) => 14 + 20,
            (Hook::Tc | Hook::TcDecap | Hook::TcIp, Some([0x86, 0xdd])) => 14 + 40,
            _ => 14,
        };
        frame.len() >= least && (frame.len() <= PAGEFUL || self.hook == Hook::Xdp(Program::XdpIngressFrags))
    }

    /// Runs the hook's program on a frame. It passes every packet on: anything else fails the test.
    pub(crate) fn see(&self, frame: &[u8], seen: Seen) -> Ran {
        let (ran, pass) = match self.hook {
            Hook::Xdp(_) => (prog_run::run(self.programs[0].as_fd(), frame, 1), XDP_PASS),
            Hook::Tc | Hook::TcDecap | Hook::TcIp => {
                let program = self.programs[usize::from(seen.out)].as_fd();
                (prog_run::run_on(program, frame, self.interfaces[seen.interface]), TCX_NEXT)
            }
        };
        let ran = ran.unwrap_or_else(|error| panic!("{:?} does not run on {frame:02x?}: {error}", self.hook));
        assert_eq!(ran.retval, pass, "{:?} on {frame:02x?}", self.hook);
        ran
    }

    /// The file descriptor of a hook's program: the way in, or the way out.
    pub(crate) fn program(&self, out: bool) -> &OwnedFd {
        &self.programs[usize::from(out)]
    }

    /// Empties table and ring; the counters start from here.
    pub(crate) fn fresh(&mut self) {
        for index in 0..self.sets.len() {
            self.sets.set(index, [0; SET_WORDS], 0).expect("the set is there");
        }
        for index in 0..self.slots.len() {
            self.slots.set(index, [0; SLOT_WORDS], 0).expect("the slot is there");
        }
        while self.events.next().is_some() {}
        self.counted = self.kernel.tally().expect("the counters can be read");
    }

    /// What has been counted since the last [`Rig::fresh`].
    pub(crate) fn tally(&self) -> Counters {
        let mut tally = self.kernel.tally().expect("the counters can be read");
        let minus = |from: &mut [u64], what: &[u64]| from.iter_mut().zip(what).for_each(|(from, what)| *from -= what);
        minus(&mut tally.counters, &self.counted.counters);
        minus(&mut tally.transitions, &self.counted.transitions);
        minus(&mut tally.lost, &self.counted.lost);
        minus(&mut tally.syn_to_answer, &self.counted.syn_to_answer);
        minus(&mut tally.answer_to_ack, &self.counted.answer_to_ack);
        tally
    }

    /// What has been told since the last call.
    pub(crate) fn events(&mut self) -> Vec<(Transition, Event)> {
        let mut events = Vec::new();
        while let Some(record) = self.events.next() {
            events.push(decode::event(&record).expect("a record of this version"));
        }
        events
    }

    /// Every attempt in the table, in the order of its endpoints.
    pub(crate) fn attempts(&self) -> Vec<Handshake> {
        let mut attempts: Vec<Handshake> = self.kernel.table.attempts().collect();
        attempts.sort_by_key(order);
        attempts
    }

    pub(crate) fn capacity(&self) -> usize {
        self.sets.len() as usize * WAYS
    }
}

pub(crate) fn order(it: &Handshake) -> (Endpoint, Endpoint, u32) {
    (it.client(), it.server(), it.isn.0)
}

pub(crate) fn telling(settings: &Settings) -> Telling {
    Telling { all: settings.tell_all, stall_after: settings.stall_after }
}

fn fd(kernel: &mut Kernel, program: Program) -> OwnedFd {
    let fd = match program {
        Program::XdpIngressFrags | Program::XdpIngress | Program::XdpIngressDecap => {
            kernel.xdp(program).expect("it loads").fd()
        }
        _ => kernel.classifier(program).expect("it loads").fd(),
    };
    fd.expect("it is loaded").as_fd().try_clone_to_owned().expect("a descriptor more")
}

/// A map of the loaded object by its name: [`Kernel`] shows userspace none that it could write.
fn map_of(kernel: &mut Kernel, hook: Hook, name: &str) -> MapData {
    let info = match hook {
        Hook::Xdp(program) => kernel.xdp(program).expect("it is loaded").info(),
        Hook::Tc => kernel.classifier(Program::TcIngress).expect("it is loaded").info(),
        Hook::TcDecap => kernel.classifier(Program::TcIngressDecap).expect("it is loaded").info(),
        Hook::TcIp => kernel.classifier(Program::TcIngressIp).expect("it is loaded").info(),
    };
    let ids =
        info.expect("the kernel knows its program").map_ids().expect("maps have ids").expect("the program has maps");
    let mut maps = ids.into_iter().map(|id| MapData::from_id(id).expect("the map is there"));
    maps.find(|it| it.info().expect("the kernel knows its map").name_as_str() == Some(name))
        .expect("the object has the map")
}

/// Two interfaces in a network namespace that this thread alone is in, and that goes with it.
fn two_interfaces() -> [u32; 2] {
    unshare(CloneFlags::CLONE_NEWNET).expect("root makes network namespaces");
    let pair = ["link", "add", "eth0", "type", "veth", "peer", "name", "eth1"];
    let made = Command::new("ip").args(pair).status().expect("ip(8) is there: install iproute2");
    assert!(made.success(), "`ip {}` failed", pair.join(" "));
    ["eth0", "eth1"].map(|name| if_nametoindex(name).expect("it was just made"))
}

fn assert_root() {
    let uid = fs::metadata("/proc/self").expect("/proc is mounted").uid();
    assert_eq!(uid, 0, "these tests load BPF programs and need root: `cargo xtask test`, or sudo");
}
