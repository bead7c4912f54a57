//! tcpdump's own compiler, asked which of some two hundred SYNs it chooses under the same text.
//!
//! tcpdump has to be installed. The frames are the least that it takes: no options, no checksums.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use tcptrace_core::flow::Endpoint;
use tcptrace_filter::Filter;

/// Addresses that differ in one byte, one bit, or all.
const V4: [&str; 12] = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.3.3",
    "10.2.2.3",
    "10.0.0.1",
    "0.0.0.10",
    "0.0.0.0",
    "127.0.0.1",
    "172.16.5.4",
    "192.168.0.1",
    "192.168.1.1",
    "255.255.255.255",
];
const V6: [&str; 8] =
    ["2001:db8::1", "2001:db8::2", "2001:db8:1::1", "2001:db9::1", "fe80::1", "::1", "::", "2001:db8:0:0:8000::1"];
const PORTS: [u16; 13] = [0, 1, 22, 25, 53, 79, 80, 81, 443, 444, 8080, 40_000, 65_535];

/// The SYNs: each pair of addresses of a family, some with equal ports.
pub(crate) fn syns() -> Vec<[(IpAddr, u16); 2]> {
    let families = [V4.as_slice(), V6.as_slice()];
    let pairs =
        families.iter().flat_map(|family| family.iter().flat_map(move |src| family.iter().map(move |dst| (src, dst))));
    pairs
        .enumerate()
        .map(|(at, (src, dst))| {
            let port = |step: usize| PORTS[at / step * 5 % PORTS.len()];
            let dst_port = if at % 7 == 0 { port(1) } else { port(3) };
            [(src.parse().unwrap(), port(1)), (dst.parse().unwrap(), dst_port)]
        })
        .collect()
}

/// What tcpdump makes of a filter.
pub(crate) enum Verdict {
    /// Which SYNs it chooses.
    Chosen(BTreeSet<usize>),
    /// Why it does not take the filter.
    Refused(String),
}

/// SYNs of every kind: who would choose differently chooses differently among these.
pub(crate) static SYNS: LazyLock<Vec<[Endpoint; 2]>> =
    LazyLock::new(|| syns().into_iter().map(|ends| ends.map(|(addr, port)| crate::endpoint(addr, port))).collect());

/// Which SYNs the filter chooses.
pub(crate) fn ours(filter: &Filter) -> BTreeSet<usize> {
    (0..SYNS.len()).filter(|&at| filter.matches(SYNS[at][0], SYNS[at][1])).collect()
}

/// Runs tcpdump. Timestamps number the frames; a name that would be looked up in the DNS makes this slow.
pub(crate) fn tcpdump(text: &str) -> Verdict {
    let mut tcpdump = Command::new("tcpdump");
    // Root's tcpdump would otherwise become a user who may not read the file. libpcap 1.10.3's optimiser is wrong about
    // `tcp and ip host 10.1.2.3 or (10.1.2.3 or 10.2.2.3)`: it leaves out a comparison. The compiler alone is right.
    tcpdump.args(["-O", "-nn", "-Z", "root", "-w", "-", "-r"]).arg(&*CAPTURE).arg("--").arg(text).stdin(Stdio::null());
    let output = tcpdump.output().expect("cannot run tcpdump; install it");
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        // Read, but its optimiser saw that nothing fits, which is an answer.
        return if why.contains("expression rejects all packets") {
            Verdict::Chosen(BTreeSet::new())
        } else {
            Verdict::Refused(why)
        };
    }
    let mut chosen = BTreeSet::new();
    let mut rest = &output.stdout[24..];
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let number = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap()) as usize;
        chosen.insert(number(0));
        rest = &behind[number(8)..];
    }
    Verdict::Chosen(chosen)
}

/// A pcap of the SYNs, written once for each run.
static CAPTURE: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("filter.pcap");
    // Another run may be reading it.
    let own = path.with_extension(std::process::id().to_string());
    let words = |it: &[u32]| it.iter().flat_map(|it| it.to_ne_bytes()).collect::<Vec<_>>();
    // Version 2.4, Ethernet.
    let mut all = words(&[
        0xa1b2_c3d4,
        u32::from_ne_bytes([2_u16.to_ne_bytes(), 4_u16.to_ne_bytes()].concat().try_into().unwrap()),
        0,
        0,
        65_535,
        1,
    ]);
    for (at, ends) in syns().into_iter().enumerate() {
        let frame = frame(ends);
        all.extend(words(&[at as u32, 0, frame.len() as u32, frame.len() as u32]));
        all.extend(frame);
    }
    std::fs::write(&own, all).unwrap();
    std::fs::rename(&own, &path).unwrap();
    path
});

fn frame([(src, src_port), (dst, dst_port)]: [(IpAddr, u16); 2]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
            frame.extend([src.octets(), dst.octets()].concat());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame.extend([src.octets(), dst.octets()].concat());
        }
        _ => unreachable!("a SYN has one family"),
    }
    frame.extend([src_port.to_be_bytes(), dst_port.to_be_bytes()].concat());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}

/// Both choose the same, frame by frame.
pub(crate) fn agree(text: &str) {
    let filter = crate::filter(text);
    match tcpdump(text) {
        Verdict::Chosen(theirs) => assert_eq!(ours(&filter), theirs, "{text:?}, which is {filter}"),
        Verdict::Refused(why) => panic!("tcpdump refuses {text:?}: {why}"),
    }
}

#[test]
fn frames_are_what_tcpdump_takes_them_for() {
    let all = syns().len();
    assert_eq!(all, 12 * 12 + 8 * 8);
    let equal = syns().iter().filter(|[src, dst]| src.1 == dst.1).count();
    assert!(equal > 10 && equal < all / 2, "{equal}");
    assert!(matches!(tcpdump("tcp[tcpflags] == tcp-syn or ip6[53] == 2"), Verdict::Chosen(it) if it.len() == all));
}

#[test]
fn choices_are_tcpdumps() {
    for text in SAME {
        agree(text);
        agree(&format!("not ({text})"));
        agree(&crate::filter(text).to_string());
    }
}

#[rustfmt::skip]
const SAME: &[&str] = &[
    "tcp", "ip", "ip6", "not tcp", "! ip", "not not ip", "!!!ip6", "ip or ip6", "ip and ip6", "tcp && !ip6",
    // Hosts.
    "host 10.1.2.3", "src host 10.1.2.3", "dst host 10.1.2.3", "src 10.1.2.3", "dst 10.1.2.3",
    "src or dst 10.1.2.3", "dst or src host 10.1.2.3", "src and dst 10.1.2.3", "dst && src host 10.1.2.3",
    "src || dst host 10.1.2.3", "ip host 10.1.2.3", "ip src 10.1.2.3", "ip src or dst host 10.1.2.3",
    "host 0.0.0.0", "host 255.255.255.255", "host 0.0.0.10", "host 2001:db8::1", "src host 2001:db8::1",
    "dst 2001:DB8::1", "ip6 host ::1", "ip6 dst ::", "host 2001:db8:0:0:0:0:0:1", "src and dst host ::1",
    "host ::127.0.0.1", "host 2001:db8:0:0:8000::1",
    // Networks.
    "net 10", "net 10.1", "net 10.1.2", "net 10.1.2.3", "net 127", "net 255", "net 1", "src net 10", "dst net 10.1",
    "net 10.0.0.0/8", "net 10.0.0.0/7", "net 10.1/16", "net 10.1/24", "net 10.1.2/24", "net 10.1.2/31",
    "net 10.1.2.3/32", "net 0.0.0.0/0", "net 0.0/0", "net 0.0", "net 128.0/1", "net 10.1 mask 255.255",
    "net 10.1.2.3 mask 255.255.255.255", "net 10.0.2.0 mask 255.0.255.0", "net 0.0.0.1 mask 0.0.0.1",
    "src net 10.0.0.0 mask 255.0.0.0", "src and dst net 10.0.0.0/8", "src or dst net 192.168.0.0/23",
    "ip net 10.1", "ip src net 172.16.0.0 / 12", "net ::/0", "net ::/1", "net 2001:db8::/32", "net 2001:db8::/47",
    "net 2001:db8::/65", "net 2001:db8::1", "net ::1/128", "ip6 net fe80::/10", "ip6 src and dst net 2001:db8::/31",
    // Ports.
    "port 80", "tcp port 80", "src port 80", "dst port 80", "tcp dst port 443", "src or dst port 22",
    "src and dst port 22", "tcp src && dst port 22", "port 0", "port 65535", "port http", "port ssh or domain",
    "tcp port https", "portrange 79-81", "portrange 81-79", "src portrange 0-25", "tcp dst portrange 22-80",
    "src and dst portrange 0-80", "portrange 80", "portrange ssh-http", "portrange 22-http", "portrange http-443",
    // What is left out.
    "port 80 or 443", "tcp dst port 80 or 443 or smtp", "not host 10.1.2.3 and 10.1.2.4",
    "not (host 10.1.2.3 or 10.1.2.4)", "host 10.1.2.3 and (10.1.2.4 or 10.2.2.3)", "port not 80",
    "port not (80 or (443 and not 22))", "host 10.1.2.3 or port 80 or 443", "port 80 or (host 10.1.2.3) or 443",
    "port 80 and ((host 10.1.2.3 or 10.1.2.4) or 443)", "net 10 or 192.168.0.0/24 or 2001:db8::/32 or (127)",
    "port ((80))", "port ((80) or ((443)) or (22 or 53))", "port (not (80 or 443) and not 22)",
    // From left to right.
    "port 22 or ip and port 80", "port 80 and ip or port 22", "ip6 or port 80 and not port 443 or host ::1",
    "port 22 or (ip and port 80)",
];

/// What tcpdump takes and tcptrace does not, or the other way round: by design, and by name.
#[test]
fn differences_are_known() {
    let refused_here = [
        ("a short address is padded in front", "host 10"),
        ("a short address is a network", "host 10.1"),
        ("the network 0 is the host 0.0.0.0", "net 0"),
        ("a number is a network beyond 255", "net 256"),
        ("a length with one host", "host ::1/128"),
        ("octal", "port 0120"),
        ("hexadecimal", "port 0x50"),
        ("leading zeros that are not octal", "host 010.1.2.3"),
        ("a hexadecimal network", "net 0x0a"),
        ("mapped addresses, which are IPv4 here", "host ::ffff:10.1.2.3"),
        ("an escaped name", "port \\http"),
        ("a name that is not TCP's, which no SYN matches", "port tftp"),
        ("what follows a range", "portrange 79-81-90"),
        ("words that touch", "host ::1or port 80"),
        ("host names", "host localhost"),
        ("another protocol", "udp port 53"),
        ("another protocol alone", "not udp"),
        ("ethernet", "ether host 02:00:00:00:00:01"),
        ("protocols by number", "ip proto 6"),
        ("lengths", "less 100"),
        ("octets", "tcp[13] = 2"),
        ("deep nesting", &format!("{}tcp{}", "(".repeat(65), ")".repeat(65))),
    ];
    for (name, text) in refused_here {
        assert!(matches!(tcpdump(text), Verdict::Chosen(_)), "{name}: {text}");
        assert!(Filter::parse(text).is_err(), "{name}: {text}");
    }
    for text in REFUSED_BY_BOTH {
        assert!(matches!(tcpdump(text), Verdict::Refused(_)), "{text}");
        assert!(Filter::parse(text).is_err(), "{text}");
    }
}

#[rustfmt::skip]
const REFUSED_BY_BOTH: &[&str] = &[
    "10.1.2.3", "80", "http", "(80)", "tcp or 80", "(port 80) or 443", "not (port 80) or 443", "port 80 or tcp or 443",
    "port 80 or (443 or port 22)", "host ((10.1.2.3))",
    "port 80 or ((443 or 22) or 53)", "net ((10.1) or 10)", "port (port 80)", "ip port 80", "ip6 port 80", "tcp host 10.1.2.3", "tcp net 10",
    "tcp src 10.1.2.3", "ip host ::1", "ip6 host 10.1.2.3", "ip6 net 10", "ip net 2001:db8::/32", "ip tcp port 80",
    "tcp 80", "ip 10.1.2.3", "net 10/8", "net 10 mask 255.0.0.0", "net 10.1.2.3/8", "net 10.1/8", "net 2001:db8::1/32",
    "net 10.1.2.3/33", "net ::/129", "net ::1 mask 255.0.0.0", "host 10.1.2.3/32", "port 70000", "port 80-90",
    "port nosuchport", "portrange 79 - 81",
    "portrange http-nosuchport", "portrange http", "TCP port 80", "port 80 443", "port 80 and",
    "(tcp", "tcp)", "()", "port != 80",
];
