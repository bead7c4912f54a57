//! How a lab is built: links, addresses, static neighbours, routes, and the sysctls that a handshake shows.
//!
//! <https://docs.kernel.org/networking/ip-sysctl.html>

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use super::Lab;
use super::addresses::{
    CLIENT_GATEWAY_MAC, CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6, CLIENT_MAC, CLIENT_V4, CLIENT_V6, Mac, OTHER_V4,
    OTHER_V6, SERVER_GATEWAY_MAC, SERVER_GATEWAY_V4, SERVER_GATEWAY_V6, SERVER_MAC, SERVER_V4, SERVER_V6, mac_text,
};
use super::netns::Ns;
use super::wait::eventually;

/// What would otherwise follow the machine's memory, its distribution or its kernel's age.
const SYSCTLS: &[(&str, &str)] = &[
    // Above every usual net.core.rmem_max, which would win otherwise. It gives window scale 7.
    ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
    ("net.ipv4.tcp_wmem", "4096 16384 4194304"),
    ("net.ipv4.tcp_timestamps", "1"),
    ("net.ipv4.tcp_sack", "1"),
    ("net.ipv4.tcp_window_scaling", "1"),
    ("net.ipv4.tcp_ecn", "0"),
    ("net.ipv4.tcp_syn_retries", "6"),
    ("net.ipv4.tcp_synack_retries", "5"),
    ("net.ipv4.tcp_syncookies", "1"),
    // Linux 6.5 and later.
    ("net.ipv4.tcp_syn_linear_timeouts", "4"),
    // Every ICMP error is sent: a test that loses one to a rate limit fails once a week.
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv4.icmp_msgs_per_sec", "1000000"),
    ("net.ipv4.icmp_msgs_burst", "1000000"),
    ("net.ipv6.icmp.ratelimit", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
];

const FORWARDING: &[(&str, &str)] = &[("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")];

impl Lab {
    pub(super) fn make_links(&self) {
        let [client, router, server] = self.namespaces().map(Ns::name);
        let [client_mac, client_gateway, server_gateway, server_mac] =
            [CLIENT_MAC, CLIENT_GATEWAY_MAC, SERVER_GATEWAY_MAC, SERVER_MAC].map(mac_text);
        let pair = |host: &str, mac: &str, gateway: &str, gateway_mac: &str| {
            let ours = format!("link add eth0 address {mac} netns {host}");
            format!("{ours} type veth peer name {gateway} address {gateway_mac} netns {router}")
        };
        let lines = [
            format!("netns add {client}"),
            format!("netns add {router}"),
            format!("netns add {server}"),
            pair(client, &client_mac, "client0", &client_gateway),
            pair(server, &server_mac, "server0", &server_gateway),
        ]
        .join("\n");
        self.log.ip_batch(None, &lines).unwrap_or_else(|error| {
            panic!("cannot make network namespaces, so there is no lab; run as root on a kernel with veth: {error}")
        });
    }

    pub(super) fn configure(&self) {
        for ns in self.namespaces() {
            // Older kernels lack some, or have them in the first namespace only.
            ns.write_sysctls(SYSCTLS);
        }
        self.router.sysctls(FORWARDING);
        // No link-local addresses: they would put duplicate address detection and router solicitations on the wire.
        self.router.ip(&format!(
            "link set lo up
            link set client0 addrgenmode none up
            link set server0 addrgenmode none up
            addr add {CLIENT_GATEWAY_V4}/24 dev client0
            addr add {CLIENT_GATEWAY_V6}/64 dev client0 nodad
            addr add {SERVER_GATEWAY_V4}/24 dev server0
            addr add {SERVER_GATEWAY_V6}/64 dev server0 nodad
            {}{}route add 198.18.0.0/15 via {CLIENT_V4}
            route add 2001:db8:3::/64 via {CLIENT_V6}",
            neighbours("client0", CLIENT_MAC, &[CLIENT_V4, CLIENT_V6]),
            neighbours("server0", SERVER_MAC, &[SERVER_V4, SERVER_V6, OTHER_V4, OTHER_V6]),
        ));
        self.client.ip(&format!(
            "link set lo up
            link set eth0 addrgenmode none up
            addr add {CLIENT_V4}/24 dev eth0
            addr add {CLIENT_V6}/64 dev eth0 nodad
            {}route add default via {CLIENT_GATEWAY_V4}
            route add default via {CLIENT_GATEWAY_V6}",
            neighbours("eth0", CLIENT_GATEWAY_MAC, &[CLIENT_GATEWAY_V4, CLIENT_GATEWAY_V6]),
        ));
        self.server.ip(&format!(
            "link set lo up
            link set eth0 addrgenmode none up
            addr add {SERVER_V4}/24 dev eth0
            addr add {OTHER_V4}/24 dev eth0
            addr add {SERVER_V6}/64 dev eth0 nodad
            addr add {OTHER_V6}/64 dev eth0 nodad
            {}route add default via {SERVER_GATEWAY_V4}
            route add default via {SERVER_GATEWAY_V6}",
            neighbours("eth0", SERVER_GATEWAY_MAC, &[SERVER_GATEWAY_V4, SERVER_GATEWAY_V6]),
        ));
    }

    /// Waits for what the kernel leaves to its workers.
    ///
    /// The end of a pair that came up first gets its carrier later and loses what it is given to send until then; an
    /// IPv6 address, even one without duplicate address detection, gets its local route later and is deaf until then.
    pub(super) fn wait_until_usable(&self) {
        let [client, router, server] = self.namespaces();
        for (ns, links, addresses) in [
            (client, &["eth0"][..], &[CLIENT_V6][..]),
            (router, &["client0", "server0"], &[CLIENT_GATEWAY_V6, SERVER_GATEWAY_V6]),
            (server, &["eth0"], &[SERVER_V6, OTHER_V6]),
        ] {
            // Asking for one link, not for all, makes newer kernels finish the work first.
            let show: String = links.iter().map(|link| format!("link show dev {link}\n")).collect();
            eventually(Duration::from_secs(10), || {
                (ns.ip(&show).matches(" state UP ").count() == links.len()).then_some(())
            });
            eventually(Duration::from_secs(10), || ns.has_local_routes(addresses).then_some(()));
        }
    }
}

impl Ns {
    fn has_local_routes(&self, addresses: &[IpAddr]) -> bool {
        // Not /proc/net, which is the main thread's.
        let routes = self.enter(|| fs::read_to_string("/proc/thread-self/net/ipv6_route")).unwrap_or_default();
        let local = |line: &&str| line.split_whitespace().nth(8).is_some_and(|flags| flags.starts_with('8'));
        addresses.iter().all(|address| {
            let IpAddr::V6(address) = address else { return true };
            let host = format!("{:032x} 80 ", address.to_bits());
            routes.lines().filter(local).any(|line| line.starts_with(&host))
        })
    }
}

/// The lines that make static neighbours of `addresses`.
fn neighbours(interface: &str, mac: Mac, addresses: &[IpAddr]) -> String {
    let mac = mac_text(mac);
    let line = |address| format!("neigh add {address} lladdr {mac} dev {interface} nud permanent\n");
    addresses.iter().map(line).collect()
}
