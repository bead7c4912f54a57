//! Client sockets: connects with a time limit, from a chosen port, or left half done.
//!
//! A socket belongs to the namespace of the thread that made it, for life; so only the making happens inside.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::TcpStreamExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};

use super::netns::Ns;

/// A connect under way: the SYN has been handed to the stack, the answer has not been waited for.
#[derive(Debug)]
pub struct Connecting {
    socket: TcpStream,
    refused: Option<io::Error>,
}

/// What may be chosen about a connect.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectOptions {
    /// The client's port, so that a test knows its 4-tuple beforehand.
    pub from_port: Option<u16>,
    /// Keeps the final ACK back for up to 200 ms, as Linux does for a client that is expected to write at once
    /// (`TCP_QUICKACK` off).
    pub delay_final_ack: bool,
}

impl Ns {
    /// Connects from any port.
    pub fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        self.start_connect(to, ConnectOptions::default())?.finish(timeout)
    }

    /// Connects from a given port.
    pub fn connect_from(&self, port: u16, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        self.start_connect(to, ConnectOptions { from_port: Some(port), ..Default::default() })?.finish(timeout)
    }

    /// Sends a SYN and returns. Errors of the socket and of the bind come at once, all others from `finish`.
    pub fn start_connect(&self, to: SocketAddr, options: ConnectOptions) -> io::Result<Connecting> {
        let from = options.from_port.map(|port| format!(" -p {port}")).unwrap_or_default();
        let remark = if options.delay_final_ack { " # with TCP_QUICKACK off" } else { "" };
        let call = format!("nc -n -v -w 10{from} {} {} </dev/null{remark}", to.ip(), to.port());
        self.log.add(format!("ip netns exec {} {call}", self.name));
        let socket = TcpStream::from(self.tcp_socket(to)?);
        if to.is_ipv6() {
            // The lab's round trip is so short that an ICMP error finds the socket still locked by connect. Linux then
            // makes nothing of it until the next SYN, unless there is an error queue; IPv4 always has one.
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
        if let Some(port) = options.from_port {
            setsockopt(&socket, sockopt::ReuseAddr, &true)?;
            let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
            socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, port)))?;
        }
        if options.delay_final_ack {
            socket.set_quickack(false)?;
        }
        let refused = match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
            Ok(()) | Err(Errno::EINPROGRESS) => None,
            Err(error) => Some(error.into()),
        };
        Ok(Connecting { socket, refused })
    }

    /// Connects from a given port with data in the SYN (RFC 7413), as far as `net.ipv4.tcp_fastopen` lets both sides; with data
    /// behind the handshake where a cookie is missing.
    pub fn fast_open(&self, port: u16, to: SocketAddr, data: &[u8], timeout: Duration) -> io::Result<TcpStream> {
        self.log.add(format!("# {}: data in the SYN from port {port} to {to}", self.name));
        let socket = TcpStream::from(self.tcp_socket(to)?);
        let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, port)))?;
        let flags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
        let sent = match socket::sendto(socket.as_raw_fd(), data, &SockaddrStorage::from(to), flags) {
            // Without a cookie it asks for one, and the data waits for the next time.
            Err(Errno::EINPROGRESS) => 0,
            sent => sent?,
        };
        let mut stream = Connecting { socket, refused: None }.finish(timeout)?;
        stream.write_all(&data[sent..])?;
        Ok(stream)
    }

    /// A TCP socket of this namespace that does not block.
    pub(super) fn tcp_socket(&self, peer: SocketAddr) -> io::Result<OwnedFd> {
        let family = if peer.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        self.enter(|| Ok(socket::socket(family, SockType::Stream, flags, None)?))
    }
}

impl Connecting {
    /// Gives up, as close does, and at once: a child that another thread is just starting holds a copy of the socket
    /// until it executes its program, and the close waits for that.
    pub fn abandon(self) {
        // In SYN-SENT this is what close does, less the descriptor: the socket is gone and nothing is sent.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// The socket as it is, not blocking.
    pub fn into_stream(self) -> TcpStream {
        self.socket
    }

    /// Waits for the handshake. A `timeout` that passes closes the socket and gives `TimedOut` without an errno, unlike
    /// the kernel's own ETIMEDOUT.
    pub fn finish(mut self, timeout: Duration) -> io::Result<TcpStream> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        if !wait_ready(&self.socket, PollFlags::POLLOUT, timeout)? {
            self.abandon();
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within the test's own time limit"));
        }
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        self.socket.set_nonblocking(false)?;
        Ok(self.socket)
    }
}

/// Closes with a RST rather than a FIN (`SO_LINGER` 0), as many health checks do.
pub fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &linger).expect("SO_LINGER can be set on a TCP socket");
}

/// Whether the descriptor became ready in time.
pub(super) fn wait_ready(fd: &impl AsFd, events: PollFlags, timeout: Duration) -> io::Result<bool> {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut [PollFd::new(fd.as_fd(), events)], timeout)? > 0)
}
