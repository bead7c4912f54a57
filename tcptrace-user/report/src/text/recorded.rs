//! The verdict in a packet's comment: written with the evidence, read back from it.
//!
//! The first line is for people and has cause, confidence and evidence; lines for the scope and the next steps follow.
//! It is text and no structure of its own, so that Wireshark shows it and files of the first version are read as well.

use tcptrace_vocabulary::{
    attempt::Attempt,
    cause::{Cause, Confidence},
    scope::{Extent, Scope},
    verdict::Verdict,
};

const BEGIN: &str = "tcptrace: ";
const UNKNOWN: &str = "cause unknown";
const HANDSHAKE: &str = "; handshake ";
const SCOPE: &str = "scope: ";
const NEXT: &str = "next: ";
/// Between sentences.
const AND: &str = "; ";

/// The comment: `what` happened, and why.
pub(super) fn comment(what: &str, attempt: &Attempt) -> String {
    let verdict = attempt.why.as_deref().map(|why| &why.verdict);
    let cause = verdict.map(cause).unwrap_or_default();
    let mut text = format!("{BEGIN}{what}{cause}{HANDSHAKE}{:016x}", attempt.id());
    if let Some(Verdict { scope, next, .. }) = verdict {
        let sentences = scope.evidence.iter().map(|it| format!("{AND}{it}"));
        text.extend([format!("\n{SCOPE}{}", scope.extent.name())].into_iter().chain(sentences));
        text.extend(next.iter().map(|step| format!("\n{NEXT}{step}")));
    }
    text
}

fn cause(verdict: &Verdict) -> String {
    let Verdict { cause, confidence, evidence, .. } = verdict;
    let word =
        if *cause == Cause::Unknown { UNKNOWN.to_owned() } else { format!("{}, {}", cause.name(), confidence.name()) };
    format!("{AND}{word}: {}", evidence.join(AND))
}

/// The verdict that a comment has, and the id of the handshake that it is about. `None` for any other comment.
#[must_use]
pub fn recorded(comment: &str) -> Option<(u64, Verdict)> {
    // A capture may come from anybody, and its text goes to a terminal.
    if comment.contains(|it: char| it.is_control() && it != '\n') {
        return None;
    }
    let mut lines = comment.strip_prefix(BEGIN)?.lines();
    let (text, id) = lines.next()?.rsplit_once(HANDSHAKE)?;
    let id = u64::from_str_radix(id, 16).ok()?;
    let (cause, confidence, evidence) = text.match_indices(AND).find_map(|(at, _)| judged(&text[at + AND.len()..]))?;
    let mut verdict = Verdict {
        cause,
        confidence,
        evidence: sentences(evidence),
        scope: Scope { extent: Extent::Unknown, evidence: Vec::new() },
        next: Vec::new(),
    };
    for line in lines {
        if let Some(step) = line.strip_prefix(NEXT) {
            verdict.next.push(step.to_owned());
        } else if let Some(scope) = line.strip_prefix(SCOPE) {
            verdict.scope = read_scope(scope)?;
        }
    }
    Some((id, verdict))
}

/// Cause, confidence and evidence, if that is what a text begins with.
fn judged(text: &str) -> Option<(Cause, Confidence, &str)> {
    if let Some(evidence) = text.strip_prefix(UNKNOWN).and_then(|rest| rest.strip_prefix(": ")) {
        return Some((Cause::Unknown, Confidence::Possible, evidence));
    }
    let (words, evidence) = text.split_once(": ")?;
    let (cause, confidence) = words.split_once(", ")?;
    let cause = Cause::ALL.iter().find(|it| it.name() == cause)?;
    let all = [Confidence::Possible, Confidence::Likely, Confidence::Certain];
    let confidence = all.into_iter().find(|it| it.name() == confidence)?;
    Some((*cause, confidence, evidence))
}

fn read_scope(text: &str) -> Option<Scope> {
    let (extent, evidence) = text.split_once(AND).unwrap_or((text, ""));
    let extent = Extent::ALL.into_iter().find(|it| it.name() == extent)?;
    Some(Scope { extent, evidence: sentences(evidence) })
}

fn sentences(text: &str) -> Vec<String> {
    text.split(AND).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use tcptrace_core::handshake::Handshake;
    use tcptrace_vocabulary::{
        facts::{Local, Missing},
        outcome::Outcome,
        verdict::Why,
    };

    use super::*;

    fn verdict(cause: Cause, confidence: Confidence) -> Verdict {
        Verdict {
            cause,
            confidence,
            evidence: vec!["one: sentence, with parts".to_owned(), "another".to_owned()],
            scope: Scope { extent: Extent::Port, evidence: vec!["135.82.12.1 answers on 80".to_owned()] },
            next: vec!["ss -ltn".to_owned(), "nft list ruleset".to_owned()],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for (cause, confidence) in [
            (Cause::PortClosed, Confidence::Certain),
            (Cause::FirewallDrop, Confidence::Likely),
            (Cause::Unknown, Confidence::Possible),
        ] {
            let mut attempt = Attempt::from_handshake(Handshake::default(), Outcome::NoReply);
            let verdict = verdict(cause, confidence);
            let local = Local::unknown(Missing::NotAsked);
            attempt.why = Some(Box::new(Why { verdict: verdict.clone(), local, recorded: false }));
            let comment = comment("no_reply: SYN, no answer", &attempt);
            assert_eq!(recorded(&comment), Some((attempt.id(), verdict)), "{comment}");
        }
    }

    #[test]
    fn other_comments_are_none() {
        let first = "tcptrace: refused: SYN, server sent RST/ACK (ttl 64, window 0); port_closed, likely: the RST fits; \
                     handshake 00000000000000ff";
        let (id, verdict) = recorded(first).expect("a comment of the first version");
        assert_eq!((id, verdict.cause, verdict.evidence.len()), (255, Cause::PortClosed, 1));
        for other in [
            "",
            "tcptrace: ",
            "look: port_closed, likely: here; handshake 00000000000000ff",
            "tcptrace: refused: SYN; handshake 00000000000000ff",
            "tcptrace: refused: SYN; port_closed, perhaps: so; handshake 00000000000000ff",
            "tcptrace: refused: SYN; port_closed, likely: so; handshake xyz",
            "tcptrace: refused: SYN; port_closed, likely: \u{1b}[2J; handshake 00000000000000ff",
        ] {
            assert_eq!(recorded(other), None, "{other}");
        }
    }
}
