//! The exit code and the text of a failed run, by the error at its root.
//!
//! Each error has its own code (`exit::ExitCode`); here is only the list of the types that may be there.

use tcptrace_filter::Mistake;

use crate::{
    exit,
    ignore::NoList,
    live::{hooks::NoTc, interfaces, load::LoadError, privilege},
    log_file, netns,
    offline::OwnInput,
    probe::target,
    selection::NoProcesses,
};

/// The exit code of an error: what the first type says that it is or holds, else [`exit::RUNTIME`].
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    const TYPES: [fn(&anyhow::Error) -> Option<u8>; 11] = [
        exit::code_of::<privilege::LacksPrivilege>,
        exit::code_of::<LoadError>,
        exit::code_of::<NoTc>,
        exit::code_of::<interfaces::Error>,
        exit::code_of::<netns::Error>,
        exit::code_of::<Mistake>,
        exit::code_of::<log_file::OpenError>,
        exit::code_of::<OwnInput>,
        exit::code_of::<target::Mistake>,
        exit::code_of::<NoList>,
        exit::code_of::<NoProcesses>,
    ];
    TYPES.iter().find_map(|code_of| code_of(error)).unwrap_or(exit::RUNTIME)
}

#[cfg(test)]
mod tests {
    use std::io;

    use tcptrace_filter::Filter;

    use super::{LoadError, NoTc, exit_code, interfaces};

    #[test]
    fn each_error_has_the_code_that_the_help_names() {
        let reason = || "unknown helper".to_owned();
        let cases: [(anyhow::Error, u8); 9] = [
            (LoadError::TooOld { release: "5.10.0".to_owned() }.into(), 69),
            (LoadError::Kernel { what: "maps", reason: reason() }.into(), 69),
            (NoTc { what: "tcx", reason: reason() }.into(), 69),
            (LoadError::Privilege { what: "maps" }.into(), 77),
            (LoadError::Memory { what: "maps" }.into(), 1),
            (interfaces::Error::NoSuchInterface { wanted: "eth7".to_owned(), existing: Vec::new() }.into(), 2),
            (interfaces::Error::Netlink { table: "routes", error: io::ErrorKind::Other.into() }.into(), 1),
            (Filter::parse("src prot 2").expect_err("there is no such word").into(), 2),
            (anyhow::anyhow!("anything else"), 1),
        ];
        for (error, code) in cases {
            assert_eq!(exit_code(&error), code, "{error:#}");
            let error = error.context("cannot attach to 'eth0'");
            assert_eq!(exit_code(&error), code, "{error:#}");
        }
    }
}
