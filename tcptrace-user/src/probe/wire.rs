//! The packets that really leave and come: a packet socket with a filter on the host's addresses.
//!
//! It distinguishes a SYN that a rule of this host dropped from one that was not answered, which no errno does: both
//! are silence. It takes CAP_NET_RAW. Only SYN, FIN, RST and ICMP errors pass the filter, so that a busy connection to
//! the same host costs nothing more; nothing of those connections is kept.
//! <https://man7.org/linux/man-pages/man7/packet.7.html>

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET,
    BPF_W,
};
use nix::sys::socket::{MsgFlags, getsockopt, setsockopt, sockopt::ReceiveTimestampns};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tcptrace_core::segment::{Flags, Found, Kind, Link, Segment, locate};
use tcptrace_vocabulary::words::ip;

use super::{
    diagnosis::{Answered, Wire},
    socket,
};
use crate::socket::{PacketStatistics, bind_link};

/// Packets kept, and bytes of each.
const MOST: usize = 4096;
const OCTETS: usize = 256;
const BUFFER: usize = 4 << 20;

/// A packet as it passed.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Nanoseconds since the Unix epoch.
    pub(super) time: u64,
    pub(super) interface: u32,
    pub(super) is_outgoing: bool,
    /// From the IP header on.
    pub(super) octets: Vec<u8>,
    pub(super) original: usize,
}

/// An open packet socket, and what it has seen.
pub(super) struct Tap {
    socket: Socket,
    seen: Mutex<State>,
}

#[derive(Default)]
struct State {
    packets: Vec<Seen>,
    /// Something was missed, so that nothing can be said of what was not seen.
    is_holed: bool,
}

impl Tap {
    /// Opens it for the packets of these hosts, on every interface: of a route with several paths netlink names one,
    /// and a connect may take another (`fib_multipath_hash_policy`).
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub(super) fn open(hosts: &[IpAddr]) -> io::Result<Self> {
        // No protocol yet: packets come in only once the filter is there.
        let socket = Socket::new(Domain::from(libc::AF_PACKET), Type::DGRAM, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        let _ = socket.set_recv_buffer_size(BUFFER);
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        let filter: Vec<_> = filter(hosts)?.iter().map(|it| SockFilter::new(it.code, it.jt, it.jf, it.k)).collect();
        socket.attach_filter(&filter)?;
        bind_link(&socket, libc::ETH_P_ALL, 0)?;
        Ok(Self { socket, seen: Mutex::default() })
    }

    /// Takes the packets that have come so far. A packet that a connect's socket has received has passed here before.
    fn drain(&self) -> std::sync::MutexGuard<'_, State> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = [0; OCTETS];
        loop {
            let received = match socket::receive(&self.socket, &mut buffer, MsgFlags::MSG_TRUNC) {
                Ok(received) => received,
                Err(error) => {
                    seen.is_holed |= error.kind() != io::ErrorKind::WouldBlock;
                    break;
                }
            };
            if seen.packets.len() >= MOST {
                seen.is_holed = true;
                continue;
            }
            let (interface, is_outgoing) = received.link.unwrap_or_default();
            let octets = buffer[..received.length.min(OCTETS)].to_vec();
            let time = received.time.unwrap_or_default();
            seen.packets.push(Seen { time, interface, is_outgoing, octets, original: received.length });
        }
        // Unless the socket says that nothing was missed, something may have been.
        seen.is_holed |= !getsockopt(&self.socket, PacketStatistics).is_ok_and(|it| it.tp_drops == 0);
        seen
    }

    /// The packets that were seen of one connect; `None` if something may have been missed.
    pub(super) fn of(&self, from: SocketAddr, to: SocketAddr) -> Option<Wire> {
        let seen = self.drain();
        let mut wire = Wire::default();
        // A bond and its member, a VLAN and its carrier: each shows the same SYN.
        let mut syns = HashMap::<u32, u32>::new();
        for packet in &seen.packets {
            let Some(segment) = segment(&packet.octets) else { continue };
            let ends = (socket_addr(segment.src), socket_addr(segment.dst));
            let kind = segment.flags.kind();
            if kind == Kind::Syn && packet.is_outgoing && ends == (from, to) {
                let count = syns.entry(packet.interface).or_default();
                *count += 1;
                wire.syns = wire.syns.max(*count);
                wire.offered = wire.offered.or(Some(segment.options));
            }
            let is_answer = matches!(kind, Kind::SynAck | Kind::Rst) && !packet.is_outgoing && ends == (to, from);
            if is_answer && wire.answer.is_none() {
                let Segment { flags, ttl, window, options, .. } = segment;
                wire.answer = Some(Answered { flags, ttl, window, options });
            }
        }
        (!seen.is_holed).then_some(wire)
    }

    /// The packets between these ends, and the ICMP errors about them.
    pub(super) fn packets(&self, mut is_ours: impl FnMut(SocketAddr, SocketAddr) -> bool) -> Vec<Seen> {
        let seen = self.drain();
        let ours = seen.packets.iter().filter(|packet| match locate(packet.octets.as_slice(), Link::Ip) {
            Found::Tcp(it) => is_ours(socket_addr(it.src), socket_addr(it.dst)),
            Found::Error(it) => is_ours(socket_addr(it.src), socket_addr(it.dst)),
            Found::Skipped(_) => false,
        });
        ours.cloned().collect()
    }
}

fn segment(octets: &[u8]) -> Option<Segment> {
    match locate(octets, Link::Ip) {
        Found::Tcp(it) => Some(Segment::read(octets, &it)),
        Found::Error(_) | Found::Skipped(_) => None,
    }
}

pub(super) fn socket_addr(endpoint: tcptrace_core::flow::Endpoint) -> SocketAddr {
    SocketAddr::new(ip(endpoint.addr), endpoint.port)
}

const LOAD_WORD: u32 = BPF_LD | BPF_W | BPF_ABS;
const LOAD_OCTET: u32 = BPF_LD | BPF_B | BPF_ABS;
const IS: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const HAS: u32 = BPF_JMP | BPF_JSET | BPF_K;

/// Instructions whose jumps name labels: classic BPF knows only forward distances.
#[derive(Default)]
struct Program {
    lines: Vec<(u32, u32, Option<usize>, Option<usize>)>,
    labels: Vec<usize>,
}

impl Program {
    fn label(&mut self) -> usize {
        self.labels.push(usize::MAX);
        self.labels.len() - 1
    }

    fn here(&mut self, label: usize) {
        self.labels[label] = self.lines.len();
    }

    fn line(&mut self, code: u32, k: u32) {
        self.lines.push((code, k, None, None));
    }

    fn jump(&mut self, code: u32, k: u32, yes: Option<usize>, no: Option<usize>) {
        self.lines.push((code, k, yes, no));
    }

    /// Goes to `yes` if the words from `at` on are these.
    fn compare(&mut self, at: u32, words: &[u32], yes: usize) {
        let no = self.label();
        for (number, word) in words.iter().enumerate() {
            self.line(LOAD_WORD, at + 4 * number as u32);
            let is_last = number + 1 == words.len();
            self.jump(IS, *word, is_last.then_some(yes), Some(no));
        }
        self.here(no);
    }

    fn finish(self) -> io::Result<Vec<libc::sock_filter>> {
        let far = || io::Error::other("the filter has too many addresses");
        let lines = self.lines.iter().enumerate().map(|(at, &(code, k, yes, no))| {
            let distance = |label: Option<usize>| {
                label.map_or(Ok(0), |it| u8::try_from(self.labels[it] - at - 1).map_err(|_| far()))
            };
            Ok(libc::sock_filter { code: code as u16, jt: distance(yes)?, jf: distance(no)?, k })
        });
        lines.collect()
    }
}

/// Lets through, from the IP header on: SYN, FIN and RST to or from a host, and ICMP errors that quote a packet to one.
/// An ICMP error is looked for behind an IP header without options, and quotes one.
fn filter(hosts: &[IpAddr]) -> io::Result<Vec<libc::sock_filter>> {
    const CONTROL: u32 = (Flags::SYN | Flags::FIN | Flags::RST) as u32;
    const KEEP: u32 = OCTETS as u32 * 16;
    let mut program = Program::default();
    let [v6, tcp, icmp, control, tcp6, icmp6, control6, keep, drop] = std::array::from_fn(|_| program.label());
    let v4_hosts: Vec<u32> =
        hosts.iter().filter_map(|it| if let IpAddr::V4(it) = it { Some(it.to_bits()) } else { None }).collect();
    let v6_hosts: Vec<[u32; 4]> = hosts
        .iter()
        .filter_map(|it| if let IpAddr::V6(it) = it { Some(it.to_bits()) } else { None })
        .map(|bits| [96, 64, 32, 0].map(|shift| (bits >> shift) as u32))
        .collect();

    program.line(LOAD_OCTET, 0);
    program.line(BPF_ALU | BPF_AND | BPF_K, 0xf0);
    program.jump(IS, 0x60, Some(v6), None);
    program.jump(IS, 0x40, None, Some(drop));
    program.line(LOAD_OCTET, 9);
    program.jump(IS, libc::IPPROTO_TCP as u32, Some(tcp), None);
    program.jump(IS, libc::IPPROTO_ICMP as u32, Some(icmp), Some(drop));
    program.here(tcp);
    for host in &v4_hosts {
        program.compare(12, &[*host], control);
        program.compare(16, &[*host], control);
    }
    program.line(BPF_RET | BPF_K, 0);
    program.here(control);
    program.line(BPF_LDX | BPF_B | BPF_MSH, 0);
    program.line(BPF_LD | BPF_B | BPF_IND, 13);
    program.jump(HAS, CONTROL, Some(keep), Some(drop));
    program.here(icmp);
    for host in &v4_hosts {
        program.compare(20 + 8 + 16, &[*host], keep);
    }
    program.line(BPF_RET | BPF_K, 0);

    program.here(v6);
    program.line(LOAD_OCTET, 6);
    program.jump(IS, libc::IPPROTO_TCP as u32, Some(tcp6), None);
    program.jump(IS, libc::IPPROTO_ICMPV6 as u32, Some(icmp6), Some(drop));
    program.here(tcp6);
    for host in &v6_hosts {
        program.compare(8, host, control6);
        program.compare(24, host, control6);
    }
    program.line(BPF_RET | BPF_K, 0);
    program.here(control6);
    program.line(LOAD_OCTET, 40 + 13);
    program.jump(HAS, CONTROL, Some(keep), Some(drop));
    program.here(icmp6);
    for host in &v6_hosts {
        program.compare(40 + 8 + 24, host, keep);
    }
    program.here(drop);
    program.line(BPF_RET | BPF_K, 0);
    program.here(keep);
    program.line(BPF_RET | BPF_K, KEEP);
    program.finish()
}
