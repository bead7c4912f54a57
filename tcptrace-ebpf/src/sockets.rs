//! The hooks beside the packets: each connect(2) as its caller makes it, and how its socket leaves SYN-SENT.
//!
//! A packet does not say who sent it, and a connect that fails before there is a packet leaves none. `connect_ipv4` and
//! `connect_ipv6` run in the caller; `connect_state` runs when a socket changes its state, and does something only where
//! that is SYN-SENT; `connect_error` runs when a socket gets an error, and does something only in SYN-SENT.
//! Nothing runs for a packet, and nothing is refused or changed: another program's answer stays. No hook returns the
//! errno of a call cheaply: the tracepoint of the system call's exit makes every system call of the host slower. Nor is
//! there one that runs only as TCP is given the SYN: programs of sock_ops run for eight other events of a connection.
//! Userspace finds the flow of a call that is in SYN-SENT by its socket.
//!
//! | map | holds | when full |
//! | --- | --- | --- |
//! | `CONNECTS` | calls, by socket cookie | the newer call takes the place; an older one of unknown fate is counted |
//! | `FATES` | how far they came, by socket cookie | the newer one takes the place |
//! | `WAITING` | whether that is unknown, by socket cookie | as `CONNECTS` |
//! | `FLOWS` | cookies, by the flow's hash | the newer flow takes the place |
//!
//! All are arrays in which a key has one place. An LRU_HASH would cost ten times as much, and a system call for each
//! entry read. Storage at the socket (BPF_MAP_TYPE_SK_STORAGE) would cost an allocation, and its reader needs the
//! socket.
#![expect(unsafe_code, reason = "contexts and map values are raw memory")]

use aya_ebpf::{
    bindings::bpf_sock_addr,
    helpers::{
        bpf_get_current_pid_tgid, bpf_probe_read_kernel,
        generated::{bpf_get_current_comm, bpf_get_netns_cookie, bpf_get_retval, bpf_get_socket_cookie},
    },
    macros::{cgroup_sock_addr, map, raw_tracepoint},
    maps::Array,
    programs::{RawTracePointContext, SockAddrContext},
};
use tcptrace_core::{
    connect::{self, Connect, Fate, SocketOffsets},
    event::Counter,
    flow::{self, Addr, Endpoint},
    handshake::Nanos,
};

use crate::maps::{self, MMAPABLE, config};

#[map]
static CONNECTS: Array<Connect> = Array::with_max_entries(1, MMAPABLE);
/// As many as there are of those.
#[map]
static FATES: Array<Fate> = Array::with_max_entries(1, MMAPABLE);
/// A byte for each of those, together few enough to stay in a cache: it says whether the memory of a place has to be
/// waited for.
#[map]
static WAITING: Array<[u8; 8]> = Array::with_max_entries(1, 0);
/// As many as there are of those.
#[map]
static FLOWS: Array<u64> = Array::with_max_entries(1, MMAPABLE);

/// The return value that lets the call proceed. A program that ran before this one and refused has refused.
const ALLOW: i32 = 1;

/// include/uapi/linux/net.h, in.h, socket.h.
const SOCK_STREAM: u32 = 1;
const IPPROTO_TCP: u32 = 6;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// include/net/tcp_states.h.
const TCP_SYN_SENT: u32 = 2;
const TCP_CLOSE: u32 = 7;
/// In place of a cookie: none that a socket has.
const NOBODY: u64 = u64::MAX;

#[cgroup_sock_addr(connect4)]
#[inline(always)]
fn connect_ipv4(ctx: SockAddrContext) -> i32 {
    let it = ctx.sock_addr;
    // SAFETY: the context of a running program.
    let addr = Addr::v4(u32::from_be(unsafe { word(&raw const (*it).user_ip4) }));
    on_connect(it, addr);
    ALLOW
}

/// Also of a call that names an IPv4 address in its mapped form.
#[cgroup_sock_addr(connect6)]
#[inline(always)]
fn connect_ipv6(ctx: SockAddrContext) -> i32 {
    let it = ctx.sock_addr;
    // SAFETY: the context of a running program.
    let addr = unsafe { ipv6(&raw const (*it).user_ip6) };
    on_connect(it, addr);
    ALLOW
}

/// Arguments: the socket, its state, its next state. A failing connect(2) leads it from SYN-SENT to CLOSE whether or not
/// a SYN was sent (`tcp_v4_connect`, `tcp_done`).
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
#[inline(always)]
fn connect_state(ctx: RawTracePointContext) -> i32 {
    let (from, to) = (ctx.arg::<u64>(1) as u32, ctx.arg::<u64>(2) as u32);
    if from == TCP_SYN_SENT || to == TCP_SYN_SENT {
        // None: a field could not be read, and nothing is noted.
        let _ = on_state(ctx.arg(0), from, to);
    }
    0
}

/// Argument: the socket. An ICMP error that comes while connect(2) holds the socket does not end it (`tcp_v4_err`), but
/// poll(2) and SO_ERROR report it, and programs close the socket then, without an error that is left to read.
#[raw_tracepoint(tracepoint = "inet_sk_error_report")]
#[inline(always)]
fn connect_error(ctx: RawTracePointContext) -> i32 {
    // None: a field could not be read, and nothing is noted.
    let _ = on_error(ctx.arg(0));
    0
}

#[inline(always)]
fn on_state(socket: usize, from: u32, to: u32) -> Option<()> {
    if from != TCP_SYN_SENT && field::<u16>(socket, config!(socket_offsets.port))? == 0 {
        return None;
    }
    let mut fate = fate_of(socket)?;
    if from != TCP_SYN_SENT {
        // A call with a port of its own fails for that port, or later: this tells.
        fate.tx_hash = field(socket, config!(socket_offsets.tx_hash))?;
        (fate.at, fate.step) = (maps::now(), Fate::BOUND);
    } else if to == TCP_CLOSE {
        fail(socket, &mut fate)?;
    } else {
        (fate.at, fate.step) = (fate.made, Fate::OPENED);
    }
    note(socket, fate);
    Some(())
}

#[inline(always)]
fn on_error(socket: usize) -> Option<()> {
    let state: u8 = field(socket, config!(socket_offsets.state))?;
    if u32::from(state) != TCP_SYN_SENT {
        return None;
    }
    let errno: i32 = field(socket, config!(socket_offsets.err))?;
    let errno = if errno != 0 { errno } else { queued_error(socket)? };
    note(socket, Fate { at: maps::now(), errno, step: Fate::TROUBLED, ..fate_of(socket)? });
    Some(())
}

/// The errno of the newest error in a socket's queue, if ICMP brought it.
#[inline(always)]
fn queued_error(socket: usize) -> Option<i32> {
    /// In `struct sock_extended_err` (include/uapi/linux/errqueue.h): where it came from.
    const ORIGIN: u32 = 4;
    const BY_ICMP: u8 = 2;
    const BY_ICMPV6: u8 = 3;
    let entry: u64 = field(socket, config!(socket_offsets.newest_error))?;
    let origin: u8 = field(entry as usize, config!(socket_offsets.queued) + ORIGIN)?;
    if origin != BY_ICMP && origin != BY_ICMPV6 {
        return None;
    }
    field(entry as usize, config!(socket_offsets.queued))
}

/// How a call failed.
#[inline(always)]
fn fail(socket: usize, fate: &mut Fate) -> Option<()> {
    let port: u16 = field(socket, config!(socket_offsets.port))?;
    (fate.at, fate.step) = (maps::now(), Fate::FAILED);
    fate.errno = field(socket, config!(socket_offsets.err))?;
    fate.is_closed = field(socket, config!(socket_offsets.shutdown))?;
    // `skc_num` was cleared as the port was given back.
    fate.client_port = u16::from_be(port);
    fate.has_port = u8::from(port != 0);
    let before = FATES.get_ptr_mut(connect::place(fate.cookie, config!(connect_places)))?;
    // SAFETY: a map value, which is never freed. Its words are of this socket, which is locked, or of another.
    let before = unsafe { &*before };
    if before.cookie == fate.cookie && before.step == Fate::BOUND {
        let tx_hash: u32 = field(socket, config!(socket_offsets.tx_hash))?;
        fate.has_port = u8::from(before.tx_hash != tx_hash);
    }
    // An error that the program has taken is what it closes the socket for.
    if before.cookie == fate.cookie && before.step == Fate::TROUBLED && fate.errno == 0 {
        (fate.at, fate.errno) = (before.at, before.errno);
    }
    Some(())
}

/// What the fields of a socket say at every step.
#[inline(always)]
fn fate_of(socket: usize) -> Option<Fate> {
    let head: Head = field(socket, 0)?;
    let made: u64 = field(socket, config!(socket_offsets.mstamp))?;
    let (client_addr, server_addr) = match u32::from(head.at::<u16>(config!(socket_offsets.family))?) {
        AF_INET => (
            Addr::v4(u32::from_be(head.at(config!(socket_offsets.client_v4))?)),
            Addr::v4(u32::from_be(head.at(config!(socket_offsets.server_v4))?)),
        ),
        AF_INET6 => (v6(head.at(config!(socket_offsets.client_v6))?), v6(head.at(config!(socket_offsets.server_v6))?)),
        _ => return None,
    };
    Some(Fate {
        cookie: head.at(config!(socket_offsets.cookie))?,
        // Microseconds; rounded up, since the call is compared with it.
        made: Nanos(if made == 0 { 0 } else { made * 1000 + 999 }),
        client_addr,
        server_addr,
        client_port: head.at(config!(socket_offsets.client_port))?,
        server_port: u16::from_be(head.at(config!(socket_offsets.server_port))?),
        ..Fate::default()
    })
}

/// The start of a socket.
#[repr(C, align(8))]
struct Head([u8; SocketOffsets::HEAD]);

impl Head {
    #[inline(always)]
    fn at<T>(&self, at: u32) -> Option<T> {
        let at = at as usize;
        // SAFETY: within; `T` is integers.
        (at <= SocketOffsets::HEAD - size_of::<T>())
            .then(|| unsafe { self.0.as_ptr().add(at).cast::<T>().read_unaligned() })
    }
}

#[inline(always)]
fn v6(words: [u32; 4]) -> Addr {
    let half = |at: usize| u64::from(u32::from_be(words[at])) << 32 | u64::from(u32::from_be(words[at + 1]));
    Addr { hi: half(0), lo: half(2) }
}

/// Notes how far a call came, and where TCP has made a SYN and is done with it, whose the flow is.
#[inline(always)]
fn note(socket: usize, mut fate: Fate) {
    let is_over = fate.step >= Fate::OPENED;
    let place = connect::place(fate.cookie, config!(connect_places));
    // Not where a later call has the place: its fate would be lost.
    let is_known = CONNECTS.get(place).is_some_and(|call| call.cookie == fate.cookie && call.cookie != 0);
    if is_known {
        fate.sum = connect::sum(words::<{ size_of::<Fate>() / 8 }>((&raw const fate).cast()));
        if let (Some(to), Some(waits)) = (FATES.get_ptr_mut(place), waits(place)) {
            // SAFETY: map values, which are never freed; readers take the record by its sum.
            unsafe {
                to.write(fate);
                waits.write(u8::from(!is_over));
            }
        }
    }
    // A flow of MPTCP has two sockets: the caller is that of its first subflow's.
    let is_tcp =
        || field::<u16>(socket, config!(socket_offsets.protocol)).is_some_and(|it| u32::from(it) == IPPROTO_TCP);
    if !is_over || fate.made.0 == 0 || !is_known && !is_tcp() {
        return;
    }
    let client = Endpoint { addr: fate.client_addr, port: fate.client_port };
    let server = Endpoint { addr: fate.server_addr, port: fate.server_port };
    let index = flow::hash(maps::hash_key(), client, server) & (config!(connect_places) - 1);
    if let Some(place) = FLOWS.get_ptr_mut(index as u32) {
        // A flow of which no call is known is no earlier one's.
        let owner = if is_known { fate.cookie } else { NOBODY };
        // A word is written whole; of two writers one stays.
        // SAFETY: a map value, which is never freed, aligned.
        unsafe { place.write_volatile(owner) };
    }
}

#[inline(always)]
fn on_connect(context: *mut bpf_sock_addr, asked_addr: Addr) {
    // SAFETY: the context of a running program.
    let [kind, protocol, port] = unsafe {
        [word(&raw const (*context).type_), word(&raw const (*context).protocol), word(&raw const (*context).user_port)]
    };
    // MPTCP's own sockets are passed over: the SYN is their first subflow's, which is a TCP socket with a cookie of its
    // own.
    if kind != SOCK_STREAM || protocol != IPPROTO_TCP {
        return;
    }
    // SAFETY: helpers with the context that they were made for.
    let [cookie, netns] = unsafe { [bpf_get_socket_cookie(context.cast()), bpf_get_netns_cookie(context.cast())] };
    let (bound_addr, bound_port) = bound(context);
    let called = maps::now();
    let mut record = Connect {
        sum: 0,
        cookie,
        called,
        netns,
        asked_addr,
        bound_addr,
        comm: comm(),
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        asked_port: u16::from_be(port as u16),
        bound_port,
        refused: refusal(),
        pad: [0; 6],
    };
    record.sum = connect::sum(words::<{ size_of::<Connect>() / 8 }>((&raw const record).cast()));
    let place = connect::place(cookie, config!(connect_places));
    let (Some(waits), Some(to)) = (waits(place), CONNECTS.get_ptr_mut(place)) else { return };
    // SAFETY: map values, which are never freed; readers take the record by its sum.
    unsafe {
        if waits.read() != 0 && (*to).is_lost_to(cookie, called) {
            maps::count(Counter::ConnectUnnoted);
        }
        waits.write(1);
        to.write(record);
    }
}

/// The name of the task that runs.
#[inline(always)]
fn comm() -> [u64; 2] {
    let mut comm = [0u64; 2];
    // SAFETY: as long as that. It cannot fail for a task.
    unsafe { bpf_get_current_comm((&raw mut comm).cast(), size_of_val(&comm) as u32) };
    comm
}

/// Whether the fate of the call at a place is unknown.
#[inline(always)]
fn waits(place: u32) -> Option<*mut u8> {
    let eight = WAITING.get_ptr_mut(place / 8)?;
    // SAFETY: within the eight.
    Some(unsafe { eight.cast::<u8>().add((place % 8) as usize) })
}

/// The address and port that bind(2) chose for the socket of a call, zero where it did not.
#[inline(always)]
fn bound(context: *mut bpf_sock_addr) -> (Addr, u16) {
    // SAFETY: the context of a running program, and its socket, which is never null.
    unsafe {
        let socket = (&raw const (*context).__bindgen_anon_1.sk).read_volatile();
        let addr = match word(&raw const (*socket).family) {
            AF_INET => match word(&raw const (*socket).src_ip4) {
                0 => Addr { hi: 0, lo: 0 },
                addr => Addr::v4(u32::from_be(addr)),
            },
            _ => ipv6(&raw const (*socket).src_ip6),
        };
        (addr, word(&raw const (*socket).src_port) as u16)
    }
}

/// The errno with which a program that ran before this one refused the call. Those of cgroups further down run first
/// (`compute_effective_progs`, kernel/bpf/cgroup.c).
#[inline(always)]
fn refusal() -> u16 {
    if config!(reads_refusals) == 0 {
        return 0;
    }
    // SAFETY: a helper without arguments.
    match unsafe { bpf_get_retval() } {
        errno @ -4095..0 => -errno as u16,
        _ => 0,
    }
}

/// A field of the kernel's memory.
#[inline(always)]
fn field<T>(of: usize, at: u32) -> Option<T> {
    // SAFETY: an address that cannot be read is an error and no fault; `T` is integers.
    unsafe { bpf_probe_read_kernel((of + at as usize) as *const T) }.ok()
}

/// The words of a record but the first.
#[inline(always)]
fn words<const WORDS: usize>(record: *const u64) -> impl Iterator<Item = u64> {
    // SAFETY: as long as the record is that, which is integers without a gap.
    (1..WORDS).map(move |at| unsafe { record.add(at).read() })
}

/// A field of a context, read as wide as the kernel's conversion wants it: the compiler would join or narrow plain
/// reads.
#[inline(always)]
unsafe fn word(field: *const u32) -> u32 {
    // SAFETY: the caller's.
    unsafe { field.read_volatile() }
}

#[inline(always)]
unsafe fn ipv6(field: *const [u32; 4]) -> Addr {
    let field: *const u32 = field.cast();
    // SAFETY: the caller's, for each of four words.
    let half = |at| unsafe {
        u64::from(u32::from_be(word(field.add(at)))) << 32 | u64::from(u32::from_be(word(field.add(at + 1))))
    };
    Addr { hi: half(0), lo: half(2) }
}
