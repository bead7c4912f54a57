//! TCP sequence numbers, compared modulo 2³² (RFC 9293, section 3.4).

/// A sequence or acknowledgement number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Seq(pub u32);

impl Seq {
    /// The number `by` bytes further on.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, by: u32) -> Self {
        Self(self.0.wrapping_add(by))
    }

    /// Whether this number is `first` or one of the `len - 1` that follow it.
    #[inline(always)]
    #[must_use]
    pub const fn within(self, first: Self, len: u32) -> bool {
        self.0.wrapping_sub(first.0) < len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        let isn = Seq(u32::MAX);
        assert_eq!(isn.add(1), Seq(0));
        assert!(isn.add(1).within(isn, 2));
        assert!(!isn.add(2).within(isn, 2));
        assert!(!Seq(u32::MAX - 1).within(isn, 2));
    }
}
