//! The filter language: what it chooses, what tcpdump chooses under the same text, and what it says of mistakes.

use std::net::IpAddr;

use tcptrace_core::flow::{Addr, Endpoint};
use tcptrace_filter::Filter;

mod mistakes;
mod oracle;
mod random;

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|mistake| panic!("{mistake}"))
}

fn endpoint(addr: IpAddr, port: u16) -> Endpoint {
    let addr = match addr {
        IpAddr::V4(it) => Addr::v4(it.to_bits()),
        IpAddr::V6(it) => Addr { hi: (it.to_bits() >> 64) as u64, lo: it.to_bits() as u64 },
    };
    Endpoint { addr, port }
}

/// A client's address and port, a server's.
const FLOWS: [(&str, u16, &str, u16); 6] = [
    ("10.1.2.3", 40_000, "192.0.2.1", 443),
    ("10.1.9.9", 40_001, "10.1.2.3", 80),
    ("192.0.2.1", 22, "198.51.100.7", 22),
    ("2001:db8::1", 40_002, "2001:db8:1::1", 443),
    ("2001:db8:1::1", 443, "fe80::1", 25),
    ("0.0.0.0", 0, "255.255.255.255", 65_535),
];

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_filter_chooses_attempts() {
    let all = [0, 1, 2, 3, 4, 5];
    let table: &[(&str, &[usize])] = &[
        ("", &all),
        (" \t\r\n", &all),
        ("tcp", &all),
        ("not tcp", &[]),
        ("ip", &[0, 1, 2, 5]),
        ("ip6", &[3, 4]),
        ("!ip", &[3, 4]),
        ("not not ip6", &[3, 4]),
        ("host 10.1.2.3", &[0, 1]),
        ("src host 10.1.2.3", &[0]),
        ("src 10.1.2.3", &[0]),
        ("dst 10.1.2.3", &[1]),
        ("src or dst 10.1.2.3", &[0, 1]),
        ("dst || src host 10.1.2.3", &[0, 1]),
        ("src and dst net 10.1.0.0/16", &[1]),
        ("ip host 10.1.2.3", &[0, 1]),
        ("host 2001:db8:1::1", &[3, 4]),
        ("ip6 src host 2001:db8:1:0:0:0:0:1", &[4]),
        ("net 10", &[0, 1]),
        ("net 10.1", &[0, 1]),
        ("net 10.1.2", &[0, 1]),
        ("src net 10.1.2", &[0]),
        ("net 10.2", &[]),
        ("net 10.1.2.3", &[0, 1]),
        ("net 192.0.2.0/24", &[0, 2]),
        ("net 192.0 mask 255.254", &[0, 2]),
        ("net 10.0.2.0 mask 255.0.255.0", &[0, 1]),
        ("net 0.0.0.0/0", &[0, 1, 2, 5]),
        ("net ::/0", &[3, 4]),
        ("net 2001:db8::/47", &[3, 4]),
        ("net 2001:db8::/48", &[3]),
        ("net 2001:db8::1", &[3]),
        ("port 443", &[0, 3, 4]),
        ("dst port https", &[0, 3]),
        ("tcp src port 443", &[4]),
        ("src and dst port ssh", &[2]),
        ("port 0", &[5]),
        ("port 65535", &[5]),
        ("portrange 22-80", &[1, 2, 4]),
        ("tcp dst portrange 80-22", &[1, 2, 4]),
        ("portrange 40000-40001", &[0, 1]),
        ("portrange ssh-http", &[1, 2, 4]),
        ("port 80 or 443", &[0, 1, 3, 4]),
        ("not host 10.1.2.3 and 192.0.2.1", &[2]),
        ("not (host 10.1.2.3 or 192.0.2.1)", &[3, 4, 5]),
        ("host 10.1.2.3 and (192.0.2.1 or 10.1.9.9)", &[0, 1]),
        ("port not (80 or 443)", &[2, 5]),
        // Equal precedence: ((22 or ip) and 80), and not (22 or (ip and 80)).
        ("port 22 or ip and port 80", &[1]),
        ("port 80 and ip or port 22", &[1, 2]),
    ];
    for &(text, wanted) in table {
        let filter = filter(text);
        let chosen: Vec<_> = (0..FLOWS.len())
            .filter(|&at| {
                let (src, src_port, dst, dst_port) = FLOWS[at];
                filter.matches(endpoint(src.parse().unwrap(), src_port), endpoint(dst.parse().unwrap(), dst_port))
            })
            .collect();
        assert_eq!(chosen, wanted, "{text:?}, which is {filter}");
    }
}

#[test]
fn canonical_text_says_everything_and_nothing_twice() {
    for (text, canonical) in [
        ("", ""),
        ("((tcp))", "tcp"),
        ("tcp src or dst port http or 443", "port 80 or port 443"),
        ("src && dst host ::1", "src and dst host ::1"),
        ("net 10.1", "net 10.1.0.0/16"),
        ("net 10.1.2.3", "host 10.1.2.3"),
        ("net 10.0.2.0 mask 255.0.255.0", "net 10.0.2.0 mask 255.0.255.0"),
        ("net 0.0.0.0/0 || net ::/0", "net 0.0.0.0/0 or net ::/0"),
        ("portrange 443-80", "portrange 80-443"),
        ("portrange 80-80", "port 80"),
        ("! ! ! ip", "not ip"),
        ("(port 1 and 2) or port 3", "port 1 and port 2 or port 3"),
        ("port 1 and (2 or !3)", "port 1 and (port 2 or not port 3)"),
        ("not(port 1 and 2)", "not (port 1 and port 2)"),
        ("port not (1 or (not (2 and 3)))", "not (port 1 or not (port 2 and port 3))"),
    ] {
        assert_eq!(filter(text).to_string(), canonical, "{text:?}");
        assert_eq!(filter(canonical), filter(text), "{text:?}");
    }
}
