//! The binary in a root folder with nothing else: live with /sys alone, offline and `diagnose` with nothing.
//!
//! empty_root.sh runs there, and what the binary prints is judged here.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::Package;
use crate::{folders, process, root};

const SCRIPT: &str = "xtask/src/package/empty_root.sh";

/// What each file that the script writes has to hold.
const EXPECTED: [(&str, &[&str]); 4] = [
    ("version", &["kernel programs: "]),
    ("live", &[r#""outcome":"refused""#, r#""cause":{"name":"port_closed""#]),
    ("offline", &[r#""outcome":"refused""#]),
    ("diagnose", &["nsswitch_ignored", "mymachines", r#""addresses":["127.0.0.1"]"#]),
];

pub(super) fn check(package: &Package) -> Result<()> {
    let place = folders::target()?.join("static/empty-root");
    let (new_root, told) = (place.join("root"), place.join("told"));
    // An earlier run may have left them.
    let _ = fs::remove_dir_all(&place);
    for folder in [&new_root, &told] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::copy(package.binary(), new_root.join("tcptrace"))?;
    let mut script = root::command(Path::new("unshare"))?;
    script.args(["--mount", "--net", "bash"]).arg(folders::workspace().join(SCRIPT)).args([&new_root, &told]);
    process::run(&mut script).with_context(|| format!("its output is in {}", told.display()))?;
    for (file, parts) in EXPECTED {
        let text = fs::read_to_string(told.join(file)).with_context(|| format!("nothing was written about {file}"))?;
        for part in parts {
            ensure!(text.contains(part), "{file}: no {part} in:\n{text}");
        }
    }
    Ok(())
}
