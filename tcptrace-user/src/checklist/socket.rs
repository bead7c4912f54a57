//! What the standard library does not offer of sockets: options, control messages, the error queue, `TCP_INFO`, filters.
//!
//! The only file of the checklist with unsafe code: each call is one of the C library's, with buffers of known size.
//! <https://man7.org/linux/man-pages/man7/ip.7.html>, `IP_RECVERR`
#![expect(unsafe_code, reason = "socket options and control messages that neither std nor socket2 has")]

use std::{
    io,
    mem::{size_of, zeroed},
    net::{IpAddr, Ipv6Addr},
    os::fd::AsRawFd,
    ptr::from_mut,
};

use libc::{c_int, c_void, socklen_t};
use socket2::Socket;
use tcptrace_core::segment::Icmp;
use tokio::io::{Interest, unix::AsyncFd};

use super::report::IcmpError;

/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6` (include/uapi/linux/errqueue.h).
const BY_ICMP: u8 = 2;
const BY_ICMPV6: u8 = 3;

/// What came in with a datagram beside its octets.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) ttl: Option<u8>,
    pub(super) error: Option<IcmpError>,
    /// Of a packet socket: the interface, and whether this host sent it.
    pub(super) link: Option<(u32, bool)>,
    /// Nanoseconds since the Unix epoch, where `SO_TIMESTAMPNS` is set.
    pub(super) time: Option<u64>,
}

/// Has tokio wait for a socket.
pub(super) fn watch(socket: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor, which stays the same and open until it is dropped.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(Into::into)
}

/// Sets an option that is a number.
pub(super) fn set(socket: &impl AsRawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a value that lives through the call.
    let code = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<c_int>() as socklen_t)
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option that is a number.
pub(super) fn get(socket: &impl AsRawFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let (mut value, mut length) = (0, size_of::<c_int>() as socklen_t);
    // SAFETY: the pointer and the length are those of a value that lives through the call.
    let code = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    if code == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel knows of a connection.
pub(super) fn tcp_info(socket: &impl AsRawFd) -> io::Result<libc::tcp_info> {
    // SAFETY: the struct is integers, for which zeros are a value.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = size_of::<libc::tcp_info>() as socklen_t;
    let (fd, to) = (socket.as_raw_fd(), (&raw mut info).cast());
    // SAFETY: the kernel writes at most `length` octets, which the struct has.
    let code = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut length) };
    if code == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

/// Has the kernel keep away what a classic BPF program rejects.
pub(super) fn attach_filter(socket: &impl AsRawFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let (fd, length) = (socket.as_raw_fd(), size_of::<libc::sock_fprog>() as socklen_t);
    // SAFETY: the program and its description live through the call, which copies both.
    let code =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const filter).cast(), length) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Binds a packet socket to one interface, all protocols.
pub(super) fn bind_link(socket: &impl AsRawFd, index: u32) -> io::Result<()> {
    // SAFETY: the struct is integers, for which zeros are a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    let (fd, length) = (socket.as_raw_fd(), size_of::<libc::sockaddr_ll>() as socklen_t);
    // SAFETY: the pointer and the length are those of an address that lives through the call.
    let code = unsafe { libc::bind(fd, (&raw const address).cast(), length) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Packets that a packet socket had no room for since this was last asked.
pub(super) fn shed(socket: &impl AsRawFd) -> io::Result<u32> {
    // SAFETY: the struct is integers, for which zeros are a value.
    let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
    let mut length = size_of::<libc::tpacket_stats>() as socklen_t;
    let (fd, to) = (socket.as_raw_fd(), (&raw mut statistics).cast());
    // SAFETY: the kernel writes at most `length` octets, which the struct has.
    let code = unsafe { libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, to, &raw mut length) };
    if code == 0 { Ok(statistics.tp_drops) } else { Err(io::Error::last_os_error()) }
}

/// Receives without waiting; `flags` says from where (`MSG_ERRQUEUE`) and how.
pub(super) fn receive(socket: &impl AsRawFd, into: &mut [u8], flags: c_int) -> io::Result<Received> {
    // SAFETY: both structs are integers and pointers, for which zeros are a value.
    let (mut message, mut name): (libc::msghdr, libc::sockaddr_storage) = unsafe { (zeroed(), zeroed()) };
    let mut control = [0_u64; 64];
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast::<c_void>(), iov_len: into.len() };
    message.msg_name = from_mut(&mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as socklen_t;
    message.msg_iov = from_mut(&mut part);
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<[u64; 64]>();
    // SAFETY: every pointer in the message is to memory of the length beside it, which lives through the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), from_mut(&mut message), flags | libc::MSG_DONTWAIT) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut received = Received { length: length.cast_unsigned(), ..Received::default() };
    if c_int::from(name.ss_family) == libc::AF_PACKET {
        // SAFETY: the kernel says by its family that this is what it wrote, and the storage is larger.
        let link: libc::sockaddr_ll = unsafe { (&raw const name).cast::<libc::sockaddr_ll>().read() };
        received.link = Some((link.sll_ifindex.cast_unsigned(), link.sll_pkttype == libc::PACKET_OUTGOING));
    }
    let octets: Vec<u8> = control.iter().flat_map(|it| it.to_ne_bytes()).collect();
    read_control(octets.get(..message.msg_controllen).unwrap_or_default(), &mut received);
    Ok(received)
}

/// The control messages, one after the other: length, level, kind, data (cmsg(3)).
fn read_control(mut rest: &[u8], into: &mut Received) {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    while let (Some(length), Some(kinds)) = (rest.first_chunk(), rest.get(HEADER - 8..HEADER)) {
        let length = usize::from_ne_bytes(*length);
        let Some(data) = rest.get(HEADER..length) else { return };
        let number =
            |at: usize| kinds.get(at..).and_then(|it| it.first_chunk()).map_or(0, |it| c_int::from_ne_bytes(*it));
        match (number(0), number(4)) {
            (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => {
                into.ttl = data.first_chunk().and_then(|it| u8::try_from(c_int::from_ne_bytes(*it)).ok());
            }
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => into.error = icmp_error(data),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                let number = |at: usize| data.get(at..at + 8)?.first_chunk().map(|it| u64::from_ne_bytes(*it));
                into.time = number(0).zip(number(8)).map(|(seconds, nanos)| seconds * 1_000_000_000 + nanos);
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(size_of::<usize>())..).unwrap_or_default();
    }
}

/// A `struct sock_extended_err` and the address behind it, if ICMP is where it came from: what the local stack says of
/// itself comes by the same way.
fn icmp_error(data: &[u8]) -> Option<IcmpError> {
    let number = |at: usize| data.get(at..at + 4)?.first_chunk().map(|it| u32::from_ne_bytes(*it));
    let (errno, info) = (number(0)?, number(8)?);
    let &[origin, kind, code, _] = data.get(4..8)?.first_chunk::<4>()?;
    if !matches!(origin, BY_ICMP | BY_ICMPV6) {
        return None;
    }
    let family = data.get(16..18).and_then(|it| it.first_chunk()).map(|it| c_int::from(u16::from_ne_bytes(*it)));
    let from = match family {
        Some(libc::AF_INET) => data.get(20..24).and_then(|it| it.first_chunk::<4>()).map(|it| IpAddr::from(*it)),
        Some(libc::AF_INET6) => {
            let octets = data.get(24..40).and_then(|it| it.first_chunk::<16>());
            octets.map(|it| Ipv6Addr::from(*it).to_canonical())
        }
        _ => None,
    };
    let icmp = Icmp { v6: origin == BY_ICMPV6, kind, code };
    let is_mtu = matches!((icmp.v6, kind, code), (false, 3, 4) | (true, 2, _));
    Some(IcmpError { from, icmp, errno: errno.cast_signed(), mtu: (is_mtu && info > 0).then_some(info) })
}

/// The first ICMP error in a socket's error queue, which is emptied.
pub(super) fn icmp_of(socket: &impl AsRawFd) -> Option<IcmpError> {
    let mut first = None;
    let mut quoted = [0; 256];
    while let Ok(received) = receive(socket, &mut quoted, libc::MSG_ERRQUEUE) {
        first = first.or(received.error);
    }
    first
}

/// Has ICMP errors queued, in either family.
pub(super) fn queue_errors(socket: &impl AsRawFd, to: IpAddr) -> io::Result<()> {
    match to {
        IpAddr::V4(_) => set(socket, libc::SOL_IP, libc::IP_RECVERR, 1),
        IpAddr::V6(_) => set(socket, libc::SOL_IPV6, libc::IPV6_RECVERR, 1),
    }
}

/// Lets packets go so many hops.
pub(super) fn set_hops(socket: &impl AsRawFd, to: IpAddr, hops: u8) -> io::Result<()> {
    match to {
        IpAddr::V4(_) => set(socket, libc::SOL_IP, libc::IP_TTL, hops.into()),
        IpAddr::V6(_) => set(socket, libc::SOL_IPV6, libc::IPV6_UNICAST_HOPS, hops.into()),
    }
}
