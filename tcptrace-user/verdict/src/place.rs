//! Where a next step's commands run: a step that speaks of "its netns" gets the way in, where that is known.
//!
//! The tracer's own network namespace needs none: such a step stays as the table has it.

use tcptrace_core::handshake::Side;
use tcptrace_vocabulary::{
    cause::Cause,
    facts::{Container, Netns, Process},
    words::ip,
};

use crate::case::Case;

/// The commands of next steps that look into the network namespace they run in.
const COMMANDS: [&str; 12] = [
    "conntrack",
    "ip",
    "iptables-save",
    "ipvsadm",
    "nft",
    "nstat",
    "ss",
    "sysctl",
    "tc",
    "tcpdump",
    "tcptrace",
    "traceroute",
];

/// The steps, each with the way into the network namespace of the end that it speaks of; and behind them the way into
/// the container of the service or the client, if it is for the application to act.
pub(super) fn placed(case: &Case<'_>, cause: Cause, steps: Vec<String>) -> Vec<String> {
    let place = |step: String| {
        phrases(case, cause).into_iter().fold(step, |step, (phrase, within)| {
            within.and_then(|within| inside(&step, &phrase, within)).unwrap_or(step)
        })
    };
    steps.into_iter().map(place).chain(into_container(case, cause)).collect()
}

/// How steps speak of the network namespace of an end, and that namespace where it is known and not the tracer's own.
fn phrases<'a>(case: &Case<'a>, cause: Cause) -> [(String, Option<&'a Netns>); 7] {
    let (client, server) = (ip(case.hs().client_addr), ip(case.server().addr));
    let of = |side| {
        let local: &'a _ = case.local;
        let netns = match side {
            Side::Client => &local.client_netns,
            Side::Server => &local.server_netns,
        };
        netns.as_ref().ok().and_then(Option::as_ref).filter(|_| case.is_here(side))
    };
    let is_way = matches!(cause, Cause::NoRoute | Cause::GatewayDown);
    let sender = if is_way && case.is_here(Side::Server) { Side::Server } else { Side::Client };
    [
        (format!("on {server}, in its netns"), of(Side::Server)),
        ("on the server, in its netns".to_owned(), of(Side::Server)),
        ("on this host, in the server's netns".to_owned(), of(Side::Server)),
        (format!("on {client}, in its netns"), of(Side::Client)),
        ("on this host, in the client's netns".to_owned(), of(Side::Client)),
        ("in the client's netns".to_owned(), of(Side::Client)),
        ("on this host, in the sender's netns".to_owned(), of(sender)),
    ]
}

/// A step whose commands get the way in, where it speaks of this place; `None`: it does not.
pub(super) fn inside(step: &str, phrase: &str, within: &Netns) -> Option<String> {
    let (before, after) = step.split_once(phrase)?;
    let (between, commands) = after.split_once(": ")?;
    // `ip netns exec web` names it already.
    let word = within.name.rsplit(' ').next().unwrap_or_default();
    let is_named = within.enter.split(' ').any(|it| it == word);
    let place = if is_named { String::new() } else { format!(", in {}", within.name) };
    let commands: Vec<_> = commands.split("; ").map(|command| entered(command, within)).collect();
    Some(format!("{before}on this host{place}{between}: {}", commands.join("; ")))
}

/// A command with the way in before it; other words stay as they are.
fn entered(command: &str, within: &Netns) -> String {
    let is_command = command.split(' ').next().is_some_and(|it| COMMANDS.contains(&it));
    if is_command { format!("{} {command}", within.enter) } else { command.to_owned() }
}

/// The way into the container of the application that has to act.
fn into_container(case: &Case<'_>, cause: Cause) -> Option<String> {
    let service = || {
        let listener = case.listener().and_then(|it| it.process.as_ref().ok());
        let service = case.local.service.as_ref().ok().and_then(Option::as_ref).filter(|it| it.listens);
        listener.or_else(|| service.map(|it| &it.process))
    };
    let process: &Process = match cause {
        Cause::PortClosed | Cause::ListenQueueFull | Cause::NoBackend => service()?,
        Cause::ApplicationGaveUp | Cause::ConnectFailed | Cause::NoLocalPort => case.local.process.as_ref().ok()?,
        Cause::FirewallReject
        | Cause::FirewallDrop
        | Cause::HostDown
        | Cause::NetworkUnreachable
        | Cause::NoRoute
        | Cause::GatewayDown
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
        | Cause::HealthCheck
        | Cause::OptionsBlocked
        | Cause::OutOfMemory
        | Cause::Unknown => return None,
    };
    let container: &Container = process.container.as_ref()?;
    let enter = container.enter.as_ref()?;
    Some(format!("on this host, to look into {}: {enter} sh", container.words()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_way_in() {
        let netns = Netns { name: "netns web".to_owned(), enter: "ip netns exec web".to_owned() };
        let container = Netns { name: "container web-1".to_owned(), enter: "nsenter -t 812 -n".to_owned() };
        let process = Netns { name: "the netns of process 812".to_owned(), enter: "nsenter -t 812 -n".to_owned() };
        let its = "on 203.0.113.2, in its netns";
        let ss = "on 203.0.113.2, in its netns: ss -ltnp 'sport = :80'; no line: start the service";
        for (step, phrase, within, expected) in [
            (
                ss,
                its,
                &netns,
                Some("on this host: ip netns exec web ss -ltnp 'sport = :80'; no line: start the service"),
            ),
            (
                ss,
                its,
                &container,
                Some(
                    "on this host, in container web-1: nsenter -t 812 -n ss -ltnp 'sport = :80'; no line: start the service",
                ),
            ),
            (
                ss,
                its,
                &process,
                Some("on this host: nsenter -t 812 -n ss -ltnp 'sport = :80'; no line: start the service"),
            ),
            (ss, "on 203.0.113.20, in its netns", &netns, None),
            ("on 203.0.113.2, in its netns, look around", its, &netns, None),
            (
                "no: on 203.0.113.2, in its netns, check the way back: ip route get 198.51.100.2",
                its,
                &netns,
                Some("no: on this host, check the way back: ip netns exec web ip route get 198.51.100.2"),
            ),
            (
                "on this host, in the netns that drops: nft -a list ruleset; iptables-save -c has counts",
                "on this host, in the netns that drops",
                &netns,
                Some(
                    "on this host: ip netns exec web nft -a list ruleset; ip netns exec web iptables-save -c has counts",
                ),
            ),
        ] {
            assert_eq!(inside(step, phrase, within).as_deref(), expected, "{step}");
        }
    }
}
