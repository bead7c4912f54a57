//! The lab's fixed address plan. Every lab has the same one: namespaces keep them apart.
//!
//! Documentation prefixes (RFC 5737, RFC 3849), so that an address in a golden file cannot be mistaken for a real host.
//! Addresses in the two networks that are not listed here belong to nobody: a connect to one meets an unanswered ARP or
//! neighbour solicitation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address.
pub type Mac = [u8; 6];

pub const CLIENT_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
pub const CLIENT_V6: IpAddr = v6(1, 2);
/// The router as the client's network sees it: the sender of its ICMP errors to the client.
pub const CLIENT_GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
pub const CLIENT_GATEWAY_V6: IpAddr = v6(1, 1);
pub const SERVER_GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
pub const SERVER_GATEWAY_V6: IpAddr = v6(2, 1);
pub const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));
pub const SERVER_V6: IpAddr = v6(2, 2);
/// The other site: a second address of the same server, to compare the first one with.
pub const OTHER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 3));
pub const OTHER_V6: IpAddr = v6(2, 3);
/// In the server's network, and nobody's.
pub const ABSENT_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99));
pub const ABSENT_V6: IpAddr = v6(2, 99);

/// `eth0` of the client.
pub const CLIENT_MAC: Mac = [0x02, 0, 0, 0, 0x01, 0x02];
/// `client0` of the router.
pub const CLIENT_GATEWAY_MAC: Mac = [0x02, 0, 0, 0, 0x01, 0x01];
/// `eth0` of the server.
pub const SERVER_MAC: Mac = [0x02, 0, 0, 0, 0x02, 0x02];
/// `server0` of the router.
pub const SERVER_GATEWAY_MAC: Mac = [0x02, 0, 0, 0, 0x02, 0x01];

/// An address behind the client's `eth0` that is nobody's: the router sends 198.18.0.0/15 (RFC 2544) there, and the
/// client's stack ignores it without a word. Whoever plays a client with raw frames comes from here; so does a flood.
pub const fn stranger_v4(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(198, 18, high, low))
}

/// Likewise, in 2001:db8:3::/64.
pub const fn stranger_v6(number: u16) -> IpAddr {
    v6(3, number)
}

const fn v6(network: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, host))
}

/// `02:00:00:00:01:02`, as iproute2 and Wireshark write it.
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
