//! The committed BPF objects: builds them where their sources changed, and checks that they are what their sources make.
//!
//! What they are made of stands in `tcptrace-user/build/prebuilt.rs`, which the build scripts share.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{
    folders,
    prebuilt::{ALL, Object, hex},
    process::{self, ask, command, exists},
    setup,
    toolchain::Toolchain,
};

/// One object for all architectures: the programs read no registers, which is all that this names.
pub(crate) const ARCH: &str = "--cfg=bpf_target_arch=\"x86_64\"";
/// Takes the debug sections off and leaves BTF: by the name of Debian's package, or as any LLVM has it.
const STRIP: [&str; 2] = ["llvm-strip-22", "llvm-strip"];

/// Builds the objects whose sources changed. Needs no compiler for BPF where none did.
pub(crate) fn refresh() -> Result<()> {
    for object in ALL {
        if !object.is_current(folders::workspace())? {
            eprintln!("the sources of {} changed: it is built anew", object.name);
            let toolchain = setup::bpf_toolchain()?;
            let bytes = made(&object, &toolchain, folders::workspace(), &folders::target()?)?;
            write(&object, &bytes, &toolchain)?;
        }
    }
    Ok(())
}

/// Fails for an object whose sources changed, and for one whose bytes the recorded tools do not make.
pub(crate) fn check(toolchain: &Toolchain) -> Result<()> {
    for object in ALL {
        ensure!(
            object.is_current(folders::workspace())?,
            "{} is not what {} makes; `cargo xtask build` builds it anew",
            object.file(folders::workspace()).display(),
            object.source
        );
        let recorded = fs::read_to_string(object.origin(folders::workspace()))?;
        if !recorded.ends_with(&tools(toolchain)?) {
            eprintln!("{}: other tools than here built it, so its bytes are not compared", object.name);
            continue;
        }
        let committed = fs::read(object.file(folders::workspace()))?;
        ensure!(
            committed == made(&object, toolchain, folders::workspace(), &folders::target()?)?,
            "{}: the same sources and tools make other bytes",
            object.file(folders::workspace()).display()
        );
    }
    Ok(())
}

/// The bytes that the sources of a workspace make: stripped, and without a path of this machine.
pub(crate) fn made(object: &Object, toolchain: &Toolchain, workspace: &Path, target: &Path) -> Result<Vec<u8>> {
    let folder = target.join("bpf");
    let prefix = rustup(toolchain);
    let core = core(toolchain)?;
    let mut flags = vec![ARCH.to_owned(), "-Cdebuginfo=2".to_owned(), "-Clink-arg=--btf".to_owned()];
    flags.extend(remapped(workspace)?);
    let line = format!(
        "{prefix}cargo build --quiet --package {} --bins --release --target bpfel-unknown-none {core}",
        object.package
    );
    let mut cargo = command(&line);
    cargo.arg("--target-dir").arg(&folder).current_dir(workspace);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env_remove("RUSTC").env_remove("RUSTC_WORKSPACE_WRAPPER");
    process::run(&mut cargo)?;
    let built = folder.join("bpfel-unknown-none/release").join(object.name);
    let stripped = folder.join(format!("{}.o", object.name));
    let strip = STRIP.into_iter().find(|name| exists(name)).context("no llvm-strip, which takes debug sections off")?;
    process::run(command(&format!("{strip} -g")).arg("-o").arg(&stripped).arg(&built))?;
    fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
}

/// The flags by which no path of this machine gets into what is built.
pub(crate) fn remapped(workspace: &Path) -> Result<[String; 2]> {
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))?;
    Ok([format!("--remap-path-prefix={}=/tcptrace", workspace.display()), format!("--remap-path-prefix={home}=/cargo")])
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn write(object: &Object, bytes: &[u8], toolchain: &Toolchain) -> Result<()> {
    let workspace = folders::workspace();
    fs::create_dir_all(workspace.join(object.folder))?;
    fs::write(object.file(workspace), bytes)?;
    let digest = digest(bytes);
    let origin = format!("object {digest}\nsources {}\n{}", object.digest(workspace)?, tools(toolchain)?);
    fs::write(object.origin(workspace), origin)?;
    eprintln!("{}: {} bytes, sha256 {digest}", shown(&object.file(workspace)), bytes.len());
    Ok(())
}

/// The tools here, as an origin ends.
fn tools(toolchain: &Toolchain) -> Result<String> {
    let linker = ask("bpf-linker --version").context("no bpf-linker on PATH")?;
    Ok(format!("{}\n{}\n", rustc(toolchain)?.lines().next().unwrap_or_default(), linker.trim()))
}

fn rustc(toolchain: &Toolchain) -> Result<String> {
    ask(&format!("{}rustc -vV", rustup(toolchain))).with_context(|| format!("no rustc in '{}'", toolchain.name()))
}

/// What makes cargo build `core` for BPF; empty where the compiler has it.
pub(crate) fn core(toolchain: &Toolchain) -> Result<&'static str> {
    Ok(if rustc(toolchain)?.contains("-nightly") { "-Z build-std=core" } else { "" })
}

/// What a command line begins with so that it runs by this toolchain.
pub(crate) fn rustup(toolchain: &Toolchain) -> String {
    if exists("rustup") { format!("rustup run {} ", toolchain.name()) } else { String::new() }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(folders::workspace()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_objects_are_what_the_sources_make() {
        for object in ALL {
            assert!(
                object.is_current(folders::workspace()).unwrap(),
                "`cargo xtask build` builds {} anew",
                object.name
            );
        }
    }

    /// A workspace of a few files; what is no part of the object may change.
    #[test]
    fn every_change_of_what_an_object_is_made_of_is_noticed() {
        let [object, _] = ALL;
        let workspace = env::temp_dir().join(format!("xtask-object-{}", std::process::id()));
        let lock =
            "[[package]]\nname = \"aya-ebpf\"\nversion = \"1\"\n\n[[package]]\nname = \"other\"\nversion = \"1\"\n";
        let files = [
            ("tcptrace-ebpf/src/a.rs", "a"),
            ("tcptrace-ebpf/Cargo.toml", "m"),
            ("Cargo.lock", lock),
            ("Cargo.toml", "[workspace]\n[profile.release]\n"),
            ("tcptrace-user/prebuilt/tcptrace-bpf.o", "o"),
        ];
        let write = |name: &str, text: &str| {
            let path = workspace.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        files.iter().for_each(|(name, text)| write(name, text));
        let sources = object.digest(&workspace).unwrap();
        let origin = format!("object {}\nsources {sources}\n", digest(b"o"));
        assert!(!object.is_current(&workspace).unwrap(), "no origin");
        fs::write(object.origin(&workspace), origin).unwrap();
        assert!(object.is_current(&workspace).unwrap());
        for (name, changed, is_current) in [
            ("tcptrace-ebpf/src/a.rs", "b", false),
            ("tcptrace-ebpf/Cargo.toml", "n", false),
            ("Cargo.lock", &lock.replacen("\"1\"", "\"2\"", 1), false),
            ("Cargo.lock", &format!("{lock}# other\n"), true),
            ("Cargo.toml", "[workspace]\n[profile.dev]\n", false),
            ("Cargo.toml", "[package]\n[profile.release]\n", true),
            ("tcptrace-user/prebuilt/tcptrace-bpf.o", "p", false),
        ] {
            let before = fs::read_to_string(workspace.join(name)).unwrap();
            write(name, changed);
            assert_eq!(object.is_current(&workspace).unwrap(), is_current, "{name}: {changed}");
            write(name, &before);
        }
        write("tcptrace-ebpf/src/b/c.rs", "");
        assert!(!object.is_current(&workspace).unwrap(), "a new file");
        fs::remove_dir_all(&workspace).unwrap();
    }
}
