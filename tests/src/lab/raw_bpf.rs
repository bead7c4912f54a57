//! Programs of somebody else: two instructions that return zero, loaded and attached by bpf(2) itself.
//!
//! The attributes' layouts are those of include/uapi/linux/bpf.h.
#![expect(unsafe_code, reason = "no library attaches a program that is not in an object file")]

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log: [u64; 2],
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

const BPF_PROG_LOAD: i64 = 5;
const BPF_LINK_CREATE: i64 = 28;

/// Attaches such a program to a target, an interface's index or a cgroup's descriptor; it stays until the link is
/// dropped.
///
/// # Errors
/// Those of bpf(2).
pub(super) fn attach(prog_type: u32, attach_type: u32, target: u32) -> io::Result<OwnedFd> {
    // r0 = 0; exit
    let insns: [u64; 2] = [0xb7, 0x95];
    let mut load = Load {
        prog_type,
        insn_cnt: insns.len() as u32,
        insns: insns.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type: attach_type,
        ..Load::default()
    };
    load.prog_name[..9].copy_from_slice(b"ends_here");
    let program = bpf(BPF_PROG_LOAD, &load)?;
    let prog_fd = program.as_raw_fd() as u32;
    bpf(BPF_LINK_CREATE, &LinkCreate { prog_fd, target, attach_type, ..LinkCreate::default() })
}

fn bpf<T>(command: i64, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attribute and what it points to outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
