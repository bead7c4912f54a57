//! The newer format: blocks, in sections of their own byte order, on interfaces with their own clocks.
//!
//! A block gives its length at both ends. Where these agree, damage within the block is passed over; where they do not,
//! reading ends. Statistics, names and secrets are not read, and comments only where they are a packet's.
//! <https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/draft-ietf-opsawg-pcapng.html>

use std::{io::Read, ops::Range};

use super::{
    BELIEVED, Direction, Found, Interface, LinkType, Order, Record,
    clock::Clock,
    damage::{CAPACITY, Damage, DamageKind, Part},
    window::Window,
};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// A block without content: its type and its length twice.
const EMPTY_BLOCK: u32 = 12;
/// A section header without options.
const SECTION_BLOCK: u32 = 28;
/// An interface's description without options.
const INTERFACE_BLOCK: usize = 20;
/// Interfaces kept, over all sections, and bytes of their names: both come from the capture.
const INTERFACES: usize = 1 << 16;
const NAME: usize = 255;

const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;
const OPTION_IF_TSOFFSET: u16 = 14;
const OPTION_COMMENT: u16 = 1;
const OPTION_FLAGS: u16 = 2;

/// Whether this is a section header's type, the same in both orders.
pub(super) fn recognise(octets: &[u8]) -> bool {
    Order::Little.u32(octets, 0) == SECTION
}

#[derive(Debug)]
pub(super) struct Pcapng {
    order: Order,
    /// The interfaces of earlier sections.
    before: usize,
    /// Those of this one.
    interfaces: Vec<Local>,
}

/// The facts about an interface that reading its packets needs.
#[derive(Clone, Copy, Debug)]
struct Local {
    link: LinkType,
    snaplen: u32,
    clock: Option<Clock>,
}

/// A packet block's fields, before they are believed.
struct Claim {
    interface: u32,
    ticks: u64,
    captured: u32,
    original: u32,
}

impl Pcapng {
    pub(super) fn new<R: Read>(window: &mut Window<R>) -> Result<Self, Damage> {
        let mut this = Self { order: Order::Little, before: 0, interfaces: Vec::new() };
        this.section(window, 0)?;
        Ok(this)
    }

    #[inline]
    /// Bytes of the block that begins here, as far as that can be known. A section's header gives its own byte order
    /// behind its length; it is short, and comes with what follows.
    pub(super) fn block_length(&self, here: &[u8]) -> usize {
        match here.len() {
            ..8 => 8,
            _ if self.order.u32(here, 0) == SECTION => 8,
            _ => self.order.u32(here, 4) as usize,
        }
    }

    pub(super) fn next<R: Read>(&mut self, window: &mut Window<R>, interfaces: &mut Vec<Interface>) -> Found {
        loop {
            if !window.want(8) {
                if window.is_at_end() {
                    return Found::End;
                }
                let there = window.length() as u64;
                return Found::Last(window.breaks_off(Part::BlockHeader, 8, there));
            }
            let offset = window.offset();
            let kind = self.order.u32(window.here(), 0);
            let length = self.order.u32(window.here(), 4);
            let is_read = matches!(kind, ENHANCED_PACKET | SIMPLE_PACKET | OBSOLETE_PACKET | INTERFACE);
            if kind == SECTION {
                if let Err(damage) = self.section(window, interfaces.len()) {
                    return Found::Last(damage);
                }
                continue;
            }
            if length < EMPTY_BLOCK || !length.is_multiple_of(4) {
                return Found::Last(Damage { offset, what: DamageKind::BlockLength(length) });
            }
            if !is_read || length as usize > CAPACITY {
                if let Err(damage) = self.skip(window, length) {
                    return Found::Last(damage);
                }
                if !is_read {
                    continue;
                }
                if kind == INTERFACE {
                    self.unknown(interfaces);
                }
                let what = DamageKind::TooLong { part: Part::Block, length: length.into() };
                return Found::Damage(Damage { offset, what });
            }
            if !window.want(length as usize) {
                let there = window.length() as u64;
                return Found::Last(window.breaks_off(Part::Block, length.into(), there));
            }
            let last = self.order.u32(window.here(), length as usize - 4);
            if last != length {
                return Found::Last(Damage { offset, what: DamageKind::BlockLengths { first: length, last } });
            }
            let range = window.pass(length as usize);
            let block = window.get(range.clone());
            if kind == INTERFACE {
                match self.interface(block, interfaces) {
                    Ok(()) => continue,
                    Err(what) => return Found::Damage(Damage { offset, what }),
                }
            }
            return match self.read_packet(kind, block) {
                Ok(record) => Found::Packet(placed(record, range.start, offset)),
                Err(what) => Found::Damage(Damage { offset, what }),
            };
        }
    }

    fn read_packet(&self, kind: u32, block: &[u8]) -> Result<Record, DamageKind> {
        match kind {
            ENHANCED_PACKET => self.enhanced(block),
            OBSOLETE_PACKET => self.obsolete(block),
            _ => self.simple(block),
        }
    }

    /// A section header: from here on its byte order holds, and no interface is described yet.
    fn section<R: Read>(&mut self, window: &mut Window<R>, before: usize) -> Result<(), Damage> {
        let offset = window.offset();
        if !window.want(16) {
            let there = window.length() as u64;
            return Err(window.breaks_off(Part::BlockHeader, 16, there));
        }
        let head = window.here();
        let order = match Order::Little.u32(head, 8) {
            BYTE_ORDER => Order::Little,
            other if other.swap_bytes() == BYTE_ORDER => Order::Big,
            other => return Err(Damage { offset, what: DamageKind::ByteOrder(other) }),
        };
        let length = order.u32(head, 4);
        let (major, minor) = (order.u16(head, 12), order.u16(head, 14));
        if length < SECTION_BLOCK || !length.is_multiple_of(4) {
            return Err(Damage { offset, what: DamageKind::BlockLength(length) });
        }
        if major != 1 {
            return Err(Damage { offset, what: DamageKind::Version { major, minor } });
        }
        *self = Self { order, before, interfaces: Vec::new() };
        self.skip(window, length)
    }

    /// Moves on over a block of any length.
    fn skip<R: Read>(&self, window: &mut Window<R>, length: u32) -> Result<(), Damage> {
        let offset = window.offset();
        let there = window.skip(u64::from(length) - 4);
        if there < u64::from(length) - 4 || !window.want(4) {
            let there = there + window.length() as u64;
            return Err(window.breaks_off(Part::Block, length.into(), there));
        }
        let last = self.order.u32(window.here(), 0);
        window.pass(4);
        if last != length {
            return Err(Damage { offset, what: DamageKind::BlockLengths { first: length, last } });
        }
        Ok(())
    }

    fn interface(&mut self, block: &[u8], interfaces: &mut Vec<Interface>) -> Result<(), DamageKind> {
        if interfaces.len() >= INTERFACES {
            return Err(DamageKind::TooManyInterfaces(INTERFACES));
        }
        if block.len() < INTERFACE_BLOCK {
            self.unknown(interfaces);
            return Err(DamageKind::BlockLength(block.len() as u32));
        }
        let link = LinkType(self.order.u16(block, 8).into());
        let snaplen = self.order.u32(block, 12);
        let options = self.interface_options(&block[16..block.len() - 4]);
        let (name, clock) = options.map_or((None, None), |(name, clock)| (name, Some(clock)));
        let damaged = clock.is_none();
        self.interfaces.push(Local { link, snaplen, clock });
        interfaces.push(Interface { link, snaplen, name });
        if damaged { Err(DamageKind::InterfaceOptions(interfaces.len() - 1)) } else { Ok(()) }
    }

    /// An interface of which nothing is known, so that those after it keep their numbers.
    fn unknown(&mut self, interfaces: &mut Vec<Interface>) {
        if interfaces.len() < INTERFACES {
            let link = LinkType::UNKNOWN;
            self.interfaces.push(Local { link, snaplen: 0, clock: None });
            interfaces.push(Interface { link, snaplen: 0, name: None });
        }
    }

    fn interface_options(&self, mut options: &[u8]) -> Result<(Option<String>, Clock), Overrun> {
        let (mut name, mut resolution, mut offset) = (None, 6, 0);
        while let Some((code, value)) = option(self.order, &mut options)? {
            match code {
                OPTION_IF_NAME => {
                    name = Some(String::from_utf8_lossy(&value[..value.len().min(NAME)]).into_owned());
                }
                OPTION_IF_TSRESOL => resolution = *value.first().ok_or(Overrun)?,
                OPTION_IF_TSOFFSET => {
                    let octets = *value.first_chunk().ok_or(Overrun)?;
                    offset = match self.order {
                        Order::Little => i64::from_le_bytes(octets),
                        Order::Big => i64::from_be_bytes(octets),
                    };
                }
                _ => {}
            }
        }
        Ok((name, Clock::new(resolution, offset)))
    }

    #[inline]
    fn enhanced(&self, block: &[u8]) -> Result<Record, DamageKind> {
        self.packet(block, |order, block| Claim {
            interface: order.u32(block, 8),
            ticks: u64::from(order.u32(block, 12)) << 32 | u64::from(order.u32(block, 16)),
            captured: order.u32(block, 20),
            original: order.u32(block, 24),
        })
    }

    /// The same but for a count of drops, to which the interface gives half of its field.
    fn obsolete(&self, block: &[u8]) -> Result<Record, DamageKind> {
        self.packet(block, |order, block| Claim {
            interface: order.u16(block, 8).into(),
            ticks: u64::from(order.u32(block, 12)) << 32 | u64::from(order.u32(block, 16)),
            captured: order.u32(block, 20),
            original: order.u32(block, 24),
        })
    }

    #[inline]
    fn packet(&self, block: &[u8], claim: impl Fn(Order, &[u8]) -> Claim) -> Result<Record, DamageKind> {
        /// The offset of the packet in the block.
        const AT: usize = 28;
        let Some(room) = block.len().checked_sub(AT + 4) else {
            return Err(DamageKind::BlockLength(block.len() as u32));
        };
        let Claim { interface, ticks, captured, original } = claim(self.order, block);
        let local = self.local(interface)?;
        let end = AT + believe(captured, local.snaplen, room)?;
        let options = end.next_multiple_of(4)..block.len() - 4;
        let (direction, comment) = if options.is_empty() { (None, None) } else { self.packet_options(block, options) };
        Ok(Record {
            time: local.clock.and_then(|clock| clock.time(ticks)),
            octets: AT..end,
            original,
            interface: self.before + interface as usize,
            link: local.link,
            direction,
            comment,
            offset: 0,
        })
    }

    /// A packet of the first interface without a time, as long as its length on the wire and the snapshot length allow.
    fn simple(&self, block: &[u8]) -> Result<Record, DamageKind> {
        /// The offset of the packet in the block.
        const AT: usize = 12;
        let Some(room) = block.len().checked_sub(AT + 4) else {
            return Err(DamageKind::BlockLength(block.len() as u32));
        };
        let local = self.local(0)?;
        let original = self.order.u32(block, 8);
        let captured = if local.snaplen == 0 { original } else { original.min(local.snaplen) };
        let end = AT + believe(captured, local.snaplen, room)?;
        Ok(Record {
            time: None,
            octets: AT..end,
            original,
            interface: self.before,
            link: local.link,
            direction: None,
            comment: None,
            offset: 0,
        })
    }

    #[inline]
    fn local(&self, interface: u32) -> Result<&Local, DamageKind> {
        let described = self.interfaces.len();
        self.interfaces.get(interface as usize).ok_or(DamageKind::NoInterface { interface, described })
    }

    /// The direction in a packet's flags, and its first comment. Damaged options take nothing from the packet itself.
    fn packet_options(&self, block: &[u8], at: Range<usize>) -> (Option<Direction>, Option<Range<usize>>) {
        let (mut direction, mut comment) = (None, None);
        let mut rest = &block[at.clone()];
        loop {
            let start = at.end - rest.len() + 4;
            let Ok(Some((code, value))) = option(self.order, &mut rest) else { return (direction, comment) };
            if code == OPTION_FLAGS && value.len() == 4 && direction.is_none() {
                direction = match self.order.u32(value, 0) & 3 {
                    1 => Some(Direction::Incoming),
                    2 => Some(Direction::Outgoing),
                    _ => None,
                };
            } else if code == OPTION_COMMENT && comment.is_none() {
                comment = Some(start..start + value.len());
            }
        }
    }
}

/// A packet of a block that begins at `start` of the window and `offset` of the file.
fn placed(record: Record, start: usize, offset: u64) -> Record {
    let moved = |range: Range<usize>| start + range.start..start + range.end;
    Record { octets: moved(record.octets), comment: record.comment.map(moved), offset, ..record }
}

/// A packet's length, if it is one and the block has room for it.
#[inline]
fn believe(captured: u32, snaplen: u32, room: usize) -> Result<usize, DamageKind> {
    if captured > BELIEVED.max(snaplen) {
        return Err(DamageKind::Absurd { captured, snaplen });
    }
    if captured as usize > room {
        return Err(DamageKind::Overfull { announced: captured, room: room as u32 });
    }
    Ok(captured as usize)
}

/// An option is longer than what holds it, or too short for its value.
struct Overrun;

/// Takes the next option off a list. The end mark may be missing.
fn option<'a>(order: Order, rest: &mut &'a [u8]) -> Result<Option<(u16, &'a [u8])>, Overrun> {
    if rest.len() < 4 {
        return Ok(None);
    }
    let (code, length) = (order.u16(rest, 0), usize::from(order.u16(rest, 2)));
    if code == 0 {
        return Ok(None);
    }
    let value = rest.get(4..4 + length).ok_or(Overrun)?;
    *rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
    Ok(Some((code, value)))
}
