//! Debian: which system this is, which packages it has or could have, and the lines that install them.
//!
//! It runs nothing that changes the machine; `need` does, after it has said so.

use std::fs;

use crate::process::ask;

/// The facts about the system that the choice of a compiler needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Debian 12, whose security suite has a current compiler with `core` for BPF.
    Bookworm,
    /// Debian in another version, or a system made from it: it may have the packages.
    Relative,
    Other,
}

impl System {
    pub(crate) fn here() -> Self {
        Self::parse(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\''])
        };
        match (value("ID"), value("VERSION_ID")) {
            ("debian", "12") => Self::Bookworm,
            ("debian", _) => Self::Relative,
            _ if value("ID_LIKE").split(' ').any(|id| id == "debian") => Self::Relative,
            _ => Self::Other,
        }
    }
}

/// Whether all these packages are installed.
pub(crate) fn installed(packages: &[&str]) -> bool {
    let states = ask(&format!("dpkg-query --show --showformat=${{db:Status-Status}}\\n {}", packages.join(" ")));
    states.is_some_and(|states| states.lines().filter(|state| *state == "installed").count() == packages.len())
}

/// Whether apt's lists, as they are now, have all these packages.
pub(crate) fn available(packages: &[&str]) -> bool {
    ask(&format!("apt-cache policy {}", packages.join(" "))).is_some_and(|policy| candidates(&policy) == packages.len())
}

/// `--no-remove`: Debian's compilers conflict with each other, and one that somebody installed is not ours to replace.
pub(crate) fn install_line(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    format!("env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --no-remove {packages}")
}

pub(crate) const UPDATE_LINE: &str = "apt-get update";

fn candidates(policy: &str) -> usize {
    let candidates = policy.lines().filter_map(|line| line.trim_start().strip_prefix("Candidate: "));
    candidates.filter(|version| *version != "(none)").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_from_os_release() {
        for (os_release, system) in [
            ("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\n", System::Bookworm),
            ("VERSION_ID=\"13\"\nID=debian\n", System::Relative),
            ("ID=debian\n", System::Relative),
            ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n", System::Relative),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"22\"\n", System::Relative),
            ("ID=mydistro\nID_LIKE=notdebian\nVERSION_ID=\"12\"\n", System::Other),
            ("ID=fedora\nVERSION_ID=42\n", System::Other),
            ("", System::Other),
        ] {
            assert_eq!(System::parse(os_release), system, "{os_release}");
        }
    }

    #[test]
    fn candidates_leave_out_what_apt_only_heard_of() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0\n  Version table:\n     1.96.0 500\n\
                      rustup:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        assert_eq!(candidates(policy), 1);
        assert_eq!(candidates(""), 0);
    }
}
