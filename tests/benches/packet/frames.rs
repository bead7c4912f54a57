//! The packets that the driver starts from. It writes the last four octets of the addresses, ports, numbers and flags;
//! checksums are nobody's concern here.

/// MSS, SACK permitted, timestamps, window scale: what Linux sends with a SYN.
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

/// The next header of TCP, UDP, ICMP.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// A data segment over IPv4, without options: `size` octets of frame.
pub(crate) fn data_v4(size: usize) -> Vec<u8> {
    padded(ipv4(TCP, &tcp(0x10, &[]), size - 14), size)
}

/// The same over IPv6.
pub(crate) fn data_v6(size: usize) -> Vec<u8> {
    let payload = (size - 54) as u16;
    let mut frame = ethernet(0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(payload.to_be_bytes());
    frame.extend([TCP, 64]);
    for _ in 0..2 {
        frame.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    frame.extend(tcp(0x10, &[]));
    padded(frame, size)
}

/// A SYN over IPv4; with other flags, its options are those of nothing in particular.
pub(crate) fn syn() -> Vec<u8> {
    ipv4(TCP, &tcp(0x02, &SYN_OPTIONS), 60)
}

/// A datagram of DNS's size.
pub(crate) fn udp() -> Vec<u8> {
    padded(ipv4(UDP, &[0x9c, 0x40, 0, 53, 0, 46, 0, 0], 66), 80)
}

/// A request for an address.
pub(crate) fn arp() -> Vec<u8> {
    let mut frame = ethernet(0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    padded(frame, 60)
}

/// Port unreachable, about a segment of no attempt.
pub(crate) fn icmp_error() -> Vec<u8> {
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.extend(&ipv4(TCP, &tcp(0x02, &SYN_OPTIONS), 60)[14..]);
    ipv4(ICMP, &message, 20 + message.len())
}

fn ethernet(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// A frame whose datagram claims `total` octets.
fn ipv4(protocol: u8, content: &[u8], total: usize) -> Vec<u8> {
    let mut frame = ethernet(0x0800);
    frame.extend([0x45, 0]);
    frame.extend((total as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 198, 51, 100, 2, 203, 0, 113, 2]);
    frame.extend(content);
    frame
}

fn tcp(flags: u8, options: &[u8]) -> Vec<u8> {
    let words = (20 + options.len()) as u8 / 4;
    let mut header = vec![0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, words << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
    header.extend(options);
    header
}

fn padded(mut frame: Vec<u8>, size: usize) -> Vec<u8> {
    frame.resize(size, 0);
    frame
}
