//! What hosts did of late: who answered, refused or kept silent, on which port, for whom. Bounded memory, any clock.
//!
//! Fed with attempts in any order, asked about any moment: of a capture what came after a failure counts as well.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use tcptrace_core::{
    flow::Addr,
    handshake::{Facts, Handshake, Nanos},
    outcome::Outcome,
};

/// Hosts kept in mind; some 300 octets each with one port.
const HOSTS: usize = 1 << 15;
/// Ports of a host, clients of a port, and minutes of either.
const PORTS: usize = 64;
const CLIENTS: usize = 16;
const MINUTES: usize = 16;
/// Networks that were heard last.
const HEARD: usize = 8;
/// What is recent: so long before a moment, and as long after it.
pub const RECENT: u64 = 600_000_000_000;
const MINUTE: u64 = 60_000_000_000;

/// What became of attempts to something within a minute, or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// A SYN/ACK came.
    pub answered: u32,
    pub refused: u32,
    /// Nothing came.
    pub silent: u32,
    /// An ICMP error came.
    pub unreachable: u32,
    /// A SYN/ACK came and no final ACK.
    pub half_open: u32,
}

/// [`Counts`] by minute.
#[derive(Clone, Debug, Default, PartialEq)]
struct Minutes(Vec<(u64, Counts)>);

/// The recent past.
#[derive(Debug, Default)]
pub struct History {
    hosts: BTreeMap<Addr, Host>,
    all: Minutes,
    /// Of the networks that were heard last, oldest first: their first address, and the host.
    heard: Vec<(Addr, Addr)>,
    /// Hosts that made room for others.
    pub forgotten: u64,
    /// When all that is older was last thrown out.
    pruned: Nanos,
}

/// What one host did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    ports: BTreeMap<u16, Port>,
    /// TTLs of its SYN/ACKs, and of its RSTs to a SYN.
    pub answer_ttl: Option<Ttl>,
    /// The shortest time from a SYN to its answer.
    pub fastest: Option<u64>,
    pub answers: u32,
    /// Those with an IPv4 identification that is not 0.
    answers_with_id: u32,
    last: Nanos,
}

/// A range of TTLs or hop limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    pub least: u8,
    pub most: u8,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Port {
    minutes: Minutes,
    clients: Vec<Client>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Client {
    addr: Addr,
    /// When it was last answered, and how often.
    answered: Option<Nanos>,
    answers: u32,
    half_open: Option<Nanos>,
    last: Nanos,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.silent += other.silent;
        self.unreachable += other.unreachable;
        self.half_open += other.half_open;
    }

    /// What became of one attempt.
    fn of(it: &Handshake, outcome: Outcome) -> Self {
        let mut counts = Self::default();
        match outcome {
            Outcome::NoReply => counts.silent = 1,
            Outcome::Refused => counts.refused = 1,
            Outcome::Unreachable => counts.unreachable = 1,
            Outcome::HalfOpen => counts.half_open = 1,
            Outcome::Aborted if it.answer.tries == 0 => {}
            // A SYN/ACK is the host's, whatever became of it; so is an answer that nobody saw.
            Outcome::Aborted
            | Outcome::ResetOnAnswer
            | Outcome::Established
            | Outcome::Closed
            | Outcome::HalfClosed
            | Outcome::ResetByClient
            | Outcome::ResetByServer => counts.answered = 1,
            Outcome::Challenged | Outcome::WrongAnswer | Outcome::AnswerOnly | Outcome::Midstream => {}
        }
        counts
    }
}

impl Minutes {
    fn note(&mut self, at: Nanos, counts: &Counts) {
        let minute = at.0 / MINUTE;
        let place = self.0.partition_point(|(it, _)| *it < minute);
        match self.0.get_mut(place) {
            Some((it, sum)) if *it == minute => sum.add(counts),
            _ => {
                self.0.insert(place, (minute, *counts));
                if self.0.len() > MINUTES {
                    self.0.remove(0);
                }
            }
        }
    }

    fn around(&self, at: Nanos) -> Counts {
        let (first, last) = (at.0.saturating_sub(RECENT) / MINUTE, at.0.saturating_add(RECENT) / MINUTE);
        let mut sum = Counts::default();
        self.0.iter().filter(|(minute, _)| (first..=last).contains(minute)).for_each(|(_, it)| sum.add(it));
        sum
    }
}

impl History {
    /// Takes note of what became of an attempt.
    pub fn note(&mut self, it: &Handshake, outcome: Outcome) {
        let counts = Counts::of(it, outcome);
        if counts == Counts::default() {
            return;
        }
        let at = it.last_seen();
        self.all.note(at, &counts);
        if counts.is_alive() {
            self.hear(it.server_addr);
        }
        if !self.hosts.contains_key(&it.server_addr) && !self.make_room(at) {
            self.forgotten += 1;
            return;
        }
        self.hosts.entry(it.server_addr).or_default().note(it, &counts, at);
    }

    /// Whether there is room for another host: the longest silent half goes, at most once a minute.
    fn make_room(&mut self, now: Nanos) -> bool {
        if self.hosts.len() < HOSTS {
            return true;
        }
        if now.since(self.pruned) < MINUTE {
            return false;
        }
        self.pruned = now;
        let mut lasts: Vec<_> = self.hosts.values().map(|it| it.last).collect();
        let (_, &mut limit, _) = lasts.select_nth_unstable(HOSTS / 2);
        self.hosts.retain(|_, it| it.last > limit);
        self.hosts.len() < HOSTS
    }

    /// What a host did, if it did anything.
    #[must_use]
    pub fn host(&self, addr: Addr) -> Option<&Host> {
        self.hosts.get(&addr)
    }

    /// What all hosts together did around a moment.
    #[must_use]
    pub fn all(&self, at: Nanos) -> Counts {
        self.all.around(at)
    }

    /// The other hosts of a host's network (/24, of IPv6 /64), with what each did around a moment; at most a thousand.
    pub fn network(&self, of: Addr, at: Nanos) -> impl Iterator<Item = (Addr, Counts)> {
        let (first, last) = network(of);
        self.hosts
            .range(first..=last)
            .filter(move |(addr, _)| **addr != of)
            .take(1000)
            .map(move |(addr, host)| (*addr, host.counts(at)))
    }

    /// Hosts elsewhere that answered, and that did not, around a moment; up to a few of each.
    ///
    /// Where nothing answers any more, whoever looks for an answer has to look at all hosts, and for each of the attempts
    /// that fail then. So those that were heard last are asked first, and the sum of all, whether there is one to find.
    #[must_use]
    pub fn elsewhere(&self, of: Addr, at: Nanos) -> (usize, usize) {
        const FEW: usize = 64;
        let (first, last) = network(of);
        let is_alive = |addr| self.host(addr).is_some_and(|it| it.counts(at).is_alive());
        let known = self.heard.iter().any(|(network, host)| *network != first && is_alive(*host));
        let settled = known || self.only_within(of, at);
        let (mut answered, mut silent) = (0, 0);
        for (_, host) in self.hosts.range(..first).chain(self.hosts.range((Excluded(last), Unbounded))) {
            let counts = host.counts(at);
            answered += usize::from(counts.is_alive());
            silent += usize::from(!counts.is_alive() && counts.silent + counts.unreachable > 0);
            if answered >= FEW || silent >= FEW && (settled || answered > 0) {
                break;
            }
        }
        (answered.max(known.into()), silent)
    }

    /// Whether nobody was heard around a moment, but for a host's own network. A no may be wrong: what was forgotten is
    /// in the sum.
    fn only_within(&self, of: Addr, at: Nanos) -> bool {
        let heard = |it: &Counts| it.answered + it.refused + it.half_open;
        let all = heard(&self.all.around(at));
        let own = || self.host(of).map_or(0, |it| heard(&it.counts(at)));
        all == 0 || all == own() + self.network(of, at).map(|(_, it)| heard(&it)).sum::<u32>()
    }

    fn hear(&mut self, host: Addr) {
        let (first, _) = network(host);
        if let Some((_, last)) = self.heard.last_mut().filter(|(network, _)| *network == first) {
            *last = host;
            return;
        }
        self.heard.retain(|(network, _)| *network != first);
        if self.heard.len() >= HEARD {
            self.heard.remove(0);
        }
        self.heard.push((first, host));
    }
}

/// The first and the last address of the network that a host is taken to be in.
fn network(of: Addr) -> (Addr, Addr) {
    if of.is_v4() {
        (Addr { lo: of.lo & !0xff, ..of }, Addr { lo: of.lo | 0xff, ..of })
    } else {
        (Addr { lo: 0, ..of }, Addr { lo: u64::MAX, ..of })
    }
}

/// That network as people write it.
#[must_use]
pub fn network_name(of: Addr) -> String {
    let (first, _) = network(of);
    format!("{}/{}", crate::report::ip(first), if of.is_v4() { 24 } else { 64 })
}

impl Counts {
    /// Whether the host itself was heard.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        self.answered + self.refused + self.half_open > 0
    }
}

impl Host {
    fn note(&mut self, it: &Handshake, counts: &Counts, at: Nanos) {
        self.last = self.last.max(at);
        let answered = it.answer.tries > 0;
        if answered {
            let ttl = self.answer_ttl.get_or_insert(Ttl { least: it.answer.ttl, most: it.answer.ttl });
            *ttl = Ttl { least: ttl.least.min(it.answer.ttl), most: ttl.most.max(it.answer.ttl) };
            self.answers = self.answers.saturating_add(1);
            self.answers_with_id = self.answers_with_id.saturating_add(it.facts.any(Facts::ANSWER_ID).into());
            // Of a SYN that was sent again the answer may be the first one's.
            if let Some(nanos) = it.syn_to_answer().filter(|_| it.syn.tries == 1) {
                self.fastest = Some(self.fastest.map_or(nanos, |fastest| fastest.min(nanos)));
            }
        }
        if self.ports.len() >= PORTS && !self.ports.contains_key(&it.server_port) {
            // A port that ever answered says more than one that did not.
            if counts.answered == 0 {
                return;
            }
            let silent = self.ports.iter().find(|(_, port)| port.clients.iter().all(|it| it.answered.is_none()));
            let Some(port) = silent.map(|(port, _)| *port).or_else(|| self.ports.keys().next().copied()) else {
                return;
            };
            self.ports.remove(&port);
        }
        let port = self.ports.entry(it.server_port).or_default();
        port.minutes.note(at, counts);
        port.note_client(it.client_addr, counts, at);
    }

    /// Whether each of its SYN/ACKs had an IPv4 identification.
    #[must_use]
    pub const fn numbers_its_answers(&self) -> bool {
        self.answers > 0 && self.answers_with_id == self.answers
    }

    /// What all its ports did around a moment.
    #[must_use]
    pub fn counts(&self, at: Nanos) -> Counts {
        let mut sum = Counts::default();
        self.ports.values().for_each(|it| sum.add(&it.minutes.around(at)));
        sum
    }

    /// What a port did around a moment.
    #[must_use]
    pub fn port(&self, port: u16, at: Nanos) -> Counts {
        self.ports.get(&port).map(|it| it.minutes.around(at)).unwrap_or_default()
    }

    /// Its other ports of which `wanted` holds around a moment.
    pub fn ports(&self, except: u16, at: Nanos, wanted: fn(&Counts) -> bool) -> Vec<u16> {
        let ports = self.ports.iter().filter(|(port, it)| **port != except && wanted(&it.minutes.around(at)));
        ports.map(|(port, _)| *port).collect()
    }

    /// Whether a port answered an attempt's client in another attempt since this one began, and how many others did around its
    /// last packet. What was before may have been before whatever happened.
    #[must_use]
    pub fn answered(&self, it: &Handshake, outcome: Outcome) -> (bool, usize) {
        let (port, client, at) = (it.server_port, it.client_addr, it.last_seen());
        let (itself, it_began) = (Counts::of(it, outcome).answered, it.first_syn);
        let clients = self.ports.get(&port).map_or(&[][..], |it| &it.clients);
        let recent = |it: &&Client| it.answered.is_some_and(|it| is_recent(it, at));
        let since = |it: &Client| it.answered.is_some_and(|it_was| it_was >= it_began);
        let own = clients.iter().filter(recent).any(|it| it.addr == client && it.answers > itself && since(it));
        (own, clients.iter().filter(recent).filter(|it| it.addr != client).count())
    }

    /// How many clients left a port without the final ACK around a moment.
    #[must_use]
    pub fn half_open_clients(&self, port: u16, at: Nanos) -> usize {
        let clients = self.ports.get(&port).map_or(&[][..], |it| &it.clients);
        clients.iter().filter(|it| it.half_open.is_some_and(|it| is_recent(it, at))).count()
    }
}

fn is_recent(it: Nanos, at: Nanos) -> bool {
    at.since(it) <= RECENT && it.since(at) <= RECENT
}

impl Port {
    fn note_client(&mut self, addr: Addr, counts: &Counts, at: Nanos) {
        let place = self.clients.iter().position(|it| it.addr == addr).unwrap_or_else(|| {
            let new = Client { addr, answered: None, answers: 0, half_open: None, last: at };
            if self.clients.len() < CLIENTS {
                self.clients.push(new);
                return self.clients.len() - 1;
            }
            let oldest = (0..CLIENTS).min_by_key(|it| self.clients[*it].last).unwrap_or_default();
            self.clients[oldest] = new;
            oldest
        });
        let client = &mut self.clients[place];
        client.last = client.last.max(at);
        if counts.answered > 0 {
            client.answered = client.answered.max(Some(at));
            client.answers = client.answers.saturating_add(1);
        }
        if counts.half_open > 0 {
            client.half_open = client.half_open.max(Some(at));
        }
    }
}
