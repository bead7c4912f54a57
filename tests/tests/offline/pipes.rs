//! Captures that come while they are made, on standard input: what is told before their end, and what signals ask for.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::Value;
use tcptrace_tests::lab::{Tracer, eventually};

use crate::files::refused;

/// Long enough for a machine that builds beside this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A tracer that reads a pipe, and its lines as they come but those of incidents.
pub(crate) struct Reading {
    tracer: Child,
    lines: Receiver<Value>,
    messages: Receiver<String>,
}

impl Reading {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut tracer = Command::new(Tracer::binary())
            .args(["--json", "-r", "-"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, lines) = channel();
        let stdout = BufReader::new(tracer.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines() {
                let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
                if line["type"] != "incident" {
                    let _ = to.send(line);
                }
            }
        });
        let (to, messages) = channel();
        let stderr = BufReader::new(tracer.stderr.take().unwrap());
        thread::spawn(move || stderr.lines().for_each(|line| drop(to.send(line.unwrap()))));
        Self { tracer, lines, messages }
    }

    /// Returns when it waits for the pipe: by then it hears signals.
    #[track_caller]
    fn wait_until_it_waits(&self) {
        let call = format!("/proc/{}/syscall", self.tracer.id());
        let waits = [libc::SYS_poll, libc::SYS_ppoll].map(|number| format!("{number} "));
        eventually(PATIENCE, || {
            let now = fs::read_to_string(&call).unwrap_or_default();
            waits.iter().any(|call| now.starts_with(call)).then_some(())
        });
    }

    pub(crate) fn write(&mut self, octets: &[u8]) {
        self.tracer.stdin.as_mut().unwrap().write_all(octets).unwrap();
    }

    #[track_caller]
    fn line(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("a line, while the pipe is open")
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.tracer.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The exit code, what is on standard error, and the lines not taken yet; with the pipe open to the end.
    pub(crate) fn end(mut self) -> (Option<i32>, String, Vec<Value>) {
        let stdin = self.tracer.stdin.take();
        let code = self.tracer.wait().unwrap().code();
        drop(stdin);
        (code, self.messages.iter().collect(), self.lines.iter().collect())
    }
}

/// By the capture's clock an attempt that was refused three seconds ago is over; the last ones are not.
#[test]
fn lines_come_while_the_pipe_is_open() {
    let mut reading = Reading::start(&[]);
    reading.write(&refused(1..9).octets);
    for port in 1..=5 {
        assert_eq!(reading.line()["client"]["port"], port);
    }
    reading.signal("-INT");
    let (code, stderr, rest) = reading.end();
    assert_eq!((code, &stderr[..]), (Some(0), ""));
    let ports: Vec<_> = rest.iter().map(|it| it["client"]["port"].clone()).collect();
    assert_eq!(ports, [6.into(), 7.into(), 8.into(), Value::Null]);
    assert_eq!(rest[3]["attempts"]["by_outcome"]["refused"], 8);
}

/// Half a record is nothing yet, and no damage when reading is ended.
#[test]
fn a_record_in_two_parts_is_one() {
    let mut reading = Reading::start(&[]);
    let octets = refused(1..9).octets;
    let (first, rest) = octets.split_at(24 + 30);
    let (rest, last) = rest.split_at(rest.len() - 5);
    for part in [first, rest] {
        reading.write(part);
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(reading.line()["client"]["port"], 1);
    reading.write(last);
    reading.write(&octets[24..24 + 30]);
    thread::sleep(Duration::from_millis(300));
    reading.signal("-TERM");
    let (code, stderr, rest) = reading.end();
    assert_eq!((code, &stderr[..], rest.len()), (Some(0), "", 8));
}

#[test]
fn signals_are_heard_before_the_first_octet() {
    let reading = Reading::start(&[]);
    reading.wait_until_it_waits();
    reading.signal("-INT");
    let (code, stderr, rest) = reading.end();
    assert_eq!((code, &stderr[..], rest.len()), (Some(0), "", 1));
}

#[test]
fn usr1_sums_up_so_far() {
    let mut reading = Reading::start(&["--stall-after", "100"]);
    reading.write(&refused(1..4).octets);
    reading.wait_until_it_waits();
    // The first summary may come before the last octets were read.
    eventually(PATIENCE, || {
        reading.signal("-USR1");
        let mut summary = String::new();
        while !summary.contains("losses: none") {
            summary += &reading.messages.recv_timeout(Duration::from_secs(1)).ok()?;
        }
        summary.contains("3 refused").then_some(())
    });
    reading.signal("-INT");
    let (code, _, rest) = reading.end();
    assert_eq!((code, rest.len()), (Some(0), 4));
}
