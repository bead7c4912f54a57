//! What is measured: each kind of packet, how its like differ, what goes before, and the goal.
//!
//! Goals are nanoseconds above the rival. They do not fail the run: a benchmark on a machine that others use too says
//! what it saw.

use tcptrace_core::{event::Counter, flood::Policy, handshake::Transition, segment::Flags};

use crate::{
    driver::{BATCH, Hook, Order, Plan},
    frames,
};

const SYN: u8 = Flags::SYN;
const SYN_ACK: u8 = Flags::SYN | Flags::ACK;
const ACK: u8 = Flags::ACK;
const FIN_ACK: u8 = Flags::FIN | Flags::ACK;

/// A line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) hook: Hook,
    pub(crate) frame: fn() -> Vec<u8>,
    pub(crate) plan: Plan,
    /// Slots of the table.
    pub(crate) slots: u32,
    /// When a server counts as flooded; `None`: as the tool has it.
    pub(crate) flood: Option<Policy>,
    /// Batches of another plan that go before everything else.
    pub(crate) before: Option<(Plan, u32)>,
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
}

/// A counter of the kernel side.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counts {
    As(Counter),
    Makes(Transition),
}

const ONE: Plan = Plan { ip_version: 0, flags: &[ACK], order: Order::Lag(0), flows: 1, fresh_isn: false, servers: 256 };
/// Ten batches of flows.
const MANY: u64 = 10 * BATCH as u64;
const DATA: Plan = Plan { ip_version: 4, flows: MANY, ..ONE };
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

const XDP: Row = Row {
    name: "",
    hook: Hook::Xdp,
    frame: frames::syn,
    plan: DATA,
    slots: 1 << 18,
    // The accounts are kept, and none overflows.
    flood: Some(Policy::NEVER),
    before: None,
    warm_up: 1,
    step: None,
    batches: 128,
    calls: 1,
    counts: Counts::As(Counter::Established),
    goal: None,
};

/// The rows, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    data("data of one flow, IPv4, 64 octets", || frames::data_v4(64), ONE),
    data("data, IPv4, 64 octets", || frames::data_v4(64), DATA),
    data("data, IPv4, 1,500 octets", || frames::data_v4(1500), DATA),
    data("data, IPv6, 74 octets", || frames::data_v6(74), Plan { ip_version: 6, ..DATA }),
    data("data, IPv6, 1,500 octets", || frames::data_v6(1500), Plan { ip_version: 6, ..DATA }),
    // Its attempts are of other servers than the data.
    Row {
        before: Some((Plan { servers: 1, ..NEW }, 98)),
        ..data("data, 100,000 attempts pending", || frames::data_v4(64), DATA)
    },
    Row { slots: 1 << 14, ..syn("SYN, table of 16 k, all pending", NEW, 100.0) },
    step("SYN of 10 k flows", 0, Some(100.0)),
    step("SYN/ACK of 10 k flows", 1, None),
    step("ACK that completes, 10 k flows", 2, None),
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
        plan: Plan { flags: &[FIN_ACK], ..DATA },
        before: Some((Plan { order: Order::Lag(0), ..HANDSHAKE }, 30)),
        counts: Counts::Makes(Transition::Noted),
        ..named("FIN of an established flow")
    },
    Row {
        plan: Plan { flags: &[Flags::RST], ..DATA },
        counts: Counts::As(Counter::RstUnmatched),
        ..named("RST of no attempt")
    },
    Row { frame: frames::udp, plan: ONE, counts: Counts::As(Counter::NotTcp), ..named("UDP") },
    Row { frame: frames::arp, plan: ONE, counts: Counts::As(Counter::NotIp), ..named("ARP") },
    Row {
        frame: frames::icmp_error,
        plan: ONE,
        counts: Counts::As(Counter::IcmpUnmatched),
        ..named("ICMP error about no attempt")
    },
    tc(data("data, IPv4, 64 octets", || frames::data_v4(64), DATA)),
    tc(data("data, IPv6, 74 octets", || frames::data_v6(74), Plan { ip_version: 6, ..DATA })),
    tc(Row { slots: 1 << 14, ..syn("SYN, table of 16 k, all pending", NEW, 100.0) }),
    tc(handshake("handshake, 10 k attempts", HANDSHAKE, 1 << 18, 1, 250.0)),
];

const fn named(name: &'static str) -> Row {
    Row { name, ..XDP }
}

const fn data(name: &'static str, frame: fn() -> Vec<u8>, plan: Plan) -> Row {
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
