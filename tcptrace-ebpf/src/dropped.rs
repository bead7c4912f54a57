//! The hook where the kernel drops a packet and says why: the raw tracepoint `kfree_skb`.
//!
//! It runs for every packet that is dropped, and floods are dropped by the million: a CPU looks at a bounded number a
//! tick and counts the rest ([`Budget`]). It names no field's offset and no reason's number: both change with the
//! kernel, so userspace takes them from the running kernel's BTF.
//!
//! | map | holds | when full |
//! | --- | --- | --- |
//! | `DROPS` | a flow's drops, by its hash | the newer flow takes the place, unless only it is `Origin::Strange` |
//! | `BUDGET` | a CPU's looks in this tick | |
//!
//! An array in which a flow has one place, as with the connects (`sockets`). A SYN of no pending attempt has a second
//! one, by its number, which address translation does not change.
#![expect(unsafe_code, reason = "the kernel's memory is read by address, and map values are raw memory")]

use aya_ebpf::{
    helpers::{bpf_jiffies64, bpf_probe_read_kernel},
    macros::{map, raw_tracepoint},
    maps::{Array, PerCpuArray},
    programs::RawTracePointContext,
};
use tcptrace_core::{
    drops::{self, Budget, FlowDrops, Glimpse, Origin},
    event::Counter,
    flow,
    handshake::Nanos,
    packet::Packet,
    table,
};

use crate::maps::{self, MMAPABLE, config};

#[map]
static DROPS: Array<FlowDrops> = Array::with_max_entries(1, MMAPABLE);
#[map]
static BUDGET: PerCpuArray<Budget> = PerCpuArray::with_max_entries(1, 0);

/// EtherTypes as they lie in memory.
const IPV4: u16 = 0x0800u16.to_be();
const IPV6: u16 = 0x86ddu16.to_be();

/// Arguments: the skb, where in the kernel's code, why (since 5.17); since 6.11 also whose socket.
#[raw_tracepoint(tracepoint = "kfree_skb")]
#[inline(always)]
fn kfree_skb(ctx: RawTracePointContext) -> i32 {
    let reason = ctx.arg::<u64>(2) as u32;
    let [a, b, c, d] = config!(skipped_reasons);
    if reason != a && reason != b && reason != c && reason != d {
        // None: nothing to note.
        let _ = on_drop(ctx.arg(0), reason);
    }
    0
}

#[inline(always)]
fn on_drop(skb: usize, reason: u32) -> Option<()> {
    // SAFETY: a per-CPU value, and the kernel keeps this program from running twice at once on one CPU.
    let budget = unsafe { &mut *BUDGET.get_ptr_mut(0)? };
    // SAFETY: a helper without arguments.
    if !budget.allows_look(unsafe { bpf_jiffies64() }) {
        maps::count(Counter::DropUnnoted);
        return None;
    }
    // A packet that IP has not handled yet has no protocol, or one that is not IP.
    let protocol: u16 = field(skb, config!(offsets.skb_protocol))?;
    if protocol != IPV4 && protocol != IPV6 {
        return None;
    }
    let head: u64 = field(skb, config!(offsets.skb_head))?;
    let network_header: u16 = field(skb, config!(offsets.skb_network_header))?;
    // A header that lies in a fragment and not in the head is not seen: what is there instead is no TCP header, or one
    // of a flow that nobody asks for.
    let it = drops::glimpse(&Memory(head as usize + usize::from(network_header)))?;
    let hash = flow::hash(maps::hash_key(), it.src, it.dst);
    let tag = table::tag(hash);
    let set = maps::set_of(hash)?;
    let is_followed = set.may_have(tag);
    let is_pending = is_followed && set.may_be_pending(tag);
    if !it.matters(is_pending, is_followed) {
        return None;
    }
    let is_ours = is_followed || field::<u32>(skb, config!(offsets.skb_iif))? == 0;
    let origin = if is_ours { Origin::Ours } else { Origin::Strange };
    if !budget.allows(origin) {
        maps::count(Counter::DropUnnoted);
        return None;
    }
    let (netns, wanted) = (netns(skb).unwrap_or(0), config!(drop_netns));
    if wanted != 0 && netns != wanted {
        return None;
    }
    let now = maps::now();
    note(hash, &it, origin, reason, netns, now)?;
    // A SYN of no pending attempt may be one's SYN after translation, even to the ends of another, which has them already.
    if it.is_syn() && !is_pending {
        let (none, isn) = drops::ends_of_isn(it.seq);
        note(flow::hash(maps::hash_key(), none, isn), &it, origin, reason, netns, now)?;
    }
    Some(())
}

/// Notes a packet in the place that a hash gives it.
#[inline(always)]
fn note(hash: u64, glimpse: &Glimpse, origin: Origin, reason: u32, netns: u64, now: Nanos) -> Option<()> {
    let record = DROPS.get_ptr_mut((hash & config!(drop_mask)) as u32)?;
    // SAFETY: a map value, which is never freed.
    let Some(version) = (unsafe { maps::begin(&raw mut (*record).version) }) else {
        maps::count(Counter::DropUnnoted);
        return None;
    };
    // SAFETY: nobody else writes while the version is odd; a reader compares it.
    let record = unsafe { &mut *record };
    if !record.note(glimpse, origin, reason, netns, now) {
        maps::count(Counter::DropUnnoted);
    }
    // SAFETY: begun above.
    unsafe { maps::end(&raw mut record.version, version) };
    Some(())
}

/// The cookie of the network namespace that a packet is in: by its device; by its socket where it has none yet; by its
/// route where TCP has taken the device away (`tcp_v4_rcv`).
#[inline(always)]
fn netns(skb: usize) -> Option<u64> {
    let pointer = |of: u64, at: u32| if of == 0 { Some(0) } else { field::<u64>(of as usize, at) };
    let dev = pointer(skb as u64, config!(offsets.skb_dev))?;
    let mut net = pointer(dev, config!(offsets.dev_net))?;
    if net == 0 {
        net = pointer(pointer(skb as u64, config!(offsets.skb_sk))?, config!(offsets.sock_net))?;
    }
    if net == 0 {
        // The lowest bit says whether it is counted (SKB_DST_NOREF, include/linux/skbuff.h).
        let dst = pointer(skb as u64, config!(offsets.skb_dst))? & !1;
        net = pointer(pointer(dst, config!(offsets.dst_dev))?, config!(offsets.dev_net))?;
    }
    pointer(net, config!(offsets.net_cookie))
}

/// A field of the kernel's memory.
#[inline(always)]
fn field<T>(of: usize, at: u32) -> Option<T> {
    // SAFETY: an address that cannot be read is an error and no fault; `T` is integers.
    unsafe { bpf_probe_read_kernel((of + at as usize) as *const T) }.ok()
}

/// The kernel's memory from an IP header on.
struct Memory(usize);

impl Packet for Memory {
    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        field(self.0 + at, 0)
    }
}
