//! One network namespace: running commands and closures in it, its sysctls, its processes.
//!
//! It does not own the namespace, `Lab` does; a handle may be cloned and sent to other threads.
//! <https://man7.org/linux/man-pages/man7/network_namespaces.7.html>

use std::fs::{self, File};
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command_log::{CommandLog, shell_line, words};
use super::process::Process;

const DIRECTORY: &str = "/run/netns";
const PREFIX: &str = "tt-";

/// A handle on a named network namespace.
#[derive(Clone, Debug)]
pub struct Ns {
    pub(super) name: Arc<str>,
    pub(super) log: CommandLog,
    pub(super) tables: Arc<AtomicU32>,
}

impl Ns {
    pub(super) fn new(lab: &str, role: &str, log: &CommandLog) -> Self {
        Self { name: format!("{lab}-{role}").into(), log: log.clone(), tables: Arc::default() }
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&*self.name)
    }

    /// Runs a command to its end and returns its standard output. Panics with its standard error when it fails.
    #[track_caller]
    pub fn run<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> String {
        let argv = self.argv(argv);
        let output = self.log.output(&argv, "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{stderr}", shell_line(&argv), output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Like `run`, for a command whose failure is an answer.
    pub fn try_run<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Output {
        let argv = self.argv(argv);
        self.log.output(&argv, "")
    }

    /// Runs `ip` commands, one a line, in one process, and returns what they print.
    #[track_caller]
    pub fn ip(&self, lines: &str) -> String {
        self.log.ip_batch(Some(&self.name), lines).unwrap_or_else(|error| panic!("ip -n {}: {error}", self.name))
    }

    /// Starts a command that goes on in the background until it is stopped or dropped.
    pub fn spawn<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Process {
        Process::spawn(&self.argv(argv))
    }

    /// Runs a closure on a fresh thread inside the namespace. A socket made there stays there, wherever it is used.
    ///
    /// A thread of its own, because a thread that has to go back to where it came from is a thread that a panic leaves
    /// in the wrong place. `/sys` still shows the interfaces of the first namespace.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        let body = move || {
            let file = File::open(&path).unwrap_or_else(|error| panic!("cannot open '{}': {error}", path.display()));
            setns(&file, CloneFlags::CLONE_NEWNET).expect("setns needs CAP_SYS_ADMIN; run the tests as root");
            inside()
        };
        thread::scope(|scope| scope.spawn(body).join()).unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Sets a sysctl of this namespace, `net.ipv4.tcp_syn_retries` for one. It dies with the namespace.
    #[track_caller]
    pub fn sysctl(&self, key: &str, value: &str) {
        self.sysctls(&[(key, value)]);
    }

    /// Sets several sysctls, in order.
    #[track_caller]
    pub fn sysctls(&self, settings: &[(&str, &str)]) {
        let missing = self.write_sysctls(settings);
        assert!(missing.is_empty(), "this kernel does not have {missing:?} in {}", self.name);
    }

    /// Sets sysctls and returns those that this kernel does not have here.
    #[track_caller]
    pub(super) fn write_sysctls(&self, settings: &[(&str, &str)]) -> Vec<String> {
        let assignments = settings.iter().map(|(key, value)| format!("{key}={value}"));
        self.log.add(shell_line(&self.prefixed(words(["sysctl", "-qew"]).into_iter().chain(assignments))));
        self.enter(|| {
            let mut missing = Vec::new();
            for (key, value) in settings {
                match fs::write(sysctl_path(key), value) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((*key).to_owned()),
                    Err(error) => panic!("cannot set sysctl '{key}' to '{value}' in {}: {error}", self.name),
                }
            }
            missing
        })
    }

    /// Reads a sysctl of this namespace; none when this kernel does not have it there.
    pub fn read_sysctl(&self, key: &str) -> Option<String> {
        self.enter(|| fs::read_to_string(sysctl_path(key))).ok().map(|value| value.trim().to_owned())
    }

    fn prefixed<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Vec<String> {
        let mut line = words(["ip", "netns", "exec", &self.name]);
        line.extend(words(argv));
        line
    }

    /// The command with `ip netns exec` before it, logged.
    fn argv<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Vec<String> {
        let argv = self.prefixed(argv);
        self.log.add(shell_line(&argv));
        argv
    }
}

fn sysctl_path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key.replace('.', "/"))
}

/// The part of a lab's namespace names that no other lab has.
pub(super) fn lab_name(number: u32) -> String {
    format!("{PREFIX}{}-{number}", std::process::id())
}

/// Removes the namespaces of test processes that were killed before they could, with whatever still runs in them.
pub fn remove_stale() {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return };
    // Another test process may be doing the same: whoever comes second finds nothing, so failures mean nothing here.
    let log = CommandLog::default();
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_stale(name))
    {
        let pids = log.output(&words(["ip", "netns", "pids", &name]), "");
        for pid in String::from_utf8_lossy(&pids.stdout).lines().filter_map(|line| line.trim().parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = log.output(&words(["ip", "netns", "del", &name]), "");
    }
}

fn is_stale(name: &str) -> bool {
    let owner =
        name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
    owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}
