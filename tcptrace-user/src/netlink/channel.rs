//! A netlink socket: questions, tables, commands, notices. It stays in the network namespace in which it was opened.
//!
//! Nothing waits: the kernel answers within send(2), and for a table within recv(2) (`netlink_unicast_kernel`,
//! `netlink_dump`, net/netlink/af_netlink.c). So an answer that is not there when it is read will not come. A table
//! that cannot be read whole is an error, never a shorter table.
//! <https://man7.org/linux/man-pages/man7/netlink.7.html>

use std::{
    fmt,
    io::{self, ErrorKind},
    num::NonZeroI32,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NLMSG_OVERRUN, NetlinkSerializable as _,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_ROUTE, NETLINK_SOCK_DIAG},
};

use super::message::messages;

/// Bytes of one receive: twice the 32 KiB that the kernel gives a dump at most (`netlink_dump`, af_netlink.c).
const RECEIVE: usize = 64 * 1024;
/// Datagrams of one answer at most: a dump of some 100,000 sockets, or of a million routes.
const DATAGRAMS: u32 = 16 * 1024;
/// The most readings of a table that changes while it is read.
const ATTEMPTS: u32 = 8;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's answer is an errno: there is no such thing, or no way to it.
    #[error("{}", io::Error::from_raw_os_error(*.errno))]
    Refused { errno: i32 },
    /// The kernel could not be asked, or its answer not be read.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Error {
    /// The errno that the kernel answers with.
    #[must_use]
    pub const fn refused(&self) -> Option<i32> {
        match self {
            Self::Refused { errno } => Some(*errno),
            Self::Failed(_) => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { errno } => Self::from_raw_os_error(errno),
            Error::Failed(error) => error,
        }
    }
}

/// A netlink socket.
pub(crate) struct Channel {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.socket.as_raw_fd()).finish()
    }
}

/// The end of the answer to a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Its first message.
    First,
    /// The end of the table.
    Done,
    /// The acknowledgement.
    Acknowledged,
}

impl Channel {
    /// For links, addresses, routes, neighbours and queueing disciplines, in the network namespace of the calling
    /// thread.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(NETLINK_ROUTE)
    }

    /// For sockets, in the network namespace of the calling thread.
    pub(crate) fn sock_diag() -> io::Result<Self> {
        Self::open(NETLINK_SOCK_DIAG)
    }

    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVE), sequence: 0 })
    }

    /// Joins groups of notices, and makes room for those that come while nobody reads.
    pub(crate) fn subscribe(&mut self, groups: &[u32], room: libc::c_int) -> io::Result<()> {
        self.socket.set_rx_buf_sz(room)?;
        self.socket.bind_auto()?;
        groups.iter().try_for_each(|&group| self.socket.add_membership(group))
    }

    /// Asks for one thing, and keeps what `pick` makes of the answer.
    pub(crate) fn get<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        mut pick: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let mut found = None;
        self.ask((kind, 0, body), Until::First, &mut |payload| found = pick(payload))?;
        Ok(found)
    }

    /// Asks for a table, and keeps of each entry what `pick` makes of it. One that changes while it is read is asked
    /// for again.
    pub(crate) fn dump<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        mut pick: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..ATTEMPTS {
            let mut found = Vec::new();
            if self.ask((kind, NLM_F_DUMP, body), Until::Done, &mut |payload| found.extend(pick(payload)))? {
                return Ok(found);
            }
        }
        Err(io::Error::other(format!("the table changed during each of {ATTEMPTS} readings")).into())
    }

    /// The same, by a typed message.
    pub(crate) fn dump_message<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        pick: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        self.dump(message.message_type(), &serialized(message), pick)
    }

    /// Has the kernel change something, and waits for its answer.
    pub(crate) fn execute(&mut self, message: &RouteNetlinkMessage) -> Result<(), Error> {
        let body = serialized(message);
        self.ask((message.message_type(), NLM_F_ACK, &body), Until::Acknowledged, &mut |_| {}).map(|_| ())
    }

    /// One question and its answer; false if the table changed meanwhile (`NLM_F_DUMP_INTR`).
    fn ask(
        &mut self,
        (kind, flags, body): (u16, u16, &[u8]),
        until: Until,
        on: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, Error> {
        self.send(kind, flags, body)?;
        let mut is_whole = true;
        for _ in 0..DATAGRAMS {
            self.receive()?;
            for answer in messages(&self.buffer) {
                // The rest of a question that failed half-way.
                if answer.sequence_number() != self.sequence {
                    continue;
                }
                is_whole &= answer.flags() & NLM_F_DUMP_INTR == 0;
                let code = match answer.message_type() {
                    NLMSG_DONE => DoneBuffer::new_checked(answer.payload()).map_or(0, |done| done.code()),
                    NLMSG_ERROR => ErrorBuffer::new_checked(answer.payload())
                        .map_or(-libc::EPROTO, |error| error.code().map_or(0, NonZeroI32::get)),
                    NLMSG_NOOP | NLMSG_OVERRUN => continue,
                    _ => {
                        on(answer.payload());
                        if until != Until::First {
                            continue;
                        }
                        0
                    }
                };
                return if code == 0 { Ok(is_whole) } else { Err(Error::Refused { errno: -code }) };
            }
        }
        Err(io::Error::other("the answer does not end").into())
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = 16 + body.len() as u32;
        let mut message = Vec::with_capacity(length as usize);
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        self.socket.send_to(&message, &SocketAddr::new(0, 0), 0).map(|_| ())
    }

    /// Gives the notices that wait, kind and payload, to `on`; reads at most `datagrams`, and returns how many it read.
    ///
    /// # Errors
    /// ENOBUFS where the kernel had more to tell than room to keep it, `InvalidData` where a notice was longer than
    /// what is read: the tables have to be read anew.
    pub(crate) fn drain(&mut self, datagrams: u32, mut on: impl FnMut(u16, &[u8])) -> io::Result<u32> {
        for read in 0..datagrams {
            match self.receive() {
                Ok(()) => messages(&self.buffer).for_each(|message| on(message.message_type(), message.payload())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(read),
                Err(error) => return Err(error),
            }
        }
        Ok(datagrams)
    }

    /// Reads a datagram of the kernel's into the buffer. A datagram from a process is passed over.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Ok((length, sender)) if sender.port_number() == 0 && length == self.buffer.len() => return Ok(()),
                Ok((_, sender)) if sender.port_number() == 0 => {
                    let why = format!("an answer is longer than {RECEIVE} bytes");
                    return Err(io::Error::new(ErrorKind::InvalidData, why));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn serialized(message: &RouteNetlinkMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_told_from_what_failed() {
        let mut channel = Channel::route().expect("no privilege is needed");
        // A link by an index that none has.
        let mut body = [0; 16];
        body[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let refused = channel.get(libc::RTM_GETLINK, &body, |_| Some(())).expect_err("there is none");
        assert_eq!(refused.refused(), Some(libc::ENODEV));
        assert_eq!(io::Error::from(refused).raw_os_error(), Some(libc::ENODEV));
        // And the channel still works.
        let links = channel.dump(libc::RTM_GETLINK, &[0; 16], |payload| Some(payload.len())).expect("a table");
        assert!(!links.is_empty());
    }
}
