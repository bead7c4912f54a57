//! The next steps, by cause: one or two, each short enough to stand under a line. A step names the machine, the network
//! namespace ("netns") where that matters, and the party that has to act.
//!
//! All next steps are here: text, JSON, `diagnose` and docs/causes.md take theirs from this table. It does not explain:
//! `tcptrace explain CAUSE` does. The table knows no address: `filled` fills in `{server}` and `{client}` (addresses),
//! `{port}` (the server's) and `{host}` (the sender of the ICMP error or the RST, or of the other answer; the server
//! where there is none).

use std::net::IpAddr;

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::{Facts, Side},
};
use tcptrace_vocabulary::{
    attempt::{Attempt, Checksums},
    cause::Cause,
    facts::{Apart, Dropped, Neighbour, Netns, Suspect, Way},
    outcome::Outcome,
    words::ip,
};

use crate::{
    case::{Case, Part, is_firewall_reason},
    observed, place,
    rules::serves_others,
};

/// The next steps, the most telling first; never empty.
#[must_use]
#[expect(clippy::too_many_lines, reason = "a table")]
pub const fn next(cause: Cause) -> &'static [&'static str] {
    match cause {
        Cause::PortClosed => &[
            "on {server}, in its netns: ss -ltnp 'sport = :{port}'; no line: start the service",
            "only 127.0.0.1 or another port listens: correct the service's address, or the client's target",
        ],
        Cause::FirewallReject => &[
            "ask the admin of {host}, which rejected it, to admit {client} to port {port}",
            "on {host}, in each netns: nft -a list ruleset | grep -n reject",
        ],
        Cause::FirewallDrop => &[
            "on {server}, in its netns: tcpdump -ni any 'tcp port {port} and host {client}'; do SYNs arrive?",
            "yes: find the rule there, nft list ruleset; no: ask the admins of the firewalls on the way",
        ],
        Cause::HostDown => &[
            "on its last router: ip neigh show {host}; FAILED or INCOMPLETE: it is not on the link",
            "at its console: power, link, address; a ping that fails proves nothing",
        ],
        Cause::NetworkUnreachable => &[
            "ask the admin of {host}, the router that said so, for its route to {server}",
            "in the client's netns: traceroute -n -T -p {port} {server}",
        ],
        Cause::NoRoute => &[
            "on this host, in the sender's netns: ip route get {host}; ip rule; ip route show table all",
            "there: add a route to {host}, or correct the one that forbids it",
        ],
        Cause::NoLocalPort => &[
            "on this host, in the client's netns: ss -tan dst {server} | wc -l; sysctl -a | grep port_range",
            "let the client keep its connections; or widen net.ipv4.ip_local_port_range there",
        ],
        Cause::ConnectFailed => &[
            "on this host: strace -f -e trace=socket,bind,connect -p PID; the errno of the call",
            "EPERM: bpftool cgroup tree; EACCES: ausearch -m avc -ts recent",
        ],
        Cause::GatewayDown => &[
            "on this host, in the sender's netns: ip route get {host}; ip neigh; is the gateway FAILED?",
            "at the gateway's console: power, link, address",
        ],
        Cause::ListenQueueFull => &[
            "on {server}, in its netns: ss -ltnp 'sport = :{port}'; Recv-Q above Send-Q: the queue is full",
            "find out why the service does not accept(); then raise its backlog and net.core.somaxconn",
        ],
        Cause::SynQueueFull => &[
            "on {server}, in its netns: nstat -az TcpExtTCPReqQFullDrop; sysctl net.ipv4.tcp_syncookies",
            "there: sysctl -w net.ipv4.tcp_syncookies=1; real clients: raise net.ipv4.tcp_max_syn_backlog",
        ],
        Cause::DroppedByLocalFirewall => &[
            "on this host, in the netns that drops: nft -a list ruleset; iptables-save -c has counts",
            "there, admit {client} to tcp dport {port} before the rule that drops",
        ],
        Cause::ConntrackFull => &[
            "on this host, in the netns that drops: conntrack -C; sysctl net.netfilter.nf_conntrack_max",
            "raise that maximum, or find what fills it: conntrack -L",
        ],
        Cause::NatExhausted => &[
            "on this host, in the netns that translates: conntrack -S; conntrack -L -p tcp -d {server}",
            "translate to more addresses, or let the clients reuse their connections",
        ],
        Cause::ReversePathFilter => &[
            "on this host, in the netns that drops: ip route get {client} from {server}; sysctl -ar rp_filter",
            "add the route back by that interface, or set its rp_filter to 2",
        ],
        Cause::BadChecksum => &[
            "on this host: nstat -az TcpInCsumErrors UdpInCsumErrors; which of them grows?",
            "on the sender: ethtool -k INTERFACE; then try: ethtool -K INTERFACE tx off",
        ],
        Cause::SynFlood => &[
            "on {server}, in its netns: sysctl net.ipv4.tcp_syncookies; 0: set it to 1",
            "do not block single sources: most are forged; if the link is full, ask the provider to filter",
        ],
        Cause::ClientVanished => &[
            "on {client}, in its netns: tcpdump -ni any 'tcp port {port} and host {server}'; any SYN/ACK?",
            "no: on {server}, in its netns, check the way back: ip route get {client}",
        ],
        Cause::AnswerLostLocally => &[
            "on this host, in the client's netns: nft -a list ruleset; which rule drops SYN/ACKs?",
            "there: nstat -az TcpExtIPReversePathFilter; if it grows, correct the route back",
        ],
        Cause::AsymmetricPath => &[
            "on this host: tcptrace -i IN -i OUT, with every interface that leads to {server}",
            "if a stateful firewall is on one way only, ask the network's admin to lead both through it",
        ],
        Cause::NatMismatch => &[
            "on {host}: route replies back through the NAT for {server}; or translate the source there",
            "on the NAT, in its netns: conntrack -L -p tcp --dport {port}",
        ],
        Cause::PortReuse => &[
            "nothing, if the next SYN worked: the client's RST ended the old connection",
            "if it repeats, widen net.ipv4.ip_local_port_range on {client}, or the ports of the NAT between",
        ],
        Cause::MiddleboxReset => &[
            "at both ends: tcpdump -nvi any 'tcp port {port} and host {client}'; which of them sent the RST?",
            "neither: ask the admin of the firewall, proxy or load balancer at the distance of its TTL",
        ],
        Cause::DuplicateIp => &[
            "on a host of its network: arping -c 3 -I INTERFACE {server}; two MACs: two hosts",
            "ask the network's admin for the switch port of the second MAC; readdress that host",
        ],
        Cause::ApplicationGaveUp => &[
            "on {client}: raise the application's connect timeout; above 3 s it survives two lost SYNs",
            "on {server}, in its netns: tcpdump -ni any 'tcp port {port} and host {client}'; do SYNs arrive?",
        ],
        Cause::HealthCheck => &["nothing: {client} only checks whether port {port} is open"],
        Cause::OptionsBlocked => &[
            "on {client}: sysctl net.mptcp.enabled net.ipv4.tcp_ecn net.ipv4.tcp_fastopen; which one is on?",
            "ask the admin of the firewall or load balancer before {server} to let that option pass",
        ],
        Cause::NoBackend => &[
            "on {server}, in its netns: ss -ltnp 'sport = :{port}'; a proxy? then check what is behind it",
            "Docker: docker ps; Kubernetes: kubectl get endpointslices -A",
        ],
        Cause::OutOfMemory => &[
            "on this host: compare mem in /proc/net/sockstat with sysctl net.ipv4.tcp_mem",
            "in each netns: ss -tmnp; stop the program that holds it, or raise net.ipv4.tcp_mem",
        ],
        Cause::Unknown => &[
            "on {server}, in its netns: tcptrace host {client} and port {port}",
            "on this host, keep the packets: tcptrace -w FILE, or tcpdump -ni any 'tcp port {port}'",
        ],
    }
}

/// The next steps on one attempt.
#[must_use]
pub(super) fn of(case: &Case<'_>, cause: Cause) -> Vec<String> {
    place::placed(case, cause, steps(case, cause))
}

/// The steps, without the way into the network namespace of an end.
fn steps(case: &Case<'_>, cause: Cause) -> Vec<String> {
    match cause {
        Cause::Unknown => settling(case),
        Cause::NatMismatch if let Some(steps) = at_translation(case) => steps,
        // No SYN was lost, and a longer timeout changes nothing.
        Cause::ApplicationGaveUp if case.attempt.outcome == Outcome::Aborted => {
            let client = ip(case.hs().client_addr);
            vec![format!("on {client}: find out why the application closes the socket; tcptrace names the process")]
        }
        // The SYN/ACKs are what does not arrive.
        Cause::FirewallDrop if case.is_here(Side::Server) && case.asks_on() => {
            filled(Cause::ClientVanished, case.server(), Some(case.hs().client_addr), None)
        }
        Cause::PortClosed if let Some(steps) = at_bound_listener(case) => steps,
        Cause::FirewallReject if case.is_own_error() && case.suspects().is_empty() => at_own_error(case),
        Cause::FirewallReject | Cause::NetworkUnreachable if let Some(steps) = at_this_router(case, cause) => steps,
        // The address that two hosts have is the client's.
        Cause::DuplicateIp if case.attempt.noted.reset_by_another.is_some() => {
            filled(cause, case.hs().client(), None, None)
        }
        Cause::OptionsBlocked if case.attempt.noted.echo.is_some() => at_timestamps(case),
        Cause::BadChecksum if case.attempt.noted.sums != Checksums::default() => at_checksums(case),
        Cause::NoRoute | Cause::GatewayDown | Cause::NoLocalPort | Cause::ConnectFailed => of_own_way(case, cause),
        Cause::DroppedByLocalFirewall
        | Cause::FirewallReject
        | Cause::ReversePathFilter
        | Cause::ConntrackFull
        | Cause::NatExhausted
            if let Some(steps) = where_dropped(case, cause) =>
        {
            steps
        }
        Cause::HostDown => of_absent_host(case),
        Cause::PortClosed
        | Cause::FirewallReject
        | Cause::FirewallDrop
        | Cause::NetworkUnreachable
        | Cause::ListenQueueFull
        | Cause::SynQueueFull
        | Cause::DroppedByLocalFirewall
        | Cause::ConntrackFull
        | Cause::NatExhausted
        | Cause::ReversePathFilter
        | Cause::BadChecksum
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
        | Cause::OptionsBlocked
        | Cause::NoBackend
        | Cause::OutOfMemory => {
            let host = case.attempt.icmp_from.or(case.attempt.answered_from);
            let elsewhere = || case.rejected_elsewhere().and_then(|(rejection, _)| rejection.from);
            filled(cause, case.server(), Some(case.hs().client_addr), host.or_else(elsewhere))
        }
    }
}

/// The steps where a host is away: about that host, and not about the sender of the error.
fn of_absent_host(case: &Case<'_>) -> Vec<String> {
    let (client, server, port) = (ip(case.hs().client_addr), ip(case.server().addr), case.server().port);
    if case.is_forwarded() {
        return vec![format!("on {server}: nft list ruleset | grep dnat; then check the host that gets port {port}")];
    }
    if case.is_own_error() && !case.is_here(Side::Client) {
        return vec![format!("on {client}: ip route get {server}; ip neigh; is the next hop FAILED or INCOMPLETE?")];
    }
    let cause = Cause::HostDown;
    let steps = at_this_router(case, cause);
    steps.unwrap_or_else(|| filled(cause, case.server(), Some(case.hs().client_addr), case.translated_to()))
}

/// The steps where this host itself had no way for the packet.
fn of_own_way(case: &Case<'_>, cause: Cause) -> Vec<String> {
    let (server, client) = (case.server(), case.hs().client_addr);
    let is_way = matches!(cause, Cause::NoRoute | Cause::GatewayDown);
    if is_way && let Some(steps) = on_own_way(case) {
        return steps;
    }
    if cause == Cause::ConnectFailed && case.local.way == Ok(Way::Many) {
        return vec!["in the application: name one host; TCP has no broadcast and no multicast".to_owned()];
    }
    if cause == Cause::NoLocalPort && case.local.made == Ok(false) && case.hs().client_port > 0 {
        let (addr, port) = (ip(server.addr), case.hs().client_port);
        return vec![
            format!("on this host, in the client's netns: ss -tanp 'sport = :{port} and dst {addr}'"),
            "let the client leave the port to the kernel, or end the connection that has it".to_owned(),
        ];
    }
    if cause == Cause::ConnectFailed
        && let Ok(process) = &case.local.process
    {
        let pid = format!("-p {}", process.pid);
        return filled(cause, server, Some(client), None).iter().map(|it| it.replace("-p PID", &pid)).collect();
    }
    // On the server, the way that fails is the answer's.
    let host = (is_way && case.is_here(Side::Server)).then_some(client);
    filled(cause, server, Some(client), host)
}

/// The steps where a rule or a limit of this host dropped or rejected it, if it is known where.
fn where_dropped(case: &Case<'_>, cause: Cause) -> Option<Vec<String>> {
    let is_rule = matches!(cause, Cause::DroppedByLocalFirewall | Cause::FirewallReject);
    if !is_rule {
        return Some(inside(filled(cause, case.server(), Some(case.hs().client_addr), None), case.dropped_within()?));
    }
    at_the_rule(case).or_else(|| {
        let rejects = cause == Cause::FirewallReject;
        let is_own = keeps_its_syn(case) && (!rejects || case.local.made == Ok(true));
        is_own.then(|| admit_own_syn(case, if rejects { "rejects" } else { "drops" }))
    })
}

/// The steps where both halves of a translated SYN were seen: about the address that was asked, and the one that
/// answered.
fn at_translation(case: &Case<'_>) -> Option<Vec<String>> {
    let own = case.server();
    let twin = case.past.twin(case.hs()).filter(|_| case.attempt.answered_from.is_none())?.server;
    let (asked, answers) = if case.hs().answer.tries > 0 { (twin, own) } else { (own, twin) };
    Some(filled(Cause::NatMismatch, asked, Some(case.hs().client_addr), Some(answers.addr)))
}

/// The steps in the network namespace that dropped it: the table's, with the way in for their commands.
fn inside(steps: Vec<String>, within: &Netns) -> Vec<String> {
    const HERE: [&str; 2] = ["on this host, in the netns that drops", "on this host, in the netns that translates"];
    let step = |step: String| HERE.iter().find_map(|here| place::inside(&step, here, within)).unwrap_or(step);
    steps.into_iter().map(step).collect()
}

/// The steps where a rule or policy of this host is known that can have done it.
fn at_the_rule(case: &Case<'_>) -> Option<Vec<String>> {
    let Suspect { family, table, chain, grew, .. } = case.suspects().first()?;
    let enter = case.dropped_within().map(|within| format!("{} ", within.enter)).unwrap_or_default();
    // One whose counter grew did it; of the others each may have.
    let known = if grew.is_some() { 1 } else { case.suspects().len() };
    let is_there = |it: &&Suspect| (&it.table, &it.chain) == (table, chain);
    let rules: Vec<_> = case.suspects()[..known].iter().filter(is_there).map(|it| rule_of(it.handle)).collect();
    let rule = rules.join(" or ");
    let (client, port) = (ip(case.hs().client_addr), case.server().port);
    Some(vec![
        format!("on this host: {enter}nft -a list chain {family} {table} {chain}; see {rule}"),
        format!("there, admit {client} to tcp dport {port} before it"),
    ])
}

fn rule_of(handle: Option<u64>) -> String {
    handle.map_or_else(|| "its policy".to_owned(), |handle| format!("handle {handle}"))
}

/// Whether the SYN never got out of the client's own network namespace.
fn keeps_its_syn(case: &Case<'_>) -> bool {
    case.is_here(Side::Client) && (case.never_left() || case.dropped_on_its_way_out(Side::Client).is_some())
}

/// The steps where the listener takes SYNs of another interface, or none of a VRF.
fn at_bound_listener(case: &Case<'_>) -> Option<Vec<String>> {
    let apart = case.listener()?.apart.as_ref()?;
    let port = case.server().port;
    let see = format!("on this host, in the server's netns: ss -ltnp 'sport = :{port}'; % names the interface");
    Some(match apart {
        Apart::Interface(_) => vec![see, "let the service listen on the interface that the SYN came in by".to_owned()],
        Apart::Vrf(name) => vec![see, format!("start the service in the VRF: ip vrf exec {name}")],
    })
}

/// The steps where this host itself rejects its own SYN, and no rule was found that does.
fn at_own_error(case: &Case<'_>) -> Vec<String> {
    let (server, port) = (ip(case.server().addr), case.server().port);
    let itself = if case.is_here(Side::Client) { "this host, in the client's netns".to_owned() } else { case.itself() };
    vec![
        format!("on {itself}: nft -a list ruleset; which rule rejects tcp to {server}:{port}?"),
        format!("there, no rule: ipvsadm -Ln; ip route get {server}; a tunnel: wg show, ip xfrm state"),
    ]
}

/// The steps where this host itself, as a router or as the server's, said that it does not pass the SYN on: it is the
/// one to look at, and no other party is to be asked. A rule that is known has steps of its own.
fn at_this_router(case: &Case<'_>, cause: Cause) -> Option<Vec<String>> {
    let unnamed = Netns { name: String::new(), enter: String::new() };
    let within = match &case.local.error_from {
        Ok(within) if case.is_error_of_this_host() => within.as_ref(),
        Ok(_) | Err(_) if case.no_route_to_forward_by().is_some() => case.dropped_within(),
        Ok(_) | Err(_) => return None,
    };
    let Netns { enter, .. } = within.unwrap_or(&unnamed);
    let enter = if enter.is_empty() { String::new() } else { format!("{enter} ") };
    let (client, server, port) = (ip(case.hs().client_addr), ip(case.server().addr), case.server().port);
    let routes = format!("on this host: {enter}ip route get {server} from {client} iif INTERFACE; ip rule");
    if cause == Cause::HostDown {
        let steps = vec![
            format!("on this host: {enter}ip neigh show {server}; FAILED or INCOMPLETE: it is not on the link"),
            format!("at the console of {server}: power, link, address; a ping that fails proves nothing"),
        ];
        return Some(steps);
    }
    if cause == Cause::NetworkUnreachable {
        let table = format!("there: {enter}ip route show table all; correct the route to {server}, or add one");
        return Some(vec![routes, table]);
    }
    case.suspects().is_empty().then(|| {
        vec![
            format!("{routes}; unreachable, prohibit: correct that route"),
            format!("no such route: {enter}nft -a list ruleset; which rule rejects tcp to {server}:{port}?"),
        ]
    })
}

/// The steps where a SYN/ACK echoes a timestamp that its SYN never had.
fn at_timestamps(case: &Case<'_>) -> Vec<String> {
    let (client, server, port) = (ip(case.hs().client_addr), ip(case.server().addr), case.server().port);
    vec![
        format!("at both ends: tcpdump -ni any 'tcp port {port} and host {client}'; compare TS val and ecr of the SYN"),
        format!("they differ: ask the admin of the firewall or load balancer before {server}; the same: its TCP stack"),
    ]
}

/// The steps where a capture shows wrong checksums: the receiver counts them, the sender's card makes them.
fn at_checksums(case: &Case<'_>) -> Vec<String> {
    let (client, server) = (ip(case.hs().client_addr), ip(case.server().addr));
    let is_syn = case.attempt.noted.sums.syns.are_all_wrong();
    let (sender, receiver) = if is_syn { (client, server) } else { (server, client) };
    vec![
        format!("on {receiver}: nstat -az TcpInCsumErrors UdpInCsumErrors; which of them grows?"),
        format!("on {sender}, or where its tunnel begins: ethtool -K INTERFACE tx off; does it work then?"),
    ]
}

/// The steps where rules of the client's own host keep its SYN.
fn admit_own_syn(case: &Case<'_>, does: &str) -> Vec<String> {
    let (server, port) = (ip(case.server().addr), case.server().port);
    vec![
        format!("on this host, in the client's netns: nft -a list ruleset; which rule {does} tcp to {server}:{port}?"),
        format!("there, admit tcp dport {port} in the chain of hook output, before the rule that {does}"),
    ]
}

/// The steps where this host's own route, link or gateway fails.
fn on_own_way(case: &Case<'_>) -> Option<Vec<String>> {
    let server = ip(case.server().addr);
    match &case.local.way {
        Ok(Way::Nowhere { .. }) => {
            return Some(vec![
                format!("on this host, in the client's netns: ip route get {server}; ip rule; ip route show table all"),
                format!("there: add a route to {server}, or correct the one that forbids it"),
            ]);
        }
        Ok(Way::Link { interface, up: true, carrier: false }) => {
            return Some(vec![format!("on this host, check cable, switch port and driver: ip link show {interface}")]);
        }
        Ok(Way::Link { interface, up: false, .. }) => {
            return Some(vec![format!("on this host, find out why it is down; then: ip link set {interface} up")]);
        }
        Ok(Way::Link { .. } | Way::Many) | Err(_) => {}
    }
    Some(at_gateway(case.silent_gateway()?.address, server))
}

/// The steps where the gateway to a server does not answer on the link.
fn at_gateway(gateway: IpAddr, server: IpAddr) -> Vec<String> {
    vec![
        format!("on this host: ip neigh show {gateway}; FAILED or INCOMPLETE: the gateway is not on the link"),
        format!("on this host: ip route get {server}; is it the right gateway?"),
    ]
}

/// The steps of a cause, with their names filled in; `host` is the sender of the error or of the answer, where that was
/// not the server.
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

/// The steps that would decide, where the evidence does not.
fn settling(case: &Case<'_>) -> Vec<String> {
    let (hs, outcome) = (case.hs(), case.attempt.outcome);
    let (client, server, port) = (ip(hs.client_addr), ip(hs.server_addr), hs.server_port);
    if outcome == Outcome::NoReply && case.is_here(Side::Server) {
        return vec![match case.drop_of(Part::Syn, |reason| !is_firewall_reason(reason)) {
            Some(Dropped { reason, .. }) => {
                format!("on this host, no rule is to blame: {reason} is why; nstat -az has its counter")
            }
            None => "on this host, in the server's netns: nft -a list ruleset; tc -s filter; nstat -az | grep -i drop"
                .to_owned(),
        }];
    }
    if outcome == Outcome::NoReply && case.past.clock_ahead(hs, &case.attempt.noted).is_some() {
        return vec![
            format!(
                "on {server}: nstat -az | grep PAWS; sysctl net.ipv4.tcp_tw_recycle (before Linux 4.12); set it to 0"
            ),
            format!(
                "several machines behind {client}: sysctl -w net.ipv4.tcp_timestamps=0 on them; does it work then?"
            ),
        ];
    }
    if outcome == Outcome::NoReply && case.local.neighbour.as_ref().is_ok_and(|it| is_fixed_elsewhere(it.as_ref())) {
        return vec!["on this host: ip neigh show nud permanent; delete the entry that is out of date".to_owned()];
    }
    if outcome == Outcome::NoReply && hs.ignored_resets() > 0 {
        return vec![
            format!("on {server}: which TCP stack answers port {port}? its RST has to acknowledge ISN + 1"),
            format!("its stack is right: ask who rewrites sequence numbers between {client} and {server}"),
        ];
    }
    if matches!(outcome, Outcome::HalfOpen | Outcome::ResetOnAnswer) && hs.facts.any(Facts::ACK_IGNORED) {
        return vec![
            format!("at both ends: tcpdump -Sni any 'tcp port {port} and host {client}'; compare the numbers"),
            "they differ: ask the admin of the firewall that rewrites sequence numbers on one way only".to_owned(),
        ];
    }
    if outcome == Outcome::NoReply && case.host().is_some_and(|it| it.answered(hs, outcome).own > 0) {
        return vec![
            format!(
                "on each NAT: conntrack -L -p tcp -s {client} --sport {} -d {server} --dport {port}",
                hs.client_port
            ),
            "an old entry: delete it (-D); none: one of several equal paths (ECMP) or backends drops it".to_owned(),
        ];
    }
    if serves_others(case).is_some() {
        return vec![
            format!("on {server}, in its netns: ss -ltn 'sport = :{port}'; a full backlog refuses on Windows, lwIP"),
            format!("several hosts behind {server}: check port {port} on each of them"),
        ];
    }
    let again = || format!("was the capture filtered by flags? again: tcpdump -ni any 'tcp port {port}' -w FILE");
    let filtered = observed::filtered(case).map(|_| again());
    [settles(case.attempt).to_owned()].into_iter().chain(filtered).collect()
}

/// Whether an administrator set a neighbour's entry, and the neighbour has another link-layer address.
fn is_fixed_elsewhere(neighbour: Option<&Neighbour>) -> bool {
    neighbour.is_some_and(|it| it.is_fixed && it.link_addresses.len() > 1)
}

/// The step for an outcome of which nothing more is known.
fn settles(attempt: &Attempt) -> &'static str {
    match attempt.outcome {
        Outcome::NoReply => "try another port of the server, and run tcptrace there: silence has no sender",
        Outcome::Refused => "compare the RST's TTL with that of a SYN/ACK of the same host",
        Outcome::Unreachable => "ask the admin of the router that sent the error",
        Outcome::Challenged => "on the server, in its netns: ss -tan; is there an older connection with these ports?",
        Outcome::HalfOpen => "run tcptrace on the client: does the SYN/ACK reach it?",
        Outcome::Aborted => "run tcptrace on the client: it names the process that closed the socket",
        Outcome::ResetOnAnswer => "run tcptrace on the server: did it send that RST?",
        Outcome::WrongAnswer => "run tcptrace on the server: which SYN did it answer?",
        Outcome::Established | Outcome::Closed | Outcome::HalfClosed => {
            "run tcptrace at the other end as well: which packets did it send, and when?"
        }
        Outcome::ResetByClient | Outcome::ResetByServer => "run tcptrace where the RST comes from",
        Outcome::AnswerOnly | Outcome::Midstream => "run tcptrace where the SYN passes",
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
