//! The bounded table's arithmetic: tags, lanes, and who makes room. Pure; the kernel programs do the locking.
//!
//! A flow's hash picks a set of [`WAYS`] slots. A set's directory holds a 16-bit tag for each, all in half a cache
//! line, so that one load answers what every data packet asks: is a handshake pending under this flow's hash? A tag
//! is exact enough: with every slot pending one packet in 4,096 is told yes wrongly, against 1 in 100 for a bit array
//! of the same size at 100,000 pending, and unlike a bit it can be taken back without asking who else set it.

/// Slots of a set.
pub const WAYS: usize = 8;
/// Tags in a word of the directory.
pub const LANES: usize = 4;
const WORDS: usize = WAYS / LANES;

/// Set in a lane while its attempt is pending: the only lanes that a bare ACK is compared with.
pub const PENDING: u16 = 0x8000;

const EVERY_LANE: u64 = 0x0001_0001_0001_0001;
const TOP_BITS: u64 = 0x8000_8000_8000_8000;

/// A set's directory: what is in its slots, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Set {
    /// [`LANES`] tags a word, the first in the lowest bits; zero is an empty lane.
    pub tags: [u64; WORDS],
    /// When each slot was taken, in seconds modulo 2¹⁶. Written without a lock: a lost update costs one wrong choice
    /// of whom to replace.
    pub born: [u16; WAYS],
}

const _: () = assert!(size_of::<Set>() == 32);

/// A slot: an attempt, and the counter that is both its lock (odd while held) and its version.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Slot {
    pub version: u64,
    pub handshake: crate::handshake::Handshake,
}

const _: () = assert!(size_of::<Slot>() == 128);

/// The fifteen bits of a hash that a lane keeps; never zero. The set's index takes the low bits, this the high ones.
#[inline(always)]
#[must_use]
pub const fn tag(hash: u64) -> u16 {
    let tag = (hash >> 49) as u16;
    if tag == 0 { 1 } else { tag }
}

impl Set {
    /// Whether a pending attempt carries this tag.
    #[inline(always)]
    #[must_use]
    pub fn has_pending(&self, tag: u16) -> bool {
        let wanted = EVERY_LANE.wrapping_mul((tag | PENDING) as u64);
        // The first zero lane is found exactly; borrows only blur those above it.
        let zero = |it: u64| it.wrapping_sub(EVERY_LANE) & !it & TOP_BITS;
        (zero(self.tags[0] ^ wanted) | zero(self.tags[1] ^ wanted)) != 0
    }

    /// The lane's content.
    #[inline(always)]
    #[must_use]
    pub fn lane(&self, way: usize) -> u16 {
        (self.tags[(way / LANES) & (WORDS - 1)] >> shift(way)) as u16
    }

    /// The way whose slot a new attempt takes at `now` (seconds modulo 2¹⁶): an empty one, else the oldest settled,
    /// else the oldest.
    #[inline(always)]
    #[must_use]
    pub fn to_replace(&self, now: u16) -> usize {
        let mut best = 0;
        let mut best_rank = 0;
        let mut way = 0;
        while way < WAYS {
            let lane = self.lane(way);
            let age = now.wrapping_sub(self.born[way]) as u32;
            let rank = match lane {
                0 => u32::MAX,
                it if it & PENDING == 0 => age | 1 << 16,
                _ => age,
            };
            if rank > best_rank || way == 0 {
                best = way;
                best_rank = rank;
            }
            way += 1;
        }
        best
    }
}

/// Bits below a way's lane in its word.
#[inline(always)]
#[must_use]
pub const fn shift(way: usize) -> u32 {
    (way % LANES) as u32 * 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lanes: [u16; WAYS], born: [u16; WAYS]) -> Set {
        let word = |at: usize| (0..LANES).fold(0, |word, lane| word | (lanes[at + lane] as u64) << shift(lane));
        Set { tags: [word(0), word(LANES)], born }
    }

    #[test]
    fn only_pending_lanes_answer() {
        for way in 0..WAYS {
            let mut lanes = [0; WAYS];
            lanes[way] = 7;
            assert!(!set(lanes, [0; WAYS]).has_pending(7), "settled, way {way}");
            lanes[way] |= PENDING;
            assert!(set(lanes, [0; WAYS]).has_pending(7), "pending, way {way}");
            assert!(!set(lanes, [0; WAYS]).has_pending(6), "another, way {way}");
            assert_eq!(set(lanes, [0; WAYS]).lane(way), 7 | PENDING);
        }
    }

    #[test]
    fn empty_then_settled_then_oldest_makes_room() {
        let full = [1 | PENDING; WAYS];
        let born = [5, 4, 3, 2, 1, 6, 7, 8];
        assert_eq!(set(full, born).to_replace(10), 4);
        let mut one_settled = full;
        one_settled[6] = 1;
        assert_eq!(set(one_settled, born).to_replace(10), 6);
        let mut one_empty = one_settled;
        one_empty[7] = 0;
        assert_eq!(set(one_empty, born).to_replace(10), 7);
        // The clock wraps: born at 65,535 is younger than born at 65,530.
        assert_eq!(set(full, [65_535, 65_534, 65_533, 65_530, 2, 1, 0, 65_532]).to_replace(3), 3);
    }

    #[test]
    fn tags_are_never_empty() {
        assert_eq!(tag(0), 1);
        assert_eq!(tag(u64::MAX), 0x7fff);
    }
}
