//! The hooks: XDP and TC on the way in, TC on the way out, with and without a link header. All pass every packet on.
//!
//! A segment without SYN, FIN or RST is asked one question, whether a handshake is pending under its flow's hash, and
//! with a no it is done: established traffic reads one line of the directory and no slot.
#![expect(unsafe_code, reason = "packets are raw memory")]

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext,
    bindings::{tcx_action_base::TCX_NEXT, xdp_action::XDP_PASS},
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use aya_log_ebpf::debug;
use tcptrace_core::{
    event::Counter,
    flood::Opening,
    flow,
    handshake::{Handshake, Nanos, Point, State, Transition},
    packet::{Packet, REACH},
    pressure::Standing,
    segment::{self, Flags, Found, IcmpError, Kind, Link, Located, Options, Segment, Skip},
    seq::Seq,
    table::{self, PENDING, WAYS},
    tunnel::{self, Inner, Tunnel},
};

use crate::maps::{self, Cause, Held, Octets};

/// Some helpers are open only to programs under a licence that the kernel counts as GPL-compatible.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[xdp(frags)]
#[inline(always)]
fn xdp_ingress_frags(ctx: XdpContext) -> u32 {
    on_frame::<false>(&ctx)
}

#[xdp(frags)]
#[inline(always)]
fn xdp_ingress_decap(ctx: XdpContext) -> u32 {
    on_frame::<true>(&ctx)
}

/// For kernels before 5.18, which know no frames of several buffers.
#[xdp]
#[inline(always)]
fn xdp_ingress(ctx: XdpContext) -> u32 {
    on_frame::<false>(&ctx)
}

#[classifier]
#[inline(always)]
fn tc_ingress(ctx: TcContext) -> i32 {
    on_skb::<false>(&ctx, Link::Ethernet, Point::ingress)
}

#[classifier]
#[inline(always)]
fn tc_ingress_decap(ctx: TcContext) -> i32 {
    on_skb::<true>(&ctx, Link::Ethernet, Point::ingress)
}

#[classifier]
#[inline(always)]
fn tc_egress(ctx: TcContext) -> i32 {
    on_skb::<false>(&ctx, Link::Ethernet, Point::egress)
}

#[classifier]
#[inline(always)]
fn tc_egress_decap(ctx: TcContext) -> i32 {
    on_skb::<true>(&ctx, Link::Ethernet, Point::egress)
}

#[classifier]
#[inline(always)]
fn tc_ingress_ip(ctx: TcContext) -> i32 {
    on_skb::<false>(&ctx, Link::Ip, Point::ingress)
}

#[classifier]
#[inline(always)]
fn tc_ingress_ip_decap(ctx: TcContext) -> i32 {
    on_skb::<true>(&ctx, Link::Ip, Point::ingress)
}

#[classifier]
#[inline(always)]
fn tc_egress_ip(ctx: TcContext) -> i32 {
    on_skb::<false>(&ctx, Link::Ip, Point::egress)
}

#[classifier]
#[inline(always)]
fn tc_egress_ip_decap(ctx: TcContext) -> i32 {
    on_skb::<true>(&ctx, Link::Ip, Point::egress)
}

#[inline(always)]
fn on_frame<const DECAP: bool>(ctx: &XdpContext) -> u32 {
    let frame = ctx.frame();
    if !DECAP && is_settled(&frame, Link::Ethernet) {
        return XDP_PASS;
    }
    let inner = enter::<DECAP>(&frame, Link::Ethernet);
    let found = segment::locate(&frame.from(inner.at), inner.link);
    observe(ctx, found, inner, Point::ingress(ctx.ingress_ifindex() as u32));
    XDP_PASS
}

#[inline(always)]
fn on_skb<const DECAP: bool>(ctx: &TcContext, link: Link, point: fn(u32) -> Point) -> i32 {
    if !DECAP && is_settled(&ctx.frame(), link) {
        return TCX_NEXT;
    }
    let len = ctx.len() as usize;
    // SAFETY: the context of a running program.
    let point = point(unsafe { (*ctx.skb.skb).ifindex });
    if DECAP {
        // How far the headers of a tunnel and of what is in it go is known only behind them.
        let frame = ctx.frame();
        let head = frame.end - frame.data;
        if head < HEADERS && head < len {
            let _ = ctx.pull_data(len.min(HEADERS) as u32);
        }
        let frame = ctx.frame();
        let inner = enter::<true>(&frame, link);
        observe(ctx, segment::locate(&frame.from(inner.at), inner.link), inner, point);
        return TCX_NEXT;
    }
    // Headers lie in the skb's head unless a driver or a tunnel left them in a fragment: then they are pulled, once.
    for pulled in [false, true] {
        let frame = ctx.frame();
        let found = segment::locate(&frame, link);
        let head = frame.end - frame.data;
        let needed = match found {
            Found::Tcp(it) if it.flags.any(Flags::SYN) => it.end(),
            Found::Skipped(Skip::Malformed) => HEADERS,
            Found::Tcp(_) | Found::Error(_) | Found::Skipped(_) => 0,
        };
        if needed > head && len > head && !pulled && ctx.pull_data(len.min(HEADERS) as u32).is_ok() {
            continue;
        }
        observe(ctx, found, Inner { at: 0, link, tunnel: Tunnel(0) }, point);
        break;
    }
    // Not TC_ACT_OK, which would keep the programs behind this one from running. In clsact it reads TC_ACT_UNSPEC.
    TCX_NEXT
}

/// Octets that hold every header looked at: Ethernet, two tags, IPv6 with its extensions, TCP with its options; and a
/// tunnel around them.
const HEADERS: usize = 384;

/// Where the packet begins that is looked at: in a tunnel, if there is one and it is asked for.
#[inline(always)]
fn enter<const DECAP: bool>(frame: &Frame, link: Link) -> Inner {
    let whole = Inner { at: 0, link, tunnel: Tunnel(0) };
    if !DECAP {
        return whole;
    }
    let it = match tunnel::inner(frame, link) {
        Some(it) => it,
        None => whole,
    };
    // By which of many ways it was found is forgotten.
    let word = |it: usize| maps::forget(it, frame.unknown);
    let link = if word(it.link as usize) & 1 == Link::Ip as usize { Link::Ip } else { Link::Ethernet };
    Inner { at: word(it.at) & (REACH - 1), link, tunnel: Tunnel(word(it.tunnel.0 as usize) as u32) }
}

/// The octets of an XDP frame, or of an skb's head.
struct Frame {
    data: usize,
    end: usize,
    /// Any number that the verifier cannot foresee.
    unknown: usize,
    /// From where offsets are counted.
    begin: usize,
}

impl Frame {
    /// The same, from a later octet on.
    #[inline(always)]
    fn from(&self, begin: usize) -> Self {
        Self { begin, ..*self }
    }
}

/// A program's context, by which it finds its packet.
trait Hook: EbpfContext + Octets {
    /// The packet as it is now. Each call reads the pointers anew, which is the point: of a pointer just read the
    /// verifier does not remember how far it was checked before, and so not on which of many ways.
    fn frame(&self) -> Frame;
}

impl Hook for XdpContext {
    #[inline(always)]
    fn frame(&self) -> Frame {
        // SAFETY: the context of a running program.
        let [data, end] =
            unsafe { [read_anew(&raw const (*self.ctx).data), read_anew(&raw const (*self.ctx).data_end)] };
        Frame { data, end, unknown: self.rx_queue_index() as usize, begin: 0 }
    }
}

impl Hook for TcContext {
    #[inline(always)]
    fn frame(&self) -> Frame {
        let skb = self.skb.skb;
        // SAFETY: the context of a running program.
        let [data, end, unknown] = unsafe {
            [
                read_anew(&raw const (*skb).data),
                read_anew(&raw const (*skb).data_end),
                // Of a length read before it may have been compared with something.
                read_anew(&raw const (*skb).len),
            ]
        };
        Frame { data, end, unknown, begin: 0 }
    }
}

impl Octets for XdpContext {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context of a running program.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool {
        // SAFETY: the caller's.
        (unsafe { bpf_xdp_load_bytes(self.ctx, 0, to.cast(), length) }) == 0
    }
}

impl Octets for TcContext {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, length: u32) -> bool {
        // SAFETY: the caller's.
        (unsafe { bpf_skb_load_bytes(self.skb.skb.cast(), 0, to.cast(), length) }) == 0
    }
}

/// A field of a context, not taken from an earlier read by the compiler.
#[inline(always)]
unsafe fn read_anew(pointer: *const u32) -> usize {
    // SAFETY: the caller's.
    unsafe { pointer.read_volatile() as usize }
}

impl Packet for Frame {
    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        // The verifier wants to see that the offset is small before it is added to a packet pointer.
        if at >= 2 * REACH {
            return None;
        }
        let mut start = self.data + self.begin + at;
        // Opaque to the compiler, which would otherwise leave out a check that an earlier one implies: the verifier
        // knows only what was checked on the very register that is read through.
        // SAFETY: a register is moved to itself; an empty template would put two source lines on one instruction, which
        // the kernel refuses.
        unsafe { asm!("{0} = {0}", inout(reg) start, options(pure, nomem, nostack, preserves_flags)) };
        if start + N > self.end {
            return None;
        }
        // SAFETY: checked against the end of the packet on the line before.
        Some(unsafe { read(start as *const u8) })
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        maps::forget(offset, self.unknown) & (REACH - 1)
    }
}

/// Reads `N` octets in words: the compiler, which may not assume alignment, would read them one by one, and the
/// kernel's machines do not mind.
#[inline(always)]
unsafe fn read<const N: usize>(from: *const u8) -> [u8; N] {
    let mut octets = MaybeUninit::<[u8; N]>::uninit();
    let to = octets.as_mut_ptr().cast::<u8>();
    let mut at = 0;
    // SAFETY: the caller's, for `N` octets; the steps below write each of them once.
    unsafe {
        while at + 8 <= N {
            to.add(at).cast::<u64>().write_unaligned(from.add(at).cast::<u64>().read());
            at += 8;
        }
        if at + 4 <= N {
            to.add(at).cast::<u32>().write_unaligned(from.add(at).cast::<u32>().read());
            at += 4;
        }
        if at + 2 <= N {
            to.add(at).cast::<u16>().write_unaligned(from.add(at).cast::<u16>().read());
            at += 2;
        }
        if at < N {
            to.add(at).write(from.add(at).read());
        }
        octets.assume_init()
    }
}

/// Counts what nearly every packet is, a data segment of no pending handshake; false if this may be something else.
#[inline(always)]
fn is_settled(frame: &Frame, link: Link) -> bool {
    let Some((src, dst)) = segment::glance(frame, link) else { return false };
    let hash = flow::hash(maps::hash_key(), src, dst);
    let is_settled = maps::set_of(hash).is_some_and(|it| !it.may_be_pending(table::tag(hash)));
    if is_settled {
        maps::count(Counter::Established);
    }
    is_settled
}

#[inline(always)]
fn observe<C: Hook>(ctx: &C, found: Found, inner: Inner, point: Point) {
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
    let tag = table::tag(hash);
    let Some(set) = maps::set_of(hash) else { return };
    if !located.flags.any(Flags::SYN | Flags::FIN | Flags::RST) && !set.may_be_pending(tag) {
        return maps::count(Counter::Established);
    }
    maps::count(Counter::Control);
    let opens = matches!(located.flags.kind(), Kind::Syn | Kind::SynAck);
    if !opens && !set.may_have(tag) {
        return maps::count_unmatched(located.flags.kind());
    }
    let frame = ctx.frame().from(inner.at);
    let located = located.blurred(|it| maps::forget(it as usize, frame.unknown) as u64);
    if opens {
        if !maps::wants(&located) {
            maps::stand(Standing::UNWANTED);
        } else if located.flags.kind() == Kind::SynAck && set.may_have(tag) {
            maps::stand(Standing::NOWHERE);
        } else if !maps::lets_in(&opening(&located, hash, point)) {
            maps::count(Counter::PassedOver);
            // A retry of an attempt that is followed is followed.
            if !set.may_be_pending(tag) {
                return;
            }
            maps::stand(Standing::KEPT_OUT);
        }
    }
    let segment = blur_read(Segment::read(&frame, &located), frame.unknown);
    let sight = Sight { now: maps::now(), point, tunnel: inner.tunnel };
    let Some(mut held) = set.lock() else { return };
    let kept_out = opens && maps::standing() == Standing::KEPT_OUT;
    match held.find(tag, segment.src, segment.dst) {
        Some(way) if kept_out && held.handshake(way).is_none_or(|it| it.isn != segment.seq) => {}
        None if kept_out => {}
        Some(way) => step(ctx, &mut held, maps::forget(way, frame.unknown) & (WAYS - 1), tag, &segment, &sight),
        None if opens && maps::standing() == Standing::UNWANTED => maps::count(Counter::FilteredOut),
        None if segment.flags.kind() == Kind::Syn => {
            let way = held.make_room(sight.now);
            if let Some(replaced) = held.handshake(way) {
                maps::tell_replaced(replaced, sight.now);
            }
            open(ctx, &mut held, way, tag, &segment, &sight);
        }
        None => {
            maps::count_unmatched(segment.flags.kind());
            if segment.flags.kind() == Kind::SynAck {
                open_unasked(ctx, &mut held, tag, &segment, &sight);
            }
        }
    }
    held.release();
}

/// What its listener's account takes note of.
#[inline(always)]
fn opening(it: &Located, hash: u64, point: Point) -> Opening {
    let answers = it.flags.any(Flags::ACK);
    let (owner, client) = if answers { (it.src, it.dst.addr) } else { (it.dst, it.src.addr) };
    let isn = if answers { it.ack().add(u32::MAX) } else { it.seq() };
    let draw = (hash >> 24 ^ u64::from(isn.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Opening { owner, client, point, answers, draw: draw as u32 }
}

/// What there is to know of a segment beside what it says.
struct Sight {
    now: Nanos,
    point: Point,
    tunnel: Tunnel,
}

/// Applies a segment to the attempt of its flow.
#[inline(always)]
fn step<C: Hook>(ctx: &C, held: &mut Held, way: usize, tag: u16, it: &Segment, sight: &Sight) {
    let Some(slot) = held.slot(way) else { return };
    let handshake = &mut slot.handshake;
    let Some(side) = handshake.side(it.src, it.dst) else { return };
    let Sight { now, point, .. } = *sight;
    let transition = handshake.step(side, it, now, point);
    let completed = transition == Transition::Completed || handshake.state() == State::Free;
    let is_over = matches!(transition, Transition::Refused | Transition::Aborted | Transition::ResetOnAnswer);
    if completed || is_over {
        maps::settle(slot.standing, completed);
    }
    maps::tell(transition, handshake, &Cause::of(it), now, point);
    maps::keep(ctx, transition, handshake, now, point);
    // Half of the address: with all of it the stacks of log and program come to more than Linux 6.1 allows.
    let Handshake { server_addr, server_port, .. } = *handshake;
    debug!(ctx, "{:x} port {}: transition {}", server_addr.lo, server_port, transition as u8);
    if transition == Transition::Superseded && maps::standing() == Standing::UNWANTED {
        // It is over, and the filter does not want the next.
        handshake.state = State::Free as u8;
    }
    let lane = match handshake.state() {
        State::Free => 0,
        it if it.is_pending() && !handshake.is_dead(now) => tag | PENDING,
        _ => tag,
    };
    held.set().set_lane(way, lane);
    if transition == Transition::Superseded && maps::standing() != Standing::UNWANTED {
        open(ctx, held, way, tag, it, sight);
    }
}

/// Fills a way with the attempt that a SYN opens.
#[inline(always)]
fn open<C: Hook>(ctx: &C, held: &mut Held, way: usize, tag: u16, syn: &Segment, sight: &Sight) {
    let Some(slot) = held.slot(way) else { return };
    let Sight { now, point, tunnel } = *sight;
    slot.standing = maps::standing();
    maps::note_opening(slot.standing);
    let handshake = &mut slot.handshake;
    *handshake = Handshake::open(syn, now, point);
    maps::tell(Transition::Opened, handshake, &Cause::of(syn), now, point);
    maps::keep(ctx, Transition::Opened, handshake, now, point);
    note_tunnel(ctx, held, way, tunnel);
    held.set().set_lane(way, tag | PENDING);
    held.set().renew(way);
}

/// Fills a way with a SYN/ACK that has no attempt, where that costs no pending attempt its slot: whoever reflects SYN/ACKs
/// here must not push out what is waited for.
#[inline(always)]
fn open_unasked<C: Hook>(ctx: &C, held: &mut Held, tag: u16, answer: &Segment, sight: &Sight) {
    let Some(way) = held.spare_room() else { return };
    let Some(slot) = held.slot(way) else { return };
    let handshake = &mut slot.handshake;
    maps::tell_replaced(handshake, sight.now);
    *handshake = Handshake::unasked(answer, sight.now, sight.point);
    slot.standing = maps::standing();
    maps::note_opening(slot.standing);
    note_tunnel(ctx, held, way, sight.tunnel);
    held.set().set_lane(way, tag | PENDING);
    held.set().age(way);
}

/// Notes what an attempt came by, where that is looked for at all.
#[inline(always)]
fn note_tunnel<C: Hook>(ctx: &C, held: &mut Held, way: usize, tunnel: Tunnel) {
    if maps::looks_into_tunnels() {
        held.set_outer(way, tunnel.outer(&ctx.frame()));
    }
}

/// The same, of which the verifier has forgotten by which of many ways through the options it was read: what follows is
/// then checked once and not once for each.
#[inline(always)]
fn blur_read(it: Segment, unknown: usize) -> Segment {
    let word = |it: u64| maps::forget(it as usize, unknown) as u64;
    Segment {
        payload: word(it.payload.into()) as u16,
        options: Options {
            present: word(it.options.present.into()) as u8,
            mss: word(it.options.mss.into()) as u16,
            window_scale: word(it.options.window_scale.into()) as u8,
        },
        ..it
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
    let Some(mut held) = set.lock() else { return };
    match held.find(tag, error.src, error.dst) {
        Some(way) => step_icmp(ctx, &mut held, way, error, now, point),
        None => maps::count(Counter::IcmpUnmatched),
    }
    held.release();
}

#[inline(always)]
fn step_icmp<C: Hook>(ctx: &C, held: &mut Held, way: usize, error: &IcmpError, now: Nanos, point: Point) {
    let Some(handshake) = held.handshake(way) else { return };
    let Some(side) = handshake.side(error.src, error.dst) else { return };
    let transition = handshake.icmp(side, error, now);
    debug!(ctx, "ICMP {}/{}: transition {}", error.icmp.kind, error.icmp.code, transition as u8);
    let cause = Cause { from: error.from, seq: error.seq, ack: Seq(0), window: 0, flags: 0, ttl: 0 };
    maps::tell(transition, handshake, &cause, now, point);
    maps::keep(ctx, transition, handshake, now, point);
}

impl Cause {
    #[inline(always)]
    fn of(it: &Segment) -> Self {
        Self { from: it.src.addr, seq: it.seq, ack: it.ack, window: it.window, flags: it.flags.0, ttl: it.ttl }
    }
}
