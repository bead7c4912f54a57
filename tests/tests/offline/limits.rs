//! Limits of the process and of a disk: what ran out is named with its remedy.

use std::{fs, process::Command};

use tcptrace_tests::{folder::Folder, lab::Tracer, pcap};

use crate::files::refused;

/// Runs the tracer behind other words.
fn run(before: &[&str], args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(before[0]).args(&before[1..]).arg(Tracer::binary()).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn files_that_run_out_are_named() {
    let stored = refused(1..2).store();
    let path = stored.0.to_str().unwrap();
    let mut refused = 0;
    for limit in 4..16 {
        let folder = Folder::new();
        let args = ["--json", "-r", path, "--log", &folder.file("log"), "-w", &folder.file("packets.pcapng")];
        let (code, stderr) = run(&["prlimit", &format!("--nofile={limit}")], &args);
        if code == Some(0) {
            assert_eq!(stderr, "", "{limit}");
            continue;
        }
        refused += 1;
        assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{limit}: {stderr}");
        let remedy = format!("this process may open {limit} files; raise that: ulimit -n 1024");
        assert!(stderr.contains(&remedy), "{limit}: {stderr}");
    }
    assert!((1..12).contains(&refused), "{refused} of 12");
}

#[test]
fn evidence_on_a_full_disk_is_said_with_the_remedy() {
    let stored = refused(1..200).store();
    let folder = Folder::new();
    // A page for the file: the header fits, and some of the packets.
    let script = format!("mount -t tmpfs -o size=4k none {} && exec \"$@\"", folder.0.display());
    let before = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let args = ["--json", "-r", stored.0.to_str().unwrap(), "-w", &folder.file("packets.pcapng")];
    let (code, stderr) = run(&before, &args);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    for part in
        ["cannot write evidence: cannot write to", "the file system has no room or no inode left", "evidence_shed"]
    {
        assert!(stderr.contains(part), "{stderr}");
    }
    // A file system without inodes takes no file at all.
    let script = format!("mount -t tmpfs -o nr_inodes=1 none {} && exec \"$@\"", folder.0.display());
    for flag in ["-w", "--log"] {
        let args = ["--json", "-r", stored.0.to_str().unwrap(), flag, &folder.file("file")];
        let (code, stderr) = run(&["unshare", "--mount", "sh", "-c", &script, "sh"], &args);
        assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains("No space left on device (os error 28); the file system has no"), "{stderr}");
    }
}

/// Without a reader of signals, a file that is to become longer than allowed kills its writer.
#[test]
fn a_log_that_may_not_become_longer_is_an_error_and_no_end() {
    let (stored, folder) = (refused(1..200).store(), Folder::new());
    let path = folder.file("log");
    let args = ["--json", "-r", stored.0.to_str().unwrap(), "--log", &path];
    let (code, stderr) = run(&["prlimit", "--fsize=100000"], &args);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("raise ulimit -f"), "{stderr}");
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.ends_with('\n') && log.len() <= 100_000, "whole lines, {} bytes", log.len());
    log.lines().for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).expect(line)));
    let whole = pcap::read(&stored.0, &[]);
    assert!(log.lines().count() < whole.lines.len());
}
