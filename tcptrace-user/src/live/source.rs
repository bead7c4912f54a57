//! Why a source of the host's facts is off. Tracing continues without it, and verdicts name what is missing.

use tcptrace_vocabulary::facts::Missing;

use super::load::{self, LoadError};

/// A source that is off, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{what} stay unknown: {reason}")]
pub struct Unavailable {
    /// The facts that it would have given, in the plural: `drop reasons`.
    pub what: &'static str,
    /// The reason why each of those facts is missing.
    pub missing: Missing,
    pub reason: String,
}

impl Unavailable {
    /// A source off, for a reason of its own.
    pub(super) fn new(what: &'static str, missing: Missing, reason: impl Into<String>) -> Self {
        Self { what, missing, reason: reason.into() }
    }

    /// One that could not be set up; `otherwise` where no limit of this process or this host is the reason.
    pub(super) fn refused(
        what: &'static str,
        by: &str,
        error: &(dyn std::error::Error + 'static),
        otherwise: (Missing, String),
    ) -> Self {
        let (missing, reason) =
            load::limited(error).map_or(otherwise, |limit| (Missing::Failed, format!("{by}: {limit}")));
        Self::new(what, missing, reason)
    }

    /// One whose program the kernel did not take.
    pub(super) fn load(what: &'static str, error: &LoadError) -> Self {
        let missing = match error {
            LoadError::Kernel { .. } | LoadError::TooOld { .. } => Missing::Kernel,
            LoadError::Privilege { .. } => Missing::Privilege,
            LoadError::Memory { .. } | LoadError::Limit { .. } | LoadError::Random(_) => Missing::Failed,
        };
        // A verifier's log fills a page; its first line names the failure.
        let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
        Self::new(what, missing, reason)
    }
}
