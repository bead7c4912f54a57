//! The blocks of a pcapng file, as bytes: section header, interface, packet, statistics.
//!
//! Always little-endian, always in nanoseconds. Knows no files and does not read; of the format's other blocks
//! (names, secrets, custom) it writes none.
//! <https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/draft-ietf-opsawg-pcapng.html>

use super::{Direction, InterfaceDescription, PacketRecord, Statistics};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// A section's length, where it is not known when its header is written.
const UNKNOWN_LENGTH: u64 = u64::MAX;

const END: u16 = 0;
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const ISB_STARTTIME: u16 = 2;
const ISB_ENDTIME: u16 = 3;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// Ten to the minus ninth.
const NANOSECONDS: u8 = 9;
/// The longest text: what an option's length can say, less what would only be padding.
const TEXT: usize = (1 << 16) - 4;
/// Wireshark takes a file with a longer packet for damaged.
const PACKET: usize = 1 << 18;

/// The header that begins a file.
pub(super) fn section() -> Vec<u8> {
    let mut octets = Vec::new();
    let mut block = Block::begin(&mut octets, SECTION);
    block.u32(BYTE_ORDER);
    block.u16(1);
    block.u16(0);
    block.u64(UNKNOWN_LENGTH);
    block.text(SHB_USERAPPL, concat!("tcptrace ", env!("CARGO_PKG_VERSION")));
    block.end();
    octets
}

pub(super) fn interface(interface: &InterfaceDescription<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut block = Block::begin(&mut octets, INTERFACE);
    block.u16(interface.link);
    block.u16(0);
    block.u32(interface.snaplen);
    block.text(IF_NAME, interface.name);
    block.text(IF_DESCRIPTION, interface.description.unwrap_or_default());
    block.option(IF_TSRESOL, &[NANOSECONDS]);
    block.end();
    octets
}

/// Appends a packet, cut to what its interface's snapshot length promises.
pub(super) fn packet(into: &mut Vec<u8>, number: u32, snaplen: u32, packet: &PacketRecord<'_>) {
    let most = if snaplen == 0 { PACKET } else { PACKET.min(snaplen as usize) };
    let captured = &packet.octets[..packet.octets.len().min(most)];
    let mut block = Block::begin(into, ENHANCED_PACKET);
    block.u32(number);
    block.time(packet.time_ns);
    block.u32(captured.len() as u32);
    // No packet is shorter than what was captured of it, and readers refuse one that says so.
    block.u32(packet.original.max(packet.octets.len() as u32));
    block.octets(captured);
    if let Some(direction) = packet.direction {
        let flags: u32 = match direction {
            Direction::Incoming => 1,
            Direction::Outgoing => 2,
        };
        block.option(EPB_FLAGS, &flags.to_le_bytes());
    }
    block.text(COMMENT, packet.comment.unwrap_or_default());
    block.end();
}

pub(super) fn statistics(number: u32, statistics: &Statistics<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut block = Block::begin(&mut octets, STATISTICS);
    block.u32(number);
    block.time(statistics.end_ns);
    block.option(ISB_STARTTIME, &time(statistics.start_ns));
    block.option(ISB_ENDTIME, &time(statistics.end_ns));
    block.option(ISB_IFRECV, &statistics.received.to_le_bytes());
    if let Some(dropped) = statistics.dropped {
        block.option(ISB_IFDROP, &dropped.to_le_bytes());
    }
    block.text(COMMENT, statistics.comment.unwrap_or_default());
    block.end();
    octets
}

/// A time is two numbers, the upper half first, in either byte order.
fn time(nanoseconds: u64) -> [u8; 8] {
    let little = nanoseconds.rotate_left(32);
    little.to_le_bytes()
}

/// A block under construction at the end of a buffer. Its length, which stands at both ends, is filled in last.
struct Block<'a> {
    into: &'a mut Vec<u8>,
    start: usize,
    has_options: bool,
}

impl<'a> Block<'a> {
    fn begin(into: &'a mut Vec<u8>, kind: u32) -> Self {
        let start = into.len();
        let mut this = Self { into, start, has_options: false };
        this.u32(kind);
        this.u32(0);
        this
    }

    fn u16(&mut self, number: u16) {
        self.into.extend(number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.into.extend(number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.into.extend(number.to_le_bytes());
    }

    fn time(&mut self, nanoseconds: u64) {
        self.into.extend(time(nanoseconds));
    }

    /// Bytes, then zeros up to a multiple of four.
    fn octets(&mut self, octets: &[u8]) {
        self.into.extend_from_slice(octets);
        let padding = octets.len().next_multiple_of(4) - octets.len();
        self.into.extend_from_slice(&[0; 3][..padding]);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(value.len() as u16);
        self.octets(value);
        self.has_options = true;
    }

    /// A text, cut between two characters if it is too long. An empty one says nothing and is left out.
    fn text(&mut self, code: u16, text: &str) {
        if !text.is_empty() {
            self.option(code, &text.as_bytes()[..text.floor_char_boundary(TEXT)]);
        }
    }

    fn end(mut self) {
        if self.has_options {
            self.u16(END);
            self.u16(0);
        }
        let length = (self.into.len() - self.start + 4) as u32;
        self.u32(length);
        self.into[self.start + 4..self.start + 8].copy_from_slice(&length.to_le_bytes());
    }
}
