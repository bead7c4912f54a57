//! The data that a probe receives beside a datagram's bytes: control messages, the error queue, the interface.
//!
//! By nix, without unsafe code of its own but for a promise that tokio asks for.
//! <https://man7.org/linux/man-pages/man7/ip.7.html>, `IP_RECVERR`

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::{Ipv4RecvErr, Ipv4Ttl, Ipv6RecvErr, Ipv6Ttl},
};
use socket2::Socket;
use tcptrace_core::segment::Icmp;
use tokio::io::{Interest, unix::AsyncFd};

use super::diagnosis::IcmpError;

/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6` (include/uapi/linux/errqueue.h).
const BY_ICMP: u8 = 2;
const BY_ICMPV6: u8 = 3;
/// Bytes of control messages: more than all that are asked for take.
const CONTROL: usize = 512;

/// The data that came in with a datagram beside its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) ttl: Option<u8>,
    pub(super) error: Option<IcmpError>,
    /// The interface, and whether this host sent it, from a packet socket.
    pub(super) link: Option<(u32, bool)>,
    /// Nanoseconds since the Unix epoch, where `SO_TIMESTAMPNS` is set.
    pub(super) time: Option<u64>,
}

/// Has tokio wait for a socket.
pub(super) fn watch(socket: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor, which stays the same and open until it is dropped.
    #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(Into::into)
}

/// Receives without waiting; `flags` says from where (`MSG_ERRQUEUE`) and how.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum has every control message there is")]
pub(super) fn receive(socket: &impl AsRawFd, into: &mut [u8], flags: MsgFlags) -> io::Result<Received> {
    let mut parts = [IoSliceMut::new(into)];
    let mut control = [0; CONTROL];
    let flags = flags | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let link = message.address.as_ref().and_then(SockaddrStorage::as_link_addr);
    let link = link.map(|link| (link.ifindex() as u32, link.pkttype() == libc::PACKET_OUTGOING));
    let mut received = Received { length: message.bytes, link, ..Received::default() };
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                received.ttl = u8::try_from(ttl).ok();
            }
            ControlMessageOwned::Ipv4RecvErr(error, from) => {
                let from = from.filter(|from| i32::from(from.sin_family) == libc::AF_INET);
                let from = from.map(|from| IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(from.sin_addr.s_addr))));
                received.error = icmp_error(&error, from);
            }
            ControlMessageOwned::Ipv6RecvErr(error, from) => {
                let from = from.filter(|from| i32::from(from.sin6_family) == libc::AF_INET6);
                let from = from.map(|from| Ipv6Addr::from(from.sin6_addr.s6_addr).to_canonical());
                received.error = icmp_error(&error, from);
            }
            ControlMessageOwned::ScmTimestampns(time) => {
                received.time = Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64);
            }
            _ => {}
        }
    }
    Ok(received)
}

/// An error of the queue, if ICMP is where it came from: what the local stack says of itself comes by the same way.
fn icmp_error(error: &libc::sock_extended_err, from: Option<IpAddr>) -> Option<IcmpError> {
    if !matches!(error.ee_origin, BY_ICMP | BY_ICMPV6) {
        return None;
    }
    let icmp = Icmp { v6: error.ee_origin == BY_ICMPV6, kind: error.ee_type, code: error.ee_code };
    let is_mtu = matches!((icmp.v6, icmp.kind, icmp.code), (false, 3, 4) | (true, 2, _));
    let mtu = (is_mtu && error.ee_info > 0).then_some(error.ee_info);
    Some(IcmpError { from, icmp, errno: error.ee_errno.cast_signed(), mtu })
}

/// The first ICMP error in a socket's error queue, which is emptied.
pub(super) fn icmp_of(socket: &impl AsRawFd) -> Option<IcmpError> {
    let mut first = None;
    let mut quoted = [0; 256];
    while let Ok(received) = receive(socket, &mut quoted, MsgFlags::MSG_ERRQUEUE) {
        first = first.or(received.error);
    }
    first
}

/// Has ICMP errors queued, in either family.
pub(super) fn queue_errors(socket: &impl AsFd, to: IpAddr) -> io::Result<()> {
    match to {
        IpAddr::V4(_) => setsockopt(socket, Ipv4RecvErr, &true)?,
        IpAddr::V6(_) => setsockopt(socket, Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// Lets packets go `hops` hops.
pub(super) fn set_hops(socket: &impl AsFd, to: IpAddr, hops: u8) -> io::Result<()> {
    match to {
        IpAddr::V4(_) => setsockopt(socket, Ipv4Ttl, &hops.into())?,
        IpAddr::V6(_) => setsockopt(socket, Ipv6Ttl, &hops.into())?,
    }
    Ok(())
}
