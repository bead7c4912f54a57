//! The bounded table's arithmetic: tags, lanes, order, and who makes room. Pure; the kernel programs do the locking.
//!
//! A flow's hash picks a set of [`WAYS`] slots. A set's directory holds a 16-bit tag for each, all in half a cache
//! line, so that one load answers the question for every data packet: is a handshake pending under this flow's hash? A
//! tag is exact enough: with every slot pending, one packet in 4,096 wrongly gets a yes, against 1 in 100 for a bit
//! array of the same size at 100,000 pending. Unlike a bit it can be taken back without asking who else set it.

/// Slots of a set.
pub const WAYS: usize = 8;
/// Tags in a word of the directory.
pub const LANES: usize = 4;
const WORDS: usize = WAYS / LANES;

/// Set in a lane while its attempt is pending: the only lanes that a bare ACK is compared with.
pub const PENDING: u16 = 0x8000;

const EVERY_LANE: u64 = 0x0001_0001_0001_0001;
const TOP_BITS: u64 = 0x8000_8000_8000_8000;

/// Bits of a way in [`Set::order`].
const NIBBLE: u32 = 4;
const EVERY_NIBBLE: u32 = 0x1111_1111;
/// The order of a set that was never used: a zeroed map is one that works.
const FIRST_ORDER: u32 = 0x7654_3210;

/// A set's directory: the tags of its slots, the order of their attempts, and the lock of them all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Set {
    /// [`LANES`] tags a word, the first in the lowest bits; zero is an empty lane.
    pub tags: [u64; WORDS],
    /// The set's lock (odd while held) and the version of all that is in it.
    pub version: u64,
    /// The ways by age of their attempts, a nibble each, the oldest lowest; kept XORed with the first order.
    order: u32,
    pad: u32,
}

const _: () = assert!(size_of::<Set>() == 32);

/// A slot: an attempt on cache lines of its own, and what only the kernel programs need of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Slot {
    pub handshake: crate::handshake::Handshake,
    /// The accounts that its opening was noted in.
    pub notes: crate::pressure::Notes,
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
        self.has_lane(u64::MAX, tag | PENDING)
    }

    /// Whether any attempt does.
    #[inline(always)]
    #[must_use]
    pub fn has(&self, tag: u16) -> bool {
        self.has_lane(!TOP_BITS, tag)
    }

    #[inline(always)]
    fn has_lane(&self, mask: u64, lane: u16) -> bool {
        let wanted = EVERY_LANE.wrapping_mul(lane as u64);
        (zero_lanes(self.tags[0] & mask ^ wanted) | zero_lanes(self.tags[1] & mask ^ wanted)) != 0
    }

    /// The first way that holds nothing.
    #[inline(always)]
    fn empty(&self) -> Option<usize> {
        let mut word = 0;
        while word < WORDS {
            let zero = zero_lanes(self.tags[word]);
            if zero != 0 {
                let first = zero & zero.wrapping_neg();
                let lane = (1..LANES).filter(|lane| first >= 1 << (16 * lane)).count();
                return Some(word * LANES + lane);
            }
            word += 1;
        }
        None
    }

    /// The lane's content.
    #[inline(always)]
    #[must_use]
    pub fn lane(&self, way: usize) -> u16 {
        (self.tags[(way / LANES) & (WORDS - 1)] >> shift(way)) as u16
    }

    /// Changes the lane's content: one store, of a word that its readers read whole.
    #[inline(always)]
    pub fn set_lane(&mut self, way: usize, lane: u16) {
        let change = (self.lane(way) ^ lane) as u64;
        self.tags[(way / LANES) & (WORDS - 1)] ^= change << shift(way);
    }

    /// The way that was taken longest ago.
    #[inline(always)]
    #[must_use]
    pub fn oldest(&self) -> usize {
        (self.order ^ FIRST_ORDER) as usize & (WAYS - 1)
    }

    /// The way whose slot a new attempt takes: an empty one, or that of the oldest settled attempt, or the oldest.
    #[inline(always)]
    #[must_use]
    pub fn to_replace(&self) -> usize {
        if let Some(way) = self.empty() {
            return way;
        }
        let order = self.order ^ FIRST_ORDER;
        let mut place = 0;
        while place < WAYS {
            let way = (order >> (place as u32 * NIBBLE)) as usize & (WAYS - 1);
            if self.lane(way) & PENDING == 0 {
                return way;
            }
            place += 1;
        }
        self.oldest()
    }

    /// Makes a way the youngest.
    #[inline(always)]
    pub fn renew(&mut self, way: usize) {
        let order = self.order ^ FIRST_ORDER;
        let way = (way & (WAYS - 1)) as u32;
        let older = older(order, way);
        let renewed = order & older | order >> NIBBLE & !older & (u32::MAX >> NIBBLE) | way << (u32::BITS - NIBBLE);
        self.order = renewed ^ FIRST_ORDER;
    }

    /// Makes a way the oldest: the first to make room.
    #[inline(always)]
    pub fn age(&mut self, way: usize) {
        let order = self.order ^ FIRST_ORDER;
        let way = (way & (WAYS - 1)) as u32;
        let older = older(order, way);
        let not_younger = older << NIBBLE | ((1 << NIBBLE) - 1);
        self.order = (order & !not_younger | (order & older) << NIBBLE | way) ^ FIRST_ORDER;
    }
}

/// The top bits of the lanes that are zero. The first is found exactly; borrows only blur those above it.
#[inline(always)]
const fn zero_lanes(word: u64) -> u64 {
    word.wrapping_sub(EVERY_LANE) & !word & TOP_BITS
}

/// The nibbles below a way's own, as a mask.
#[inline(always)]
const fn older(order: u32, way: u32) -> u32 {
    // The top bit of the way's nibble, found as lanes are above.
    let others = order ^ way.wrapping_mul(EVERY_NIBBLE);
    let found = others.wrapping_sub(EVERY_NIBBLE) & !others & (EVERY_NIBBLE << (NIBBLE - 1));
    ((found & found.wrapping_neg()) >> (NIBBLE - 1)).wrapping_sub(1)
}

/// Bits below a way's lane in its word.
#[inline(always)]
const fn shift(way: usize) -> u32 {
    (way % LANES) as u32 * 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lanes: [u16; WAYS]) -> Set {
        let mut set = Set::default();
        lanes.into_iter().enumerate().for_each(|(way, lane)| set.set_lane(way, lane));
        set
    }

    #[test]
    fn only_pending_lanes_answer() {
        for way in 0..WAYS {
            let mut lanes = [0; WAYS];
            lanes[way] = 7;
            assert!(!set(lanes).has_pending(7), "settled, way {way}");
            assert!(set(lanes).has(7), "settled, way {way}");
            lanes[way] |= PENDING;
            assert!(set(lanes).has_pending(7) && set(lanes).has(7), "pending, way {way}");
            assert!(!set(lanes).has_pending(6) && !set(lanes).has(6), "another, way {way}");
            assert_eq!(set(lanes).lane(way), 7 | PENDING);
        }
        assert!(!Set::default().has(1));
    }

    /// Against a list: whatever is opened and settled, in whatever order.
    #[test]
    fn oldest_settled_then_oldest_makes_room() {
        let mut set = Set::default();
        let mut oldest_first: [usize; WAYS] = core::array::from_fn(|way| way);
        let mut random = 1u32;
        for step in 0..10_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let way = (random >> 24) as usize % WAYS;
            match random >> 16 & 3 {
                0 if random >> 18 & 7 == 0 => {
                    set.set_lane(way, 0);
                    continue;
                }
                0 | 1 => {
                    set.set_lane(way, set.lane(way) & !PENDING);
                    continue;
                }
                2 if random >> 18 & 1 == 0 => {
                    let place = oldest_first.iter().position(|&it| it == way).unwrap();
                    oldest_first[..=place].rotate_right(1);
                    set.age(way);
                    assert_eq!(set.oldest(), way, "step {step}");
                    continue;
                }
                _ => {}
            }
            let empty = (0..WAYS).find(|&it| set.lane(it) == 0);
            let settled = || oldest_first.iter().copied().find(|&it| set.lane(it) & PENDING == 0);
            let expected = empty.or_else(settled).unwrap_or(oldest_first[0]);
            let place = oldest_first.iter().position(|&it| it == expected).unwrap();
            assert_eq!(set.to_replace(), expected, "step {step}");
            oldest_first[place..].rotate_left(1);
            set.set_lane(expected, 1 | PENDING);
            set.renew(expected);
        }
    }

    #[test]
    fn empty_ways_come_first() {
        let mut set = Set::default();
        for way in 0..WAYS {
            assert_eq!(set.to_replace(), way);
            // Settled at once and first to make room, and yet behind those that are empty.
            set.set_lane(way, 1);
            set.age(way);
        }
        assert_eq!(set.to_replace(), 7);
    }

    #[test]
    fn tags_are_never_empty() {
        assert_eq!(tag(0), 1);
        assert_eq!(tag(u64::MAX), 0x7fff);
    }
}
