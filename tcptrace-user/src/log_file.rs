//! The file of `--log`: opened for append, opened anew when asked, and written by whole lines.
//!
//! What cannot be written is counted and ends nothing. It does not rotate: logrotate(8) does, and sends SIGHUP.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use crate::{
    exit::{self, ExitCode},
    limit,
};

/// Bytes that are written at once where lines come fast.
const BUFFER: usize = 1 << 16;
/// A style begins with it.
const ESCAPE: u8 = 0x1b;
/// Reports name hosts and processes: no reading for everybody. The umask takes more.
const MODE: u32 = 0o640;

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened. The text contains the cause.
    #[error("cannot log to '{}': {cause}", path.display())]
    Refused { path: PathBuf, cause: String },
    /// The file is read or written for something else.
    #[error("cannot log to '{}': {use_} uses it; name another file with --log", path.display())]
    Used { path: PathBuf, use_: &'static str },
}

impl ExitCode for OpenError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } => exit::RUNTIME,
            Self::Used { .. } => exit::USAGE,
        }
    }
}

/// What others do with the file: they ask for another, and see what it lost.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_reopen_asked: AtomicBool,
    lost: AtomicU64,
}

impl Handle {
    /// Has the file opened anew before the next line.
    pub fn reopen(&self) {
        self.0.is_reopen_asked.store(true, Release);
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }
}

/// The file, while it is written.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// `None`: it could not be opened anew. Each write tries again.
    file: Option<File>,
    /// Whole lines.
    waiting: Vec<u8>,
    /// The file ends in half a line, which could not be taken back.
    is_torn: bool,
    /// It was said that it cannot be written.
    is_said: bool,
    say: fn(&str),
    handle: Handle,
}

impl LogFile {
    /// Opens the file, or makes it. `say` is for what becomes of it later.
    ///
    /// # Errors
    /// When it cannot be opened, is a capture that is read, or what `-w` writes.
    pub fn open(path: &Path, read: &[PathBuf], written: Option<&Path>, say: fn(&str)) -> Result<Self, OpenError> {
        let used = |by: &[PathBuf], use_| {
            let is_used = by.iter().any(|other| is_same(path, other));
            if is_used { Err(OpenError::Used { path: path.to_owned(), use_ }) } else { Ok(()) }
        };
        used(read, "-r")?;
        // Before -w takes it for a capture, and after.
        used(&written.map(Path::to_owned).into_iter().collect::<Vec<_>>(), "-w")?;
        let file =
            open(path).map_err(|error| OpenError::Refused { path: path.to_owned(), cause: cause(path, &error) })?;
        let handle = Handle::default();
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            waiting: Vec::new(),
            is_torn: false,
            is_said: false,
            say,
            handle,
        })
    }

    /// For those who do not write.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Adds a line, without its end; its colours are taken off.
    pub fn line(&mut self, line: &[u8]) {
        self.follow();
        // Half of a line is in no file, even if it is longer than what waits.
        if !self.waiting.is_empty() && self.waiting.len() + line.len() >= BUFFER {
            self.write();
        }
        // JSON escapes it, and has nothing to take off.
        if line.contains(&ESCAPE) {
            anstream::adapter::strip_bytes(line).for_each(|part| self.waiting.extend_from_slice(part));
        } else {
            self.waiting.extend_from_slice(line);
        }
        self.waiting.push(b'\n');
    }

    /// Writes what waits.
    pub fn flush(&mut self) {
        self.write();
        self.follow();
    }

    /// Opens the file anew, if that was asked for.
    fn follow(&mut self) {
        if !self.handle.0.is_reopen_asked.swap(false, Acquire) {
            return;
        }
        // The lines before it belong to the old file.
        self.write();
        match open(&self.path) {
            Ok(file) => {
                self.file = Some(file);
                (self.is_torn, self.is_said) = (false, false);
            }
            // The old file may be compressed or removed by now: what is written there is lost without a word.
            Err(error) => {
                self.file = None;
                self.say("open", &error);
            }
        }
    }

    fn write(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let written = self.try_write();
        if let Err((what, error)) = written {
            self.say(what, &error);
        }
        self.waiting.clear();
    }

    /// Writes all that waits; counts the lines of which less than the whole was written.
    fn try_write(&mut self) -> Result<(), (&'static str, io::Error)> {
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let lost = |bytes: &[u8]| {
            self.handle.0.lost.fetch_add(lines(bytes), Relaxed);
        };
        if self.file.is_none() {
            let file = open(&self.path).inspect_err(|_| lost(&self.waiting)).map_err(|error| ("open", error))?;
            (self.file, self.is_torn) = (Some(file), false);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.is_torn {
            file.write_all(b"\n").inspect_err(|_| lost(&self.waiting)).map_err(|error| ("write to", error))?;
            self.is_torn = false;
        }
        let (count, result) = write_most(file, &self.waiting);
        let Err(error) = result else { return Ok(()) };
        let whole = self.waiting[..count].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        lost(&self.waiting[whole..]);
        self.is_torn = count > whole && take_back(file, (count - whole) as u64).is_err();
        Err(("write to", error))
    }

    fn say(&mut self, what: &str, error: &io::Error) {
        if !std::mem::replace(&mut self.is_said, true) {
            (self.say)(&format!(
                "cannot {what} the log '{}': {}; until it can be written, its lines are lost, and log_lost counts them",
                self.path.display(),
                cause(&self.path, error)
            ));
        }
    }
}

/// Waits for a reader where it is a pipe.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// The reason, and the remedy.
fn cause(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty() && !it.exists());
    match error.raw_os_error() {
        Some(libc::ENOENT) if folder.is_some() => {
            let folder = folder.unwrap_or(path).display();
            format!("the folder '{folder}' does not exist; make it")
        }
        Some(libc::EISDIR) => "it is a folder; name a file".to_owned(),
        Some(libc::EACCES | libc::EPERM) => format!("{error}; name a file that this user may write, or use sudo"),
        _ => limit::explained(error),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|it| (it.dev(), it.ino()));
    one == other || identity(one).is_some_and(|it| Some(it) == identity(other))
}

/// The bytes that were written, and the error that the others met.
fn write_most(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut count = 0;
    while count < bytes.len() {
        match file.write(&bytes[count..]) {
            Ok(0) => return (count, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}

/// Takes back the last bytes that were written, if they are the last of the file.
fn take_back(file: &mut File, count: u64) -> io::Result<()> {
    let (end, about) = (file.stream_position()?, file.metadata()?);
    if !about.is_file() || about.len() != end {
        return Err(io::ErrorKind::Unsupported.into());
    }
    file.set_len(end - count)
}
