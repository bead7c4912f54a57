//! The damage that a capture can have, and its place: reported, never repaired.

use std::{fmt, io};

use thiserror::Error;

/// The bytes of a capture that can be seen at once; a longer part can only be skipped.
pub(super) const CAPACITY: usize = 1 << 20;

/// Something wrong with a capture.
#[derive(Debug)]
pub struct Damage {
    /// Bytes into the (decompressed) capture. If it ends too early or is unreadable, this is the end of what can be
    /// read; otherwise it is the beginning of the damaged record.
    pub offset: u64,
    /// The damage.
    pub what: DamageKind,
}

/// The kind of damage.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// The capture has not even a file header.
    #[error("the capture is empty: it has no file header")]
    Empty,
    /// It begins as neither format does: its first bytes.
    #[error("this is neither a pcap nor a pcapng capture: it begins with {}", Hex(.0))]
    Unrecognised(Vec<u8>),
    /// A version of the format that is not known.
    #[error("unknown format version {major}.{minor}; save the capture as pcap 2.4 or pcapng 1.0")]
    Version {
        /// The first number.
        major: u16,
        /// The second number.
        minor: u16,
    },
    /// The capture ends within a part.
    #[error("truncated {part}: the header says {announced} bytes, the file has {there}")]
    BreaksOff {
        /// The part.
        part: Part,
        /// Its length in bytes by its header.
        announced: u64,
        /// The bytes that are in the file.
        there: u64,
    },
    /// Reading or decompressing failed.
    #[error("{0}")]
    Unreadable(io::Error),
    /// A record that says it is longer than any packet.
    #[error(
        "the record header says {captured} bytes, more than any packet and more than the snapshot length {snaplen}"
    )]
    Absurd {
        /// Its length in bytes by its header.
        captured: u32,
        /// The capture's snapshot length in bytes.
        snaplen: u32,
    },
    /// A part that is too long to be read; it is left out.
    #[error("skipped a {part} of {length} bytes; the limit is {CAPACITY}")]
    TooLong {
        /// The part.
        part: Part,
        /// Its length in bytes.
        length: u64,
    },
    /// A block length that no block of its kind has, in bytes.
    #[error("a block header says {0} bytes, an impossible length for its kind")]
    BlockLength(u32),
    /// The lengths at both ends of a block differ.
    #[error("a block's length is {first} bytes at its beginning and {last} at its end")]
    BlockLengths {
        /// The length at the beginning, in bytes.
        first: u32,
        /// The length at the end, in bytes.
        last: u32,
    },
    /// A byte-order magic that names no order.
    #[error("unknown byte-order magic {0:#010x} in a section header")]
    ByteOrder(u32),
    /// A packet that is longer than its block.
    #[error("a packet of {announced} bytes is in a block with room for {room}")]
    Overfull {
        /// The packet's length in bytes by its header.
        announced: u32,
        /// The bytes that the block has for it.
        room: u32,
    },
    /// A packet of an interface that the section does not describe.
    #[error("a packet names interface {interface}, but its section describes only {described}")]
    NoInterface {
        /// The interface's number in the section.
        interface: u32,
        /// The number of interfaces that the section describes.
        described: usize,
    },
    /// Damaged options of the interface with this number: its packets have no times.
    #[error("the options of interface {0} are damaged: its packets have no times")]
    InterfaceOptions(usize),
    /// More interfaces than are kept: how many are kept.
    #[error("skipped an interface description; the limit is {0}")]
    TooManyInterfaces(usize),
}

/// A part of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The header of a pcap file.
    FileHeader,
    /// The header of a pcap record.
    RecordHeader,
    /// The packet of a pcap record.
    Record,
    /// The type and length of a pcapng block.
    BlockHeader,
    /// The body of a pcapng block.
    Block,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, what } = self;
        match what {
            DamageKind::Empty | DamageKind::Unrecognised(_) => write!(f, "{what}"),
            DamageKind::BreaksOff { .. } => write!(f, "the capture ends too early at byte {offset}: {what}"),
            DamageKind::Unreadable(_) => write!(f, "cannot read the capture beyond byte {offset}: {what}"),
            DamageKind::Version { .. }
            | DamageKind::Absurd { .. }
            | DamageKind::TooLong { .. }
            | DamageKind::BlockLength(_)
            | DamageKind::BlockLengths { .. }
            | DamageKind::ByteOrder(_)
            | DamageKind::Overfull { .. }
            | DamageKind::NoInterface { .. }
            | DamageKind::InterfaceOptions(_)
            | DamageKind::TooManyInterfaces(_) => write!(f, "the capture is damaged at byte {offset}: {what}"),
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
