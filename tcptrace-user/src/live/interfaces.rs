//! The interfaces there are, which to take when none is named, how to look into each, and which carry the same packets.
//!
//! Attaches nothing, and does not know which drivers have native XDP: only trying shows it, and the caller tries.
//! <https://docs.kernel.org/networking/netdevices.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
};

pub use crate::netlink::links::{ForeignXdp, Interface, LinkEvent, LinkType, LinkWatch, XdpMode};
use crate::{
    exit::{self, ExitCode},
    limit,
    netlink::{Channel, links, routes},
};

/// The number of names that an error lists.
const NAMES_SHOWN: usize = 16;
/// The part of a driver's or a bus's name that goes into a reason.
const NAME_SHOWN: usize = 24;

/// Why there is no interface to attach to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot attach to '{}': no such interface; {}", .wanted.escape_debug(), those(.existing))]
    NoSuchInterface { wanted: String, existing: Vec<String> },
    #[error("cannot read the kernel's {table}: {error}; {}", netlink_remedy(error))]
    Netlink { table: &'static str, error: io::Error },
}

impl ExitCode for Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::NoSuchInterface { .. } => exit::USAGE,
            Self::Netlink { .. } => exit::RUNTIME,
        }
    }
}

fn netlink_remedy(error: &io::Error) -> String {
    limit::remedy(error).unwrap_or_else(|| "a sandbox around tcptrace has to allow AF_NETLINK sockets".to_owned())
}

pub(super) fn those(existing: &[String]) -> String {
    if existing.is_empty() {
        return "none exists in this network namespace".to_owned();
    }
    let shown: Vec<_> = existing.iter().take(NAMES_SHOWN).map(|name| name.escape_debug().to_string()).collect();
    let more = existing.len().saturating_sub(NAMES_SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("these exist: {}{more}", shown.join(", "))
}

/// Every interface of this thread's network namespace, in the order of their indices.
pub fn list() -> Result<Vec<Interface>, Error> {
    links::list().map_err(|error| Error::Netlink { table: "network interfaces", error })
}

/// The interface of that name, or of that alternative name (`ip link property`).
pub fn find(name: &str) -> Result<Interface, Error> {
    let mut all = list()?;
    if let Some(interface) = links::named(&all, name) {
        return Ok(interface.clone());
    }
    nics_first(&mut all);
    let existing = all.into_iter().map(|interface| interface.name).collect();
    Err(Error::NoSuchInterface { wanted: name.to_owned(), existing })
}

/// NICs before software devices: a host with hundreds of veths is to see its eth0 in a list, and to have it traced first.
pub fn nics_first(all: &mut [Interface]) {
    all.sort_by(|a, b| (a.kind.is_some(), &a.name).cmp(&(b.kind.is_some(), &b.name)));
}

/// The interface with that index as it is now; `None` if it has gone.
pub fn by_index(index: u32) -> Result<Option<Interface>, Error> {
    links::by_index(index).map_err(|error| Error::Netlink { table: "network interfaces", error })
}

/// The index of the interface that the default route goes out of; `None` without such a route.
pub fn default_route() -> Result<Option<u32>, Error> {
    let index = Channel::route().and_then(|mut channel| routes::default_route(&mut channel));
    index.map_err(|error| Error::Netlink { table: "routes", error })
}

/// The hook for incoming packets, as `--hook` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum HookChoice {
    /// Native XDP on physical NICs, TC elsewhere
    #[default]
    Auto,
    /// Native XDP, in the driver
    Xdp,
    /// TC ingress
    Tc,
    /// Generic XDP, slower than TC; for comparison
    Generic,
}

/// The hook where incoming packets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    XdpNative,
    XdpGeneric,
    Tc,
}

impl fmt::Display for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::XdpNative => "native XDP",
            Self::XdpGeneric => "generic XDP",
            Self::Tc => "TC",
        })
    }
}

/// The hook for an interface's incoming packets, and why: a fragment of at most 80 characters.
///
/// The wanted hook is taken unless it cannot work, as far as can be known without trying. `Auto` takes native XDP only
/// for a physical NIC, where it sees a flood before an skb exists, and TC wherever XDP would cost the host something.
pub fn ingress_hook(interface: &Interface, wanted: HookChoice) -> (Ingress, String) {
    let asked = |name: &str| format!("chosen with --hook {name}");
    match (wanted, against_any_xdp(interface)) {
        (HookChoice::Tc, _) => (Ingress::Tc, asked("tc")),
        (_, Some(reason)) => (Ingress::Tc, reason),
        (HookChoice::Xdp, None) => (Ingress::XdpNative, asked("xdp")),
        (HookChoice::Generic, None) => (Ingress::XdpGeneric, asked("generic")),
        (HookChoice::Auto, None) => match against_native_xdp(interface) {
            Ok(bus) => (Ingress::XdpNative, format!("NIC on {bus}: sees a flood before the kernel allocates memory")),
            Err(reason) => (Ingress::Tc, reason),
        },
    }
}

/// Why XDP could not run or could not read a packet here.
fn against_any_xdp(interface: &Interface) -> Option<String> {
    if let Some(ForeignXdp { prog_id, .. }) = interface.xdp {
        return Some(format!("another XDP program (id {prog_id}) stays attached"));
    }
    match (interface.link_type, &interface.kind) {
        (LinkType::Ethernet | LinkType::Loopback, _) => None,
        (LinkType::RawIp, Some(kind)) => {
            Some(format!("{}: packets without the link header that XDP needs", short(kind)))
        }
        (LinkType::RawIp, None) => Some("packets without the link header that XDP needs".to_owned()),
        (LinkType::Other(number), _) => Some(format!("link type {number}: not Ethernet, which XDP needs")),
    }
}

/// The bus of a NIC for which native XDP costs nothing, or why this is none.
fn against_native_xdp(interface: &Interface) -> Result<&str, String> {
    if interface.link_type == LinkType::Loopback {
        return Err("loopback: has no native XDP".to_owned());
    }
    match (interface.kind.as_deref(), interface.parent_bus.as_deref()) {
        // Measured: 20 to 5.3 Gbit/s with a program that only passes. The sending end loses segmentation offload:
        // veth_fix_features, drivers/net/veth.c.
        (Some("veth"), _) => Err("veth: native XDP costs a TCP stream most of its throughput".to_owned()),
        // tun_build_skb, drivers/net/tun.c: what has a gso_type goes through do_xdp_generic.
        (Some("tun"), _) => Err("tap: native XDP there takes GSO packets through the generic path".to_owned()),
        (Some(kind), _) => Err(format!("{}: software device, no native XDP of its own", short(kind))),
        // virtnet_xdp_set, virtnet_clear_guest_offloads, drivers/net/virtio_net.c.
        (None, Some("virtio")) => Err("virtio_net turns off receive offloads for native XDP".to_owned()),
        // xennet_xdp_set, drivers/net/xen-netfront.c: it waits for the other end without a limit.
        (None, Some("xen")) => Err("xen-netfront reconfigures its backend for native XDP".to_owned()),
        (None, Some(bus)) => Ok(short(bus)),
        (None, None) => Err("no bus behind it: not known to be a physical NIC".to_owned()),
    }
}

fn short(name: &str) -> &str {
    name.char_indices().nth(NAME_SHOWN).map_or(name, |(at, _)| &name[..at])
}

/// The pairs of which one carries the other's packets again, so that looking into both counts a packet twice: a bond,
/// team, bridge or VRF with its members, a VLAN or macvlan with its parent, the two ends of a veth pair, and what
/// follows from several of these. In a pair, the one nearer to the wire comes first.
///
/// Takes all interfaces, not only the chosen ones, to see through those in between: of `eth0`, its `bond0` and a VLAN
/// on that, `eth0` and the VLAN are a pair too. A tunnel and the interface below it are none: there, the inner TCP
/// header is not read.
pub fn overlapping(interfaces: &[Interface]) -> Vec<(u32, u32)> {
    let mut above: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for interface in interfaces {
        if let Some(master) = interface.master {
            above.entry(interface.index).or_default().push(master);
        }
        if let (Some(lower), Some("vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap" | "veth" | "netkit")) =
            (interface.lower, interface.kind.as_deref())
        {
            above.entry(lower).or_default().push(interface.index);
        }
    }
    let listed: BTreeSet<u32> = interfaces.iter().map(|interface| interface.index).collect();
    let mut pairs = BTreeSet::new();
    for &index in &listed {
        let mut reached = BTreeSet::new();
        let mut next = vec![index];
        while let Some(at) = next.pop() {
            next.extend(above.get(&at).into_iter().flatten().filter(|&&up| up != index && reached.insert(up)));
        }
        for &up in reached.intersection(&listed) {
            // The two ends of a veth pair are above each other: once is enough.
            if !pairs.contains(&(up, index)) {
                pairs.insert((index, up));
            }
        }
    }
    pairs.into_iter().collect()
}

/// Whether an interface is a bridge on which netfilter sees what passes (br_netfilter): it takes the source's translation
/// back before packets come in at the bridge itself, and a rule's RST leaves by the port from which the SYN came, past
/// the bridge (`nf_send_reset`, net/ipv4/netfilter/nf_reject_ipv4.c).
#[must_use]
pub fn is_translated_bridge(interface: &Interface) -> bool {
    let is_filtered = |version: &str| {
        let setting = fs::read_to_string(format!("/proc/sys/net/bridge/bridge-nf-call-{version}tables"));
        setting.is_ok_and(|it| it.trim() == "1")
    };
    interface.kind.as_deref() == Some("bridge") && (is_filtered("ip") || is_filtered("ip6"))
}

/// The most ports of one bridge that are traced beside it.
const PORTS: usize = 64;

/// The ports of the bridges among those that are wanted on which netfilter sees what passes, unless they are wanted
/// themselves; of a bridge with too many ports none.
pub fn ports_beside(wanted: &[Interface], all: &[Interface]) -> Vec<Interface> {
    let mut ports = Vec::new();
    for bridge in wanted.iter().filter(|it| is_translated_bridge(it)) {
        let of_it = all.iter().filter(|it| it.master == Some(bridge.index));
        if of_it.clone().count() <= PORTS {
            ports.extend(of_it.filter(|it| !wanted.iter().any(|named| named.index == it.index)).cloned());
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::{
        HookChoice::{Auto, Generic, Tc, Xdp},
        Ingress::{XdpGeneric, XdpNative},
        *,
    };
    use crate::netlink::links::nic;

    fn of_kind(index: u32, kind: &str) -> Interface {
        Interface { kind: Some(kind.to_owned()), parent_bus: None, ..nic(index, kind) }
    }

    fn on_bus(bus: &str) -> Interface {
        Interface { parent_bus: Some(bus.to_owned()), ..nic(2, "eth0") }
    }

    #[test]
    fn ingress_hook_for_each_kind_of_interface() {
        let typed = |link_type, kind| Interface { link_type, ..of_kind(2, kind) };
        let foreign = |mode| Interface { xdp: Some(ForeignXdp { mode, prog_id: u32::MAX }), ..nic(2, "eth0") };
        let lo = Interface { kind: None, ..typed(LinkType::Loopback, "lo") };
        let ppp = Interface { kind: None, ..typed(LinkType::RawIp, "ppp0") };
        let bare = Interface { parent_bus: None, ..nic(2, "eth0") };
        let left_alone = "another XDP program (id 4294967295) stays attached";
        let cases = [
            (nic(2, "eth0"), Auto, XdpNative, "NIC on pci: sees a flood before the kernel allocates memory"),
            (nic(2, "eth0"), Xdp, XdpNative, "chosen with --hook xdp"),
            (nic(2, "eth0"), Generic, XdpGeneric, "chosen with --hook generic"),
            (nic(2, "eth0"), Tc, Ingress::Tc, "chosen with --hook tc"),
            (on_bus("virtio"), Auto, Ingress::Tc, "virtio_net turns off receive offloads for native XDP"),
            (on_bus("virtio"), Xdp, XdpNative, "chosen with --hook xdp"),
            (on_bus("xen"), Auto, Ingress::Tc, "xen-netfront reconfigures its backend for native XDP"),
            (bare, Auto, Ingress::Tc, "no bus behind it: not known to be a physical NIC"),
            (foreign(XdpMode::Native), Auto, Ingress::Tc, left_alone),
            (foreign(XdpMode::Generic), Xdp, Ingress::Tc, left_alone),
            (foreign(XdpMode::Offload), Generic, Ingress::Tc, left_alone),
            (foreign(XdpMode::Native), Tc, Ingress::Tc, "chosen with --hook tc"),
            (of_kind(2, "veth"), Auto, Ingress::Tc, { "veth: native XDP costs a TCP stream most of its throughput" }),
            (of_kind(2, "veth"), Xdp, XdpNative, "chosen with --hook xdp"),
            (of_kind(2, "tun"), Auto, Ingress::Tc, "tap: native XDP there takes GSO packets through the generic path"),
            (of_kind(2, "bridge"), Auto, Ingress::Tc, "bridge: software device, no native XDP of its own"),
            (of_kind(2, "bond"), Auto, Ingress::Tc, "bond: software device, no native XDP of its own"),
            (of_kind(2, "vlan"), Auto, Ingress::Tc, "vlan: software device, no native XDP of its own"),
            (lo.clone(), Auto, Ingress::Tc, "loopback: has no native XDP"),
            (lo, Generic, XdpGeneric, "chosen with --hook generic"),
            (typed(LinkType::RawIp, "tun"), Auto, Ingress::Tc, {
                "tun: packets without the link header that XDP needs"
            }),
            (typed(LinkType::RawIp, "wireguard"), Xdp, Ingress::Tc, {
                "wireguard: packets without the link header that XDP needs"
            }),
            (ppp, Generic, Ingress::Tc, "packets without the link header that XDP needs"),
            (typed(LinkType::Other(32), "ipoib"), Auto, Ingress::Tc, "link type 32: not Ethernet, which XDP needs"),
        ];
        for (interface, wanted, ingress, reason) in cases {
            assert_eq!(ingress_hook(&interface, wanted), (ingress, reason.to_owned()), "{interface:?}, {wanted:?}");
        }
    }

    #[test]
    fn reasons_fit_into_eighty_characters() {
        let long = "ü".repeat(200);
        for link_type in [LinkType::Ethernet, LinkType::RawIp, LinkType::Other(u16::MAX)] {
            for kind in [None, Some(long.clone())] {
                let interface = Interface { link_type, kind, ..on_bus(&long) };
                for wanted in [Auto, Xdp, Tc, Generic] {
                    let (_, reason) = ingress_hook(&interface, wanted);
                    assert!(reason.chars().count() <= 80, "{reason}");
                }
            }
        }
    }

    #[test]
    fn overlapping_follows_members_parents_and_peers() {
        let member = |index, master| Interface { master: Some(master), ..nic(index, "eth") };
        let upon = |index, kind, lower| Interface { lower: Some(lower), ..of_kind(index, kind) };
        type Case = (&'static str, Vec<Interface>, &'static [(u32, u32)]);
        let cases: [Case; 8] = [
            ("two NICs", vec![nic(1, "eth0"), nic(2, "eth1")], &[]),
            ("bridge ports are no pair", vec![member(1, 9), member(2, 9), of_kind(9, "bridge")], &[(1, 9), (2, 9)]),
            (
                "VLAN on a bond",
                vec![upon(1, "vlan", 5), of_kind(5, "bond"), member(7, 5), member(8, 5)],
                &[(5, 1), (7, 1), (7, 5), (8, 1), (8, 5)],
            ),
            (
                "macvlans on one NIC",
                vec![nic(1, "eth0"), upon(2, "macvlan", 1), upon(3, "macvlan", 1)],
                &[(1, 2), (1, 3)],
            ),
            ("veth pair", vec![upon(1, "veth", 2), upon(2, "veth", 1)], &[(1, 2)]),
            (
                "veth whose other end is a bridge port",
                vec![upon(1, "veth", 2), Interface { master: Some(9), ..upon(2, "veth", 1) }, of_kind(9, "bridge")],
                &[(1, 2), (1, 9), (2, 9)],
            ),
            ("tunnel", vec![nic(1, "eth0"), upon(2, "vxlan", 1), upon(3, "gre", 1), upon(4, "xfrm", 1)], &[]),
            ("master that is not listed", vec![member(1, 9), member(2, 9)], &[]),
        ];
        for (what, interfaces, expected) in cases {
            assert_eq!(overlapping(&interfaces), expected, "{what}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_exist() {
        let error = |wanted: &str, existing: &[&str]| {
            let existing = existing.iter().map(|&name| name.to_owned()).collect();
            Error::NoSuchInterface { wanted: wanted.to_owned(), existing }.to_string()
        };
        assert_eq!(error("eth7", &["eth0", "lo"]), "cannot attach to 'eth7': no such interface; these exist: eth0, lo");
        assert_eq!(
            error("\x1b[2J", &[]),
            "cannot attach to '\\u{1b}[2J': no such interface; none exists in this network namespace"
        );
        assert!(error("x", &["veth"; 300]).ends_with("veth and 284 more"));
    }
}
