//! TCP segments as Ethernet frames: for what no stack would send, and for reading what one did.
//!
//! Checksums are right; a test of wrong ones changes the bytes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IpHeaders, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, NetHeaders, PacketBuilder, PacketHeaders, TcpHeader,
    TcpOptions, TransportHeader,
};

use super::addresses::Mac;

pub use etherparse::TcpOptionElement;

/// The flags of RFC 9293, section 3.1.
pub mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// One segment. `Display` writes its flags in tcpdump's letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpFrame {
    pub source_mac: Mac,
    pub target_mac: Mac,
    pub source: SocketAddr,
    pub target: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4 only.
    pub ip_id: u16,
    pub seq: u32,
    pub ack: u32,
    /// Bits of the module `flags`.
    pub flags: u8,
    pub window: u16,
    /// As on the wire, without the padding at the end that `bytes` adds.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl TcpFrame {
    /// A segment of its sender's first, with the options missing and a window of 64240.
    pub fn new(macs: (Mac, Mac), source: SocketAddr, target: SocketAddr, flags: u8, seq: u32) -> Self {
        let (source_mac, target_mac) = macs;
        let (options, payload) = (Vec::new(), Vec::new());
        let (ttl, ip_id, ack, window) = (64, 0, 0, 64240);
        Self { source_mac, target_mac, source, target, ttl, ip_id, seq, ack, flags, window, options, payload }
    }

    /// An answer to this segment: ends swapped, all of it acknowledged.
    pub fn answer(&self, flags: u8, seq: u32) -> Self {
        let mut answer = Self::new((self.target_mac, self.source_mac), self.target, self.source, flags, seq);
        answer.ack = self.next_seq();
        answer
    }

    /// The same sender's next segment: sequence number moved on, no options, no payload.
    pub fn followed_by(&self, flags: u8) -> Self {
        Self { seq: self.next_seq(), flags, options: Vec::new(), payload: Vec::new(), ..self.clone() }
    }

    pub fn with_options(self, options: &[TcpOptionElement]) -> Self {
        let options = TcpOptions::try_from_elements(options).expect("the options fit into 40 bytes");
        Self { options: options.as_slice().to_vec(), ..self }
    }

    /// Whether every flag in `wanted` is set.
    pub fn has(&self, wanted: u8) -> bool {
        self.flags & wanted == wanted
    }

    /// A SYN without ACK or RST.
    pub fn is_syn(&self) -> bool {
        self.flags & (flags::SYN | flags::ACK | flags::RST) == flags::SYN
    }

    /// The sequence number after this segment.
    pub fn next_seq(&self) -> u32 {
        let flags = [flags::SYN, flags::FIN].into_iter().filter(|&flag| self.has(flag)).count();
        let length = u32::try_from(self.payload.len() + flags).expect("a frame is shorter than 4 GiB");
        self.seq.wrapping_add(length)
    }

    /// The frame with lengths and checksums. Panics when its ends are of different IP versions.
    pub fn bytes(&self) -> Vec<u8> {
        let mut header = TcpHeader::new(self.source.port(), self.target.port(), self.seq, self.window);
        header.acknowledgment_number = self.ack;
        header.fin = self.has(flags::FIN);
        header.syn = self.has(flags::SYN);
        header.rst = self.has(flags::RST);
        header.psh = self.has(flags::PSH);
        header.ack = self.has(flags::ACK);
        header.urg = self.has(flags::URG);
        header.ece = self.has(flags::ECE);
        header.cwr = self.has(flags::CWR);
        header.set_options_raw(&self.options).expect("the options fit into 40 bytes");
        let ip = match (self.source.ip(), self.target.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let mut ip = Ipv4Header::new(0, self.ttl, IpNumber::TCP, source.octets(), target.octets())
                    .expect("a length of 0 is valid");
                ip.identification = self.ip_id;
                ip.dont_fragment = true;
                IpHeaders::Ipv4(ip, Default::default())
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let ip = Ipv6Header {
                    traffic_class: 0,
                    flow_label: Ipv6FlowLabel::ZERO,
                    payload_length: 0,
                    next_header: IpNumber::TCP,
                    hop_limit: self.ttl,
                    source: source.octets(),
                    destination: target.octets(),
                };
                IpHeaders::Ipv6(ip, Default::default())
            }
            _ => panic!("{} and {} are of different IP versions", self.source, self.target),
        };
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.source_mac, self.target_mac)
            .ip(ip)
            .tcp_header(header)
            .write_to_vec(&mut frame, &self.payload)
            .expect("a segment fits into an IP packet");
        frame
    }

    /// Reads a frame; none unless it is TCP over IP.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = PacketHeaders::from_ethernet_slice(frame).ok()?;
        let link = packet.link?.ethernet2()?;
        let (source, target, ttl, ip_id): (IpAddr, IpAddr, u8, u16) = match packet.net? {
            NetHeaders::Ipv4(ip, _) => (ip.source.into(), ip.destination.into(), ip.time_to_live, ip.identification),
            NetHeaders::Ipv6(ip, _) => (ip.source.into(), ip.destination.into(), ip.hop_limit, 0),
            NetHeaders::Arp(_) => return None,
        };
        let Some(TransportHeader::Tcp(tcp)) = packet.transport else { return None };
        let set = [tcp.fin, tcp.syn, tcp.rst, tcp.psh, tcp.ack, tcp.urg, tcp.ece, tcp.cwr];
        Some(Self {
            source_mac: link.source,
            target_mac: link.destination,
            source: SocketAddr::new(source, tcp.source_port),
            target: SocketAddr::new(target, tcp.destination_port),
            ttl,
            ip_id,
            seq: tcp.sequence_number,
            ack: tcp.acknowledgment_number,
            flags: set.iter().enumerate().fold(0, |flags, (bit, &set)| flags | u8::from(set) << bit),
            window: tcp.window_size,
            options: tcp.options.as_slice().to_vec(),
            payload: packet.payload.slice().to_vec(),
        })
    }
}

impl fmt::Display for TcpFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (flags::FIN, 'F'),
            (flags::SYN, 'S'),
            (flags::RST, 'R'),
            (flags::PSH, 'P'),
            (flags::URG, 'U'),
            (flags::ECE, 'E'),
            (flags::CWR, 'W'),
            (flags::ACK, '.'),
        ];
        let text: String = letters.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, letter)| letter).collect();
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::addresses::*;
    use super::*;

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        for (source, target) in [(CLIENT_V4, SERVER_V4), (CLIENT_V6, SERVER_V6)] {
            let macs = (CLIENT_MAC, CLIENT_GATEWAY_MAC);
            let syn = TcpFrame::new(macs, (source, 40000).into(), (target, 80).into(), flags::SYN, u32::MAX)
                .with_options(&[TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::WindowScale(7)]);
            let syn = TcpFrame { payload: b"hello".to_vec(), ..syn };
            assert_eq!(TcpFrame::parse(&syn.bytes()), Some(syn.clone()));
            assert_eq!((syn.to_string(), syn.next_seq()), ("S".to_owned(), 5));
            let answer = syn.answer(flags::SYN | flags::ACK, 7);
            assert_eq!((answer.to_string(), answer.ack, answer.followed_by(flags::RST).seq), ("S.".to_owned(), 5, 8));
            assert_eq!((answer.source, answer.target_mac), (syn.target, CLIENT_MAC));
        }
    }
}
