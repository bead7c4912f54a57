//! The one thing a parser needs of a packet: bytes at an offset, if they are there.
//!
//! Three small implementations: a slice here, an XDP frame and a TC skb in the kernel programs.

/// Headers that lie further on are not looked at.
pub const REACH: usize = 2048;

/// A packet's bytes, from its first header on.
pub trait Packet {
    /// Whether it is asked if more fragments follow a first one. The kernel programs do not, and pay nothing for it.
    const TELLS_FRAGMENTS: bool = false;

    /// The `N` bytes at offset `at`, or `None` where the packet ends before them.
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// The same offset, of which the kernel's verifier knows afterwards only that it is below [`REACH`]. It makes all
    /// ways to a header, and every round of a loop over options, look alike: without it the verifier follows each
    /// combination of lengths, and gives up.
    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        offset
    }

    /// One byte.
    #[inline(always)]
    fn u8(&self, at: usize) -> Option<u8> {
        self.bytes::<1>(at).map(|[it]| it)
    }

    /// Two bytes in network order.
    #[inline(always)]
    fn u16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_be_bytes)
    }
}

impl Packet for [u8] {
    const TELLS_FRAGMENTS: bool = true;

    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }
}
