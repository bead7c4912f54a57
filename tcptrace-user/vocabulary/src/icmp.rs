//! The meaning of an ICMP error, in one place for every reader of it.
//!
//! Does not judge: which cause an error speaks for is a rule's business (`tcptrace_verdict`).

use tcptrace_core::segment::Icmp;

macro_rules! meanings {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// The meaning of an ICMP error about a SYN.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Meaning {
            $($(#[$doc])* $variant,)*
        }

        impl Meaning {
            /// Every meaning.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in text and JSON: nmap's (its reason codes) where it has one.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

meanings! {
    /// A rule forbids the packet (RFC 1812, section 5.2.7.1; RFC 4443, section 3.1).
    AdminProhibited = "admin-prohibited",
    /// A rule forbids the host (RFC 1122, section 3.2.2.1).
    HostProhibited = "host-prohibited",
    /// A rule forbids the network (RFC 1122, section 3.2.2.1).
    NetProhibited = "net-prohibited",
    /// A rule forbids the source address (RFC 4443, section 3.1).
    SourcePolicyFailed = "source-policy-failed",
    /// A route of the kind `prohibit` leads to the address (RFC 4443, section 3.1).
    RejectRoute = "reject-route",
    /// No TCP answers a SYN with it (RFC 9293, section 3.10.7.1: a RST does); netfilter's REJECT sends it.
    PortUnreachable = "port-unreach",
    /// The host does not speak TCP; a rule may send it as well.
    ProtocolUnreachable = "proto-unreach",
    /// The last router cannot find the host on its link.
    HostUnreachable = "host-unreach",
    /// The host is unreachable for this type of service (RFC 1122, section 3.2.2.1).
    HostUnreachableForService = "unreachable",
    /// A router has no route to the network.
    NetUnreachable = "net-unreach",
    /// The network is unreachable for this type of service, or the sender's host is isolated (RFC 1122, section
    /// 3.2.2.1).
    NetUnreachableOtherwise = "unreachable",
    /// The destination is beyond the scope of the source address (RFC 4443, section 3.1).
    BeyondScope = "beyond-scope",
    /// The packet ran out of hops.
    TimeExceeded = "time-exceeded",
    /// The source route cannot be followed.
    SourceRouteFailed = "source-route-failed",
    /// A field of the header is wrong.
    ParameterProblem = "param-problem",
    /// An error whose type or code no RFC above names.
    Other = "unreachable",
}

impl Meaning {
    /// The meaning of a type and a code.
    #[must_use]
    pub const fn of(icmp: Icmp) -> Self {
        if icmp.v6 {
            return match (icmp.kind, icmp.code) {
                (1, 0) => Self::NetUnreachable,
                (1, 1) => Self::AdminProhibited,
                (1, 2) => Self::BeyondScope,
                (1, 3) => Self::HostUnreachable,
                (1, 4) => Self::PortUnreachable,
                (1, 5) => Self::SourcePolicyFailed,
                (1, 6) => Self::RejectRoute,
                (3, 0) => Self::TimeExceeded,
                (4, _) => Self::ParameterProblem,
                _ => Self::Other,
            };
        }
        match (icmp.kind, icmp.code) {
            (3, 0 | 6) => Self::NetUnreachable,
            (3, 1 | 7) => Self::HostUnreachable,
            (3, 2) => Self::ProtocolUnreachable,
            (3, 3) => Self::PortUnreachable,
            (3, 5) => Self::SourceRouteFailed,
            (3, 8 | 11) => Self::NetUnreachableOtherwise,
            (3, 9) => Self::NetProhibited,
            (3, 10) => Self::HostProhibited,
            (3, 12) => Self::HostUnreachableForService,
            (3, 13) => Self::AdminProhibited,
            (11, 0) => Self::TimeExceeded,
            (12, _) => Self::ParameterProblem,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Icmp, Meaning};

    #[test]
    fn both_families_say_the_same_by_different_numbers() {
        let of = |v6, kind, code| Meaning::of(Icmp { v6, kind, code });
        for (v4, v6, meaning) in [
            ((3, 13), (1, 1), Meaning::AdminProhibited),
            ((3, 3), (1, 4), Meaning::PortUnreachable),
            ((3, 1), (1, 3), Meaning::HostUnreachable),
            ((3, 0), (1, 0), Meaning::NetUnreachable),
            ((11, 0), (3, 0), Meaning::TimeExceeded),
            ((12, 0), (4, 1), Meaning::ParameterProblem),
            ((3, 200), (1, 200), Meaning::Other),
        ] {
            assert_eq!(of(false, v4.0, v4.1), meaning);
            assert_eq!(of(true, v6.0, v6.1), meaning);
        }
    }
}
