//! The conversations of a capture: the records that the kernel keeps live, without its bounds on time and with the two
//! foreign vocabularies. Packets in, attempts out.
//!
//! Knows no file and no format. The clock is the capture's.

mod ends;

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use tcptrace_core::{
    event::{Counter, Counters},
    flow::{self, Endpoint, HashKey},
    handshake::{Facts, Handshake, Nanos, Point, Side, State, Transition},
    segment::{self, Flags, Found, IcmpError, Kind, Link, Located, Options, Segment, Skip},
    tunnel,
};
use tcptrace_vocabulary::{
    attempt::Noted,
    foreign::{Dissection, Glance, Wireshark},
    outcome::Outcome,
};

use crate::offline::quoted;

pub use super::kept::{Kept, Raw};
use tcptrace_filter::Filter;
use tcptrace_verdict::{
    past::Past,
    patterns::race::{self, Races},
};
use tcptrace_vocabulary::attempt::{Attempt, was_in_trouble};

use super::{
    announced::{self, Announced},
    conversation::{Class, Conversation, Seen, Stream},
    decap,
    early::{Came, Early},
    fragments::{Fragments, Piece},
    kept::Room,
    listeners::Listeners,
    noted::{self, Sum},
    slot::Slot,
    table::Table,
};
use crate::desk::Totals;

/// The selection of conversations that is wanted.
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

/// Bytes of a TCP header without which Wireshark knows no segment.
const READ: usize = 16;
/// One more than the largest number of a tunnel's kind.
const TUNNELS: usize = 8;

/// The conversations of a capture.
pub struct Flows {
    wanted: Wanted,
    key: HashKey,
    table: Table,
    /// The last attempt of each client's endpoint that waits for an answer: another address may give it.
    asked: HashMap<Client, Slot, BuildHasherDefault<OwnHash>>,
    /// By hash: streams of which no segment was seen but what was quoted.
    overheard: HashMap<u64, Stream, BuildHasherDefault<OwnHash>>,
    announced: Announced,
    fragments: Fragments,
    early: Early,
    /// Whether somebody waits for the reports.
    is_awaited: bool,
    room: Room,
    /// The first packet's time, and the last's.
    pub began: Option<Nanos>,
    pub now: Nanos,
    pub tally: Counters,
    /// Attempts that worked and of which nobody wants a report.
    pub worked: Totals,
    /// The recent past of hosts.
    pub history: Past,
    races: Races,
    listeners: Listeners,
    /// Ends of the shape of a health check that the desk has not seen yet.
    checks: Vec<(Handshake, Outcome, Nanos)>,
    successes: Vec<(Nanos, Endpoint)>,
    /// Conversations that were reported before their end, because there were too many.
    pub evicted: u64,
    /// Packets of which too little was captured.
    pub cut: u64,
    /// Attempts with packets in another order than they were sent in.
    pub out_of_order: u64,
    /// Packets of tunnels, by the kind's number.
    tunnels: [u64; TUNNELS],
    /// By slot: what the bytes of an attempt's packets show. Of a slot whose attempt has a SYN; others' are stale.
    noted: Vec<Noted>,
    /// Packets that an attempt had beyond those kept as its evidence.
    pub evidence_cut: u64,
}

/// An attempt to tell, and what proves it.
#[derive(Clone, Debug)]
pub struct Finished {
    pub attempt: Attempt,
    /// Another address of the same port did before it.
    pub is_overtaken: bool,
    pub packets: Vec<Kept>,
    /// Which packet decided.
    pub decided: usize,
}

/// A client's endpoint with its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    endpoint: Endpoint,
    hash: u64,
}

impl std::hash::Hash for Client {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes a key's own hash as it is.
#[derive(Default)]
struct OwnHash(u64);

impl Hasher for OwnHash {
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

impl Flows {
    #[must_use]
    pub fn new(wanted: Wanted, key: HashKey) -> Self {
        let listeners = Listeners::new();
        Self {
            wanted,
            key,
            table: Table::new(),
            asked: HashMap::default(),
            overheard: HashMap::default(),
            announced: Announced::default(),
            fragments: Fragments::default(),
            early: Early::default(),
            is_awaited: false,
            room: Room::default(),
            began: None,
            now: Nanos(0),
            tally: Counters::default(),
            worked: Totals::default(),
            history: Past::default(),
            races: Races::default(),
            listeners,
            checks: Vec::new(),
            successes: Vec::new(),
            evicted: 0,
            cut: 0,
            out_of_order: 0,
            tunnels: [0; TUNNELS],
            noted: Vec::new(),
            evidence_cut: 0,
        }
    }

    /// Sees a packet: from its Ethernet or IP header on, and as it was captured.
    #[inline]
    pub fn see(&mut self, octets: &[u8], link: Link, at: Nanos, point: Point, raw: Raw<'_>) {
        self.began.get_or_insert(at);
        self.now = self.now.max(at);
        match segment::locate(octets, link) {
            Found::Tcp(located) => self.on_located(octets, link, &located, at, point, raw),
            Found::Error(error) => {
                self.on_icmp(&error, (octets, link), at, point, raw);
                self.on_quoted(octets, link);
            }
            Found::Skipped(Skip::Malformed) if raw.octets.len() < raw.original as usize => self.cut += 1,
            Found::Skipped(skip) => self.on_skipped(octets, link, skip),
        }
    }

    #[inline]
    fn on_located(&mut self, octets: &[u8], link: Link, located: &Located, at: Nanos, point: Point, raw: Raw<'_>) {
        let wire = (raw.original as usize).saturating_sub(raw.octets.len().saturating_sub(octets.len()));
        let mut located = located.of_length(wire);
        if located.length() == 0 && decap::is_jumbogram(octets, link) {
            located = located.of_whole(wire);
        }
        let (header, length) = (located.header(), usize::from(located.length()));
        let is_odd = header < 20 || length < header || located.is_fragment;
        let mut segment = Segment::read(octets, &located);
        let mut dissection = Dissection::Known;
        let mut completed = None;
        if is_odd {
            let piece = if located.is_fragment { self.fragments.see(octets, link) } else { Piece::Shown };
            let is_shown = matches!(piece, Piece::Shown);
            if let Piece::Completes(it) = piece {
                completed = Some(it);
            }
            let odd = self.on_odd(&segment, header, length, located.is_fragment, is_shown);
            let Some(odd) = odd else {
                // It was padding that looked like the rest of a header.
                if let Some(it) = completed {
                    self.overhear(it.src, it.dst, &it.glance);
                }
                return;
            };
            dissection = odd;
        }
        if segment.options.present & Options::MALFORMED != 0 && located.end() > octets.len() {
            self.on_cut_options(&mut segment, octets, &located, raw);
        }
        if announced::is_control(&segment)
            && let Some(payload) = octets.get(located.end()..located.end() + usize::from(segment.payload))
        {
            self.announced.see(&segment, payload);
        }
        self.on_tcp(&segment, dissection, at, point, raw, (octets, link));
        if let Some(it) = completed {
            self.overhear(it.src, it.dst, &it.glance);
        }
    }

    /// No TCP segment; it may be a piece of one, or quote one.
    fn on_skipped(&mut self, octets: &[u8], link: Link, skip: Skip) {
        self.count(match skip {
            Skip::NotIp => Counter::NotIp,
            Skip::NotTcp => Counter::NotTcp,
            Skip::LaterFragment => Counter::LaterFragment,
            Skip::Malformed => Counter::Malformed,
        });
        // Only what is no segment itself: most packets are, and no tunnel of one is known.
        if matches!(skip, Skip::NotTcp | Skip::NotIp)
            && let Some(inner) = tunnel::inner(octets, link)
        {
            self.tunnels[inner.tunnel.kind() as usize % TUNNELS] += 1;
        }
        match skip {
            Skip::NotTcp => self.on_quoted(octets, link),
            // A first fragment may end within the TCP header.
            Skip::LaterFragment | Skip::Malformed => {
                if let Piece::Completes(it) = self.fragments.see(octets, link) {
                    self.overhear(it.src, it.dst, &it.glance);
                }
            }
            Skip::NotIp => {}
        }
    }

    /// A segment that no host sends: what Wireshark makes of it; `None` if it is one to nobody else.
    #[cold]
    fn on_odd(
        &mut self,
        segment: &Segment,
        header: usize,
        length: usize,
        is_fragment: bool,
        is_shown: bool,
    ) -> Option<Dissection> {
        if header >= 20 && length >= READ {
            return Some(if is_shown { Dissection::Unknown } else { Dissection::Hidden });
        }
        self.count(Counter::Malformed);
        if length >= READ && is_shown {
            let dissection = if is_fragment { Dissection::Nothing } else { Dissection::NoHeader };
            self.overhear(segment.src, segment.dst, &Glance { dissection, ..Glance::from(segment) });
        }
        None
    }

    /// The segment that an ICMP error quotes is one more segment to Wireshark.
    fn on_quoted(&mut self, octets: &[u8], link: Link) {
        if let Some(it) = quoted::quoted(octets, link) {
            self.overhear(it.src, it.dst, &it.glance);
        }
    }

    /// A packet that is a segment to Wireshark alone. A stream that begins with one waits for its first segment.
    fn overhear(&mut self, src: Endpoint, dst: Endpoint, glance: &Glance) {
        let hash = self.hash(src, dst);
        if let Some((slot, from_client)) = self.table.find(hash, src, dst) {
            self.table.get_mut(slot).overhear(from_client, glance);
        } else if self.overheard.len() < self.wanted.capacity || self.overheard.contains_key(&hash) {
            let new = Stream { first: src, state: Wireshark::default() };
            self.overheard.entry(hash).or_insert(new).see(src, glance);
        }
    }

    /// A list of options that breaks off because the capture does is not its sender's fault.
    #[cold]
    fn on_cut_options(&mut self, segment: &mut Segment, octets: &[u8], located: &Located, raw: Raw<'_>) {
        let room = located.header() - 20;
        let options = octets.get(located.end() - room..).unwrap_or_default();
        if raw.octets.len() < raw.original as usize && !contradicts_itself(options, room) {
            segment.options.present &= !Options::MALFORMED;
            self.cut += 1;
        }
    }

    /// The packets of tunnels that are no segments, by the tunnel's kind.
    #[must_use]
    pub fn tunnels(&self) -> Vec<(&'static str, u64)> {
        let kinds = (0..).zip(self.tunnels).filter(|(_, count)| *count > 0);
        kinds.filter_map(|(kind, count)| Some((tunnel::Kind::of(kind)?.name(), count))).collect()
    }

    fn count(&mut self, counter: Counter) {
        self.tally.counters[counter as usize] += 1;
    }

    fn hash(&self, a: Endpoint, b: Endpoint) -> u64 {
        flow::hash(self.key, a, b)
    }

    #[inline]
    fn on_tcp(
        &mut self,
        segment: &Segment,
        dissection: Dissection,
        at: Nanos,
        point: Point,
        raw: Raw<'_>,
        frame: (&[u8], Link),
    ) {
        let hash = self.hash(segment.src, segment.dst);
        let found = self.table.find(hash, segment.src, segment.dst);
        // Most packets: the connection continues, and nothing is new.
        if let Some((slot, from_client)) = found
            && let Some(class) = Class::of(segment, from_client)
            && dissection == Dissection::Known
        {
            let conversation = self.table.get_mut(slot);
            if conversation.is_settled(class) {
                conversation.seen.1 = at;
                self.tally.transitions[Transition::Noted as usize] += u64::from(conversation.has_handshake());
                return self.count(Counter::Established);
            }
        }
        let seen = Seen { segment, glance: Glance { dissection, ..Glance::from(segment) }, at, point, raw, frame };
        self.on_news(found, hash, &seen);
    }

    fn on_news(&mut self, mut found: Option<(Slot, bool)>, hash: u64, seen: &Seen<'_>) {
        let it = seen.segment;
        let mut stream = Stream { first: it.src, state: Wireshark::default() };
        let mut prior = None;
        if found.is_none()
            && !self.overheard.is_empty()
            && let Some(overheard) = self.overheard.remove(&hash)
        {
            stream = overheard;
            if stream.is_another(it.src, &seen.glance) {
                stream.state = Wireshark::reused();
            }
        } else if found.is_none() && self.announced.take(it.src, it.dst) {
            stream.state = Wireshark::announced();
        }
        if let Some((slot, from_client)) = found
            && it.flags.any(Flags::SYN)
            && !it.flags.any(Flags::ACK)
        {
            let conversation = self.table.get_mut(slot);
            let another = conversation.is_another(from_client, &seen.glance);
            let superseded = conversation.is_superseded_by(seen, from_client);
            let goes_on = !another && !conversation.has_diverged();
            if !another {
                stream = conversation.stream();
            } else {
                stream.state = Wireshark::reused();
            }
            self.tally.transitions[Transition::Superseded as usize] += u64::from(superseded);
            if another || superseded {
                prior = (self.end(hash, slot) && goes_on).then_some(slot);
                found = None;
            }
        }
        let (slot, from_client) = found.unwrap_or_else(|| {
            self.make_room();
            (self.table.insert(hash, Conversation::new(it, stream, seen.at, seen.raw.outer)), true)
        });
        if let Some(prior) = prior {
            self.table.get_mut(slot).cold().prior = Some(prior);
            self.table.get_mut(prior).cold().heir = Some(slot);
        }
        // Segments before a SYN have made a conversation of their own; an error about it has not.
        let is_first_syn = found.is_none() && it.flags.kind() == Kind::Syn;
        let is_begun = is_first_syn || self.table.get(slot).has_handshake();
        let early = if is_begun { Vec::new() } else { early(&mut self.early, seen) };
        let error = if is_first_syn { self.early.error_about(it, seen.at) } else { None };
        self.follow(slot, from_client, seen, &early);
        if let Some(error) = error {
            self.tally.counters[Counter::IcmpUnmatched as usize] -= 1;
            let conversation = self.table.get_mut(slot);
            conversation.handshake.facts.0 |= Facts::OUT_OF_ORDER;
            conversation.quoted(Side::Client, &error, seen.at, &mut self.tally);
        }
    }

    /// Shows a packet to its conversation.
    fn follow(&mut self, slot: Slot, from_client: bool, seen: &Seen<'_>, early: &[Came]) {
        let it = seen.segment;
        let conversation = self.table.get_mut(slot);
        let was_pending = conversation.is_pending();
        let was =
            (self.wanted.evidence && conversation.is_control(it)).then(|| Outcome::to_the_end(&conversation.handshake));
        conversation.see(seen, from_client, early, self.wanted.stall_after, &mut self.tally);
        let (is_pending, client) = (conversation.is_pending(), conversation.handshake.client());
        let is_asking = is_pending && it.flags.any(Flags::SYN) && !it.flags.any(Flags::ACK);
        let handshake = conversation.handshake;
        self.history.note_segment(it.flags.kind(), is_reply(conversation, from_client));
        let is_unasked = it.flags.kind() == Kind::SynAck && !conversation.has_handshake();
        if it.flags.any(Flags::SYN) {
            self.note_bytes(slot, seen);
        } else if it.flags.kind() == Kind::Rst && from_client && handshake.syn.tries > 0 {
            self.note_reset(slot, seen);
        }
        if let Some(was) = was {
            self.keep(slot, seen.at, seen.raw, was);
        }
        if is_asking {
            self.asked.insert(self.client(client), slot);
            if handshake.first_syn == seen.at {
                self.races.begin(&handshake, race::link_of(seen.frame.0, seen.frame.1, it.ttl));
            }
        } else if was_pending && !is_pending {
            self.asked.remove(&self.client(client));
            if handshake.state() == State::Established {
                self.overtake(&handshake, seen.at);
            }
        } else if is_unasked {
            self.answer_from_elsewhere(seen);
        }
    }

    /// Notes what the bytes of a SYN or of what answers it show.
    fn note_bytes(&mut self, slot: Slot, seen: &Seen<'_>) {
        let hs = self.table.get(slot).handshake;
        let it = seen.segment;
        let from_client = it.src == hs.client();
        let is_its = if it.flags.any(Flags::ACK) { it.ack == hs.isn.add(1) } else { it.seq == hs.isn };
        if hs.syn.tries == 0 || !is_its || from_client == it.flags.any(Flags::ACK) {
            return;
        }
        let bytes = noted::of(seen.frame.0, seen.frame.1, &seen.raw);
        self.history.note_checksum(bytes.1 == Sum::Right);
        let place = slot.0 as usize;
        if self.noted.len() <= place {
            self.noted.resize(place + 1, Noted::default());
        }
        let is_first = from_client && hs.syn.tries == 1;
        if is_first {
            self.noted[place] = Noted::default();
        }
        noted::note(&mut self.noted[place], from_client, is_first, bytes);
        if is_first {
            self.noted[place].link = race::link_of(seen.frame.0, seen.frame.1, it.ttl);
        }
    }

    /// Notes who sent the client's RST, if that is another than sent its SYN.
    fn note_reset(&mut self, slot: Slot, seen: &Seen<'_>) {
        let Some(noted) = self.noted.get_mut(slot.0 as usize) else { return };
        let link = race::link_of(seen.frame.0, seen.frame.1, seen.segment.ttl);
        let two = noted.link.zip(link).filter(|(asked, reset)| asked != reset);
        noted.reset_by_another = noted.reset_by_another.or(two);
    }

    fn client(&self, endpoint: Endpoint) -> Client {
        Client { endpoint, hash: self.hash(endpoint, Endpoint::default()) }
    }

    /// Marks attempts that have not been answered while this one was, as far as they are of one race with it.
    fn overtake(&mut self, winner: &Handshake, at: Nanos) {
        for (client, server, begun, won) in self.races.losers(winner, at) {
            if let Some((slot, true)) = self.table.find(self.hash(client, server), client, server)
                && let it = self.table.get_mut(slot)
                && it.handshake.first_syn == begun
                && race::is_overtaken(&it.handshake, winner)
            {
                it.cold().winner.get_or_insert(won);
            }
        }
    }

    /// A SYN/ACK of no attempt that acknowledges the SYN its receiver sent to another address.
    fn answer_from_elsewhere(&mut self, seen: &Seen<'_>) {
        let it = seen.segment;
        let Some(&slot) = self.asked.get(&self.client(it.dst)) else { return };
        let asked = self.table.get_mut(slot);
        let hs = &mut asked.handshake;
        if hs.state() == State::SynSent && hs.client() == it.dst && it.ack == hs.isn.add(1) {
            hs.facts.0 |= Facts::WRONG_ANSWER;
            asked.cold().answered_from = Some(it.src.addr);
            if self.wanted.evidence {
                self.keep(slot, seen.at, seen.raw, None);
            }
        }
    }

    fn on_icmp(&mut self, error: &IcmpError, frame: (&[u8], Link), at: Nanos, point: Point, raw: Raw<'_>) {
        self.count(Counter::IcmpError);
        let hash = self.hash(error.src, error.dst);
        let found = self.table.find(hash, error.src, error.dst);
        let Some((slot, from_client)) = found.filter(|(slot, _)| self.table.get(*slot).has_handshake()) else {
            if found.is_none() && quoted::is_own_syn(error, frame.0, frame.1) {
                return self.open_unseen(error, hash, at, point, raw);
            }
            self.early.note_error(*error, at);
            return self.count(Counter::IcmpUnmatched);
        };
        let conversation = self.table.get_mut(slot);
        let was = Outcome::to_the_end(&conversation.handshake);
        conversation.quoted(if from_client { Side::Client } else { Side::Server }, error, at, &mut self.tally);
        if self.wanted.evidence {
            self.keep(slot, at, raw, was);
        }
    }

    /// Opens the attempt of a SYN that was never sent: its own host rejected it, or found no link address for it, and
    /// says so to itself. A capture of all interfaces has that error, and nothing else of the attempt.
    fn open_unseen(&mut self, error: &IcmpError, hash: u64, at: Nanos, point: Point, raw: Raw<'_>) {
        self.make_room();
        let stream = Stream { first: error.src, state: Wireshark::default() };
        let stream = self.overheard.remove(&hash).unwrap_or(stream);
        let mut conversation = Conversation::unseen(error, stream, at, point, raw.outer);
        conversation.quoted(Side::Client, error, at, &mut self.tally);
        let slot = self.table.insert(hash, conversation);
        if self.wanted.evidence {
            self.keep(slot, at, raw, None);
        }
    }

    /// Keeps a packet as evidence. It decided if the outcome `was` another before it, or is open still.
    fn keep(&mut self, slot: Slot, at: Nanos, raw: Raw<'_>, was: Option<Outcome>) {
        if !self.room.fits(&raw) && self.room.may_be_made(self.table.open()) {
            self.make_room_for_packets();
        }
        let conversation = self.table.get_mut(slot);
        let changed = was != Outcome::to_the_end(&conversation.handshake);
        let pending = conversation.is_pending();
        let packets = conversation.packets.get_or_insert_default();
        if !self.room.fits(&raw) || !packets.keep(at, raw, changed, pending, &mut self.room) {
            self.evidence_cut += 1;
        }
    }

    /// Where there are too many packets, drops those of attempts that show no trouble so far.
    fn make_room_for_packets(&mut self) {
        let slots: Vec<_> = self.table.all_open().collect();
        for slot in slots {
            let it = self.table.get_mut(slot);
            let hs = &it.handshake;
            let trouble = it.outcome().is_failure()
                || it.stalled().is_some()
                || was_in_trouble(hs, it.stalled(), self.wanted.stall_after);
            if let Some(packets) = it.packets.as_mut().filter(|_| !trouble) {
                packets.drop_all(&mut self.room);
            }
        }
    }

    /// Before another conversation: where there are too many, the half that was silent for longest is reported as it
    /// is.
    fn make_room(&mut self) {
        if self.table.open() < self.wanted.capacity {
            return;
        }
        let mut last: Vec<_> = self.table.all_open().map(|slot| self.table.get(slot).seen.1).collect();
        let (_, &mut limit, _) = last.select_nth_unstable(self.wanted.capacity / 2);
        drop(last);
        let silent: Vec<_> = self.table.all_open().filter(|slot| self.table.get(*slot).seen.1 <= limit).collect();
        for slot in silent {
            let it = self.table.get(slot);
            let over = !it.is_pending() && !matches!(it.outcome(), Outcome::Established) && it.has_handshake();
            self.evicted += u64::from(!over);
            let hash = self.hash(it.handshake.client(), it.handshake.server());
            self.end(hash, slot);
        }
    }
}

/// Whether a segment is of a conversation whose other side was seen. Who spoke first is called the client.
fn is_reply(conversation: &Conversation, from_client: bool) -> bool {
    !from_client || conversation.has_handshake() && conversation.handshake.answer.tries > 0
}

/// For a conversation that has no SYN yet: what came before this one, if it is one; otherwise remembers the segment.
fn early(early: &mut Early, seen: &Seen<'_>) -> Vec<Came> {
    let &Seen { segment, at, point, .. } = seen;
    if segment.flags.kind() == Kind::Syn {
        return early.after(segment, at);
    }
    early.note(Came { segment: *segment, at, point });
    Vec::new()
}

/// Whether an option list of `room` bytes, of which `options` were captured, has an option that cannot be.
fn contradicts_itself(mut options: &[u8], mut room: usize) -> bool {
    while let [kind, rest @ ..] = options {
        let length = match (kind, rest.first()) {
            (0, _) | (2.., None) => return false,
            (1, _) => 1,
            (2.., Some(length)) => usize::from(*length),
        };
        if *kind != 1 && length < 2 || length > room {
            return true;
        }
        room -= length;
        options = options.get(length..).unwrap_or_default();
    }
    false
}
