//! What to do next, by cause: one or two imperatives for the reader of a line, each short enough to stand under it.
//!
//! The one place of it: text, JSON, `diagnose` and docs/causes.md take their steps from here. It does not explain:
//! `tcptrace explain CAUSE` does. The table knows no address: `filled` fills in `{server}` and `{client}` (addresses),
//! `{port}` (the server's) and `{host}` (the sender of the ICMP error or the RST, or of the other answer; the server where
//! there is none).

use std::net::IpAddr;

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Side,
};
use tcptrace_vocabulary::{attempt::Attempt, cause::Cause, facts::Way, outcome::Outcome, words::ip};

use crate::case::Case;

/// The next steps, the most telling first; never empty.
#[must_use]
#[expect(clippy::too_many_lines, reason = "a table")]
pub const fn next(cause: Cause) -> &'static [&'static str] {
    match cause {
        Cause::PortClosed => &[
            "see who listens, on {server}: ss -ltnp 'sport = :{port}'; nobody: start the service",
            "if it listens on 127.0.0.1 or another port only, correct its address or the client's target",
        ],
        Cause::FirewallReject => &[
            "ask whoever runs {host}, which rejected it, to admit {client} to port {port}",
            "if {host} is the server itself, find the rule there: nft list ruleset | grep -n reject",
        ],
        Cause::FirewallDrop => &[
            "see whether SYNs arrive, on {server}: tcpdump -ni any 'tcp port {port} and host {client}'",
            "they do: find the rule there, nft list ruleset; they do not: find it on the way",
        ],
        Cause::HostDown => &[
            "ask on its own network: ip neigh show {host}; FAILED or INCOMPLETE: it is not on the link",
            "look at its console: power, link, address; a ping that fails proves nothing",
        ],
        Cause::NetworkUnreachable => &[
            "look at the route to {server} on {host}, the router that said so",
            "see how far it goes: traceroute -n -T -p {port} {server}",
        ],
        Cause::NoRouteOrLocalBlock => &[
            "ask this host's tables: ip route get {host}; then its rules: nft list ruleset",
            "see what counted it: nstat -az IpOutNoRoutes IpOutDiscards TcpExtTCPTimeouts",
        ],
        Cause::ListenQueueFull => &[
            "see the queue, on {server}: ss -ltnp 'sport = :{port}'; Recv-Q above Send-Q: it is full",
            "find why the service does not accept(); then raise its backlog and net.core.somaxconn",
        ],
        Cause::DroppedByLocalFirewall => &[
            "find the rule, on this host: nft -a list ruleset; iptables-save -c shows which one counts",
            "admit {client} to tcp dport {port} before the rule that drops",
        ],
        Cause::SynFlood => &[
            "check that cookies are on, on {server}: sysctl net.ipv4.tcp_syncookies (1)",
            "do not block single sources, they are forged as a rule; filter upstream if the link is full",
        ],
        Cause::ClientVanished => &[
            "see whether SYN/ACKs arrive, on {client}: tcpdump -ni any 'tcp port {port} and host {server}'",
            "they do not: ask for the way back, on {server}: ip route get {client}",
        ],
        Cause::AnswerLostLocally => &[
            "read the drop reason in the evidence; find the rule: nft list ruleset",
            "see whether it was taken for a forged source: nstat -az TcpExtIPReversePathFilter",
        ],
        Cause::AsymmetricPath => &[
            "trace the other way too: tcptrace -i IN -i OUT, both interfaces towards {server}",
            "if a stateful firewall stands on one way only, lead both ways through it",
        ],
        Cause::NatMismatch => &[
            "lead the replies of {host} back through what translates {server}, or translate the source",
            "see the translation there: conntrack -L -p tcp --dport {port}",
        ],
        Cause::PortReuse => &[
            "nothing, if the next SYN succeeded: the client's RST ended the old connection",
            "if it repeats, widen {client}'s net.ipv4.ip_local_port_range, or the NAT's between",
        ],
        Cause::MiddleboxReset => &[
            "capture at both ends: tcpdump -nvi any 'tcp port {port} and host {client}'; who sent the RST?",
            "no end did: look at the firewalls, proxies and load balancers between, by the RST's ttl",
        ],
        Cause::DuplicateIp => &[
            "count who answers, on its network: arping -c 3 -I INTERFACE {server}; two MACs: two hosts",
            "find the second MAC's switch port, and change that host's address",
        ],
        Cause::ApplicationGaveUp => &[
            "raise the client's connect timeout: above 3 s two lost SYNs no longer fail it",
            "then find who swallowed the SYNs: tcpdump -ni any 'tcp port {port} and host {client}'",
        ],
        Cause::HealthCheck => &["nothing: {client} looks whether port {port} is open, and hangs up"],
        Cause::OutOfMemory => &[
            "compare, on {server}: grep ^TCP /proc/net/sockstat (mem) with sysctl net.ipv4.tcp_mem",
            "find who holds it: ss -tmn; end what leaks, then raise net.ipv4.tcp_mem",
        ],
        Cause::Unknown => &[
            "trace at the other end as well: tcptrace host {client} and port {port}, on {server}",
            "see what the packets were: tcptrace -w FILE, or tcpdump -ni any 'tcp port {port}'",
        ],
    }
}

/// The next steps on one attempt.
#[must_use]
pub(super) fn of(case: &Case<'_>, cause: Cause) -> Vec<String> {
    match cause {
        Cause::Unknown if case.attempt.outcome == Outcome::NoReply && case.is_here(Side::Server) => {
            vec![
                "look at what else here takes packets: nft -a list ruleset, tc -s filter, nstat -az | grep -i drop"
                    .to_owned(),
            ]
        }
        Cause::Unknown => vec![settles(case.attempt).to_owned()],
        Cause::HostDown if case.is_forwarded() => {
            let (server, port) = (ip(case.server().addr), case.server().port);
            vec![format!(
                "see, on {server}, to whom it forwards port {port}: nft list ruleset | grep dnat; then look there"
            )]
        }
        Cause::NoRouteOrLocalBlock if let Some(steps) = on_own_way(case) => steps,
        Cause::NoRouteOrLocalBlock if case.is_here(Side::Server) => {
            filled(cause, case.server(), Some(case.hs().client_addr), Some(case.hs().client_addr))
        }
        Cause::NoRouteOrLocalBlock => filled(cause, case.server(), Some(case.hs().client_addr), None),
        // About the host that does not answer, and not about the sender of the error.
        Cause::HostDown => filled(cause, case.server(), Some(case.hs().client_addr), case.translated_to()),
        Cause::PortClosed
        | Cause::FirewallReject
        | Cause::FirewallDrop
        | Cause::NetworkUnreachable
        | Cause::ListenQueueFull
        | Cause::DroppedByLocalFirewall
        | Cause::SynFlood
        | Cause::ClientVanished
        | Cause::AnswerLostLocally
        | Cause::AsymmetricPath
        | Cause::NatMismatch
        | Cause::PortReuse
        | Cause::MiddleboxReset
        | Cause::DuplicateIp
        | Cause::ApplicationGaveUp
        | Cause::HealthCheck
        | Cause::OutOfMemory => {
            let host = case.attempt.icmp_from.or(case.attempt.answered_from);
            let elsewhere = || case.rejected_elsewhere().and_then(|(rejection, _)| rejection.from);
            filled(cause, case.server(), Some(case.hs().client_addr), host.or_else(elsewhere))
        }
    }
}

/// Where it is this host's own route, link or gateway that fails.
fn on_own_way(case: &Case<'_>) -> Option<Vec<String>> {
    let server = ip(case.server().addr);
    match &case.local.way {
        Ok(Way::Nowhere { .. }) => {
            return Some(vec![
                format!("see the route that decides: ip route get {server}; ip rule; ip route show table all"),
                format!("add a route to {server}, or correct the one that forbids it"),
            ]);
        }
        Ok(Way::Link { interface, up: true, carrier: false }) => {
            return Some(vec![format!("look at cable, switch port and driver: ip link show {interface}")]);
        }
        Ok(Way::Link { interface, up: false, .. }) => {
            return Some(vec![format!("see why it is down, and set it up: ip link set {interface} up")]);
        }
        Ok(Way::Link { .. }) | Err(_) => {}
    }
    Some(at_gateway(case.silent_gateway()?.address, server))
}

/// The steps where the gateway to a server does not answer on the link.
fn at_gateway(gateway: IpAddr, server: IpAddr) -> Vec<String> {
    vec![
        format!("see whether the gateway is on the link: ip neigh show {gateway}; FAILED or INCOMPLETE: it is not"),
        format!("see whether it is the right gateway: ip route get {server}"),
    ]
}

/// The steps of a cause, with their names filled in; `host` is the sender of the error or of the answer, where that was not
/// the server.
fn filled(cause: Cause, server: Endpoint, client: Option<Addr>, host: Option<Addr>) -> Vec<String> {
    let client = client.map_or_else(|| "this host".to_owned(), |client| ip(client).to_string());
    let fill = |text: &&str| {
        text.replace("{server}", &ip(server.addr).to_string())
            .replace("{host}", &ip(host.unwrap_or(server.addr)).to_string())
            .replace("{port}", &server.port.to_string())
            .replace("{client}", &client)
    };
    next(cause).iter().map(fill).collect()
}

/// The evidence that would tell, where there is none.
fn settles(attempt: &Attempt) -> &'static str {
    match attempt.outcome {
        Outcome::NoReply => "try another port of the same host, and trace there as well: silence has no sender",
        Outcome::Refused => "compare the RST's TTL with that of a SYN/ACK of the same host",
        Outcome::Unreachable => "ask whoever runs the router that sent the error",
        Outcome::Challenged => "look on the server for an older connection with these ports",
        Outcome::HalfOpen => "trace at the client: whether the SYN/ACK reaches it",
        Outcome::Aborted => "trace at the client: which process closed the socket, or whether it had one",
        Outcome::ResetOnAnswer => "trace at the server: whether it sent that RST",
        Outcome::WrongAnswer => "trace at the server: which SYN it answered",
        Outcome::Established | Outcome::Closed | Outcome::HalfClosed => {
            "trace at the other end as well: which of the two lost the first packets"
        }
        Outcome::ResetByClient | Outcome::ResetByServer => "trace where the RST comes from",
        Outcome::AnswerOnly | Outcome::Midstream => "trace where the SYN passes",
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, next};

    #[test]
    fn steps_are_short_and_have_known_placeholders() {
        for cause in Cause::ALL {
            let steps = next(*cause);
            assert!((1..=2).contains(&steps.len()), "{}", cause.name());
            for step in steps {
                assert!(step.chars().count() <= 100, "{}: {step}", cause.name());
                for rest in step.split('{').skip(1) {
                    let name = rest.split('}').next();
                    assert!(matches!(name, Some("server" | "port" | "client" | "host")), "{step}");
                }
            }
        }
    }
}
