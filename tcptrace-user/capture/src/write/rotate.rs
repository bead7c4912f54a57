//! The files of a capture: their names, how they are opened, which of them are kept, when it is time for the next.
//!
//! Knows nothing of what is written into them. Names are those of dumpcap's ring buffer, but for the time in them,
//! which is UTC: std does not know the local time. <https://www.wireshark.org/docs/man-pages/dumpcap.html>

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use thiserror::Error;

use super::Rotation;

/// Only the owner may read packets.
const MODE: u32 = 0o600;
/// The operation that failed, and its file. The text contains the cause, so `source` does not return it.
#[derive(Debug, Error)]
#[error("cannot {what} '{}': {cause}", path.display())]
struct Failure {
    what: &'static str,
    path: PathBuf,
    cause: String,
    errno: Option<i32>,
}

/// The errno of an error of this module, whose own kind has none for every one.
pub(super) fn errno(error: &io::Error) -> Option<i32> {
    error.get_ref()?.downcast_ref::<Failure>()?.errno
}

fn failure(what: &'static str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        Failure { what, path: path.to_owned(), cause: error.to_string(), errno: error.raw_os_error() },
    )
}

/// The files written, one after the other.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    limits: Limits,
    keep: usize,
    /// The number of files opened.
    number: u64,
    /// Those that were not removed again, oldest first.
    kept: VecDeque<PathBuf>,
}

/// When it is time for the next file.
#[derive(Clone, Copy, Debug)]
struct Limits {
    size: Option<u64>,
    every: Option<Duration>,
}

impl Files {
    pub(super) fn new(path: &Path, rotation: &Rotation) -> Self {
        let keep = rotation.keep.map_or(usize::MAX, |keep| keep.max(1));
        let limits = Limits { size: rotation.rotate_size, every: rotation.rotate_every };
        Self { path: path.to_owned(), limits, keep, number: 0, kept: VecDeque::new() }
    }

    /// Opens the next file, after removing what must go for it: on a full disk it may be the old that leaves room.
    pub(super) fn open_next(&mut self) -> io::Result<Output> {
        if self.is_stdout() {
            let file = io::stdout().as_fd().try_clone_to_owned();
            let file = file.map_err(|error| failure("write to", &self.path, &error))?;
            // It may be a regular file, but one that others write to as well.
            return Ok(Output::new(File::from(file), self.path.clone(), false));
        }
        while self.kept.len() >= self.keep
            && let Some(oldest) = self.kept.front()
        {
            match fs::remove_file(oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failure("remove", oldest, &error)),
                _ => drop(self.kept.pop_front()),
            }
        }
        let path = if self.rotates() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            name(&self.path, self.number + 1, now.as_secs())
        } else {
            self.path.clone()
        };
        let open = || {
            let mut options = OpenOptions::new();
            let file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(MODE)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)?;
            let is_regular = file.metadata()?.is_file();
            Ok((file, is_regular))
        };
        let (file, is_regular) = open().map_err(|error: io::Error| {
            if path.is_symlink() {
                let cause = "it is a symbolic link, which may be a trap; give the file that it points to".to_owned();
                return io::Error::new(
                    error.kind(),
                    Failure { what: "create", path: path.clone(), cause, errno: None },
                );
            }
            failure("create", &path, &error)
        })?;
        self.number += 1;
        self.kept.push_back(path.clone());
        Ok(Output::new(file, path, is_regular))
    }

    /// Whether a group should begin the next file.
    ///
    /// `length` is what the file would have with the group, closed; `time` is that of the group's last packet.
    pub(super) fn is_due(&self, output: &Output, length: u64, time: u64) -> bool {
        // A file without packets is not made better by another.
        let Some(since) = output.since.filter(|_| self.rotates()) else {
            return false;
        };
        let passed = Duration::from_nanos(time.saturating_sub(since));
        self.limits.size.is_some_and(|size| length > size) || self.limits.every.is_some_and(|every| passed >= every)
    }

    pub(super) fn kept(&self) -> impl Iterator<Item = &Path> {
        self.kept.iter().map(PathBuf::as_path)
    }

    fn rotates(&self) -> bool {
        !self.is_stdout() && (self.limits.size.is_some() || self.limits.every.is_some())
    }

    fn is_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }
}

/// The file that is being written.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    path: PathBuf,
    /// Whether a write that failed halfway can be taken back.
    is_regular: bool,
    /// The error that ended it for good.
    dead: Option<io::ErrorKind>,
    pub(super) length: u64,
    /// Interfaces that it describes.
    pub(super) described: usize,
    /// The earliest time at which a group in it ended. Groups come when they are decided, which is not quite the order
    /// of their times; and so one packet with a time far off costs a file at most.
    since: Option<u64>,
}

impl Output {
    fn new(file: File, path: PathBuf, is_regular: bool) -> Self {
        Self { file, path, is_regular, dead: None, length: 0, described: 0, since: None }
    }

    /// Writes all or, to a regular file, nothing: a reader would take half a block for a damaged file. A pipe with half
    /// a block in it is not written to again.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let result = match self.dead {
            Some(kind) => Err(kind.into()),
            None => self.file.write_all(octets),
        };
        match result {
            Ok(()) => self.length += octets.len() as u64,
            Err(error) => {
                if !(self.is_regular && self.take_back().is_ok()) {
                    self.dead = Some(error.kind());
                }
                return Err(failure("write to", &self.path, &error));
            }
        }
        Ok(())
    }

    /// Notes that a group which ended at this time was written.
    pub(super) fn note(&mut self, time: u64) {
        self.since = Some(self.since.map_or(time, |since| since.min(time)));
    }

    fn take_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }
}

/// `dir/trace.pcapng` as `dir/trace_00001_20261121093000.pcapng`.
fn name(path: &Path, number: u64, seconds: u64) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push(format!("_{number:05}_{}", stamp(seconds)));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Seconds since the epoch as year, month, day, hour, minute, second of UTC.
fn stamp(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|it| jiff::Timestamp::from_second(it).ok()).unwrap_or_default();
    at.strftime("%Y%m%d%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dumpcaps() {
        for (path, named) in [
            ("/a.b/trace.pcapng", "/a.b/trace_00007_20261121093000.pcapng"),
            ("trace", "trace_00007_20261121093000"),
            ("./a.b.c", "./a.b_00007_20261121093000.c"),
            (".hidden", ".hidden_00007_20261121093000"),
        ] {
            assert_eq!(name(Path::new(path), 7, 1_795_253_400), Path::new(named));
        }
        assert_eq!(name(Path::new("t"), 123_456, 0), Path::new("t_123456_19700101000000"));
    }
}
