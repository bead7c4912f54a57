//! The source of a capture: a file or standard input, compressed or not.
//!
//! Decompresses as it reads and does not look inside. Compressions other than gzip and zstd are not recognised.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Chain, Cursor, Read},
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
    time::Duration,
};

use flate2::bufread::GzDecoder;
use zstd::stream::raw::{Decoder, InBuffer, Operation as _, OutBuffer};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compressed bytes given to the gzip decoder at once. When it fails, what it made of these is lost.
const SIP: usize = 1 << 10;
const BUFFER: usize = 1 << 17;

/// An open capture, as decompressed bytes.
pub struct Source {
    octets: Octets,
    size: Option<u64>,
}

enum Octets {
    Plain(Raw),
    Gzip(Gzip),
    Zstd(Zstd),
}

/// The first bytes, which were examined, then the others.
type Raw = Chain<Cursor<Vec<u8>>, Counted>;

impl Source {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or its beginning cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_until(path, || false)
    }

    /// The same, but it ends once `stop` returns true; it is called while nothing comes on a pipe or a terminal.
    ///
    /// # Errors
    ///
    /// As those of [`Source::open`].
    pub fn open_until(path: &Path, stop: fn() -> bool) -> io::Result<Self> {
        let file = if path == "-" { File::from(io::stdin().as_fd().try_clone_to_owned()?) } else { File::open(path)? };
        let metadata = file.metadata()?;
        let size = metadata.is_file().then_some(metadata.len());
        let wait = (!metadata.is_file()).then_some(Wait { stop, patience: None });
        let mut file = Counted { file, consumed: 0, wait };
        let mut head = Vec::new();
        // A pipe may give them one by one.
        file.by_ref().take(ZSTD.len() as u64).read_to_end(&mut head)?;
        let is_gzip = head.starts_with(&GZIP);
        let is_zstd = head.starts_with(&ZSTD);
        let raw = Cursor::new(head).chain(file);
        let octets = if is_gzip {
            Octets::Gzip(Gzip(Some(GzDecoder::new(Sips::new(raw)))))
        } else if is_zstd {
            Octets::Zstd(Zstd::new(raw)?)
        } else {
            Octets::Plain(raw)
        };
        Ok(Self { octets, size })
    }

    /// Bytes of the file read so far, compressed ones where it is compressed.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        let raw = match &self.octets {
            Octets::Plain(raw) => Some(raw),
            Octets::Gzip(Gzip(member)) => member.as_ref().map(|member| member.get_ref().0.get_ref()),
            Octets::Zstd(decoder) => Some(decoder.from.get_ref()),
        };
        raw.map_or(0, |raw| raw.get_ref().1.consumed)
    }

    /// Whether it is a pipe or a terminal, whose bytes may come at any time.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.size.is_none()
    }

    /// The time that a read waits for bytes before it fails with [`io::ErrorKind::WouldBlock`]; `None`: as long as it
    /// takes.
    pub(super) fn be_patient_for(&mut self, patience: Option<Duration>) {
        let raw = match &mut self.octets {
            Octets::Plain(raw) => Some(raw),
            Octets::Gzip(Gzip(member)) => member.as_mut().map(|member| member.get_mut().0.get_mut()),
            Octets::Zstd(decoder) => Some(decoder.from.get_mut()),
        };
        if let Some(wait) = raw.and_then(|raw| raw.get_mut().1.wait.as_mut()) {
            wait.patience = patience;
        }
    }

    /// Bytes the file had when it was opened. A pipe has no size.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Says of a decoder's error what it means for the file. Errors of the file itself say it already.
    fn explain(&self, error: io::Error) -> io::Error {
        let name = match &self.octets {
            Octets::Plain(_) => return error,
            Octets::Gzip(_) => "gzip",
            Octets::Zstd(_) => "zstd",
        };
        if error.raw_os_error().is_some()
            || matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
        {
            return error;
        }
        let kind = error.kind();
        let text = if kind == io::ErrorKind::UnexpectedEof {
            format!("the {name} file ends too early, at byte {}", self.consumed())
        } else {
            format!("the {name} compressed file is damaged: {error}")
        };
        io::Error::new(kind, text)
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.octets {
            Octets::Plain(raw) => raw.read(into),
            Octets::Gzip(decoder) => decoder.read(into),
            Octets::Zstd(decoder) => decoder.read(into),
        };
        read.map_err(|error| self.explain(error))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("consumed", &self.consumed()).field("size", &self.size).finish_non_exhaustive()
    }
}

struct Counted {
    file: File,
    consumed: u64,
    /// The way it waits, if it may have to.
    wait: Option<Wait>,
}

struct Wait {
    stop: fn() -> bool,
    patience: Option<Duration>,
}

/// The interval between two questions whether to stop.
const LOOK: Duration = Duration::from_millis(250);

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(Wait { stop, patience }) = &self.wait {
            if is_readable(&self.file, patience.unwrap_or(LOOK))? {
                break;
            }
            if stop() {
                return Ok(0);
            }
            if patience.is_some() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let read = self.file.read(into)?;
        self.consumed += read as u64;
        Ok(read)
    }
}

/// Whether a read would give something, if only the end, within this time. A signal cuts the time short.
#[expect(unsafe_code, reason = "the standard library has no poll(2)")]
fn is_readable(file: &File, within: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, which is a local; the descriptor is open as long as the file is.
    match unsafe { libc::poll(&raw mut poll, 1, within.as_millis() as libc::c_int) } {
        0 => Ok(false),
        1.. => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

/// A buffer that shows little of itself at once.
struct Sips(BufReader<Raw>);

impl Sips {
    fn new(raw: Raw) -> Self {
        Self(BufReader::with_capacity(BUFFER, raw))
    }
}

impl Read for Sips {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl BufRead for Sips {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let octets = self.0.fill_buf()?;
        Ok(&octets[..octets.len().min(SIP)])
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

/// Decodes member after member, and says where what is behind the last one begins. Zeros there are padding, of tapes.
struct Gzip(Option<GzDecoder<Sips>>);

/// Whether another member follows.
fn goes_on(Sips(from): &mut Sips) -> io::Result<bool> {
    loop {
        let octets = from.fill_buf()?;
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        match octets.first() {
            None => return Ok(false),
            Some(octet) if *octet == GZIP[0] => return Ok(true),
            Some(0) => from.consume(zeros),
            Some(_) => {
                let behind = octets.len() as u64;
                let at = from.get_ref().get_ref().1.consumed - behind;
                let text = format!("data after its end, from byte {at} on, is ignored");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
}

impl Read for Gzip {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(into)?;
            if read > 0 || into.is_empty() || !goes_on(member.get_mut())? {
                return Ok(read);
            }
            self.0 = self.0.take().map(|member| GzDecoder::new(member.into_inner()));
        }
        Ok(0)
    }
}

/// Decodes frame after frame. The crate's own reader gives a decoder all that is buffered, and when it fails, what it
/// made of that is lost; this one gives it block by block.
struct Zstd {
    from: BufReader<Raw>,
    decoder: Decoder<'static>,
    /// Bytes to the end of the next block's header, as the decoder says; 0 between frames.
    hint: usize,
}

impl Zstd {
    /// A block's header, which the hint has with the block before.
    const BLOCK_HEADER: usize = 3;

    fn new(raw: Raw) -> io::Result<Self> {
        Ok(Self { from: BufReader::with_capacity(BUFFER, raw), decoder: Decoder::new()?, hint: 0 })
    }
}

impl Read for Zstd {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let mut output = OutBuffer::around(into);
        loop {
            let buffered = self.from.fill_buf()?;
            let ended = buffered.is_empty();
            if self.hint == 0 {
                if ended {
                    return Ok(0);
                }
                self.decoder.reinit()?;
            }
            let next = self.hint.saturating_sub(Self::BLOCK_HEADER).max(Self::BLOCK_HEADER);
            let mut input = InBuffer::around(&buffered[..buffered.len().min(next)]);
            // Without input it still gives what did not fit before.
            self.hint = self.decoder.run(&mut input, &mut output)?;
            let taken = input.pos();
            self.from.consume(taken);
            if output.pos() > 0 {
                return Ok(output.pos());
            }
            if ended && self.hint > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
