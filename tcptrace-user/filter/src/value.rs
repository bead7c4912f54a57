//! The words after a qualifier: addresses, lengths, masks, ports.
//!
//! Stricter than pcap-filter, which reads a leading zero as octal in a port and as nothing in an address, takes `host
//! 10` for 0.0.0.10 and resolves names: each of these is an error here.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    error::{Problem, quoted},
    primitive::Net,
    services,
};

/// An address as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    /// Omitted bytes are zero; `octets` is the number of bytes that were written, one to four.
    V4 {
        addr: u32,
        octets: u32,
    },
    V6(u128),
}

impl Literal {
    pub(super) fn parse(word: &str) -> Result<Self, Problem> {
        if word.contains(':') {
            let addr: Ipv6Addr = word.parse().map_err(|_| Problem::NoAddress(quoted(word)))?;
            return match addr.to_ipv4_mapped() {
                Some(inner) => Err(Problem::Mapped { word: quoted(word), inner }),
                None => Ok(Self::V6(addr.to_bits())),
            };
        }
        if word.contains(|it: char| it != '.' && !it.is_ascii_digit()) {
            return Err(Problem::Name(quoted(word)));
        }
        let (mut addr, mut octets) = (0, 0);
        for part in word.split('.') {
            if octets == 4 {
                return Err(Problem::NoAddress(quoted(word)));
            }
            let octet: u8 = part.parse().map_err(|_| Problem::NoAddress(quoted(word)))?;
            if leading_zero(part) {
                return Err(Problem::LeadingZero(quoted(word)));
            }
            addr |= u32::from(octet) << (24 - 8 * octets);
            octets += 1;
        }
        Ok(Self::V4 { addr, octets })
    }

    /// As what `host` takes.
    pub(super) fn host(self, word: &str) -> Result<Net, Problem> {
        match self {
            Self::V4 { octets: 4, .. } | Self::V6(_) => self.net(word, None),
            Self::V4 { .. } => Err(Problem::PartialAddress(quoted(word))),
        }
    }

    /// As what `net` takes, with the mask that its written length makes.
    pub(super) fn net(self, word: &str, length: Option<u32>) -> Result<Net, Problem> {
        match self {
            // By the manual it is 0.0.0.0/8; libpcap makes it 0.0.0.0/32.
            Self::V4 { addr: 0, octets: 1 } if length.is_none() => Err(Problem::NetZero),
            Self::V4 { octets: 1, addr } if length.is_some() => Err(short(word, addr)),
            Self::V4 { addr, octets } => {
                let length = length.unwrap_or(8 * octets);
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                Net::v4(addr, mask).ok_or_else(|| Problem::HostBits {
                    net: format!("{word}/{length}"),
                    remedy: format!("{}/{length}", Ipv4Addr::from(addr & mask)),
                })
            }
            Self::V6(addr) => {
                let length = length.unwrap_or(128);
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                Net::v6(addr, mask).ok_or_else(|| Problem::HostBits {
                    net: format!("{word}/{length}"),
                    remedy: format!("{}/{length}", Ipv6Addr::from(addr & mask)),
                })
            }
        }
    }

    /// As what `net` takes, with a mask of its own.
    pub(super) fn masked(self, word: &str, mask: Self, mask_word: &str) -> Result<Net, Problem> {
        match (self, mask) {
            (Self::V4 { octets: 1, addr }, _) => Err(short(word, addr)),
            (_, Self::V4 { octets: 1, addr }) => Err(short(mask_word, addr)),
            (Self::V4 { addr, .. }, Self::V4 { addr: mask, .. }) => {
                Net::v4(addr, mask).ok_or_else(|| Problem::HostBits {
                    net: format!("{word} mask {mask_word}"),
                    remedy: format!("{} mask {mask_word}", Ipv4Addr::from(addr & mask)),
                })
            }
            (Self::V6(_), _) | (_, Self::V6(_)) => Err(Problem::MaskOfV6),
        }
    }

    /// The longest prefix.
    pub(super) fn bits(self) -> u32 {
        match self {
            Self::V4 { .. } => 32,
            Self::V6(_) => 128,
        }
    }
}

/// libpcap's grammar takes a single number for no address when a length or a mask follows.
fn short(word: &str, addr: u32) -> Problem {
    Problem::ShortNet { word: word.to_owned(), remedy: Ipv4Addr::from(addr) }
}

/// The length after `/`.
pub(super) fn length(word: &str, longest: u32) -> Result<u32, Problem> {
    let length = word.parse().ok().filter(|&it| it <= longest && number(word));
    match length {
        Some(_) if leading_zero(word) => Err(Problem::LeadingZero(quoted(word))),
        Some(length) => Ok(length),
        None => Err(Problem::Length { word: quoted(word), longest }),
    }
}

/// An argument of `port`.
pub(super) fn port(word: &str) -> Result<u16, Problem> {
    match word.parse() {
        Ok(_) if leading_zero(word) => Err(Problem::LeadingZero(quoted(word))),
        Ok(port) => Ok(port),
        Err(_) if number(word) => Err(Problem::PortTooHigh(quoted(word))),
        Err(_) => services::port(word).ok_or_else(|| match word.split_once('-') {
            Some((first, last)) if number(first) && number(last) => Problem::RangeAsPort(quoted(word)),
            _ => Problem::NoSuchPort(quoted(word)),
        }),
    }
}

/// One side of a range. A name that begins with a digit is not one: libpcap stops at its first letter.
pub(super) fn bound(word: &str) -> Result<u16, Problem> {
    match word.chars().next() {
        Some(first) if !number(word) && !first.is_ascii_alphabetic() => Err(Problem::NoSuchPort(quoted(word))),
        _ => port(word),
    }
}

pub(super) fn number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|it| it.is_ascii_digit())
}

fn leading_zero(word: &str) -> bool {
    word.len() > 1 && word.starts_with('0')
}

/// The qualifier that a word which has none may want.
pub(super) fn likely_head(word: &str) -> Option<&'static str> {
    match Literal::parse(word) {
        _ if port(word).is_ok() => Some("port"),
        Ok(Literal::V4 { octets: 1..=3, .. }) => Some("net"),
        Ok(_) => Some("host"),
        Err(_) => None,
    }
}
