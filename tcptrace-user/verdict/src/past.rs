//! The recent past of hosts: who answered, refused or kept silent, on which port, for whom. Bounded memory, any clock.
//!
//! Fed with attempts in any order, queried for any moment: in a capture, later attempts than a failure count as well.

use std::{
    collections::BTreeMap,
    ops::{
        Bound::{Excluded, Unbounded},
        RangeInclusive,
    },
};

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Handshake, Nanos},
    segment::{Kind, Options},
};
use tcptrace_vocabulary::{
    attempt::{Noted, OtherHalf, is_answer_unseen},
    outcome::Outcome,
    ttl::hops,
};

pub use crate::{clients::Answered, near::RECENT, twins::Twin};
use crate::{
    clients::{Client, End},
    clocks::Clocks,
    near::{LATELY, is_recent},
    twins::Twins,
    view::View,
};

/// Hosts kept in mind, and ports of all of them together; some 400 bytes each with one port.
const HOSTS: usize = 1 << 15;
const PORTS_IN_ALL: usize = 1 << 16;
/// Ports of a host, clients of a port, and minutes of either.
const PORTS: usize = 64;
const CLIENTS: usize = 16;
const MINUTES: usize = 16;
/// Networks that were heard last.
const HEARD: usize = 8;
/// Floods of single SYNs.
const FLOODS: usize = 64;
const MINUTE: u64 = 60_000_000_000;

/// The outcomes of attempts to something within a minute, or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// A SYN/ACK came.
    pub answered: u32,
    /// A RST came.
    pub refused: u32,
    /// Nothing came.
    pub silent: u32,
    /// An ICMP error came.
    pub unreachable: u32,
    /// A SYN/ACK came and no final ACK.
    pub half_open: u32,
}

/// Whether something was heard, as an attempt that failed may take it: what worked before may be dead by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// Not within ten minutes.
    Never,
    /// Before it began, this moment the last, and some time ago or asked in vain since.
    Before(Nanos),
    /// Just before it began, and not asked in vain since.
    Lately,
    /// Since it began.
    Since,
}

impl Life {
    /// Whether it may be relied on.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Lately | Self::Since)
    }
}

/// When a failed attempt began, and its last packet: the moment that others are looked at around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// Its first SYN.
    pub began: Nanos,
    /// Its last packet.
    pub at: Nanos,
}

impl Around {
    /// An attempt's.
    #[must_use]
    pub fn of(handshake: &Handshake) -> Self {
        Self { began: handshake.first_syn, at: handshake.last_seen() }
    }
}

/// The outcomes of attempts, by minute.
#[derive(Clone, Debug, Default, PartialEq)]
struct Minutes(Vec<Minute>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Minute {
    number: u64,
    counts: Counts,
    /// When it was first and last heard, and by a SYN/ACK: a RST may be a firewall's.
    heard: Option<(Nanos, Nanos)>,
    opened: Option<(Nanos, Nanos)>,
    /// When it was last asked in vain.
    silent: Option<Nanos>,
    /// When it was first and last asked by an attempt that it answered, and that had lost a packet before.
    lossy: Option<(Nanos, Nanos)>,
}

/// The recent past.
#[derive(Debug, Default)]
pub struct Past {
    hosts: BTreeMap<Addr, Host>,
    ports: usize,
    /// The networks that were heard last, oldest first: the first address of each, and the host.
    heard: Vec<(Addr, Addr)>,
    twins: Twins,
    /// Listeners that got single SYNs of clients that never came again, from when to when.
    floods: Vec<(Endpoint, Nanos, Nanos)>,
    clocks: Clocks,
    checksums: Checksums,
    /// What a capture shows; `None` live, where nothing is filtered by flags or direction.
    view: Option<View>,
    /// Hosts that made room for others.
    pub forgotten: u64,
    /// When all that is older was last thrown out.
    pruned: Nanos,
}

/// What the packets of a capture say of its checksums: whether a wrong one means anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// Whether any is right. In a capture whose addresses were rewritten later, none is.
    pub some_right: bool,
    /// Whether a wrong one was answered or acknowledged: its receiver got another.
    pub some_accepted: bool,
}

/// The record of one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    ports: BTreeMap<u16, Port>,
    /// TTLs of its SYN/ACKs, and of its RSTs to a SYN.
    pub answer_ttl: Option<Ttl>,
    /// The shortest time from a SYN to its answer, in nanoseconds; `None` before the first answer.
    pub fastest: Option<u64>,
    /// SYN/ACKs that came by.
    pub answers: u32,
    /// Those with an IPv4 identification that is not 0.
    answers_with_id: u32,
    /// Handshakes that completed without a SYN/ACK that came by.
    unseen: u32,
    last: Nanos,
    /// By option of [`NAMED`]: when its SYNs went unanswered and the first without it was answered.
    avoided: [Option<Nanos>; NAMED.len()],
    /// And whether a SYN with it was ever answered.
    passed: [bool; NAMED.len()],
}

/// The options whose loss is recorded by name, and the fact that says so.
pub(crate) const NAMED: [(u8, u32, &str); 4] = [
    (Options::MPTCP, Facts::WITHOUT_MPTCP, "MPTCP"),
    (Options::FAST_OPEN, Facts::WITHOUT_FAST_OPEN, "Fast Open"),
    (Options::ECN, Facts::WITHOUT_ECN, "ECN"),
    (Options::TIMESTAMPS, Facts::WITHOUT_TIMESTAMPS, "timestamps"),
];

/// A range of TTLs or hop limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// The smallest that was seen.
    pub least: u8,
    /// The largest.
    pub most: u8,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Port {
    minutes: Minutes,
    clients: Vec<Client>,
    /// The shortest time from a first SYN to its answer.
    fastest: Option<u64>,
    /// When a client that made room for another was last seen.
    forgotten: Option<Nanos>,
}

/// What counts as a sign of life in a minute: the first and the last time.
type Sign = fn(&Minute) -> Option<(Nanos, Nanos)>;
const ANY: Sign = |it| it.heard;
const SYN_ACK: Sign = |it| it.opened;

impl Counts {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.silent += other.silent;
        self.unreachable += other.unreachable;
        self.half_open += other.half_open;
    }

    /// The outcome of one attempt.
    fn of(handshake: &Handshake, outcome: Outcome) -> Self {
        let mut counts = Self::default();
        match outcome {
            // Its receiver ignored it, and it came.
            Outcome::NoReply if handshake.facts.any(Facts::RST_IGNORED) => counts.refused = 1,
            Outcome::NoReply => counts.silent = 1,
            // Something on the way refused first.
            Outcome::Refused if handshake.answer.tries > 0 => counts.answered = 1,
            Outcome::Refused => counts.refused = 1,
            Outcome::Unreachable => counts.unreachable = 1,
            Outcome::HalfOpen => counts.half_open = 1,
            Outcome::Aborted if handshake.answer.tries == 0 => {}
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
    fn note(&mut self, at: Nanos, counts: &Counts, is_lossy: bool) {
        let number = at.0 / MINUTE;
        let place = self.0.partition_point(|it| it.number < number);
        if self.0.get(place).is_none_or(|it| it.number != number) {
            if self.0.len() == MINUTES {
                if place == 0 {
                    return;
                }
                self.0.remove(0);
                return self.note(at, counts, is_lossy);
            }
            self.0.insert(place, Minute { number, ..Minute::default() });
        }
        let it = &mut self.0[place];
        it.counts.add(counts);
        let spans =
            [(&mut it.heard, counts.is_alive()), (&mut it.opened, counts.is_opened()), (&mut it.lossy, is_lossy)];
        for (span, is_seen) in spans {
            if is_seen {
                let (first, last) = span.unwrap_or((at, at));
                *span = Some((first.min(at), last.max(at)));
            }
        }
        if counts.silent + counts.unreachable > 0 {
            it.silent = it.silent.max(Some(at));
        }
    }

    /// Whether it was heard, and whether it was asked in vain after that.
    fn life(&self, around: Around) -> (Life, bool) {
        let Around { began, at } = around;
        if self.times(ANY).any(|it| it >= began && it.since(at) <= RECENT) {
            return (Life::Since, false);
        }
        let silent = self.0.iter().filter_map(|it| it.silent).filter(|it| it.since(at) <= RECENT).max();
        let before = self.last_before(began, ANY).filter(|it| began.since(*it) <= RECENT);
        let Some(before) = before else { return (Life::Never, false) };
        let fell = silent > Some(before);
        let is_late = !fell && began.since(before) <= LATELY;
        (if is_late { Life::Lately } else { Life::Before(before) }, fell)
    }

    fn times(&self, sign: Sign) -> impl Iterator<Item = Nanos> {
        self.0.iter().filter_map(sign).flat_map(|(first, last)| [first, last])
    }

    /// When it was last heard before a moment, as far as minutes tell.
    fn last_before(&self, began: Nanos, sign: Sign) -> Option<Nanos> {
        self.times(sign).filter(|it| *it < began).max()
    }

    fn around(&self, at: Nanos) -> Counts {
        let (first, last) = (at.0.saturating_sub(RECENT) / MINUTE, at.0.saturating_add(RECENT) / MINUTE);
        let mut sum = Counts::default();
        self.0.iter().filter(|it| (first..=last).contains(&it.number)).for_each(|it| sum.add(&it.counts));
        sum
    }
}

impl Past {
    /// Takes note of what became of an attempt.
    pub fn note(&mut self, handshake: &Handshake, outcome: Outcome) {
        self.twins.note(handshake, outcome);
        let counts = Counts::of(handshake, outcome);
        if counts == Counts::default() {
            return;
        }
        let at = handshake.last_seen();
        if counts.is_alive() {
            self.hear(handshake.server_addr);
        }
        let is_known =
            self.hosts.get(&handshake.server_addr).is_some_and(|host| host.ports.contains_key(&handshake.server_port));
        if !is_known && !self.make_room(at) {
            self.forgotten += 1;
            return;
        }
        let host = self.hosts.entry(handshake.server_addr).or_default();
        self.ports -= host.ports.len();
        host.note(handshake, &counts, at);
        self.ports += host.ports.len();
    }

    /// Whether there is room for another host, or another port of one: the longest silent half of the hosts goes, at
    /// most once a minute.
    fn make_room(&mut self, now: Nanos) -> bool {
        let has_room = |it: &Self| it.hosts.len() < HOSTS && it.ports < PORTS_IN_ALL;
        if has_room(self) {
            return true;
        }
        if now.since(self.pruned) < MINUTE {
            return false;
        }
        self.pruned = now;
        let mut lasts: Vec<_> = self.hosts.values().map(|it| it.last).collect();
        let middle = lasts.len() / 2;
        let (_, &mut limit, _) = lasts.select_nth_unstable(middle);
        self.hosts.retain(|_, it| it.last > limit);
        self.ports = self.hosts.values().map(|it| it.ports.len()).sum();
        has_room(self)
    }

    /// Takes note of single SYNs to a listener by clients that never came again, more than clients make.
    pub fn note_flood(&mut self, server: Endpoint, since: Nanos, last: Nanos) {
        if self.floods.len() >= FLOODS {
            self.floods.remove(0);
        }
        self.floods.push((server, since, last));
    }

    /// Whether a listener was flooded with single SYNs at a moment.
    #[must_use]
    pub fn is_flooded(&self, server: Endpoint, at: Nanos) -> bool {
        self.floods.iter().any(|(it, since, last)| *it == server && (*since..=*last).contains(&at))
    }

    /// The same SYN to another address, a moment before or after.
    #[must_use]
    pub fn twin(&self, handshake: &Handshake) -> Option<Twin> {
        self.twins.of(handshake)
    }

    /// Whether an attempt is one half of another that is reported or worked: the same SYN, before its translation or after
    /// it. The first half is reported; but where this place saw no answer to one half, that of which it did.
    #[must_use]
    pub fn is_half_of_another(&self, handshake: &Handshake, outcome: Outcome) -> bool {
        let Some(twin) = self.twins.copy_of(handshake) else { return false };
        let ended = |outcome: Outcome| outcome.is_open() || outcome == Outcome::Refused;
        let is_silent = outcome == Outcome::NoReply && !handshake.facts.any(Facts::RST_IGNORED);
        match (is_silent, twin.outcome) {
            (true, other) if ended(other) => true,
            (false, Outcome::NoReply) if ended(outcome) => false,
            // Where they ended in different ways, each is news.
            (_, other) => (other.is_failure() || other == outcome) && twin.at < handshake.first_syn,
        }
    }

    /// Takes note of an attempt that opened and is reported: its other half may be as well.
    pub fn note_half(&mut self, handshake: &Handshake, outcome: Outcome) {
        self.twins.note(handshake, outcome);
    }

    /// Whether the other half of an attempt is not known, or is known to have opened only: its end may still come.
    #[must_use]
    pub fn lacks_other_half(&self, handshake: &Handshake) -> bool {
        self.twins.copy_of(handshake).is_none_or(|it| it.outcome == Outcome::Established)
    }

    /// An attempt's other half, where a host that is watched translated it.
    #[must_use]
    pub fn other_half(&self, handshake: &Handshake) -> Option<OtherHalf> {
        let half =
            |it: Twin| OtherHalf { client: it.client, server: it.server, is_before: it.at < handshake.first_syn };
        self.twins.copy_of(handshake).map(half)
    }

    /// Takes note of a segment of a capture; `is_reply`: of a conversation whose other side was seen.
    pub fn note_segment(&mut self, kind: Kind, is_reply: bool) {
        self.view.get_or_insert_default().note(kind, is_reply);
    }

    /// What is missing in a capture as a whole.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.unwrap_or(View::WHOLE)
    }

    /// Takes note of the checksum of a packet.
    pub fn note_checksum(&mut self, is_right: bool) {
        self.checksums.some_right |= is_right;
    }

    /// Takes note of what the bytes of an attempt's packets show.
    pub fn note_bytes(&mut self, handshake: &Handshake, outcome: Outcome, noted: &Noted) {
        let is_answered = handshake.answer.tries > 0;
        self.checksums.some_accepted |= noted.sums.syns.are_all_wrong() && is_answered
            || noted.sums.answers.are_all_wrong() && outcome.is_open() && !is_answer_unseen(handshake);
        if let Some((_, last)) = noted.clock.filter(|_| is_answered) {
            self.clocks.note(handshake, last);
        }
    }

    /// What the packets say of checksums.
    #[must_use]
    pub const fn checksums(&self) -> Checksums {
        self.checksums
    }

    /// The last SYN of the same client that its server answered before this attempt, and when: where the timestamp of
    /// this attempt is behind it although their clock never went back before.
    #[must_use]
    pub fn clock_ahead(&self, handshake: &Handshake, noted: &Noted) -> Option<(Nanos, u32)> {
        self.clocks.ahead_of(handshake, noted.clock?)
    }

    /// The record of a host, if it did anything.
    #[must_use]
    pub fn host(&self, addr: Addr) -> Option<&Host> {
        self.hosts.get(&addr)
    }

    /// The shortest round trip that is known of the way to a host: its own, or that of its network's hosts.
    #[must_use]
    pub fn round_trip(&self, to: Addr) -> Option<u64> {
        let own = self.host(to).and_then(|it| it.fastest);
        own.or_else(|| self.network(to).filter_map(|it| it.fastest).min())
    }

    /// The other hosts of a host's network (/24, of IPv6 /64); at most a thousand.
    pub fn network(&self, of: Addr) -> impl Iterator<Item = &Host> {
        let (first, last) = network(of);
        self.hosts.range(first..=last).filter(move |(addr, _)| **addr != of).take(1000).map(|(_, host)| host)
    }

    /// Whether any of these hosts was heard around a moment, as far as the first thousands of them tell.
    #[must_use]
    pub fn is_heard(&self, hosts: RangeInclusive<Addr>, at: Nanos) -> bool {
        let around = Around { began: at, at };
        self.hosts.range(hosts).take(1 << 12).any(|(_, it)| it.life(around) != Life::Never)
    }

    /// Whether a host answered anybody since a moment, within ten minutes of it.
    #[must_use]
    pub fn answered_since(&self, host: Addr, since: Nanos) -> bool {
        self.host(host).is_some_and(|it| it.life(Around { began: since, at: since }) == Life::Since)
    }

    /// Hosts elsewhere that are alive, and that were asked in vain; up to a few of each.
    ///
    /// During an outage a full search would visit all hosts for each failure. The loop stops at a few of either kind,
    /// and the networks that were heard last are looked at first.
    #[must_use]
    pub fn elsewhere(&self, of: Addr, around: Around) -> (usize, usize) {
        const FEW: usize = 64;
        let (first, last) = network(of);
        let is_alive = |addr| self.host(addr).is_some_and(|it| it.life(around).is_alive());
        let known = self.heard.iter().any(|(network, host)| *network != first && is_alive(*host));
        let (mut answered, mut silent) = (0, 0);
        for (_, host) in self.hosts.range(..first).chain(self.hosts.range((Excluded(last), Unbounded))) {
            let is_alive = host.life(around).is_alive();
            answered += usize::from(is_alive);
            silent += usize::from(!is_alive && host.is_failing(around));
            if answered >= FEW || silent >= FEW {
                break;
            }
        }
        (answered.max(known.into()), silent)
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

/// The name of that network as people write it.
#[must_use]
pub fn network_name(of: Addr) -> String {
    let (first, _) = network(of);
    format!("{}/{}", tcptrace_vocabulary::words::ip(first), if of.is_v4() { 24 } else { 64 })
}

impl Counts {
    /// Whether the host itself was heard.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        self.answered + self.refused + self.half_open > 0
    }

    /// What came of the one attempt that these are of.
    const fn end(&self) -> End {
        if self.answered > 0 {
            End::Answered
        } else if self.half_open > 0 {
            End::HalfOpen
        } else if self.silent > 0 {
            End::Silent
        } else {
            End::Other
        }
    }

    const fn is_opened(&self) -> bool {
        self.answered + self.half_open > 0
    }
}

impl Host {
    fn note(&mut self, handshake: &Handshake, counts: &Counts, at: Nanos) {
        self.last = self.last.max(at);
        let answered = handshake.answer.tries > 0;
        self.unseen = self.unseen.saturating_add(is_answer_unseen(handshake).into());
        if answered {
            // No packet arrives with a TTL of 0: it stands for one that was not seen.
            if handshake.answer.ttl > 0 {
                let ttl =
                    self.answer_ttl.get_or_insert(Ttl { least: handshake.answer.ttl, most: handshake.answer.ttl });
                *ttl = Ttl { least: ttl.least.min(handshake.answer.ttl), most: ttl.most.max(handshake.answer.ttl) };
            }
            self.answers = self.answers.saturating_add(1);
            self.answers_with_id = self.answers_with_id.saturating_add(handshake.facts.any(Facts::ANSWER_ID).into());
            self.note_options(handshake);
            // If the SYN was sent again, the answer may be the first one's.
            if let Some(nanos) = handshake
                .syn_to_answer()
                .filter(|_| handshake.syn.tries == 1 && !handshake.facts.any(Facts::OUT_OF_ORDER))
            {
                self.fastest = Some(self.fastest.map_or(nanos, |fastest| fastest.min(nanos)));
            }
        }
        if self.ports.len() >= PORTS && !self.ports.contains_key(&handshake.server_port) {
            // A port that ever answered says more than one that did not.
            if counts.answered == 0 {
                return;
            }
            let silent = self.ports.iter().find(|(_, port)| port.clients.iter().all(|it| it.answered[0] == Nanos(0)));
            let Some(port) = silent.map(|(port, _)| *port).or_else(|| self.ports.keys().next().copied()) else {
                return;
            };
            self.ports.remove(&port);
        }
        let port = self.ports.entry(handshake.server_port).or_default();
        port.minutes.note(at, counts, lost_packets(handshake));
        port.note_client(handshake, counts, at);
        let took = handshake.first_answer.since(handshake.first_syn);
        if answered && handshake.syn.tries > 0 {
            port.fastest = Some(port.fastest.map_or(took, |fastest| fastest.min(took)));
        }
    }

    /// Notes with which options it answers a SYN.
    fn note_options(&mut self, handshake: &Handshake) {
        let avoids = avoids_options(handshake);
        for (place, (option, without, _)) in NAMED.into_iter().enumerate() {
            if avoids && handshake.facts.any(without) {
                let first = self.avoided[place].map_or(handshake.first_syn, |it| it.min(handshake.first_syn));
                self.avoided[place] = Some(first);
            }
            self.passed[place] |= handshake.syn.options & option != 0 && handshake.answered_try == 1;
        }
    }

    /// Whether a SYN with an option was ever answered here; and whether, before a moment, one without it was at once.
    pub(crate) fn options(&self, place: usize, before: Nanos) -> (bool, bool) {
        (self.passed[place], self.avoided[place].is_some_and(|it| it < before))
    }

    /// The shortest time that a port took to answer, from the first SYN.
    #[must_use]
    pub fn fastest_of(&self, port: u16) -> Option<u64> {
        self.ports.get(&port)?.fastest
    }

    /// When a port last answered before an attempt began, and when first since then.
    #[must_use]
    pub fn opened_around(&self, port: u16, around: Around) -> (Option<Nanos>, Option<Nanos>) {
        let Some(port) = self.ports.get(&port) else { return (None, None) };
        let near = |it: &Nanos| is_recent(*it, around.at);
        let before = port.minutes.last_before(around.began, SYN_ACK).filter(near);
        (before, port.minutes.times(SYN_ACK).filter(|it| *it >= around.began).filter(near).min())
    }

    /// Whether a port opened a connection within the minutes that are kept.
    #[must_use]
    pub fn has_opened(&self, port: u16) -> bool {
        self.ports.get(&port).is_some_and(|it| it.minutes.times(SYN_ACK).next().is_some())
    }

    /// Whether it opened a connection during an attempt, or between two others of the same minute.
    #[must_use]
    pub fn opened_during(&self, around: Around) -> bool {
        self.opened_within(around.began, around.at)
    }

    /// Whether another port than this one opened a connection around an attempt.
    pub(crate) fn opened_besides(&self, port: u16, around: Around) -> bool {
        let (from, to) = (around.began.0.saturating_sub(LATELY), around.at.0.saturating_add(LATELY));
        let others = self.ports.iter().filter(|(it, _)| **it != port);
        let mut spans = others.flat_map(|(_, it)| &it.minutes.0).filter_map(|it| it.opened);
        spans.any(|(first, last)| first.0 <= to && last.0 >= from)
    }

    /// Whether any port answered this client around an attempt.
    pub(crate) fn answered_client(&self, client: Addr, around: Around) -> bool {
        let span = Nanos(around.began.0.saturating_sub(LATELY))..=Nanos(around.at.0.saturating_add(LATELY));
        let mut its = self.ports.values().flat_map(|it| &it.clients).filter(|it| it.addr == client);
        its.any(|it| it.answered.iter().any(|at| at.0 > 0 && span.contains(at)))
    }

    /// The same, or shortly before it or after it. Later, it may have come back.
    #[must_use]
    pub fn opened_near(&self, around: Around) -> bool {
        let (from, to) = (around.began.0.saturating_sub(LATELY), around.at.0.saturating_add(LATELY));
        self.opened_within(Nanos(from), Nanos(to))
    }

    fn opened_within(&self, from: Nanos, to: Nanos) -> bool {
        let mut spans = self.ports.values().flat_map(|it| &it.minutes.0).filter_map(|it| it.opened);
        spans.any(|(first, last)| first <= to && last >= from)
    }

    /// Whether it answered attempts that had lost a packet before, so long before an attempt or after it: packets get
    /// lost on the way to it, or it is overloaded, and neither chooses.
    #[must_use]
    pub fn is_lossy(&self, around: Around, reach: u64) -> bool {
        let (from, to) = (around.began.0.saturating_sub(reach), around.at.0.saturating_add(reach));
        let mut spans = self.ports.values().flat_map(|it| &it.minutes.0).filter_map(|it| it.lossy);
        spans.any(|(first, last)| first.0 <= to && last.0 >= from)
    }

    /// Whether its SYN/ACKs come from several distances: several hosts, or ways, behind one address.
    #[must_use]
    pub fn has_several_distances(&self) -> bool {
        self.answer_ttl.is_some_and(|it| hops(it.least) != hops(it.most))
    }

    /// Whether a port that was heard was asked in vain after that.
    #[must_use]
    pub fn fell(&self, around: Around) -> bool {
        self.ports.values().any(|it| it.minutes.life(around).1)
    }

    /// Whether its SYN/ACKs take a way on which nobody looks: its silence says nothing.
    #[must_use]
    pub const fn answers_another_way(&self) -> bool {
        self.answers == 0 && self.unseen > 0
    }

    /// Whether each of its SYN/ACKs had an IPv4 identification.
    #[must_use]
    pub const fn numbers_its_answers(&self) -> bool {
        self.answers > 0 && self.answers_with_id == self.answers
    }

    /// The best life of any port. If one port fell silent, an older answer of another port no longer proves that the
    /// host is alive.
    #[must_use]
    pub fn life(&self, around: Around) -> Life {
        let mut last = None;
        let (mut life, mut fell) = (Life::Never, false);
        for port in self.ports.values() {
            let (it, it_fell) = port.minutes.life(around);
            life = life.max(it);
            fell |= it_fell;
            last = last.max(port.minutes.last_before(around.began, ANY));
        }
        match (life, last) {
            (Life::Lately, Some(last)) if fell => Life::Before(last),
            _ => life,
        }
    }

    /// Whether it was asked in vain, on any port.
    #[must_use]
    pub fn is_failing(&self, around: Around) -> bool {
        let failed = |it: Counts| it.silent + it.unreachable > 0;
        self.ports.values().any(|it| failed(it.minutes.around(around.at)))
    }

    /// The record of a port around a moment.
    #[must_use]
    pub fn port(&self, port: u16, at: Nanos) -> Counts {
        self.ports.get(&port).map(|it| it.minutes.around(at)).unwrap_or_default()
    }

    /// Its other ports, whether each was heard, and what it did.
    pub fn ports(&self, except: u16, around: Around) -> impl Iterator<Item = (u16, Life, Counts)> {
        let whole = self.life(around);
        let others = self.ports.iter().filter(move |(port, _)| **port != except);
        others.map(move |(port, it)| (*port, it.minutes.life(around).0.min(whole), it.minutes.around(around.at)))
    }

    /// Whether a port answered an attempt's client in another attempt since this one began, and how many others since
    /// then and shortly before. An earlier answer may be from before whatever happened.
    #[must_use]
    pub fn answered(&self, handshake: &Handshake, outcome: Outcome) -> Answered {
        let Around { began, at } = Around::of(handshake);
        let itself = usize::from(Counts::of(handshake, outcome).answered > 0);
        let Some(port) = self.ports.get(&handshake.server_port) else { return Answered::default() };
        let mut answered = Answered::default();
        for client in &port.clients {
            let seen = client.around(began, at);
            if client.addr == handshake.client_addr {
                answered.own = seen.since.saturating_sub(itself);
                answered.own_before = seen.before;
                answered.own_after = seen.after;
                answered.own_failed_since = client.failed_since(seen.before);
                answered.is_incomplete = client.forgotten.is_some_and(|it| began.since(it) <= LATELY);
            } else {
                let lately = seen.before.is_some_and(|it| began.since(it) <= LATELY);
                answered.others += usize::from(seen.since > 0);
                answered.others_lately += usize::from(seen.since == 0 && lately);
            }
        }
        answered
    }

    /// Whether a handshake that began after this one completed at its first SYN/ACK before this one was last seen.
    #[must_use]
    pub fn completes_meanwhile(&self, handshake: &Handshake) -> bool {
        let during = handshake.ended..=handshake.last_seen();
        let clients = self.ports.get(&handshake.server_port).map_or(&[][..], |it| &it.clients);
        clients.iter().filter_map(|it| it.completed).any(|it| during.contains(&it))
    }

    /// The number of clients that left a port without the final ACK around a moment.
    #[must_use]
    pub fn half_open_clients(&self, port: u16, at: Nanos) -> usize {
        let clients = self.ports.get(&port).map_or(&[][..], |it| &it.clients);
        // A client that came again is no flood's.
        let is_left = |it: &&Client| it.count == 1 && it.half_open.is_some_and(|it| is_recent(it, at));
        clients.iter().filter(is_left).count()
    }
}

/// Whether the first SYN with fewer options was answered, and none before it: without an option that the answer agrees
/// to.
pub(crate) fn avoids_options(handshake: &Handshake) -> bool {
    handshake.facts.any(Facts::WITHOUT) && handshake.answer.tries > 0 && handshake.answered_try == handshake.syn.tries
}

/// Whether an attempt was answered after a packet of it was lost: a SYN that had to be sent again as it was.
fn lost_packets(handshake: &Handshake) -> bool {
    let is_other = handshake.facts.any(Facts::RECOVERING | Facts::CHALLENGED | Facts::CROSSED);
    handshake.answer.tries > 0 && handshake.syn.tries > 1 && !is_other && !avoids_options(handshake)
}

impl Port {
    fn note_client(&mut self, handshake: &Handshake, counts: &Counts, at: Nanos) {
        let addr = handshake.client_addr;
        let place = self.clients.iter().position(|it| it.addr == addr).unwrap_or_else(|| {
            let new = Client::new(addr, self.forgotten, at);
            if self.clients.len() < CLIENTS {
                self.clients.push(new);
                return self.clients.len() - 1;
            }
            let oldest = (0..CLIENTS).min_by_key(|it| self.clients[*it].last).unwrap_or_default();
            self.forgotten = self.forgotten.max(Some(self.clients[oldest].last));
            self.clients[oldest] = new;
            oldest
        });
        self.clients[place].note(handshake, counts.end(), at);
    }
}
