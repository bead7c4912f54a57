//! A packet's way into the table: which attempt it belongs to, how it changes that attempt, what userspace hears of it.
//!
//! The core decides (`admission`, `handshake`); this module looks things up and carries the decisions out.

use aya_log_ebpf::debug;
use tcptrace_core::{
    admission::{self, Admission, Deed, Entry},
    event::Counter,
    flood::Opening,
    flow,
    handshake::{Handshake, Nanos, Point, State, Transition},
    segment::{Flags, Found, IcmpError, Kind, Located, Options, Segment, Skip},
    seq::Seq,
    table::{self, PENDING, WAYS},
    tunnel::{Inner, Tunnel},
};

use crate::{
    frame::Hook,
    maps::{self, LockedSet, SetRef, Trigger},
};

#[inline(always)]
pub(crate) fn on_packet<C: Hook>(ctx: &C, found: Found, inner: Inner, point: Point) {
    match found {
        Found::Tcp(located) => on_tcp(ctx, &located, inner, point),
        Found::Error(error) => on_icmp_error(ctx, &error, point),
        Found::Skipped(skip) => maps::count(match skip {
            Skip::NotIp => Counter::NotIp,
            Skip::NotTcp => Counter::NotTcp,
            Skip::LaterFragment => Counter::LaterFragment,
            Skip::Malformed => Counter::Malformed,
        }),
    }
}

#[inline(always)]
fn on_tcp<C: Hook>(ctx: &C, located: &Located, inner: Inner, point: Point) {
    let hash = flow::hash(maps::hash_key(), located.src, located.dst);
    let Some(set) = maps::set_of(hash) else { return };
    let tag = table::tag(hash);
    if !located.flags.any(Flags::SYN | Flags::FIN | Flags::RST) && !set.may_be_pending(tag) {
        return maps::count(Counter::Established);
    }
    maps::count(Counter::Control);
    let opens = matches!(located.flags.kind(), Kind::Syn | Kind::SynAck);
    if !opens && !set.may_have(tag) {
        return maps::count_unmatched(located.flags.kind());
    }
    let frame = ctx.frame().from(inner.at);
    let located = located.blurred(|number| maps::forget(number as usize, frame.unknown) as u64);
    let mut admission = Admission::Admitted as u8;
    if opens {
        let Some(answer) = admit(set, tag, &located, hash, point) else { return };
        admission = answer as u8;
    }
    // Known to the verifier, what follows would be followed once for each.
    let admission = maps::forget(admission.into(), frame.unknown) as u8;
    let segment = blur_read(Segment::read(&frame, &located), frame.unknown);
    let observation = Observation { now: maps::now(), point, tunnel: inner.tunnel };
    let Some(mut locked) = set.lock() else { return };
    let found = locked.find(tag, segment.src, segment.dst);
    // Numbers are compared only where the answer matters: the verifier would follow each answer apart.
    let entry = match found {
        None => Entry::None,
        Some(way) if admission == Admission::KeptOut as u8 && !locked.has_isn(way, segment.seq) => Entry::OtherIsn,
        Some(_) => Entry::Followed,
    };
    match admission::decide(entry, Admission::of(admission), segment.flags.kind()) {
        Deed::Ignore => {}
        Deed::Step => {
            let way = maps::forget(found.unwrap_or(0), frame.unknown) & (WAYS - 1);
            // Here its value is known again, from the decision.
            let admission = maps::forget(admission.into(), frame.unknown) as u8;
            step(ctx, &mut locked, way, tag, &segment, &observation, admission);
        }
        Deed::Open => {
            let way = locked.make_room(observation.now);
            if let Some(replaced) = locked.handshake(way) {
                maps::tell_replaced(replaced, observation.now);
            }
            open(ctx, &mut locked, way, tag, &segment, &observation);
        }
        Deed::OpenUnsolicited => {
            maps::count_unmatched(Kind::SynAck);
            open_unsolicited(ctx, &mut locked, tag, &segment, &observation);
        }
        Deed::CountFilteredOut => maps::count(Counter::FilteredOut),
        Deed::CountUnmatched => maps::count_unmatched(segment.flags.kind()),
    }
    locked.release();
}

/// Whether a SYN or SYN/ACK may open an attempt; `None`: it may not, and there is none that it could belong to. Where
/// it was noted waits in [`maps::waiting_notes`].
#[inline(always)]
fn admit(set: SetRef, tag: u16, located: &Located, hash: u64, point: Point) -> Option<Admission> {
    if !maps::wants(located) {
        maps::drop_waiting_notes();
        return Some(Admission::Unwanted);
    }
    if located.flags.kind() == Kind::SynAck && set.may_have(tag) {
        maps::drop_waiting_notes();
        return Some(Admission::Admitted);
    }
    if maps::admit(&opening(located, hash, point)) {
        return Some(Admission::Admitted);
    }
    maps::count(Counter::PassedOver);
    maps::drop_waiting_notes();
    // A retry of an attempt that is followed is followed.
    set.may_be_pending(tag).then_some(Admission::KeptOut)
}

/// The facts that its listener's account notes.
#[inline(always)]
fn opening(located: &Located, hash: u64, point: Point) -> Opening {
    let answers = located.flags.any(Flags::ACK);
    let (owner, client) = if answers { (located.src, located.dst.addr) } else { (located.dst, located.src.addr) };
    let isn = if answers { located.ack().add(u32::MAX) } else { located.seq() };
    let draw = (hash >> 24 ^ u64::from(isn.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Opening { owner, client, point, answers, draw: draw as u32 }
}

/// The facts about a segment that it does not carry itself.
struct Observation {
    now: Nanos,
    point: Point,
    tunnel: Tunnel,
}

/// Applies a segment to the attempt of its flow. `admission` is an [`Admission`] by number, which the verifier does not
/// know.
#[inline(always)]
fn step<C: Hook>(
    ctx: &C,
    locked: &mut LockedSet,
    way: usize,
    tag: u16,
    segment: &Segment,
    observation: &Observation,
    admission: u8,
) {
    let Some(slot) = locked.slot(way) else { return };
    let handshake = &mut slot.handshake;
    let Some(side) = handshake.side(segment.src, segment.dst) else { return };
    let Observation { now, point, .. } = *observation;
    let transition = handshake.step(side, segment, now, point);
    let completed = transition == Transition::Completed || handshake.state() == State::Free;
    let is_over = matches!(transition, Transition::Refused | Transition::Aborted | Transition::ResetOnAnswer);
    if completed || is_over {
        maps::settle(slot.notes, completed);
    }
    maps::tell(transition, handshake, &Trigger::of(segment), now, point);
    maps::keep(ctx, transition, handshake, now, point);
    // Half of the address: with all of it the stacks of log and program come to more than Linux 6.1 allows.
    let Handshake { server_addr, server_port, .. } = *handshake;
    debug!(ctx, "{:x} port {}: transition {}", server_addr.lo, server_port, transition as u8);
    let superseded = transition == Transition::Superseded;
    let opens_next = superseded && admission::opens_next(Admission::of(admission));
    if superseded && !opens_next {
        handshake.state = State::Free as u8;
    }
    let lane = match handshake.state() {
        State::Free => 0,
        state if state.is_pending() && !handshake.is_dead(now) => tag | PENDING,
        _ => tag,
    };
    locked.set().set_lane(way, lane);
    if opens_next {
        open(ctx, locked, way, tag, segment, observation);
    }
}

/// Fills a way with the attempt that a SYN opens.
#[inline(always)]
fn open<C: Hook>(ctx: &C, locked: &mut LockedSet, way: usize, tag: u16, syn: &Segment, observation: &Observation) {
    let Some(slot) = locked.slot(way) else { return };
    let Observation { now, point, tunnel, .. } = *observation;
    slot.notes = maps::waiting_notes();
    maps::note_opening(slot.notes);
    let handshake = &mut slot.handshake;
    *handshake = Handshake::open(syn, now, point);
    maps::tell(Transition::Opened, handshake, &Trigger::of(syn), now, point);
    maps::keep(ctx, Transition::Opened, handshake, now, point);
    note_tunnel(ctx, locked, way, tunnel);
    locked.set().set_lane(way, tag | PENDING);
    locked.set().renew(way);
}

/// Fills a way with a SYN/ACK that has no attempt, where that costs no pending attempt its slot: whoever reflects
/// SYN/ACKs here must not push out what is waited for.
#[inline(always)]
fn open_unsolicited<C: Hook>(ctx: &C, locked: &mut LockedSet, tag: u16, answer: &Segment, observation: &Observation) {
    let Some(way) = locked.spare_room() else { return };
    let Some(slot) = locked.slot(way) else { return };
    let handshake = &mut slot.handshake;
    maps::tell_replaced(handshake, observation.now);
    *handshake = Handshake::unsolicited(answer, observation.now, observation.point);
    slot.notes = maps::waiting_notes();
    maps::note_opening(slot.notes);
    note_tunnel(ctx, locked, way, observation.tunnel);
    locked.set().set_lane(way, tag | PENDING);
    locked.set().age(way);
}

/// Notes what an attempt came by, where that is looked for at all.
#[inline(always)]
fn note_tunnel<C: Hook>(ctx: &C, locked: &mut LockedSet, way: usize, tunnel: Tunnel) {
    if maps::looks_into_tunnels() {
        locked.set_outer(way, tunnel.outer(&ctx.frame()));
    }
}

/// The same, of which the verifier has forgotten by which of many ways through the options it was read: what follows is
/// then checked once and not once for each.
#[inline(always)]
fn blur_read(segment: Segment, unknown: usize) -> Segment {
    let word = |number: u64| maps::forget(number as usize, unknown) as u64;
    Segment {
        payload: word(segment.payload.into()) as u16,
        options: Options {
            present: word(segment.options.present.into()) as u8,
            mss: word(segment.options.mss.into()) as u16,
            window_scale: word(segment.options.window_scale.into()) as u8,
        },
        ..segment
    }
}

#[inline(always)]
fn on_icmp_error<C: Hook>(ctx: &C, error: &IcmpError, point: Point) {
    maps::count(Counter::IcmpError);
    let hash = flow::hash(maps::hash_key(), error.src, error.dst);
    let tag = table::tag(hash);
    let Some(set) = maps::set_of(hash) else { return };
    if !set.may_have(tag) {
        return maps::count(Counter::IcmpUnmatched);
    }
    let now = maps::now();
    let Some(mut locked) = set.lock() else { return };
    match locked.find(tag, error.src, error.dst) {
        Some(way) => step_icmp(ctx, &mut locked, way, error, now, point),
        None => maps::count(Counter::IcmpUnmatched),
    }
    locked.release();
}

#[inline(always)]
fn step_icmp<C: Hook>(ctx: &C, locked: &mut LockedSet, way: usize, error: &IcmpError, now: Nanos, point: Point) {
    let Some(handshake) = locked.handshake(way) else { return };
    let Some(side) = handshake.side(error.src, error.dst) else { return };
    let transition = handshake.icmp(side, error, now);
    debug!(ctx, "ICMP {}/{}: transition {}", error.icmp.kind, error.icmp.code, transition as u8);
    let trigger = Trigger { from: error.from, seq: error.seq, ack: Seq(0), window: 0, flags: 0, ttl: 0 };
    maps::tell(transition, handshake, &trigger, now, point);
    maps::keep(ctx, transition, handshake, now, point);
}
