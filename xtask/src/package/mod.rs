//! `package`: a static binary for each architecture, with what belongs to it, in a folder and an archive.
//!
//! Why musl, zig and these profile settings: docs/decisions/014-static-binaries.md. `checks` holds the packages to what
//! the README promises of them.

mod checks;
mod crates;
mod empty_root;
mod notices;
mod zig;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    folders, object,
    process::{self, command},
    root,
};

/// The architectures, as rustc and qemu-user call them, and the targets.
const TARGETS: [(&str, &str); 2] = [("x86_64", "x86_64-unknown-linux-musl"), ("aarch64", "aarch64-unknown-linux-musl")];
/// Files that every package has.
const DOCUMENTS: [&str; 5] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "LICENSE-GPL2"];
/// The licences of what is linked into the binary.
const NOTICES: &str = "LICENSES-OF-DEPENDENCIES";
/// The sums of a package's files, and of the archives.
const SUMS: &str = "SHA256SUMS";
/// Measured: docs/decisions/014-static-binaries.md.
const PROFILE: [&str; 3] =
    ["profile.release.strip=\"symbols\"", "profile.release.lto=\"fat\"", "profile.release.codegen-units=1"];

/// A package in its folder.
pub(crate) struct Package {
    architecture: &'static str,
    target: &'static str,
    folder: PathBuf,
}

impl Package {
    fn binary(&self) -> PathBuf {
        self.folder.join("tcptrace")
    }

    /// Whether its binary runs on this machine.
    fn is_native(&self) -> Result<bool> {
        Ok(root::host()?.starts_with(self.architecture))
    }
}

/// Makes the packages, and checks them if asked to.
pub(crate) fn run(check: bool) -> Result<()> {
    let all = folders::target()?.join("packages");
    if all.exists() {
        fs::remove_dir_all(&all).with_context(|| format!("cannot empty {}", all.display()))?;
    }
    fs::create_dir_all(&all).with_context(|| format!("cannot make {}", all.display()))?;
    let packages = made(&all)?;
    if check { checks::run(&packages, &all) } else { Ok(()) }
}

fn made(all: &Path) -> Result<Vec<Package>> {
    object::refresh()?;
    let zig = zig::supply()?;
    let version = env!("CARGO_PKG_VERSION");
    let mut packages = Vec::new();
    for (architecture, target) in TARGETS {
        let folder = all.join(format!("tcptrace-{version}-{target}"));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::copy(zig.build(target, &PROFILE)?, folder.join("tcptrace"))?;
        packages.push(Package { architecture, target, folder });
    }
    let native = packages.iter().find(|it| it.is_native().unwrap_or(false));
    let native =
        native.context("none of the packages runs on this machine, and one has to write the man pages")?.binary();
    for package in &packages {
        process::run(Command::new(&native).arg("generate").arg(package.folder.join("share")))?;
        for name in DOCUMENTS {
            fs::copy(folders::workspace().join(name), package.folder.join(name))?;
        }
        fs::write(package.folder.join(NOTICES), notices::text(package.target, &zig.musl())?)?;
        write_sums(&package.folder, &files(&package.folder)?)?;
        archive(all, &package.folder)?;
        let size = fs::metadata(package.binary())?.len();
        println!("{}: the binary has {size} bytes", package.folder.display());
    }
    let is_archive = |file: &PathBuf| file.extension().is_some_and(|it| it == "gz");
    write_sums(all, &files(all)?.into_iter().filter(is_archive).collect::<Vec<_>>())?;
    Ok(packages)
}

/// Packs a folder so that the same files make the same bytes: sorted, without owners, at the commit's time.
fn archive(all: &Path, folder: &Path) -> Result<()> {
    let time = process::ask("git log -1 --format=%ct").unwrap_or_else(|| "0".to_owned());
    let name = folder.file_name().context("a package's folder has a name")?.to_string_lossy().into_owned();
    let mut tar = command("tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX");
    tar.arg(format!("--mtime=@{}", time.trim())).arg("--use-compress-program=gzip --no-name --best");
    process::run(tar.arg("--directory").arg(all).arg("--file").arg(all.join(format!("{name}.tar.gz"))).arg(&name))
}

/// Writes what `sha256sum --check` reads.
fn write_sums(folder: &Path, files: &[PathBuf]) -> Result<()> {
    let mut lines = String::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(file).display();
        lines.push_str(&format!("{}  {name}\n", object::digest(&fs::read(file)?)));
    }
    fs::write(folder.join(SUMS), lines).with_context(|| format!("cannot write sums into {}", folder.display()))
}

/// The files below a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn sums_are_what_sha256sum_reads() {
        let folder = env::temp_dir().join(format!("xtask-package-{}", std::process::id()));
        fs::create_dir_all(folder.join("b")).unwrap();
        fs::write(folder.join("b/c"), "c").unwrap();
        fs::write(folder.join("a"), "a").unwrap();
        write_sums(&folder, &files(&folder).unwrap()).unwrap();
        let check = || command("sha256sum --check --strict --quiet").arg(SUMS).current_dir(&folder).output().unwrap();
        assert!(check().status.success());
        fs::write(folder.join("b/c"), "d").unwrap();
        assert!(!check().status.success());
        fs::remove_dir_all(folder).unwrap();
    }
}
