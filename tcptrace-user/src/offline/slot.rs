//! Places in the slab of conversations, and a conversation's neighbours in the order of first packets.
//!
//! Knows neither the slab nor what a conversation is, so that both can name it.

/// A conversation's place in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(pub(super) u32);

/// Its neighbours in the order of first packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) before: Slot,
    pub(super) after: Slot,
}

impl Links {
    pub(super) const NONE: Self = Self { before: Slot::NONE, after: Slot::NONE };
}

impl Slot {
    pub(super) const NONE: Self = Self(u32::MAX);

    /// `None` for [`Slot::NONE`].
    pub(super) fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}
