//! Everything that makes a verdict certain. A rule that says `certain` names its row here, which says why nothing else
//! leaves that evidence behind. The suite `proofs` makes each, and beside it the nearest thing that looks like it.
//!
//! Drop reasons are those of include/net/dropreason-core.h.

use tcptrace_vocabulary::cause::Cause;

/// What docs/causes.md says of a proof.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// The cause that it proves.
    pub cause: Cause,
    /// The evidence.
    pub evidence: &'static str,
    /// Why nothing else leaves it behind.
    pub why: &'static str,
    /// The nearest thing that looks like it, and the difference.
    pub alike: &'static str,
    /// The first kernel that gives the evidence; `None`: every kernel that is supported.
    pub since: Option<&'static str>,
}

macro_rules! proofs {
    ($($(#[$doc:meta])* $proof:ident: $argument:expr,)*) => {
        /// Evidence that only one cause leaves behind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Proof {
            $($(#[$doc])* $proof,)*
        }

        impl Proof {
            /// Every proof, in the order of the causes.
            pub const ALL: &'static [Self] = &[$(Self::$proof,)*];

            /// Why it proves its cause.
            #[must_use]
            pub const fn argument(self) -> Argument {
                match self {
                    $(Self::$proof => $argument,)*
                }
            }
        }
    };
}

proofs! {
    /// TCP found no socket for the SYN, and nobody listens.
    NoSocket: Argument {
        cause: Cause::PortClosed,
        evidence: "The server is here, nobody listens on the port, and the kernel dropped this very SYN for NO_SOCKET.",
        why: "TCP itself looked for a socket and sends the RST because it found none (`tcp_v4_rcv`). A packet that a rule rejects never gets that far.",
        alike: "A rule that rejects with a RST: NETFILTER_DROP. An older connection that answered earlier SYNs: challenge ACKs.",
        since: None,
    },
    /// An administrator's word, by ICMP.
    Prohibited: Argument {
        cause: Cause::FirewallReject,
        evidence: "An ICMP error from another host: administratively prohibited, host or network prohibited, source policy failed.",
        why: "Routers and hosts send these codes only for a rule or for a route of the kind `prohibit` (RFC 1812, section 5.2.7.1; RFC 4443, section 3.1).",
        alike: "Port, host and network unreachable: hosts, load balancers and routers send them without a rule.",
        since: None,
    },
    /// An ICMP error of this host about its own SYN.
    OwnError: Argument {
        cause: Cause::FirewallReject,
        evidence: "This host sent itself an ICMP error for its own SYN that says prohibited; or any, where it dropped the SYN for a rule's reason and a rule was found that rejects.",
        why: "For its own packets the kernel makes no such error: connect(2) fails before there is a packet. A rule of the output hook does.",
        alike: "Host-unreachable after a neighbour look-up that failed, or of a tunnel without a peer. Port-unreachable of IPVS without a backend.",
        since: None,
    },
    /// A rule dropped this host's own SYN, and connect(2) failed for an answer.
    RejectedCall: Argument {
        cause: Cause::FirewallReject,
        evidence: "The kernel dropped this host's own SYN for NETFILTER_DROP, no SYN was seen leaving, connect(2) failed with an errno other than ETIMEDOUT, and every rule that can have dropped it rejects, or the counter of one that rejects grew.",
        why: "A call waits in silence for a SYN that was only dropped. It was answered, no other host had that SYN, and the rule that took it answers what it takes.",
        alike: "A rule that drops, while a later SYN leaves by an interface that is not traced and is refused elsewhere: no rule is found that rejects.",
        since: None,
    },
    /// A rule dropped every SYN on this host, and an answer left it.
    DroppedAndAnswered: Argument {
        cause: Cause::FirewallReject,
        evidence: "This host dropped each SYN for NETFILTER_DROP, a RST or an ICMP error answered, and every rule that can have dropped it rejects, or the counter of one that rejects grew.",
        why: "No SYN got past this host, TCP here never saw one, and the rule that took it answers what it takes.",
        alike: "A rule that drops, while somebody between answers; IPVS without a backend, which drops and answers: no rule is found that rejects. A bridge that floods the SYN to another port: NO_SOCKET.",
        since: None,
    },
    /// The server's own address was asked for on the link in vain.
    SilentOnLink: Argument {
        cause: Cause::HostDown,
        evidence: "The server's own address is on the link, ARP or neighbour discovery failed (NUD_FAILED), no SYN left, and the kernel dropped this call's own SYN for NEIGH_FAILED or failed it with EHOSTUNREACH. No rule here can drop the answer.",
        why: "`host_down` claims no more than that: nobody answers for that address on its link.",
        alike: "A gateway that does not answer: `gateway_down`. A link that is down: `no_route`. A SYN that left by another route (mark, user, port): it is seen. A rule that drops neighbour advertisements or ARP: it is found.",
        since: None,
    },
    /// A router here had no route by which to forward each SYN.
    NoRouteToForward: Argument {
        cause: Cause::NetworkUnreachable,
        evidence: "This host forwards, and the kernel dropped each SYN for IP_INNOROUTES or IP_OUTNOROUTES.",
        why: "The kernel gives these reasons only where the routing table has no route for the packet (`ip_error`, `ip6_pkt_drop`).",
        alike: "One SYN of several that found no route: the others were lost elsewhere.",
        since: None,
    },
    /// The interface of the route is down, or has no carrier.
    LinkDown: Argument {
        cause: Cause::NoRoute,
        evidence: "The route to the server names an interface that is down or has no carrier, and nothing answered.",
        why: "Nothing leaves by an interface that is down.",
        alike: "An interface that went down after the server had answered.",
        since: None,
    },
    /// Routing refuses the destination.
    RoutingRefuses: Argument {
        cause: Cause::NoRoute,
        evidence: "Routing refuses the destination, has not changed since the call, and the call made no SYN; no program refused it before.",
        why: "Before SYN-SENT TCP asks the cgroup's programs and routing, and nothing else (`tcp_v4_connect`).",
        alike: "Routing that changed after the call. A call that failed for want of a port, after routing had let it pass.",
        since: None,
    },
    /// The kernel dropped every try for want of a route.
    DroppedWithoutRoute: Argument {
        cause: Cause::NoRoute,
        evidence: "The kernel dropped each SYN, or each SYN/ACK, of this host's own for IP_OUTNOROUTES.",
        why: "The kernel gives this reason only where the output path finds no route (`__ip_queue_xmit`, `ip6_pkt_discard_out`).",
        alike: "One try of several: the others found a route.",
        since: None,
    },
    /// connect(2) found no local port or address.
    NoPort: Argument {
        cause: Cause::NoLocalPort,
        evidence: "connect(2) failed with EADDRNOTAVAIL; live: its socket came back from SYN-SENT without a SYN, an error or a port.",
        why: "EADDRNOTAVAIL has no other meaning there. Live: only the choice of a port lies between SYN-SENT and the SYN (`inet_hash_connect`).",
        alike: "A call whose port was chosen, and that failed at the second look at the routes: it has a port.",
        since: None,
    },
    /// The destination is a broadcast or multicast address.
    NotOneHost: Argument {
        cause: Cause::ConnectFailed,
        evidence: "The routing table has the destination as broadcast or multicast.",
        why: "TCP connects to one host, and refuses every such address before it makes a SYN (`tcp_v4_connect`, `tcp_v6_connect`).",
        alike: "A destination without a route: the same errno, ENETUNREACH.",
        since: None,
    },
    /// A BPF program of the caller's cgroup refused the call.
    RefusedByProgram: Argument {
        cause: Cause::ConnectFailed,
        evidence: "The hook of connect(2) reads an errno that a program in front of it has set (`bpf_get_retval`).",
        why: "Only a BPF program of the cgroup can set that value, and the kernel returns it to the caller.",
        alike: "A route of the kind `prohibit`: the same EACCES, and no program set it.",
        since: None,
    },
    /// connect(2) failed with EPERM or EACCES.
    Forbidden: Argument {
        cause: Cause::ConnectFailed,
        evidence: "`diagnose`: connect(2) failed with EPERM; or with EACCES, while routing lets it pass and no ICMP error came.",
        why: "No packet and no route gives EPERM: TCP ignores what the output hook returns. EACCES has two other sources, and both were asked: a route of the kind `prohibit`, and ICMPv6 errors.",
        alike: "EACCES where routing was not read, or an ICMPv6 error came.",
        since: None,
    },
    /// The gateway's address was asked for on the link in vain.
    SilentGateway: Argument {
        cause: Cause::GatewayDown,
        evidence: "The same of the gateway to the server, and nothing of the server was heard since.",
        why: "Without the gateway's link address no packet leaves. The verdict claims no more than that.",
        alike: "A gateway that was found again: the server was heard since. A server on the link: `host_down`. Otherwise as there.",
        since: None,
    },
    /// The queue is above its limit, and overflowed.
    QueueFull: Argument {
        cause: Cause::ListenQueueFull,
        evidence: "The SYN came in and no SYN/ACK left, or the SYN/ACK was sent again. The listener's queue is above its limit, ListenOverflows grew, and the kernel dropped no packet of it for another reason.",
        why: "TCP drops the SYN or the final ACK exactly while the queue is above its limit (`tcp_conn_request`, `tcp_v4_syn_recv_sock`), and counts it.",
        alike: "TCP_DEFER_ACCEPT: the queue has room. Another listener's overflows: the same. A rule or want of memory: a drop with that reason.",
        since: None,
    },
    /// The kernel dropped a packet because the accept queue was full.
    Overflow: Argument {
        cause: Cause::ListenQueueFull,
        evidence: "The kernel dropped the SYN or the final ACK of this very attempt for TCP_LISTEN_OVERFLOW.",
        why: "Only a full accept queue gives this reason.",
        alike: "A final ACK that was dropped once, and whose repetition got in: what failed later has another reason.",
        since: Some("6.15"),
    },
    /// The ACK of a SYN cookie found a full queue.
    CookieAck: Argument {
        cause: Cause::ListenQueueFull,
        evidence: "TCP dropped the final ACK of this attempt for NO_SOCKET while somebody listens; the queue is above its limit, and ListenOverflows grew.",
        why: "The ACK of a SYN cookie finds no socket in two cases: the cookie is wrong, which counts no overflow, or the queue is full (`cookie_v4_check`).",
        alike: "What comes after a RST or a FIN finds no socket either. A listener that has room.",
        since: None,
    },
    /// A rule dropped every try.
    DroppedByRule: Argument {
        cause: Cause::DroppedByLocalFirewall,
        evidence: "The kernel dropped each SYN, each SYN/ACK or the final ACK for a rule's reason. For NETFILTER_DROP: a rule or policy that can have done it was found, and conntrack's drop counter was read and stood still.",
        why: "XDP, TC, cgroup, IPsec and security drops have reasons of their own. Netfilter's is shared by rules, by connection tracking, which counts its drops, and by IPVS, which answers what it drops.",
        alike: "A full connection tracking table, a translation without a port: the counter grows. The drop of another packet, or of one try of several.",
        since: None,
    },
    /// The reverse path filter dropped every try.
    ReversePath: Argument {
        cause: Cause::ReversePathFilter,
        evidence: "The kernel dropped each try for IP_RPFILTER.",
        why: "Only that check gives this reason (`fib_validate_source`).",
        alike: "A rule that drops on the way in: NETFILTER_DROP.",
        since: None,
    },
    /// Every try had a wrong checksum.
    Checksum: Argument {
        cause: Cause::BadChecksum,
        evidence: "The kernel dropped each try for TCP_CSUM, UDP_CSUM or IP_CSUM.",
        why: "Only a checksum that does not fit the packet gives these reasons.",
        alike: "One try of several: the others were lost in another way.",
        since: None,
    },
    /// A rule dropped the SYN/ACK after it had come in.
    AnswerDropped: Argument {
        cause: Cause::AnswerLostLocally,
        evidence: "Each SYN/ACK came in at the client's host, and the kernel dropped it for a rule's reason; conntrack's drop counter was read and stood still.",
        why: "The drop is of the very packet that the socket waits for.",
        alike: "A full connection tracking table drops with the same reason: its counter grows.",
        since: None,
    },
    /// Another address acknowledged the SYN.
    AnsweredElsewhere: Argument {
        cause: Cause::NatMismatch,
        evidence: "A SYN/ACK that acknowledges this SYN's number came to the client's port from another address.",
        why: "A stranger guesses the number once in 4,294,967,296 tries, so whoever sent it got this SYN, with another destination.",
        alike: "A SYN/ACK from another address that acknowledges another number: an attempt of its own. The first half of a translation that works: the client sends data or a FIN.",
        since: None,
    },
    /// Two hosts answered one SYN.
    TwoHosts: Argument {
        cause: Cause::DuplicateIp,
        evidence: "Two SYN/ACKs with different numbers answered a single SYN, and two link-layer addresses claim the server's address.",
        why: "One host answers one SYN with one number. Two network cards of one host have two link-layer addresses and still one number.",
        alike: "SYN cookies: another SYN gets another number. An address that moves (VRRP): one answer.",
        since: None,
    },
    /// The kernel dropped every try for want of memory.
    NoMemory: Argument {
        cause: Cause::OutOfMemory,
        evidence: "The kernel dropped each try of this attempt for PROTO_MEM, NOMEM or PFMEMALLOC.",
        why: "Only an allocation that failed, or the limit of a protocol's memory, gives these reasons.",
        alike: "One try of several, or a packet whose number is not known. TCPAbortOnMemory: it counts for the whole namespace.",
        since: None,
    },
}
