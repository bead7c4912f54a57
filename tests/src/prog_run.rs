//! Runs a loaded program on a packet, by BPF_PROG_TEST_RUN: the real verifier's code, without a network.
//!
//! aya has no call for it. The attribute's layout is that of include/uapi/linux/bpf.h.
#![expect(unsafe_code, reason = "bpf(2) has no wrapper that runs programs")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use tcptrace_core::handshake::Nanos;

/// `struct { … } test` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

const BPF_PROG_TEST_RUN: i64 = 10;

/// `BPF_F_TEST_XDP_LIVE_FRAMES`: what the program returns is done, with real frames.
const LIVE_FRAMES: u32 = 1 << 1;

/// `struct xdp_md`.
#[repr(C)]
#[derive(Default)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// The start of `struct __sk_buff`, up to the one field that is set here; the kernel reads the rest as zero.
#[repr(C)]
#[derive(Default)]
struct SkBuff {
    before: [u32; 10],
    ifindex: u32,
}

/// What a program did with a packet.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    /// What it returned.
    pub retval: u32,
    /// The mean time of one run, as the kernel measures it.
    pub each: Duration,
    /// Before and after, on the clock that programs read.
    pub between: (Nanos, Nanos),
}

/// Runs a program `repeat` times on one packet, as if it came in at the loopback.
///
/// # Errors
/// Those of bpf(2).
pub fn run(program: BorrowedFd<'_>, packet: &[u8], repeat: u32) -> io::Result<Ran> {
    run_with(program, packet, TestRun { repeat, ..TestRun::default() })
}

/// Runs a TC program once on one packet of an interface of this network namespace.
///
/// # Errors
/// Those of bpf(2); among them ENODEV.
pub fn run_on(program: BorrowedFd<'_>, packet: &[u8], ifindex: u32) -> io::Result<Ran> {
    let context = SkBuff { ifindex, ..SkBuff::default() };
    let (ctx_in, ctx_size_in) = ((&raw const context) as u64, size_of::<SkBuff>() as u32);
    run_with(program, packet, TestRun { repeat: 1, ctx_in, ctx_size_in, ..TestRun::default() })
}

/// Runs an XDP program on `repeat` frames as if they came in by an interface of this network namespace, and does with
/// each what the program says. A frame may start as an earlier one was left: the program writes all that differs.
///
/// # Errors
/// Those of bpf(2).
pub fn run_live(program: BorrowedFd<'_>, frame: &[u8], repeat: u32, ifindex: u32) -> io::Result<()> {
    let context = XdpMd { data_end: frame.len() as u32, ingress_ifindex: ifindex, ..XdpMd::default() };
    let (ctx_in, ctx_size_in) = ((&raw const context) as u64, size_of::<XdpMd>() as u32);
    run_with(program, frame, TestRun { repeat, flags: LIVE_FRAMES, ctx_in, ctx_size_in, ..TestRun::default() })?;
    Ok(())
}

fn run_with(program: BorrowedFd<'_>, packet: &[u8], mut attr: TestRun) -> io::Result<Ran> {
    attr.prog_fd = program.as_raw_fd() as u32;
    attr.data_in = packet.as_ptr() as u64;
    attr.data_size_in = packet.len() as u32;
    let before = now();
    // SAFETY: the attribute, the packet and the context outlive the call, which writes to the attribute only.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut attr, size_of::<TestRun>()) };
    let after = now();
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Ran { retval: attr.retval, each: Duration::from_nanos(attr.duration.into()), between: (before, after) })
}

/// What bpf_ktime_get_ns() returns; `Instant` is the same clock and does not show it.
#[must_use]
pub fn now() -> Nanos {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `now`; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
