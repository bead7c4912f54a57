//! Where cgroup2 begins: its root, to which programs are attached that shall run for every process.
//!
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::PathBuf,
};

use crate::diagnose::Missing;

const MOUNTS: &str = "/proc/self/mountinfo";
/// The number of a file system's first directory where kernfs is behind it (`kernfs_create_root`, fs/kernfs/dir.c).
const ROOT: u64 = 1;

/// The root of cgroup2, opened; else what is missing, and why in one line.
pub(super) fn root() -> Result<File, (Missing, String)> {
    let mounts =
        fs::read_to_string(MOUNTS).map_err(|error| (Missing::Failed, format!("cannot read {MOUNTS}: {error}")))?;
    let places = places(&mounts);
    let Some(first) = places.first() else {
        return Err((Missing::Kernel, "no cgroup2 is mounted".to_owned()));
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
            Err(error) => reason = format!("cannot open {}: {error}", place.display()),
        }
    }
    Err((Missing::Elsewhere, reason))
}

/// Where cgroup2 is mounted, by /proc/self/mountinfo: `id parent device root place options [tag]... - kind ...`.
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
