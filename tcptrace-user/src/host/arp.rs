//! Who claims an address: ARP replies and announcements (RFC 826, RFC 5227), IPv6 neighbour advertisements (RFC 4861).
//!
//! The kernel's notices are not enough: for a second after an answer it ignores another (`locktime`, arp(7)), which is
//! just when two hosts answer one question. Needs CAP_NET_RAW, and is silent without it. Requests are not read: what
//! they say of their sender is the same, and there are many more of them. Advertisements come by a raw ICMPv6 socket and
//! not by a packet socket, whose filter would run for each IPv6 packet of the host.

#![expect(unsafe_code, reason = "std has neither packet sockets nor raw ones")]

use std::{
    io,
    mem::zeroed,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

/// Packets read at one look, of each kind; more may be lost, of a flood that says no more than its beginning.
const AT_ONCE: u32 = 1024;
/// Octets of one that are read.
const LENGTH: usize = 256;
/// `struct icmp6_filter` (include/uapi/linux/icmpv6.h).
const ICMPV6_FILTER: libc::c_int = 1;
const ADVERTISEMENT: u8 = 136;

/// Sockets that hear claims, as far as they may be opened.
#[derive(Debug)]
pub(super) struct Claims {
    arp: Option<OwnedFd>,
    advertisements: Option<OwnedFd>,
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
                // What a router has forwarded comes from elsewhere (RFC 4861, section 7.1.2).
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

/// What an ARP packet claims: a reply, or a request for the sender's own address.
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

/// What a neighbour advertisement claims (RFC 4861, section 4.4), from its ICMPv6 header on.
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

fn arp_socket() -> io::Result<OwnedFd> {
    // No protocol yet: it would receive before it filters.
    let socket = open(libc::AF_PACKET, libc::SOCK_DGRAM, 0)?;
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let (half, word) = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
    let (equals, accept) = (libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET | libc::BPF_K);
    let mut filter = [
        instruction(half, 0, 0, 6),
        instruction(equals | libc::BPF_K, 4, 0, 2),
        // The sender's address against the one that is asked for.
        instruction(word, 0, 0, 24),
        instruction(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
        instruction(word, 0, 0, 14),
        instruction(equals | libc::BPF_X, 0, 1, 0),
        instruction(accept, 0, 0, LENGTH as u32),
        instruction(accept, 0, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    let protocol = (libc::ETH_P_ARP as u16).to_be();
    // SAFETY: a structure of integers, of which zero is a value.
    let mut any: libc::sockaddr_ll = unsafe { zeroed() };
    (any.sll_family, any.sll_protocol) = (libc::AF_PACKET as u16, protocol);
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the address is a local of that length, which the kernel copies.
    succeeded(unsafe { libc::bind(socket.as_raw_fd(), (&raw const any).cast(), length) })?;
    Ok(socket)
}

fn advertisement_socket() -> io::Result<OwnedFd> {
    let socket = open(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6)?;
    // A bit that is set keeps a type away.
    let mut filter = [u32::MAX; 8];
    filter[usize::from(ADVERTISEMENT >> 5)] &= !(1 << (ADVERTISEMENT & 31));
    set(&socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &filter)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &1_i32)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1_i32)?;
    Ok(socket)
}

fn open(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let socket = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) };
    succeeded(socket)?;
    // SAFETY: the kernel has just given it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is read for its own length, and what a filter's program points to is still there.
    succeeded(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(value).cast(), size_of::<T>() as u32)
    })
}

fn succeeded(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn receive_arp(socket: &OwnedFd) -> Option<(u32, Vec<u8>)> {
    let mut octets = vec![0; LENGTH];
    // SAFETY: a structure of integers, of which zero is a value.
    let mut from: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the kernel writes at most as many octets as each buffer is said to have.
    let received = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            octets.as_mut_ptr().cast(),
            octets.len(),
            0,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    octets.truncate(usize::try_from(received).ok()?);
    Some((from.sll_ifindex.cast_unsigned(), octets))
}

struct Advertisement {
    octets: Vec<u8>,
    hops: Option<i32>,
    interface: Option<u32>,
}

fn receive_advertisement(socket: &OwnedFd) -> Option<Advertisement> {
    let mut octets = vec![0_u8; LENGTH];
    // Words, for the alignment of what the kernel puts there.
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
    // SAFETY: a structure of integers and pointers, of which zero is a value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
    // SAFETY: all that the message points to are locals of the lengths that it says.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    octets.truncate(usize::try_from(received).ok()?);
    let (mut hops, mut interface) = (None, None);
    // SAFETY: the kernel has filled in the header and so many octets of the control buffer as it says now; the macros
    // give null at its end, and data that lies within it. It is read unaligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(it) = header.as_ref() {
            let data = libc::CMSG_DATA(header);
            match (it.cmsg_level, it.cmsg_type) {
                (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => hops = Some(data.cast::<i32>().read_unaligned()),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    interface = Some(data.cast::<libc::in6_pktinfo>().read_unaligned().ipi6_ifindex);
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
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
