//! Why an attempt failed: pure functions over the attempt and what is known around it. Never sees a packet, a clock or
//! a socket.
#![warn(missing_docs, clippy::missing_errors_doc, clippy::wildcard_enum_match_arm)]

mod address;
pub mod case;
mod clients;
mod clocks;
mod near;
pub mod next;
mod observed;
pub mod page;
pub mod past;
pub mod patterns;
mod place;
pub mod proof;
mod rules;
mod scope;
mod service;
mod twins;
pub mod view;

use tcptrace_vocabulary::{
    cause::{Cause, Confidence},
    verdict::Verdict,
};

use self::{case::Case, proof::Proof, rules::Judgement};
pub use twins::OF_A_KERNEL;

/// What makes the verdict on an attempt certain; `None`: it is not.
#[must_use]
pub fn proof(case: &Case<'_>) -> Option<Proof> {
    surest(case).and_then(|(_, it)| it.proof).filter(|_| !lacks_events(case))
}

fn surest(case: &Case<'_>) -> Option<(Cause, Judgement)> {
    let found = rules::RULES.iter().filter_map(|row| Some((row.cause, (row.rule)(case)?)));
    found.reduce(|best, it| if it.1.confidence > best.1.confidence { it } else { best })
}

/// Whether events were lost that may have shown another cause.
const fn lacks_events(case: &Case<'_>) -> bool {
    case.attempt.trust.events_lost + case.attempt.trust.attempts_lost > 0
}

/// The verdict on an attempt.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    let (cause, confidence, evidence) = match surest(case) {
        Some((cause, it)) => (cause, it.confidence, it.evidence),
        None => (Cause::Unknown, Confidence::Possible, observed::of(case)),
    };
    let confidence = if lacks_events(case) { confidence.min(Confidence::Likely) } else { confidence };
    let beside = service::troubles(case, cause).into_iter().chain(address::trouble(case, cause));
    let (suffers, helps): (Vec<_>, Vec<_>) = beside.unzip();
    let evidence = evidence.into_iter().chain(suffers).collect();
    // What helps, before what looks for the reason.
    let next = helps.into_iter().chain(next::of(case, cause)).collect();
    Verdict { cause, confidence, evidence, scope: scope::scope(case, cause), next }
}
