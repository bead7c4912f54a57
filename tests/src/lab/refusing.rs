//! A cgroup of its own whose program refuses every connect(2) over IPv4.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    process::Command,
};

use super::raw_bpf;

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
    let cgroup = File::open(folder)?;
    raw_bpf::attach(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, cgroup.as_raw_fd() as u32)
}
