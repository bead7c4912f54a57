//! Starting other programs: what runs is printed first, in a form that can be pasted, and an error carries it.
//!
//! It uses no shell: a command is written as a line of plain words, so a word holds neither quotes nor spaces.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Error, Result, ensure};

/// The command that a line of plain words names.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Prints the command, runs it and expects success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let status = command.status().with_context(|| cannot_start(command))?;
    ensure!(status.success(), "`{}` failed: {status}", shown(command));
    Ok(())
}

/// Prints the command, runs it, expects success, and returns what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    eprintln!("$ {}", shown(command));
    let output = command.stderr(Stdio::inherit()).output().with_context(|| cannot_start(command))?;
    ensure!(output.status.success(), "`{}` failed: {}", shown(command), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Prints the command, runs it, and returns how it ended and what it printed; nothing of that is shown.
pub(crate) fn answer(command: &mut Command) -> Result<Output> {
    eprintln!("$ {}", shown(command));
    command.output().with_context(|| cannot_start(command))
}

/// Prints the command and becomes it, so that signals and the exit code are its own; returns only if it cannot.
pub(crate) fn become_it(command: &mut Command) -> Error {
    eprintln!("$ {}", shown(command));
    Error::new(command.exec()).context(cannot_start(command))
}

/// The answer of a command, if there is such a command and it succeeds. Nothing is printed.
pub(crate) fn ask(line: &str) -> Option<String> {
    let answer = command(line).env("LC_ALL", "C").stderr(Stdio::null()).output().ok()?;
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// Whether there is such a program. The directories of system programs count too: root has them, a user may not.
pub(crate) fn exists(program: &str) -> bool {
    place(program).is_some()
}

/// The path of such a program.
pub(crate) fn place(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", shown(command))
}

fn shown(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(&value?.to_string_lossy()))));
    let words = [command.get_program()].into_iter().chain(command.get_args());
    variables.chain(words.map(|word| quoted(&word.to_string_lossy()))).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=+,.:/@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_can_be_pasted() {
        let mut it = command("cargo clippy -p x");
        it.arg("it's").arg("").env("RUSTFLAGS", r#"--cfg=arch="x""#);
        assert_eq!(shown(&it), r#"RUSTFLAGS='--cfg=arch="x"' cargo clippy -p x 'it'\''s' ''"#);
    }

    #[test]
    fn failure_names_the_command() {
        assert_eq!(run(&mut command("false 1")).unwrap_err().to_string(), "`false 1` failed: exit status: 1");
        assert_eq!(run(&mut command("/no/such")).unwrap_err().to_string(), "cannot start `/no/such`");
    }

    #[test]
    fn ask_is_silent_about_failure() {
        assert_eq!(ask("echo yes"), Some("yes\n".to_owned()));
        assert_eq!(ask("false"), None);
        assert_eq!(ask("/no/such"), None);
    }
}
