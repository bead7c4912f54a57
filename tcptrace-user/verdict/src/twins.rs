//! SYNs that are one SYN: the same number and looks, with two addresses of either end within a moment. The second is
//! the first after a host on the way, or the bridge that is watched, translated it.
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

/// The same SYN with another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The address and port that it came from.
    pub client: Endpoint,
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

/// SYNs of late, by number; those of the generation before are forgotten when this one is full.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    young: HashMap<u32, Vec<Twin>>,
    old: HashMap<u32, Vec<Twin>>,
}

impl Twins {
    pub(crate) fn note(&mut self, handshake: &Handshake, outcome: Outcome) {
        if handshake.syn.options & OF_A_KERNEL == 0 {
            return;
        }
        let key = handshake.isn.0;
        if self.young.len() >= KEPT && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        let (client, server) = (handshake.client(), handshake.server());
        let is_answered = handshake.answer.tries > 0;
        let known = self.young.entry(key).or_default();
        known.retain(|it| (it.client, it.server) != (client, server));
        // A third address is no translation.
        if known.len() < 3 {
            known.push(Twin { client, server, at: handshake.first_syn, outcome, is_answered, syn: handshake.syn });
        }
    }

    /// The same client's SYN to another server address: the destination was translated.
    pub(crate) fn of(&self, handshake: &Handshake) -> Option<Twin> {
        let is_it = |it: &Twin| it.client == handshake.client() && it.server.addr != handshake.server_addr;
        self.only(handshake, is_it)
    }

    /// The same, whichever end was translated. Two sockets of a host whose numbers are a clock's have two ports.
    pub(crate) fn copy_of(&self, handshake: &Handshake) -> Option<Twin> {
        let (client, server) = (handshake.client(), handshake.server());
        self.only(handshake, |it| {
            let (from, to) = (it.client.addr != client.addr, it.server.addr != server.addr);
            let is_source = from && it.server == server;
            let is_destination = to && it.client == client;
            is_source || is_destination || from && to && it.client.port == client.port
        })
    }

    fn only(&self, handshake: &Handshake, is_it: impl Fn(&Twin) -> bool) -> Option<Twin> {
        let all = [&self.young, &self.old].into_iter().filter_map(|it| it.get(&handshake.isn.0)).flatten();
        let mut others = all.filter(|it| is_it(it));
        let (twin, None) = (others.next()?, others.next()) else { return None };
        let is_at_once = twin.at.since(handshake.first_syn).max(handshake.first_syn.since(twin.at)) <= AT_ONCE;
        let looks = |it: &Offer| (it.window, it.mss, it.options, it.window_scale);
        let far = hops(twin.syn.ttl).abs_diff(hops(handshake.syn.ttl));
        (is_at_once && looks(&twin.syn) == looks(&handshake.syn) && far <= ROUTERS).then_some(*twin)
    }
}
