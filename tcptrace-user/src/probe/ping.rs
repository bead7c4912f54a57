//! Step three: echo requests, by a datagram socket where `net.ipv4.ping_group_range` lets, else by a raw one.
//!
//! The one primitive, [`echo`], also serves the walk (with a hop limit) and the path MTU (with a size). Silence here
//! proves nothing: many hosts and networks drop echo requests and nothing else.
//! <https://man7.org/linux/man-pages/man7/icmp.7.html>

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    time::{Duration, Instant},
};

use nix::sys::socket::{
    MsgFlags, setsockopt,
    sockopt::{Ipv4RecvTtl, Ipv6DontFrag, Ipv6RecvHopLimit},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::Interest,
    time::{Instant as Deadline, sleep, timeout_at},
};

use super::{
    diagnosis::{IcmpError, Ping, Step},
    peer::Peer,
    socket,
};
use crate::socket::{Ipv4MtuDiscover, Ipv6MtuDiscover};

const REQUESTS: u8 = 3;
const BETWEEN: Duration = Duration::from_millis(100);
const WAIT: Duration = Duration::from_millis(1000);
/// Bytes of IP and ICMP headers, in either family.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;
/// Bytes of data of an ordinary echo request, as ping(8) sends them.
const DATA: usize = 56;

/// An echo request that is not like every other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kind {
    /// The number of hops that it may go.
    pub(super) hops: Option<u8>,
    /// Bytes of the whole IP packet, which routers must not fragment.
    pub(super) size: Option<u32>,
}

/// The result of an echo request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Echo {
    Reply {
        took: Duration,
        ttl: Option<u8>,
    },
    Error {
        took: Duration,
        icmp: IcmpError,
    },
    Silent,
    /// The local stack would not send it.
    Refused(i32),
}

/// Three of them.
pub(super) async fn ping(to: Peer) -> Step<Ping> {
    let began = Instant::now();
    let one = |number: u8| async move {
        sleep(BETWEEN * u32::from(number)).await;
        echo(to, Kind::default(), WAIT).await
    };
    let (a, b, c) = tokio::join!(one(0), one(1), one(2));
    let mut ping = Ping { sent: REQUESTS, ..Ping::default() };
    let mut found = Ok(());
    for result in [a, b, c] {
        match result {
            Ok(Echo::Reply { took, ttl }) => {
                ping.replies.push(took);
                ping.ttl = ttl.or(ping.ttl);
            }
            Ok(Echo::Error { icmp, .. }) => ping.error = Some(icmp),
            Ok(Echo::Refused(errno)) => ping.refused = Some(errno),
            Ok(Echo::Silent) => {}
            Err(error) => found = Err(error),
        }
    }
    Step { took: began.elapsed(), found: found.map(|()| ping) }
}

/// Sends one and waits for what comes of it.
///
/// # Errors
/// When no socket for it can be had.
pub(super) async fn echo(to: Peer, kind: Kind, wait: Duration) -> Result<Echo, String> {
    static SEQUENCE: AtomicU16 = AtomicU16::new(1);
    let sequence = SEQUENCE.fetch_add(1, Relaxed);
    let deadline = Deadline::now() + wait;
    let (socket, is_raw) = open(to.ip).map_err(|error| {
        format!("{error}: neither net.ipv4.ping_group_range nor CAP_NET_RAW lets this user send echo requests")
    })?;
    let failed = |error: io::Error| error.to_string();
    prepare(&socket, to, kind).map_err(failed)?;
    let identifier = std::process::id() as u16;
    let request = request(to.ip, identifier, sequence, kind.size);
    let socket = socket::watch(socket, Interest::READABLE | Interest::ERROR).map_err(failed)?;
    let began = Instant::now();
    if let Err(error) = socket.get_ref().send(&request) {
        return Ok(Echo::Refused(error.raw_os_error().unwrap_or_default()));
    }
    let mut buffer = vec![0; 2048];
    loop {
        let Ok(ready) = timeout_at(deadline, socket.ready(Interest::READABLE | Interest::ERROR)).await else {
            return Ok(Echo::Silent);
        };
        let mut ready = ready.map_err(failed)?;
        // First, since an error makes the socket readable as well.
        if let Some(icmp) = socket::icmp_of(socket.get_ref()) {
            return Ok(Echo::Error { took: began.elapsed(), icmp });
        }
        match socket::receive(socket.get_ref(), &mut buffer, MsgFlags::empty()) {
            Ok(received) => {
                let octets = &buffer[..received.length.min(buffer.len())];
                let wanted = is_raw.then_some(identifier);
                if let Some(ttl) = reply(octets, to.ip, is_raw, wanted, sequence) {
                    return Ok(Echo::Reply { took: began.elapsed(), ttl: received.ttl.or(ttl) });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            // The error is one that the queue has reported already, or is about to report.
            Err(_) => {}
        }
    }
}

/// Whether it is raw, beside the socket.
fn open(to: IpAddr) -> io::Result<(Socket, bool)> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => Ok((socket, false)),
        Err(_) => Socket::new(domain, Type::RAW, Some(protocol)).map(|socket| (socket, true)),
    }
}

fn prepare(socket: &Socket, to: Peer, kind: Kind) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket::queue_errors(socket, to.ip)?;
    match to.ip {
        IpAddr::V4(_) => setsockopt(socket, Ipv4RecvTtl, &true)?,
        IpAddr::V6(_) => setsockopt(socket, Ipv6RecvHopLimit, &true)?,
    }
    if let Some(hops) = kind.hops {
        socket::set_hops(socket, to.ip, hops)?;
    }
    if kind.size.is_some() {
        // PROBE: without what the kernel has learnt of the path's MTU, which may be out of date.
        match to.ip {
            IpAddr::V4(_) => setsockopt(socket, Ipv4MtuDiscover, &libc::IP_PMTUDISC_PROBE)?,
            IpAddr::V6(_) => {
                setsockopt(socket, Ipv6MtuDiscover, &libc::IPV6_PMTUDISC_PROBE)?;
                setsockopt(socket, Ipv6DontFrag, &true)?;
            }
        }
    }
    socket.connect(&to.at(0).into())
}

/// An echo request (RFC 792, RFC 4443). For IPv6 the kernel fills in the checksum, which covers addresses.
fn request(to: IpAddr, identifier: u16, sequence: u16, size: Option<u32>) -> Vec<u8> {
    let (kind, headers) = if to.is_ipv4() { (8, HEADERS_V4) } else { (128, HEADERS_V6) };
    let data = size.map_or(DATA, |it| (it as usize).saturating_sub(headers));
    let mut octets = vec![0; 8 + data];
    octets[0] = kind;
    octets[4..6].copy_from_slice(&identifier.to_be_bytes());
    octets[6..8].copy_from_slice(&sequence.to_be_bytes());
    if to.is_ipv4() {
        let sum = checksum(&octets);
        octets[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    octets
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(it.get(1).copied().unwrap_or_default()));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// The reply's TTL, as far as its bytes tell; `None`: it is no reply to this request. A raw socket sees every ICMP
/// packet of the peer, and of IPv4 its IP header; a datagram socket gets an identifier of its own.
fn reply(octets: &[u8], to: IpAddr, is_raw: bool, identifier: Option<u16>, sequence: u16) -> Option<Option<u8>> {
    let (ttl, octets) = if is_raw && to.is_ipv4() {
        let header = usize::from(octets.first()? & 15) * 4;
        (octets.get(8).copied(), octets.get(header..)?)
    } else {
        (None, octets)
    };
    let number = |at: usize| octets.get(at..at + 2)?.first_chunk().map(|it| u16::from_be_bytes(*it));
    let is_reply = octets.first()? == if to.is_ipv4() { &0 } else { &129 };
    let is_ours = identifier.is_none_or(|it| number(4) == Some(it));
    (is_reply && is_ours && number(6) == Some(sequence)).then_some(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_up_and_its_reply_is_known() {
        let v4: IpAddr = [192, 0, 2, 1].into();
        for size in [None, Some(29), Some(1500)] {
            let octets = request(v4, 0xbeef, 7, size);
            assert_eq!(checksum(&octets), 0);
            assert_eq!(octets.len(), size.map_or(64, |it| it as usize - 20));
        }
        let mut raw = vec![0; 20];
        (raw[0], raw[8]) = (0x45, 61);
        let mut answer = request(v4, 0xbeef, 7, None);
        answer[0] = 0;
        raw.extend(&answer);
        assert_eq!(reply(&raw, v4, true, Some(0xbeef), 7), Some(Some(61)));
        assert_eq!(reply(&raw, v4, true, Some(0xbeee), 7), None);
        assert_eq!(reply(&answer, v4, false, None, 7), Some(None));
        assert_eq!(reply(&answer, v4, false, None, 8), None);
        assert_eq!(reply(&request(v4, 1, 7, None), v4, false, None, 7), None, "a request");
        assert_eq!(reply(&[], v4, true, None, 7), None);
    }
}
