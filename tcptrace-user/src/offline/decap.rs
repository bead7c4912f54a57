//! What captures have around a packet, and only they are read through: tunnels in tunnels (`--decap`), where the kernel
//! looks into one; IPv4's authentication header.

use tcptrace_capture::{LinkType, Payload};
use tcptrace_core::{
    segment::{IPV4, IPV6, Link, network_header},
    tunnel,
};

/// A packet that was inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner<'a> {
    pub octets: &'a [u8],
    pub link: Link,
    /// The innermost tunnel around it.
    pub outer: tunnel::Outer,
}

/// A packet that was inside another, where the core can read it.
#[must_use]
pub fn frame<'a>(inner: &Inner<'a>) -> (&'a [u8], Link) {
    match (inner.link, tcptrace_capture::payload(LinkType::ETHERNET, inner.octets)) {
        (Link::Ethernet, Ok(Payload::Ip(packet))) => (packet, Link::Ip),
        (Link::Ethernet, Ok(Payload::Ethernet(frame))) => (frame, Link::Ethernet),
        _ => (inner.octets, inner.link),
    }
}

/// Whether an IPv6 packet's header says that it has no payload: a jumbogram (RFC 2675), or a segmentation offload's.
#[must_use]
pub fn is_jumbogram(octets: &[u8], link: Link) -> bool {
    let header = network_header(octets, link).ok().filter(|(_, ethertype)| *ethertype == IPV6);
    header.is_some_and(|(at, _)| octets.get(at + 4..at + 6) == Some(&[0, 0]))
}

/// An IPv4 packet without its authentication header (RFC 4302); `None` where it has none. The kernel's programs, which
/// share the core's reading, would pay a quarter of the verifier's work for it.
#[must_use]
pub fn without_authentication(octets: &[u8], link: Link) -> Option<Vec<u8>> {
    const AUTHENTICATION: u8 = 51;
    let (at, ethertype) = network_header(octets, link).ok()?;
    let packet = octets.get(at..).filter(|it| ethertype == IPV4 && it.get(9) == Some(&AUTHENTICATION))?;
    let header = usize::from(packet[0] & 0x0f) * 4;
    let [protocol, words] = *packet.get(header..)?.first_chunk()?;
    let behind = header + (usize::from(words) + 2) * 4;
    let total = u16::from_be_bytes([packet[2], packet[3]]).checked_sub((behind - header) as u16)?;
    let mut plain = [&octets[..at], &packet[..header], packet.get(behind..)?].concat();
    plain[at + 2..at + 4].copy_from_slice(&total.to_be_bytes());
    plain[at + 9] = protocol;
    Some(plain)
}

/// Tunnels in tunnels that are looked into.
const DEPTH: usize = 4;

/// The innermost packet of a frame; `None` where it is in no tunnel.
#[must_use]
pub fn inner(octets: &[u8], link: Link) -> Option<Inner<'_>> {
    let mut found: Option<Inner<'_>> = None;
    for _ in 0..DEPTH {
        let (octets, link) = found.map_or((octets, link), |it| (it.octets, it.link));
        let Some(it) = tunnel::inner(octets, link) else { break };
        let Some(inside) = octets.get(it.at..) else { break };
        found = Some(Inner { octets: inside, link: it.link, outer: it.tunnel.outer(octets) });
    }
    found
}
