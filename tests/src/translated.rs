//! A loaded program's instructions as the verifier left them: what the JIT compiler gets.
//!
//! aya tells how many there are and has no call that copies them. Layouts are those of include/uapi/linux/bpf.h.
#![expect(unsafe_code, reason = "bpf(2) has no wrapper that copies a program's instructions")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Instruction {
    pub code: u8,
    registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

impl Instruction {
    /// The number of the register that is written.
    #[must_use]
    pub const fn to(self) -> usize {
        (self.registers & 15) as usize
    }

    /// The number of the register that is read; of a constant, its kind.
    #[must_use]
    pub const fn from(self) -> usize {
        (self.registers >> 4) as usize
    }
}

/// `struct { … } info` of `union bpf_attr`.
#[repr(C)]
struct Attribute {
    prog_fd: u32,
    info_len: u32,
    info: u64,
}

/// The start of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    before: [u32; 4],
    jited_len: u32,
    translated_len: u32,
    jited: u64,
    translated: u64,
}

const BPF_OBJ_GET_INFO_BY_FD: i64 = 15;

/// Copies a program's instructions. Maps in it are given by their ids.
///
/// # Errors
/// Those of bpf(2).
pub fn instructions(program: BorrowedFd<'_>) -> io::Result<Vec<Instruction>> {
    let length = ask(program, &mut [])?;
    let mut code = vec![Instruction::default(); length];
    ask(program, &mut code)?;
    Ok(code)
}

/// Fills `code`; how many instructions there are in all.
fn ask(program: BorrowedFd<'_>, code: &mut [Instruction]) -> io::Result<usize> {
    let (translated, translated_len) = (code.as_mut_ptr() as u64, size_of_val(code) as u32);
    let mut info = Info { translated, translated_len, ..Info::default() };
    let info_len = size_of::<Info>() as u32;
    let mut attribute = Attribute { prog_fd: program.as_raw_fd() as u32, info_len, info: (&raw mut info) as u64 };
    let length = size_of::<Attribute>();
    // SAFETY: attribute, info and code outlive the call, which writes no more to each than its length says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut attribute, length) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(info.translated_len as usize / size_of::<Instruction>())
}
