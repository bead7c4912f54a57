//! Which tunnels there are that nobody looks into: a sample, for the summary's hint. Never with `--decap`.
//!
//! The kernel's programs count a tunnel's packet as none of TCP's, and ask no more of it: that would cost every packet
//! of the host. A packet socket whose filter lets tunnels through hears the first second, and a moment of each minute
//! after that. Needs CAP_NET_RAW, and is silent without it. <https://docs.kernel.org/networking/filter.html>

use std::{io, os::fd::AsRawFd as _};

use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tcptrace_core::{
    handshake::Nanos,
    segment::{IPV4, IPV6, Link},
    tunnel,
};

use crate::{
    netlink::links::{Interface, LinkType},
    socket::bind_link,
};

/// For how long it listens at first, and how long it rests before it listens until the next look.
const FIRST: u64 = 1_000_000_000;
const REST: u64 = 60_000_000_000;
/// Interfaces that it listens on.
const MOST: usize = 16;
/// Packets read at one look, of each interface: a hint needs no more.
const AT_ONCE: u32 = 256;
/// Bytes of one: the outer headers, and the beginning of the inner ones.
const LENGTH: usize = 192;
/// One more than the largest number of a tunnel's kind.
const KINDS: usize = 8;
const UDP: u32 = 17;
/// MPLS with one receiver (RFC 3032, section 5).
const MPLS: u32 = 0x8847;
/// Loads relative to the network header, and what the kernel knows of the packet (linux/filter.h).
const NETWORK: u32 = -0x10_0000_i32 as u32;
const ETHERTYPE: u32 = -0x1000_i32 as u32;

/// The sample.
#[derive(Debug)]
pub struct Tunnels {
    sockets: Vec<(Socket, Link)>,
    /// Until when it listens, or rests.
    until: Nanos,
    /// Packets by the kind's number.
    counts: [u64; KINDS],
}

impl Tunnels {
    /// Begins to listen on these interfaces.
    #[must_use]
    pub fn start<'a>(interfaces: impl Iterator<Item = &'a Interface>, now: Nanos) -> Self {
        Self { sockets: listen(interfaces), until: Nanos(now.0 + FIRST), counts: [0; KINDS] }
    }

    /// To be called at each sweep.
    pub fn tick<'a>(&mut self, interfaces: impl Iterator<Item = &'a Interface>, now: Nanos) {
        self.read();
        if now < self.until {
            return;
        }
        if self.sockets.is_empty() {
            self.sockets = listen(interfaces);
            self.until = now;
        } else {
            self.sockets.clear();
            self.until = Nanos(now.0 + REST);
        }
    }

    /// Counts what waits.
    pub fn read(&mut self) {
        let mut octets = [0; LENGTH];
        for (socket, link) in &self.sockets {
            for _ in 0..AT_ONCE {
                let Ok(length) = recv(socket.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT) else { break };
                if let Some(inner) = tunnel::inner(&octets[..length.min(LENGTH)], *link) {
                    self.counts[inner.tunnel.kind() as usize % KINDS] += 1;
                }
            }
        }
    }

    /// The packets so far, by the tunnel's kind.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let kinds = (0..).zip(self.counts).filter(|(_, count)| *count > 0);
        kinds.filter_map(|(kind, count)| Some((tunnel::Kind::of(kind)?.name(), count))).collect()
    }
}

/// On at most [`MOST`] interfaces, NICs first: closing such a socket takes the kernel some 10 ms each.
fn listen<'a>(interfaces: impl Iterator<Item = &'a Interface>) -> Vec<(Socket, Link)> {
    let mut interfaces: Vec<_> = interfaces.collect();
    interfaces.sort_by_key(|it| it.kind.is_some());
    interfaces.into_iter().take(MOST).filter_map(|it| Some((open(it.index).ok()?, link(it)?))).collect()
}

const fn link(interface: &Interface) -> Option<Link> {
    match interface.link_type {
        LinkType::Ethernet | LinkType::Loopback => Some(Link::Ethernet),
        LinkType::RawIp => Some(Link::Ip),
        LinkType::Other(_) => None,
    }
}

fn open(interface: u32) -> io::Result<Socket> {
    // No protocol yet: it would receive before it filters.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.attach_filter(&filter())?;
    bind_link(&socket, libc::ETH_P_ALL, interface)?;
    Ok(socket)
}

/// IP in IP, GRE, the ports of VXLAN and Geneve behind an IP header without options, and MPLS.
fn filter() -> [SockFilter; 19] {
    let instruction = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    let load = |size: u32, at: u32| instruction(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, at);
    let equals = |value: u32, jt, jf| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, value);
    let jump = |by| instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, by);
    let give = |length: usize| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, length as u32);
    [
        load(libc::BPF_H, ETHERTYPE),
        equals(MPLS, 16, 0),
        equals(IPV4.into(), 0, 4),
        load(libc::BPF_B, NETWORK + 9),
        equals(UDP, 0, 7),
        load(libc::BPF_H, NETWORK + 22),
        jump(8),
        // Not IPv4.
        equals(IPV6.into(), 0, 9),
        load(libc::BPF_B, NETWORK + 6),
        equals(UDP, 0, 2),
        load(libc::BPF_H, NETWORK + 42),
        jump(3),
        // The protocol, which is not UDP: IP in IP, IPv6 in IP, GRE.
        equals(4, 5, 0),
        equals(41, 4, 0),
        equals(47, 3, 2),
        // The port: VXLAN's, Geneve's.
        equals(4789, 2, 0),
        equals(6081, 1, 0),
        give(0),
        give(LENGTH),
    ]
}
