//! Why an attempt failed: pure functions over the attempt and what is known around it. Never sees a packet, a clock or
//! a socket.

pub mod case;
pub mod next;
pub mod past;
pub mod patterns;
mod rules;
mod scope;

use tcptrace_core::{
    flow::{Addr, Endpoint},
    handshake::Side,
};
use tcptrace_vocabulary::{
    attempt::Attempt,
    cause::{Cause, Confidence},
    outcome::Outcome,
    verdict::Verdict,
    words::ip,
};

use self::{case::Case, next::next, past::Life};

/// The verdict on an attempt.
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Verdict {
    let found = rules::RULES.iter().filter_map(|(cause, rule)| Some((*cause, rule(case)?)));
    let surest = found.reduce(|best, it| if it.1.confidence > best.1.confidence { it } else { best });
    let (cause, confidence, evidence) = match surest {
        Some((cause, it)) => (cause, it.confidence, it.evidence),
        None => {
            let drops = case.local.drops.iter().flatten();
            let dropped =
                drops.map(|it| format!("this host dropped a packet of the {} ({})", side(it.from), it.reason));
            let went = match case.life() {
                Life::Before(last) if case.it.outcome == Outcome::NoReply => Some(case.since(last)),
                _ => None,
            };
            (Cause::Unknown, Confidence::Possible, dropped.chain(went).collect())
        }
    };
    // What was lost may have told another story.
    let lost = case.it.trust.events_lost + case.it.trust.attempts_lost > 0;
    let confidence = if lost { confidence.min(Confidence::Likely) } else { confidence };
    let next = match cause {
        Cause::Unknown if case.it.outcome == Outcome::NoReply && case.is_here(Side::Server) => {
            vec![
                "look at what else here takes packets: nft -a list ruleset, tc -s filter, nstat -az | grep -i drop"
                    .to_owned(),
            ]
        }
        Cause::Unknown => vec![settles(case.it).to_owned()],
        Cause::HostDown if case.is_forwarded() => {
            let (server, port) = (ip(case.server().addr), case.server().port);
            vec![format!(
                "see, on {server}, to whom it forwards port {port}: nft list ruleset | grep dnat; then look there"
            )]
        }
        _ => {
            let host = match cause {
                // Whoever does not answer, and not whoever said so.
                Cause::HostDown => case.silent_gateway().or_else(|| case.translated_to()),
                Cause::NoRouteOrLocalBlock if case.is_here(Side::Server) => Some(case.hs().client_addr),
                _ => case.it.icmp_from.or(case.it.answered_from),
            };
            steps(cause, case.hs().server(), Some(case.hs().client_addr), host)
        }
    };
    Verdict { cause, confidence, evidence, scope: scope::scope(case, cause), next }
}

const fn side(it: Side) -> &'static str {
    match it {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// What evidence would tell, where there is none.
fn settles(it: &Attempt) -> &'static str {
    match it.outcome {
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

/// The next steps, with their names filled in; `host` is who sent the error or the answer, where that was not the server.
#[must_use]
pub fn steps(cause: Cause, server: Endpoint, client: Option<Addr>, host: Option<Addr>) -> Vec<String> {
    let client = client.map_or_else(|| "this host".to_owned(), |it| ip(it).to_string());
    let fill = |text: &&str| {
        text.replace("{server}", &ip(server.addr).to_string())
            .replace("{host}", &ip(host.unwrap_or(server.addr)).to_string())
            .replace("{port}", &server.port.to_string())
            .replace("{client}", &client)
    };
    next(cause).iter().map(fill).collect()
}
