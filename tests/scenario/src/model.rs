//! What the kernel programs do, on the host: the same core behind a map that is never full.
//!
//! Line for line what `tcptrace-ebpf/src/programs.rs` does between a frame and a slot; what differs (tags, locks, room)
//! is what the suite `kernel` looks for. No clock: time is an argument.

use std::collections::HashMap;

use tcptrace_core::{
    event::{Counter, Counters, Event, Telling, VERSION},
    flow::{Addr, Endpoint},
    handshake::{Handshake, Nanos, Point, State, Transition},
    segment::{self, Flags, Found, IcmpError, Kind, Link, Located, Segment, Skip},
    seq::Seq,
};

use super::Effect;

/// Attempts, counters and events.
pub struct Model {
    pub telling: Telling,
    pub tally: Counters,
    /// Everything told so far.
    pub events: Vec<(Transition, Event)>,
    attempts: HashMap<(Endpoint, Endpoint), Handshake>,
}

/// The packet under way: when, where, and what it has done so far.
struct Sight {
    now: Nanos,
    point: Point,
    effects: Vec<Effect>,
}

impl Model {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(telling: Telling) -> Self {
        Self { telling, tally: Counters::default(), events: Vec::new(), attempts: HashMap::new() }
    }

    /// The attempt between two endpoints, in whichever order.
    #[must_use]
    pub fn attempt(&self, a: Endpoint, b: Endpoint) -> Option<&Handshake> {
        self.attempts.get(&flow(a, b))
    }

    /// Every attempt.
    pub fn attempts(&self) -> impl Iterator<Item = &Handshake> {
        self.attempts.values()
    }

    /// Sees a frame; what it does.
    pub fn see(&mut self, frame: &[u8], link: Link, now: Nanos, point: Point) -> Vec<Effect> {
        let mut sight = Sight { now, point, effects: Vec::new() };
        match segment::locate(frame, link) {
            Found::Tcp(located) => self.on_tcp(frame, &located, &mut sight),
            Found::Error(error) => self.on_icmp_error(&error, &mut sight),
            Found::Skipped(skip) => self.count(&mut sight, skipped(skip)),
        }
        sight.effects
    }

    fn on_tcp(&mut self, frame: &[u8], located: &Located, sight: &mut Sight) {
        let key = flow(located.src, located.dst);
        let pending = self.attempts.get(&key).is_some_and(|it| it.state().is_pending());
        if !located.flags.any(Flags::SYN | Flags::FIN | Flags::RST) && !pending {
            return self.count(sight, Counter::Established);
        }
        self.tally.counters[Counter::Control as usize] += 1;
        let segment = Segment::read(frame, located);
        let cause = cause(&segment);
        let Some(mut handshake) = self.attempts.get(&key).copied() else {
            match segment.flags.kind() {
                Kind::Syn => self.open(&segment, sight),
                Kind::SynAck => {
                    self.count(sight, Counter::AnswerUnmatched);
                    let unasked = Handshake::unsolicited(&segment, sight.now, sight.point);
                    self.attempts.insert(key, unasked);
                }
                Kind::Rst => self.count(sight, Counter::RstUnmatched),
                Kind::Fin => self.count(sight, Counter::FinUnmatched),
                Kind::Ack | Kind::Null => {}
            }
            return;
        };
        let side = handshake.side(segment.src, segment.dst).expect("the key is the attempt's own");
        let transition = handshake.step(side, &segment, sight.now, sight.point);
        self.tell(transition, &handshake, cause, sight);
        if handshake.state() == State::Free {
            self.attempts.remove(&key);
        } else {
            self.attempts.insert(key, handshake);
        }
        if transition == Transition::Superseded {
            self.open(&segment, sight);
        }
    }

    fn open(&mut self, syn: &Segment, sight: &mut Sight) {
        let handshake = Handshake::open(syn, sight.now, sight.point);
        self.attempts.insert(flow(syn.src, syn.dst), handshake);
        self.tell(Transition::Opened, &handshake, cause(syn), sight);
    }

    fn on_icmp_error(&mut self, error: &IcmpError, sight: &mut Sight) {
        self.tally.counters[Counter::IcmpError as usize] += 1;
        let key = flow(error.src, error.dst);
        let Some(mut handshake) = self.attempts.get(&key).copied() else {
            return self.count(sight, Counter::IcmpUnmatched);
        };
        let side = handshake.side(error.src, error.dst).expect("the key is the attempt's own");
        let transition = handshake.icmp(side, error, sight.now);
        self.tell(transition, &handshake, Event { from: error.from, seq: error.seq, ..Event::default() }, sight);
        self.attempts.insert(key, handshake);
    }

    fn count(&mut self, sight: &mut Sight, counter: Counter) {
        self.tally.counters[counter as usize] += 1;
        sight.effects.push(Effect::Counter(counter));
    }

    fn tell(&mut self, transition: Transition, handshake: &Handshake, cause: Event, sight: &mut Sight) {
        self.tally.count(transition as usize, handshake);
        let told = self.telling.tells(transition, handshake);
        sight.effects.push(Effect::Transition(transition, told));
        if told {
            let event = Event {
                version: VERSION,
                transition: transition as u8,
                size: size_of::<Event>() as u16,
                point: sight.point,
                time: sight.now,
                handshake: *handshake,
                ..cause
            };
            self.events.push((transition, event));
        }
    }
}

/// The same for both directions.
fn flow(a: Endpoint, b: Endpoint) -> (Endpoint, Endpoint) {
    (a.min(b), a.max(b))
}

/// An event that holds nothing yet but the packet behind it.
fn cause(it: &Segment) -> Event {
    let (from, seq, ack): (Addr, Seq, Seq) = (it.src.addr, it.seq, it.ack);
    Event { from, seq, ack, window: it.window, flags: it.flags.0, ttl: it.ttl, ..Event::default() }
}

fn skipped(skip: Skip) -> Counter {
    match skip {
        Skip::NotIp => Counter::NotIp,
        Skip::NotTcp => Counter::NotTcp,
        Skip::LaterFragment => Counter::LaterFragment,
        Skip::Malformed => Counter::Malformed,
    }
}
