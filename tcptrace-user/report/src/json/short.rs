//! Addresses, times and ids as text without an allocation: a line of JSON has a dozen of them.

use std::fmt::{self, Write};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tcptrace_core::flow::Addr;

/// Bytes of the longest: an IPv6 address has at most 45, a time 30.
const LENGTH: usize = 48;

/// A text of at most [`LENGTH`] bytes. A longer one is an error of its writer.
#[derive(Clone, Copy, Debug)]
struct Short {
    bytes: [u8; LENGTH],
    length: usize,
}

impl Short {
    const fn new() -> Self {
        Self { bytes: [0; LENGTH], length: 0 }
    }

    fn of(text: fmt::Arguments<'_>) -> Self {
        let mut short = Self::new();
        // Cut, were it too long.
        let _ = short.write_fmt(text);
        short
    }

    fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.length) {
            *free = byte;
            self.length += 1;
        }
    }

    /// The last digits of a number, `count` of them.
    fn digits(&mut self, number: u64, count: u32) {
        for place in (0..count).rev() {
            self.push(b'0' + (number / 10_u64.pow(place) % 10) as u8);
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// An address, IPv4 as such.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ip(Short);

/// A moment in UTC with nanoseconds: what jiff prints, at a tenth of the cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Time(Short);

/// The id of a handshake: sixteen digits in base sixteen.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct HandshakeId(Short);

impl Ip {
    pub(super) fn of(addr: Addr) -> Self {
        Self(ip(addr))
    }
}

impl Time {
    /// A moment by its nanoseconds since the epoch.
    pub(super) fn of(nanos: i128) -> Self {
        Self(time(nanos))
    }
}

impl HandshakeId {
    pub(super) fn of(number: u64) -> Self {
        Self(hex(number))
    }
}

schemas! {
    Ip, "ip", { "type": "string", "pattern": "^[0-9a-f.:]+$" };
    Time, "time", {
        "type": "string",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$",
        "description": "UTC, nanoseconds",
    };
    HandshakeId, "handshake_id", { "type": "string", "pattern": "^[0-9a-f]{16}$" };
}

/// An address, IPv4 as such.
fn ip(addr: Addr) -> Short {
    if !addr.is_v4() {
        return Short::of(format_args!("{}", tcptrace_vocabulary::words::ip(addr)));
    }
    let mut short = Short::new();
    for (at, octet) in addr.octets().into_iter().skip(12).enumerate() {
        if at > 0 {
            short.push(b'.');
        }
        let digits = if octet < 10 { 1 } else { 2 + u32::from(octet >= 100) };
        short.digits(octet.into(), digits);
    }
    short
}

/// Sixteen digits.
fn hex(number: u64) -> Short {
    let mut short = Short::new();
    for place in (0..16).rev() {
        short.push(b"0123456789abcdef"[(number >> (place * 4)) as usize & 15]);
    }
    short
}

/// Nanoseconds since the epoch as a time of day in UTC with all nine digits.
fn time(nanos: i128) -> Short {
    let Ok(nanos) = u64::try_from(nanos) else {
        // Before 1970: a clock that was never set.
        return Short::of(format_args!("{:.9}", Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH)));
    };
    let seconds = nanos / 1_000_000_000;
    let (year, month, day) = date(seconds / 86_400);
    let mut short = Short::new();
    short.digits(year, 4);
    let rest = [
        (b'-', month, 2),
        (b'-', day, 2),
        (b'T', seconds / 3600 % 24, 2),
        (b':', seconds / 60 % 60, 2),
        (b':', seconds % 60, 2),
        (b'.', nanos % 1_000_000_000, 9),
    ];
    for (before, number, digits) in rest {
        short.push(before);
        short.digits(number, digits);
    }
    short.push(b'Z');
    short
}

/// Year, month and day of a number of days since 1970-01-01. Counted from a 1st of March, a leap day is a year's last.
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_jiffs() {
        // Every day that 64 bits reach, at another time of day each, and both ends.
        let days = (0..u64::MAX / 86_400_000_000_000)
            .map(|day| day * 86_400_000_000_000 + day * 404_377_123 % 86_399_999_999_999);
        for nanos in days.chain([0, 1, u64::MAX]).map(i128::from).chain([-1, -1_000_000_000_000]) {
            let expected = format!("{:.9}", Timestamp::from_nanosecond(nanos).unwrap());
            assert_eq!(time(nanos).as_str(), expected, "{nanos}");
        }
    }

    #[test]
    fn addresses_are_the_standard_librarys() {
        let v4 = [0, 9, 10, 99, 100, 255].map(|octet: u32| Addr::v4(octet * 0x0101_0101));
        let v6 = [(0, 1), (0x2001_0db8 << 32, 1), (u64::MAX, u64::MAX)].map(|(hi, lo)| Addr { hi, lo });
        for addr in v4.into_iter().chain(v6) {
            assert_eq!(ip(addr).as_str(), tcptrace_vocabulary::words::ip(addr).to_string());
        }
    }

    #[test]
    fn numbers_are_padded() {
        assert_eq!(hex(0xabc).as_str(), "0000000000000abc");
        assert_eq!(hex(u64::MAX).as_str(), "ffffffffffffffff");
    }
}
