//! The root of cgroup2: programs that shall run for every process are attached there.
//!
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    },
    path::PathBuf,
};

use tcptrace_vocabulary::facts::Missing;

use crate::limit;

const MOUNTS: &str = "/proc/self/mountinfo";
/// The number of a file system's first directory where kernfs is behind it (`kernfs_create_root`, fs/kernfs/dir.c).
const ROOT: u64 = 1;

/// The root of cgroup2, opened; else what is missing, and why in one line.
pub(super) fn root() -> Result<File, (Missing, String)> {
    let mounts = fs::read_to_string(MOUNTS)
        .map_err(|error| (Missing::Failed, format!("cannot read {MOUNTS}: {}", limit::explained(&error))))?;
    let places = places(&mounts);
    let Some(first) = places.first() else {
        let it = unmounted().map_err(|error| {
            let missing = if limit::remedy(&error).is_some() { Missing::Failed } else { Missing::Kernel };
            (missing, format!("no cgroup2 is mounted, and none can be: {}", limit::explained(&error)))
        })?;
        let is_root = it.metadata().is_ok_and(|it| it.ino() == ROOT);
        let elsewhere = || (Missing::Elsewhere, "no cgroup2 is mounted, and its root is not visible here".to_owned());
        return is_root.then_some(it).ok_or_else(elsewhere);
    };
    let mut reason = format!(
        "{} is not the root of cgroup2: in a container, run it with the host's cgroup namespace (--cgroupns=host)",
        first.display()
    );
    for place in &places {
        match File::open(place).and_then(|it| Ok((it.metadata()?.ino(), it))) {
            // A container's own begins further down: there the processes of others would be taken for foreign ones.
            Ok((ROOT, it)) => return Ok(it),
            Ok(_) => {}
            Err(error) => reason = format!("cannot open {}: {}", place.display(), limit::explained(&error)),
        }
    }
    Err((Missing::Elsewhere, reason))
}

/// The root of cgroup2, mounted nowhere: `ip netns exec` mounts another /sys, in which there is none. Needs
/// CAP_SYS_ADMIN, and changes no table of mounts. <https://man7.org/linux/man-pages/man2/fsmount.2.html>
#[expect(unsafe_code, reason = "no library here has the calls of the new mount interface")]
fn unmounted() -> io::Result<File> {
    // include/uapi/linux/mount.h
    const CLOSE_ON_EXEC: libc::c_long = 1;
    const CREATE: libc::c_long = 6;
    let owned = |fd: libc::c_long| {
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it, for nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    };
    // SAFETY: the name is a string of C; descriptors are alive; unused fields are zero.
    unsafe {
        let filesystem = owned(libc::syscall(libc::SYS_fsopen, c"cgroup2".as_ptr(), CLOSE_ON_EXEC))?;
        if libc::syscall(libc::SYS_fsconfig, filesystem.as_raw_fd(), CREATE, 0, 0, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        let mount = owned(libc::syscall(libc::SYS_fsmount, filesystem.as_raw_fd(), CLOSE_ON_EXEC, 0))?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let root = owned(libc::openat(mount.as_raw_fd(), c".".as_ptr(), flags).into())?;
        Ok(root.into())
    }
}

/// The mount points of cgroup2, by /proc/self/mountinfo: `id parent device root place options [tag]... - kind ...`.
fn places(mounts: &str) -> Vec<PathBuf> {
    let place = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let is_it = after.split(' ').next() == Some("cgroup2");
        is_it.then(|| unescape(before.split(' ').nth(4).unwrap_or_default()))
    };
    mounts.lines().filter_map(place).collect()
}

/// Space, tab, newline and backslash are written in octal (`mangle`, fs/proc_namespace.c).
fn unescape(text: &str) -> PathBuf {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits =
            behind.get(..3).filter(|it| *first == b'\\' && it.iter().all(|digit| matches!(digit, b'0'..=b'7')));
        match digits {
            Some(digits) => {
                octets.push(digits.iter().fold(0u8, |sum, digit| sum.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &behind[3..];
            }
            None => {
                octets.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(octets).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_among_other_mounts() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate\n\
                      32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      77 30 0:27 /../a /mnt/a\\040b\\134 rw - cgroup2 none rw\n\
                      broken line\n\
                      78 30 0:27";
        assert_eq!(places(mounts), [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/mnt/a b\\")]);
    }

    #[test]
    fn nothing_escaped_is_mistaken() {
        for (text, path) in [("\\", "\\"), ("a\\04", "a\\04"), ("\\999", "\\999"), ("\\101", "A"), ("", "")] {
            assert_eq!(unescape(text), PathBuf::from(path));
        }
    }
}
