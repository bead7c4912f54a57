//! Which compiler builds the kernel programs, and what it lacks: a pure choice from what the machine has.
//!
//! It neither looks at the machine nor changes it: `setup` does. Only `object` and `check`
//! ask for it: whoever leaves the kernel programs alone needs none.

use anyhow::{Result, bail};

use crate::need::{Need, Source};

/// The name under which Debian's compiler is linked into rustup.
pub(crate) const DEBIAN: &str = "debian-bpf";

/// Overrides the choice with the name of any rustup toolchain.
pub(crate) const OVERRIDE: &str = "TCPTRACE_BPF_TOOLCHAIN";

/// The oldest bpf-linker that reads what rustc 1.96 (LLVM 22) writes.
const OLDEST_LINKER: Version = (0, 13);

pub(crate) static C_COMPILER: Need =
    Need { what: "cc", why: "links what runs on the host", from: Source::Packages(&["gcc", "libc6-dev"]) };

pub(crate) static COMPILER: Need = Need {
    what: "rustc for BPF",
    why: "compiles the kernel programs; Debian ships `core` for BPF ready-made, so no nightly and no rust-src",
    from: Source::Packages(&["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"]),
};

pub(crate) static LLVM: Need = Need {
    what: "LLVM 22",
    why: "is what bpf-linker is built on, and must not be older than the compiler's",
    from: Source::Packages(&["llvm-22-dev", "libpolly-22-dev", "zlib1g-dev", "libzstd-dev"]),
};

pub(crate) static LINKER: Need = Need {
    what: "bpf-linker 0.13",
    why: "links the kernel programs into one BPF object",
    from: Source::Command(
        "env LLVM_PREFIX=/usr/lib/llvm-22 \
         cargo install bpf-linker --version 0.13.0 --locked --force --no-default-features --features llvm-22",
    ),
};

pub(crate) static LINK: Need = Need {
    what: "rustup toolchain debian-bpf",
    why: "is the name by which the build finds Debian's compiler",
    from: Source::Command("rustup toolchain link debian-bpf /usr"),
};

pub(crate) type Version = (u32, u32);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// Named by the user.
    Named(String),
    /// Debian's compiler: stable, with `core` for BPF.
    Debian,
    /// rustup's nightly, which builds `core` from rust-src.
    Nightly,
}

impl Toolchain {
    /// Its name in rustup.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Debian => DEBIAN,
            Self::Nightly => "nightly",
        }
    }

    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Named(_) => "TCPTRACE_BPF_TOOLCHAIN says so",
            Self::Debian => "Debian's compiler, which has `core` for BPF",
            Self::Nightly => "it has rust-src, to build `core` from",
        }
    }
}

/// The tools that a machine has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// The value of [`OVERRIDE`].
    pub(crate) named: Option<String>,
    /// Apt has, or on Debian 12 can have, the packages named here.
    pub(crate) packaged: bool,
    pub(crate) c_compiler: bool,
    /// Debian's compiler for BPF is installed,
    pub(crate) compiler: bool,
    /// and rustup knows it as [`DEBIAN`].
    pub(crate) linked: bool,
    pub(crate) llvm: bool,
    pub(crate) rustup: bool,
    /// rustup's nightly has the component rust-src.
    pub(crate) rust_src: bool,
    pub(crate) linker: Option<Version>,
}

/// The compiler to use and what has to be supplied first. Fails where nothing can be supplied by itself.
pub(crate) fn choose(machine: &Machine) -> Result<(Toolchain, Vec<&'static Need>)> {
    let has_linker = machine.linker.is_some();
    if let Some(name) = &machine.named {
        if !has_linker {
            bail!("no bpf-linker on PATH, so '{name}' cannot link the kernel programs: `{INSTALL_LINKER}`");
        }
        return Ok((Toolchain::Named(name.clone()), Vec::new()));
    }
    if machine.rust_src && has_linker && !machine.linked {
        return Ok((Toolchain::Nightly, Vec::new()));
    }
    if machine.packaged {
        return Ok((Toolchain::Debian, debian_lacks(machine)));
    }
    if machine.linked && has_linker {
        return Ok((Toolchain::Debian, Vec::new()));
    }
    let compiler = (!machine.rust_src && !machine.linked).then_some(INSTALL_NIGHTLY);
    let commands = compiler.into_iter().chain((!has_linker).then_some(INSTALL_LINKER)).collect::<Vec<_>>();
    bail!(
        "the kernel programs cannot be built here, and only on Debian 12 is this supplied: `{}`",
        commands.join(" && ")
    )
}

/// From the output of `bpf-linker --version`.
pub(crate) fn linker_version(answer: &str) -> Option<Version> {
    let mut numbers = answer.trim().rsplit(' ').next()?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

const INSTALL_NIGHTLY: &str = "rustup toolchain install nightly --component rust-src";
const INSTALL_LINKER: &str = "cargo install bpf-linker";

fn debian_lacks(machine: &Machine) -> Vec<&'static Need> {
    let new_linker = machine.linker.is_none_or(|version| version < OLDEST_LINKER);
    let needs = [
        (&C_COMPILER, !machine.c_compiler),
        (&COMPILER, !machine.compiler),
        (&LLVM, new_linker && !machine.llvm),
        (&LINKER, new_linker),
        (&LINK, machine.rustup && !machine.linked),
    ];
    needs.into_iter().filter_map(|(need, missing)| missing.then_some(need)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian 12 with rustup's stable toolchain and nothing else.
    fn fresh() -> Machine {
        Machine { packaged: true, c_compiler: true, rustup: true, ..Machine::default() }
    }

    /// The same after `setup`.
    fn ready() -> Machine {
        Machine { compiler: true, linked: true, llvm: true, linker: Some((0, 13)), ..fresh() }
    }

    /// A system without the packages.
    fn foreign() -> Machine {
        Machine { packaged: false, ..fresh() }
    }

    #[test]
    fn choice_by_machine() {
        use Toolchain::{Debian, Nightly};
        let linker = Some((0, 13));
        let named = || Some("mine".to_owned());
        let mine = || Toolchain::Named("mine".to_owned());
        let table: [(&str, Machine, Toolchain, &[&Need]); 13] = [
            ("fresh", fresh(), Debian, &[&COMPILER, &LLVM, &LINKER, &LINK]),
            ("ready", ready(), Debian, &[]),
            ("no cc", Machine { c_compiler: false, ..ready() }, Debian, &[&C_COMPILER]),
            ("old linker", Machine { linker: Some((0, 9)), ..ready() }, Debian, &[&LINKER]),
            (
                "old linker, no llvm",
                Machine { linker: Some((0, 9)), llvm: false, ..ready() },
                Debian,
                &[&LLVM, &LINKER],
            ),
            ("linker built elsewhere", Machine { llvm: false, ..ready() }, Debian, &[]),
            ("not linked", Machine { linked: false, ..ready() }, Debian, &[&LINK]),
            ("no rustup", Machine { linked: false, rustup: false, ..ready() }, Debian, &[]),
            ("nightly is enough", Machine { rust_src: true, linker, ..fresh() }, Nightly, &[]),
            ("linked beats nightly", Machine { rust_src: true, ..ready() }, Debian, &[]),
            ("nightly elsewhere", Machine { rust_src: true, linker, ..foreign() }, Nightly, &[]),
            ("linked by hand elsewhere", Machine { linked: true, linker, ..foreign() }, Debian, &[]),
            ("named beats all", Machine { named: named(), rust_src: true, ..ready() }, mine(), &[]),
        ];
        for (case, machine, toolchain, needs) in table {
            let (chosen, lacking) = choose(&machine).expect(case);
            assert_eq!(chosen, toolchain, "{case}");
            assert_eq!(lacking, needs, "{case}");
        }
    }

    #[test]
    fn nightly_without_a_linker_is_no_reason_to_avoid_the_packages() {
        let (chosen, lacking) = choose(&Machine { rust_src: true, ..fresh() }).unwrap();
        assert_eq!(chosen, Toolchain::Debian);
        assert_eq!(lacking, [&COMPILER, &LLVM, &LINKER, &LINK]);
    }

    #[test]
    fn elsewhere_the_error_has_the_commands_that_are_missing() {
        for (machine, commands) in [
            (foreign(), "`rustup toolchain install nightly --component rust-src && cargo install bpf-linker`"),
            (Machine { rust_src: true, ..foreign() }, "`cargo install bpf-linker`"),
            (Machine { linked: true, ..foreign() }, "`cargo install bpf-linker`"),
            (Machine { linker: Some((0, 13)), ..foreign() }, "`rustup toolchain install nightly --component rust-src`"),
            (Machine { named: Some("mine".to_owned()), ..foreign() }, "`cargo install bpf-linker`"),
        ] {
            let error = choose(&machine).unwrap_err().to_string();
            assert!(error.ends_with(&format!(": {commands}")), "{error}");
        }
    }

    #[test]
    fn linker_versions() {
        assert_eq!(linker_version("bpf-linker 0.13.0\n"), Some((0, 13)));
        assert_eq!(linker_version("bpf-linker 1.2.0-rc.1"), Some((1, 2)));
        assert_eq!(linker_version(""), None);
        assert_eq!(linker_version("bpf-linker"), None);
    }
}
