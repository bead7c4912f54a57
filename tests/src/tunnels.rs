//! Frames in tunnels, as captures and wires have them: VXLAN, Geneve, GRE, IP in IP, MPLS.

/// Their ends: the client's, then the server's; over IPv6 `2001:db8::1` and `2001:db8::2`.
const CLIENT_SIDE: [u8; 4] = [192, 0, 2, 1];
const SERVER_SIDE: [u8; 4] = [192, 0, 2, 2];

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
}

fn ipv4(protocol: u8, forth: bool, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).expect("a short frame").to_be_bytes();
    let (from, to) = if forth { (CLIENT_SIDE, SERVER_SIDE) } else { (SERVER_SIDE, CLIENT_SIDE) };
    let header = [0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    ethernet(0x0800, &[&header[..], &from, &to, payload].concat())
}

fn ipv6(next: u8, forth: bool, payload: &[u8]) -> Vec<u8> {
    let end = |last| [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let (from, to) = if forth { (end(1), end(2)) } else { (end(2), end(1)) };
    let length = u16::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let header = [0x60, 0, 0, 0, length[0], length[1], next, 64];
    ethernet(0x86dd, &[&header[..], &from, &to, payload].concat())
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("a short frame");
    [&50_000_u16.to_be_bytes()[..], &port.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// A tunnel around a frame that goes forth or back.
pub type Tunnel = fn(&[u8], bool) -> Vec<u8>;

/// An Ethernet frame's IP packet.
fn ip(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

/// Every kind by its name, with and without what it may have.
pub const TUNNELS: [(&str, Tunnel); 12] = [
    ("vxlan", |it, forth| ipv4(17, forth, &udp(4789, &[&[8, 0, 0, 0, 0, 0, 42, 0], it].concat()))),
    ("vxlan", |it, forth| ipv6(17, forth, &udp(4789, &[&[8, 0, 0, 0, 0, 0, 42, 0], it].concat()))),
    ("geneve", |it, forth| ipv4(17, forth, &udp(6081, &[&[1, 0, 0x65, 0x58, 0, 0, 42, 0, 1, 2, 3, 4], it].concat()))),
    ("geneve", |it, forth| ipv4(17, forth, &udp(6081, &[&[0, 0, 0x08, 0x00, 0, 0, 42, 0], ip(it)].concat()))),
    ("gre", |it, forth| ipv4(47, forth, &[&[0, 0, 0x08, 0], ip(it)].concat())),
    ("gre", |it, forth| ipv4(47, forth, &[&[0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1], it].concat())),
    ("gre", |it, forth| ipv6(47, forth, &[&[0, 0, 0x88, 0x47, 0, 1, 1, 64], ip(it)].concat())),
    ("ipip", |it, forth| ipv4(4, forth, ip(it))),
    ("ipip", |it, forth| ipv6(4, forth, ip(it))),
    ("mpls", |it, _| ethernet(0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64], ip(it)].concat())),
    ("mpls", |it, _| ethernet(0x8100, &[&[0, 7, 0x88, 0x47, 0, 2, 1, 64], ip(it)].concat())),
    // A tunnel in a tunnel: the innermost is named.
    ("ipip", |it, forth| ipv4(47, forth, &[&[0, 0, 0x65, 0x58], &ipv4(4, forth, ip(it))[..]].concat())),
];
