//! The table of conversations offline: what the kernel keeps live, without its bounds on time and with the two foreign
//! vocabularies. Packets in, attempts out.
//!
//! Knows no file and no format. The clock is the capture's.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use tcptrace_core::{
    event::{Counter, STALLED_AT_TRY, Tally},
    flow::{self, Addr, Endpoint, HashKey},
    foreign::{Glance, Sender, Wireshark, Zeek},
    handshake::{Facts, Handshake, Nanos, Offer, Point, State, Transition},
    outcome::Outcome,
    segment::{self, Flags, Found, IcmpError, Kind, Link, Segment, Skip},
};

use crate::{
    attempt::{Attempt, Foreign, Stalled, StalledBy, Trust, may_have_begun_earlier, patience, was_in_trouble},
    capture::Direction,
    filter::Filter,
};

use super::decap::Outer;

/// What of the conversations is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Those that succeeded, and those seen only from the middle.
    pub all: bool,
    /// Nanoseconds without progress after which an attempt is stalled.
    pub stall_after: u64,
    /// Conversations kept at once.
    pub capacity: usize,
    pub filter: Option<Filter>,
    /// Keep the packets of failed attempts.
    pub evidence: bool,
}

/// The conversations of a capture.
pub struct Flows {
    wanted: Wanted,
    key: HashKey,
    open: HashMap<Key, Conversation, BuildHasherDefault<Ready>>,
    /// The last attempt of each client's endpoint that waits for an answer: another address may give it.
    asked: HashMap<Endpoint, Key>,
    /// Conversations so far, which gives each its place in the order.
    count: u64,
    /// Ended, and waiting for those that began before them.
    ended: BTreeMap<u64, Told>,
    /// The first packet's time, and the last's.
    pub began: Option<Nanos>,
    pub now: Nanos,
    pub tally: Tally,
    pub told: [u64; Outcome::ALL.len()],
    pub stalls: u64,
    pub recovered: u64,
    /// Lines by server and outcome.
    pub servers: HashMap<Endpoint, [u64; Outcome::ALL.len()]>,
    /// Conversations that were told before their end, because there were too many.
    pub evicted: u64,
    /// Ends that are in no server's account, because there were too many servers.
    pub servers_forgotten: u64,
    /// Packets of which too little was captured.
    pub cut: u64,
    /// Packets that an attempt had beyond those kept as its evidence.
    pub evidence_cut: u64,
}

/// A packet as captured, for evidence.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    pub octets: &'a [u8],
    /// Its length on the wire.
    pub original: u32,
    /// A number of the caller's.
    pub interface: u32,
    pub direction: Option<Direction>,
    /// The tunnel that it came in.
    pub outer: Option<Outer>,
}

/// A packet kept as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub at: Nanos,
    pub octets: Box<[u8]>,
    pub original: u32,
    pub interface: u32,
    pub direction: Option<Direction>,
}

/// An attempt to tell, and what proves it.
#[derive(Clone, Debug)]
pub struct Told {
    pub attempt: Attempt,
    pub packets: Vec<Kept>,
    /// Which packet decided.
    pub decided: usize,
}

/// Packets kept of an attempt at most: more than any stack's ladder of tries makes.
const KEPT: usize = 64;

/// A conversation's two endpoints, the smaller first, with their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    low: Endpoint,
    high: Endpoint,
    hash: u64,
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes a key's own hash as it is.
#[derive(Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys hash to one number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

struct Conversation {
    /// Its place in the order of first packets.
    place: u64,
    /// Who sent the first packet.
    first: Endpoint,
    /// To whom.
    other: Endpoint,
    handshake: Handshake,
    /// A SYN/ACK that came before its SYN, or without one.
    answer: Option<(Segment, Point)>,
    answers: u8,
    stalled: Option<Stalled>,
    icmp_from: Option<Addr>,
    answered_from: Option<Addr>,
    packets: Vec<Kept>,
    decided: usize,
    zeek: Zeek,
    wireshark: Stream,
    /// The tunnel of the first packet.
    outer: Option<Outer>,
    seen: (Nanos, Nanos),
}

/// A conversation as Wireshark counts them: it may hold several attempts, when the other end opens the next.
#[derive(Clone, Copy)]
struct Stream {
    first: Endpoint,
    state: Wireshark,
}

impl Stream {
    fn sender(&self, from: Endpoint) -> Sender {
        if from == self.first { Sender::First } else { Sender::Other }
    }
}

impl Conversation {
    fn sender(&self, from: Endpoint) -> Sender {
        if from == self.first { Sender::First } else { Sender::Other }
    }

    fn new(place: u64, first: &Segment, wireshark: Stream, at: Nanos, outer: Option<Outer>) -> Self {
        Self {
            place,
            first: first.src,
            other: first.dst,
            handshake: Handshake::default(),
            answer: None,
            answers: 0,
            stalled: None,
            icmp_from: None,
            answered_from: None,
            packets: Vec::new(),
            decided: 0,
            zeek: Zeek::default(),
            wireshark,
            outer,
            seen: (at, at),
        }
    }

    /// Whether a SYN opens another attempt. On a copy: what this one was is what is told of it.
    fn is_superseded_by(&self, seen: &Seen<'_>) -> bool {
        let mut copy = self.handshake;
        let side = copy.side(seen.it.src, seen.it.dst).filter(|_| self.has_handshake());
        side.is_some_and(|side| copy.step(side, seen.it, seen.at, seen.point) == Transition::Superseded)
    }

    fn see(&mut self, seen: &Seen<'_>, wanted: &Wanted, tally: &mut Tally, cut: &mut u64) {
        let Seen { it, glance, at, point, raw } = seen;
        let control = it.flags.any(Flags::SYN | Flags::FIN | Flags::RST) || self.handshake.state().is_pending();
        tally.counters[if control { Counter::Control } else { Counter::Established } as usize] += 1;
        let sender = self.wireshark.sender(it.src);
        self.wireshark.state.see(sender, glance);
        self.zeek.see(self.sender(it.src), glance);
        self.seen.1 = *at;
        let was = Outcome::to_the_end(&self.handshake);
        if self.has_handshake() {
            step(self, it, *at, *point, wanted.stall_after, tally);
        } else if it.flags.kind() == Kind::Syn {
            self.handshake = Handshake::open(it, *at, *point);
            tally.transitions[Transition::Opened as usize] += 1;
            // Its answer came first: the capture mixes up its order.
            if let Some((answer, point)) = self.answer.take() {
                step(self, &answer, *at, point, wanted.stall_after, tally);
            }
        } else if it.flags.kind() == Kind::SynAck {
            self.answer.get_or_insert((**it, *point));
            self.answers = self.answers.saturating_add(1);
        }
        if wanted.evidence && control && !self.keep(*at, *raw, was) {
            *cut += 1;
        }
    }

    /// Keeps a packet as evidence; false where there are too many. It decided if the outcome `was` another before it, or
    /// is open still.
    fn keep(&mut self, at: Nanos, it: Raw<'_>, was: Option<Outcome>) -> bool {
        let full = self.packets.len() == KEPT;
        if full && was == Outcome::to_the_end(&self.handshake) {
            return false;
        }
        // What decides takes the place of the last that did not.
        self.packets.truncate(KEPT - 1);
        if was != Outcome::to_the_end(&self.handshake) || self.handshake.state().is_pending() {
            self.decided = self.packets.len();
        }
        let Raw { octets, original, interface, direction, .. } = it;
        self.packets.push(Kept { at, octets: octets.into(), original, interface, direction });
        !full
    }

    fn has_handshake(&self) -> bool {
        self.handshake.state() != State::Free
    }
}

impl Flows {
    #[must_use]
    pub fn new(wanted: Wanted, key: HashKey) -> Self {
        Self {
            wanted,
            key,
            open: HashMap::default(),
            asked: HashMap::new(),
            count: 0,
            ended: BTreeMap::new(),
            began: None,
            now: Nanos(0),
            tally: Tally::default(),
            told: [0; Outcome::ALL.len()],
            stalls: 0,
            recovered: 0,
            servers: HashMap::new(),
            evicted: 0,
            servers_forgotten: 0,
            cut: 0,
            evidence_cut: 0,
        }
    }

    /// Sees a packet: from its Ethernet or IP header on, and as it was captured.
    pub fn see(&mut self, octets: &[u8], link: Link, at: Nanos, point: Point, raw: Raw<'_>) {
        self.began.get_or_insert(at);
        self.now = self.now.max(at);
        match segment::locate(octets, link) {
            // Wireshark and Zeek know no such segment either.
            Found::Tcp(located) if located.header() < 20 => self.count(Counter::Malformed),
            Found::Tcp(located) => {
                let wire = (raw.original as usize).saturating_sub(raw.octets.len().saturating_sub(octets.len()));
                self.on_tcp(&Segment::read(octets, &located.of_length(wire)), at, point, raw);
            }
            Found::Error(error) => self.on_icmp(&error, at, raw),
            Found::Skipped(Skip::Malformed) if raw.octets.len() < raw.original as usize => self.cut += 1,
            Found::Skipped(skip) => self.count(match skip {
                Skip::NotIp => Counter::NotIp,
                Skip::NotTcp => Counter::NotTcp,
                Skip::LaterFragment => Counter::LaterFragment,
                Skip::Malformed => Counter::Malformed,
            }),
        }
    }

    fn count(&mut self, counter: Counter) {
        self.tally.counters[counter as usize] += 1;
    }

    fn key(&self, a: Endpoint, b: Endpoint) -> Key {
        Key { low: a.min(b), high: a.max(b), hash: flow::hash(self.key, a, b) }
    }

    fn on_tcp(&mut self, it: &Segment, at: Nanos, point: Point, raw: Raw<'_>) {
        let key = self.key(it.src, it.dst);
        let seen = Seen { it, glance: Glance::from(it), at, point, raw };
        let begins = it.flags.any(Flags::SYN) && !it.flags.any(Flags::ACK);
        let mut stream = Stream { first: it.src, state: Wireshark::default() };
        match self.open.get_mut(&key) {
            // Most packets: one look into the table.
            Some(conversation) if !begins => {
                let was_pending = conversation.handshake.state().is_pending();
                conversation.see(&seen, &self.wanted, &mut self.tally, &mut self.evidence_cut);
                if was_pending && !conversation.handshake.state().is_pending() {
                    self.asked.remove(&conversation.handshake.client());
                }
                if it.flags.kind() == Kind::SynAck && !conversation.has_handshake() {
                    self.answer_from_elsewhere(&seen);
                }
                return;
            }
            Some(conversation) => {
                let sender = conversation.wireshark.sender(it.src);
                let another = conversation.wireshark.state.is_another(sender, &seen.glance);
                let superseded = conversation.is_superseded_by(&seen);
                self.tally.transitions[Transition::Superseded as usize] += u64::from(superseded);
                if another {
                    stream.state = Wireshark::reused();
                } else {
                    stream = conversation.wireshark;
                }
                if (another || superseded)
                    && let Some(ended) = self.open.remove(&key)
                {
                    self.end(ended);
                }
            }
            None => {}
        }
        self.make_room();
        let conversation = self.open.entry(key).or_insert_with(|| {
            self.count += 1;
            Conversation::new(self.count, it, stream, at, raw.outer)
        });
        conversation.see(&seen, &self.wanted, &mut self.tally, &mut self.evidence_cut);
        if conversation.handshake.state().is_pending() {
            self.asked.insert(conversation.handshake.client(), key);
        } else if it.flags.kind() == Kind::SynAck && !conversation.has_handshake() {
            self.answer_from_elsewhere(&seen);
        }
    }

    /// A SYN/ACK of no attempt that acknowledges the SYN its receiver sent to another address.
    fn answer_from_elsewhere(&mut self, seen: &Seen<'_>) {
        let it = seen.it;
        let Some(key) = self.asked.get(&it.dst) else { return };
        let Some(asked) = self.open.get_mut(key) else { return };
        let hs = &mut asked.handshake;
        if hs.state() == State::SynSent && hs.client() == it.dst && it.ack == hs.isn.add(1) {
            hs.facts.0 |= Facts::WRONG_ANSWER;
            asked.answered_from = Some(it.src.addr);
            if self.wanted.evidence && !asked.keep(seen.at, seen.raw, None) {
                self.evidence_cut += 1;
            }
        }
    }

    fn on_icmp(&mut self, error: &IcmpError, at: Nanos, raw: Raw<'_>) {
        self.count(Counter::IcmpError);
        let key = self.key(error.src, error.dst);
        let Some(conversation) = self.open.get_mut(&key) else { return self.count(Counter::IcmpUnmatched) };
        let hs = &mut conversation.handshake;
        let Some(side) = hs.side(error.src, error.dst).filter(|_| hs.state() != State::Free) else {
            return self.count(Counter::IcmpUnmatched);
        };
        let was = Outcome::to_the_end(hs);
        let transition = hs.icmp(side, error, at);
        self.tally.count(transition as usize, hs);
        if transition == Transition::Unreachable {
            conversation.icmp_from = Some(error.from);
        }
        if self.wanted.evidence && !conversation.keep(at, raw, was) {
            self.evidence_cut += 1;
        }
    }

    /// Before another conversation: where there are too many, the half that was silent for longest is told as it is.
    fn make_room(&mut self) {
        if self.open.len() < self.wanted.capacity {
            return;
        }
        let mut last: Vec<_> = self.open.values().map(|it| it.seen.1).collect();
        let (_, middle, _) = last.select_nth_unstable(self.wanted.capacity / 2);
        let limit = *middle;
        let keys: Vec<_> = self.open.iter().filter(|(_, it)| it.seen.1 <= limit).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(ended) = self.open.remove(&key) {
                let over = Outcome::to_the_end(&ended.handshake)
                    .is_some_and(|it| !ended.handshake.state().is_pending() && it != Outcome::Established);
                self.evicted += u64::from(!over);
                self.end(ended);
            }
        }
    }

    /// Takes a conversation's account: nothing more will come of it.
    fn end(&mut self, it: Conversation) {
        let (client, server) = (it.handshake.client(), it.handshake.server());
        if it.handshake.state().is_pending() && self.asked.get(&client) == Some(&self.key(client, server)) {
            self.asked.remove(&client);
        }
        let Some(attempt) = self.attempt(&it) else { return };
        self.told[attempt.outcome as usize] += 1;
        self.stalls += u64::from(attempt.stalled.is_some());
        self.recovered += u64::from(attempt.recovered);
        if attempt.outcome.is_failure() || attempt.outcome.is_open() {
            // A port scan makes an entry a port: those beyond the first are no news.
            if self.servers.len() >= self.wanted.capacity && !self.servers.contains_key(&attempt.handshake.server()) {
                self.servers_forgotten += 1;
            } else {
                self.servers.entry(attempt.handshake.server()).or_default()[attempt.outcome as usize] += 1;
            }
        }
        let trouble = attempt.outcome.is_failure() || attempt.stalled.is_some() || attempt.recovered;
        if trouble || self.wanted.all {
            self.ended.insert(it.place, Told { attempt, packets: it.packets, decided: it.decided });
        }
    }

    /// A conversation as it is told; `None` where the filter does not want it.
    fn attempt(&self, it: &Conversation) -> Option<Attempt> {
        let hs = described(it);
        if self.wanted.filter.as_ref().is_some_and(|filter| !filter.matches(hs.client(), hs.server())) {
            return None;
        }
        let outcome = match (it.has_handshake(), &it.answer) {
            (true, _) => Outcome::to_the_end(&it.handshake)?,
            (false, Some(_)) if !went_on(it) => Outcome::AnswerOnly,
            (false, _) => Outcome::Midstream,
        };
        let pending = hs.state().is_pending() && it.has_handshake();
        let silence = self.now.since(hs.last_seen());
        let silent =
            || Stalled { at: Nanos(hs.last_seen().0.saturating_add(self.wanted.stall_after)), by: StalledBy::Silence };
        let stalled = it.stalled.or_else(|| (pending && silence >= self.wanted.stall_after).then(silent));
        let trouble = was_in_trouble(&hs, stalled, self.wanted.stall_after);
        let gave_up = silence >= patience(&hs, self.wanted.stall_after);
        let began = self.began.unwrap_or_default();
        Some(Attempt {
            handshake: hs,
            outcome,
            stalled,
            recovered: outcome.is_open() && trouble,
            icmp_from: it.icmp_from,
            answered_from: it.answered_from,
            outer: it.outer,
            seen: it.seen,
            foreign: Foreign {
                conn_state: it.zeek.conn_state(),
                history: it.zeek.history().to_owned(),
                completeness: it.wireshark.state.completeness(),
            },
            trust: Trust {
                still_open: pending && !gave_up,
                may_have_begun_earlier: may_have_begun_earlier(&hs, began),
                events_lost: 0,
                attempts_lost: 0,
            },
        })
    }

    /// The attempts that can be told: those before which nothing can come any more.
    pub fn ready(&mut self) -> Vec<Told> {
        let first = self.open.values().map(|it| it.place).min().unwrap_or(u64::MAX);
        let later = self.ended.split_off(&first);
        let mut ready: Vec<_> = std::mem::replace(&mut self.ended, later).into_values().collect();
        // One that never ends holds up no more than can be kept.
        while self.ended.len() > self.wanted.capacity {
            ready.extend(self.ended.pop_first().map(|(_, it)| it));
        }
        ready
    }

    /// The end of the capture: everything is told as it is.
    pub fn finish(&mut self) -> Vec<Told> {
        let mut open: Vec<_> = self.open.drain().map(|(_, it)| it).collect();
        open.sort_unstable_by_key(|it| it.place);
        open.into_iter().for_each(|it| self.end(it));
        std::mem::take(&mut self.ended).into_values().collect()
    }
}

/// A segment, when and where it was seen.
struct Seen<'a> {
    it: &'a Segment,
    glance: Glance,
    at: Nanos,
    point: Point,
    raw: Raw<'a>,
}

/// What a segment does to an attempt, and whether it stalled before or thereby.
fn step(it: &mut Conversation, segment: &Segment, at: Nanos, point: Point, stall_after: u64, tally: &mut Tally) {
    let hs = &mut it.handshake;
    let Some(side) = hs.side(segment.src, segment.dst) else { return };
    let silence = Nanos(hs.last_seen().0.saturating_add(stall_after));
    if hs.state().is_pending() && at >= silence {
        it.stalled.get_or_insert(Stalled { at: silence, by: StalledBy::Silence });
    }
    let transition = hs.step(side, segment, at, point);
    tally.count(transition as usize, hs);
    match transition {
        Transition::SynRetried if hs.syn.tries == STALLED_AT_TRY && hs.state().is_pending() => {
            it.stalled.get_or_insert(Stalled { at, by: StalledBy::ThirdSyn });
        }
        Transition::AnswerRetried if hs.answer.tries == STALLED_AT_TRY => {
            it.stalled.get_or_insert(Stalled { at, by: StalledBy::ThirdSynAck });
        }
        _ => {}
    }
}

/// Whether a conversation without a SYN has more than SYN/ACKs and what they were answered with.
fn went_on(it: &Conversation) -> bool {
    it.zeek.history().contains(['A', 'a', 'D', 'd', 'F', 'f'])
}

/// The attempt; of a conversation without a SYN, what stands for one: who would be the client, and what was answered.
fn described(it: &Conversation) -> Handshake {
    if it.has_handshake() {
        return it.handshake;
    }
    let (first, last) = it.seen;
    let (client, server) = match &it.answer {
        Some((answer, _)) => (answer.dst, answer.src),
        None => (it.first, it.other),
    };
    let mut hs = Handshake {
        client_addr: client.addr,
        client_port: client.port,
        server_addr: server.addr,
        server_port: server.port,
        first_syn: first,
        last_syn: last,
        ..Handshake::default()
    };
    if let Some((answer, point)) = &it.answer {
        hs.isn = answer.ack.add(u32::MAX);
        hs.server_isn = answer.seq;
        hs.server_point = *point;
        hs.answer = Offer { tries: it.answers, ..Offer::of(answer) };
        hs.first_answer = first;
        hs.last_answer = last;
    }
    hs
}
