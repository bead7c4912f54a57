//! A tcx program of somebody else, which ends the chain.

use std::{io, os::fd::OwnedFd};

use super::raw_bpf;

/// Which way a program stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    Ingress = 46,
    Egress = 47,
}

const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;

/// Attaches a program that passes every packet and ends the chain (TCX_PASS); it stays until the link is dropped.
///
/// # Errors
/// Those of bpf(2).
pub fn attach(ifindex: u32, direction: Direction) -> io::Result<OwnedFd> {
    raw_bpf::attach(BPF_PROG_TYPE_SCHED_CLS, direction as u32, ifindex)
}
