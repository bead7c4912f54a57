//! Races between the addresses of one name (RFC 8305), by packets alone: which attempts another one overtook.
//!
//! A capture knows no name and no process. Instead, a race is recognised where the same host tries another address at
//! the same port while the first has not answered, and that one connects. In live tracing the process is known
//! (`live/calls.rs`), and this is not used.
//!
//! One host is one address. Two addresses of different families are one host's if they share a link address on the link
//! that was captured, and no other address of either family was seen with it.

use std::{collections::HashMap, ops::RangeInclusive};

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos},
    segment::Link,
};
use tcptrace_vocabulary::outcome::Outcome;

/// The time that a racer waits before it tries the next address (RFC 8305, section 8); none where the first is known to
/// fail.
const HEAD_START: RangeInclusive<u64> = 10_000_000..=2_000_000_000;
/// A user who waits for a connection for longer than this notices: the first address failed then, whatever came after
/// it.
const NOTICED: u64 = 3_000_000_000;
/// The loser's SYN goes out once more, if its socket is closed a little late (RFC 6298, section 2): two at most.
const LAST_TRY: u64 = 1_000_000_000;
const TRIES: u8 = 2;
/// Addresses of one family that a host tries at one port at a time. A host that tries more has not one name in mind.
const ADDRESSES: usize = 4;

/// Attempts kept in mind, and those of one host and port that are compared.
const KEPT: usize = 1 << 14;
const COMPARED: usize = 64;
const BUCKETS: usize = 1 << 12;
/// Link addresses kept in mind.
const LINKS: usize = 1 << 14;

/// A hardware address (EUI-48).
pub type Mac = [u8; 6];

/// The attempt that overtook another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winner {
    completed: Nanos,
    /// Whether it has the loser's family of addresses.
    is_same_family: bool,
    /// The link address that makes its address and the loser's one host's, if they are two.
    link: Option<Mac>,
}

/// An attempt that began.
#[derive(Clone, Copy)]
struct Begun {
    at: Nanos,
    client: Endpoint,
    server: Endpoint,
    link: Option<Mac>,
    /// The one before it in the same bucket: how many there were by then.
    before: usize,
}

/// The owner of a link address: the first address of each family that came with it.
#[derive(Clone, Copy, Default)]
struct Owner {
    v4: Option<Addr>,
    v6: Option<Addr>,
    /// Others came as well: a router's, or several hosts' behind a repeater.
    is_shared: bool,
}

/// Attempts of late.
#[derive(Default)]
pub struct Races {
    /// The newest overwrite the oldest.
    ring: Vec<Begun>,
    count: usize,
    /// By bucket: how many there were with its newest.
    heads: Vec<usize>,
    owners: HashMap<Mac, Owner>,
}

/// The frame's source MAC, if the TTL is 64, 128 or 255: each router lowers the TTL, so such a frame comes from the
/// client itself.
#[must_use]
pub fn link_of(octets: &[u8], link: Link, ttl: u8) -> Option<Mac> {
    let mac: Mac = octets.get(6..12).filter(|_| link == Link::Ethernet)?.try_into().ok()?;
    (matches!(ttl, 64 | 128 | 255) && mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}

impl Races {
    /// Takes note of an attempt's first SYN.
    pub fn begin(&mut self, handshake: &Handshake, link: Option<Mac>) {
        if let Some(link) = link {
            self.own(link, handshake.client_addr);
        }
        self.heads.resize(BUCKETS, 0);
        let head = &mut self.heads[bucket(handshake.client_addr, handshake.server_port)];
        let begun = Begun {
            at: handshake.first_syn,
            client: handshake.client(),
            server: handshake.server(),
            link,
            before: std::mem::take(head),
        };
        if self.ring.len() < KEPT {
            self.ring.push(begun);
        } else {
            self.ring[self.count % KEPT] = begun;
        }
        self.count += 1;
        *head = self.count;
    }

    /// Attempts that may have been overtaken by one that has just completed: client, server, first SYN.
    #[must_use]
    pub fn losers(&self, winner: &Handshake, completed: Nanos) -> Vec<(Endpoint, Endpoint, Nanos, Winner)> {
        let since = completed.0.saturating_sub(NOTICED);
        let own = || self.of(winner.client_addr, winner.server_port, since);
        let is_winner = |it: &Begun| it.client == winner.client() && it.at == winner.first_syn;
        let link = own().find(is_winner).and_then(|it| it.link);
        let other = link.and_then(|link| Some((link, self.other(link, winner.client_addr)?)));
        let others = other
            .into_iter()
            .flat_map(|(link, client)| self.of(client, winner.server_port, since).map(move |it| (it, Some(link))));
        let mut addresses = Vec::with_capacity(ADDRESSES + 1);
        let is_name = own().all(|it| {
            let is_new = !addresses.contains(&it.server.addr);
            addresses.extend(is_new.then_some(it.server.addr));
            addresses.len() <= ADDRESSES
        });
        own()
            .take_while(|_| is_name)
            .map(|it| (it, None))
            .chain(others)
            .filter(|(it, _)| it.at < winner.first_syn && it.server.addr != winner.server_addr)
            .map(|(it, link)| {
                let is_same_family = it.server.addr.is_v4() == winner.server_addr.is_v4();
                (it.client, it.server, it.at, Winner { completed, is_same_family, link })
            })
            .collect()
    }

    /// Whether what an attempt came to is that of one that was overtaken.
    #[must_use]
    pub fn is_lost(&self, handshake: &Handshake, outcome: Outcome, winner: &Winner) -> bool {
        // A host without that family hears so for its first address; within a family something is wrong with this one.
        let is_lost = matches!(outcome, Outcome::NoReply | Outcome::Aborted)
            || outcome == Outcome::Unreachable && !winner.is_same_family;
        is_lost
            && handshake.syn.tries <= TRIES
            && handshake.last_syn.since(winner.completed) <= LAST_TRY
            && winner.link.is_none_or(|link| !self.owners[&link].is_shared)
    }

    fn own(&mut self, link: Mac, addr: Addr) {
        if self.owners.len() >= LINKS && !self.owners.contains_key(&link) {
            return;
        }
        let it = self.owners.entry(link).or_default();
        let known = if addr.is_v4() { &mut it.v4 } else { &mut it.v6 };
        it.is_shared |= *known.get_or_insert(addr) != addr;
    }

    /// The other family's address of whoever has this one.
    fn other(&self, link: Mac, addr: Addr) -> Option<Addr> {
        let it = self.owners.get(&link).filter(|it| !it.is_shared)?;
        if addr.is_v4() { it.v6 } else { it.v4 }
    }

    /// The attempts that an address began at a port since then, the newest first.
    fn of(&self, client: Addr, port: u16, since: u64) -> impl Iterator<Item = Begun> {
        let get = move |number: usize| {
            let is_kept = number > 0 && number + KEPT > self.count;
            is_kept.then(|| self.ring[(number - 1) % KEPT]).filter(|it| it.at.0 >= since)
        };
        let newest = self.heads.get(bucket(client, port)).and_then(|head| get(*head));
        std::iter::successors(newest, move |it| get(it.before))
            .take(COMPARED)
            .filter(move |it| it.client.addr == client && it.server.port == port)
    }
}

/// Whether one was still unanswered, and for long enough, when the other began.
#[must_use]
pub fn is_overtaken(loser: &Handshake, winner: &Handshake) -> bool {
    let unanswered = loser.answer.tries == 0 || loser.first_answer >= winner.first_syn;
    let failed = loser.facts.any(Facts::UNREACHABLE) && loser.ended <= winner.first_syn;
    let head_start = winner.first_syn.since(loser.first_syn);
    unanswered && head_start <= *HEAD_START.end() && (failed || head_start >= *HEAD_START.start())
}

/// The hash has no secret. An attacker who fills a bucket makes fewer attempts comparable.
fn bucket(client: Addr, port: u16) -> usize {
    let mixed = (client.hi ^ client.lo.rotate_left(17) ^ u64::from(port) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 52) as usize % BUCKETS
}
