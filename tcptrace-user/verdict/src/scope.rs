//! The reach of a failure, judged by what else worked around the same time.

use tcptrace_vocabulary::{
    cause::Cause,
    facts::Way,
    outcome::Outcome,
    scope::{Extent, Scope},
    words::{count, ip},
};

use crate::{
    case::Case,
    past::{Around, Counts, Host, network_name},
};

/// Ports or hosts that are named; of more the number is given.
const NAMED: usize = 4;

/// The scope of an attempt.
#[must_use]
pub(super) fn scope(case: &Case<'_>, cause: Cause) -> Scope {
    if let Some((extent, evidence)) = by_own_way(case, cause) {
        return Scope { extent, evidence: vec![evidence] };
    }
    // Without an address of its own the call cannot be held against those of this host that worked.
    if case.local.made == Ok(false) {
        return Scope { extent: Extent::Unknown, evidence: Vec::new() };
    }
    // A host that is down is no matter of one port, unless another than the server is down.
    let is_down = cause == Cause::HostDown && !case.is_forwarded() && case.translated_to().is_none();
    let within = if is_down { None } else { within_host(case) };
    let (extent, evidence) = within.unwrap_or_else(|| beyond_host(case, cause));
    Scope { extent, evidence: [evidence].into_iter().chain(tried_again(case)).collect() }
}

/// The other attempts to the same port that failed as well.
fn tried_again(case: &Case<'_>) -> Option<String> {
    let counts = case.host()?.port(case.server().port, case.at());
    let failed = counts.silent + counts.unreachable;
    let is_own = matches!(case.attempt.outcome, Outcome::NoReply | Outcome::Unreachable);
    let answered = counts.answered + counts.half_open + counts.refused;
    (is_own && failed > 1 && answered == 0)
        .then(|| format!("{failed} attempts to port {} failed, and none worked", case.server().port))
}

/// The evidence of this host's own routing and links: whatever goes the same way fails as well.
fn by_own_way(case: &Case<'_>, cause: Cause) -> Option<(Extent, String)> {
    if !matches!(cause, Cause::NoRoute | Cause::NoLocalPort | Cause::GatewayDown) {
        return None;
    }
    match &case.local.way {
        Ok(Way::Nowhere { .. }) => {
            return Some((Extent::Network, "its whole network has that route".to_owned()));
        }
        Ok(Way::Link { interface, up, carrier }) if !up || !carrier => {
            return Some((Extent::Everything, format!("nothing leaves by {interface}")));
        }
        Ok(Way::Link { .. } | Way::Many) | Err(_) => {}
    }
    if let Some(gateway) = case.silent_gateway() {
        return Some((Extent::Everything, format!("everything behind {} is out of reach", gateway.address)));
    }
    match case.local.call.ok()?.errno? {
        libc::EADDRNOTAVAIL if case.hs().client_port > 0 => {
            let (port, name) = (case.hs().client_port, ip(case.server().addr));
            Some((Extent::Attempt, format!("local port {port} alone is taken towards {name}")))
        }
        libc::EADDRNOTAVAIL => Some((Extent::Host, "this host has no port left for that address".to_owned())),
        libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTUNREACH | libc::EINVAL => {
            Some((Extent::Network, "this host refuses all of that route".to_owned()))
        }
        _ => None,
    }
}

/// The evidence of the host's own ports.
fn within_host(case: &Case<'_>) -> Option<(Extent, String)> {
    let (server, name) = (case.server(), ip(case.server().addr));
    let host = case.host()?;
    let answered = host.answered(case.hs(), case.attempt.outcome);
    if answered.own > 0 {
        return Some((Extent::Attempt, format!("port {} of {name} answered this client meanwhile", server.port)));
    }
    if answered.others > 0 {
        let others = count(answered.others as u64, "other client");
        return Some((Extent::Client, format!("port {} of {name} answered {others}", server.port)));
    }
    let ports = |wanted: fn(&Counts) -> bool| {
        let alive =
            host.ports(server.port, case.around()).filter(|(_, life, counts)| life.is_alive() && wanted(counts));
        alive.map(|(port, ..)| port).collect::<Vec<_>>()
    };
    let answering = ports(|it| it.answered + it.half_open > 0);
    if !answering.is_empty() {
        return Some((Extent::Port, format!("{name} answers on {}", list(&answering))));
    }
    let refusing = ports(|it| it.refused > 0);
    match (refusing.is_empty(), case.attempt.outcome == Outcome::Refused) {
        (true, _) => None,
        (false, true) => Some((Extent::Host, format!("{name} also refuses {}", list(&refusing)))),
        (false, false) => Some((Extent::Port, format!("{name} refuses {}", list(&refusing)))),
    }
}

/// The evidence of other hosts.
fn beyond_host(case: &Case<'_>, cause: Cause) -> (Extent, String) {
    let (addr, name) = (case.server().addr, ip(case.server().addr));
    if case.is_alive() && case.attempt.outcome != Outcome::HalfOpen {
        // A RST may be somebody else's: it does not show that the host is there.
        return (Extent::Port, format!("no other port of {name} answered then"));
    }
    let around = case.around();
    let (alive, others): (Vec<&Host>, Vec<&Host>) = case.past.network(addr).partition(|it| it.life(around).is_alive());
    let (answered, failing) = (alive.len(), others.iter().filter(|it| it.is_failing(around)).count());
    let network = network_name(addr);
    let (beyond, silent_beyond) = case.past.elsewhere(addr, around);
    // The same SYN to another address, translated, is no second witness.
    let (near, far) = silent_twin(case, around, &network);
    let (failing, silent_beyond) = (failing.saturating_sub(near), silent_beyond.saturating_sub(far));
    let hosts = |it: usize, what: &str| count(it as u64, &format!("{what}host"));
    match (answered, failing, beyond, silent_beyond) {
        (1.., ..) => {
            let only = if failing == 0 { format!("only {name} fails; ") } else { String::new() };
            (Extent::Host, format!("{only}{} of {network} answered", hosts(answered, "other ")))
        }
        (0, 1.., 1.., _) => (
            Extent::Network,
            format!("{} of {network} failed too; {} elsewhere answered", hosts(failing, "other "), hosts(beyond, "")),
        ),
        (0, 0, 1.., _) => {
            (Extent::Host, format!("{} elsewhere answered; no other of {network} did", hosts(beyond, "")))
        }
        (0, _, 0, 1..) => {
            (Extent::Everything, format!("nothing answered; {} elsewhere failed too", hosts(silent_beyond, "")))
        }
        (0, 1.., 0, 0) => {
            (Extent::Network, format!("{} of {network} failed too; nothing else answered", hosts(failing, "other ")))
        }
        (0, 0, 0, 0) => of_itself(case, cause),
    }
}

/// Whether the same SYN to another address is among the hosts that failed: in this network, and elsewhere.
fn silent_twin(case: &Case<'_>, around: Around, network: &str) -> (usize, usize) {
    let Some(twin) = case.past.twin(case.hs()) else { return (0, 0) };
    let host = case.past.host(twin.server.addr);
    let is_silent = host.is_some_and(|it| !it.life(around).is_alive() && it.is_failing(around));
    let is_near = network_name(twin.server.addr) == network;
    (usize::from(is_silent && is_near), usize::from(is_silent && !is_near))
}

/// The scope where no other host was tried: that of the cause itself, and the host's other ports.
fn of_itself(case: &Case<'_>, cause: Cause) -> (Extent, String) {
    let (name, port) = (ip(case.server().addr), case.server().port);
    let is_of_host = cause == Cause::HostDown && !case.is_forwarded() && case.translated_to().is_none();
    let failed = |counts: &Counts| counts.silent + counts.unreachable > 0;
    let ports = case.host().map(|host| host.ports(port, case.around()).filter(|(.., counts)| failed(counts)));
    let ports: Vec<_> = ports.into_iter().flatten().map(|(port, ..)| port).collect();
    if cause == Cause::NetworkUnreachable {
        (Extent::Network, format!("the error is about the way to {}", network_name(case.server().addr)))
    } else if !ports.is_empty() {
        (Extent::Host, format!("{name} also fails on {}; no other host answered", list(&ports)))
    } else if is_of_host {
        (Extent::Host, format!("{name} itself is away; nothing else answered or failed around then"))
    } else {
        (Extent::Unknown, "nothing else answered or failed around then".to_owned())
    }
}

fn list(ports: &[u16]) -> String {
    let named: Vec<_> = ports.iter().take(NAMED).map(ToString::to_string).collect();
    let more = ports.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} {}{more}", if ports.len() == 1 { "port" } else { "ports" }, named.join(", "))
}
