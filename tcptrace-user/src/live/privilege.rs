//! The capabilities that tracing takes, and the message to a user who lacks one.
//!
//! The user id is never checked: only the kernel's own checks count.

use caps::{CapSet, Capability};

use crate::exit::{self, ExitCode};

/// The capabilities for loading and attaching, with the reason. CAP_SYS_ADMIN stands for the first and the last, as in
/// the kernel.
const NEEDED: [(Capability, &str); 3] = [
    (Capability::CAP_BPF, "to create maps and load programs"),
    (Capability::CAP_NET_ADMIN, "to attach them to interfaces"),
    (Capability::CAP_PERFMON, "to load programs that read headers of variable length"),
];

/// This process lacks a capability, or its capabilities cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LacksPrivilege {
    #[error("missing privilege: {lacks}; {}", grant())]
    Lacks { lacks: String },
    #[error("cannot read the capabilities of this process: {0}")]
    Unreadable(caps::errors::CapsError),
}

impl ExitCode for LacksPrivilege {
    fn exit_code(&self) -> u8 {
        exit::PRIVILEGE
    }
}

/// Whether tracing may begin.
///
/// # Errors
/// Which capabilities lack, what for, and the command that grants them.
pub fn check() -> Result<(), LacksPrivilege> {
    let held = caps::read(None, CapSet::Effective).map_err(LacksPrivilege::Unreadable)?;
    let lacks: Vec<_> = NEEDED
        .iter()
        .filter(|(capability, _)| {
            let covered = *capability != Capability::CAP_NET_ADMIN && held.contains(&Capability::CAP_SYS_ADMIN);
            !covered && !held.contains(capability)
        })
        .map(|(capability, why)| format!("{capability} ({why})"))
        .collect();
    if lacks.is_empty() { Ok(()) } else { Err(LacksPrivilege::Lacks { lacks: lacks.join(", ") }) }
}

/// The way to get the privilege.
#[must_use]
pub fn grant() -> String {
    let program = std::env::current_exe().map_or_else(|_| "tcptrace".to_owned(), |path| path.display().to_string());
    format!("run tcptrace with sudo, or once: sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep {program}")
}
