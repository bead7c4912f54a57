//! Limits of the process: what ran out is named with its remedy, and nothing else is blamed.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _};

use nix::sys::signal::Signal;
use tcptrace_tests::{
    folder::Folder,
    lab::{Finished, Lab, SERVER_V4, Tracer, eventually},
};

use crate::view::{Account, PATIENCE};

/// Runs the tracer for a moment, behind the words of another program.
fn run(lab: &Lab, before: &[&str], binary: &str, args: &[&str]) -> Finished {
    let argv = [before, &[binary, "-i", "eth0", "--json", "--duration", "100ms"], args].concat();
    lab.client.spawn(argv).finish(PATIENCE)
}

/// Closes the files that were left open to this process, so that the limit is of the tracer's own.
const CLOSED: &str = r#"for fd in /proc/$$/fd/*; do fd=${fd##*/}; ((fd > 2)) && eval "exec $fd>&-"; done; exec "$@""#;

#[test]
fn files_that_run_out_are_named_wherever_they_do() {
    let lab = Lab::new();
    let binary = Tracer::binary();
    let binary = binary.to_str().unwrap();
    let (mut refused, mut limited) = (0, 0);
    // From too few to start by, each, to enough for all but a few.
    for limit in (4..34).chain((34..=64).step_by(4)) {
        let finished = run(&lab, &["bash", "-c", CLOSED, "bash", "prlimit", &format!("--nofile={limit}")], binary, &[]);
        let stderr = &finished.stderr;
        let remedy = format!("this process may open {limit} files; raise that: ulimit -n 1024");
        for line in stderr.lines().filter(|line| line.contains("os error 24")) {
            assert!(line.contains(&remedy), "{limit}: {line}");
        }
        for wrong in ["panicked", "lacks a feature", "sandbox", "CONFIG_", "before Linux"] {
            assert!(!stderr.contains(wrong), "{limit}: {stderr}");
        }
        match finished.status.code() {
            Some(0) => limited += u32::from(stderr.contains(&remedy)),
            Some(1) => {
                refused += 1;
                assert!(stderr.lines().count() == 1 && stderr.contains(&remedy), "{limit}: {stderr}");
            }
            code => panic!("{limit}: {code:?}: {stderr}"),
        }
    }
    assert!(refused > 10 && limited > 0, "{refused} did not start, {limited} traced without some facts");
}

#[test]
fn memory_that_runs_out_is_named() {
    let lab = Lab::new();
    let binary = Tracer::binary();
    // The table alone takes 132 MiB.
    let args = ["--max-attempts", "1048576"];
    let finished = run(&lab, &["prlimit", "--as=110000000"], binary.to_str().unwrap(), &args);
    let said = "tcptrace: cannot load the table: not enough memory; lower --max-attempts, or raise this process's limit of \
                104 MiB (ulimit -v, LimitAS= in its unit)\n";
    assert_eq!((finished.status.code(), &finished.stderr[..]), (Some(1), said));
}

/// A user's limit, which root does not have.
#[test]
fn threads_that_run_out_are_named() {
    const THREE: &str = "-all,+bpf,+net_admin,+perfmon";
    let (lab, folder) = (Lab::new(), Folder::new());
    let copied = folder.file("tcptrace");
    fs::copy(Tracer::binary(), &copied).unwrap();
    for path in [folder.0.to_str().unwrap(), &copied] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let user = ["setpriv", "--reuid", "64123", "--regid", "64123", "--clear-groups"];
    let capabilities = ["--bounding-set", THREE, "--inh-caps", THREE, "--ambient-caps", THREE];
    let before = [&user[..], &capabilities, &["prlimit", "--nproc=1"]].concat();
    let finished = run(&lab, &before, &copied, &[]);
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let said = "tcptrace: cannot start a thread: Resource temporarily unavailable (os error 11); ";
    assert!(finished.stderr.starts_with(said) && finished.stderr.lines().count() == 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("TasksMax="), "{}", finished.stderr);
}

/// The verifier gives up with EAGAIN when a signal comes: that is no lack of the kernel's, and no end.
#[test]
fn signals_while_programs_are_loaded_change_nothing() {
    let lab = Lab::new();
    let process = lab.client.spawn([Tracer::binary().to_str().unwrap(), "-i", "eth0", "--json"]);
    let status = format!("/proc/{}/status", process.pid());
    let hears = |status: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        mask >> (Signal::SIGUSR1 as u32 - 1) & 1 == 1
    };
    // As many as there is time for until it traces; before it hears them they kill.
    eventually(PATIENCE, || {
        if hears(&fs::read_to_string(&status).unwrap_or_default()) {
            process.signal(Signal::SIGUSR1);
        }
        let stderr = process.streams().stderr;
        assert!(!stderr.iter().any(|line| line.contains("cannot")), "{stderr:?}");
        stderr.iter().any(|line| line.contains("Ctrl-C")).then_some(())
    });
    lab.client.connect_from(45_000, SocketAddr::new(SERVER_V4, 6036), PATIENCE).unwrap_err();
    let finished = process.stop();
    assert_eq!(Account::of(&finished).lines.len(), 1);
}
