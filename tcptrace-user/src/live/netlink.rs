//! Network interfaces as the kernel tells them over `NETLINK_ROUTE`: requests, decoding, and a watch for changes.
//!
//! Deliberately not sysfs: `/sys/class/net` shows the namespace that it was mounted in, a socket the one of the thread
//! that opened it. Each attribute is decoded by itself and only where something here asks for it, so that one which a
//! newer kernel has made longer cannot hide an interface. Nothing is decided here: see `interfaces` and `clsact`.
//! <https://docs.kernel.org/userspace-api/netlink/intro.html>

use std::{
    collections::VecDeque,
    fmt,
    io::{self, ErrorKind},
    num::NonZeroI32,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator,
    Parseable, parse_u16, parse_u32,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkFlags, LinkHeader, LinkXdp, XdpAttached},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Bytes of one receive: twice the 32 KiB that the kernel gives a dump at most (`netlink_dump`, af_netlink.c).
const RECEIVE: usize = 64 * 1024;
/// Bytes of notices that may wait while nobody reads; the kernel silently lowers it to `net.core.rmem_max`.
const WATCH_BUFFER: libc::c_int = 1024 * 1024;
/// How often a dump is asked for again when the kernel's table changed under it.
const DUMP_ATTEMPTS: u32 = 8;

/// What a frame begins with at the TC hook, from the `ARPHRD_*` number of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet header (`ARPHRD_ETHER`).
    Ethernet,
    /// An Ethernet header too, with zero addresses (`loopback_setup`, drivers/net/loopback.c).
    Loopback,
    /// Nothing: the first byte is the IP version.
    RawIp,
    /// A link header that nothing here reads, by its `ARPHRD_*` number.
    Other(u16),
}

impl LinkType {
    /// The devices without a link header are those of `dev_is_mac_header_xmit` (include/linux/if_arp.h, today's: older
    /// kernels lack PPP and IP6GRE there, whose packets were no different). On the way in, TC shows a packet from its
    /// MAC header on (`tcx_run`, net/core/dev.c), which these drivers set to the network header: PPP in
    /// `ppp_receive_nonmp_frame`, every tunnel since 5.14 (merge 8eb517a2a4ae). One exception stays: an `ip_gre`
    /// device without a fixed remote address has the outer IP and GRE headers in front (`__ipgre_rcv`).
    fn of(arphrd: u16) -> Self {
        match arphrd {
            libc::ARPHRD_ETHER => Self::Ethernet,
            libc::ARPHRD_LOOPBACK => Self::Loopback,
            libc::ARPHRD_PPP
            | ARPHRD_RAWIP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_IPGRE
            | libc::ARPHRD_PIMREG
            | ARPHRD_IP6GRE
            | libc::ARPHRD_NONE
            | libc::ARPHRD_VOID => Self::RawIp,
            other => Self::Other(other),
        }
    }
}

/// Not in libc (include/uapi/linux/if_arp.h).
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_IP6GRE: u16 = 823;

/// Where an XDP program runs (`IFLA_XDP_ATTACHED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    Native,
    Generic,
    Offload,
}

/// An XDP program that an interface already has. It may be ours, of a run that pinned it: the caller knows its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignXdp {
    pub mode: XdpMode,
    /// As `bpftool prog show id` takes it; 0 if the kernel did not tell.
    pub prog_id: u32,
}

/// One network interface, as it was when the kernel was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Never reused while its namespace lives, unlike the name.
    pub index: u32,
    /// Bytes that are not UTF-8 are shown as U+FFFD.
    pub name: String,
    /// Bytes of the largest packet, without the link header.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Up and with a carrier (`IFF_RUNNING`).
    pub running: bool,
    pub link_type: LinkType,
    /// The driver's name where it is a software device (`IFLA_INFO_KIND`): `veth`, `bridge`, `tun` …
    pub kind: Option<String>,
    /// The bus of the device behind it (`IFLA_PARENT_DEV_BUS_NAME`, since 5.14): `pci`, `virtio` …
    pub parent_bus: Option<String>,
    /// The bridge, bond, team or VRF that it is a member of.
    pub master: Option<u32>,
    /// The interface of this namespace that it sits on or is paired with: a VLAN's parent, a veth's other end.
    pub lower: Option<u32>,
    pub xdp: Option<ForeignXdp>,
}

impl Interface {
    /// From the payload of `RTM_NEWLINK` or `RTM_DELLINK`; None for what is not a whole interface: a bridge's notice
    /// about a port (family `AF_BRIDGE`, `br_ifinfo_notify`), of which a deletion means that the port has left, and
    /// wireless events (`rtnetlink_fill_iwinfo`), which carry nothing but a name.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let header = LinkHeader::parse(payload).ok()?;
        if header.interface_family != AddressFamily::Unspec {
            return None;
        }
        // Not through the header's typed field: it folds numbers that it does not know into one.
        let link_type = LinkType::of(parse_u16(payload.get(2..4)?).ok()?);
        let (mut name, mut mtu, mut kind, mut parent_bus) = (None, None, None, None);
        let (mut master, mut lower, mut elsewhere, mut xdp) = (None, None, false, None);
        for attribute in attributes(payload.get(16..)?) {
            let value = attribute.value();
            match attribute.kind() {
                libc::IFLA_IFNAME => name = Some(text(value)),
                libc::IFLA_MTU => mtu = parse_u32(value).ok(),
                libc::IFLA_MASTER => master = parse_u32(value).ok(),
                libc::IFLA_LINK => lower = parse_u32(value).ok(),
                // Then IFLA_LINK is a number of that other namespace (`nla_put_iflink`, net/core/rtnetlink.c).
                libc::IFLA_LINK_NETNSID => elsewhere = true,
                libc::IFLA_LINKINFO => {
                    kind = attributes(value).find(|a| a.kind() == libc::IFLA_INFO_KIND).map(|a| text(a.value()));
                }
                libc::IFLA_PARENT_DEV_BUS_NAME => parent_bus = Some(text(value)),
                libc::IFLA_XDP => xdp = decode_xdp(value),
                _ => {}
            }
        }
        Some(Self {
            index: header.index,
            name: name?,
            mtu: mtu?,
            up: header.flags.contains(LinkFlags::Up),
            running: header.flags.contains(LinkFlags::Running),
            link_type,
            kind,
            parent_bus,
            master: master.filter(|&index| index != 0),
            lower: lower.filter(|&index| index != 0 && index != header.index && !elsewhere),
            xdp,
        })
    }
}

/// The program that sees a packet first, should there be one in more than one mode (`XDP_ATTACHED_MULTI`).
fn decode_xdp(value: &[u8]) -> Option<ForeignXdp> {
    let (mut only, mut by_mode, mut attached) = (0, [None; 3], XdpAttached::None);
    for attribute in attributes(value) {
        match LinkXdp::parse(&attribute) {
            Ok(LinkXdp::Attached(mode)) => attached = mode,
            Ok(LinkXdp::ProgId(id)) => only = id,
            Ok(LinkXdp::HwProgId(id)) => by_mode[0] = Some((XdpMode::Offload, id)),
            Ok(LinkXdp::DrvProgId(id)) => by_mode[1] = Some((XdpMode::Native, id)),
            Ok(LinkXdp::SkbProgId(id)) => by_mode[2] = Some((XdpMode::Generic, id)),
            _ => {}
        }
    }
    let (mode, prog_id) = match attached {
        XdpAttached::None => return None,
        XdpAttached::Driver => (XdpMode::Native, only),
        XdpAttached::SocketBuffer => (XdpMode::Generic, only),
        XdpAttached::Hardware => (XdpMode::Offload, only),
        _ => by_mode.into_iter().flatten().next()?,
    };
    Some(ForeignXdp { mode, prog_id })
}

/// What [`LinkWatch`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Deleted, or moved to another namespace.
    Gone { index: u32, name: String },
    /// New, renamed, up, down, joined to a bridge …: its whole state, which may be what it was before. An XDP program
    /// that a BPF link attaches is not told (`bpf_xdp_link_attach` sends no notice).
    Changed(Interface),
    /// The kernel had more to tell than room to keep it: list the interfaces anew.
    Lost,
}

/// A subscription to the interfaces' changes in the namespace of the thread that opened it. Open it before listing,
/// so that no change falls in between. In tokio: an `AsyncFd` for reading, whose readiness is cleared once
/// [`next_event`](Self::next_event) gives None; the descriptor stays the same and open until the drop.
#[derive(Debug)]
pub struct LinkWatch {
    route: Route,
    pending: VecDeque<LinkEvent>,
}

impl LinkWatch {
    /// Opens a non-blocking socket in the group `RTNLGRP_LINK`; no privilege is needed.
    pub fn open() -> io::Result<Self> {
        let mut route = Route::open()?;
        route.socket.set_non_blocking(true)?;
        route.socket.set_rx_buf_sz(WATCH_BUFFER)?;
        route.socket.bind_auto()?;
        route.socket.add_membership(libc::RTNLGRP_LINK)?;
        Ok(Self { route, pending: VecDeque::new() })
    }

    /// The next change, None when nothing more waits now.
    pub fn next_event(&mut self) -> io::Result<Option<LinkEvent>> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            match self.route.receive() {
                Ok(true) => self.pending.extend(messages(&self.route.buffer).filter_map(|m| event(&m))),
                Ok(false) => return Ok(Some(LinkEvent::Lost)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(Some(LinkEvent::Lost)),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.route.socket.as_fd()
    }
}

impl AsRawFd for LinkWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.route.socket.as_raw_fd()
    }
}

fn event(message: &NetlinkBuffer<&[u8]>) -> Option<LinkEvent> {
    let interface = Interface::decode(message.payload())?;
    match message.message_type() {
        libc::RTM_NEWLINK => Some(LinkEvent::Changed(interface)),
        libc::RTM_DELLINK => Some(LinkEvent::Gone { index: interface.index, name: interface.name }),
        _ => None,
    }
}

/// Asks for a table and keeps of each entry, given as the payload of its message, what `pick` makes of it. Blocks
/// until the kernel has answered, which it does at once.
pub(crate) fn dump<T>(request: &RouteNetlinkMessage, mut pick: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    for _ in 0..DUMP_ATTEMPTS {
        let mut found = Vec::new();
        if converse(request.clone(), NLM_F_DUMP, |payload| found.extend(pick(payload)))? {
            return Ok(found);
        }
    }
    Err(io::Error::other(format!("the table changed during each of {DUMP_ATTEMPTS} readings")))
}

/// Asks one question, of which the answer is no table, and keeps of it what `pick` makes of it.
pub(crate) fn request<T>(request: RouteNetlinkMessage, mut pick: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let mut found = Vec::new();
    // Acknowledged, so that there is an end to wait for behind the answer.
    converse(request, NLM_F_ACK, |payload| found.extend(pick(payload)))?;
    Ok(found)
}

/// Has the kernel change something, and waits for its answer.
pub(super) fn execute(request: RouteNetlinkMessage) -> io::Result<()> {
    converse(request, NLM_F_ACK, |_| {}).map(|_| ())
}

/// The attributes in `bytes`, up to the first that does not fit.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

/// A string of the kernel's, with or without its final zero.
pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

/// One request and its answers, on a socket of its own; false if the table changed meanwhile (`NLM_F_DUMP_INTR`).
fn converse(request: RouteNetlinkMessage, flags: u16, mut on: impl FnMut(&[u8])) -> io::Result<bool> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request));
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut route = Route::open()?;
    route.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let mut whole = true;
    loop {
        if !route.receive()? {
            return Err(io::Error::other(format!("an answer is longer than {RECEIVE} bytes")));
        }
        for answer in messages(&route.buffer) {
            whole &= answer.flags() & NLM_F_DUMP_INTR == 0;
            let code = match answer.message_type() {
                NLMSG_DONE => DoneBuffer::new_checked(answer.payload()).map_or(0, |done| done.code()),
                NLMSG_ERROR => ErrorBuffer::new_checked(answer.payload())
                    .map_or(-libc::EPROTO, |error| error.code().map_or(0, NonZeroI32::get)),
                NLMSG_NOOP | NLMSG_OVERRUN => continue,
                _ => {
                    on(answer.payload());
                    continue;
                }
            };
            return if code == 0 { Ok(whole) } else { Err(io::Error::from_raw_os_error(-code)) };
        }
    }
}

struct Route {
    socket: Socket,
    buffer: Vec<u8>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.socket.as_raw_fd()).finish()
    }
}

impl Route {
    fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::new(NETLINK_ROUTE)?, buffer: Vec::with_capacity(RECEIVE) })
    }

    /// Reads a datagram of the kernel's into the buffer; false if it did not fit. What a process sent is passed over.
    fn receive(&mut self) -> io::Result<bool> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Ok((length, sender)) if sender.port_number() == 0 => return Ok(length == self.buffer.len()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
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

/// What the tests of this module and of its neighbours begin with: a NIC on PCI, up.
#[cfg(test)]
pub(super) fn nic(index: u32, name: &str) -> Interface {
    Interface {
        index,
        name: name.to_owned(),
        mtu: 1500,
        up: true,
        running: true,
        link_type: LinkType::Ethernet,
        kind: None,
        parent_bus: Some("pci".to_owned()),
        master: None,
        lower: None,
        xdp: None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage};

    use super::*;

    fn link(family: AddressFamily, more: Vec<LinkAttribute>) -> Vec<u8> {
        let mut message = LinkMessage::default();
        message.header.interface_family = family;
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up | LinkFlags::Running;
        message.attributes = vec![LinkAttribute::IfName("eth0".to_owned())];
        message.attributes.extend(more);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn decode_reads_what_a_link_message_says() {
        use LinkAttribute as A;
        let plain = || Interface { parent_bus: None, ..nic(7, "eth0") };
        let xdp = |mode, prog_id| Interface { xdp: Some(ForeignXdp { mode, prog_id }), ..plain() };
        let cases: [(&str, Vec<A>, Interface); 9] = [
            ("bus", vec![A::ParentDevBusName("pci".into())], nic(7, "eth0")),
            ("kind", vec![A::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)])], {
                Interface { kind: Some("veth".to_owned()), ..plain() }
            }),
            ("member", vec![A::Controller(3)], Interface { master: Some(3), ..plain() }),
            ("sits on another", vec![A::Link(4)], Interface { lower: Some(4), ..plain() }),
            ("peer in another namespace", vec![A::Link(4), A::LinkNetNsId(0)], plain()),
            ("its own number, or none", vec![A::Link(7), A::Controller(0)], plain()),
            ("no program", vec![A::Xdp(vec![LinkXdp::Attached(XdpAttached::None)])], plain()),
            (
                "one program",
                vec![A::Xdp(vec![LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::ProgId(9)])],
                xdp(XdpMode::Generic, 9),
            ),
            (
                "two programs: the driver's sees a packet before the generic one",
                vec![A::Xdp(vec![
                    LinkXdp::Attached(XdpAttached::Multiple),
                    LinkXdp::SkbProgId(9),
                    LinkXdp::DrvProgId(8),
                ])],
                xdp(XdpMode::Native, 8),
            ),
        ];
        for (what, mut more, expected) in cases {
            more.push(A::Mtu(1500));
            assert_eq!(Interface::decode(&link(AddressFamily::Unspec, more)), Some(expected), "{what}");
        }
    }

    #[test]
    fn decode_passes_over_what_is_not_an_interface() {
        let whole = link(AddressFamily::Unspec, vec![LinkAttribute::Mtu(1500)]);
        assert!(Interface::decode(&whole).is_some());
        // The last attribute is the MTU: without it, and cut anywhere, nothing is made up.
        for length in 0..whole.len() {
            assert_eq!(Interface::decode(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(Interface::decode(&link(AddressFamily::Bridge, vec![LinkAttribute::Mtu(1500)])), None);
    }

    #[test]
    fn link_type_of_each_arphrd() {
        for (arphrd, expected) in [
            (1, LinkType::Ethernet),
            (32, LinkType::Other(32)), // InfiniBand
            (512, LinkType::RawIp),    // PPP
            (519, LinkType::RawIp),
            (768, LinkType::RawIp),
            (769, LinkType::RawIp),
            (772, LinkType::Loopback),
            (776, LinkType::RawIp),
            (778, LinkType::RawIp),
            (803, LinkType::Other(803)), // a Wi-Fi monitor
            (823, LinkType::RawIp),
            (65534, LinkType::RawIp), // tun, WireGuard, xfrm
        ] {
            assert_eq!(LinkType::of(arphrd), expected, "{arphrd}");
        }
    }

    #[test]
    fn messages_end_at_the_first_that_does_not_fit() {
        let mut datagram = vec![17, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0, 0, 0];
        datagram.extend([16, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        datagram.extend([99, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let seen: Vec<_> = messages(&datagram).map(|m| (m.message_type(), m.payload().to_vec())).collect();
        assert_eq!(seen, [(3, vec![0xaa]), (4, vec![])]);
    }
}
