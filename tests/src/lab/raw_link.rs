//! Frames of one interface, read and written under the stack (`AF_PACKET`).
//!
//! It sees both directions, as tcpdump would. Frames of the local stack may carry unfinished checksums: on veth nothing
//! ever finishes them. <https://man7.org/linux/man-pages/man7/packet.7.html>

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::poll::PollFlags;
use nix::sys::socket::{
    self, AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, setsockopt, sockopt,
};

use super::netns::Ns;
use super::socket::wait_ready;
use super::tcp_frame::TcpFrame;

/// Enough for every frame of a test; the default is about 200 small ones.
const BUFFER: usize = 4 << 20;

/// A frame and its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    pub bytes: Vec<u8>,
    /// Sent by this host, rather than received.
    pub outgoing: bool,
}

/// An open packet socket on one interface. It captures from the moment it is opened.
#[derive(Debug)]
pub struct RawLink {
    socket: OwnedFd,
}

impl Ns {
    /// Opens an interface of this namespace.
    #[track_caller]
    pub fn raw_link(&self, interface: &str) -> RawLink {
        let opened = self.enter(|| RawLink::open(interface));
        opened.unwrap_or_else(|error| panic!("cannot open '{interface}' in {}: {error}", self.name()))
    }
}

impl RawLink {
    fn open(interface: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // No protocol yet: a packet socket that has one receives from every interface until it is bound.
        let socket = socket::socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
        socket::bind(socket.as_raw_fd(), &link_address(if_nametoindex(interface)?))?;
        Ok(Self { socket })
    }

    /// Sends one frame. It passes TC egress, but neither the local firewall nor the local stack.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        let sent = socket::send(self.socket.as_raw_fd(), frame, MsgFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "a frame of {} bytes was not sent", frame.len());
    }

    /// The next frame, or none when `timeout` passes without one.
    pub fn recv(&self, timeout: Duration) -> Option<Captured> {
        if !wait_ready(&self.socket, PollFlags::POLLIN, timeout).expect("a packet socket can be polled") {
            return None;
        }
        let mut buffer = vec![0; 1 << 16];
        match socket::recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
            Ok((length, from)) => {
                buffer.truncate(length);
                let outgoing = from.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
                Some(Captured { bytes: buffer, outgoing })
            }
            Err(Errno::EAGAIN | Errno::ENETDOWN) => None,
            Err(error) => panic!("cannot read from a packet socket: {error}"),
        }
    }

    /// The next TCP segment that `wanted` accepts; all other frames before it are lost.
    pub fn recv_tcp(&self, timeout: Duration, wanted: impl Fn(&TcpFrame) -> bool) -> Option<TcpFrame> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.recv(left) {
                Some(frame) => match TcpFrame::parse(&frame.bytes) {
                    Some(segment) if wanted(&segment) => return Some(segment),
                    _ => {}
                },
                None if left.is_zero() => return None,
                None => {}
            }
        }
    }

    /// What a client port and its peers said to each other, until nothing more comes for `quiet`: `> S`, `< S.`, `> .`
    /// with `>` for the client's and tcpdump's letters for the flags.
    pub fn conversation(&self, client_port: u16, quiet: Duration) -> Vec<String> {
        let ours = |segment: &TcpFrame| [segment.source.port(), segment.target.port()].contains(&client_port);
        let mut lines = Vec::new();
        while let Some(segment) = self.recv_tcp(quiet, ours) {
            lines.push(format!("{} {segment}", if segment.source.port() == client_port { '>' } else { '<' }));
        }
        lines
    }
}

impl AsFd for RawLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// All protocols on one interface.
#[expect(unsafe_code, reason = "nix can take a link-layer address apart but not put one together")]
fn link_address(index: libc::c_uint) -> LinkAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the pointer is to a whole, initialised sockaddr_ll of that length, which is copied before this returns.
    let converted = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    converted.expect("family and length are those of a link-layer address")
}
