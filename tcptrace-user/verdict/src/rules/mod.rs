//! The rules, one a cause, in the order of the vocabulary. A rule is a function over a case and calls no other rule.
//!
//! The highest confidence wins, and among equals the earlier row. A rule says `certain` only by a [`Proof`].
//!
//! `way`: this host's own routes, ports and gateway. `here`: its rules, listeners and memory. `path`: NAT, duplicate
//! addresses, asymmetric paths. `peer`: the client's behaviour. `reject`: RSTs and ICMP errors, and `sender`: who sent the
//! RST. `silence`: firewall_drop, host_down, network_unreachable.

mod here;
mod path;
mod peer;
mod reject;
mod sender;
mod silence;
mod way;

pub(crate) use peer::stopped;
pub(crate) use reject::{error, serves_others};
use tcptrace_vocabulary::cause::{Cause, Confidence};

use crate::{case::Case, proof::Proof};

/// The result of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) confidence: Confidence,
    /// What makes it certain, if it is.
    pub(super) proof: Option<Proof>,
    pub(super) evidence: Vec<String>,
}

/// A row of the table: a cause, its rule, and what docs/causes.md says of it.
pub(super) struct Row {
    pub(super) cause: Cause,
    pub(super) rule: fn(&Case<'_>) -> Option<Judgement>,
    /// The evidence that makes it, a sentence each, the strongest first.
    pub(super) evidence: &'static str,
    /// The cause that looks alike, and what is different there.
    pub(super) apart: &'static str,
}

pub(super) const RULES: [Row; 29] = [
    Row {
        cause: Cause::PortClosed,
        rule: reject::port_closed,
        evidence: "The server's side answered the SYN with a RST/ACK that has window 0 and the TTL of its other packets: possible, because a rule on the host sends the same. On the server: nobody listens, and TCP found no socket; a socket that is bound to another interface or VRF is none. Not while the port answers others.",
        apart: "`firewall_reject`: the RST's TTL, time or form is not the host's. A full backlog on Windows or lwIP, or one of several backends: the port answers others.",
    },
    Row {
        cause: Cause::FirewallReject,
        rule: reject::firewall_reject,
        evidence: "An ICMP error reports a rule (certain: only an administrator makes it), or port-unreachable answered a SYN. A RST does not fit the host's packets. Host-unreachable came while the host answers on another port, or sooner than the look-up of a neighbour can fail. Certain as well: this host dropped its own SYN (NETFILTER_DROP), none left, connect(2) failed with an errno that is no timeout, and whatever rule can have dropped it rejects, or the counter of one that rejects grew. The same where this host itself dropped each SYN (NETFILTER_DROP) and an answer came: nobody else had a SYN to answer.",
        apart: "`port_closed`: the RST fits the host.",
    },
    Row {
        cause: Cause::FirewallDrop,
        rule: silence::firewall_drop,
        evidence: "Nothing answered, while the host answers on another port, answers others on this one, or answers echo requests. A hop walk with SYNs for the port ends before that of other probes. Only possible where attempts nearby needed a later SYN, or where the port answered this client lately and has failed it once since.",
        apart: "`listen_queue_full`: it comes and goes with load.",
    },
    Row {
        cause: Cause::HostDown,
        rule: silence::host_down,
        evidence: "The host does not answer ARP or neighbour discovery. A router says host-unreachable after the time that a look-up takes: two seconds, or a quarter of a second beyond the known round trip; otherwise possible. Nothing answered on any port that was tried: possible.",
        apart: "`firewall_drop` of every port: the host still answers ARP or echo requests.",
    },
    Row {
        cause: Cause::NetworkUnreachable,
        rule: silence::network_unreachable,
        evidence: "A router sent net-unreachable or time-exceeded. The evidence names it.",
        apart: "`no_route`: connect(2) gets ENETUNREACH and no packet leaves.",
    },
    Row {
        cause: Cause::NoRoute,
        rule: way::no_route,
        evidence: "Certain: connect(2) never reached SYN-SENT, nothing refused it before, and routing, which has not changed since the call, refuses the destination; TCP asks for nothing else before SYN-SENT. Certain: the interface of the route is down. The kernel dropped the SYN or the SYN/ACK for want of a route (IP_OUTNOROUTES). Likely: routing has changed since. Likely: OutNoRoutes grew with each SYN that a listener left unanswered, and nothing was dropped; the counter is the whole namespace's.",
        apart: "`network_unreachable`: a router says so, by ICMP.",
    },
    Row {
        cause: Cause::NoLocalPort,
        rule: way::no_local_port,
        evidence: "Certain: connect(2) failed with EADDRNOTAVAIL. Live: its socket went from SYN-SENT back to CLOSE without a SYN, an error, or a port; only the choice of a port lies between (Linux 5.15 and later).",
        apart: "`nat_exhausted`: this host has ports, and its address translation has none.",
    },
    Row {
        cause: Cause::ConnectFailed,
        rule: way::connect_failed,
        evidence: "Certain: a BPF program refused the call, which the hook behind it reads (`bpf_get_retval`, Linux 6.1 and later). Certain: the address is a broadcast or multicast address. `diagnose`, certain: EPERM, or EACCES while routing lets it pass and no ICMP error came. Possible: no SYN was made, and neither routing nor ports are why.",
        apart: "`no_route`: EACCES of a 'prohibit' route. `dropped_by_local_firewall`: a SYN was made, and dropped.",
    },
    Row {
        cause: Cause::GatewayDown,
        rule: way::gateway_down,
        evidence: "The gateway does not answer ARP or neighbour discovery.",
        apart: "`host_down`: the next hop is the server itself.",
    },
    Row {
        cause: Cause::ListenQueueFull,
        rule: here::listen_queue_full,
        evidence: "On the server: the kernel dropped the final ACK for TCP_LISTEN_OVERFLOW, which no other path gives (6.15); or the queue is above its limit while ListenOverflows grew. The ACK of a SYN cookie finds no socket (NO_SOCKET) there. From afar, a SYN/ACK more than a round trip after the final ACK, while the server acknowledged nothing: possible.",
        apart: "`firewall_drop`: no counter grows. TCP_DEFER_ACCEPT: the SYN/ACK comes again, and the queue has room.",
    },
    Row {
        cause: Cause::SynQueueFull,
        rule: here::syn_queue_full,
        evidence: "The SYN came in, no SYN/ACK left, and TCPReqQFullDrop grew.",
        apart: "`listen_queue_full`: ListenOverflows grows.",
    },
    Row {
        cause: Cause::DroppedByLocalFirewall,
        rule: here::dropped_by_local_firewall,
        evidence: "The kernel dropped each SYN, SYN/ACK or final ACK of this very attempt, and its reason is a rule's. For NETFILTER_DROP, a rule or policy of nftables can have done it, and conntrack's drop counter stood still; without either, likely. No SYN was seen leaving.",
        apart: "`conntrack_full`, `nat_exhausted`: the drop reason is the same, and conntrack's counters grow.",
    },
    Row {
        cause: Cause::ConntrackFull,
        rule: here::conntrack_full,
        evidence: "NETFILTER_DROP of the packet, while the connection tracking table is full and its drop counter alone grew.",
        apart: "`dropped_by_local_firewall`: a rule's counter grows.",
    },
    Row {
        cause: Cause::NatExhausted,
        rule: here::nat_exhausted,
        evidence: "NETFILTER_DROP of the packet, while conntrack's insert_failed and drop grew together.",
        apart: "Two flows that clash for one port: a few, and they recover.",
    },
    Row {
        cause: Cause::ReversePathFilter,
        rule: here::reverse_path_filter,
        evidence: "The kernel dropped each try for IP_RPFILTER, which only that check gives; IPReversePathFilter grew.",
        apart: "`dropped_by_local_firewall`: the drop reason is a rule's.",
    },
    Row {
        cause: Cause::BadChecksum,
        rule: here::bad_checksum,
        evidence: "The kernel dropped each try for TCP_CSUM, UDP_CSUM or IP_CSUM, which only a wrong checksum gives; InCsumErrors grew. In a capture, the checksum of each SYN, or of each SYN/ACK, is wrong: likely where others' are right, and nobody accepts wrong ones.",
        apart: "A capture on the sender: the card computes the checksum later. A capture whose addresses were rewritten.",
    },
    Row {
        cause: Cause::SynFlood,
        rule: peer::syn_flood,
        evidence: "Many clients left one port half-open, and this host sent SYN cookies. In a capture: many clients sent a port a single SYN each, and never came again.",
        apart: "A rush of real clients: most of them complete. An outage: they send their SYNs again. A capture that was filtered by flags: no SYN/ACK, or no packet without SYN, is in it.",
    },
    Row {
        cause: Cause::ClientVanished,
        rule: peer::client_vanished,
        evidence: "The server repeated the SYN/ACK, and the client stayed silent. An ICMP error answered it: a forged source. So does a RST with another TTL than the SYN: possible.",
        apart: "`firewall_drop` of the answers: the client repeats its SYN. A capture without any packet that has no SYN: it was filtered.",
    },
    Row {
        cause: Cause::AnswerLostLocally,
        rule: here::answer_lost_locally,
        evidence: "The SYN/ACK reached the interface, and the socket stays in SYN-SENT.",
        apart: "`application_gave_up`: the socket was closed, and a RST answers.",
    },
    Row {
        cause: Cause::AsymmetricPath,
        rule: path::asymmetric_path,
        evidence: "The client's ACK or data passed here, and the SYN/ACK never did. A SYN/ACK passed, and its SYN did not. Not where both sent a SYN.",
        apart: "Packets that the capture lost. A capture of one direction: no connection in it has both sides.",
    },
    Row {
        cause: Cause::NatMismatch,
        rule: path::nat_mismatch,
        evidence: "The SYN went to one address, and another address acknowledged it. The same SYN (client, port, ISN) went to two addresses within a millisecond, and the second answered by itself: likely.",
        apart: "`duplicate_ip`: one address, two hosts.",
    },
    Row {
        cause: Cause::PortReuse,
        rule: path::port_reuse,
        evidence: "An ACK without SYN came for the SYN: a challenge ACK, or a packet of the older connection sent again. Or the SYN/ACK acknowledges an older SYN.",
        apart: "A lost SYN whose ACK is not in the capture.",
    },
    Row {
        cause: Cause::MiddleboxReset,
        rule: reject::middlebox_reset,
        evidence: "A RST after the SYN/ACK has another TTL or IP ID than its alleged sender's packets. One sign: possible. Two: likely.",
        apart: "The peer's own RST: IP ID 0 and no timestamps are usual.",
    },
    Row {
        cause: Cause::DuplicateIp,
        rule: path::duplicate_ip,
        evidence: "One address has two link-layer addresses, or one SYN got two answers with different numbers. In a capture: the client's RST came from another link-layer address than its SYN, and no router is between: possible; likely where it asks again.",
        apart: "VRRP and failover: the address moves once. A host with two cards.",
    },
    Row {
        cause: Cause::ApplicationGaveUp,
        rule: peer::application_gave_up,
        evidence: "The SYNs stop sooner than the port answers anybody, or the answer finds no socket.",
        apart: "A port that never answers: that the client gave up is a fact and no cause. The loser of happy eyeballs: the other family connected.",
    },
    Row {
        cause: Cause::HealthCheck,
        rule: peer::health_check,
        evidence: "One client repeats SYN, SYN/ACK and RST within a second, without data.",
        apart: "Real users: irregular, and with data.",
    },
    Row {
        cause: Cause::OptionsBlocked,
        rule: path::options_blocked,
        evidence: "SYNs with an option (MPTCP, Fast Open, ECN, timestamps) were lost or refused, and the first without it was answered: possible. The second time, where no SYN with it was ever answered: likely. A SYN/ACK echoes a timestamp that no SYN of the attempt had, and the client refuses it: likely.",
        apart: "Packet loss or overload: SYNs that are sent again as they were get lost, too. Fast Open's data: the SYN is too large.",
    },
    Row {
        cause: Cause::NoBackend,
        rule: peer::no_backend,
        evidence: "The server accepted the connection and reset it within a second, before it sent a byte: possible. On the server, the process that listens is a proxy, or its own connect(2) failed meanwhile: likely.",
        apart: "`out_of_memory`: TCPAbortOnMemory grows. A service that sends a client away does the same.",
    },
    Row {
        cause: Cause::OutOfMemory,
        rule: here::out_of_memory,
        evidence: "The kernel dropped the packet for want of memory, or reset the connection while TCPAbortOnMemory alone grew.",
        apart: "The program's own RST: TCPAbortOnClose or TCPAbortOnData grows.",
    },
];

fn certain(proof: Proof, evidence: impl Into<Vec<String>>) -> Option<Judgement> {
    Some(Judgement { confidence: Confidence::Certain, proof: Some(proof), evidence: evidence.into() })
}

fn likely(evidence: impl Into<Vec<String>>) -> Option<Judgement> {
    Some(Judgement { confidence: Confidence::Likely, proof: None, evidence: evidence.into() })
}

fn possible(evidence: impl Into<Vec<String>>) -> Option<Judgement> {
    Some(Judgement { confidence: Confidence::Possible, proof: None, evidence: evidence.into() })
}
