//! The hooks: XDP and TC on the way in, TC on the way out, with and without a link header. All pass every packet on.
//!
//! For a segment without SYN, FIN or RST there is one question: is a handshake pending under its flow's hash? If not,
//! the program is done: established traffic reads one line of the directory and no slot.
#![expect(unsafe_code, reason = "contexts are raw memory")]

use aya_ebpf::{
    bindings::{tcx_action_base::TCX_NEXT, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use tcptrace_core::{
    event::Counter,
    flow,
    handshake::Point,
    packet::REACH,
    segment::{self, Flags, Found, Link, Skip},
    table,
    tunnel::{self, Inner, Tunnel},
    with_programs,
};

use crate::{
    attempts,
    frame::{Frame, Hook as _},
    maps,
};

/// Some helpers are open only to programs under a licence that the kernel counts as GPL-compatible.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

macro_rules! entry_points {
    ($($variant:ident $name:ident $hook:tt $decap:literal;)*) => {
        $(entry_point!($name $hook $decap);)*
    };
}

macro_rules! entry_point {
    ($name:ident (xdp frags) $decap:literal) => {
        #[xdp(frags)]
        #[inline(always)]
        fn $name(ctx: XdpContext) -> u32 {
            on_frame::<$decap>(&ctx)
        }
    };
    ($name:ident (xdp) $decap:literal) => {
        #[xdp]
        #[inline(always)]
        fn $name(ctx: XdpContext) -> u32 {
            on_frame::<$decap>(&ctx)
        }
    };
    ($name:ident (tc $link:ident $direction:ident) $decap:literal) => {
        #[classifier]
        #[inline(always)]
        fn $name(ctx: TcContext) -> i32 {
            on_skb::<$decap>(&ctx, Link::$link, Point::$direction)
        }
    };
}

with_programs!(entry_points);

#[inline(always)]
fn on_frame<const DECAP: bool>(ctx: &XdpContext) -> u32 {
    let frame = ctx.frame();
    if !DECAP && is_settled(&frame, Link::Ethernet) {
        return XDP_PASS;
    }
    let inner = enter::<DECAP>(&frame, Link::Ethernet);
    let found = segment::locate(&frame.from(inner.at), inner.link);
    attempts::on_packet(ctx, found, inner, Point::ingress(ctx.ingress_ifindex() as u32));
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
        // The length of a tunnel's headers and of the headers inside it is known only behind them.
        let frame = ctx.frame();
        let head = frame.length();
        if head < HEADERS && head < len {
            let _ = ctx.pull_data(len.min(HEADERS) as u32);
        }
        let frame = ctx.frame();
        let inner = enter::<true>(&frame, link);
        attempts::on_packet(ctx, segment::locate(&frame.from(inner.at), inner.link), inner, point);
        return TCX_NEXT;
    }
    // Headers lie in the skb's head unless a driver or a tunnel left them in a fragment: then they are pulled, once.
    for pulled in [false, true] {
        let frame = ctx.frame();
        let found = segment::locate(&frame, link);
        let head = frame.length();
        let needed = match found {
            Found::Tcp(segment) if segment.flags.any(Flags::SYN) => segment.end(),
            Found::Skipped(Skip::Malformed) => HEADERS,
            Found::Tcp(_) | Found::Error(_) | Found::Skipped(_) => 0,
        };
        if needed > head && len > head && !pulled && ctx.pull_data(len.min(HEADERS) as u32).is_ok() {
            continue;
        }
        attempts::on_packet(ctx, found, Inner { at: 0, link, tunnel: Tunnel(0) }, point);
        break;
    }
    // Not TC_ACT_OK, which would keep the programs behind this one from running. In clsact it reads TC_ACT_UNSPEC.
    TCX_NEXT
}

/// Bytes that hold every header looked at: Ethernet, two tags, IPv6 with its extensions, TCP with its options; and a
/// tunnel around them.
const HEADERS: usize = 384;

/// The start of the packet that is looked at: inside a tunnel, if there is one and `DECAP` is set.
#[inline(always)]
fn enter<const DECAP: bool>(frame: &Frame, link: Link) -> Inner {
    let whole = Inner { at: 0, link, tunnel: Tunnel(0) };
    if !DECAP {
        return whole;
    }
    let inner = match tunnel::inner(frame, link) {
        Some(inner) => inner,
        None => whole,
    };
    // By which of many ways it was found is forgotten.
    let word = |number: usize| maps::forget(number, frame.unknown);
    let link = if word(inner.link as usize) & 1 == Link::Ip as usize { Link::Ip } else { Link::Ethernet };
    Inner { at: word(inner.at) & (REACH - 1), link, tunnel: Tunnel(word(inner.tunnel.0 as usize) as u32) }
}

/// Counts what nearly every packet is, a data segment of no pending handshake; false if this may be something else.
#[inline(always)]
fn is_settled(frame: &Frame, link: Link) -> bool {
    let Some((src, dst)) = segment::glance(frame, link) else { return false };
    let hash = flow::hash(maps::hash_key(), src, dst);
    let is_settled = maps::set_of(hash).is_some_and(|set| !set.may_be_pending(table::tag(hash)));
    if is_settled {
        maps::count(Counter::Established);
    }
    is_settled
}
