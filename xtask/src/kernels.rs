//! `kernels`: boots the older kernels that Debian offers, and has the release binary trace there.
//!
//! There, too, TCP is made to run out of memory, which on the machine itself would be everybody's.
//!
//! QEMU emulates the processor, so this needs neither root nor a processor's help, and a minute or two a kernel. What
//! happens inside is `guest`'s. It is part of `extra` and not of `test`: what it downloads changes with Debian's
//! archive. QEMU, busybox and cpio are unpacked where they are missing, since QEMU cannot be installed everywhere
//! (`unpacked`).

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    slice,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    build, folders, guest,
    need::{self, Need, Source},
    process::{self, ask, command, exists},
    root,
    unpacked::{self, Program, Tool},
};

/// Every machine is ended by then. A kernel takes about a minute, and ten times that where many others compile.
const SECONDS: u64 = 1800;

/// The modules that the guest needs of a kernel: links, hooks, and the report of sockets (sock_diag).
const MODULES: [&str; 6] = [
    "drivers/net/veth",
    "drivers/net/tun",
    "net/sched/sch_ingress",
    "net/sched/cls_bpf",
    "net/ipv4/inet_diag",
    "net/ipv4/tcp_diag",
];

/// The machine: an emulated processor, 1 GiB, and nothing but a serial line.
const MACHINE: &str =
    "-accel tcg -cpu max -smp 1 -m 1024 -nodefaults -no-user-config -display none -serial stdio -no-reboot";

/// The output of a machine on its serial line, kept beside its kernel.
const LOG: &str = "serial.log";

pub(crate) fn run() -> Result<()> {
    ensure!(root::host()?.starts_with("x86_64"), "only kernels for x86-64 can be booted, by a binary for x86-64");
    need::supply(&NEEDS.iter().filter(|need| !exists(need.what)).collect::<Vec<_>>())?;
    let binary = build::binary()?;
    let target = folders::target()?;
    let directory = target.join("kernels");
    let tools = Tools::supply(&target.join("tools"))?;
    let names = ask("apt-cache search --names-only ^linux-image-.*-cloud-amd64$").unwrap_or_default();
    let kernels = newest(&names);
    ensure!(!kernels.is_empty(), "apt knows no kernel: only on Debian can they be had, after `apt-get update`");
    download(&kernels, &directory)?;
    let mut failed = Vec::new();
    for kernel in kernels {
        let started = Instant::now();
        let place = directory.join(&kernel.package);
        let result = boot(&kernel, &place, &binary, &tools)
            .and_then(|log| guest::judge(&log, &kernel.release, kernel.has_tcx()));
        let seconds = started.elapsed().as_secs();
        match result {
            Ok(judged) => {
                println!("{}: ok in {seconds} s: {}", kernel.release, judged.summary);
                judged.rows.iter().for_each(|row| println!("{row}"));
            }
            Err(error) => {
                println!("{}: FAILED in {seconds} s: {error:#}", kernel.release);
                eprintln!("all that the guest told: {}", place.join(LOG).display());
                failed.push(kernel.release);
            }
        }
    }
    ensure!(failed.is_empty(), "not as expected on {}", failed.join(" and "));
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Kernel {
    package: String,
    /// As the kernel calls itself.
    release: String,
    /// Major and minor first.
    numbers: Vec<u32>,
}

impl Kernel {
    /// tcx, the hook that needs no clsact qdisc, came with Linux 6.6.
    fn has_tcx(&self) -> bool {
        self.numbers.as_slice() >= [6, 6].as_slice()
    }
}

/// The newest of each major and minor number, oldest first, from apt's list of packages.
fn newest(list: &str) -> Vec<Kernel> {
    let kernel = |line: &str| {
        let package = line.split(' ').next()?;
        let release = package.strip_prefix("linux-image-")?;
        let version = release.strip_suffix("-cloud-amd64")?;
        let numbers =
            version.split(|it: char| !it.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect::<Vec<_>>();
        // Fewer numbers: a package that only depends on the newest.
        let names_one = numbers.len() > 2 && version.starts_with(|it: char| it.is_ascii_digit());
        names_one.then(|| Kernel { package: package.to_owned(), release: release.to_owned(), numbers })
    };
    let mut kernels = list.lines().filter_map(kernel).collect::<Vec<_>>();
    kernels.sort_by(|one, other| other.numbers.cmp(&one.numbers));
    kernels.dedup_by(|older, newer| older.numbers[..2] == newer.numbers[..2]);
    kernels.reverse();
    kernels
}

/// Downloads and unpacks those that are not there; installs none.
fn download(kernels: &[Kernel], directory: &Path) -> Result<()> {
    let missing = kernels.iter().filter(|it| !directory.join(&it.package).is_dir()).collect::<Vec<_>>();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("to be downloaded into {}, some 30 MB each:", directory.display());
    missing.iter().for_each(|it| eprintln!("  {}", it.package));
    missing.iter().try_for_each(|it| unpacked::unpack(slice::from_ref(&it.package), &directory.join(&it.package)))
}

/// Runs a machine to its end; what it wrote to its serial line.
fn boot(kernel: &Kernel, directory: &Path, binary: &Path, tools: &Tools) -> Result<String> {
    let guest = directory.join("guest");
    fill(&guest, kernel, directory, binary, tools).with_context(|| format!("cannot make {}", guest.display()))?;
    let files = Command::new("find").arg(".").current_dir(&guest).output()?.stdout;
    fs::write(directory.join("files"), files)?;
    let mut archive = Command::new(&tools.cpio.path);
    archive.args(["--create", "--quiet", "--format=newc", "--file=../initramfs"]);
    process::run(
        tools.cpio.with_libraries(&mut archive).current_dir(&guest).stdin(File::open(directory.join("files"))?),
    )?;

    let mut machine = command("timeout --foreground --kill-after=5");
    machine.arg(SECONDS.to_string()).arg(&tools.qemu.path);
    machine
        .args(tools.qemu.data(&["qemu", "seabios"]).iter().flat_map(|folder| [OsStr::new("-L"), folder.as_os_str()]));
    machine.args(MACHINE.split(' ')).args([
        "-kernel",
        &format!("boot/vmlinuz-{}", kernel.release),
        "-initrd",
        "initramfs",
    ]);
    machine.args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1"]);
    tools.qemu.with_libraries(&mut machine).current_dir(directory).stdin(Stdio::null());
    let ended = process::answer(&mut machine)?;
    fs::write(directory.join(LOG), &ended.stdout)?;
    match ended.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        Some(124 | 137) => bail!("the machine did not end by itself within {SECONDS} s"),
        _ => bail!("QEMU failed: {}", String::from_utf8_lossy(&ended.stderr).trim()),
    }
}

/// Fills the directory that becomes the machine's file system: programs, their libraries, the kernel's modules.
fn fill(guest: &Path, kernel: &Kernel, directory: &Path, binary: &Path, tools: &Tools) -> Result<()> {
    if guest.exists() {
        fs::remove_dir_all(guest)?;
    }
    let programs = [("bin/busybox", tools.busybox.path.clone()), ("lab/ip", find("ip")?), ("lab/tc", find("tc")?)];
    for (place, program) in programs.into_iter().chain([("lab/tcptrace", binary.to_owned())]) {
        for library in libraries(&program)? {
            copy(&library, &guest.join(library.strip_prefix("/")?))?;
        }
        copy(&program, &guest.join(place))?;
    }
    fs::create_dir_all(guest.join("modules"))?;
    let modules = directory.join("lib/modules").join(&kernel.release).join("kernel");
    for module in MODULES {
        // Neither: built in.
        for file in [modules.join(format!("{module}.ko")), modules.join(format!("{module}.ko.xz"))]
            .iter()
            .filter(|it| it.exists())
        {
            copy(file, &guest.join("modules").join(file.file_name().unwrap_or_default()))?;
        }
    }
    fs::write(guest.join("init"), guest::SCRIPT)?;
    fs::set_permissions(guest.join("init"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn find(program: &str) -> Result<PathBuf> {
    process::place(program).with_context(|| format!("no {program} on PATH"))
}

/// The shared libraries that a program loads; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let answer = Command::new("ldd").arg(program).output().context("cannot start `ldd`")?;
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    Ok(answer.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// The programs that are taken into the guest from this machine. They are installed: their libraries have to lie where
/// they do in Debian.
static NEEDS: [Need; 2] = [
    need("ip", "builds the guest's namespaces and links", &["iproute2"]),
    need("tc", "shows what is left on the guest's links", &["iproute2"]),
];

const fn need(what: &'static str, why: &'static str, packages: &'static [&'static str]) -> Need {
    Need { what, why, from: Source::Packages(packages) }
}

/// The programs that are unpacked where they are missing.
struct Tools {
    qemu: Program,
    busybox: Program,
    cpio: Program,
}

impl Tools {
    fn supply(folder: &Path) -> Result<Self> {
        let supply = |program, why, package| Program::supply(&Tool { program, why, package }, folder);
        Ok(Self {
            qemu: supply("qemu-system-x86_64", "is the machine to boot", "qemu-system-x86")?,
            // Statically linked, so that it runs in the guest wherever it came from.
            busybox: supply("busybox", "is the guest's shell and its servers and clients", "busybox-static")?,
            cpio: supply("cpio", "packs the guest's files", "cpio")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_of_each_version_by_number() {
        let list = "linux-image-6.1.0-9-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)\n\
                    linux-image-6.12-cloud-amd64 - Linux for x86-64 cloud (meta-package)\n\
                    linux-image-6.12.99+deb12-cloud-amd64 - Linux 6.12\n\
                    linux-image-6.12.101+deb12-cloud-amd64 - Linux 6.12\n\
                    linux-image-6.1.0-48-cloud-amd64 - Linux 6.1\n\
                    linux-image-cloud-amd64 - Linux\n\
                    linux-image-6.1.0-48-rt-amd64 - Linux 6.1\n";
        let releases = newest(list).into_iter().map(|it| it.release).collect::<Vec<_>>();
        assert_eq!(releases, ["6.1.0-48-cloud-amd64", "6.12.101+deb12-cloud-amd64"]);
    }
}
