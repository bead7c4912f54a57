//! A filter as the kernel applies it: a list of tests, each of whose answers names the next test.
//!
//! Exact for every filter of at most [`LENGTH`] tests; a longer one stays in userspace. It is applied to SYNs, and with
//! the ends swapped to SYN/ACKs, and to nothing else: an attempt that is not wanted costs no slot. Steps lead forward
//! only, and their arithmetic has no branches: the verifier would follow every combination of them.

use crate::flow::Endpoint;

/// Tests that the kernel's map holds.
pub const LENGTH: usize = 32;

/// The next step after the last test: any number from [`LENGTH`] on.
pub const ACCEPT: u8 = 0xff;
pub const REJECT: u8 = 0xfe;

/// One test of both endpoints, and where its answers lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Test {
    /// The network that an address must lie in; a mask of zero takes every address.
    pub addr: crate::flow::Addr,
    pub mask: crate::flow::Addr,
    /// The first and the last port.
    pub first: u16,
    pub last: u16,
    /// Which families fit: bit 0 IPv6, bit 1 IPv4. `::/0` holds no IPv4 address, though its mapped form lies in it.
    pub families: u8,
    /// The answer, by who fits: the bit `2 * client + server`.
    pub truth: u8,
    /// The next test, by the answer.
    pub no: u8,
    pub yes: u8,
}

const _: () = assert!(size_of::<Test>() == 40 && align_of::<Test>() == 8);

impl Test {
    /// Answers, as [`Test::truth`] has them.
    pub const SRC: u8 = 0b1100;
    pub const DST: u8 = 0b1010;
    pub const EITHER: u8 = Self::SRC | Self::DST;
    pub const BOTH: u8 = Self::SRC & Self::DST;
    pub const ALWAYS: u8 = 0b1111;

    /// The number of the next test, or what the whole filter says, of a packet from `src` to `dst`; of one that goes
    /// from the server to the client if `back` is one and not zero.
    #[inline(always)]
    #[must_use]
    pub fn next(&self, src: Endpoint, dst: Endpoint, back: u64) -> u8 {
        let who = self.fits(src) << (back ^ 1) | self.fits(dst) << back;
        let answer = u64::from(self.truth) >> who & 1;
        let (no, yes) = (u64::from(self.no), u64::from(self.yes));
        (no ^ (no ^ yes) & answer.wrapping_neg()) as u8
    }

    #[inline(always)]
    fn fits(&self, endpoint: Endpoint) -> u64 {
        let differs = endpoint.addr.hi & self.mask.hi ^ self.addr.hi | endpoint.addr.lo & self.mask.lo ^ self.addr.lo;
        let v4 = is_zero(endpoint.addr.hi | endpoint.addr.lo >> 32 ^ 0xffff);
        let (port, first, last) = (u64::from(endpoint.port), u64::from(self.first), u64::from(self.last));
        // Negative numbers have the top bit.
        let outside = (port.wrapping_sub(first) | last.wrapping_sub(port)) >> 63;
        is_zero(differs) & u64::from(self.families) >> v4 & (outside ^ 1)
    }
}

/// One for zero, else zero.
#[inline(always)]
const fn is_zero(number: u64) -> u64 {
    (number | number.wrapping_neg()) >> 63 ^ 1
}
