//! What to do next, by cause: one or two imperatives for whoever reads the line, each short enough to stand under it.
//!
//! Does not explain: `tcptrace explain CAUSE` does. Does not know addresses: whoever prints a step fills in `{server}`
//! and `{client}` (addresses), `{port}` (the server's) and `{host}` (who sent the ICMP error or the RST, or answered
//! instead; the server where nobody did).

use tcptrace_vocabulary::cause::Cause;

/// The next steps, the most telling first; never empty.
#[must_use]
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
