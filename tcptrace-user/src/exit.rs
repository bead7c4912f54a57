//! Exit codes, and how an error says its own.
//!
//! Each error type that is not a plain failure implements [`ExitCode`] where it is defined; `cli` asks the chain of an
//! error for the first that does. The numbers are those of sysexits(3) where it has one.

use std::error::Error;

use tcptrace_vocabulary::outcome::Outcome;

/// Failed while running.
pub const RUNTIME: u8 = 1;
/// Wrong usage.
pub const USAGE: u8 = 2;
/// `--fail-on` found an outcome that it names, or `diagnose` could not reach a port.
pub const FINDINGS: u8 = 3;
/// The kernel lacks something.
pub const UNAVAILABLE: u8 = 69;
/// Missing privilege.
pub const PRIVILEGE: u8 = 77;

/// An error that decides the exit code.
pub trait ExitCode: Error + Send + Sync + 'static {
    /// One of the codes of this module.
    fn exit_code(&self) -> u8;
}

impl ExitCode for tcptrace_filter::Mistake {
    fn exit_code(&self) -> u8 {
        USAGE
    }
}

/// The code of an error, if it is an `E`.
#[must_use]
pub fn code_of<E: ExitCode>(error: &anyhow::Error) -> Option<u8> {
    error.downcast_ref::<E>().map(E::exit_code)
}

/// A value of `--fail-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// Every failure, and every finding about many attempts.
    Any,
    Outcome(Outcome),
}

impl FailOn {
    /// Whether the value covers an attempt with this outcome.
    #[must_use]
    pub fn covers(self, outcome: Outcome) -> bool {
        match self {
            Self::Any => outcome.is_failure(),
            Self::Outcome(wanted) => wanted == outcome,
        }
    }
}
