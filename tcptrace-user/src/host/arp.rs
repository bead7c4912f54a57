//! Claims to an address: ARP replies and announcements (RFC 826, RFC 5227), IPv6 neighbour advertisements (RFC 4861).
//!
//! The kernel's notices are not enough: for a second after an answer it ignores another (`locktime`, arp(7)), and that
//! is just when two hosts answer one question. Needs CAP_NET_RAW, and is silent without it. Requests are not read: they
//! say the same of their sender, and there are many more of them. Advertisements come by a raw ICMPv6 socket and not by
//! a packet socket, whose filter would run for each IPv6 packet of the host.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, recvfrom, recvmsg, setsockopt,
    sockopt::{Ipv6RecvHopLimit, Ipv6RecvPacketInfo},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::socket::{Icmpv6Filter, bind_link};

/// Packets read at one look, of each kind; more may be lost, of a flood that says no more than its beginning.
const AT_ONCE: u32 = 1024;
/// Bytes of one that are read, and of its control messages.
const LENGTH: usize = 256;
const CONTROL: usize = 128;
const ADVERTISEMENT: u8 = 136;

/// Sockets that hear claims, as far as they may be opened.
#[derive(Debug)]
pub(super) struct Claims {
    arp: Option<Socket>,
    advertisements: Option<Socket>,
}

impl Claims {
    /// In the network namespace of the calling thread.
    pub(super) fn open() -> Self {
        Self { arp: arp_socket().ok(), advertisements: advertisement_socket().ok() }
    }

    /// Gives interface, address and link-layer address of each claim that waits to `on`.
    pub(super) fn look(&self, mut on: impl FnMut(u32, IpAddr, [u8; 6])) {
        if let Some(socket) = &self.arp {
            for _ in 0..AT_ONCE {
                let Some((interface, packet)) = receive_arp(socket) else { break };
                if let Some((address, link_address)) = arp_claim(&packet) {
                    on(interface, address.into(), link_address);
                }
            }
        }
        if let Some(socket) = &self.advertisements {
            for _ in 0..AT_ONCE {
                let Some(packet) = receive_advertisement(socket) else { break };
                // A packet that a router has forwarded comes from elsewhere (RFC 4861, section 7.1.2).
                if packet.hops == Some(255)
                    && let Some(interface) = packet.interface
                    && let Some((address, link_address)) = advertised(&packet.octets)
                {
                    on(interface, address.into(), link_address);
                }
            }
        }
    }
}

/// The claim of an ARP packet: a reply, or a request for the sender's own address.
fn arp_claim(packet: &[u8]) -> Option<(Ipv4Addr, [u8; 6])> {
    let packet = packet.first_chunk::<28>()?;
    // Ethernet, IPv4, and their lengths.
    if packet[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let sender = Ipv4Addr::from(*packet[14..].first_chunk()?);
    let is_claim = match packet[6..8] {
        [0, 2] => true,
        [0, 1] => packet[14..18] == packet[24..28],
        _ => false,
    };
    // 0.0.0.0 is the sender of a probe (RFC 5227, section 2.1.1).
    let is_host = !sender.is_unspecified() && !sender.is_multicast() && !sender.is_broadcast();
    Some((sender, *packet[8..].first_chunk()?)).filter(|(_, it)| is_claim && is_host && is_station(it))
}

/// The claim of a neighbour advertisement (RFC 4861, section 4.4), from its ICMPv6 header on.
fn advertised(packet: &[u8]) -> Option<(Ipv6Addr, [u8; 6])> {
    if *packet.first()? != ADVERTISEMENT || *packet.get(1)? != 0 {
        return None;
    }
    let target = Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?);
    let mut options = packet.get(24..)?;
    loop {
        let length = usize::from(*options.get(1)?) * 8;
        // A length of zero is an error of the packet (section 4.6), and would never end.
        let option = options.get(..length).filter(|it| !it.is_empty())?;
        if option[0] == 2 {
            let link_address = *option[2..].first_chunk()?;
            return Some((target, link_address)).filter(|(it, link)| !it.is_multicast() && is_station(link));
        }
        options = &options[length..];
    }
}

/// An address of one station: neither of a group, nor nothing.
fn is_station(link_address: &[u8; 6]) -> bool {
    link_address[0] & 1 == 0 && *link_address != [0; 6]
}

fn arp_socket() -> io::Result<Socket> {
    // No protocol yet: it would receive before it filters.
    let socket = open(Domain::PACKET, Type::DGRAM, Protocol::from(0))?;
    let instruction = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    let (half, word) = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
    let (equals, accept) = (libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET | libc::BPF_K);
    socket.attach_filter(&[
        instruction(half, 0, 0, 6),
        instruction(equals | libc::BPF_K, 4, 0, 2),
        // The sender's address against the one that is asked for.
        instruction(word, 0, 0, 24),
        instruction(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
        instruction(word, 0, 0, 14),
        instruction(equals | libc::BPF_X, 0, 1, 0),
        instruction(accept, 0, 0, LENGTH as u32),
        instruction(accept, 0, 0, 0),
    ])?;
    bind_link(&socket, libc::ETH_P_ARP, 0)?;
    Ok(socket)
}

fn advertisement_socket() -> io::Result<Socket> {
    let socket = open(Domain::IPV6, Type::RAW, Protocol::ICMPV6)?;
    // A bit that is set keeps a type away.
    let mut filter = [u32::MAX; 8];
    filter[usize::from(ADVERTISEMENT >> 5)] &= !(1 << (ADVERTISEMENT & 31));
    setsockopt(&socket, Icmpv6Filter, &filter)?;
    setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
    setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    Ok(socket)
}

fn open(domain: Domain, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn receive_arp(socket: &Socket) -> Option<(u32, Vec<u8>)> {
    let mut bytes = vec![0; LENGTH];
    let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut bytes).ok()?;
    bytes.truncate(length);
    Some((from?.ifindex() as u32, bytes))
}

struct Advertisement {
    octets: Vec<u8>,
    hops: Option<i32>,
    interface: Option<u32>,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum has every control message there is")]
fn receive_advertisement(socket: &Socket) -> Option<Advertisement> {
    let mut octets = vec![0; LENGTH];
    let mut control = [0; CONTROL];
    let mut parts = [IoSliceMut::new(&mut octets)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
    let (mut hops, mut interface) = (None, None);
    // Control messages that were cut say nothing, and what has no hop count is passed over.
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv6HopLimit(limit) => hops = Some(limit),
            ControlMessageOwned::Ipv6PacketInfo(packet) => interface = Some(packet.ipi6_ifindex),
            _ => {}
        }
    }
    let length = message.bytes;
    octets.truncate(length);
    Some(Advertisement { octets, hops, interface })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        [&[0, 1, 8, 0, 6, 4, 0, operation][..], &MAC, &sender, &[0; 6], &target].concat()
    }

    #[test]
    fn an_arp_packet_claims_where_it_answers_or_announces() {
        let (host, other) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let claim = Some((Ipv4Addr::from(host), MAC));
        for (what, packet, expected) in [
            ("reply", arp(2, host, other), claim),
            ("announcement", arp(1, host, host), claim),
            ("question", arp(1, host, other), None),
            ("probe", arp(1, [0; 4], host), None),
            ("answer to a probe", arp(2, host, [0; 4]), claim),
            ("reply of nobody", arp(2, [0; 4], other), None),
            ("reverse ARP", arp(4, host, other), None),
            ("with padding", [arp(2, host, other), vec![0; 18]].concat(), claim),
            ("cut off", arp(2, host, other)[..27].to_vec(), None),
            ("nothing", vec![], None),
        ] {
            assert_eq!(arp_claim(&packet), expected, "{what}");
        }
        let mut packet = arp(2, host, other);
        packet[8] = 1;
        assert_eq!(arp_claim(&packet), None, "a group's address");
    }

    #[test]
    fn an_advertisement_claims_by_its_option() {
        let target: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let head = [&[ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0][..], &target.octets()].concat();
        let option = [&[2, 1][..], &MAC].concat();
        let with = |options: &[&[u8]]| advertised(&[head.clone(), options.concat()].concat());
        let claim = Some((target, MAC));
        assert_eq!(with(&[&option]), claim);
        assert_eq!(with(&[&[14, 1, 0, 0, 0, 0, 0, 0], &option]), claim, "after another option");
        for broken in [&[][..], &[2], &[2, 0], &option[..7], &[14, 0, 2, 1], &[14, 255, 1]] {
            assert_eq!(with(&[broken]), None, "{broken:?}");
        }
        for length in 0..head.len() {
            assert_eq!(advertised(&head[..length]), None, "{length}");
        }
    }
}
