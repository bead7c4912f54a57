//! Runs a loaded program on a packet, by BPF_PROG_TEST_RUN: the real verifier's code, without a network.
//!
//! aya has no call for it. The attribute's layout is that of include/uapi/linux/bpf.h.
#![expect(unsafe_code, reason = "bpf(2) has no wrapper that runs programs")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

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

/// What a program did with a packet.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    /// What it returned.
    pub retval: u32,
    /// The mean time of one run, as the kernel measures it.
    pub each: Duration,
}

/// Runs a program `repeat` times on one packet.
///
/// # Errors
/// Those of bpf(2).
pub fn run(program: BorrowedFd<'_>, packet: &[u8], repeat: u32) -> io::Result<Ran> {
    let mut attr = TestRun {
        prog_fd: program.as_raw_fd() as u32,
        data_in: packet.as_ptr() as u64,
        data_size_in: packet.len() as u32,
        repeat,
        ..TestRun::default()
    };
    // SAFETY: the attribute and the packet outlive the call, which writes to the attribute only.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut attr, size_of::<TestRun>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Ran { retval: attr.retval, each: Duration::from_nanos(attr.duration.into()) })
}
