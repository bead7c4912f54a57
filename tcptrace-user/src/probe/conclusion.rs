//! The conclusion: a pure function of the findings.
//!
//! The judge has a verdict on each port of each address; the most telling one is the conclusion's. Silence is never
//! taken for an answer, and a step that was not done is never taken for silence.

use std::{net::IpAddr, time::Duration};

use tcptrace_vocabulary::{
    cause::{Cause, Confidence},
    scope::Extent,
    verdict::Verdict,
};

use super::{
    case,
    diagnosis::{Diagnosis, DnsFailure, MtuFound, Names, Probed, Tried, Way},
};

/// Whether it can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every port that was asked for, over every address.
    Reachable,
    /// Every port, but not over every address.
    Partly,
    Unreachable,
    /// The name has no address.
    Unresolved,
    /// It was ended before that was clear.
    Unfinished,
}

impl Reach {
    /// The word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Partly => "partly",
            Self::Unreachable => "unreachable",
            Self::Unresolved => "unresolved",
            Self::Unfinished => "unfinished",
        }
    }
}

/// The verdict: why, how sure, how far, on what evidence, and what to do next.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    pub reach: Reach,
    pub cause: Option<Cause>,
    pub confidence: Option<Confidence>,
    pub scope: Option<Extent>,
    /// The one that the cause is of.
    pub port: Option<u16>,
    pub address: Option<IpAddr>,
    /// The errno that its socket got; 0 stands for none that came in time.
    pub errno: Option<i32>,
    /// The host that rejects, or the last router that spoke.
    pub by: Option<IpAddr>,
    pub headline: String,
    pub evidence: Vec<String>,
    pub next: Option<String>,
    /// Other findings that are worth knowing.
    pub notes: Vec<String>,
}

impl Conclusion {
    fn plain(reach: Reach, headline: String) -> Self {
        Self {
            reach,
            cause: None,
            confidence: None,
            scope: None,
            port: None,
            address: None,
            errno: None,
            by: None,
            headline,
            evidence: Vec::new(),
            next: None,
            notes: Vec::new(),
        }
    }

    fn of(reach: Reach, judged: Judged<'_>) -> Self {
        Self {
            reach,
            cause: Some(judged.verdict.cause),
            confidence: Some(judged.verdict.confidence),
            scope: Some(judged.verdict.scope.extent),
            port: Some(judged.port),
            address: Some(judged.at.address),
            errno: Some(judged.errno),
            by: case::by(judged.at, judged.port),
            headline: headline(&judged.verdict, &judged.at.name(), judged.port),
            next: judged.next(),
            evidence: judged.verdict.evidence,
            notes: Vec::new(),
        }
    }
}

/// The judge's verdict on one port of one address.
struct Judged<'a> {
    at: &'a Probed,
    port: u16,
    errno: i32,
    verdict: Verdict,
}

impl<'a> Judged<'a> {
    fn of(diagnosis: &Diagnosis, at: &'a Probed, port: u16) -> Option<Self> {
        let verdict = case::judge(diagnosis, at, port)?;
        let errno = match at.connects.iter().find(|it| it.port == port)?.result {
            Tried::Failed(errno) => errno,
            Tried::Open(_) | Tried::Silent => 0,
        };
        Some(Self { at, port, errno, verdict })
    }

    /// The weight of a verdict: without a way there was no attempt, and an answer says more than silence.
    fn rank(&self) -> (bool, Confidence, bool) {
        let is_answered = self.at.connects.iter().any(|it| it.port == self.port && !it.is_silent());
        (self.at.route().is_some(), self.verdict.confidence, is_answered)
    }

    /// The first of the next steps. The judge knows no zones.
    fn next(&self) -> Option<String> {
        let step = self.verdict.next.first()?;
        Some(step.replace(&self.at.address.to_string(), &self.at.name()))
    }
}

fn headline(verdict: &Verdict, address: &str, port: u16) -> String {
    match verdict.cause {
        // A rule can send the same RST.
        Cause::PortClosed if verdict.confidence == Confidence::Possible => {
            format!("port {port} of {address} refuses connections")
        }
        Cause::PortClosed => format!("nothing listens on port {port} of {address}"),
        Cause::FirewallReject if verdict.confidence == Confidence::Possible => {
            format!("connections to port {port} of {address} are rejected, perhaps by a firewall")
        }
        Cause::FirewallReject => format!("a firewall rejects connections to port {port} of {address}"),
        Cause::FirewallDrop if verdict.confidence == Confidence::Possible => {
            format!("port {port} of {address} does not answer; perhaps a firewall drops SYNs to it")
        }
        Cause::FirewallDrop => format!("a firewall drops SYNs to port {port} of {address} without an answer"),
        Cause::HostDown => format!("{address} does not answer"),
        Cause::NetworkUnreachable => format!("the network has no way to {address}"),
        Cause::NoRoute => format!("this host has no route to {address}"),
        Cause::NoLocalPort => format!("this host has no local port left for port {port} of {address}"),
        Cause::ConnectFailed => format!("connect(2) to port {port} of {address} fails on this host"),
        Cause::GatewayDown => format!("the gateway to {address} does not answer"),
        Cause::DroppedByLocalFirewall => format!("SYNs to port {port} of {address} do not leave this host"),
        Cause::ListenQueueFull if verdict.confidence == Confidence::Possible => {
            format!("port {port} of {address} does not answer; perhaps its accept queue is full")
        }
        Cause::ListenQueueFull => format!("the accept queue of port {port} of {address} is full"),
        Cause::SynQueueFull
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
        | Cause::OutOfMemory
        | Cause::Unknown => format!("port {port} of {address} cannot be reached"),
    }
}

/// Judges.
#[must_use]
pub fn conclude(diagnosis: &Diagnosis) -> Conclusion {
    let mut verdict = match &diagnosis.names {
        Some(names) if names.addresses.is_empty() => unresolved(diagnosis, names),
        Some(_) if !diagnosis.addresses.is_empty() => resolved(diagnosis),
        _ => unfinished(diagnosis),
    };
    verdict.notes.extend(diagnosis.addresses.iter().filter_map(mtu_note));
    verdict
}

fn unfinished(diagnosis: &Diagnosis) -> Conclusion {
    let took = diagnosis.took.as_secs_f64();
    Conclusion::plain(Reach::Unfinished, format!("ended after {took:.1} s without a result"))
}

/// Nothing was tried, so there is no cause of the vocabulary: it is about attempts.
fn unresolved(diagnosis: &Diagnosis, names: &Names) -> Conclusion {
    let is_going_on = names.system.is_none();
    let failures: Vec<_> =
        names.resolvers.iter().flat_map(|it| [&it.v4, &it.v6]).map(|it| it.result.as_ref().err()).collect();
    let all = |wanted: &DnsFailure| !failures.is_empty() && failures.iter().all(|it| *it == Some(wanted));
    let host = &diagnosis.host;
    if is_going_on && diagnosis.interrupted && failures.is_empty() {
        return unfinished(diagnosis);
    }
    let (headline, next) = if all(&DnsFailure::NxDomain) {
        (format!("there is no name {host}"), "check its spelling, and whether it exists only in another network's DNS")
    } else if all(&DnsFailure::Silent) {
        (
            format!("no resolver answers, so {host} has no address"),
            "check the resolvers in /etc/resolv.conf: can they be reached on port 53?",
        )
    } else if all(&DnsFailure::Refused) {
        (
            format!("the resolver refuses to answer this host, so {host} has no address"),
            "use a resolver for this network",
        )
    } else if all(&DnsFailure::ServFail) {
        (format!("DNS is broken for {host}"), "ask its DNS admin: the resolver got no usable answer (SERVFAIL)")
    } else if !failures.is_empty() && failures.iter().all(Option::is_none) {
        (format!("{host} exists and has no address"), "ask its DNS admin for an A or AAAA record")
    } else {
        (format!("{host} has no address here"), "compare with what another resolver says")
    };
    let mut conclusion = Conclusion::plain(Reach::Unresolved, headline);
    if let Some(Err(error)) = names.system.as_ref().map(|it| &it.found) {
        conclusion.evidence.push(format!("applications get: {error}"));
    }
    for resolver in &names.resolvers {
        if let (Err(v4), Err(_)) = (&resolver.v4.result, &resolver.v6.result) {
            conclusion.evidence.push(format!("{} says {}", resolver.name(), v4.name()));
        }
    }
    conclusion.evidence.extend(names.not_asked.clone());
    conclusion.next = Some(next.to_owned());
    conclusion
}

fn has_way(at: &Probed) -> bool {
    !at.way.as_ref().is_some_and(|it| matches!(it.found, Ok(Way::None { .. })))
}

fn resolved(diagnosis: &Diagnosis) -> Conclusion {
    let reached = |port: u16| diagnosis.addresses.iter().any(|at| at.is_open(port));
    let open: Vec<u16> = diagnosis.ports.iter().copied().filter(|port| reached(*port)).collect();
    let is_reached = if diagnosis.ports_assumed { !open.is_empty() } else { open.len() == diagnosis.ports.len() };
    // For assumed ports, one that opens is enough.
    let wanted: &[u16] = if is_reached { &open } else { &diagnosis.ports };
    let mut judged = Vec::new();
    for &port in wanted.iter().filter(|port| is_reached || !reached(**port)) {
        for at in diagnosis.addresses.iter().filter(|at| !at.is_open(port)) {
            // Where another family works, the lack of a way in this one is no fault.
            if !is_reached || has_way(at) {
                judged.extend(Judged::of(diagnosis, at, port));
            }
        }
    }
    // The first of those that say most.
    let best = judged.into_iter().reduce(|best, it| if it.rank() > best.rank() { it } else { best });
    let mut conclusion = match best {
        Some(it) if is_reached => Conclusion::of(Reach::Partly, it),
        Some(it) => Conclusion::of(Reach::Unreachable, it),
        None if is_reached => Conclusion::plain(Reach::Reachable, reachable(diagnosis, &open)),
        None => return unfinished(diagnosis),
    };
    if conclusion.reach == Reach::Partly {
        let working: Vec<_> =
            diagnosis.addresses.iter().filter(|at| wanted.iter().all(|port| at.is_open(*port))).collect();
        if let Some(at) = working.first() {
            conclusion
                .notes
                .push(format!("{} works: clients that try every address (RFC 8305) get through", at.name()));
        }
    }
    if conclusion.reach == Reach::Unreachable && !open.is_empty() {
        let ports: Vec<_> = open.iter().map(ToString::to_string).collect();
        conclusion.notes.push(format!("open: {}", ports.join(", ")));
    }
    conclusion
}

fn reachable(diagnosis: &Diagnosis, open: &[u16]) -> String {
    let times = diagnosis.addresses.iter().flat_map(|at| &at.connects);
    let times = times.filter(|it| open.contains(&it.port) && it.is_open()).map(|it| it.took);
    let slowest = times.max().unwrap_or_default();
    let ports: Vec<_> = open.iter().map(ToString::to_string).collect();
    let (port, is) = if open.len() == 1 { ("port", "is") } else { ("ports", "are") };
    let of = match diagnosis.addresses.as_slice() {
        [only] => only.name(),
        all => format!("all {} addresses of {}", all.iter().filter(|it| has_way(it)).count(), diagnosis.host),
    };
    let slow = if slowest >= Duration::from_millis(900) { ": slow, a SYN was lost" } else { "" };
    format!("{port} {} of {of} {is} open, in at most {:.1} ms{slow}", ports.join(", "), slowest.as_secs_f64() * 1e3)
}

fn mtu_note(at: &Probed) -> Option<String> {
    let mtu = at.mtu.as_ref()?.found.as_ref().ok()?;
    let MtuFound::BlackHole { passes } = mtu.found else { return None };
    let passes = passes.map_or_else(|| "none that was tried".to_owned(), |it| format!("{it}"));
    Some(format!(
        "packets of {} bytes to {} get lost silently, {passes} pass: connections may open and then hang; lower \
         the MTU or clamp the MSS",
        mtu.assumed,
        at.name()
    ))
}
