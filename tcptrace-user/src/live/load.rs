//! Loading, and why it failed: the kernel's refusals in words for a person.

use aya::{
    Ebpf,
    maps::{Map, MapData},
    programs::ProgramError,
};

use crate::exit::{self, ExitCode};

/// Ring buffers came with 5.8, compare-and-exchange in programs with 5.12; 5.15 is the oldest long-term release since.
pub(super) const OLDEST: (u8, u8) = (5, 15);

/// Why the kernel side could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel refused a program or a map, and not for want of privilege.
    #[error("cannot load the {what}: this kernel lacks a feature: {reason}")]
    Kernel { what: &'static str, reason: String },
    /// The kernel is older than the programs' instructions and helpers.
    #[error("this kernel is {release}: tcptrace needs Linux {}.{} or later", OLDEST.0, OLDEST.1)]
    TooOld { release: String },
    /// The kernel refused for want of privilege.
    #[error(
        "cannot load the {what}: permission denied; grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON in the host's own \
         user namespace (a rootless container's do not count): `sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep` on the \
         binary, or sudo, on the host"
    )]
    Privilege { what: &'static str },
    /// There is not enough memory for the maps.
    #[error("cannot load the {what}: not enough memory; lower --max-attempts")]
    Memory { what: &'static str },
    /// There is no key for the table.
    #[error(transparent)]
    Random(std::io::Error),
}

impl ExitCode for LoadError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Kernel { .. } | Self::TooOld { .. } => exit::UNAVAILABLE,
            Self::Privilege { .. } => exit::PRIVILEGE,
            Self::Memory { .. } | Self::Random(_) => exit::RUNTIME,
        }
    }
}

/// Passes on a refusal; a program that was loaded before is no failure.
pub(super) fn loaded(result: Result<(), ProgramError>, program: &'static str) -> Result<(), LoadError> {
    match result {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(refused(program, &error)),
    }
}

/// An array of the object, which has it by that name.
pub(super) fn array<'a>(ebpf: &'a Ebpf, name: &str) -> &'a MapData {
    match ebpf.map(name) {
        Some(Map::Array(data)) => data,
        _ => unreachable!("{name} is an array in the object"),
    }
}

/// Sorts a refusal by the errno at its root.
pub(super) fn refused(what: &'static str, error: &(dyn std::error::Error + 'static)) -> LoadError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason = format!("{reason}: {error}");
        source = error.source();
    }
    match errno(error) {
        Some(libc::EPERM) => LoadError::Privilege { what },
        Some(libc::ENOMEM) => LoadError::Memory { what },
        _ => LoadError::Kernel { what, reason },
    }
}

/// The errno at the root of an error.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    let mut errno = None;
    while let Some(error) = next {
        errno = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error).or(errno);
        next = error.source();
    }
    errno
}
