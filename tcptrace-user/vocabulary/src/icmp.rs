//! The meaning of an ICMP error (RFC 792, RFC 1812, RFC 4443), in one place for every reader.

use tcptrace_core::segment::Icmp;

/// The meaning of an ICMP error, in nmap's words (its reason codes) where it has one.
#[must_use]
pub fn icmp_reason(error: Icmp) -> &'static str {
    if error.v6 {
        return match (error.kind, error.code) {
            (1, 0) => "net-unreach",
            (1, 1) => "admin-prohibited",
            (1, 2) => "beyond-scope",
            (1, 3) => "host-unreach",
            (1, 4) => "port-unreach",
            (1, 5) => "source-policy-failed",
            (1, 6) => "reject-route",
            (3, _) => "time-exceeded",
            (4, _) => "param-problem",
            _ => "unreachable",
        };
    }
    match (error.kind, error.code) {
        (3, 0 | 6) => "net-unreach",
        (3, 1 | 7) => "host-unreach",
        (3, 2) => "proto-unreach",
        (3, 3) => "port-unreach",
        (3, 5) => "source-route-failed",
        (3, 9) => "net-prohibited",
        (3, 10) => "host-prohibited",
        (3, 13) => "admin-prohibited",
        (11, _) => "time-exceeded",
        (12, _) => "param-problem",
        _ => "unreachable",
    }
}
