//! Programs from Debian packages that are unpacked into a folder of the project's and never installed.
//!
//! apt refuses to install QEMU where another release's qemu-utils is: the two conflict. A package that is only unpacked
//! conflicts with nothing and needs no root. It does not unpack what is installed already, and runs no package's
//! scripts.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::process::{self, ask, command};

/// A program, what it does here, and the package that brings it.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) why: &'static str,
    pub(crate) package: &'static str,
}

/// The path of a program, and the root of the libraries that were unpacked with it; no libraries for an installed one.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    root: Option<PathBuf>,
}

impl Program {
    /// Finds a program that is installed or was unpacked below `folder` before, and unpacks its package otherwise.
    pub(crate) fn supply(tool: &Tool, folder: &Path) -> Result<Self> {
        if let Some(path) = process::place(tool.program) {
            return Ok(Self { path, root: None });
        }
        let root = folder.join(tool.package);
        if !root.is_dir() {
            eprintln!("missing here: {}, which {}; it is unpacked into {}", tool.program, tool.why, root.display());
            unpack(&closure(tool.package)?, &root)?;
        }
        let path = below(&root, tool.program)
            .with_context(|| format!("no {} in {}: remove it and try again", tool.program, root.display()))?;
        Ok(Self { path, root: Some(root) })
    }

    /// Lets a command that starts this program find the program's libraries, in place of those cargo set for xtask.
    pub(crate) fn with_libraries<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        let folders = self.root.iter().flat_map(|root| library_folders(root)).collect::<Vec<_>>();
        match env::join_paths(&folders) {
            Ok(path) if !folders.is_empty() => command.env("LD_LIBRARY_PATH", path),
            _ => command,
        }
    }

    /// Folders of the program's data, `usr/share/qemu` for one; none for an installed program, which knows its own.
    pub(crate) fn data(&self, names: &[&str]) -> Vec<PathBuf> {
        let root = self.root.iter();
        root.flat_map(|root| names.iter().map(|name| root.join("usr/share").join(name))).collect()
    }
}

/// Downloads packages and unpacks them into `place`, which is either complete afterwards or not there.
pub(crate) fn unpack(packages: &[String], place: &Path) -> Result<()> {
    let unfinished = place.with_file_name("unfinished");
    let archives = unfinished.join("archives");
    // An earlier try may have left half a package there.
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
    process::run(command("apt-get download").args(packages).current_dir(&archives))
        .context("apt's lists may be too old: `apt-get update` brings new ones")?;
    for archive in fs::read_dir(&archives)? {
        process::run(command("dpkg-deb --extract").arg(archive?.path()).arg(&unfinished))?;
    }
    fs::remove_dir_all(&archives)?;
    fs::rename(&unfinished, place).with_context(|| format!("cannot make {}", place.display()))
}

/// A package, and what it depends on and this machine lacks: what apt would install if it were allowed to.
fn closure(package: &str) -> Result<Vec<String>> {
    let plan = ask(&format!("apt-get install --simulate --no-install-recommends {package}"));
    let plan = plan.with_context(|| format!("apt knows no {package}: `apt-get update` may bring it"))?;
    Ok(to_install(&plan))
}

/// The packages that a simulated run of apt-get would install.
fn to_install(plan: &str) -> Vec<String> {
    let name = |line: &str| line.strip_prefix("Inst ")?.split(' ').next().map(str::to_owned);
    plan.lines().filter_map(name).collect()
}

fn below(root: &Path, program: &str) -> Option<PathBuf> {
    ["bin", "sbin", "usr/bin", "usr/sbin"]
        .map(|folder| root.join(folder).join(program))
        .into_iter()
        .find(|it| it.is_file())
}

/// Debian's library folders below `root`: `lib` and `usr/lib`, and the folders of an architecture in both.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let plain = ["lib", "usr/lib"].map(|folder| root.join(folder));
    let inner = plain.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path());
    let architectures = inner.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")).collect::<Vec<_>>();
    plain.into_iter().chain(architectures).filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_installed_is_unpacked_and_what_would_be_removed_is_not_asked() {
        let plan = "Reading package lists...\nThe following packages will be REMOVED:\n  qemu-utils\n\
                    Remv qemu-utils [1:10.0.2]\nInst libfdt1 (1.6.1-4 Debian:12 [amd64])\n\
                    Inst qemu-system-x86 [1:7.1] (1:7.2 Debian:12 [amd64])\nConf libfdt1 (1.6.1-4 Debian:12 [amd64])\n";
        assert_eq!(to_install(plan), ["libfdt1", "qemu-system-x86"]);
    }

    #[test]
    fn libraries_are_found_below_the_folder_and_an_installed_program_needs_none() {
        let root = env::temp_dir().join(format!("xtask-unpacked-{}", std::process::id()));
        let folder = root.join("usr/lib/x86_64-linux-gnu");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/emulator"), "").unwrap();
        assert_eq!(library_folders(&root), [root.join("usr/lib"), folder.clone()]);
        assert_eq!(below(&root, "emulator"), Some(root.join("usr/bin/emulator")));

        let mut command = command("true");
        let path = PathBuf::from("/usr/bin/true");
        let environment = |command: &Command| command.get_envs().any(|(name, _)| name == "LD_LIBRARY_PATH");
        Program { path: path.clone(), root: None }.with_libraries(&mut command);
        assert!(!environment(&command));
        let unpacked = Program { path, root: Some(root.clone()) };
        unpacked.with_libraries(&mut command);
        assert!(environment(&command));
        assert_eq!(unpacked.data(&["qemu"]), [root.join("usr/share/qemu")]);
        fs::remove_dir_all(root).unwrap();
    }
}
