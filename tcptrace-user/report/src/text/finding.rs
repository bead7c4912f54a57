//! The lines of floods, scans and avoided networks, for people.

use tcptrace_core::{flow::Addr, pressure::Width};
use tcptrace_verdict::patterns::{avoided::Avoided, flood::Flood};
use tcptrace_vocabulary::{
    outcome::Outcome,
    words::{count, endpoint, ip},
};

use super::columns::{RED, head, percent, rate, with_story};
use crate::{
    Setting,
    finding::{Finding, flooded_network, network_name},
};

impl Finding {
    /// A report for people, without its end, styled and not folded; `quiet` makes it one line.
    #[must_use]
    pub fn text(&self, setting: &Setting, quiet: bool) -> String {
        let (word, at) = match self {
            Self::Flood(flood) => (flood_word(flood), flood.at),
            Self::Scan(scan) => ("scan", scan.at),
            Self::Avoided(avoided) => ("avoided", avoided.at),
        };
        let (is_over, is_cut, began, last) = match self {
            Self::Flood(flood) => (flood.is_over, flood.is_cut, flood.began, flood.last),
            Self::Scan(scan) => (scan.is_over, scan.is_cut, scan.began, scan.last),
            Self::Avoided(avoided) => (avoided.is_over, avoided.is_cut, avoided.began, avoided.last),
        };
        let word = match (is_over, is_cut) {
            (true, true) => format!("{word} not over"),
            (true, false) => format!("{word} over"),
            (false, _) => word.to_owned(),
        };
        let lasted = Some(last.since(began)).filter(|lasted| *lasted > 0);
        let story = format!("{} [incident {}]", self.story(), self.id());
        with_story(&head(setting, at, RED, &word, &self.whom(), lasted), &story, quiet)
    }

    /// The same for the summary, which has neither time nor style.
    #[must_use]
    pub fn plain(&self) -> String {
        let word = match self {
            Self::Flood(flood) => flood_word(flood),
            Self::Scan(_) => "scan",
            Self::Avoided(_) => "avoided",
        };
        format!("{word} {}: {}", self.whom(), self.story())
    }

    fn whom(&self) -> String {
        match self {
            Self::Flood(flood) => flooded(flood),
            Self::Scan(scan) => format!("{} → {}:*", ip(scan.client), bracketed(scan.host)),
            Self::Avoided(avoided) => format!("* → {}", network_name(avoided.network)),
        }
    }

    fn story(&self) -> String {
        match self {
            Self::Flood(flood) => flood_story(flood),
            Self::Scan(scan) => format!("{} tried: {}", count(scan.ports as u64, "port"), outcomes(&scan.attempts)),
            Self::Avoided(avoided) => avoided_story(avoided),
        }
    }
}

/// Both ends of a flood: where it comes from and what it goes to.
fn flooded(flood: &Flood) -> String {
    match flood.scope {
        Width::Listener => format!("* → {}", endpoint(flood.owner)),
        Width::Host => format!("* → {}:*", bracketed(flood.owner.addr)),
        Width::Network | Width::WideNetwork => format!("* → {}", flooded_network(flood).unwrap_or_default()),
        Width::Client => format!("{} → *", ip(flood.owner.addr)),
        Width::Everything => "* → *".to_owned(),
    }
}

/// A flood that this host sends is no attack: something that the host needs does not answer, or refuses.
fn flood_word(flood: &Flood) -> &'static str {
    if flood.leaves() { "outage" } else { "flood" }
}

fn flood_story(flood: &Flood) -> String {
    let mut story = format!("{} a second: {}; {}", rate(flood.rate()), packets(flood), sources(flood));
    if flood.passed().over > 0 {
        story += &format!("; {} only counted", flood.passed().over);
    }
    if flood.attempts.iter().any(|count| *count > 0) {
        story += &format!("; traced: {}", outcomes(&flood.attempts));
    }
    if let ports @ [_, ..] = &flood.ports()[..] {
        let named = ports.iter().map(|(port, share)| format!("{} to port {port}", percent(*share)));
        story += &format!(" ({})", named.collect::<Vec<_>>().join(", "));
    }
    if let Some(cookies) = flood.cookies.filter(|cookies| *cookies > 0 && !flood.is_of_answers()) {
        story += &format!("; this host sent {}", count(cookies, "SYN cookie"));
    }
    story
}

fn packets(flood: &Flood) -> String {
    if flood.is_of_answers() {
        return format!("{} without SYN", count(flood.packets(), "SYN/ACK"));
    }
    let share = flood.completed_share();
    let completed = if share > 0.0 { percent(share) } else { "none".to_owned() };
    format!("{}, {completed} completed", count(flood.packets(), "SYN"))
}

fn sources(flood: &Flood) -> String {
    let sources = flood.sources();
    match &sources.top()[..] {
        _ if sources.sample == 0 => "sources unknown".to_owned(),
        [] => format!("{} networks or more among {} sampled sources", sources.networks, sources.sample),
        top => {
            let named = top.iter().map(|(addr, share)| format!("{} ({})", ip(*addr), percent(*share)));
            format!("from {}", named.collect::<Vec<_>>().join(", "))
        }
    }
}

fn avoided_story(avoided: &Avoided) -> String {
    let whole = match (avoided.network.prefix, avoided.network.addr.is_v4()) {
        (0, true) => "no IPv4 address",
        (0, false) => "no IPv6 address",
        _ => "nobody there",
    };
    let (attempts, clients) =
        (count(avoided.attempts.iter().sum(), "attempt"), count(avoided.clients as u64, "client"));
    format!("{whole} answers: {attempts} of {clients} lost to another address; {}", outcomes(&avoided.attempts))
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
