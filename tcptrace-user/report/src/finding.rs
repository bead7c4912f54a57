//! Floods, scans and networks that are gone round, as text and as JSON: one finding, told as it begins and as it ends.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tcptrace_core::{flow::Addr, handshake::Point, pressure::Scope};
use tcptrace_verdict::patterns::{avoided::Avoided, flood::Flood, scan::Scan};
use tcptrace_vocabulary::{
    network::Network,
    outcome::Outcome,
    words::{count, endpoint, ip},
};

use crate::{Setting, json::VERSION, short, text};

/// Something that many attempts have in common.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    Flood(Box<Flood>),
    Scan(Scan),
    Avoided(Avoided),
}

impl Finding {
    /// A line for eyes, without its end, styled.
    #[must_use]
    pub fn text(&self, setting: &Setting) -> String {
        let (word, is_over, at, began) = match self {
            Self::Flood(it) => (flood_word(it), it.is_over, it.last, it.began),
            Self::Scan(it) => ("scan", it.is_over, it.last, it.began),
            Self::Avoided(it) => ("avoided", it.is_over, it.last, it.began),
        };
        let word = if is_over { format!("{word} over") } else { word.to_owned() };
        text::columns(setting, at, text::RED, &word, &self.whom(), at.since(began), &self.story())
    }

    /// The same for the summary, which has neither time nor style.
    #[must_use]
    pub fn plain(&self) -> String {
        let word = match self {
            Self::Flood(it) => flood_word(it),
            Self::Scan(_) => "scan",
            Self::Avoided(_) => "avoided",
        };
        format!("{word} {}: {}", self.whom(), self.story())
    }

    fn whom(&self) -> String {
        match self {
            Self::Flood(it) => flooded(it),
            Self::Scan(it) => format!("{} → {}:*", ip(it.client), bracketed(it.host)),
            Self::Avoided(it) => format!("* → {}", name(it.network)),
        }
    }

    fn story(&self) -> String {
        match self {
            Self::Flood(it) => flood_story(it),
            Self::Scan(it) => format!("{} tried: {}", count(it.ports as u64, "port"), outcomes(&it.attempts)),
            Self::Avoided(it) => avoided_story(it),
        }
    }

    /// The same as JSON, without a line's version.
    #[must_use]
    pub fn json(&self, setting: &Setting) -> Value {
        let time = |at| short::time(setting.clock.wall(at));
        let state = |is_over| if is_over { "over" } else { "began" };
        match self {
            Self::Flood(it) => json!({
                "type": "flood",
                "state": state(it.is_over),
                "kind": if it.is_of_answers() { "syn_ack" } else { "syn" },
                "scope": scope(it.scope),
                "server": (it.scope == Scope::Listener)
                    .then(|| json!({ "ip": ip(it.owner.addr), "port": it.owner.port })),
                "host": (it.scope == Scope::Host).then(|| json!({ "ip": ip(it.owner.addr) })),
                "network": network(it),
                "client": (it.scope == Scope::Client).then(|| json!({ "ip": ip(it.owner.addr) })),
                "ports": it.ports().into_iter()
                    .map(|(port, share)| json!({ "port": port, "share": share })).collect::<Vec<_>>(),
                "began": time(it.began),
                "last": time(it.last),
                "packets": it.packets(),
                "per_second": it.rate(),
                "peak_per_second": it.peak.max(it.rate()),
                "passed_over": it.passed().over,
                "completed": it.passed().completed,
                "completed_share": it.completed_share(),
                "attempts": counts(&it.attempts),
                "sources": {
                    "sample": it.sources().sample,
                    "networks": it.sources().networks,
                    "top": it.sources().top().into_iter()
                        .map(|(addr, share)| json!({ "ip": ip(addr), "share": share })).collect::<Vec<_>>(),
                },
                "syn_cookies": it.cookies,
                "seen": it.points.iter().map(|(&point, passed)| json!({
                    "interface": setting.interface(Point(point).ifindex()),
                    "direction": if Point(point).is_egress() { "out" } else { "in" },
                    "packets": passed.opens,
                })).collect::<Vec<_>>(),
            }),
            Self::Scan(it) => json!({
                "type": "scan",
                "state": state(it.is_over),
                "client": { "ip": ip(it.client) },
                "host": { "ip": ip(it.host) },
                "began": time(it.began),
                "last": time(it.last),
                "ports": it.ports,
                "attempts": counts(&it.attempts),
            }),
            Self::Avoided(it) => json!({
                "type": "avoided",
                "state": state(it.is_over),
                "network": name(it.network),
                "began": time(it.began),
                "last": time(it.last),
                "clients": it.clients,
                "attempts": counts(&it.attempts),
            }),
        }
    }

    /// A JSON line, without its end.
    #[must_use]
    pub fn line(&self, setting: &Setting) -> String {
        #[derive(Serialize)]
        struct Line {
            v: u32,
            #[serde(flatten)]
            finding: Value,
        }
        serde_json::to_string(&Line { v: VERSION, finding: self.json(setting) }).unwrap_or_default()
    }
}

/// Who is flooded, behind whom it comes from.
fn flooded(it: &Flood) -> String {
    match it.scope {
        Scope::Listener => format!("* → {}", endpoint(it.owner)),
        Scope::Host => format!("* → {}:*", bracketed(it.owner.addr)),
        Scope::Network | Scope::WideNetwork => format!("* → {}", network(it).unwrap_or_default()),
        Scope::Client => format!("{} → *", ip(it.owner.addr)),
        Scope::Everything => "* → *".to_owned(),
    }
}

/// The vocabulary's word.
const fn scope(it: Scope) -> &'static str {
    match it {
        Scope::Listener => "port",
        Scope::Host => "host",
        Scope::Network | Scope::WideNetwork => "network",
        Scope::Client => "client",
        Scope::Everything => "everything",
    }
}

/// Address and length of prefix, of a flood of a network.
fn network(it: &Flood) -> Option<String> {
    let prefix = it.scope.prefix(it.owner.addr.is_v4())?;
    Some(format!("{}/{prefix}", ip(it.owner.addr)))
}

/// What this host sends itself is no attack: something that it needs does not answer, or refuses.
fn flood_word(it: &Flood) -> &'static str {
    if it.leaves() { "outage" } else { "flood" }
}

fn flood_story(it: &Flood) -> String {
    let what = if it.is_of_answers() {
        format!("{} without SYN", count(it.packets(), "SYN/ACK"))
    } else {
        let completed = match it.completed_share() {
            0.0 => "none".to_owned(),
            share => percent(share),
        };
        format!("{}, {completed} completed", count(it.packets(), "SYN"))
    };
    let sources = it.sources();
    let from = match &sources.top()[..] {
        _ if sources.sample == 0 => "sources unknown".to_owned(),
        [] => format!("spread over {} networks or more in a sample of {}", sources.networks, sources.sample),
        top => {
            let named = top.iter().map(|(addr, share)| format!("{} ({})", ip(*addr), percent(*share)));
            format!("from {}", named.collect::<Vec<_>>().join(", "))
        }
    };
    let mut story = format!("{} a second: {what}; {from}; {} only counted", rate(it.rate()), it.passed().over);
    if it.attempts.iter().any(|it| *it > 0) {
        story += &format!("; of those followed {}", outcomes(&it.attempts));
    }
    if let ports @ [_, ..] = &it.ports()[..] {
        let named = ports.iter().map(|(port, share)| format!("{} to port {port}", percent(*share)));
        story += &format!(" ({})", named.collect::<Vec<_>>().join(", "));
    }
    if let Some(cookies) = it.cookies.filter(|cookies| *cookies > 0 && !it.is_of_answers()) {
        story += &format!("; {} sent by this host", count(cookies, "SYN cookie"));
    }
    story
}

fn avoided_story(it: &Avoided) -> String {
    let whole = match (it.network.prefix, it.network.addr.is_v4()) {
        (0, true) => "no IPv4 address",
        (0, false) => "no IPv6 address",
        _ => "nobody there",
    };
    let (attempts, clients) = (count(it.attempts.iter().sum(), "attempt"), count(it.clients as u64, "client"));
    format!("{whole} answers: {attempts} of {clients} went on over another address; {}", outcomes(&it.attempts))
}

/// A network as people write it.
fn name(it: Network) -> String {
    format!("{}/{}", ip(it.addr), it.prefix)
}

/// A host in front of its port.
fn bracketed(host: Addr) -> String {
    let host = ip(host);
    if host.is_ipv6() { format!("[{host}]") } else { host.to_string() }
}

fn outcomes(attempts: &[u64; Outcome::ALL.len()]) -> String {
    let some = Outcome::ALL.into_iter().filter(|it| attempts[*it as usize] > 0);
    let words: Vec<_> = some.map(|it| format!("{} {}", attempts[it as usize], it.name())).collect();
    if words.is_empty() { "none ended yet".to_owned() } else { words.join(", ") }
}

fn counts(attempts: &[u64; Outcome::ALL.len()]) -> Map<String, Value> {
    let some = Outcome::ALL.into_iter().filter(|it| attempts[*it as usize] > 0);
    some.map(|it| (it.name().to_owned(), attempts[it as usize].into())).collect()
}

/// A rate in two digits and a unit.
fn rate(it: f64) -> String {
    match it {
        it if it >= 1e6 => format!("{:.1} M", it / 1e6),
        it if it >= 1e4 => format!("{:.0} k", it / 1e3),
        it => format!("{it:.0}"),
    }
}

/// A share, never rounded to all or nothing.
fn percent(share: f64) -> String {
    match share * 100.0 {
        it if it < 0.1 => "under 0.1 %".to_owned(),
        it if it < 10.0 => format!("{it:.1} %"),
        it if (99.5..100.0).contains(&it) => "over 99 %".to_owned(),
        it => format!("{it:.0} %"),
    }
}
