//! `generate`, and its part of `check`: documents that a program writes, and nobody by hand.
//!
//! It knows which command prints which file. The crate that a command belongs to decides what it prints.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::{
    folders,
    process::{self, command},
};

/// A file, and the command whose standard output it is.
struct Generated {
    file: &'static str,
    command: &'static str,
}

const ALL: &[Generated] =
    &[Generated { file: "docs/causes.md", command: "cargo run --quiet -p tcptrace-verdict --example causes" }];

/// Writes them all.
pub(crate) fn run() -> Result<()> {
    for it in ALL {
        let path = folders::workspace().join(it.file);
        fs::write(&path, it.produce()?).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("{} is as `{}` prints it", it.file, it.command);
    }
    Ok(())
}

/// Fails for the first that is not what its command prints.
pub(crate) fn check() -> Result<()> {
    ALL.iter().try_for_each(|it| generated(&folders::workspace().join(it.file), || it.produce()))
}

impl Generated {
    fn produce(&self) -> Result<String> {
        process::output(command(self.command).current_dir(folders::workspace()))
    }
}

/// Compares a file with what produces it, and names the first line that differs.
fn generated(path: &Path, produce: impl FnOnce() -> Result<String>) -> Result<()> {
    let produced = produce()?;
    let there = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let differs = there.lines().zip(produced.lines()).take_while(|(old, new)| old == new).count();
    let line = |text: &str| text.lines().nth(differs).unwrap_or("(its end)").to_owned();
    ensure!(
        there == produced,
        "{}:{} is not as it is generated; `cargo xtask generate` writes it\n  there:     {}\n  generated: {}",
        path.display(),
        differs + 1,
        line(&there),
        line(&produced)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn a_difference_is_named_with_its_line_and_the_remedy() {
        let path = env::temp_dir().join(format!("xtask-generated-{}.md", std::process::id()));
        fs::write(&path, "a\nb\n").unwrap();
        let compared = |text: &str| generated(&path, || Ok(text.to_owned())).map_err(|error| error.to_string());
        assert_eq!(compared("a\nb\n"), Ok(()));
        let error = compared("a\nc\n").unwrap_err();
        assert!(error.contains(".md:2 is not as it is generated; `cargo xtask generate` writes it"), "{error}");
        assert!(error.ends_with("there:     b\n  generated: c"), "{error}");
        assert!(compared("a\nb\nc\n").unwrap_err().ends_with("there:     (its end)\n  generated: c"));
        assert!(compared("a\nb").is_err());
        fs::remove_file(&path).unwrap();
        assert!(compared("").unwrap_err().starts_with("cannot read"));
    }
}
