//! The address that this host sends from, where it is missing or no more than link-local: evidence and a next step beside
//! those of the cause. It decides no cause: without an address there is no route, and that is what the call met.

use std::net::IpAddr;

use tcptrace_core::handshake::Side;
use tcptrace_vocabulary::{cause::Cause, outcome::Outcome, words::ip};

use crate::case::Case;

/// What is wrong with this host's own address, and what to do about it.
pub(super) fn trouble(case: &Case<'_>, cause: Cause) -> Option<(String, String)> {
    let server = ip(case.server().addr);
    if is_link_local(server) || server.is_loopback() || server.is_multicast() {
        return None;
    }
    let family = if server.is_ipv4() { "IPv4" } else { "IPv6" };
    let step = "on this host: ip -br addr; journalctl -b -u NetworkManager -u systemd-networkd; why no lease?";
    Some((without(case, server, cause, family).or_else(|| from_link_local(case))?, step.to_owned()))
}

/// No address of the family reaches farther than a link, as far as a failed call is concerned.
fn without(case: &Case<'_>, server: IpAddr, cause: Cause, family: &str) -> Option<String> {
    if !matches!(cause, Cause::NoRoute | Cause::NoLocalPort | Cause::ConnectFailed) {
        return None;
    }
    let own = case.local.own.as_ref().ok()?;
    let mut own = own.iter().filter(|address| address.is_ipv4() == server.is_ipv4() && !address.is_loopback());
    match own.clone().find(|address| !is_link_local(**address)) {
        Some(_) => None,
        None => Some(match own.next() {
            Some(address) => format!("this host's only {family} address, {address}, is link-local: it has no lease"),
            None => format!("this host has no {family} address but the loopback's"),
        }),
    }
}

/// The SYN went out from such an address, and nothing came back.
fn from_link_local(case: &Case<'_>) -> Option<String> {
    let client = ip(case.hs().client_addr);
    let is_lost = matches!(case.attempt.outcome, Outcome::NoReply | Outcome::Unreachable);
    (is_lost && case.is_here(Side::Client) && is_link_local(client))
        .then(|| format!("the SYN's own address, {client}, is link-local: no router forwards it, and it has no lease"))
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
