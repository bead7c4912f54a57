//! Loading, and why it failed: the kernel's refusals in words for a person.

use std::{error::Error, io};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError},
    programs::ProgramError,
};

use crate::{
    exit::{self, ExitCode},
    limit,
};

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
    #[error("cannot load the {what}: not enough memory; lower --max-attempts, or raise {}", limit::memory())]
    Memory { what: &'static str },
    /// Another limit of this process or this host: no lack of the kernel's.
    #[error("cannot load the {what}: {reason}; {remedy}")]
    Limit { what: &'static str, reason: String, remedy: String },
    /// There is no key for the table.
    #[error(transparent)]
    Random(io::Error),
}

impl ExitCode for LoadError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Kernel { .. } | Self::TooOld { .. } => exit::UNAVAILABLE,
            Self::Privilege { .. } => exit::PRIVILEGE,
            Self::Memory { .. } | Self::Limit { .. } | Self::Random(_) => exit::RUNTIME,
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
pub(super) fn refused(what: &'static str, error: &(dyn Error + 'static)) -> LoadError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason = format!("{reason}: {error}");
        source = error.source();
    }
    match errno(error) {
        Some(libc::EPERM) => LoadError::Privilege { what },
        Some(libc::ENOMEM) => LoadError::Memory { what },
        errno => match errno.and_then(|errno| Some((errno, remedy(errno)?))) {
            // The chain repeats itself, and the verifier has nothing to say.
            Some((errno, remedy)) => {
                LoadError::Limit { what, reason: io::Error::from_raw_os_error(errno).to_string(), remedy }
            }
            None => LoadError::Kernel { what, reason },
        },
    }
}

/// What to do about a limit that the kernel met in bpf(2) or in mmap(2). Other errnos have other meanings there: ENOSPC
/// is a verifier's log that is too long.
fn remedy(errno: i32) -> Option<String> {
    match errno {
        libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EBUSY => limit::of(errno),
        libc::EAGAIN => {
            Some("this process may lock no more memory: raise ulimit -l, or LimitMEMLOCK= in its unit".to_owned())
        }
        _ => None,
    }
}

/// The error, with what to do about it where a limit is behind it; `None` where none is.
pub(super) fn limited(error: &(dyn Error + 'static)) -> Option<String> {
    let errno = errno(error)?;
    Some(format!("{}; {}", io::Error::from_raw_os_error(errno), remedy(errno)?))
}

/// The errno at the root of an error. Some of aya's pass for the error in them, and are not found by its type.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let transparent = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(MapError::IoError(error)), _) | (_, Some(ProgramError::IOError(error))) => error.raw_os_error(),
        _ => None,
    };
    transparent.or_else(|| limit::errno(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel is blamed for what it lacks, and for nothing else.
    #[test]
    fn a_limit_is_no_lack_of_the_kernels() {
        for (errno, code, said) in [
            (libc::EPERM, exit::PRIVILEGE, "CAP_BPF"),
            (libc::ENOMEM, exit::RUNTIME, "lower --max-attempts"),
            (libc::EMFILE, exit::RUNTIME, "ulimit -n"),
            (libc::ENFILE, exit::RUNTIME, "fs.file-max"),
            (libc::EAGAIN, exit::RUNTIME, "ulimit -l"),
            (libc::EBUSY, exit::RUNTIME, "another program uses it"),
            (libc::EINVAL, exit::UNAVAILABLE, "lacks a feature"),
            (libc::ENOSPC, exit::UNAVAILABLE, "lacks a feature"),
        ] {
            let io_error = || io::Error::from_raw_os_error(errno);
            let call = aya::sys::SyscallError { call: "bpf", io_error: io_error() };
            for error in [MapError::IoError(io_error()), MapError::SyscallError(call)] {
                let error = refused("maps", &error);
                assert_eq!(error.exit_code(), code, "{error}");
                assert!(error.to_string().contains(said), "{error}");
            }
        }
    }
}
