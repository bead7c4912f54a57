//! The words that can be explained: outcomes, causes, confidences, scopes, drop reasons of the kernel, and a few more;
//! each with its text.
//!
//! The texts are matches over the variants, so that an outcome without a text does not compile. Only drop reasons are a
//! table: they are the kernel's words, and these are the ones that say why a handshake failed.

use tcptrace_vocabulary::{
    cause::{Cause, Confidence},
    outcome::Outcome,
    scope::Extent,
};

/// A word that reports use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// An outcome of an attempt.
    Outcome(Outcome),
    /// A cause of a failure.
    Cause(Cause),
    /// How sure a verdict is.
    Confidence(Confidence),
    /// How far a failure reaches.
    Scope(Extent),
    /// A reason for which the kernel drops packets.
    Drop(Reason),
    /// Another word that begins a line.
    Word(Word),
}

/// Why the kernel drops a packet (enum skb_drop_reason, include/net/dropreason-core.h), by its place in `REASONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(usize);

/// A reason, related reasons on the same page, and the page. The table has the reasons that the rules treat, and those
/// of TCP's authentication, which drops SYNs without an answer.
const REASONS: &[(&str, &[&str], &str)] = &[
    ("NETFILTER_DROP", &[], include_str!("drops/NETFILTER_DROP.md")),
    ("TC_INGRESS", &[], include_str!("drops/TC_INGRESS.md")),
    ("TC_EGRESS", &[], include_str!("drops/TC_EGRESS.md")),
    ("XDP", &[], include_str!("drops/XDP.md")),
    ("BPF_CGROUP_EGRESS", &[], include_str!("drops/BPF_CGROUP_EGRESS.md")),
    ("XFRM_POLICY", &[], include_str!("drops/XFRM_POLICY.md")),
    ("IP_RPFILTER", &[], include_str!("drops/IP_RPFILTER.md")),
    ("SECURITY_HOOK", &[], include_str!("drops/SECURITY_HOOK.md")),
    ("PROTO_MEM", &[], include_str!("drops/PROTO_MEM.md")),
    ("NOMEM", &[], include_str!("drops/NOMEM.md")),
    ("PFMEMALLOC", &[], include_str!("drops/PFMEMALLOC.md")),
    ("TCP_LISTEN_OVERFLOW", &[], include_str!("drops/TCP_LISTEN_OVERFLOW.md")),
    ("NO_SOCKET", &[], include_str!("drops/NO_SOCKET.md")),
    ("NEIGH_FAILED", &["NEIGH_QUEUEFULL", "NEIGH_CREATEFAIL", "NEIGH_DEAD"], include_str!("drops/NEIGH_FAILED.md")),
    ("QDISC_DROP", &["QDISC_OVERLIMIT", "QDISC_CONGESTED"], include_str!("drops/QDISC_DROP.md")),
    ("TCP_MD5NOTFOUND", &["TCP_MD5UNEXPECTED", "TCP_MD5FAILURE"], include_str!("drops/TCP_MD5NOTFOUND.md")),
    (
        "TCP_AONOTFOUND",
        &["TCP_AOUNEXPECTED", "TCP_AOKEYNOTFOUND", "TCP_AOFAILURE"],
        include_str!("drops/TCP_AONOTFOUND.md"),
    ),
];

/// First words of lines that are not outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `stalled`
    Stalled,
    /// `recovered`
    Recovered,
    /// `flood`
    Flood,
    /// `scan`
    Scan,
    /// `outage`: a flood that this host sends
    Outage,
    /// `not_sent`: a connect(2) without a SYN
    NotSent,
    /// `avoided`: a network where nothing answers and that clients avoid
    Avoided,
    /// `incident`: failures that are reported once
    Incident,
}

impl Word {
    /// Every word, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Stalled,
        Self::Recovered,
        Self::Flood,
        Self::Scan,
        Self::Outage,
        Self::NotSent,
        Self::Avoided,
        Self::Incident,
    ];

    /// The word in text and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Recovered => "recovered",
            Self::Flood => "flood",
            Self::Scan => "scan",
            Self::Outage => "outage",
            Self::NotSent => "not_sent",
            Self::Avoided => "avoided",
            Self::Incident => "incident",
        }
    }
}

impl Topic {
    /// Every word, in the order of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        let outcomes = Outcome::ALL.into_iter().map(Self::Outcome);
        let causes = Cause::ALL.iter().copied().map(Self::Cause);
        let confidences = [Confidence::Certain, Confidence::Likely, Confidence::Possible].map(Self::Confidence);
        // An unknown scope is on the page of the cause of that name.
        let scopes = Extent::ALL.into_iter().filter(|it| *it != Extent::Unknown).map(Self::Scope);
        let drops = (0..REASONS.len()).map(|it| Self::Drop(Reason(it)));
        let words = Word::ALL.into_iter().map(Self::Word);
        outcomes.chain(causes).chain(confidences).chain(scopes).chain(drops).chain(words)
    }

    /// The word of the vocabulary.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outcome(it) => it.name(),
            Self::Cause(it) => it.name(),
            Self::Confidence(it) => it.name(),
            Self::Scope(it) => it.name(),
            Self::Drop(Reason(it)) => REASONS[it].0,
            Self::Word(it) => it.name(),
        }
    }

    /// Other words that the page explains.
    #[must_use]
    pub const fn kin(self) -> &'static [&'static str] {
        if let Self::Drop(Reason(it)) = self { REASONS[it].1 } else { &[] }
    }

    /// The first sentence of the page.
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
            Self::Confidence(it) => confidence(it),
            Self::Scope(it) => scope(it),
            Self::Drop(Reason(it)) => REASONS[it].2,
            Self::Word(it) => word(it),
        }
    }

    /// Finds a word by its name. Case does not matter, and `-` stands for `_`.
    ///
    /// # Errors
    /// If there is no such word: the words that are spelt like it.
    pub fn find(name: &str) -> Result<Self, String> {
        let wanted = name.trim().to_ascii_lowercase().replace(['-', ' '], "_");
        let is_it = |name: &str| name.eq_ignore_ascii_case(&wanted);
        Self::all().find(|it| is_it(it.name()) || it.kin().iter().any(|it| is_it(it))).ok_or_else(|| {
            match &nearest(&wanted)[..] {
                [] => "no such word; `tcptrace explain` lists them".to_owned(),
                some => format!("no such word; the nearest: {}; `tcptrace explain` lists all", some.join(", ")),
            }
        })
    }
}

/// Up to three likely names: those that contain the word, then those that are spelt like it.
fn nearest(wanted: &str) -> Vec<&'static str> {
    let likeness = |name: &str| {
        let name = name.to_ascii_lowercase();
        let holds = wanted.len() > 2 && (name.contains(wanted) || wanted.contains(&name));
        if holds { 1.0 } else { strsim::normalized_damerau_levenshtein(wanted, &name) }
    };
    let mut names: Vec<_> = Topic::all().map(|it| (likeness(it.name()), it.name())).filter(|it| it.0 > 0.5).collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0));
    names.into_iter().take(3).map(|it| it.1).collect()
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
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

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::PortClosed => include_str!("causes/port_closed.md"),
        Cause::FirewallReject => include_str!("causes/firewall_reject.md"),
        Cause::FirewallDrop => include_str!("causes/firewall_drop.md"),
        Cause::HostDown => include_str!("causes/host_down.md"),
        Cause::NetworkUnreachable => include_str!("causes/network_unreachable.md"),
        Cause::NoRoute => include_str!("causes/no_route.md"),
        Cause::NoLocalPort => include_str!("causes/no_local_port.md"),
        Cause::ConnectFailed => include_str!("causes/connect_failed.md"),
        Cause::GatewayDown => include_str!("causes/gateway_down.md"),
        Cause::ListenQueueFull => include_str!("causes/listen_queue_full.md"),
        Cause::SynQueueFull => include_str!("causes/syn_queue_full.md"),
        Cause::DroppedByLocalFirewall => include_str!("causes/dropped_by_local_firewall.md"),
        Cause::ConntrackFull => include_str!("causes/conntrack_full.md"),
        Cause::NatExhausted => include_str!("causes/nat_exhausted.md"),
        Cause::ReversePathFilter => include_str!("causes/reverse_path_filter.md"),
        Cause::BadChecksum => include_str!("causes/bad_checksum.md"),
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
        Cause::OptionsBlocked => include_str!("causes/options_blocked.md"),
        Cause::NoBackend => include_str!("causes/no_backend.md"),
        Cause::OutOfMemory => include_str!("causes/out_of_memory.md"),
        Cause::Unknown => include_str!("causes/unknown.md"),
    }
}

const fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Certain => include_str!("confidences/certain.md"),
        Confidence::Likely => include_str!("confidences/likely.md"),
        Confidence::Possible => include_str!("confidences/possible.md"),
    }
}

const fn scope(extent: Extent) -> &'static str {
    match extent {
        Extent::Attempt => include_str!("scopes/attempt.md"),
        Extent::Client => include_str!("scopes/client.md"),
        Extent::Port => include_str!("scopes/port.md"),
        Extent::Host => include_str!("scopes/host.md"),
        Extent::Network => include_str!("scopes/network.md"),
        Extent::Everything => include_str!("scopes/everything.md"),
        Extent::Unknown => include_str!("causes/unknown.md"),
    }
}

const fn word(word: Word) -> &'static str {
    match word {
        Word::Stalled => include_str!("words/stalled.md"),
        Word::Recovered => include_str!("words/recovered.md"),
        Word::Flood => include_str!("words/flood.md"),
        Word::Scan => include_str!("words/scan.md"),
        Word::Outage => include_str!("words/outage.md"),
        Word::NotSent => include_str!("words/not_sent.md"),
        Word::Avoided => include_str!("words/avoided.md"),
        Word::Incident => include_str!("words/incident.md"),
    }
}

#[cfg(test)]
mod tests {
    use tcptrace_verdict::case::{FIREWALL_REASONS, MEMORY_REASONS};

    use super::{Confidence, Extent, Topic};

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

    /// Every word that a text refers to has a page.
    #[test]
    fn texts_refer_to_words_that_there_are() {
        let known: Vec<_> =
            Topic::all().flat_map(|it| [it.name()].into_iter().chain(it.kin().iter().copied())).collect();
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

    /// Every word of a line has a page.
    #[test]
    fn every_word_of_a_verdict_is_found() {
        let confidences = [Confidence::Certain, Confidence::Likely, Confidence::Possible].map(Confidence::name);
        let others = ["NO_SOCKET", "TCP_LISTEN_OVERFLOW", "NEIGH_FAILED", "QDISC_DROP"];
        let reasons = FIREWALL_REASONS.iter().chain(&MEMORY_REASONS).chain(&others);
        for word in Extent::ALL.map(Extent::name).iter().chain(&confidences).chain(reasons) {
            assert_eq!(Topic::find(word).map(Topic::name), Ok(*word));
        }
    }

    #[test]
    fn names_are_found_and_mistakes_answered() {
        for (word, page) in [
            ("Listen-Queue-Full", "listen_queue_full"),
            ("netfilter_drop", "NETFILTER_DROP"),
            ("TCP_MD5FAILURE", "TCP_MD5NOTFOUND"),
        ] {
            assert_eq!(Topic::find(word).map(Topic::name), Ok(page));
        }
        for (wrong, right) in [("refusd", "refused"), ("queue", "listen_queue_full"), ("firewall", "firewall_reject")] {
            let error = Topic::find(wrong).expect_err(wrong);
            assert!(error.contains(right), "{error}");
        }
        assert_eq!(Topic::find("xyzzy").expect_err("no word"), "no such word; `tcptrace explain` lists them");
    }
}
