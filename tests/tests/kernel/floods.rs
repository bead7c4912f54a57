//! Floods in all their shapes: what comes by is counted exactly, and what else fails is told and kept all the same.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use tcptrace::live::{
    accounts::Accounts,
    kernel::{Program, Settings},
};
use tcptrace_core::{
    event::Counter,
    flood::Policy,
    flow::{Addr, Endpoint, HashKey, hash},
    handshake::{Handshake, State, Transition},
    pressure::Width,
    segment::Flags,
};
use tcptrace_tests::cpu;
use tcptrace_verdict::patterns::flood::Passage;

use crate::rig::{Hook, Rig};

const XDP: Hook = Hook::Xdp(Program::XdpIngressFrags);
const SYN: u8 = Flags::SYN;
const SYN_ACK: u8 = Flags::SYN | Flags::ACK;

/// 203.0.113.2, which is flooded, and 203.0.113.3, which is not.
const FLOODED: (u32, u16) = (0xcb00_7102, 443);
const OTHER: u32 = 0xcb00_7103;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// A client anywhere in 10.0.0.0/8.
    fn client(&mut self) -> (u32, u16) {
        (0x0a00_0000 | self.next() >> 8, (self.next() >> 16) as u16 | 1)
    }
}

fn frame(flags: u8, src: (u32, u16), dst: (u32, u16), seq: u32, ack: u32) -> [u8; 54] {
    let mut it = [0; 54];
    it[12..14].copy_from_slice(&[8, 0]);
    it[14..18].copy_from_slice(&[0x45, 0, 0, 40]);
    it[22..24].copy_from_slice(&[64, 6]);
    it[26..30].copy_from_slice(&src.0.to_be_bytes());
    it[30..34].copy_from_slice(&dst.0.to_be_bytes());
    it[34..36].copy_from_slice(&src.1.to_be_bytes());
    it[36..38].copy_from_slice(&dst.1.to_be_bytes());
    it[38..42].copy_from_slice(&seq.to_be_bytes());
    it[42..46].copy_from_slice(&ack.to_be_bytes());
    it[46..48].copy_from_slice(&[0x50, flags]);
    it
}

fn endpoint(it: (u32, u16)) -> Endpoint {
    Endpoint { addr: Addr::v4(it.0), port: it.1 }
}

/// A rig as the tool sizes it, and failures that go on while it is flooded.
struct Flooded {
    rig: Rig,
    accounts: Accounts,
    random: Random,
    failures: u16,
    refused: Vec<Handshake>,
    passed: u64,
}

/// How many packets of the flood go by between two failures.
const BETWEEN: u32 = 997;

impl Flooded {
    fn new() -> Self {
        Self::of(&Settings::default())
    }

    fn of(settings: &Settings) -> Self {
        // Accounts are of CPUs: on another, a flood begins anew.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        cpu::stay_on(NEXT.fetch_add(1, Relaxed)).expect("a thread may choose its CPU");
        let mut rig = Rig::new(XDP, settings);
        let accounts = rig.kernel.take_accounts().expect("nobody has taken them");
        rig.fresh();
        Self { rig, accounts, random: Random(1), failures: 0, refused: Vec::new(), passed: 0 }
    }

    fn see(&self, flags: u8, src: (u32, u16), dst: (u32, u16), seq: u32, ack: u32) {
        self.rig.see(&frame(flags, src, dst, seq, ack), Default::default());
    }

    /// So many packets, each made by `packet`; now and then an attempt at another service fails: by turns it is refused,
    /// gets no reply, stays half-open.
    fn flood(&mut self, packets: u32, packet: impl Fn(&mut Random, u32) -> Vec<u8>) {
        for number in 0..packets {
            let octets = packet(&mut self.random, number);
            self.rig.see(&octets, Default::default());
            if number % BETWEEN == 0 {
                self.fail();
            }
        }
        self.refused.extend(self.rig.events().into_iter().filter_map(|(transition, event)| {
            (transition == Transition::Refused && event.handshake.server_addr == Addr::v4(OTHER))
                .then_some(event.handshake)
        }));
    }

    fn fail(&mut self) {
        self.failures += 1;
        let (client, server) = ((0xc633_6402, self.failures), (OTHER, 1000 + self.failures % 50));
        self.see(SYN, client, server, 7, 0);
        match self.failures % 3 {
            0 => self.see(Flags::RST | Flags::ACK, server, client, 0, 8),
            1 => self.see(SYN_ACK, server, client, 70, 8),
            _ => {}
        }
    }

    /// Nothing of what failed meanwhile is missing: neither the refusals told nor the silent in the table.
    #[track_caller]
    fn hides_nothing(&self) {
        let ports: HashSet<u16> = self.refused.iter().map(|it| it.client_port).collect();
        let mut others = Vec::new();
        for port in 1..=self.failures {
            let server = (OTHER, 1000 + port % 50);
            if port % 3 == 0 {
                assert!(ports.contains(&port), "refusal {port} of {} was not told", self.failures);
            } else {
                others.push((endpoint((0xc633_6402, port)), endpoint(server), port % 3));
            }
        }
        let pending: HashSet<_> =
            self.rig.kernel.table.pending().map(|it| (it.client(), it.server(), it.state)).collect();
        for (client, server, kind) in others {
            let state = if kind == 1 { State::SynReceived } else { State::SynSent } as u8;
            assert!(pending.contains(&(client, server, state)), "{client:?} to {server:?} is not in the table");
        }
        let tally = self.rig.tally();
        // By chance of the hash key a set of eight fills, in 5 of 70 runs of one client's flood, and one attempt of the
        // flood has to go. More than two are no chance; that it was none of the others is asserted above.
        assert!(tally.counters[Counter::ReplacedPending as usize] <= 2);
        assert_eq!(tally.lost.iter().sum::<u64>(), 0);
        assert_eq!(tally.counters[Counter::Contended as usize], 0);
    }

    fn counter(&self, it: Counter) -> u64 {
        self.rig.tally().counters[it as usize]
    }

    fn look(&mut self) -> Vec<Passage> {
        let passages = self.accounts.look();
        self.passed += passages.iter().map(|it| it.passed_over).sum::<u64>();
        passages
    }

    /// The only flooded listener, and that its packets are counted to the last.
    #[track_caller]
    fn only(&mut self) -> Passage {
        let passages = self.look();
        let [passage] = &passages[..] else { panic!("{} listeners are flooded: {passages:?}", passages.len()) };
        assert_eq!(self.passed, self.counter(Counter::PassedOver));
        passage.clone()
    }
}

fn to_flooded(random: &mut Random) -> Vec<u8> {
    let (client, isn) = (random.client(), random.next());
    frame(SYN, client, FLOODED, isn, 0).into()
}

#[test]
fn syns_from_everywhere() {
    let mut it = Flooded::new();
    it.flood(200_000, |random, _| to_flooded(random));
    it.hides_nothing();
    let passage = it.only();
    assert_eq!(passage.owner, endpoint(FLOODED));
    let opened = it.rig.tally().transitions[Transition::Opened as usize] - u64::from(it.failures);
    assert_eq!(passage.passed_over + opened, 200_000, "each SYN is either opened or passed over");
    assert!(opened < 20_000, "{opened} were let in");
    assert!(!passage.clients.is_empty() && passage.clients.iter().all(|it| it.is_v4()));
}

/// One client, one port, another number each time: the flow is one, the flood is as great.
#[test]
fn syns_of_one_flow() {
    let mut it = Flooded::new();
    it.flood(200_000, |random, _| frame(SYN, (0x0a00_0001, 1), FLOODED, random.next(), 0).into());
    it.hides_nothing();
    let passage = it.only();
    assert_eq!(passage.owner, endpoint(FLOODED));
    assert!(passage.clients.iter().all(|it| *it == Addr::v4(0x0a00_0001)));
    assert!(it.counter(Counter::PassedOver) > 180_000);
}

/// Somebody's servers answer SYNs that were sent in this host's name.
#[test]
fn backscatter() {
    let mut it = Flooded::new();
    it.flood(200_000, |random, _| {
        let (client, numbers) = (random.client(), (random.next(), random.next()));
        frame(SYN_ACK, FLOODED, client, numbers.0, numbers.1).into()
    });
    it.hides_nothing();
    let passage = it.only();
    assert_eq!((passage.owner, passage.answers), (endpoint(FLOODED), passage.opens));
}

/// The same from servers everywhere: each takes a slot that nobody waits for, or none.
#[test]
fn backscatter_from_everywhere() {
    let mut it = Flooded::new();
    it.flood(600_000, |random, _| {
        let (server, numbers) = (random.client(), (random.next(), random.next()));
        frame(SYN_ACK, server, (0xc633_6402, random.client().1), numbers.0, numbers.1).into()
    });
    it.hides_nothing();
    assert_eq!(it.counter(Counter::AnswerUnmatched), 600_000);
}

/// Segments of no attempt: none takes a slot.
#[test]
fn segments_of_nobody() {
    for (flags, counter) in [
        (Flags::RST, Some(Counter::RstUnmatched)),
        (Flags::ACK, Some(Counter::Established)),
        (Flags::FIN, Some(Counter::FinUnmatched)),
        (Flags::FIN | Flags::ACK, Some(Counter::FinUnmatched)),
        (0, Some(Counter::Established)),
    ] {
        let mut it = Flooded::new();
        it.flood(100_000, |random, _| {
            let (client, numbers) = (random.client(), (random.next(), random.next()));
            frame(flags, client, FLOODED, numbers.0, numbers.1).into()
        });
        it.hides_nothing();
        let pending = usize::from(it.failures) * 2 / 3;
        assert!(it.rig.kernel.table.pending().count().abs_diff(pending) <= 1, "{flags:#x}");
        if let Some(counter) = counter {
            // A bare ACK asks whether a handshake is pending under its hash, and now and then the answer is wrong.
            assert!(it.counter(counter) > 99_900, "{flags:#x}: {}", it.counter(counter));
        }
        assert_eq!(it.counter(Counter::PassedOver), 0);
    }
}

#[test]
fn fragments() {
    let mut it = Flooded::new();
    it.flood(100_000, |random, _| {
        let mut octets = to_flooded(random);
        octets[20..22].copy_from_slice(&[0x20, 0xb9]);
        octets
    });
    it.hides_nothing();
    assert_eq!(it.counter(Counter::LaterFragment), 100_000);
}

/// Every port of a host: no listener of them is flooded, each refusal is told.
#[test]
fn every_port_once() {
    let mut it = Flooded::new();
    let client = (0x0a00_0001, 40_000);
    let mut refused = 0;
    for port in 0..=u16::MAX {
        let server = (FLOODED.0, port);
        it.see(SYN, client, server, 7, 0);
        it.see(Flags::RST | Flags::ACK, server, client, 0, 8);
        if port % 1024 == 1023 {
            refused += it.rig.events().len();
        }
    }
    assert_eq!((refused, it.counter(Counter::PassedOver)), (1 << 16, 0));
}

/// Whoever knows the code and not the key finds flows that share a set for a key of his own. They do not for another.
#[test]
fn collisions_by_choice() {
    let mut it = Flooded::new();
    let known = HashKey(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
    let sets = (it.rig.capacity() / 8) as u64;
    let mut chosen = Vec::new();
    while chosen.len() < 512 {
        let client = it.random.client();
        // Spread over servers, so that none counts as flooded.
        let server = (FLOODED.0, client.1 | 1);
        if hash(known, endpoint(client), endpoint(server)) & (sets - 1) == 0 {
            chosen.push((client, server));
        }
    }
    chosen.iter().for_each(|(client, server)| it.see(SYN, *client, *server, 7, 0));
    let kept = it.rig.kernel.table.pending().count();
    assert_eq!((kept, it.counter(Counter::ReplacedPending)), (512, 0));
}

/// A million attempts at once, at as many listeners, where that is no flood: in a table for them none is lost.
#[test]
fn a_million_at_once() {
    let settings = Settings { max_attempts: 1 << 22, flood: Some(Policy::NEVER), ..Settings::default() };
    let it = Rig::new(XDP, &settings);
    for number in 0..1 << 20 {
        let server = (FLOODED.0 + (number >> 10), (number & 1023) as u16 + 1);
        it.see(&frame(SYN, (0x0a00_0001 + number, 1), server, 7, 0), Default::default());
    }
    let tally = it.tally();
    assert_eq!(tally.transitions[Transition::Opened as usize], 1 << 20);
    let (kept, replaced) =
        (it.kernel.table.pending().count() as u64, tally.counters[Counter::ReplacedPending as usize]);
    assert_eq!((kept + replaced, tally.counters[Counter::PassedOver as usize]), (1 << 20, 0));
    // With one slot of four taken, by chance hardly a set of eight overflows.
    assert!(replaced < 500, "{replaced}");
}

impl Flooded {
    /// A flood over many listeners: what is let in fits the table, what fails elsewhere is not hidden, and each packet is
    /// either opened or counted where it was kept out. Of what that was.
    #[track_caller]
    fn spread(&mut self, packet: impl Fn(&mut Random, u32) -> Vec<u8>) -> Passage {
        const PACKETS: u32 = 400_000;
        self.flood(PACKETS, packet);
        let opened = self.counter_of(Transition::Opened);
        let passed = self.counter(Counter::PassedOver);
        assert_eq!(opened + passed, u64::from(PACKETS) + u64::from(self.failures));
        assert!(opened < 200_000, "{opened} were let in");
        let passages = self.look();
        assert_eq!(self.passed, passed);
        // Those of finer scopes before the kernel side knew better.
        passages.into_iter().max_by_key(|it| it.scope).expect("something is flooded")
    }

    fn counter_of(&self, it: Transition) -> u64 {
        self.rig.tally().transitions[it as usize]
    }
}

#[test]
fn every_port_of_a_host() {
    // The smaller table's share of a CPU is that of one of many CPUs.
    for max_attempts in [Settings::default().max_attempts, 16_384] {
        let mut it = Flooded::of(&Settings { max_attempts, ..Settings::default() });
        let passage = it.spread(|random, number| frame(SYN, random.client(), (FLOODED.0, number as u16), 7, 0).into());
        it.hides_nothing();
        assert_eq!((passage.scope, passage.owner), (Width::Host, endpoint((FLOODED.0, 0))), "{max_attempts}");
        assert!(passage.passed_over > 250_000, "{passage:?}");
    }
}

/// The answers to what was kept out belong to no attempt, and take nobody's place.
#[test]
fn a_network_that_answers() {
    let mut it = Flooded::new();
    it.flood(400_000, |_, number| {
        let pair = number / 2;
        let (client, server) = ((0x0a00_0000 | pair, 1024), (0xc612_0500 | pair & 255, 443));
        match number % 2 {
            0 => frame(SYN, client, server, 7, 0).into(),
            _ => frame(SYN_ACK, server, client, 70, 8).into(),
        }
    });
    it.hides_nothing();
    let scope = it.look().into_iter().map(|it| it.scope).max();
    assert_eq!(scope, Some(Width::Network));
}

/// An attempt that is followed is followed whole, though its listener is flooded meanwhile.
#[test]
fn retries_of_what_is_followed() {
    let mut it = Flooded::new();
    let clients = (1..=40).map(|port| (0x0b00_0001, port));
    clients.clone().for_each(|client| it.see(SYN, client, FLOODED, 7, 0));
    it.flood(200_000, |random, _| to_flooded(random));
    assert_eq!(it.counter_of(Transition::SynRetried), 0);
    // With the same number it is the same attempt.
    std::thread::sleep(std::time::Duration::from_millis(10));
    clients.clone().for_each(|client| it.see(SYN, client, FLOODED, 7, 0));
    assert_eq!(it.counter_of(Transition::SynRetried), 40);
    let superseded = it.counter_of(Transition::Superseded);
    clients.for_each(|client| it.see(SYN, client, FLOODED, 8, 0));
    let others = it.counter_of(Transition::Superseded) - superseded;
    assert!(others < 5, "{others}: another attempt is let in or not, as any");
}

#[test]
fn a_whole_network() {
    let mut it = Flooded::new();
    // 198.18.5.0/24.
    let passage =
        it.spread(|random, number| frame(SYN, random.client(), (0xc612_0500 | number & 255, 443), 7, 0).into());
    it.hides_nothing();
    assert_eq!((passage.scope, passage.owner), (Width::Network, endpoint((0xc612_0500, 0))));
    let mut it = Flooded::new();
    let passage =
        it.spread(|random, number| frame(SYN, random.client(), (0xc612_0000 | number & 0xffff, 443), 7, 0).into());
    it.hides_nothing();
    assert_eq!((passage.scope, passage.owner), (Width::WideNetwork, endpoint((0xc612_0000, 0))));
}

/// One of ours asks the whole world.
#[test]
fn one_client_asks_everyone() {
    let mut it = Flooded::new();
    let passage = it.spread(|random, number| {
        frame(SYN, (0x0a00_0001, number as u16 | 1024), (random.next() & 0x7fff_ffff, 443), random.next(), 0).into()
    });
    it.hides_nothing();
    assert_eq!((passage.scope, passage.owner), (Width::Client, endpoint((0x0a00_0001, 0))));
}

/// From everywhere to everywhere: nothing tells them from others any more, but that they lead nowhere. What is let in
/// still fits, each is counted, and it is over when it is.
#[test]
fn everyone_asks_everyone() {
    let mut it = Flooded::new();
    let passage = it.spread(|random, _| frame(SYN, random.client(), (random.next() & 0x7fff_ffff, 443), 7, 0).into());
    assert_eq!((passage.scope, passage.owner), (Width::Everything, Endpoint::default()));
    // Sets that overflow by chance.
    assert!(it.counter(Counter::ReplacedPending) < 10);
    // Now and then a SYN; by and by accounts are as fine as ever, and nothing is kept out.
    for port in 1..=400 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        it.see(SYN, (0x0c00_0001, port), (OTHER, 80), 7, 0);
    }
    let before = it.counter(Counter::PassedOver);
    for port in 1..=2000 {
        it.see(SYN, (0x0d00_0001, port), (OTHER, 81), 7, 0);
    }
    assert_eq!(it.counter(Counter::PassedOver), before);
}

/// Connections that stay: their slots are the first to make room, and their data touches none.
#[test]
fn many_established() {
    let mut it = Flooded::new();
    let flow = |number: u32| ((0x0a00_0001 + number, 1), (FLOODED.0 + (number & 63), 443));
    for number in 0..300_000 {
        let (client, server) = flow(number);
        it.see(SYN, client, server, 7, 0);
        it.see(SYN_ACK, server, client, 70, 8);
        it.see(Flags::ACK, client, server, 8, 71);
    }
    let control = it.counter(Counter::Control);
    it.flood(50_000, |random, _| {
        let (client, server) = flow(random.next() % 300_000);
        frame(Flags::ACK, client, server, 8, 71).into()
    });
    it.hides_nothing();
    assert_eq!((it.counter(Counter::PassedOver), it.counter(Counter::ReplacedPending)), (0, 0));
    // Half-open ones among the failures that share a tag with some of that data are looked at again.
    assert!(it.counter(Counter::Control) - control < 500);
}

/// A listener that is flooded serves as well. What completes does not open the gate for the rest, and once the flood is
/// over every attempt is followed again.
#[test]
fn who_is_served_during_a_flood() {
    let mut it = Flooded::new();
    // Handshakes that begin before the flood and complete during it, one of a hundred packets.
    let good = |number: u32| (0x0b00_0000 + number, 1);
    for number in 0..2000 {
        it.see(SYN, good(number), FLOODED, 7, 0);
        it.see(SYN_ACK, FLOODED, good(number), 70, 8);
    }
    it.flood(200_000, |random, number| match number % 100 {
        0 => frame(Flags::ACK, good(number / 100), FLOODED, 8, 71).into(),
        _ => to_flooded(random),
    });
    it.hides_nothing();
    let passage = it.only();
    assert_eq!(it.rig.tally().transitions[Transition::Completed as usize], 2000);
    assert!(passage.completed <= 2000, "{passage:?}");
    let let_in = it.rig.tally().transitions[Transition::Opened as usize];
    assert!(let_in < 20_000, "{let_in} were let in");
    // Now and then a SYN: the account is looked at, and by and by it has leaked.
    let mut port = 0;
    it.look();
    loop {
        assert!(port < 1000, "still flooded");
        port += 1;
        std::thread::sleep(std::time::Duration::from_millis(50));
        it.see(SYN, (0x0c00_0001, port), FLOODED, 7, 0);
        if it.look().is_empty() {
            break;
        }
    }
    let before = it.counter(Counter::PassedOver);
    for port in 1..=2000 {
        let client = (0x0d00_0001, port);
        it.see(SYN, client, FLOODED, 7, 0);
        it.see(SYN_ACK, FLOODED, client, 70, 8);
        it.see(Flags::ACK, client, FLOODED, 8, 71);
    }
    assert_eq!(it.counter(Counter::PassedOver), before);
    assert_eq!(it.rig.tally().transitions[Transition::Completed as usize], 4000);
}
