//! What is measured: each kind of packet, how its like differ, what goes before, and the goal.
//!
//! Goals are nanoseconds above the rival. They do not fail the run: a benchmark on a machine that others use too says
//! what it saw.

use tcptrace_core::{event::Counter, flood::Policy, handshake::Transition, segment::Flags};
use tcptrace_tests::frames;

use crate::driver::{BATCH, Hook, Order, Plan};

const SYN: u8 = Flags::SYN;
const SYN_ACK: u8 = Flags::SYN | Flags::ACK;
const ACK: u8 = Flags::ACK;
const FIN_ACK: u8 = Flags::FIN | Flags::ACK;

const RST: u8 = Flags::RST;

/// A line of the table.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The rest of its title: over what, and in which table.
    pub(crate) place: &'static str,
    pub(crate) hook: Hook,
    /// The IP version.
    pub(crate) version: u8,
    pub(crate) frame: fn(u8) -> Vec<u8>,
    pub(crate) plan: Plan,
    /// Slots of the table.
    pub(crate) slots: u32,
    /// When a server counts as flooded; `None`: as the tool has it.
    pub(crate) flood: Option<Policy>,
    /// Batches of other plans that go before everything else.
    before: &'static [Before],
    /// Whether as many attempts as the table has slots go before those, over the other version of IP.
    full: bool,
    /// Calls that go before the first round.
    pub(crate) warm_up: usize,
    /// Which of a flow's packets is measured, in a plan that goes in passes.
    pub(crate) step: Option<usize>,
    /// Batches of a call, and calls of a round.
    pub(crate) batches: u32,
    pub(crate) calls: u32,
    /// What one packet of nearly every flow has to count as.
    pub(crate) counts: Counts,
    pub(crate) goal: Option<f64>,
    /// Whether it is among those that are run once as a test.
    pub(crate) is_tested: bool,
}

/// What goes before the packets of a row.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    pub(crate) version: u8,
    pub(crate) plan: Plan,
    pub(crate) batches: u32,
    /// What one packet of nearly every flow has to make.
    pub(crate) makes: Transition,
}

impl Row {
    /// What goes before it; a test does not fill a table.
    pub(crate) fn before(&self, test: bool) -> Vec<Before> {
        let fill =
            Before { version: 10 - self.version, plan: NEW, batches: self.slots / BATCH, makes: Transition::Opened };
        let fill = (self.full && !test).then_some(fill);
        fill.into_iter().chain(self.before.iter().map(|it| Before { version: self.version, ..*it })).collect()
    }
}

/// A counter of the kernel side.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counts {
    As(Counter),
    Makes(Transition),
}

const ONE: Plan = Plan {
    ip_version: 0,
    flags: &[ACK],
    order: Order::Lag(0),
    flows: 1,
    fresh_isn: false,
    servers: 256,
    first_flow: 0,
};
/// Ten batches of flows.
const MANY: u64 = 10 * BATCH as u64;
pub(crate) const DATA: Plan = Plan { ip_version: 4, flows: MANY, ..ONE };
/// SYNs of flows that never come again.
const NEW: Plan = Plan { ip_version: 4, flags: &[SYN], flows: 0, fresh_isn: true, ..ONE };
/// SYNs of flows that come again with another ISN.
const AGAIN: Plan = Plan { flows: MANY, ..NEW };
/// Whole handshakes, two thirds of the flows pending at any time.
const HANDSHAKE: Plan = Plan { flags: &[SYN, SYN_ACK, ACK], order: Order::Lag(MANY / 3), ..AGAIN };
/// The same, in passes: all SYNs, all SYN/ACKs, all final ACKs.
const PASSES: Plan = Plan { order: Order::Passes, ..HANDSHAKE };
/// Half of them pending: with more, sets overflow and a part of the handshakes loses its slot.
const MILLION: Plan = Plan { order: Order::Lag(1 << 18), flows: 1 << 20, ..HANDSHAKE };
/// The same SYN of the same flows.
const RETRY: Plan = Plan { flags: &[SYN], flows: 1 << 16, ..DATA };

/// The same, in passes: all SYNs, all RSTs.
const ABORTED: Plan = Plan { flags: &[SYN, RST], ..PASSES };

/// Handshakes of the flows that [`DATA`] has.
const ESTABLISHED: &[Before] = &[Before {
    version: 4,
    plan: Plan { order: Order::Lag(0), ..HANDSHAKE },
    batches: 30,
    makes: Transition::Completed,
}];

const XDP: Row = Row {
    name: "",
    place: "",
    hook: Hook::Xdp,
    version: 4,
    frame: frames::syn,
    plan: DATA,
    slots: 1 << 18,
    // The accounts are kept, and none overflows.
    flood: Some(Policy::NEVER),
    before: &[],
    full: false,
    warm_up: 1,
    step: None,
    batches: 128,
    calls: 1,
    counts: Counts::As(Counter::Established),
    goal: None,
    is_tested: true,
};

/// The rows, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for hook in [Hook::Xdp, Hook::Tc] {
        for (version, full, place) in PLACES {
            // A kind that is not IP has one version.
            let here = KINDS.iter().filter(|it| *version == 4 || it.counts.is_of_ip());
            rows.extend(here.map(|it| it.at(hook, *version, *full, place)));
        }
    }
    rows.extend(OTHERS);
    rows
}

/// Over what, and in which table, each kind is measured.
const PLACES: &[(u8, bool, &str)] = &[
    (4, false, ", IPv4, table empty"),
    (6, false, ", IPv6, table empty"),
    (4, true, ", IPv4, 1 M attempts"),
    (6, true, ", IPv6, 1 M attempts"),
];

/// Each kind of packet, ten thousand flows where it has any. The table has room for a million attempts.
const KINDS: &[Row] = &[
    step("SYN", 0, Some(100.0)),
    step("SYN/ACK", 1, None),
    step("ACK that completes", 2, None),
    Row { frame: |version| frames::data(version, 74), goal: Some(10.0), ..named("data") },
    Row {
        plan: Plan { flags: &[FIN_ACK], ..DATA },
        before: ESTABLISHED,
        counts: Counts::Makes(Transition::Noted),
        ..named("FIN")
    },
    // Each is told, and a call's have to fit the ring.
    Row {
        plan: ABORTED,
        step: Some(1),
        batches: 20,
        calls: 6,
        counts: Counts::Makes(Transition::Aborted),
        ..named("RST that ends an attempt")
    },
    as_is("ICMP error", frames::icmp_error, Counter::IcmpUnmatched),
    as_is("UDP", frames::udp, Counter::NotTcp),
    as_is("ARP", frames::arp, Counter::NotIp),
    as_is("later fragment", frames::later_fragment, Counter::LaterFragment),
];

impl Counts {
    fn is_of_ip(&self) -> bool {
        !matches!(self, Self::As(Counter::NotIp))
    }
}

impl Row {
    fn at(&self, hook: Hook, version: u8, full: bool, place: &'static str) -> Self {
        let place = if self.counts.is_of_ip() { place } else { &place[", IPv4".len()..] };
        let ip_version = if self.plan.ip_version == 0 { 0 } else { version };
        // A new attempt in a full table takes the place of one that is nowhere near.
        let goal = self.goal.map(|it| if full && it > 10.0 { 2.0 * it } else { it });
        let plan = Plan { ip_version, ..self.plan };
        let is_tested = full == (version == 4 && hook == Hook::Xdp) && (version == 4) == (hook == Hook::Xdp);
        Self { hook, version, full, place, plan, goal, is_tested, slots: 1 << 20, ..*self }
    }
}

/// What is measured besides.
const OTHERS: &[Row] = &[
    data("data of one flow, IPv4, 64 octets", |it| frames::data(it, 64), ONE),
    data("data, IPv4, 1,500 octets", |it| frames::data(it, 1500), DATA),
    Row { version: 6, ..data("data, IPv6, 1,500 octets", |it| frames::data(it, 1500), Plan { ip_version: 6, ..DATA }) },
    Row { slots: 1 << 14, ..syn("SYN, table of 16 k, all pending", NEW, 100.0) },
    Row {
        plan: AGAIN,
        batches: 10,
        calls: 12,
        counts: Counts::Makes(Transition::Superseded),
        ..named("SYN of 10 k pending flows: told")
    },
    Row { slots: 1 << 20, warm_up: 16, ..syn("SYN, table of 1 M, all pending", NEW, 200.0) },
    Row {
        flood: None,
        warm_up: 4,
        counts: Counts::As(Counter::PassedOver),
        ..syn("SYN flood on one server", Plan { servers: 1, ..NEW }, 60.0)
    },
    handshake("handshake, 10 k attempts", HANDSHAKE, 1 << 18, 1, 250.0),
    handshake("handshake, 1 M attempts, table of 1 M", MILLION, 1 << 20, 32, 450.0),
    Row {
        plan: Plan { flows: 1, ..RETRY },
        counts: Counts::Makes(Transition::SeenAgain),
        ..named("SYN seen again, one attempt")
    },
    Row {
        plan: RETRY,
        warm_up: 4,
        counts: Counts::Makes(Transition::SynRetried),
        ..named("SYN retried, 64 k attempts")
    },
    Row {
        plan: Plan { flags: &[RST], ..DATA },
        counts: Counts::As(Counter::RstUnmatched),
        ..named("RST of no attempt")
    },
    tc(Row { slots: 1 << 14, ..syn("SYN, table of 16 k, all pending", NEW, 100.0) }),
    tc(handshake("handshake, 10 k attempts", HANDSHAKE, 1 << 18, 1, 250.0)),
];

const fn named(name: &'static str) -> Row {
    Row { name, ..XDP }
}

/// A frame in which nothing changes.
const fn as_is(name: &'static str, frame: fn(u8) -> Vec<u8>, counts: Counter) -> Row {
    Row { frame, plan: ONE, counts: Counts::As(counts), ..named(name) }
}

const fn data(name: &'static str, frame: fn(u8) -> Vec<u8>, plan: Plan) -> Row {
    Row { frame, plan, goal: Some(10.0), ..named(name) }
}

const fn syn(name: &'static str, plan: Plan, goal: f64) -> Row {
    Row { plan, counts: Counts::Makes(Transition::Opened), goal: Some(goal), ..named(name) }
}

const fn step(name: &'static str, step: usize, goal: Option<f64>) -> Row {
    Row {
        plan: PASSES,
        step: Some(step),
        batches: 120,
        counts: Counts::Makes(Transition::Completed),
        goal,
        ..named(name)
    }
}

const fn handshake(name: &'static str, plan: Plan, slots: u32, warm_up: usize, goal: f64) -> Row {
    Row { plan, slots, warm_up, counts: Counts::Makes(Transition::Completed), goal: Some(goal), ..named(name) }
}

const fn tc(row: Row) -> Row {
    Row { hook: Hook::Tc, ..row }
}
