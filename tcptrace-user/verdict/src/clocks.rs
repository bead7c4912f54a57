//! The clocks behind a client's address, by the timestamps of its SYNs (RFC 7323, section 5.4): two machines behind one
//! address have two, and a server that takes them for one ignores the SYNs of the slower one (PAWS).
//!
//! Bounded memory. Where each connection has a clock of its own (`secure_tcp_ts_off`, net/core/secure_seq.c, with ports
//! in it), SYNs that were answered go back as well, and nothing is said.

use std::collections::HashMap;

use tcptrace_core::{
    flow::Addr,
    handshake::{Handshake, Nanos},
};

/// Pairs of addresses that are remembered, and answered SYNs of each.
const PAIRS: usize = 1 << 12;
const SYNS: usize = 8;
/// For how long a server remembers a client's timestamp (TCP_PAWS_MSL, include/net/tcp.h).
const REMEMBERED: u64 = 60_000_000_000;
/// Ticks by which a clock may seem to go back, for packets that changed places.
const JITTER: u32 = 2;

/// The last SYNs that were answered, by client and server: when each was sent, and its timestamp.
#[derive(Debug, Default)]
pub(crate) struct Clocks(HashMap<(Addr, Addr), Vec<(Nanos, u32)>>);

impl Clocks {
    pub(crate) fn note(&mut self, handshake: &Handshake, stamp: u32) {
        let key = (handshake.client_addr, handshake.server_addr);
        if self.0.len() >= PAIRS && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let known = self.0.entry(key).or_default();
        let place = known.partition_point(|(at, _)| *at <= handshake.last_syn);
        known.insert(place, (handshake.last_syn, stamp));
        if known.len() > SYNS {
            known.remove(0);
        }
    }

    pub(crate) fn ahead_of(&self, handshake: &Handshake, (first, last): (u32, u32)) -> Option<(Nanos, u32)> {
        let known = self.0.get(&(handshake.client_addr, handshake.server_addr))?;
        // One clock shows in two SYNs at least.
        let is_one = known.len() > 1 && known.windows(2).all(|it| is_one_clock(it[0], it[1]));
        let before = known.iter().rfind(|(at, _)| *at < handshake.first_syn)?;
        let is_recent = handshake.first_syn.since(before.0) <= REMEMBERED;
        let is_behind = |stamp| is_before(stamp, before.1);
        (is_one && is_recent && is_behind(first) && is_behind(last)).then_some(*before)
    }
}

/// Whether a clock may have made both timestamps. None has more than a thousand ticks a second by default.
fn is_one_clock(before: (Nanos, u32), after: (Nanos, u32)) -> bool {
    let most = after.0.since(before.0) / 1_000_000 * 2 + 1000;
    u64::from(after.1.wrapping_sub(before.1)) <= most
}

const fn is_before(stamp: u32, other: u32) -> bool {
    let behind = other.wrapping_sub(stamp);
    JITTER < behind && behind < 1 << 31
}
