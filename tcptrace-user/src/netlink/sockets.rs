//! Sockets, as the kernel reports them over `NETLINK_SOCK_DIAG`: one by its ends, or all that listen.
//!
//! Not through netlink-packet-sock-diag: it makes a vector of typed attributes of each socket, where only two fixed
//! structures and one attribute are wanted, and brings three crates along.
//! <https://man7.org/linux/man-pages/man7/sock_diag.7.html>

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use tcptrace_vocabulary::facts::Socket;

use super::{
    channel::{Channel, Error},
    message::{attributes, bytes_of, number},
};

/// include/uapi/linux/sock_diag.h and inet_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// Length of `inet_diag_msg`.
const MESSAGE: usize = 72;
/// `tcpi_segs_out` in `tcp_info` (include/uapi/linux/tcp.h).
const SEGMENTS_OUT: usize = 136;
/// include/net/tcp_states.h.
const SYN_SENT: u8 = 2;
const LISTEN: u8 = 10;

/// A socket in SYN-SENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) cookie: u64,
    /// Mapped addresses are IPv4's.
    pub(crate) ours: SocketAddr,
    pub(crate) theirs: SocketAddr,
    /// Whether its SYN was made: with Fast Open it waits for the first data.
    pub(crate) has_sent: bool,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    /// Mapped addresses are IPv4's.
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// The interface that it is bound to; zero: any.
    pub(crate) interface: u32,
    /// Whether the socket is of IPv6, whatever the address is.
    pub(crate) is_v6: bool,
    pub(crate) v6_only: bool,
    pub(crate) queue: u32,
    pub(crate) queue_max: u32,
    pub(crate) inode: u32,
}

/// The socket with these ends, if there is one, through `interface` (zero: a socket that is bound to none). A listener
/// is none, though the kernel finds it when nothing fits better (`inet_lookup`).
pub(crate) fn find(
    channel: &mut Channel,
    ours: SocketAddr,
    theirs: SocketAddr,
    interface: u32,
) -> io::Result<Option<Socket>> {
    let request = request(0, 0, ours, theirs, interface);
    let found = channel.get(SOCK_DIAG_BY_FAMILY, &request, |message| {
        socket(message).filter(|_| ends(message) == Some((ours, theirs)))
    });
    match found {
        Err(Error::Refused { errno: libc::ENOENT }) => Ok(None),
        found => Ok(found?),
    }
}

/// All listening sockets. The kernel walks through no others for it (`inet_diag_dump_icsk`, net/ipv4/inet_diag.c).
pub(crate) fn listening(channel: &mut Channel) -> io::Result<Vec<Listening>> {
    all(channel, LISTEN, 0, listener)
}

/// All sockets in SYN-SENT. The kernel walks through all that are open.
pub(crate) fn pending(channel: &mut Channel) -> io::Result<Vec<Pending>> {
    all(channel, SYN_SENT, 1 << (INET_DIAG_INFO - 1), waiting)
}

/// All sockets in a state, of both families, with what `extensions` adds.
fn all<T>(channel: &mut Channel, state: u8, extensions: u8, pick: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let mut found = Vec::new();
    for any in [IpAddr::V4([0; 4].into()), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let any = SocketAddr::new(any, 0);
        found.extend(channel.dump(SOCK_DIAG_BY_FAMILY, &request(1 << state, extensions, any, any, 0), &pick)?);
    }
    Ok(found)
}

/// `inet_diag_req_v2`.
fn request(states: u32, extensions: u8, ours: SocketAddr, theirs: SocketAddr, interface: u32) -> Vec<u8> {
    let mut body = Vec::with_capacity(56);
    body.extend([bytes_of(ours.ip()).0, libc::IPPROTO_TCP as u8, extensions, 0]);
    body.extend(states.to_ne_bytes());
    body.extend(ours.port().to_be_bytes());
    body.extend(theirs.port().to_be_bytes());
    for end in [ours, theirs] {
        let mut address = bytes_of(end.ip()).1;
        address.resize(16, 0);
        body.extend(address);
    }
    body.extend(interface.to_ne_bytes());
    // Whatever its cookie (INET_DIAG_NOCOOKIE).
    body.extend([0xff; 8]);
    body
}

/// Both ends of a socket, ours first.
fn ends(message: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let v4 = i32::from(*message.first()?) == libc::AF_INET;
    let end = |port: usize, at: usize| {
        let port = u16::from_be_bytes(*message.get(port..)?.first_chunk()?);
        let ip = if v4 {
            IpAddr::from(*message.get(at..)?.first_chunk::<4>()?)
        } else {
            IpAddr::from(*message.get(at..)?.first_chunk::<16>()?).to_canonical()
        };
        Some(SocketAddr::new(ip, port))
    };
    Some((end(4, 8)?, end(6, 24)?))
}

fn socket(message: &[u8]) -> Option<Socket> {
    let message = message.get(..MESSAGE)?;
    let state = match message[1] {
        1 => "ESTABLISHED",
        2 => "SYN-SENT",
        // NEW_SYN_RECV is a request's, which every report of the kernel's calls the same.
        3 | 12 => "SYN-RECEIVED",
        4 => "FIN-WAIT-1",
        5 => "FIN-WAIT-2",
        6 => "TIME-WAIT",
        7 => "CLOSED",
        8 => "CLOSE-WAIT",
        9 => "LAST-ACK",
        11 => "CLOSING",
        _ => return None,
    };
    Some(Socket { state, cookie: cookie(message)?, uid: number(message, 64)?, inode: number(message, 68)? })
}

fn cookie(message: &[u8]) -> Option<u64> {
    Some(u64::from(number(message, 44)?) | u64::from(number(message, 48)?) << 32)
}

fn waiting(message: &[u8]) -> Option<Pending> {
    let (ours, theirs) = ends(message)?;
    if *message.get(1)? != SYN_SENT {
        return None;
    }
    let info = attributes(message.get(MESSAGE..)?).find(|it| it.kind() == INET_DIAG_INFO)?;
    let has_sent = number(info.value(), SEGMENTS_OUT)? > 0;
    Some(Pending { cookie: cookie(message)?, ours, theirs, has_sent })
}

fn listener(message: &[u8]) -> Option<Listening> {
    let (ours, _) = ends(message)?;
    if *message.get(1)? != LISTEN {
        return None;
    }
    let v6_only = attributes(message.get(MESSAGE..)?)
        .any(|it| it.kind() == INET_DIAG_SKV6ONLY && it.value().first().is_some_and(|&only| only != 0));
    Some(Listening {
        address: ours.ip(),
        port: ours.port(),
        interface: number(message, 40)?,
        is_v6: i32::from(message[0]) == libc::AF_INET6,
        v6_only,
        queue: number(message, 56)?,
        queue_max: number(message, 60)?,
        inode: number(message, 68)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_no_socket() {
        let mut message = vec![0; MESSAGE];
        message[0] = libc::AF_INET as u8;
        message[1] = LISTEN;
        assert!(listener(&message).is_some() && socket(&message).is_none());
        for length in 0..MESSAGE {
            assert_eq!(listener(&message[..length]), None, "{length}");
        }
        message[1] = 2;
        for length in 0..MESSAGE {
            assert_eq!(socket(&message[..length]), None, "{length}");
        }
        assert_eq!(socket(&message).unwrap().state, "SYN-SENT");
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let mut message = vec![0; MESSAGE];
        message[0] = libc::AF_INET6 as u8;
        message[1] = 2;
        message[4..8].copy_from_slice(&[0x12, 0x34, 0, 80]);
        message[18..24].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        message[34..40].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 2]);
        let expected = ("192.0.2.1:4660".parse().unwrap(), "192.0.2.2:80".parse().unwrap());
        assert_eq!(ends(&message), Some(expected));
    }
}
