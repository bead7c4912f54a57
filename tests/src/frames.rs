//! The packets that the bench's driver and the generator start from. They write the last four bytes of the addresses, ports, numbers and flags;
//! checksums are nobody's concern here.

/// MSS, SACK permitted, timestamps, window scale: what Linux sends with a SYN.
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

/// The next header of TCP, UDP, ICMP, ICMP for IPv6, a fragment.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const FRAGMENT: u8 = 44;

/// A data segment without options: `size` bytes of frame.
#[must_use]
pub fn data(version: u8, size: usize) -> Vec<u8> {
    let header = if version == 4 { 20 } else { 40 };
    let mut content = tcp(0x10, &[]);
    content.resize(size - 14 - header, 0);
    ip(version, TCP, &content)
}

/// A SYN; with other flags, its options are those of nothing in particular.
#[must_use]
pub fn syn(version: u8) -> Vec<u8> {
    ip(version, TCP, &tcp(0x02, &SYN_OPTIONS))
}

/// A datagram of DNS's size.
#[must_use]
pub fn udp(version: u8) -> Vec<u8> {
    let mut content = vec![0x9c, 0x40, 0, 53, 0, 46, 0, 0];
    content.resize(46, 0);
    ip(version, UDP, &content)
}

/// A request for an address.
#[must_use]
pub fn arp(_: u8) -> Vec<u8> {
    let mut frame = ethernet(0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.resize(60, 0);
    frame
}

/// Port unreachable, about a segment of no attempt.
#[must_use]
pub fn icmp_error(version: u8) -> Vec<u8> {
    let (protocol, kind, code) = if version == 4 { (ICMP, 3, 3) } else { (ICMP_V6, 1, 4) };
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(&syn(version)[14..]);
    ip(version, protocol, &message)
}

/// The second fragment of a segment.
#[must_use]
pub fn later_fragment(version: u8) -> Vec<u8> {
    if version == 4 {
        let mut frame = ip(4, TCP, &[0; 64]);
        frame[20..22].copy_from_slice(&[0, 185]);
        frame
    } else {
        ip(6, FRAGMENT, &[&[TCP, 0, 5, 0xc8, 0, 0, 0, 1][..], &[0; 64]].concat())
    }
}

fn ethernet(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame
}

fn ip(version: u8, protocol: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16;
    let mut frame = ethernet(if version == 4 { 0x0800 } else { 0x86dd });
    if version == 4 {
        frame.extend([0x45, 0]);
        frame.extend((20 + length).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 198, 51, 100, 2, 203, 0, 113, 2]);
    } else {
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([protocol, 64]);
        for _ in 0..2 {
            frame.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
    frame.extend(content);
    frame
}

fn tcp(flags: u8, options: &[u8]) -> Vec<u8> {
    let words = (20 + options.len()) as u8 / 4;
    let mut header = vec![0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, words << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
    header.extend(options);
    header
}
