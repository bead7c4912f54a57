//! Limits that a call ran into: what its errno stands for here, and what to do about it.
//!
//! Decides nothing. Numbers are those of getrlimit(2), which needs no file: there may be none left to open.
//! <https://man7.org/linux/man-pages/man3/errno.3.html>

use std::{error::Error, io, thread};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use tcptrace_capture::write;

/// Files that are enough for a run on a host with many network namespaces.
const FILES: u64 = 1024;

/// The error in words, with the remedy if a limit is behind it.
#[must_use]
pub fn explained(error: &(dyn Error + 'static)) -> String {
    match remedy(error) {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_string(),
    }
}

/// The same, with the causes of the error.
#[must_use]
pub fn with_causes(error: &anyhow::Error) -> String {
    match remedy(&**error) {
        Some(remedy) => format!("{error:#}; {remedy}"),
        None => format!("{error:#}"),
    }
}

/// What to do about an error, if a limit is behind it.
#[must_use]
pub fn remedy(error: &(dyn Error + 'static)) -> Option<String> {
    errno(error).and_then(of)
}

/// The errno at the root of an error.
#[must_use]
pub fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    let mut errno = None;
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        let nix = error.downcast_ref::<nix::Error>().map(|it| *it as i32);
        errno = io.and_then(|it| it.raw_os_error().or_else(|| write::errno(it))).or(nix).or(errno);
        next = error.source();
    }
    errno
}

/// The limit that an errno stands for, and how to raise it. EAGAIN is none of them: sockets return it in ordinary use.
#[must_use]
pub fn of(errno: i32) -> Option<String> {
    Some(match errno {
        libc::EMFILE => {
            let limit = soft(Resource::RLIMIT_NOFILE).unwrap_or_default();
            let more = FILES.max(2 * limit);
            format!("this process may open {limit} files; raise that: ulimit -n {more}, or LimitNOFILE= in its unit")
        }
        libc::ENFILE => "this host has its limit of open files; raise it: sysctl -w fs.file-max=NUMBER".to_owned(),
        libc::ENOMEM => format!("free memory, or raise {}", memory()),
        libc::ENOSPC => "the file system has no room or no inode left: see df -h and df -i, or name another".to_owned(),
        libc::EDQUOT => "the quota of its owner is used up: see quota, or name another file system".to_owned(),
        libc::EFBIG => "files may not become longer: raise ulimit -f, or LimitFSIZE= in its unit".to_owned(),
        libc::EROFS => "the file system is read-only: name another".to_owned(),
        libc::EBUSY | libc::ETXTBSY => "another program uses it: end that one, or name another".to_owned(),
        libc::EIO => "the device reports errors: see dmesg".to_owned(),
        _ => return None,
    })
}

/// The limits of memory that this process has, as far as they are known.
#[must_use]
pub fn memory() -> String {
    match soft(Resource::RLIMIT_AS) {
        Some(bytes) => format!("this process's limit of {} MiB (ulimit -v, LimitAS= in its unit)", bytes >> 20),
        None => "the limit of its cgroup (memory.max, MemoryMax= in its unit)".to_owned(),
    }
}

/// Raises the limit of open files as far as this process may without a privilege. A failure leaves it as it is, and
/// what runs into it names it.
pub fn raise_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// `None`: there is none.
fn soft(resource: Resource) -> Option<u64> {
    getrlimit(resource).ok().map(|(soft, _)| soft).filter(|soft| *soft != RLIM_INFINITY)
}

/// Starts a thread; std's own function panics where there may be no more.
///
/// # Errors
/// What limits the number of threads.
pub fn thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().spawn(work).map_err(|error| {
        let remedy = "the process, its user or its cgroup has its limit of threads";
        let raise = "raise TasksMax= in its unit, pids.max of its cgroup, or ulimit -u";
        io::Error::new(error.kind(), format!("cannot start a thread: {error}; {remedy}: {raise}"))
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_errno_is_found_below_other_errors() {
        let plain = io::Error::from_raw_os_error(libc::ENOSPC);
        let below = Err::<(), _>(io::Error::from_raw_os_error(libc::EMFILE)).context("cannot start").unwrap_err();
        let nix = Err::<(), _>(nix::Error::ENFILE).context("cannot start").unwrap_err();
        for (error, errno) in
            [(&plain as &(dyn Error + 'static), libc::ENOSPC), (&*below, libc::EMFILE), (&*nix, libc::ENFILE)]
        {
            assert_eq!(super::errno(error), Some(errno));
            assert!(remedy(error).is_some());
        }
    }

    /// What is no limit has no remedy here: a missing file, a refusal, a socket without data.
    #[test]
    fn other_errors_are_left_alone() {
        for errno in [libc::ENOENT, libc::EPERM, libc::EACCES, libc::EAGAIN, libc::EINVAL] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(explained(&error), error.to_string());
        }
    }

    #[test]
    fn the_limit_of_files_is_named() {
        let error = io::Error::from_raw_os_error(libc::EMFILE);
        let limit = soft(Resource::RLIMIT_NOFILE).expect("there is one");
        assert!(explained(&error).contains(&format!("this process may open {limit} files; ")), "{}", explained(&error));
    }
}
