//! What can be explained: every outcome, every cause, and five words that are neither; each with its text.
//!
//! The texts are matches over the variants and no table: an outcome without one does not compile.

use tcptrace_core::outcome::Outcome;

use crate::diagnose::Cause;

/// A word that reports use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Outcome(Outcome),
    Cause(Cause),
    Word(Word),
}

/// What lines begin with besides outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Stalled,
    Recovered,
    Flood,
    Scan,
    Outage,
    NotSent,
}

impl Word {
    pub const ALL: [Self; 6] = [Self::Stalled, Self::Recovered, Self::Flood, Self::Scan, Self::Outage, Self::NotSent];

    /// As in text and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Recovered => "recovered",
            Self::Flood => "flood",
            Self::Scan => "scan",
            Self::Outage => "outage",
            Self::NotSent => "not_sent",
        }
    }
}

impl Topic {
    /// Everything: outcomes, causes, the other words.
    pub fn all() -> impl Iterator<Item = Self> {
        let outcomes = Outcome::ALL.into_iter().map(Self::Outcome);
        outcomes.chain(Cause::ALL.iter().copied().map(Self::Cause)).chain(Word::ALL.into_iter().map(Self::Word))
    }

    /// The vocabulary's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outcome(it) => it.name(),
            Self::Cause(it) => it.name(),
            Self::Word(it) => it.name(),
        }
    }

    /// What it is in a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        let title = self.text().lines().next().unwrap_or_default();
        title.split_once(": ").map_or(title, |(_, sentence)| sentence)
    }

    /// The whole text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Outcome(it) => outcome(it),
            Self::Cause(it) => cause(it),
            Self::Word(it) => word(it),
        }
    }

    /// Finds it by its name; `-` and capitals do as well.
    ///
    /// # Errors
    /// When there is none of that name: what is like it.
    pub fn find(name: &str) -> Result<Self, String> {
        let wanted = name.trim().to_ascii_lowercase().replace(['-', ' '], "_");
        Self::all().find(|it| it.name() == wanted).ok_or_else(|| match &nearest(&wanted)[..] {
            [] => "no such word; `tcptrace explain` lists them".to_owned(),
            some => format!("no such word; the nearest: {}; `tcptrace explain` lists all", some.join(", ")),
        })
    }
}

/// Up to three names that somebody may have meant: those that hold the word, then those spelt like it.
fn nearest(wanted: &str) -> Vec<&'static str> {
    let likeness = |name: &str| {
        let holds = wanted.len() > 2 && (name.contains(wanted) || wanted.contains(name));
        if holds { 1.0 } else { strsim::normalized_damerau_levenshtein(wanted, name) }
    };
    let mut names: Vec<_> = Topic::all().map(|it| (likeness(it.name()), it.name())).filter(|it| it.0 > 0.5).collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0));
    names.into_iter().take(3).map(|it| it.1).collect()
}

const fn outcome(it: Outcome) -> &'static str {
    match it {
        Outcome::NoReply => include_str!("outcomes/no_reply.md"),
        Outcome::Refused => include_str!("outcomes/refused.md"),
        Outcome::Unreachable => include_str!("outcomes/unreachable.md"),
        Outcome::Challenged => include_str!("outcomes/challenged.md"),
        Outcome::HalfOpen => include_str!("outcomes/half_open.md"),
        Outcome::Aborted => include_str!("outcomes/aborted.md"),
        Outcome::ResetOnAnswer => include_str!("outcomes/reset_on_answer.md"),
        Outcome::WrongAnswer => include_str!("outcomes/wrong_answer.md"),
        Outcome::Established => include_str!("outcomes/established.md"),
        Outcome::Closed => include_str!("outcomes/closed.md"),
        Outcome::HalfClosed => include_str!("outcomes/half_closed.md"),
        Outcome::ResetByClient => include_str!("outcomes/reset_by_client.md"),
        Outcome::ResetByServer => include_str!("outcomes/reset_by_server.md"),
        Outcome::AnswerOnly => include_str!("outcomes/answer_only.md"),
        Outcome::Midstream => include_str!("outcomes/midstream.md"),
    }
}

const fn cause(it: Cause) -> &'static str {
    match it {
        Cause::PortClosed => include_str!("causes/port_closed.md"),
        Cause::FirewallReject => include_str!("causes/firewall_reject.md"),
        Cause::FirewallDrop => include_str!("causes/firewall_drop.md"),
        Cause::HostDown => include_str!("causes/host_down.md"),
        Cause::NetworkUnreachable => include_str!("causes/network_unreachable.md"),
        Cause::NoRouteOrLocalBlock => include_str!("causes/no_route_or_local_block.md"),
        Cause::ListenQueueFull => include_str!("causes/listen_queue_full.md"),
        Cause::DroppedByLocalFirewall => include_str!("causes/dropped_by_local_firewall.md"),
        Cause::SynFlood => include_str!("causes/syn_flood.md"),
        Cause::ClientVanished => include_str!("causes/client_vanished.md"),
        Cause::AnswerLostLocally => include_str!("causes/answer_lost_locally.md"),
        Cause::AsymmetricPath => include_str!("causes/asymmetric_path.md"),
        Cause::NatMismatch => include_str!("causes/nat_mismatch.md"),
        Cause::PortReuse => include_str!("causes/port_reuse.md"),
        Cause::MiddleboxReset => include_str!("causes/middlebox_reset.md"),
        Cause::DuplicateIp => include_str!("causes/duplicate_ip.md"),
        Cause::ApplicationGaveUp => include_str!("causes/application_gave_up.md"),
        Cause::HealthCheck => include_str!("causes/health_check.md"),
        Cause::OutOfMemory => include_str!("causes/out_of_memory.md"),
        Cause::Unknown => include_str!("causes/unknown.md"),
    }
}

const fn word(it: Word) -> &'static str {
    match it {
        Word::Stalled => include_str!("words/stalled.md"),
        Word::Recovered => include_str!("words/recovered.md"),
        Word::Flood => include_str!("words/flood.md"),
        Word::Scan => include_str!("words/scan.md"),
        Word::Outage => include_str!("words/outage.md"),
        Word::NotSent => include_str!("words/not_sent.md"),
    }
}

#[cfg(test)]
mod tests {
    use super::Topic;

    const HEADINGS: [&str; 5] = ["What it means", "On the wire", "Confirm", "Fix", "Mistaken for"];

    #[test]
    fn every_text_has_its_parts_and_no_more_than_a_page() {
        for topic in Topic::all() {
            let (name, text) = (topic.name(), topic.text());
            assert!(text.starts_with(&format!("# {name}: ")) && topic.sentence().ends_with('.'), "{name}");
            let headings: Vec<_> = text.lines().filter_map(|it| it.strip_prefix("## ")).collect();
            assert_eq!(headings, HEADINGS, "{name}");
            assert!(text.lines().count() <= 40, "{name}: {} lines", text.lines().count());
            for line in text.lines() {
                assert!(line.is_ascii() && line.len() <= 120 && line.trim_end() == line, "{name}: {line}");
            }
        }
    }

    /// Where a text sends its reader, there is something.
    #[test]
    fn texts_refer_to_words_that_there_are() {
        let known: Vec<_> = Topic::all().map(Topic::name).collect();
        let outside = ["conntrack"];
        for topic in Topic::all() {
            for line in topic.text().lines().filter_map(|it| it.strip_prefix("- ")) {
                let Some((names, _)) = line.split_once(':') else { continue };
                for name in names.split(", ").filter(|it| it.contains('_') && !it.contains(' ')) {
                    assert!(known.contains(&name) || outside.contains(&name), "{}: {name}", topic.name());
                }
            }
        }
    }

    #[test]
    fn names_are_found_and_mistakes_answered() {
        assert_eq!(Topic::find("Listen-Queue-Full").map(Topic::name), Ok("listen_queue_full"));
        for (wrong, right) in [("refusd", "refused"), ("queue", "listen_queue_full"), ("firewall", "firewall_reject")] {
            let error = Topic::find(wrong).expect_err(wrong);
            assert!(error.contains(right), "{error}");
        }
        assert_eq!(Topic::find("xyzzy").expect_err("no word"), "no such word; `tcptrace explain` lists them");
    }
}
