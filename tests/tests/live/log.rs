//! `--log`: what is in the file, and what becomes of it when it is rotated, full or gone.

use std::{fs, net::SocketAddr, path::Path};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcptrace_tests::{
    contract,
    folder::Folder,
    lab::{Finished, Lab, Process, SERVER_V4, Tracer, eventually},
};

use crate::view::PATIENCE;

const CLOSED: SocketAddr = SocketAddr::new(SERVER_V4, 6036);

fn refuse(lab: &Lab, ports: impl IntoIterator<Item = u16>) {
    ports.into_iter().for_each(|port| drop(lab.client.connect_from(port, CLOSED, PATIENCE).unwrap_err()));
}

/// Starts the tracer behind other words, and returns when it traces.
fn start(lab: &Lab, before: &[&str], args: &[&str]) -> Process {
    let binary = Tracer::binary();
    let argv = before.iter().copied().chain([binary.to_str().unwrap(), "-i", "eth0", "--local", "own"]);
    let process = lab.client.spawn(argv.chain(args.iter().copied()));
    process.wait_for("the banner", PATIENCE, |it| it.stderr.iter().any(|it| it.contains("Ctrl-C")).then_some(()));
    process
}

/// The lines of a file; each is whole, and JSON.
fn lines(path: impl AsRef<Path>) -> Vec<Value> {
    parsed(&fs::read_to_string(path).unwrap_or_default())
}

fn parsed(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "half a line: {text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    lines.iter().for_each(contract::hold);
    lines
}

fn ports(lines: &[Value]) -> Vec<u64> {
    lines.iter().filter_map(|line| line["client"]["port"].as_u64()).collect()
}

#[track_caller]
fn wait_for_port(path: &str, port: u64) {
    eventually(PATIENCE, || fs::read_to_string(path).ok()?.contains(&format!("\"port\":{port}}}")).then_some(()));
}

fn said<'a>(finished: &'a Finished, text: &str) -> Vec<&'a str> {
    finished.stderr.lines().filter(|line| line.contains(text)).collect()
}

#[test]
fn reports_and_summary_go_to_the_log_and_nowhere_else() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let path = folder.file("log");
    fs::write(&path, "before\n").unwrap();
    let process = start(&lab, &[], &["--log", &path, "--color", "always"]);
    refuse(&lab, [41_000]);
    eventually(PATIENCE, || fs::read_to_string(&path).unwrap().contains(":41000").then_some(()));
    process.signal(Signal::SIGUSR1);
    eventually(PATIENCE, || fs::read_to_string(&path).unwrap().contains("losses: none\n").then_some(()));
    let finished = process.stop();
    assert_eq!((finished.status.code(), &finished.lines[..]), (Some(0), &[][..]), "{}", finished.stderr);
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.starts_with("before\n") && log.ends_with("losses: none\n"), "{log}");
    assert_eq!(log.matches("losses: none\n").count(), 2, "so far, and at the end: {log}");
    assert!(log.contains("refused") && !log.contains('\u{1b}'), "{log}");
    assert!(!finished.stderr.contains("losses:"), "{}", finished.stderr);

    let path = folder.file("json");
    let process = start(&lab, &[], &["--log", &path, "--json", "-w", "-"]);
    refuse(&lab, [41_001]);
    wait_for_port(&path, 41_001);
    let finished = process.stop();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let log = lines(&path);
    assert_eq!((ports(&log), &log.last().unwrap()["type"]), (vec![41_001], &"summary".into()));
}

/// Also where nohup(1) has the signal ignored.
#[test]
fn sighup_opens_it_anew_and_no_line_is_lost_or_torn() {
    for before in [&[][..], &["nohup"]] {
        let (lab, folder) = (Lab::new(), Folder::new());
        let path = folder.file("log");
        let process = start(&lab, before, &["--log", &path, "--json", "--all"]);
        for round in 0..20_u16 {
            refuse(&lab, (0..10).map(|port| 42_000 + 10 * round + port));
            fs::rename(&path, format!("{path}.{round}")).unwrap();
            process.signal(Signal::SIGHUP);
            // It may be made before the last lines of this round, which are in either file then.
            eventually(PATIENCE, || Path::new(&path).exists().then_some(()));
        }
        let finished = process.stop();
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        let mut all: Vec<_> = (0..20).flat_map(|round| lines(format!("{path}.{round}"))).collect();
        all.extend(lines(&path));
        assert_eq!(all.last().unwrap()["losses"], serde_json::json!({}));
        let mut ports = ports(&all);
        ports.sort_unstable();
        assert_eq!(ports, (42_000..42_200).collect::<Vec<_>>());
    }
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_at_once() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let (missing, own) = (folder.file("none/log"), folder.file("own.pcapng"));
    let place = folder.0.to_str().unwrap().to_owned();
    let no_folder = format!("cannot log to '{missing}': the folder '{place}/none' does not exist; make it\n");
    let no_file = format!("cannot log to '{place}': it is a folder; name a file\n");
    let used = format!("cannot log to '{own}': -w uses it; name another file with --log\n");
    for (args, code, said) in [
        (&["--log", &missing][..], 1, &no_folder),
        (&["--log", &place], 1, &no_file),
        (&["--log", &own, "-w", &own], 2, &used),
    ] {
        let binary = Tracer::binary();
        let argv = [binary.to_str().unwrap(), "-i", "eth0"].into_iter().chain(args.iter().copied());
        let finished = lab.client.spawn(argv).finish(PATIENCE);
        assert_eq!((finished.status.code(), &finished.stderr), (Some(code), &format!("tcptrace: {said}")));
    }
}

#[test]
fn a_folder_that_has_gone_costs_lines_until_it_is_back() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let (place, moved) = (folder.file("logs"), folder.file("moved"));
    let path = format!("{place}/log");
    fs::create_dir(&place).unwrap();
    let process = start(&lab, &[], &["--log", &path, "--json"]);
    refuse(&lab, [43_000]);
    wait_for_port(&path, 43_000);
    fs::rename(&place, &moved).unwrap();
    process.signal(Signal::SIGHUP);
    let gone = "cannot open the log";
    process.wait_for("the error", PATIENCE, |it| it.stderr.iter().any(|it| it.contains(gone)).then_some(()));
    refuse(&lab, [43_001]);
    // Each signal is a try, and no news.
    process.signal(Signal::SIGHUP);
    eventually(PATIENCE, || {
        process.signal(Signal::SIGUSR1);
        let stderr = process.streams().stderr;
        stderr.iter().any(|line| line.contains("losses: 1 log_lost")).then_some(())
    });
    // The first line that finds its folder ends it; until one has come, more are lost.
    let mut next = 43_002..44_000;
    fs::create_dir(&place).unwrap();
    eventually(PATIENCE, || {
        refuse(&lab, next.next());
        Path::new(&path).exists().then_some(())
    });
    let finished = process.stop();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let errors = said(&finished, gone);
    assert_eq!(errors.len(), 1, "{}", finished.stderr);
    let cause = format!("the log '{path}': the folder '{place}' does not exist; make it; until it can be written, ");
    assert!(errors[0].contains(&cause), "{}", errors[0]);
    let log = lines(&path);
    let lost = log.last().unwrap()["losses"]["log_lost"].as_u64().expect("a loss");
    assert_eq!(ports(&lines(format!("{moved}/log"))), [43_000]);
    let (there, all) = (1 + lost + ports(&log).len() as u64, u64::from(next.start - 43_000));
    assert!((all..=all + INCIDENTS).contains(&there), "every line is there or counted: {there} of {all}");
    assert!(finished.stderr.contains(&format!("{lost} lines of the log '{path}' are lost")), "{}", finished.stderr);
}

/// Lines of the incident that all of these failures are, which may be among those lost.
const INCIDENTS: u64 = 4;

/// On a full disk lines are lost, whole ones, until there is room again.
#[test]
fn a_full_disk_costs_lines_and_not_the_trace() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let mount = folder.0.to_str().unwrap();
    let mounted = format!("mount -t tmpfs -o size=8k none {mount} && exec \"$@\"");
    let before = ["unshare", "--mount", "sh", "-c", &mounted, "sh"];
    let path = folder.file("log");
    let process = start(&lab, &before, &["--log", &path, "--json"]);
    let inside = format!("/proc/{}/root{path}", process.pid());
    let full = "cannot write to the log";
    let mut next = 44_000..45_000;
    eventually(PATIENCE, || {
        refuse(&lab, next.next());
        process.streams().stderr.iter().any(|it| it.contains(full)).then_some(())
    });
    refuse(&lab, next.by_ref().take(3));
    // Until all are reported; half a line is there until it is taken back.
    let kept = eventually(PATIENCE, || {
        process.signal(Signal::SIGUSR1);
        let text = fs::read_to_string(&inside).ok().filter(|text| text.ends_with('\n'))?;
        let lost = u64::from(next.start - 44_000) - ports(&parsed(&text)).len() as u64;
        let sums = process.streams().stderr;
        let counts = sums.iter().filter_map(|line| line.trim().strip_prefix("losses: ")?.strip_suffix(" log_lost"));
        let is_reported =
            counts.filter_map(|it| it.parse::<u64>().ok()).any(|it| (lost..=lost + INCIDENTS).contains(&it));
        is_reported.then(|| parsed(&text))
    });
    // Somebody makes room.
    fs::File::options().write(true).open(&inside).unwrap().set_len(0).unwrap();
    let last = next.next().unwrap();
    refuse(&lab, [last]);
    wait_for_port(&inside, last.into());
    let written = lines(&inside);
    let finished = process.stop();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let errors = said(&finished, full);
    assert_eq!(errors.len(), 1, "{}", finished.stderr);
    assert!(errors[0].contains("the file system has no room"), "{}", errors[0]);
    let lost = said(&finished, " lines of the log ");
    let lost: u64 = lost[0].strip_prefix("tcptrace: ").unwrap().split(' ').next().unwrap().parse().unwrap();
    let all = u64::from(last - 43_999);
    // The summary may find room, or be one more that is lost.
    let there = (ports(&kept).len() + ports(&written).len()) as u64;
    assert!((all..=all + 1 + INCIDENTS).contains(&(there + lost)), "{there} written, {lost} lost, of {all}");
}
