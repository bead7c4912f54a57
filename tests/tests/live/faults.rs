//! What the tracer says when the kernel does not answer it, or nobody reads what it says: never what it does not know.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use tcptrace_tests::lab::{Lab, Ns, SERVER_V4, Tracer, eventually};

use crate::interfaces::{assert_refused, bring_up, make_pair, refuse};
use crate::view::{Account, PATIENCE, View};

fn limit_descriptors(view: &View, limit: &str) {
    let pid = view.process().pid().to_string();
    let status =
        std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:4096")]).status();
    assert!(status.is_ok_and(|it| it.success()), "prlimit is of util-linux");
}

/// The number that the next descriptor gets.
fn lowest_free(view: &View) -> usize {
    let is_used = |number: &usize| Path::new(&format!("/proc/{}/fd/{number}", view.process().pid())).is_symlink();
    (0..).find(|number| !is_used(number)).expect("numbers do not end")
}

/// Bytes that wait in netlink sockets of a namespace.
fn waiting(ns: &Ns) -> u64 {
    let table = ns.enter(|| fs::read_to_string("/proc/thread-self/net/netlink")).unwrap();
    table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(4)?.parse::<u64>().ok()).sum()
}

/// More changes than there is room for notices of them.
fn lose_notices(ns: &Ns, view: &View, interface: &str) {
    view.process().signal(Signal::SIGSTOP);
    let changes: Vec<_> = (0..2000).map(|it| format!("link set {interface} mtu {}", 1300 + it % 2)).collect();
    ns.ip(&changes.join("\n"));
    view.process().signal(Signal::SIGCONT);
}

#[test]
fn a_list_of_interfaces_that_cannot_be_read_detaches_nothing() {
    let lab = Lab::new();
    let ns = &lab.client;
    make_pair(ns, "near");
    let view = View::start(ns, &["-i", "near"]);
    refuse(ns, "near", 40000);
    assert_refused(&view, 40000, "near");

    // The socket that looks for tunnels is closed after the first second, and leaves its number to another.
    std::thread::sleep(std::time::Duration::from_secs(2));
    // Another socket, by which the list would be asked for, is one too many.
    limit_descriptors(&view, &lowest_free(&view).to_string());
    lose_notices(ns, &view, "near");
    view.wait_for_notice("notices of interfaces were lost");
    refuse(ns, "near", 40001);
    assert_refused(&view, 40001, "near");

    // When it can be read again, it is.
    ns.ip("link set near down\nlink set near name renamed");
    lose_notices(ns, &view, "renamed");
    limit_descriptors(&view, "4096");
    view.wait_for_notice("near is called renamed now");
    bring_up(ns, "renamed");
    refuse(ns, "renamed", 40002);
    assert_refused(&view, 40002, "renamed");
    let account = view.end();
    assert!(!account.stderr.contains("has gone"), "{}", account.stderr);
}

/// A sandbox in which reading a map's element is refused, as a policy of system calls may.
const REFUSES_LOOKUPS: &str = env!("CARGO_BIN_EXE_without-lookups");

#[test]
fn counters_that_cannot_be_read_are_unknown_and_not_zero() {
    let lab = Lab::new();
    let binary = Tracer::binary();
    let start = |args: &[&str]| {
        let argv = [REFUSES_LOOKUPS, binary.to_str().unwrap(), "-i", "eth0", "--local", "off"];
        let process = lab.client.spawn(argv.iter().chain(args));
        let is_on = |line: &String| line.contains("tracing;");
        process.wait_for("the banner", PATIENCE, |it| it.stderr.iter().any(is_on).then_some(()));
        lab.client.connect_from(40000, (SERVER_V4, 6036).into(), PATIENCE).unwrap_err();
        process.wait_for("its end", PATIENCE, |it| (!it.stdout.is_empty()).then_some(()));
        let finished = process.stop();
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        finished
    };
    let reason = "the kernel's counters could not be read: ";
    let account = Account::of(&start(&["--json"]));
    let summary = &account.summary;
    assert!(summary["uncounted"].as_str().is_some_and(|it| it.starts_with(reason)), "{summary:#}");
    for field in ["/attempts/opened", "/packets", "/segments", "/counters", "/attempts/by_outcome/established"] {
        assert_eq!(summary.pointer(field), Some(&Value::Null), "{field} of {summary:#}");
    }
    assert_eq!(summary["attempts"]["by_outcome"]["refused"], 1, "userspace counts it");

    // A long line is folded.
    let stderr = start(&[]).stderr.replace("\n    ", " ");
    assert!(stderr.contains(&format!("losses: those in the kernel are unknown: {reason}")), "{stderr}");
    assert!(!stderr.contains("losses: none") && !stderr.contains("0 attempts"), "{stderr}");
    assert_eq!(stderr.matches("cannot read the kernel's counters").count(), 1, "{stderr}");
}

/// A pipe with a name, removed on drop; its reader holds it open.
struct Pipe {
    path: PathBuf,
    reader: File,
}

impl Pipe {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tcptrace-stderr-{}", std::process::id()));
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        Self { path, reader }
    }

    /// Reads until this came by.
    fn wait_for(&mut self, text: &str) {
        let mut read = String::new();
        eventually(PATIENCE, || {
            let mut part = [0; 4096];
            match self.reader.read(&mut part) {
                Ok(length) => read.push_str(&String::from_utf8_lossy(&part[..length])),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            read.contains(text).then_some(())
        });
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[test]
fn messages_that_nobody_reads_are_counted() {
    let lab = Lab::new();
    let ns = &lab.client;
    ns.ip("link add first type veth peer name far");
    let mut pipe = Pipe::new();
    let binary = Tracer::binary();
    let line = format!("exec {} --json --local off -i first 2>{}", binary.display(), pipe.path.display());
    let process = ns.spawn(["sh", "-c", &line]);
    pipe.wait_for("tracing;");
    // Each is a message; the pipe and the queue take some 1100 of them.
    let both = "link set first name second\nlink set second name first";
    for _ in 0..40 {
        ns.ip(&vec![both; 20].join("\n"));
        eventually(PATIENCE, || (waiting(ns) == 0).then_some(()));
    }
    let finished = process.stop();
    assert_eq!(finished.status.code(), Some(0));
    let summary = finished.json().pop().unwrap();
    let shed = summary["losses"]["messages_shed"].as_u64().unwrap_or_else(|| panic!("{summary:#}"));
    assert!((1..1600).contains(&shed), "{shed}");
}

/// An empty root has no /dev/urandom.
#[test]
fn random_numbers_take_no_file() {
    let lab = Lab::new();
    let binary = Tracer::binary();
    let hidden = format!("mount --bind /dev/null /dev/urandom && exec {} -i eth0 --duration 0.1", binary.display());
    let finished = lab.client.spawn(["unshare", "--mount", "sh", "-c", &hidden]).finish(PATIENCE);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
}
