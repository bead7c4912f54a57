//! SYNs that are one SYN: the same client, port, number and looks, to two addresses within a moment. The second is the
//! first after this host, or the bridge that it watches, translated its destination.
//!
//! Bounded memory. It does not say what the translation did wrong: `rules/path.rs` does.

use std::{collections::HashMap, mem};

use tcptrace_core::{
    flow::Endpoint,
    handshake::{Handshake, Nanos, Offer},
    segment::Options,
};
use tcptrace_vocabulary::{outcome::Outcome, ttl::hops};

/// Translation takes microseconds.
const AT_ONCE: u64 = 1_000_000;
/// Routers between the two places, at most.
const ROUTERS: u8 = 2;
/// SYNs kept in each of two generations.
const KEPT: usize = 1 << 13;
/// A SYN of a kernel has at least one of these. A scanner that sends raw SYNs gives all of them one number, too.
pub const OF_A_KERNEL: u8 = Options::WINDOW_SCALE | Options::SACK_PERMITTED | Options::TIMESTAMPS;

/// The same SYN to another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The address and port that this one went to.
    pub server: Endpoint,
    /// When it was seen.
    pub at: Nanos,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether a SYN/ACK answered it.
    pub is_answered: bool,
    syn: Offer,
}

/// SYNs of late, by client and number; those of the generation before are forgotten when this one is full.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    young: HashMap<(Endpoint, u32), Vec<Twin>>,
    old: HashMap<(Endpoint, u32), Vec<Twin>>,
}

impl Twins {
    pub(crate) fn note(&mut self, handshake: &Handshake, outcome: Outcome) {
        if handshake.syn.options & OF_A_KERNEL == 0 {
            return;
        }
        let key = (handshake.client(), handshake.isn.0);
        if self.young.len() >= KEPT && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        let (server, is_answered) = (handshake.server(), handshake.answer.tries > 0);
        let known = self.young.entry(key).or_default();
        known.retain(|it| it.server != server);
        // A third address is no translation.
        if known.len() < 3 {
            known.push(Twin { server, at: handshake.first_syn, outcome, is_answered, syn: handshake.syn });
        }
    }

    pub(crate) fn of(&self, handshake: &Handshake) -> Option<Twin> {
        let key = (handshake.client(), handshake.isn.0);
        let all = [&self.young, &self.old].into_iter().filter_map(|it| it.get(&key)).flatten();
        let mut others = all.filter(|it| it.server.addr != handshake.server_addr);
        let (twin, None) = (others.next()?, others.next()) else { return None };
        let is_at_once = twin.at.since(handshake.first_syn).max(handshake.first_syn.since(twin.at)) <= AT_ONCE;
        let looks = |it: &Offer| (it.window, it.mss, it.options, it.window_scale);
        let far = hops(twin.syn.ttl).abs_diff(hops(handshake.syn.ttl));
        (is_at_once && looks(&twin.syn) == looks(&handshake.syn) && far <= ROUTERS).then_some(*twin)
    }
}
