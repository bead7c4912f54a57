//! Runs a program in which the system call that reads one element of a BPF map fails with EPERM, as under a sandbox.
//!
//! A filter of system calls (seccomp(2)), which stays over execve(2). It is no security: it stands for one.
#![expect(unsafe_code, reason = "neither std nor nix has seccomp(2)")]

use std::{env, os::unix::process::CommandExt as _, process::Command};

const BPF_MAP_LOOKUP_ELEM: u32 = 1;
/// Offsets in `struct seccomp_data` (include/uapi/linux/seccomp.h); of an argument its lower half.
const NUMBER: u32 = 0;
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

fn main() {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equals = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        instruction(load, 0, 0, NUMBER),
        instruction(equals, 0, 3, libc::SYS_bpf as u32),
        instruction(load, 0, 0, FIRST_ARGUMENT),
        instruction(equals, 0, 1, BPF_MAP_LOOKUP_ELEM),
        instruction(give, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        instruction(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and what it points to live through the call, which copies both.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(result, 0, "{}: it takes CAP_SYS_ADMIN", std::io::Error::last_os_error());
    let mut words = env::args_os().skip(1);
    let program = words.next().expect("PROGRAM [ARGUMENT…]");
    let error = Command::new(&program).args(words).exec();
    panic!("cannot run '{}': {error}", program.display());
}
