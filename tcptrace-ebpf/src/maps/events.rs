//! The data that leaves for userspace: counters, events, and the packets that are evidence.
#![expect(unsafe_code, reason = "map values and ring records are raw memory")]

use core::arch::asm;

use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use tcptrace_core::{
    event::{Counter, Counters, Event, TRANSITIONS, VERSION},
    flow::Addr,
    handshake::{Handshake, Nanos, Point, Transition},
    segment::{Kind, Segment},
    seq::Seq,
    snapshot::{self, SNAPLEN, Snapshot},
};

use super::{
    config::{config, telling},
    forget,
};

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
static PACKETS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// This CPU's counters.
#[inline(always)]
pub(crate) fn counters() -> Option<&'static mut Counters> {
    // SAFETY: a per-CPU value, and programs on one CPU do not preempt each other. On PREEMPT_RT they may: the cost is a
    // lost increment.
    COUNTERS.get_ptr_mut(0).map(|value| unsafe { &mut *value })
}

#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(counters) = counters() {
        counters.counters[counter as usize] += 1;
    }
}

/// Counts a segment that belongs to no attempt and opens none.
#[inline(always)]
pub(crate) fn count_unmatched(kind: Kind) {
    match kind {
        Kind::SynAck => count(Counter::AnswerUnmatched),
        Kind::Rst => count(Counter::RstUnmatched),
        Kind::Fin => count(Counter::FinUnmatched),
        Kind::Syn | Kind::Ack | Kind::Null => {}
    }
}

/// The packet behind a transition, as an event reports it.
#[derive(Clone, Copy)]
pub(crate) struct Trigger {
    pub(crate) from: Addr,
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) window: u16,
    pub(crate) flags: u8,
    pub(crate) ttl: u8,
}

impl Trigger {
    /// No packet is behind it.
    const NONE: Self = Self { from: Addr { hi: 0, lo: 0 }, seq: Seq(0), ack: Seq(0), window: 0, flags: 0, ttl: 0 };

    /// A segment.
    #[inline(always)]
    pub(crate) fn of(segment: &Segment) -> Self {
        let Segment { src, seq, ack, window, flags, ttl, .. } = *segment;
        Self { from: src.addr, seq, ack, window, flags: flags.0, ttl }
    }
}

/// Counts a transition, and reports it if it is worth an event.
#[inline(always)]
pub(crate) fn tell(transition: Transition, handshake: &Handshake, trigger: &Trigger, time: Nanos, point: Point) {
    let index = forget(transition as usize, time.0 as usize) & (TRANSITIONS - 1);
    if let Some(counters) = counters() {
        counters.count_forgetting(index, handshake, |number| forget(number as usize, time.0 as usize) as u64);
    }
    if telling().tells(transition, handshake) {
        emit(transition, handshake, trigger, time, point);
    }
}

/// Reports a connection that was reported when it opened and whose slot goes to another.
#[inline(always)]
pub(crate) fn tell_replaced(handshake: &Handshake, time: Nanos) {
    if telling().all && telling().tells(Transition::Replaced, handshake) {
        emit(Transition::Replaced, handshake, &Trigger::NONE, time, Point(0));
    }
}

/// A function of its own, so that its callers keep their stack.
#[inline(never)]
fn emit(transition: Transition, handshake: &Handshake, trigger: &Trigger, time: Nanos, point: Point) {
    let index = forget(transition as usize, time.0 as usize) & (TRANSITIONS - 1);
    match EVENTS.reserve::<Event>(0) {
        Some(mut record) => {
            let Trigger { from, seq, ack, window, flags, ttl } = *trigger;
            record.write(Event {
                version: VERSION,
                transition: transition as u8,
                size: size_of::<Event>() as u16,
                point,
                time,
                handshake: *handshake,
                from,
                seq,
                ack,
                window,
                flags,
                ttl,
                pad: 0,
            });
            record.submit(0);
        }
        None => {
            if let Some(counters) = counters() {
                counters.lose(index);
            }
        }
    }
}

/// A packet as a hook has it.
pub(crate) trait WholePacket {
    /// Bytes on the wire.
    fn length(&self) -> u32;

    /// Copies the first bytes; whether that was possible.
    ///
    /// # Safety
    /// `to` has room for `length` bytes.
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool;
}

/// `BPF_RB_NO_WAKEUP` (include/uapi/linux/bpf.h): evidence is read by the clock.
const NO_WAKEUP: u64 = 1;

/// Sends a packet up where evidence is asked for.
#[inline(always)]
pub(crate) fn keep<P: WholePacket>(
    packet: &P,
    transition: Transition,
    handshake: &Handshake,
    time: Nanos,
    point: Point,
) {
    if config!(keep_packets) != 0 && snapshot::is_evidence(transition, handshake) {
        send_up(packet, transition, handshake, time, point);
    }
}

/// As with [`emit`]. The arguments are written first: a value that does not live across the calls takes no stack.
#[inline(never)]
fn send_up<P: WholePacket>(packet: &P, transition: Transition, handshake: &Handshake, time: Nanos, point: Point) {
    let Some(mut record) = PACKETS.reserve::<Snapshot>(0) else { return count(Counter::EvidenceLost) };
    let to = record.as_mut_ptr();
    // SAFETY: the record is reserved and written before it is submitted; what is behind `captured` userspace does not
    // read.
    unsafe {
        (&raw mut (*to).version).write(VERSION);
        (&raw mut (*to).transition).write(transition as u8);
        (&raw mut (*to).time).write(time);
        (&raw mut (*to).point).write(point);
        (&raw mut (*to).isn).write(handshake.isn);
        (&raw mut (*to).client_addr).write(handshake.client_addr);
        (&raw mut (*to).server_addr).write(handshake.server_addr);
        (&raw mut (*to).client_port).write(handshake.client_port);
        (&raw mut (*to).server_port).write(handshake.server_port);
        (&raw mut (*to).pad).write(0);
    }
    let length = packet.length();
    let mut captured = u64::from(if length > SNAPLEN as u32 { SNAPLEN as u32 } else { length }).wrapping_sub(1);
    // Opaque to the compiler, which knows the bounds and would check them on another register than the helper gets.
    // SAFETY: a register is moved to itself.
    unsafe { asm!("{0} = {0}", inout(reg) captured, options(pure, nomem, nostack, preserves_flags)) };
    if captured < SNAPLEN as u64 {
        captured += 1;
        // SAFETY: as above; `captured` is what there is room for.
        let copied = unsafe {
            (&raw mut (*to).captured).write(captured as u16);
            (&raw mut (*to).length).write(length);
            packet.copy((&raw mut (*to).octets).cast(), captured as u32)
        };
        if copied {
            return record.submit(NO_WAKEUP);
        }
    }
    record.discard(NO_WAKEUP);
    count(Counter::EvidenceLost);
}
