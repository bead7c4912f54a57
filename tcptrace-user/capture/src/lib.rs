//! Packet captures from files and pipes: pcap and pcapng, packet by packet.
//!
//! Knows nothing of protocols above the link layer, and never holds more of a capture than one buffer. It does not
//! repair: damage is reported with its place, and every whole record before it is delivered.
//! <https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/>
#![warn(missing_docs, clippy::missing_errors_doc, clippy::wildcard_enum_match_arm)]

// The formats are read here and not by the crate pcap-parser because that allocates for each packet with options, does
// not know the obsolete Packet Block, and says of damage neither where it is nor which lengths disagree.

mod clock;
mod damage;
mod link;
mod pcap;
mod pcapng;
mod source;
mod window;
pub mod write;

use std::{io::Read, ops::Range, time::Duration};

pub use damage::{Damage, DamageKind, Part};
pub use link::{Direction, LinkType, Payload, Unsupported, direction, payload};
pub use source::Source;

use pcap::Pcap;
use pcapng::Pcapng;
use window::Window;

/// Longer packets are believed only where the interface's snapshot length allows them.
const BELIEVED: u32 = 256 << 10;

/// A packet, lent until the next one is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Nanoseconds since the Unix epoch. `None`: the capture does not say, or not in a way that can be trusted.
    pub time: Option<u64>,
    /// The bytes that were captured, from the link-layer header on.
    pub octets: &'a [u8],
    /// Its length on the wire.
    pub original: u32,
    /// The index in [`Reader::interfaces`] of the interface on which it was captured.
    pub interface: usize,
    /// The link type of that interface.
    pub link: LinkType,
    /// The direction, if the record has one. [`direction`] finds it from the bytes.
    pub direction: Option<Direction>,
    /// The first comment on it: pcapng has them.
    pub comment: Option<&'a [u8]>,
    /// The offset of its record in the (decompressed) capture.
    pub offset: u64,
}

/// An interface, as the capture describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The link type of its packets.
    pub link: LinkType,
    /// The most bytes kept of a packet; 0 means no limit.
    pub snaplen: u32,
    /// Its name; `None` if the capture gives none.
    pub name: Option<String>,
}

/// Reads a capture of either format.
#[derive(Debug)]
pub struct Reader<R> {
    window: Window<R>,
    format: Format,
    interfaces: Vec<Interface>,
    over: bool,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// The record that a format finds at the window's start.
enum Found {
    Packet(Record),
    /// Something is wrong, and it was passed over.
    Damage(Damage),
    /// Something is wrong, and where the next record begins is anyone's guess.
    Last(Damage),
    End,
}

/// A packet whose bytes are a range of the window.
struct Record {
    time: Option<u64>,
    octets: Range<usize>,
    original: u32,
    interface: usize,
    link: LinkType,
    direction: Option<Direction>,
    comment: Option<Range<usize>>,
    offset: u64,
}

impl<R: Read> Reader<R> {
    /// Recognises the format.
    ///
    /// # Errors
    ///
    /// If there is nothing to read, or it is neither pcap nor pcapng, or it ends within the file header.
    pub fn new(from: R) -> Result<Self, Damage> {
        let mut window = Window::new(from);
        let mut interfaces = Vec::new();
        let format = if !window.want(4) {
            return Err(window.unrecognised());
        } else if pcapng::recognise(window.here()) {
            Format::Pcapng(Pcapng::new(&mut window)?)
        } else if let Some(variant) = pcap::Variant::recognise(window.here()) {
            let (pcap, interface) = Pcap::new(variant, &mut window)?;
            interfaces.push(interface);
            Format::Pcap(pcap)
        } else {
            return Err(window.unrecognised());
        };
        Ok(Self { window, format, interfaces, over: false })
    }

    /// The next packet, or the damage in its place. After damage that cannot be overcome, as after the last packet,
    /// there is nothing more.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    #[inline]
    pub fn next(&mut self) -> Option<Result<Packet<'_>, Damage>> {
        if self.over {
            return None;
        }
        let found = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.window),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.window, &mut self.interfaces),
        };
        match found {
            Found::Packet(Record { time, octets, original, interface, link, direction, comment, offset }) => {
                let octets = self.window.get(octets);
                let comment = comment.map(|comment| self.window.get(comment));
                Some(Ok(Packet { time, octets, original, interface, link, direction, comment, offset }))
            }
            Found::Damage(damage) => Some(Err(damage)),
            Found::Last(damage) => {
                self.over = true;
                Some(Err(damage))
            }
            Found::End => {
                self.over = true;
                None
            }
        }
    }

    /// The interfaces described so far. pcapng may describe more between packets, and counts anew in each section;
    /// here they count up.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The source, for its position.
    #[must_use]
    pub fn source(&self) -> &R {
        self.window.source()
    }
}

impl Reader<Source> {
    /// Whether [`Reader::next`] need not wait for bytes. pcapng may have blocks that are no packets, and wait then.
    #[must_use]
    pub fn has_record(&self) -> bool {
        let here = self.window.here();
        let length = match &self.format {
            Format::Pcap(pcap) => pcap.record_length(here),
            Format::Pcapng(pcapng) => pcapng.block_length(here),
        };
        self.over || self.window.is_ready(length)
    }

    /// Reads on if more comes within this time; says whether it did, or the end.
    pub fn wait(&mut self, patience: Duration) -> bool {
        self.window.source_mut().be_patient_for(Some(patience));
        let came = self.window.read_more();
        self.window.source_mut().be_patient_for(None);
        came
    }
}

/// The byte order of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    /// The number at an offset. The caller knows that it is there.
    #[inline]
    fn u32(self, octets: &[u8], at: usize) -> u32 {
        let octets = [octets[at], octets[at + 1], octets[at + 2], octets[at + 3]];
        match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        }
    }

    #[inline]
    fn u16(self, octets: &[u8], at: usize) -> u16 {
        let octets = [octets[at], octets[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        }
    }
}
