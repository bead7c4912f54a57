//! `--log` with captures: the file instead of standard output, opened anew by SIGHUP, and never in the way of reading.

use std::{fs, path::Path, process::Command};

use tcptrace_tests::{
    folder::Folder,
    lab::{Tracer, eventually},
    pcap::{self, Stored},
};

use crate::{
    files::refused,
    pipes::{PATIENCE, Reading},
};

fn without_incidents(log: &str) -> Vec<&str> {
    log.lines().filter(|line| !line.contains("\"type\":\"incident\"")).collect()
}

#[test]
fn reports_and_summary_go_to_the_log() {
    let (stored, folder) = (refused(1..4).store(), Folder::new());
    let path = folder.file("log");
    fs::write(&path, "before\n").unwrap();
    let read = pcap::read(&stored.0, &["--log", &path]);
    assert_eq!((read.code, read.lines.len(), read.summary.is_null(), &read.stderr[..]), (Some(0), 0, true, ""));
    let log = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = without_incidents(log.strip_prefix("before\n").expect(&log));
    assert_eq!(lines.len(), 4, "{log}");
    assert!(lines[3].contains("\"type\":\"summary\""), "{log}");

    // Text, and its summary; never with colours.
    let path = folder.file("text");
    let output = Command::new(Tracer::binary())
        .args(["--color", "always", "--log", &path, "-r"])
        .arg(&stored.0)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(0), 0, 0), "{output:?}");
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.contains("refused") && log.ends_with("losses: none\n") && !log.contains('\u{1b}'), "{log}");
}

#[test]
fn sighup_opens_the_log_anew_while_a_pipe_is_read() {
    let folder = Folder::new();
    let path = folder.file("log");
    let mut reading = Reading::start(&["--log", &path]);
    reading.write(&refused(1..9).octets);
    let has = |path: &str, port: u16| {
        let port = format!("\"port\":{port}}}");
        fs::read_to_string(path).is_ok_and(|log| log.contains(&port)).then_some(())
    };
    eventually(PATIENCE, || has(&path, 5));
    let old = folder.file("log.1");
    fs::rename(&path, &old).unwrap();
    reading.signal("-HUP");
    eventually(PATIENCE, || Path::new(&path).exists().then_some(()));
    reading.signal("-INT");
    let (code, stderr, rest) = reading.end();
    assert_eq!((code, &stderr[..], rest.len()), (Some(0), "", 0));
    let lines = |path: &str| without_incidents(&fs::read_to_string(path).unwrap()).len();
    assert_eq!(lines(&old), 5);
    assert_eq!(lines(&path), 4, "three more, and the summary");
}

#[test]
fn a_log_that_cannot_be_written_is_said_once_and_counted() {
    let stored = refused(1..4).store();
    let read = pcap::read(&stored.0, &["--log", "/dev/full"]);
    assert_eq!((read.code, read.stderr.lines().count()), (Some(1), 1), "{}", read.stderr);
    let said = "tcptrace: cannot write to the log '/dev/full': No space left on device (os error 28); the file system has \
                no room or no inode left: see df -h and df -i, or name another; until it can be written, its lines are \
                lost, and log_lost counts them\n";
    assert_eq!(read.stderr, said);
}

#[test]
fn a_log_never_goes_into_its_own_source() {
    let (stored, link) = (refused(1..2).store(), Stored::new(b""));
    let before = fs::read(&stored.0).unwrap();
    fs::remove_file(&link.0).unwrap();
    std::os::unix::fs::symlink(&stored.0, &link.0).unwrap();
    for path in [&stored.0, &link.0].map(|path| path.to_str().unwrap()) {
        let read = pcap::read(&stored.0, &["--log", path]);
        assert_eq!((read.code, fs::read(&stored.0).unwrap() == before), (Some(2), true));
        assert_eq!(
            read.stderr,
            format!("tcptrace: cannot log to '{path}': -r uses it; name another file with --log\n")
        );
    }
    let read = pcap::read(&stored.0, &["--log", "-"]);
    assert_eq!(read.code, Some(2));
    assert!(read.stderr.contains("reports go to standard output without --log"), "{}", read.stderr);
}
