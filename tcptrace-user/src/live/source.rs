//! Why a source of what the host knows is off. Tracing goes on without it, and verdicts say so.

use tcptrace_vocabulary::facts::Missing;

use super::load::LoadError;

/// A source that is off, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{what} stay unknown: {reason}")]
pub struct Unavailable {
    /// What it would have told, in the plural: `drop reasons`.
    pub what: &'static str,
    /// What is missing of each fact that it would have told.
    pub missing: Missing,
    pub reason: String,
}

impl Unavailable {
    /// A source off, for a reason of its own.
    pub(super) fn new(what: &'static str, missing: Missing, reason: impl Into<String>) -> Self {
        Self { what, missing, reason: reason.into() }
    }

    /// One whose program the kernel did not take.
    pub(super) fn load(what: &'static str, error: &LoadError) -> Self {
        let missing = match error {
            LoadError::Kernel { .. } | LoadError::TooOld { .. } => Missing::Kernel,
            LoadError::Privilege { .. } => Missing::Privilege,
            LoadError::Memory { .. } | LoadError::Random(_) => Missing::Failed,
        };
        // Of a verifier's log the first line says what failed; all of it would be a page.
        let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
        Self::new(what, missing, reason)
    }
}
