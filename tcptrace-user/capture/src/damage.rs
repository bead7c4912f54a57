//! What can be wrong with a capture, and where: told, never repaired.

use std::{fmt, io};

use thiserror::Error;

/// The bytes of a capture that can be seen at once; a longer part can only be skipped.
pub(super) const CAPACITY: usize = 1 << 20;

/// Something wrong with a capture.
#[derive(Debug)]
pub struct Damage {
    /// Octets into the (decompressed) capture: where it ends if it ends too early or cannot be read on, otherwise where
    /// the damaged record begins.
    pub offset: u64,
    pub what: DamageKind,
}

/// What is wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DamageKind {
    #[error("the capture is empty: it has not even a file header")]
    Empty,
    #[error("this is neither a pcap nor a pcapng capture: it begins with {}", Hex(.0))]
    Unrecognised(Vec<u8>),
    #[error("version {major}.{minor} of the format is not known")]
    Version { major: u16, minor: u16 },
    #[error("the {part} announces {announced} octets and {there} are there")]
    BreaksOff { part: Part, announced: u64, there: u64 },
    /// Reading or decompressing failed.
    #[error("{0}")]
    Unreadable(io::Error),
    #[error("the record announces {captured} octets, more than a packet has and than the snapshot length {snaplen}")]
    Absurd { captured: u32, snaplen: u32 },
    #[error("the {part} has {length} octets and is left out: at most {CAPACITY} are read")]
    TooLong { part: Part, length: u64 },
    #[error("a block announces a length of {0} octets, which no block of its kind has")]
    BlockLength(u32),
    #[error("a block's length is {first} at its beginning and {last} at its end")]
    BlockLengths { first: u32, last: u32 },
    #[error("a section has the byte-order magic {0:#010x}, which is no order")]
    ByteOrder(u32),
    #[error("a packet of {announced} octets is in a block with room for {room}")]
    Overfull { announced: u32, room: u32 },
    #[error("a packet is of interface {interface}, and the section describes {described}")]
    NoInterface { interface: u32, described: usize },
    #[error("the options of interface {0} are damaged: its packets are without times")]
    InterfaceOptions(usize),
    #[error("a description of an interface is left out: {0} are kept")]
    TooManyInterfaces(usize),
}

/// A part of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    FileHeader,
    RecordHeader,
    Record,
    BlockHeader,
    Block,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, what } = self;
        match what {
            DamageKind::Empty | DamageKind::Unrecognised(_) => write!(f, "{what}"),
            DamageKind::BreaksOff { .. } => write!(f, "the capture breaks off at octet {offset}: {what}"),
            DamageKind::Unreadable(_) => write!(f, "the capture cannot be read beyond octet {offset}: {what}"),
            _ => write!(f, "the capture is damaged at octet {offset}: {what}"),
        }
    }
}

// Its `what` is part of its own text, and so is no `source`.
impl std::error::Error for Damage {}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileHeader => "file header",
            Self::RecordHeader => "record header",
            Self::Record => "record",
            Self::BlockHeader => "block header",
            Self::Block => "block",
        })
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02x}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
