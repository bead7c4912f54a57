//! From the kernel's bytes to events and attempts: length, version and each discriminant are checked.
//!
//! Native byte order throughout: writer and reader are one machine.

use bytes::Buf;
use tcptrace_core::{
    connect::{Connect, Fate},
    drops::{Drops, FlowDrops, GROUPS, KEPT},
    event::{Event, VERSION},
    flow::Addr,
    handshake::{End, Facts, Handshake, Nanos, Offer, Point, State, Transition},
    seq::Seq,
    snapshot::{SNAPLEN, Snapshot},
    tunnel::Outer,
};

/// Decodes a record of the ring buffer; `None` where it is not one of this version.
pub fn event(mut octets: &[u8]) -> Option<(Transition, Event)> {
    let buf = &mut octets;
    if buf.remaining() < size_of::<Event>() {
        return None;
    }
    let event = Event {
        version: buf.get_u8(),
        transition: buf.get_u8(),
        size: buf.get_u16_ne(),
        point: Point(buf.get_u32_ne()),
        time: Nanos(buf.get_u64_ne()),
        handshake: handshake(buf)?,
        from: addr(buf),
        seq: Seq(buf.get_u32_ne()),
        ack: Seq(buf.get_u32_ne()),
        window: buf.get_u16_ne(),
        flags: buf.get_u8(),
        ttl: buf.get_u8(),
        pad: buf.get_u32_ne(),
    };
    if event.version != VERSION || usize::from(event.size) != size_of::<Event>() {
        return None;
    }
    let transition = *Transition::ALL.get(usize::from(event.transition))?;
    Some((transition, event))
}

/// Decodes a record of the ring of packets; `None` where it is not one of this version.
pub fn snapshot(mut octets: &[u8]) -> Option<(Transition, Snapshot)> {
    let buf = &mut octets;
    if buf.remaining() < size_of::<Snapshot>() {
        return None;
    }
    let mut it = Snapshot {
        version: buf.get_u8(),
        transition: buf.get_u8(),
        captured: buf.get_u16_ne(),
        length: buf.get_u32_ne(),
        time: Nanos(buf.get_u64_ne()),
        point: Point(buf.get_u32_ne()),
        isn: Seq(buf.get_u32_ne()),
        client_addr: addr(buf),
        server_addr: addr(buf),
        client_port: buf.get_u16_ne(),
        server_port: buf.get_u16_ne(),
        pad: buf.get_u32_ne(),
        octets: [0; SNAPLEN],
    };
    let captured = usize::from(it.captured);
    it.octets.get_mut(..captured)?.copy_from_slice(buf.get(..captured)?);
    let transition = *Transition::ALL.get(usize::from(it.transition))?;
    (it.version == VERSION).then_some((transition, it))
}

/// Decodes an attempt; `None` where the bytes are too few, or the state is none.
pub fn handshake(buf: &mut impl Buf) -> Option<Handshake> {
    if buf.remaining() < size_of::<Handshake>() {
        return None;
    }
    let it = Handshake {
        client_addr: addr(buf),
        server_addr: addr(buf),
        first_syn: Nanos(buf.get_u64_ne()),
        last_syn: Nanos(buf.get_u64_ne()),
        first_answer: Nanos(buf.get_u64_ne()),
        last_answer: Nanos(buf.get_u64_ne()),
        ended: Nanos(buf.get_u64_ne()),
        client_port: buf.get_u16_ne(),
        server_port: buf.get_u16_ne(),
        isn: Seq(buf.get_u32_ne()),
        server_isn: Seq(buf.get_u32_ne()),
        client_point: Point(buf.get_u32_ne()),
        server_point: Point(buf.get_u32_ne()),
        facts: Facts(buf.get_u32_ne()),
        syn: offer(buf),
        answer: offer(buf),
        end: End { window: buf.get_u16_ne(), flags: buf.get_u8(), ttl: buf.get_u8() },
        state: buf.get_u8(),
        icmp_kind: buf.get_u8(),
        icmp_code: buf.get_u8(),
        answered_try: buf.get_u8(),
    };
    State::ALL.get(usize::from(it.state)).map(|_| it)
}

/// Decodes a tunnel of as many bytes as one has.
pub fn outer(buf: &mut impl Buf) -> Outer {
    Outer { src: addr(buf), dst: addr(buf), kind: buf.get_u8(), has_ends: buf.get_u8(), pad: [0; 6] }
}

/// Decodes a call of connect(2).
pub fn connect(octets: &[u8; size_of::<Connect>()]) -> Connect {
    let buf = &mut &octets[..];
    Connect {
        sum: buf.get_u64_ne(),
        cookie: buf.get_u64_ne(),
        called: Nanos(buf.get_u64_ne()),
        netns: buf.get_u64_ne(),
        asked_addr: addr(buf),
        bound_addr: addr(buf),
        comm: [buf.get_u64_ne(), buf.get_u64_ne()],
        pid: buf.get_u32_ne(),
        asked_port: buf.get_u16_ne(),
        bound_port: buf.get_u16_ne(),
        refused: buf.get_u16_ne(),
        pad: [0; 6],
    }
}

/// Decodes how far the socket of a call came.
pub fn fate(octets: &[u8; size_of::<Fate>()]) -> Fate {
    let buf = &mut &octets[..];
    Fate {
        sum: buf.get_u64_ne(),
        cookie: buf.get_u64_ne(),
        at: Nanos(buf.get_u64_ne()),
        made: Nanos(buf.get_u64_ne()),
        client_addr: addr(buf),
        server_addr: addr(buf),
        errno: buf.get_i32_ne(),
        tx_hash: buf.get_u32_ne(),
        client_port: buf.get_u16_ne(),
        server_port: buf.get_u16_ne(),
        step: buf.get_u8(),
        is_closed: buf.get_u8(),
        has_port: buf.get_u8(),
        pad: buf.get_u8(),
    }
}

/// Decodes what was dropped of a flow.
pub fn flow_drops(octets: &[u8; size_of::<FlowDrops>()]) -> FlowDrops {
    let buf = &mut &octets[..];
    FlowDrops {
        version: buf.get_u64_ne(),
        low_addr: addr(buf),
        high_addr: addr(buf),
        low_port: buf.get_u16_ne(),
        high_port: buf.get_u16_ne(),
        is_ours: buf.get_u32_ne(),
        drops: [[(); KEPT]; GROUPS].map(|side| {
            side.map(|()| Drops {
                at: Nanos(buf.get_u64_ne()),
                netns: buf.get_u64_ne(),
                reason: buf.get_u32_ne(),
                count: buf.get_u32_ne(),
                isn: Seq(buf.get_u32_ne()),
                label: buf.get_u32_ne(),
            })
        }),
    }
}

fn addr(buf: &mut impl Buf) -> Addr {
    Addr { hi: buf.get_u64_ne(), lo: buf.get_u64_ne() }
}

fn offer(buf: &mut impl Buf) -> Offer {
    Offer {
        window: buf.get_u16_ne(),
        mss: buf.get_u16_ne(),
        options: buf.get_u8(),
        window_scale: buf.get_u8(),
        ttl: buf.get_u8(),
        tries: buf.get_u8(),
    }
}
