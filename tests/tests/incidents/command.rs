//! `--on-incident`: the command runs for each beginning and end, one at a time; what fails or hangs is counted.

use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use serde_json::{Value, json};
use tcptrace_tests::{
    contract,
    lab::{Finished, Lab, SERVER_V4, Tracer, eventually},
};

use crate::{PATIENCE, id};

/// A path that nobody else has; what is there goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tcptrace-command-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        Self(env::temp_dir().join(name))
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Refuses so many ports, each an incident, while the command runs.
fn refuse(lab: &Lab, command: &str, ports: u16, settled: impl Fn() -> bool) -> Finished {
    let tracer = Tracer::start(&lab.client, ["-i", "eth0", "--local", "own", "--json", "--on-incident", command]);
    let _open = lab.server.listen((SERVER_V4, 80).into());
    for port in 0..ports {
        lab.client.connect((SERVER_V4, 80).into(), PATIENCE).expect("it is open");
        assert!(lab.client.connect((SERVER_V4, 6000 + port).into(), PATIENCE).is_err(), "it is closed");
    }
    eventually(PATIENCE, || settled().then_some(()));
    tracer.stop()
}

#[test]
fn it_runs_at_each_beginning_and_end() {
    let (lab, seen) = (Lab::new(), Scratch::new());
    let command = format!("cat >> {}", seen.0.display());
    let finished = refuse(&lab, &command, 3, || seen.lines().len() == 3);
    let summary = finished.json().pop().expect("a summary");
    let lines: Vec<Value> = seen.lines().iter().map(|it| serde_json::from_str(it).expect("JSON")).collect();
    lines.iter().for_each(contract::hold);
    let edges = finished.incidents().into_iter().filter(|it| it["phase"] != "update");
    let of = |line: &Value| (id(line), line["phase"].as_str().map(str::to_owned));
    assert_eq!(lines.iter().map(of).collect::<Vec<_>>(), edges.map(|it| of(&it)).collect::<Vec<_>>());
    assert_eq!(lines.len(), 6, "three begin and end");
    assert_eq!(summary["on_incident"], json!({ "runs": 6, "failed": 0, "skipped": 0 }));
}

/// A scan begins and ends as an incident does, and has a number that none of the incidents has.
#[test]
fn it_runs_for_scans() {
    let (lab, seen) = (Lab::new(), Scratch::new());
    let command = format!("cat >> {}", seen.0.display());
    let tracer = Tracer::start(&lab.client, ["-i", "eth0", "--local", "own", "--json", "--on-incident", &command]);
    for port in 6000..6040 {
        assert!(lab.client.connect((SERVER_V4, port).into(), PATIENCE).is_err(), "it is closed");
    }
    let of = |kind: &str| -> Vec<Value> {
        let lines = seen.lines().into_iter().filter_map(|it| serde_json::from_str::<Value>(&it).ok());
        lines.filter(|it| it["type"] == kind).collect()
    };
    eventually(PATIENCE, || (!of("scan").is_empty()).then_some(()));
    let finished = tracer.stop();
    let scans = of("scan");
    let field = |name: &str| scans.iter().map(|it| it[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("phase"), [json!("begun"), json!("ended")]);
    assert_eq!(field("still_open"), [json!(false), json!(true)], "tracing ended first");
    assert_eq!((&field("symptom")[1], &field("width")[1]), (&json!("refusal"), &json!("host")));
    assert_eq!(field("id")[0], field("id")[1]);
    let incidents = finished.incidents();
    assert!(!incidents.is_empty() && incidents.iter().all(|it| id(it) != id(&scans[0])), "{scans:?}");
    scans.iter().for_each(contract::hold);
}

#[test]
fn what_fails_is_said_once_and_counted() {
    let lab = Lab::new();
    let finished = refuse(&lab, "exit 7", 2, || true);
    let summary = finished.json().pop().expect("a summary");
    assert_eq!(summary["on_incident"], json!({ "runs": 4, "failed": 4, "skipped": 0 }));
    assert_eq!(finished.stderr.matches("the command of --on-incident failed (exit status: 7)").count(), 1);
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
}

/// A command that hangs is killed with what it started, and those behind it run or are counted as skipped. Tracing goes
/// on meanwhile.
#[test]
fn what_hangs_is_killed() {
    let (lab, pid) = (Lab::new(), Scratch::new());
    let command = format!("sleep 1000 & echo $! >> {}; wait", pid.0.display());
    let finished = refuse(&lab, &command, 2, || !pid.lines().is_empty());
    let lines = finished.json();
    let attempts = lines.iter().filter(|it| it["type"] == "attempt").count();
    let runs = &lines[lines.len() - 1]["on_incident"];
    let count = |field: &str| runs[field].as_u64().expect("a number");
    assert_eq!((attempts, count("runs") + count("skipped")), (2, 4), "{runs}");
    assert!(count("failed") == count("runs") && count("runs") >= 1, "{runs}");
    assert!(finished.stderr.contains("no end after 10 s: killed"), "{}", finished.stderr);
    let is_gone = |pid: &String| !PathBuf::from(format!("/proc/{pid}")).exists();
    eventually(Duration::from_secs(20), || pid.lines().iter().all(is_gone).then_some(()));
}
