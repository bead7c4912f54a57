//! Socket options and addresses that neither std nor socket2 has, for every module that opens sockets: by nix, with
//! unsafe code in one place only.
//!
//! <https://man7.org/linux/man-pages/man7/packet.7.html>, <https://man7.org/linux/man-pages/man7/tcp.7.html>
#![expect(unsafe_code, reason = "nix takes a link-layer address apart, and does not put one together")]

use std::{io, os::fd::AsRawFd};

use nix::sys::socket::{LinkAddr, SockaddrLike as _, bind};

pub(crate) use options::{
    Icmpv6Filter, Ipv4MtuDiscover, Ipv6Mtu, Ipv6MtuDiscover, NetnsCookie, PacketStatistics, TcpInfo,
};

/// `struct icmp6_filter` (include/uapi/linux/icmpv6.h), which libc does not have.
const ICMPV6_FILTER: libc::c_int = 1;

mod options {
    use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

    use super::ICMPV6_FILTER;

    sockopt_impl!(
        /// The kernel's facts about a connection.
        TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, libc::tcp_info
    );
    sockopt_impl!(
        /// Bytes of the largest packet to a connected socket's peer, as far as the kernel knows.
        Ipv6Mtu, GetOnly, libc::IPPROTO_IPV6, libc::IPV6_MTU, libc::c_int
    );
    sockopt_impl!(
        /// One of `IP_PMTUDISC_*`.
        Ipv4MtuDiscover, SetOnly, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::c_int
    );
    sockopt_impl!(
        /// One of `IPV6_PMTUDISC_*`.
        Ipv6MtuDiscover, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::c_int
    );
    sockopt_impl!(
        /// Packets that a packet socket took and had no room for, since this was last read.
        PacketStatistics, GetOnly, libc::SOL_PACKET, libc::PACKET_STATISTICS, libc::tpacket_stats
    );
    sockopt_impl!(
        /// The kernel's number of the network namespace that a socket is in (5.14).
        NetnsCookie, GetOnly, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, u64
    );
    sockopt_impl!(
        /// Types of ICMPv6 messages that a raw socket does not get: a bit each.
        Icmpv6Filter, SetOnly, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, [u32; 8]
    );
}

/// Binds a packet socket to a protocol (`ETH_P_*`), on one interface by its index, or on all (zero).
pub(crate) fn bind_link(socket: &impl AsRawFd, protocol: libc::c_int, interface: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the pointer is to a whole, initialised sockaddr_ll of that length, which is copied before this returns.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    let address = address.ok_or_else(|| io::Error::other("not a link-layer address"))?;
    Ok(bind(socket.as_raw_fd(), &address)?)
}
