//! Network interfaces (`RTM_GETLINK`): the list, decoding, and a watch for changes.
//!
//! Deliberately not sysfs: `/sys/class/net` shows the namespace that it was mounted in, a socket the one of the thread
//! that opened it. Each attribute is decoded by itself, and only if something here needs it: an attribute that a newer
//! kernel has made longer cannot hide an interface. Which interface to trace is not decided here.
//! <https://docs.kernel.org/networking/netdevices.html>

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    os::fd::{AsRawFd, RawFd},
};

use netlink_packet_core::{Emitable, Parseable, parse_u16, parse_u32};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkMessage, LinkXdp, XdpAttached},
};

use super::{
    channel::Channel,
    message::{attributes, text},
};

/// Bytes of notices that may wait while nobody reads; the kernel silently lowers it to `net.core.rmem_max`.
const WATCH_BUFFER: libc::c_int = 1024 * 1024;
/// Datagrams of notices that are read before the caller looks at what else there is.
const AT_ONCE: u32 = 64;

/// The first header of a frame at the TC hook, from the `ARPHRD_*` number of the device.
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

/// The place where an XDP program runs (`IFLA_XDP_ATTACHED`).
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
    /// Further names (`ip link property add dev eth0 altname …`).
    pub alternative_names: Vec<String>,
}

impl Interface {
    /// From the payload of `RTM_NEWLINK` or `RTM_DELLINK`; None for what is not a whole interface: a bridge's notice
    /// about a port (family `AF_BRIDGE`, `br_ifinfo_notify`), of which a deletion means that the port has left, and
    /// wireless events (`rtnetlink_fill_iwinfo`), which carry nothing but a name.
    fn decode(payload: &[u8]) -> Option<Self> {
        let header = LinkHeader::parse(payload).ok()?;
        if header.interface_family != AddressFamily::Unspec {
            return None;
        }
        // Not through the header's typed field: it folds numbers that it does not know into one.
        let link_type = LinkType::of(parse_u16(payload.get(2..4)?).ok()?);
        let (mut name, mut mtu, mut kind, mut parent_bus) = (None, None, None, None);
        let (mut master, mut lower, mut elsewhere, mut xdp) = (None, None, false, None);
        let mut alternative_names = Vec::new();
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
                libc::IFLA_PROP_LIST => {
                    let names = attributes(value).filter(|property| property.kind() == libc::IFLA_ALT_IFNAME);
                    alternative_names.extend(names.map(|name| text(name.value())));
                }
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
            alternative_names,
        })
    }
}

/// The program that sees a packet first, should there be one in more than one mode (`XDP_ATTACHED_MULTI`).
#[expect(clippy::wildcard_enum_match_arm, reason = "an unknown mode is as good as several")]
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

/// Every interface of the calling thread's network namespace, in the order of their indices. A list that cannot be read
/// whole is an error.
///
/// # Errors
/// Those of netlink(7): a sandbox that does not allow such sockets, no free descriptor.
pub fn list() -> io::Result<Vec<Interface>> {
    list_by(&mut Channel::route()?)
}

/// The same in the network namespace in which the channel was opened.
pub(crate) fn list_by(channel: &mut Channel) -> io::Result<Vec<Interface>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut all = channel.dump_message(&RouteNetlinkMessage::GetLink(message), Interface::decode)?;
    all.sort_by_key(|interface| interface.index);
    Ok(all)
}

/// The interface with that index in the calling thread's network namespace; `None` if there is none.
///
/// # Errors
/// Those of netlink(7).
pub fn by_index(index: u32) -> io::Result<Option<Interface>> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    match Channel::route()?.get(libc::RTM_GETLINK, &body, Interface::decode) {
        Err(error) if error.refused() == Some(libc::ENODEV) => Ok(None),
        found => Ok(found?),
    }
}

/// The interface of that name, or else of that alternative name.
#[must_use]
pub fn named<'a>(all: &'a [Interface], name: &str) -> Option<&'a Interface> {
    let by_name = all.iter().find(|interface| interface.name == name);
    by_name.or_else(|| all.iter().find(|interface| interface.alternative_names.iter().any(|other| other == name)))
}

/// An event from [`LinkWatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Deleted, or moved to another namespace.
    Gone { index: u32, name: String },
    /// New, renamed, up, down, joined to a bridge …: its whole state, which may be what it was before. There is no
    /// event for an XDP program that a BPF link attaches (`bpf_xdp_link_attach` sends no notice).
    Changed(Interface),
    /// The kernel had more to tell than room to keep it: list the interfaces anew.
    Lost,
}

/// A subscription to the interfaces' changes in the namespace of the thread that opened it. Open it before listing,
/// so that no change falls in between. In tokio: an `AsyncFd` for reading, whose readiness is cleared once
/// [`next_event`](Self::next_event) gives None; the descriptor stays the same and open until the drop.
#[derive(Debug)]
pub struct LinkWatch {
    channel: Channel,
    pending: VecDeque<LinkEvent>,
}

impl LinkWatch {
    /// Opens a non-blocking socket in the group `RTNLGRP_LINK`; no privilege is needed.
    ///
    /// # Errors
    /// Those of netlink(7).
    pub fn open() -> io::Result<Self> {
        let mut channel = Channel::route()?;
        channel.subscribe(&[libc::RTNLGRP_LINK], WATCH_BUFFER)?;
        Ok(Self { channel, pending: VecDeque::new() })
    }

    /// The next change, `None` when nothing more waits now.
    ///
    /// # Errors
    /// When the socket cannot be read any more. That notices were lost is no error: see [`LinkEvent::Lost`].
    pub fn next_event(&mut self) -> io::Result<Option<LinkEvent>> {
        while self.pending.is_empty() {
            let pending = &mut self.pending;
            match self.channel.drain(AT_ONCE, |kind, payload| pending.extend(event(kind, payload))) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) || error.kind() == ErrorKind::InvalidData => {
                    pending.push_back(LinkEvent::Lost);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.pending.pop_front())
    }
}

impl AsRawFd for LinkWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}

fn event(kind: u16, payload: &[u8]) -> Option<LinkEvent> {
    let interface = Interface::decode(payload)?;
    match kind {
        libc::RTM_NEWLINK => Some(LinkEvent::Changed(interface)),
        libc::RTM_DELLINK => Some(LinkEvent::Gone { index: interface.index, name: interface.name }),
        _ => None,
    }
}

/// The first interface in the tests of this module and of its neighbours: a NIC on PCI, up.
#[cfg(test)]
pub(crate) fn nic(index: u32, name: &str) -> Interface {
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
        alternative_names: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{InfoKind, LinkInfo, LinkLayerType, Prop};

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
        let cases: [(&str, Vec<A>, Interface); 10] = [
            ("other names", vec![A::PropList(vec![Prop::AltIfName("uplink".to_owned())])], {
                Interface { alternative_names: vec!["uplink".to_owned()], ..plain() }
            }),
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
}
