//! The facts that only the bytes of a SYN or SYN/ACK show: its timestamps, and whether its checksum is right.
//!
//! The core reads neither, because the kernel's programs share its reading. A packet that was not captured whole, or
//! whose addresses in the header are not those of its checksum (source routes), has no verdict here.

use tcptrace_core::{
    segment::{self, Found, IPV4, IPV6, Link, Located, network_header},
    seq::Seq,
};
use tcptrace_vocabulary::attempt::Noted;

use super::kept::Raw;

const UDP: u8 = 17;
const TCP: u8 = 6;

/// The checksum of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Right,
    /// A network card computes it later: the field has the sum of the addresses alone, or nothing (net/core/dev.c,
    /// `skb_checksum_help`; Windows and BSD do the same). Or it is not known.
    Unknown,
    Wrong,
    /// That of the UDP header around it is wrong.
    WrongOutside,
}

/// The timestamps of a segment: its own, and the one that it echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    pub(super) own: u32,
    pub(super) echoed: u32,
}

/// Timestamps and checksum of a segment.
pub(super) fn of(octets: &[u8], link: Link, raw: &Raw<'_>) -> (Option<Stamps>, Sum) {
    let Found::Tcp(located) = segment::locate(octets, link) else { return (None, Sum::Unknown) };
    let header = located.end().checked_sub(located.header());
    let stamps = header.and_then(|at| stamps(octets.get(at + 20..located.end())?));
    let is_whole = raw.octets.len() >= raw.original as usize && !located.is_fragment;
    let sum = header.filter(|_| is_whole).map_or(Sum::Unknown, |at| checksum(octets, link, at, &located));
    // A sender that leaves the inner checksum to its card computes the outer one for the packet to be.
    let outside = raw.around.filter(|_| sum == Sum::Right && is_whole).and_then(|(around, link)| udp(around, link));
    (stamps, if outside == Some(Sum::Wrong) { Sum::WrongOutside } else { sum })
}

/// The timestamps option (RFC 7323, section 3.2).
fn stamps(mut options: &[u8]) -> Option<Stamps> {
    loop {
        match *options {
            [0, ..] | [] | [_] => return None,
            [1, ref rest @ ..] => options = rest,
            [8, 10, ref rest @ ..] => {
                let number = |at: usize| Some(u32::from_be_bytes(*rest.get(at..)?.first_chunk()?));
                return Some(Stamps { own: number(0)?, echoed: number(4)? });
            }
            [_, length, ..] => options = options.get(usize::from(length.max(2))..)?,
        }
    }
}

fn checksum(octets: &[u8], link: Link, at: usize, located: &Located) -> Sum {
    let length = usize::from(located.length());
    let (Ok((network, ethertype)), Some(segment)) = (network_header(octets, link), octets.get(at..at + length)) else {
        return Sum::Unknown;
    };
    // Headers between the two may name another destination than the one that the checksum is made with.
    let (is_plain, addresses) = match ethertype {
        IPV4 => (at == network + 20, octets.get(network + 12..network + 20)),
        IPV6 => (at == network + 40, octets.get(network + 8..network + 40)),
        _ => (false, None),
    };
    addresses.filter(|_| is_plain && length >= 20).map_or(Sum::Unknown, |it| judge(it, TCP, segment, 16))
}

/// The UDP header of a tunnel's packet.
fn udp(octets: &[u8], link: Link) -> Option<Sum> {
    let (network, ethertype) = network_header(octets, link).ok()?;
    let (protocol, at, addresses) = match ethertype {
        IPV4 => (9, network + 20, octets.get(network + 12..network + 20)?),
        IPV6 => (6, network + 40, octets.get(network + 8..network + 40)?),
        _ => return None,
    };
    let is_plain = ethertype == IPV6 || octets.get(network)? & 0x0f == 5 && octets.get(network + 6)? & 0x3f == 0;
    if *octets.get(network + protocol)? != UDP || !is_plain {
        return None;
    }
    let length = u16::from_be_bytes(*octets.get(at + 4..)?.first_chunk()?);
    Some(judge(addresses, UDP, octets.get(at..at + usize::from(length)).filter(|it| it.len() >= 8)?, 6))
}

/// The checksum in `segment`, at `place`.
fn judge(addresses: &[u8], protocol: u8, segment: &[u8], place: usize) -> Sum {
    let around = add(add(0, addresses), &[0, protocol]);
    let with_length = add(around, &(segment.len() as u16).to_be_bytes());
    let field = u16::from_be_bytes([segment[place], segment[place + 1]]);
    if fold(add(with_length, segment)) == 0xffff {
        return Sum::Right;
    }
    let later = [fold(around), fold(with_length)];
    if field == 0 || later.iter().any(|it| field == *it || field == !*it) { Sum::Unknown } else { Sum::Wrong }
}

/// The sum of the internet checksum (RFC 1071), before it is folded.
fn add(sum: u32, octets: &[u8]) -> u32 {
    let pairs = octets.chunks(2).map(|it| u32::from(u16::from_be_bytes([it[0], *it.get(1).unwrap_or(&0)])));
    sum + pairs.sum::<u32>()
}

const fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether a timestamp is one of those from `first` to `last`, by a clock that may wrap.
pub(super) fn is_within(stamp: u32, (first, last): (u32, u32)) -> bool {
    Seq(stamp).within(Seq(first), last.wrapping_sub(first).wrapping_add(1))
}

/// Notes what a packet with SYN shows; `is_first` of a client's SYN that begins the attempt.
pub(super) fn note(noted: &mut Noted, from_client: bool, is_first: bool, (stamps, sum): (Option<Stamps>, Sum)) {
    let is_wrong = matches!(sum, Sum::Wrong | Sum::WrongOutside);
    let counts = if from_client { &mut noted.sums.syns } else { &mut noted.sums.answers };
    let count = if is_wrong { &mut counts.wrong } else { &mut counts.other };
    *count = count.saturating_add(1);
    noted.sums.is_of_tunnel |= sum == Sum::WrongOutside;
    match (stamps, noted.clock) {
        (Some(Stamps { own, .. }), clock) if from_client => {
            let (first, _) = clock.filter(|_| !is_first).unwrap_or((own, own));
            noted.clock = Some((first, own));
        }
        // Nothing is echoed by a SYN/ACK that has nothing to echo.
        (Some(Stamps { echoed: 1.., .. }), Some(clock)) => {
            let echoed = stamps.map(|it| it.echoed).filter(|it| !is_within(*it, clock));
            noted.echo = noted.echo.or(echoed);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 packet with a UDP or TCP segment, and the checksum in it.
    fn summed(protocol: u8, place: usize, field: impl Fn(u16, u16) -> u16) -> Sum {
        let addresses = [192, 0, 2, 1, 192, 0, 2, 2];
        let mut segment = [7_u8; 29];
        segment[place..place + 2].fill(0);
        let around = add(add(add(0, &addresses), &[0, protocol]), &29_u16.to_be_bytes());
        let field = field(!fold(add(around, &segment)), fold(around));
        segment[place..place + 2].copy_from_slice(&field.to_be_bytes());
        judge(&addresses, protocol, &segment, place)
    }

    #[test]
    fn a_checksum_that_a_card_completes_is_not_wrong() {
        for (protocol, place) in [(TCP, 16), (UDP, 6)] {
            assert_eq!(summed(protocol, place, |right, _| right), Sum::Right);
            assert_eq!(summed(protocol, place, |right, _| right ^ 0x2a), Sum::Wrong);
            assert_eq!(summed(protocol, place, |_, around| around), Sum::Unknown);
            assert_eq!(summed(protocol, place, |_, around| !around), Sum::Unknown);
            assert_eq!(summed(protocol, place, |_, _| 0), Sum::Unknown);
        }
    }

    #[test]
    fn timestamps_are_found_behind_other_options() {
        let option = [8, 10, 0, 0, 1, 0, 0, 0, 2, 0];
        let found = Some(Stamps { own: 256, echoed: 512 });
        assert_eq!(stamps(&option), found);
        assert_eq!(stamps(&[&[2, 4, 5, 180, 4, 2][..], &option].concat()), found);
        assert_eq!(stamps(&[&[1, 1][..], &option].concat()), found);
        for broken in [&[][..], &[8], &[8, 10, 0, 0, 1], &[0, 8, 10], &[3, 0, 8, 10], &[3, 200, 0]] {
            assert_eq!(stamps(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_clock_wraps() {
        for (stamp, clock, expected) in [
            (5, (5, 5), true),
            (6, (5, 5), false),
            (4, (5, 9), false),
            (1, (u32::MAX, 3), true),
            (4, (u32::MAX, 3), false),
        ] {
            assert_eq!(is_within(stamp, clock), expected, "{stamp} {clock:?}");
        }
    }
}
