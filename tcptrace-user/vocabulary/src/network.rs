//! Networks: the /24 of an IPv4 address, the /64 of an IPv6 address, or a whole family.

use std::ops::RangeInclusive;

use tcptrace_core::flow::Addr;

/// A network by its first address: /24, of IPv6 /64; or a whole family, /0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first address.
    pub addr: Addr,
    /// The length of its prefix in bits, counted in its own family.
    pub prefix: u8,
}

impl Network {
    /// The network of a host.
    #[must_use]
    pub const fn of(host: Addr) -> Self {
        if host.is_v4() {
            Self { addr: Addr { lo: host.lo & !0xff, ..host }, prefix: 24 }
        } else {
            Self { addr: Addr { lo: 0, ..host }, prefix: 64 }
        }
    }

    /// All addresses of a host's family.
    #[must_use]
    pub const fn family(host: Addr) -> Self {
        Self { addr: if host.is_v4() { Addr::v4(0) } else { Addr { hi: 0, lo: 0 } }, prefix: 0 }
    }

    /// Its addresses; IPv6 has those before its first /64 for IPv4.
    #[must_use]
    pub const fn addresses(self) -> RangeInclusive<Addr> {
        let Addr { hi, lo } = self.addr;
        match (self.prefix, self.addr.is_v4()) {
            (0, true) => self.addr..=Addr::v4(u32::MAX),
            (0, false) => Addr { hi: 1, lo: 0 }..=Addr { hi: u64::MAX, lo: u64::MAX },
            (_, true) => self.addr..=Addr { hi, lo: lo | 0xff },
            (_, false) => self.addr..=Addr { hi, lo: u64::MAX },
        }
    }
}
