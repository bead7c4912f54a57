//! The hooks beside the packets: each connect(2) as its caller makes it, the moment at which TCP is given its SYN, and
//! the way in which it failed.
//!
//! A packet does not say who sent it, and a connect that fails before there is a packet leaves none. `connect_ipv4` and
//! `connect_ipv6` run in the caller; `connect_sent` runs when the 4-tuple is known and the SYN is about to be built;
//! `connect_failed` runs when a socket changes its state, and does something only where SYN-SENT leads to CLOSE;
//! `connect_error` runs when a socket gets an error, and does something only in SYN-SENT.
//! Nothing runs for a packet, and nothing is refused or changed: another program's answer stays. No hook returns the
//! errno of a call cheaply: the tracepoint of the system call's exit makes every system call of the host slower.
//!
//! | map | holds | when full |
//! | --- | --- | --- |
//! | `CONNECTS` | calls, by socket cookie | the newer call takes the place; an older one without a SYN yet is counted |
//! | `FAILURES` | how they failed, by socket cookie | the newer one takes the place |
//! | `SENT` | cookies, by the flow's hash | the newer flow takes the place |
//!
//! All are arrays in which a key has one place. An LRU_HASH would cost ten times as much, and a system call for each
//! entry read. Storage at the socket (BPF_MAP_TYPE_SK_STORAGE) would cost an allocation, and its reader needs the
//! socket.
#![expect(unsafe_code, reason = "contexts and map values are raw memory")]

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock_addr, bpf_sock_ops},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_probe_read_kernel,
        generated::{bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_get_retval, bpf_get_socket_cookie},
    },
    macros::{cgroup_sock_addr, map, raw_tracepoint, sock_ops},
    maps::Array,
    programs::{RawTracePointContext, SockAddrContext, SockOpsContext},
};
use tcptrace_core::{
    connect::{self, Connect, Failure},
    event::Counter,
    flow::{self, Addr, Endpoint},
    handshake::Nanos,
};

use crate::maps::{self, MMAPABLE, config};

#[map]
static CONNECTS: Array<Connect> = Array::with_max_entries(1, MMAPABLE);
/// As many as there are of those.
#[map]
static FAILURES: Array<Failure> = Array::with_max_entries(1, MMAPABLE);
/// As many as there are of those.
#[map]
static SENT: Array<u64> = Array::with_max_entries(1, MMAPABLE);

/// The return value that lets the call proceed. A program that ran before this one and refused has refused.
const ALLOW: i32 = 1;
/// The reply, which the kernel takes for its default while nobody has written one, is not ours to write.
const NO_REPLY: u32 = 1;

/// include/uapi/linux/net.h, in.h, socket.h.
const SOCK_STREAM: u32 = 1;
const IPPROTO_TCP: u32 = 6;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// include/net/tcp_states.h.
const TCP_SYN_SENT: u32 = 2;
const TCP_CLOSE: u32 = 7;

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

#[sock_ops]
#[inline(always)]
fn connect_sent(ctx: SockOpsContext) -> u32 {
    // SAFETY: the context of a running program.
    if unsafe { word(&raw const (*ctx.ops).op) } == BPF_SOCK_OPS_TCP_CONNECT_CB {
        on_sent(&ctx);
    }
    NO_REPLY
}

/// Arguments: the socket, its state, its next state. A failing connect(2) leads it from SYN-SENT to CLOSE whether or not
/// a SYN was sent (`tcp_v4_connect`, `tcp_done`).
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
#[inline(always)]
fn connect_failed(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<u64>(1) as u32 == TCP_SYN_SENT && ctx.arg::<u64>(2) as u32 == TCP_CLOSE {
        // None: a field could not be read, and nothing is noted.
        let _ = on_failure(ctx.arg(0));
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
fn on_error(socket: usize) -> Option<()> {
    let state: u8 = field(socket, config!(socket_offsets.state))?;
    if u32::from(state) != TCP_SYN_SENT {
        return None;
    }
    let errno: i32 = field(socket, config!(socket_offsets.err))?;
    note_failure(socket, if errno != 0 { errno } else { queued_error(socket)? }, 0)
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

#[inline(always)]
fn on_failure(socket: usize) -> Option<()> {
    let errno: i32 = field(socket, config!(socket_offsets.err))?;
    let shutdown: u8 = field(socket, config!(socket_offsets.shutdown))?;
    note_failure(socket, errno, shutdown)
}

#[inline(always)]
fn note_failure(socket: usize, errno: i32, shutdown: u8) -> Option<()> {
    // Zero: nobody asked for it, so no hook saw the call.
    let cookie: u64 = field(socket, config!(socket_offsets.cookie)).filter(|cookie| *cookie != 0)?;
    let port: u16 = field(socket, config!(socket_offsets.port))?;
    let failure = FAILURES.get_ptr_mut(connect::place(cookie, config!(connect_places)))?;
    // SAFETY: a map value, which is never freed.
    let Some(version) = (unsafe { maps::begin(&raw mut (*failure).version) }) else {
        maps::count(Counter::ConnectUnnoted);
        return None;
    };
    // SAFETY: nobody else writes while the version is odd; a reader compares it.
    let failure = unsafe { &mut *failure };
    // An error that the program has taken is what it closes the socket for.
    if failure.cookie != cookie || failure.errno == 0 || errno != 0 {
        failure.cookie = cookie;
        failure.at = maps::now();
        failure.errno = errno;
        failure.port = u16::from_be(port);
        failure.is_closed = shutdown;
    }
    // SAFETY: begun above.
    unsafe { maps::end(&raw mut failure.version, version) };
    Some(())
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
    let [cookie, netns, cgroup] = unsafe {
        [bpf_get_socket_cookie(context.cast()), bpf_get_netns_cookie(context.cast()), bpf_get_current_cgroup_id()]
    };
    let (bound_addr, bound_port) = bound(context);
    let now = maps::now();
    let Some(record) = record_of(cookie) else { return };
    // SAFETY: a map value, which is never freed.
    let Some(version) = (unsafe { maps::begin(&raw mut (*record).version) }) else {
        return maps::count(Counter::ConnectUnnoted);
    };
    // SAFETY: nobody else writes while the version is odd; a reader compares it.
    let record = unsafe { &mut *record };
    if record.is_lost_to(cookie, now) {
        maps::count(Counter::ConnectUnnoted);
    }
    record.cookie = cookie;
    record.called = now;
    record.sent = Nanos(0);
    record.netns = netns;
    record.cgroup = cgroup;
    record.asked_addr = asked_addr;
    record.comm = bpf_get_current_comm().unwrap_or_default();
    record.pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    record.uid = bpf_get_current_uid_gid() as u32;
    record.asked_port = u16::from_be(port as u16);
    (record.client_addr, record.client_port) = (bound_addr, bound_port);
    record.refused = refusal();
    // SAFETY: begun above.
    unsafe { maps::end(&raw mut record.version, version) };
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

#[inline(always)]
fn on_sent(ctx: &SockOpsContext) {
    let it: *mut bpf_sock_ops = ctx.ops;
    // SAFETY: the context of a running program.
    let (client_addr, server_addr) = unsafe {
        match word(&raw const (*it).family) {
            AF_INET => (
                Addr::v4(u32::from_be(word(&raw const (*it).local_ip4))),
                Addr::v4(u32::from_be(word(&raw const (*it).remote_ip4))),
            ),
            AF_INET6 => (ipv6(&raw const (*it).local_ip6), ipv6(&raw const (*it).remote_ip6)),
            _ => return,
        }
    };
    // The one is in host order, the other in network order in the upper half of a word (`sock_ops_convert_ctx_access`).
    // SAFETY: the context of a running program.
    let [client_port, server_port] =
        unsafe { [word(&raw const (*it).local_port) as u16, u32::from_be(word(&raw const (*it).remote_port)) as u16] };
    // SAFETY: a helper with the context that it was made for.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let now = maps::now();
    if let Some(record) = record_of(cookie) {
        // SAFETY: a map value, which is never freed.
        let Some(version) = (unsafe { maps::begin(&raw mut (*record).version) }) else {
            return maps::count(Counter::ConnectUnnoted);
        };
        // SAFETY: nobody else writes while the version is odd.
        let record = unsafe { &mut *record };
        // Another: the call was before the hooks, its place was taken, or there was none (a subflow of MPTCP).
        if record.cookie == cookie {
            record.sent = now;
            (record.client_addr, record.client_port) = (client_addr, client_port);
            (record.server_addr, record.server_port) = (server_addr, server_port);
        }
        // SAFETY: begun above.
        unsafe { maps::end(&raw mut record.version, version) };
    }
    let client = Endpoint { addr: client_addr, port: client_port };
    let server = Endpoint { addr: server_addr, port: server_port };
    let index = flow::hash(maps::hash_key(), client, server) & (config!(connect_places) - 1);
    if let Some(place) = SENT.get_ptr_mut(index as u32) {
        // After the record: a reader that finds the cookie finds the flow. A word is written whole; of two writers one
        // stays.
        // SAFETY: a map value, which is never freed, aligned.
        unsafe { place.write_volatile(cookie) };
    }
}

#[inline(always)]
fn record_of(cookie: u64) -> Option<*mut Connect> {
    CONNECTS.get_ptr_mut(connect::place(cookie, config!(connect_places)))
}

/// A field of the kernel's memory.
#[inline(always)]
fn field<T>(of: usize, at: u32) -> Option<T> {
    // SAFETY: an address that cannot be read is an error and no fault; `T` is integers.
    unsafe { bpf_probe_read_kernel((of + at as usize) as *const T) }.ok()
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
