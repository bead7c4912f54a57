//! Decides what happens to a segment: it is applied to its attempt, opens one, or is only counted. Policy alone; the
//! kernel programs look the attempt up and carry out the deed.

use crate::segment::Kind;

/// Whether a SYN or SYN/ACK may open an attempt. Any other segment opens none, and is always admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Admission {
    /// It may.
    Admitted = 0,
    /// The filter does not want the attempt.
    Unwanted = 1,
    /// Its listener, or something wider, is flooded, and this one is not in the sample.
    KeptOut = 2,
}

impl Admission {
    /// Every admission, in order of its number.
    pub const ALL: [Self; 3] = [Self::Admitted, Self::Unwanted, Self::KeptOut];

    /// By its number; any other number reads as [`Admission::Admitted`].
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            1 => Self::Unwanted,
            2 => Self::KeptOut,
            _ => Self::Admitted,
        }
    }
}

/// The table's entry for a segment's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// No attempt.
    None,
    /// An attempt. That a SYN's number is its initial sequence number is checked for a SYN that is kept out; any other
    /// is the attempt's in any case.
    Followed,
    /// An attempt with another initial sequence number than the number of this SYN, which is kept out.
    OtherIsn,
}

impl Entry {
    /// Every entry.
    pub const ALL: [Self; 3] = [Self::None, Self::Followed, Self::OtherIsn];
}

/// The treatment of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing more: it was counted when it was kept out.
    Ignore,
    /// It is applied to its attempt.
    Step,
    /// It opens an attempt, which takes a slot from another if it must.
    Open,
    /// It is counted as unmatched, and kept where that takes no pending attempt's slot.
    OpenUnsolicited,
    /// It is counted as filtered out.
    CountFilteredOut,
    /// It is counted as unmatched.
    CountUnmatched,
}

/// Decides how to treat a segment of this kind.
#[inline(always)]
#[must_use]
pub const fn decide(entry: Entry, admission: Admission, kind: Kind) -> Deed {
    match (entry, admission, kind) {
        (Entry::Followed, _, _) | (Entry::OtherIsn, Admission::Admitted | Admission::Unwanted, _) => Deed::Step,
        // A flood's SYN with another number must not end the attempt that is followed; its own retry is followed.
        (Entry::None | Entry::OtherIsn, Admission::KeptOut, _) => Deed::Ignore,
        (Entry::None, Admission::Unwanted, _) => Deed::CountFilteredOut,
        (Entry::None, Admission::Admitted, Kind::Syn) => Deed::Open,
        (Entry::None, Admission::Admitted, Kind::SynAck) => Deed::OpenUnsolicited,
        (Entry::None, Admission::Admitted, Kind::Ack | Kind::Fin | Kind::Rst | Kind::Null) => Deed::CountUnmatched,
    }
}

/// Whether a SYN that superseded an attempt opens the next one; if not, the slot is free.
#[inline(always)]
#[must_use]
pub const fn opens_next(admission: Admission) -> bool {
    match admission {
        Admission::Admitted | Admission::KeptOut => true,
        Admission::Unwanted => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 6] = [Kind::Syn, Kind::SynAck, Kind::Ack, Kind::Fin, Kind::Rst, Kind::Null];

    /// Every combination, a row for each entry and admission, in the order of [`KINDS`].
    #[test]
    fn every_segment_has_its_deed() {
        use Deed::{CountFilteredOut, CountUnmatched, Ignore, Open, OpenUnsolicited, Step};
        #[rustfmt::skip]
        let table = [
            (Entry::None, Admission::Admitted, [Open, OpenUnsolicited, CountUnmatched, CountUnmatched, CountUnmatched, CountUnmatched]),
            (Entry::None, Admission::Unwanted, [CountFilteredOut; 6]),
            (Entry::None, Admission::KeptOut, [Ignore; 6]),
            (Entry::Followed, Admission::Admitted, [Step; 6]),
            (Entry::Followed, Admission::Unwanted, [Step; 6]),
            (Entry::Followed, Admission::KeptOut, [Step; 6]),
            (Entry::OtherIsn, Admission::Admitted, [Step; 6]),
            (Entry::OtherIsn, Admission::Unwanted, [Step; 6]),
            (Entry::OtherIsn, Admission::KeptOut, [Ignore; 6]),
        ];
        let rows = Entry::ALL.iter().flat_map(|entry| Admission::ALL.map(|admission| (*entry, admission)));
        assert!(rows.eq(table.iter().map(|row| (row.0, row.1))), "a row is missing");
        for (entry, admission, deeds) in table {
            assert_eq!(KINDS.map(|kind| decide(entry, admission, kind)), deeds, "{entry:?}, {admission:?}");
        }
    }

    #[test]
    fn only_what_the_filter_does_not_want_frees_the_slot() {
        assert_eq!(Admission::ALL.map(opens_next), [true, false, true]);
    }

    #[test]
    fn an_admission_is_its_number() {
        for admission in Admission::ALL {
            assert_eq!(Admission::of(admission as u8), admission);
        }
    }
}
