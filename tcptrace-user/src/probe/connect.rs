//! Steps five and six: one connect(2), how it ended, who reported that by ICMP, and what was agreed on.
//!
//! `TCP_USER_TIMEOUT` lets the kernel give up by itself, so that silence has the errno that an application gets.
//! Connections are closed at once, without a byte sent.
//! <https://man7.org/linux/man-pages/man7/tcp.7.html>

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use nix::sys::socket::getsockopt;
use socket2::{Domain, Protocol, Socket, Type};
use tcptrace_verdict::patterns::checks::{COMPARED_HOPS, probe_ports};
use tcptrace_vocabulary::facts::Missing;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant as Deadline, timeout_at},
};

use super::{
    diagnosis::{Agreed, Connect, IcmpError, Tried},
    peer::on_the_wire,
    socket,
};
use crate::socket::TcpInfo;

/// The time that an answer is waited for: three or four SYNs, at 0, 1, (2,) 3 seconds.
pub(super) const WAIT: Duration = Duration::from_millis(3600);
/// The kernel's timer is coarse, and ours is only for a kernel that does not do it.
const BEYOND: Duration = Duration::from_millis(700);
/// include/net/tcp_states.h.
const SYN_SENT: u8 = 2;
const CLOSED: u8 = 7;

const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const WINDOW_SCALE: u8 = 4;
const ECN: u8 = 8;

/// A connect under way, and its end.
pub(super) struct Attempt {
    socket: AsyncFd<Socket>,
    began: Instant,
}

/// The end of an attempt.
pub(super) struct Ended {
    pub(super) took: Duration,
    pub(super) result: Tried,
    pub(super) icmp: Option<IcmpError>,
    pub(super) retries: u8,
}

/// Tries one port.
///
/// # Errors
/// There is no socket to try it with: the port was not tried.
pub(super) async fn connect(
    to: SocketAddr,
    is_asked: bool,
    mine: impl FnOnce(Option<SocketAddr>),
) -> io::Result<Connect> {
    // A tracer beside this one counts what nobody asked for, and does not report it.
    let socket = open(to, (!is_asked).then_some(COMPARED_HOPS), WAIT)?;
    let began = Instant::now();
    let (ended, from) = match Attempt::begin(socket, to) {
        Ok(attempt) => {
            let from = attempt.local();
            mine(from);
            (attempt.end(WAIT + BEYOND).await, from)
        }
        Err(error) => (Ended::failed(began, &error), None),
    };
    let Ended { took, result, icmp, retries } = ended;
    Ok(Connect {
        port: to.port(),
        is_asked,
        took,
        result,
        icmp,
        retries,
        from,
        wire: None,
        listener: Err(Missing::NotAsked),
    })
}

/// A socket for one connect, whose SYNs may go `hops` hops.
///
/// # Errors
/// Those of the calls: no descriptor is left, for one.
pub(super) fn open(to: SocketAddr, hops: Option<u8>, wait: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Without a queue, an ICMP error that comes while connect(2) holds the socket is forgotten (`tcp_v4_err`).
    socket::queue_errors(&socket, to.ip())?;
    socket.set_tcp_user_timeout(Some(wait))?;
    if let Some(hops) = hops {
        socket::set_hops(&socket, to.ip(), hops)?;
        take_probe_port(&socket, to, hops);
    }
    Ok(socket)
}

impl Attempt {
    /// Sends the first SYN.
    ///
    /// # Errors
    /// Those that the kernel has at once: no route, forbidden by a route or a program.
    pub(super) fn begin(socket: Socket, to: SocketAddr) -> io::Result<Self> {
        let began = Instant::now();
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        // Only now: epoll reports a socket that is not connecting yet as hung up.
        let socket = socket::watch(socket, Interest::WRITABLE | Interest::ERROR)?;
        Ok(Self { socket, began })
    }

    /// Its local address.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.socket.get_ref().local_addr().ok()?.as_socket().map(on_the_wire)
    }

    /// Waits for what comes of it.
    pub(super) async fn end(self, wait: Duration) -> Ended {
        let deadline = Deadline::from_std(self.began) + wait;
        let socket = self.socket.get_ref();
        let mut icmp = None;
        loop {
            let ready = timeout_at(deadline, self.socket.ready(Interest::WRITABLE | Interest::ERROR)).await;
            let retries =
                getsockopt(socket, TcpInfo).map_or(0, |it| u8::try_from(it.tcpi_total_retrans).unwrap_or(u8::MAX));
            // Before the queue is read, which takes the error away (`sock_dequeue_err_skb`).
            let error = socket.take_error();
            icmp = icmp.or_else(|| socket::icmp_of(socket));
            let took = self.began.elapsed();
            let Ok(Ok(mut ready)) = ready else {
                return Ended { took, result: Tried::Silent, icmp, retries };
            };
            if let Ok(Some(error)) | Err(error) = error {
                return Ended { icmp, retries, ..Ended::failed(self.began, &error) };
            }
            let result = match (getsockopt(socket, TcpInfo).map_err(io::Error::from), icmp) {
                // An error that came while the kernel held the socket (in SYN-SENT, it makes nothing of it before the
                // next SYN), or after the socket was asked for it.
                (Ok(info), Some(told)) if matches!(info.tcpi_state, SYN_SENT | CLOSED) => Tried::Failed(told.errno),
                (Ok(info), None) if info.tcpi_state == SYN_SENT => {
                    ready.clear_ready();
                    continue;
                }
                (Ok(info), None) if info.tcpi_state == CLOSED => Tried::Failed(libc::ECONNRESET),
                (Ok(info), _) => Tried::Open(agreed(&info)),
                (Err(error), _) => return Ended { icmp, retries, ..Ended::failed(self.began, &error) },
            };
            let icmp = icmp.filter(|_| !matches!(result, Tried::Open(_)));
            return Ended { took, result, icmp, retries };
        }
    }
}

impl Ended {
    fn failed(began: Instant, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or_default();
        Self { took: began.elapsed(), result: Tried::Failed(errno), icmp: None, retries: 0 }
    }
}

/// Takes a port by which a tracer on this host knows a probe; any where none of a few is free.
fn take_probe_port(socket: &Socket, to: SocketAddr, hops: u8) {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_whitespace().filter_map(|it| it.parse().ok());
    let (low, high): (u16, u16) = (bounds.next().unwrap_or(32_768), bounds.next().unwrap_or(60_999));
    let start =
        low.saturating_add((RandomState::new().hash_one(to) % (u64::from(high.saturating_sub(low)) + 1)) as u16);
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut ports = probe_ports((start..=high).chain(low..start), to, hops).take(8);
    ports.find(|port| socket.bind(&SocketAddr::new(any, *port).into()).is_ok());
}

fn agreed(info: &libc::tcp_info) -> Agreed {
    let has = |option: u8| info.tcpi_options & option != 0;
    // Two bit fields in one byte: what the peer asked for comes first, at the lower end (include/uapi/linux/tcp.h).
    let (theirs, ours) = (info.tcpi_snd_rcv_wscale & 15, info.tcpi_snd_rcv_wscale >> 4);
    Agreed {
        mss: info.tcpi_snd_mss,
        window_scale: has(WINDOW_SCALE).then_some((ours, theirs)),
        sack: has(SACK),
        timestamps: has(TIMESTAMPS),
        ecn: has(ECN),
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
    }
}
