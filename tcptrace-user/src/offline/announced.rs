//! Connections that FTP announces on its control connection. Wireshark knows such a conversation before its first
//! packet, which is then not its first: the SYN does not count toward its completeness.
//!
//! This module reads what Wireshark's dissector reads, in the same way: PASV and EPSV replies, PORT commands (RFC 959,
//! RFC 2428), at the beginning of a segment. Others that announce (DCE/RPC's endpoint mapper, H.323, SDP) are not
//! followed.

use std::collections::HashMap;

use tcptrace_core::{
    flow::{Addr, Endpoint},
    segment::Segment,
};

const CONTROL: u16 = 21;
const DATA: u16 = 20;
/// Announcements that wait for their connection.
const MOST: usize = 1 << 16;

/// By the announced endpoint and the other one's address: the other's port, where it matters.
#[derive(Default)]
pub(super) struct Announced(HashMap<(Endpoint, Addr), Option<u16>>);

/// Whether a segment may announce something.
#[inline]
pub(super) fn is_control(segment: &Segment) -> bool {
    segment.payload > 0 && (segment.src.port == CONTROL || segment.dst.port == CONTROL)
}

impl Announced {
    /// Reads a segment of a control connection.
    #[cold]
    pub(super) fn see(&mut self, segment: &Segment, payload: &[u8]) {
        let line = payload.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
        let (endpoint, port) = if segment.src.port == CONTROL {
            match line.first_chunk() {
                Some(b"227") => (six_numbers(&line[3..]), None),
                Some(b"229") => (port_alone(line).map(|port| Endpoint { addr: segment.src.addr, port }), None),
                _ => return,
            }
        } else {
            (line.strip_prefix(b"PORT ").and_then(six_numbers), Some(DATA))
        };
        if let Some(endpoint) = endpoint
            && self.0.len() < MOST
        {
            self.0.insert((endpoint, segment.dst.addr), port);
        }
    }

    /// Whether a conversation that begins was announced. One announcement makes one known.
    #[inline]
    pub(super) fn take(&mut self, a: Endpoint, b: Endpoint) -> bool {
        !self.0.is_empty() && (self.take_to(a, b) || self.take_to(b, a))
    }

    fn take_to(&mut self, endpoint: Endpoint, other: Endpoint) -> bool {
        let key = (endpoint, other.addr);
        let fits = self.0.get(&key).is_some_and(|port| port.is_none_or(|port| port == other.port));
        if fits {
            self.0.remove(&key);
        }
        fits
    }
}

/// An address and a port as six numbers with commas, wherever they stand.
fn six_numbers(text: &[u8]) -> Option<Endpoint> {
    let mut text = text;
    loop {
        text = &text[text.iter().position(u8::is_ascii_digit)?..];
        let mut numbers = [0u8; 6];
        let mut rest = text;
        let is_all = (0..6).all(|at| {
            let Some((number, behind)) = number(rest) else { return false };
            numbers[at] = number as u8;
            rest = behind;
            at == 5 || {
                let comma = rest.strip_prefix(b",");
                rest = comma.unwrap_or_default();
                comma.is_some()
            }
        });
        if is_all {
            let [a, b, c, d, high, low] = numbers;
            let addr = Addr::v4(u32::from_be_bytes([a, b, c, d]));
            return Some(Endpoint { addr, port: u16::from_be_bytes([high, low]) });
        }
        text = &text[text.iter().position(|octet| !octet.is_ascii_digit())?..];
    }
}

/// A port behind a parenthesis and three equal delimiters.
fn port_alone(text: &[u8]) -> Option<u16> {
    let at = text.iter().position(|octet| *octet == b'(')?;
    let [first, second, third, rest @ ..] = &text[at + 1..] else { return None };
    (first == second && second == third).then(|| number(rest)).flatten().map(|(number, _)| number as u16)
}

fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let length = text.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(length);
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_wherever_it_stands() {
        let expected = Some(Endpoint { addr: Addr::v4(0x0a00_0002), port: 20_000 });
        for text in [" Entering Passive Mode (10,0,0,2,78,32)", "-=10,0,0,2,78,32", " 2 ways: 1,2 10,0,0,2,78,32."] {
            assert_eq!(six_numbers(text.as_bytes()), expected, "{text}");
        }
        for text in ["", "10", "10,0,0,2,78", "10,0,0,2,78,", "99999999999,0,0,2,78,32"] {
            assert_eq!(six_numbers(text.as_bytes()).filter(|it| Some(*it) == expected), None, "{text}");
        }
    }

    #[test]
    fn a_port_stands_behind_three_delimiters() {
        assert_eq!(port_alone(b"229 Entering Extended Passive Mode (|||20000|)"), Some(20_000));
        assert_eq!(port_alone(b"229 (||20000|)"), None);
        assert_eq!(port_alone(b"229 ("), None);
    }
}
