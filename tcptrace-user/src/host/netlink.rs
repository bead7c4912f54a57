//! Questions to the kernel over netlink, on sockets that stay open: one network namespace's for as long as they live.
//!
//! `live::netlink` opens a socket a question, which costs more than the answer. Messages are put together here octet by
//! octet: each is one fixed structure and at most two attributes. Nothing waits: the kernel answers within send(2)
//! (`netlink_unicast_kernel`, net/netlink/af_netlink.c), so what is not there when it returns will not come.
//! <https://docs.kernel.org/userspace-api/netlink/intro.html>

use std::{
    fmt,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroI32,
    os::fd::{AsRawFd, RawFd},
};

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
    NetlinkBuffer, NlaBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};
use tcptrace_vocabulary::facts::Missing;

/// Bytes of one receive: twice the 32 KiB that the kernel gives a dump at most (`netlink_dump`, af_netlink.c).
const RECEIVE: usize = 64 * 1024;
/// Datagrams of one answer at most: a dump of some 100,000 sockets.
const DATAGRAMS: u32 = 1024;

/// A netlink socket for questions.
pub(super) struct Channel {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.socket.as_raw_fd()).finish()
    }
}

impl Channel {
    /// In the network namespace of the calling thread, where it stays.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVE), sequence: 0 })
    }

    /// Joins groups of notices, and makes room for those that come while nobody reads.
    pub(super) fn subscribe(&mut self, groups: &[u32], room: libc::c_int) -> io::Result<()> {
        self.socket.set_rx_buf_sz(room)?;
        self.socket.bind_auto()?;
        groups.iter().try_for_each(|&group| self.socket.add_membership(group))
    }

    /// Asks for one thing, and gives the payload of the answer to `on`.
    pub(super) fn get(&mut self, kind: u16, body: &[u8], mut on: impl FnMut(&[u8])) -> io::Result<()> {
        self.ask(kind, 0, body, &mut on)
    }

    /// Asks for a table, and gives the payload of each entry to `on`. One that changes meanwhile is told as it was
    /// found: it will be read again soon.
    pub(super) fn dump(&mut self, kind: u16, body: &[u8], mut on: impl FnMut(&[u8])) -> io::Result<()> {
        self.ask(kind, NLM_F_DUMP, body, &mut on)
    }

    fn ask(&mut self, kind: u16, flags: u16, body: &[u8], on: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = 16 + body.len() as u32;
        let mut message = Vec::with_capacity(length as usize);
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        self.socket.send_to(&message, &SocketAddr::new(0, 0), 0)?;
        for _ in 0..DATAGRAMS {
            self.receive()?;
            for answer in messages(&self.buffer) {
                // What is left of a question that failed half-way.
                if answer.sequence_number() != self.sequence {
                    continue;
                }
                let code = match answer.message_type() {
                    NLMSG_DONE => DoneBuffer::new_checked(answer.payload()).map_or(0, |done| done.code()),
                    NLMSG_ERROR => ErrorBuffer::new_checked(answer.payload())
                        .map_or(-libc::EPROTO, |error| error.code().map_or(0, NonZeroI32::get)),
                    NLMSG_NOOP | NLMSG_OVERRUN => continue,
                    _ => {
                        on(answer.payload());
                        if flags & NLM_F_DUMP != 0 {
                            continue;
                        }
                        0
                    }
                };
                return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
            }
        }
        Err(io::Error::other("the answer does not end"))
    }

    /// Gives the notices that wait, kind and payload, to `on`, at most `datagrams` of them.
    pub(super) fn drain(&mut self, datagrams: u32, mut on: impl FnMut(u16, &[u8])) -> io::Result<()> {
        for _ in 0..datagrams {
            match self.receive() {
                Ok(()) => messages(&self.buffer).for_each(|it| on(it.message_type(), it.payload())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads a datagram of the kernel's into the buffer. What a process sent is passed over.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Ok((length, sender)) if sender.port_number() == 0 && length == self.buffer.len() => return Ok(()),
                Ok((_, sender)) if sender.port_number() == 0 => {
                    return Err(io::Error::other(format!("an answer is longer than {RECEIVE} bytes")));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The messages of a datagram, up to the first that does not fit.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let next = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(next..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in `bytes`, up to the first that does not fit.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

/// Adds an attribute to a message.
pub(super) fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The number at an offset.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|it| u32::from_ne_bytes(*it))
}

/// An address of 4 or 16 octets, by their count.
pub(super) fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(|it| IpAddr::V6(Ipv6Addr::from(it))),
        _ => None,
    }
}

/// The octets of an address, with its family.
pub(super) fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(it) => (libc::AF_INET as u8, it.octets().to_vec()),
        IpAddr::V6(it) => (libc::AF_INET6 as u8, it.octets().to_vec()),
    }
}

/// Why a question was not answered.
pub(super) fn missing(error: &io::Error) -> Missing {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Missing::Privilege,
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::ENOPROTOOPT) => Missing::Kernel,
        // No handler for a family of sockets is ENOENT or EINVAL, which also mean other things: asked where they do.
        _ => Missing::Failed,
    }
}
