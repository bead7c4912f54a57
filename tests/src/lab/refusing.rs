//! A cgroup of its own whose program refuses every connect(2) over IPv4: two instructions, by bpf(2) itself.
//!
//! The attributes' layouts are those of include/uapi/linux/bpf.h.
#![expect(unsafe_code, reason = "no library attaches a program that is not in an object file")]

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::PathBuf,
    process::Command,
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
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

const BPF_PROG_LOAD: i64 = 5;
const BPF_LINK_CREATE: i64 = 28;
const BPF_PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
const BPF_CGROUP_INET4_CONNECT: u32 = 10;

/// The cgroup, with its program. Dropping it takes both away.
#[derive(Debug)]
pub struct Refusing {
    folder: PathBuf,
    _link: OwnedFd,
}

impl Refusing {
    /// Makes a cgroup below the root of cgroup2, by a name that no other has.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("a list of mounts");
        let root = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
        let folder = PathBuf::from(root.expect("cgroup2 is mounted")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a cgroup can be made");
        let link = attach(&folder).expect("a program can be attached to it");
        Self { folder, _link: link }
    }

    /// Takes a process in.
    #[track_caller]
    pub fn take(&self, pid: i32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("a process can be moved");
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        // A process that is just ending keeps it for a moment; rmdir(1) says more than remove_dir.
        let _ = Command::new("rmdir").arg(&self.folder).status();
    }
}

fn attach(folder: &PathBuf) -> io::Result<OwnedFd> {
    // r0 = 0; exit
    let insns: [u64; 2] = [0xb7, 0x95];
    let license = c"GPL";
    let program = bpf(
        BPF_PROG_LOAD,
        &Load {
            prog_type: BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
            insn_cnt: insns.len() as u32,
            insns: insns.as_ptr() as u64,
            license: license.as_ptr() as u64,
            expected_attach_type: BPF_CGROUP_INET4_CONNECT,
            ..Load::default()
        },
    )?;
    let cgroup = File::open(folder)?;
    let [prog_fd, target_fd] = [program.as_raw_fd() as u32, cgroup.as_raw_fd() as u32];
    let attach_type = BPF_CGROUP_INET4_CONNECT;
    bpf(BPF_LINK_CREATE, &LinkCreate { prog_fd, target_fd, attach_type, flags: 0 })
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
