//! The tests that a filter is made of, each as it is evaluated.
//!
//! Qualifiers that decide nothing are gone: only TCP is traced, so `tcp port` is `port`, and an address has its own
//! family, so `ip host` is `host`. A host is a network with a full mask.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use tcptrace_core::flow::{Addr, Endpoint};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Primitive {
    /// Always true; kept because `not tcp` is a filter too.
    Tcp,
    Ip,
    Ip6,
    Net(Direction, Net),
    /// From the first port to the last.
    Ports(Direction, u16, u16),
}

/// Which of the two endpoints has to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Src,
    Dst,
    Either,
    Both,
}

/// Addresses that agree in the bits of a mask, which need not be contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Net {
    pub(super) addr: Addr,
    pub(super) mask: Addr,
}

impl Primitive {
    pub(super) fn matches(self, src: Endpoint, dst: Endpoint) -> bool {
        match self {
            Self::Tcp => true,
            Self::Ip => src.addr.is_v4(),
            Self::Ip6 => !src.addr.is_v4(),
            Self::Net(direction, net) => direction.holds(|end| net.contains(end.addr), src, dst),
            Self::Ports(direction, first, last) => direction.holds(|end| (first..=last).contains(&end.port), src, dst),
        }
    }
}

impl Direction {
    fn holds(self, fits: impl Fn(Endpoint) -> bool, src: Endpoint, dst: Endpoint) -> bool {
        match self {
            Self::Src => fits(src),
            Self::Dst => fits(dst),
            Self::Either => fits(src) || fits(dst),
            Self::Both => fits(src) && fits(dst),
        }
    }
}

impl Net {
    /// Nothing if the address has bits outside of the mask.
    pub(super) fn v4(addr: u32, mask: u32) -> Option<Self> {
        let mask = Addr { hi: u64::MAX, lo: u64::MAX << 32 | u64::from(mask) };
        Self { addr: Addr::v4(addr), mask }.checked()
    }

    /// The same for IPv6.
    pub(super) fn v6(addr: u128, mask: u128) -> Option<Self> {
        Self { addr: halves(addr), mask: halves(mask) }.checked()
    }

    fn checked(self) -> Option<Self> {
        (self.addr.hi & !self.mask.hi == 0 && self.addr.lo & !self.mask.lo == 0).then_some(self)
    }

    pub(super) fn is_v4(self) -> bool {
        self.addr.is_v4()
    }

    /// Families are compared as well: `::/0` holds no IPv4 address, though its mapped form lies in it.
    fn contains(self, addr: Addr) -> bool {
        addr.is_v4() == self.addr.is_v4()
            && addr.hi & self.mask.hi == self.addr.hi
            && addr.lo & self.mask.lo == self.addr.lo
    }
}

fn halves(bits: u128) -> Addr {
    Addr { hi: (bits >> 64) as u64, lo: bits as u64 }
}

fn whole(addr: Addr) -> u128 {
    u128::from_be_bytes(addr.octets())
}

impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Ip => f.write_str("ip"),
            Self::Ip6 => f.write_str("ip6"),
            Self::Net(direction, net) => write!(f, "{direction}{net}"),
            Self::Ports(direction, first, last) if first == last => write!(f, "{direction}port {first}"),
            Self::Ports(direction, first, last) => write!(f, "{direction}portrange {first}-{last}"),
        }
    }
}

/// With the space that follows it, if it is written at all.
impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Src => "src ",
            Self::Dst => "dst ",
            Self::Either => "",
            Self::Both => "src and dst ",
        })
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (addr, mask) = (whole(self.addr), whole(self.mask));
        let length = mask.leading_ones();
        if self.addr.is_v4() {
            let (addr, bits) = (Ipv4Addr::from(addr as u32), mask as u32);
            match length {
                128 => write!(f, "host {addr}"),
                _ if bits.leading_ones() == bits.count_ones() => write!(f, "net {addr}/{}", length - 96),
                _ => write!(f, "net {addr} mask {}", Ipv4Addr::from(bits)),
            }
        } else {
            match (Ipv6Addr::from(addr), length) {
                (addr, 128) => write!(f, "host {addr}"),
                (addr, length) => write!(f, "net {addr}/{length}"),
            }
        }
    }
}
