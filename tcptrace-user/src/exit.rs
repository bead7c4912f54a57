//! Exit codes, and how each error type names its own.
//!
//! Each error type that is not a plain failure implements [`ExitCode`] where it is defined; `cli` looks through the
//! chain of an error for the first that does. The numbers are those of sysexits(3) where it has one.

use std::error::Error;

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
