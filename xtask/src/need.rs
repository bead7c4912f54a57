//! Things that a machine may lack, and supplying them: said first, with the reason and the exact commands, then done.
//!
//! It does not decide what is missing, and it puts nothing anywhere but through apt, rustup and cargo.

use anyhow::{Context as _, Result, ensure};

use crate::{
    debian,
    process::{self, command, run},
    root,
};

/// One thing, what it does here ("links the kernel programs"), and what brings it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
    pub(crate) from: Source,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Packages(&'static [&'static str]),
    Command(&'static str),
}

impl Need {
    pub(crate) fn packages(&self) -> &'static [&'static str] {
        match self.from {
            Source::Packages(packages) => packages,
            Source::Command(_) => &[],
        }
    }
}

/// Supplies what does not answer when it is asked for its version.
pub(crate) fn supply_unless_answered(question: &str, need: &Need) -> Result<()> {
    if process::ask(question).is_some() { Ok(()) } else { supply(&[need]) }
}

/// Supplies what is missing; silent when nothing is.
pub(crate) fn supply(needs: &[&Need]) -> Result<()> {
    if needs.is_empty() {
        return Ok(());
    }
    let packages = packages(needs);
    let apt = packages.is_empty() || process::exists("apt-get");
    ensure!(apt, "no apt-get here: install by this system's means what Debian calls {}", packages.join(", "));
    let stale = !packages.is_empty() && !debian::available(&packages);
    let prefix = root::prefix();
    let commands = commands(needs, stale, prefix.as_ref().unwrap_or(&""));

    eprintln!("missing here:");
    for need in needs {
        eprintln!("  {}: {}", need.what, need.why);
    }
    eprintln!("so this will be run:");
    for line in &commands {
        eprintln!("  {line}");
    }

    if !packages.is_empty() {
        install(&packages, stale, prefix.context("packages cannot be installed")?)?;
    }
    for need in needs {
        if let Source::Command(line) = need.from {
            run(&mut command(line)).with_context(|| format!("no {}, which {}", need.what, need.why))?;
        }
    }
    Ok(())
}

/// Lists that have a package may still be too old: they name files that the archive has replaced since.
fn install(packages: &[&str], stale: bool, prefix: &str) -> Result<()> {
    let [update, install] = apt_lines(packages, prefix);
    if stale || run(&mut command(&install)).is_err() {
        run(&mut command(&update))?;
        run(&mut command(&install)).context("apt's sources may lack the release's security suite")?;
    }
    Ok(())
}

fn packages(needs: &[&Need]) -> Vec<&'static str> {
    needs.iter().flat_map(|need| need.packages()).copied().collect()
}

fn commands(needs: &[&Need], stale: bool, prefix: &str) -> Vec<String> {
    let packages = packages(needs);
    let from_apt = apt_lines(&packages, prefix).into_iter().skip(usize::from(!stale));
    let others = needs.iter().filter_map(|need| match need.from {
        Source::Packages(_) => None,
        Source::Command(line) => Some(line.to_owned()),
    });
    from_apt.filter(|_| !packages.is_empty()).chain(others).collect()
}

fn apt_lines(packages: &[&str], prefix: &str) -> [String; 2] {
    [debian::UPDATE_LINE, &debian::install_line(packages)].map(|line| format!("{prefix}{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Need = Need { what: "a", why: "does", from: Source::Packages(&["a", "a-dev"]) };
    const B: Need = Need { what: "b", why: "does", from: Source::Command("make b") };
    const C: Need = Need { what: "c", why: "does", from: Source::Packages(&["c"]) };
    const INSTALL: &str = "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --no-remove";

    #[test]
    fn packages_come_first_and_together() {
        assert_eq!(commands(&[&A, &B, &C], false, ""), [format!("{INSTALL} a a-dev c"), "make b".to_owned()]);
    }

    #[test]
    fn stale_lists_are_updated_and_only_apt_gets_sudo() {
        let expected = ["sudo apt-get update".to_owned(), format!("sudo {INSTALL} a a-dev"), "make b".to_owned()];
        assert_eq!(commands(&[&B, &A], true, "sudo "), expected);
    }

    #[test]
    fn no_packages_no_apt() {
        assert_eq!(commands(&[&B], false, "sudo "), ["make b"]);
    }
}
