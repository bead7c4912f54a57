//! The classic format: a file header, then records one after another.
//!
//! A record says where the next begins, and nothing confirms it: after damage, reading ends. The header's time zone is
//! not applied, as no program does that.

use std::io::Read;

use super::{
    BELIEVED, Direction, Found, Interface, LinkType, Order, Record,
    damage::{CAPACITY, Damage, DamageKind, Part},
    window::Window,
};

const FILE_HEADER: usize = 24;

/// The facts in the file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    order: Order,
    /// Nanoseconds in the smaller unit of time.
    unit: u64,
    /// Bytes before a packet: 16, or Kuznetzov's 24.
    header: usize,
}

impl Variant {
    pub(super) fn recognise(octets: &[u8]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| match order.u32(octets, 0) {
            0xa1b2_c3d4 => Some(Self { order, unit: 1000, header: 16 }),
            0xa1b2_3c4d => Some(Self { order, unit: 1, header: 16 }),
            0xa1b2_cd34 => Some(Self { order, unit: 1000, header: 24 }),
            _ => None,
        })
    }
}

#[derive(Debug)]
pub(super) struct Pcap {
    variant: Variant,
    link: LinkType,
    snaplen: u32,
}

impl Pcap {
    pub(super) fn new<R: Read>(variant: Variant, window: &mut Window<R>) -> Result<(Self, Interface), Damage> {
        if !window.want(FILE_HEADER) {
            let there = window.length() as u64;
            return Err(window.breaks_off(Part::FileHeader, FILE_HEADER as u64, there));
        }
        let (order, head) = (variant.order, window.here());
        let (major, minor) = (order.u16(head, 4), order.u16(head, 6));
        // In versions before 2.4 the two lengths of a record change places, in 2.3 only sometimes.
        if (major, minor) != (2, 4) {
            return Err(Damage { offset: 0, what: DamageKind::Version { major, minor } });
        }
        let snaplen = order.u32(head, 16);
        // Above are flags and the length of the frame check sequence.
        let link = LinkType(order.u32(head, 20) & 0x03ff_ffff);
        window.pass(FILE_HEADER);
        Ok((Self { variant, link, snaplen }, Interface { link, snaplen, name: None }))
    }

    /// Length in bytes of the record that begins here, as far as it is known.
    pub(super) fn record_length(&self, here: &[u8]) -> usize {
        let Variant { order, header, .. } = self.variant;
        header + if here.len() < header { 0 } else { order.u32(here, 8) as usize }
    }

    #[inline]
    pub(super) fn next<R: Read>(&self, window: &mut Window<R>) -> Found {
        let Variant { order, unit, header } = self.variant;
        if !window.want(header) {
            if window.is_at_end() {
                return Found::End;
            }
            let there = window.length() as u64;
            return Found::Last(window.breaks_off(Part::RecordHeader, header as u64, there));
        }
        let offset = window.offset();
        let head = &window.here()[..header];
        let (seconds, fraction) = (order.u32(head, 0), order.u32(head, 4));
        let (captured, original) = (order.u32(head, 8), order.u32(head, 12));
        let direction = if header == 24 { Direction::of_packet_type(head[22].into()) } else { None };
        if captured > BELIEVED.max(self.snaplen) {
            let what = DamageKind::Absurd { captured, snaplen: self.snaplen };
            return Found::Last(Damage { offset, what });
        }
        let whole = header + captured as usize;
        if whole > CAPACITY {
            window.pass(header);
            let there = window.skip(captured.into());
            if there < captured.into() {
                return Found::Last(window.breaks_off(Part::Record, captured.into(), there));
            }
            let what = DamageKind::TooLong { part: Part::Record, length: captured.into() };
            return Found::Damage(Damage { offset, what });
        }
        if !window.want(whole) {
            let there = (window.length() - header) as u64;
            return Found::Last(window.breaks_off(Part::Record, captured.into(), there));
        }
        let octets = window.pass(whole);
        Found::Packet(Record {
            time: Some(u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit),
            octets: octets.start + header..octets.end,
            original,
            interface: 0,
            link: self.link,
            direction,
            comment: None,
            offset,
        })
    }
}
