//! What the lab did, as shell lines that do it again by hand.
//!
//! Sockets opened from Rust are written as the `nc` call nearest to them; what has no such call is a comment.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by the namespaces of one lab.
#[derive(Clone, Debug, Default)]
pub struct CommandLog(Arc<Mutex<Vec<String>>>);

impl CommandLog {
    pub(super) fn add(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Every line so far, each ended by a line feed.
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Runs a program to its end, with `stdin` as its input.
    pub(super) fn output(&self, argv: &[String], stdin: &str) -> Output {
        let mut child = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run '{}': {error}; install it, the lab needs it", argv[0]));
        // A program that fails early closes its end; its exit status and stderr tell more than this error would.
        let _ = child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes());
        child.wait_with_output().unwrap_or_else(|error| panic!("cannot wait for '{}': {error}", argv[0]))
    }

    /// One `ip` process for many commands: starting a process costs more than most of them do. Returns what they print.
    pub(super) fn ip_batch(&self, namespace: Option<&str>, lines: &str) -> Result<String, String> {
        let mut argv = vec!["ip".to_owned()];
        if let Some(name) = namespace {
            argv.extend(["-n".to_owned(), name.to_owned()]);
        }
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            self.add(format!("{} {}", shell_line(&argv), line.trim()));
        }
        argv.extend(["-batch".to_owned(), "-".to_owned()]);
        let output = self.output(&argv, lines);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

/// The words of a command, owned.
pub(super) fn words<S: AsRef<str>>(argv: impl IntoIterator<Item = S>) -> Vec<String> {
    argv.into_iter().map(|word| word.as_ref().to_owned()).collect()
}

/// A command as one would type it.
pub(super) fn shell_line(argv: &[String]) -> String {
    argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(
            shell_line(&words(["nft", "tcp dport 80 drop", "it's", ""])),
            r"nft 'tcp dport 80 drop' 'it'\''s' ''"
        );
    }
}
