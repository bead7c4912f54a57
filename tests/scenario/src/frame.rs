//! From a scenario's packet to the bytes of a frame: etherparse writes the headers, with right checksums.

use etherparse::{
    EtherType, Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, SingleVlanHeader,
    TcpHeader, VlanId,
};
use tcptrace_core::{
    flow::{Addr, Endpoint},
    segment::Link,
};

use super::{
    Family, Setting, Step,
    packet::{Around, Extension, Packet, Party, Tcp},
};

/// An address of the documentation's networks (RFC 5737).
const fn v4(party: Party, setting: &Setting) -> [u8; 4] {
    match party {
        Party::Client => [198, 51, 100, setting.client_host],
        Party::Server => [203, 0, 113, setting.server_host],
        Party::Router => [192, 0, 2, 1],
        Party::Bystander => [203, 0, 113, 9],
    }
}

/// And of IPv6's (RFC 3849).
const fn v6(party: Party, setting: &Setting) -> [u8; 16] {
    let (net, host) = match party {
        Party::Client => (1, setting.client_host),
        Party::Server => (setting.server_net, setting.server_host),
        Party::Router => (0, 1),
        Party::Bystander => (2, 9),
    };
    let [high, low] = net.to_be_bytes();
    [0x20, 0x01, 0x0d, 0xb8, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]
}

/// A party's address.
#[must_use]
pub fn address(setting: &Setting, party: Party) -> Addr {
    match setting.family {
        Family::V4 => Addr::v4(u32::from_be_bytes(v4(party, setting))),
        Family::V6 => {
            let whole = u128::from_be_bytes(v6(party, setting));
            Addr { hi: (whole >> 64) as u64, lo: whole as u64 }
        }
    }
}

/// The client's and the server's endpoint.
#[must_use]
pub fn endpoints(setting: &Setting) -> (Endpoint, Endpoint) {
    let endpoint = |party| Endpoint { addr: address(setting, party), port: port(party, setting) };
    (endpoint(Party::Client), endpoint(Party::Server))
}

impl Step {
    /// The packet as it is on a link of this kind. VLAN tags are Ethernet's: without it there are none.
    #[must_use]
    pub fn frame(&self, setting: &Setting, link: Link) -> Vec<u8> {
        let plain = Around::default();
        let (from, to, around, transport) = match &self.packet {
            Packet::Tcp(tcp, around) => (tcp.from, tcp.to, around, transport_of(tcp, setting)),
            Packet::Icmp { from, to, .. } => (*from, *to, &plain, icmp_error(&self.packet, *from, *to, setting)),
        };
        let (protocol, ttl) = match &self.packet {
            Packet::Tcp(tcp, _) => (IpNumber::TCP, tcp.ttl),
            Packet::Icmp { .. } if setting.family == Family::V4 => (IpNumber::ICMP, 63),
            Packet::Icmp { .. } => (IpNumber::IPV6_ICMP, 63),
        };
        let mut frame = match link {
            Link::Ethernet => ethernet(&around.vlans, from, setting),
            Link::Ip => Vec::new(),
        };
        let length = transport.len();
        frame.extend(match setting.family {
            Family::V4 => ipv4((from, to), setting, protocol, ttl, around, length),
            Family::V6 => ipv6((from, to), setting, protocol, ttl, &around.ip6_extensions, length),
        });
        frame.extend(transport);
        frame
    }
}

/// The client is on the link; whoever else sends does by way of its router.
fn ethernet(vlans: &[u16], from: Party, setting: &Setting) -> Vec<u8> {
    let network = match setting.family {
        Family::V4 => EtherType::IPV4,
        Family::V6 => EtherType::IPV6,
    };
    // 802.1ad outside, 802.1Q inside.
    let tag = |left: usize| match left {
        0 => network,
        1 => EtherType::VLAN_TAGGED_FRAME,
        _ => EtherType::PROVIDER_BRIDGING,
    };
    let (client, router) = ([2, 0, 0, 0, 0, setting.client_host], [2, 0, 0, 0, 1, 1]);
    let (source, destination) = if from == Party::Client { (client, router) } else { (router, client) };
    let mut octets = Ethernet2Header { source, destination, ether_type: tag(vlans.len()) }.to_bytes().to_vec();
    for (index, &id) in vlans.iter().enumerate() {
        let vlan_id = VlanId::try_new(id).expect("a VLAN identifier has twelve bits");
        let ether_type = tag(vlans.len() - index - 1);
        octets.extend(SingleVlanHeader { vlan_id, ether_type, ..SingleVlanHeader::default() }.to_bytes());
    }
    octets
}

fn ipv4(
    (from, to): (Party, Party),
    setting: &Setting,
    protocol: IpNumber,
    ttl: u8,
    around: &Around,
    length: usize,
) -> Vec<u8> {
    let length = u16::try_from(length).expect("the payload fits an IPv4 packet");
    let ends = (v4(from, setting), v4(to, setting));
    let mut header = Ipv4Header::new(length, ttl, protocol, ends.0, ends.1).expect("the payload fits an IPv4 packet");
    header.dont_fragment = true;
    header.identification = around.ip4_id;
    header.fragment_offset = IpFragOffset::ZERO;
    if around.ip4_options {
        header.options = [148, 4, 0, 0].into();
        header.set_payload_len(length.into()).expect("the payload fits an IPv4 packet");
    }
    header.header_checksum = header.calc_header_checksum();
    header.to_bytes().to_vec()
}

fn ipv6(
    (from, to): (Party, Party),
    setting: &Setting,
    protocol: IpNumber,
    ttl: u8,
    extensions: &[Extension],
    length: usize,
) -> Vec<u8> {
    let number = |it: &Extension| match it {
        Extension::HopByHop => 0,
        Extension::Destination => 60,
        Extension::Authentication => 51,
        Extension::Fragment => 44,
    };
    let mut chain = Vec::new();
    for (index, extension) in extensions.iter().enumerate() {
        let next = extensions.get(index + 1).map_or(protocol.0, number);
        chain.extend(match extension {
            // Eight bytes, of which six are padding (PadN).
            Extension::HopByHop | Extension::Destination => vec![next, 0, 1, 4, 0, 0, 0, 0],
            // Twelve bytes and a check value of twelve: the length counts words, less two.
            Extension::Authentication => [&[next, 4][..], &[0; 22]].concat(),
            Extension::Fragment => vec![next, 0, 0, 0, 0, 0, 0, 7],
        });
    }
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: u16::try_from(chain.len() + length).expect("the payload fits an IPv6 packet"),
        next_header: IpNumber(extensions.first().map_or(protocol.0, number)),
        hop_limit: ttl,
        source: v6(from, setting),
        destination: v6(to, setting),
    };
    [&header.to_bytes()[..], &chain].concat()
}

fn port(party: Party, setting: &Setting) -> u16 {
    if party == Party::Client { setting.client_port } else { setting.server_port }
}

fn transport_of(tcp: &Tcp, setting: &Setting) -> Vec<u8> {
    let seq = tcp.seq.value(setting);
    let mut header = TcpHeader::new(port(tcp.from, setting), port(tcp.to, setting), seq, tcp.window);
    header.set_options_raw(&tcp.options).expect("options fit forty octets");
    header.acknowledgment_number = tcp.ack.value(setting);
    let bit = |bit: u8| tcp.flags.any(bit);
    (header.fin, header.syn, header.rst, header.psh) = (bit(0x01), bit(0x02), bit(0x04), bit(0x08));
    (header.ack, header.urg, header.ece, header.cwr) = (bit(0x10), bit(0x20), bit(0x40), bit(0x80));
    let payload = vec![b'x'; tcp.payload.into()];
    let checksum = match setting.family {
        Family::V4 => header.calc_checksum_ipv4_raw(v4(tcp.from, setting), v4(tcp.to, setting), &payload),
        Family::V6 => header.calc_checksum_ipv6_raw(v6(tcp.from, setting), v6(tcp.to, setting), &payload),
    };
    header.checksum = checksum.expect("the payload fits a packet");
    [&header.to_bytes()[..], &payload].concat()
}

/// Type, code, checksum, four unused bytes, and the packet that caused it.
fn icmp_error(packet: &Packet, from: Party, to: Party, setting: &Setting) -> Vec<u8> {
    let (Packet::Icmp { quoted, cut, .. }, Some((kind, code))) = (packet, packet.icmp_error(setting.family)) else {
        unreachable!("called for ICMP errors only")
    };
    let segment = transport_of(quoted, setting);
    let length = segment.len();
    let quoted_header = match setting.family {
        Family::V4 => ipv4((quoted.from, quoted.to), setting, IpNumber::TCP, quoted.ttl, &Around::default(), length),
        Family::V6 => ipv6((quoted.from, quoted.to), setting, IpNumber::TCP, quoted.ttl, &[], length),
    };
    let quotation = if *cut { &segment[..8] } else { &segment[..] };
    let mut message = [&[kind, code, 0, 0, 0, 0, 0, 0][..], &quoted_header, quotation].concat();
    // RFC 792 and, with a pseudo-header, RFC 4443, section 2.3.
    let pseudo = match setting.family {
        Family::V4 => Vec::new(),
        Family::V6 => {
            [&v6(from, setting)[..], &v6(to, setting), &(message.len() as u32).to_be_bytes(), &[0, 0, 0, 58]].concat()
        }
    };
    let checksum = checksum(&[&pseudo, &message]);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// The Internet checksum (RFC 1071) over parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
