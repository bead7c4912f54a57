//! The program under test, running in a namespace.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::command_log::words;
use super::netns::Ns;
use super::process::{Finished, Process};
use super::turn::Turn;

/// Attaching takes about a second, and a hundred times that on a machine that builds. It counts from the tracer's turn.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(180);

/// A running tracer. Dropping it kills it.
#[derive(Debug)]
pub struct Tracer {
    process: Process,
}

impl Tracer {
    /// Starts it and returns when its banner (a line with `tracing` on standard error) says that it is attached.
    #[track_caller]
    pub fn start<S: AsRef<str>>(ns: &Ns, args: impl IntoIterator<Item = S>) -> Self {
        Self::start_binary(&Self::binary(), ns, args)
    }

    #[track_caller]
    fn start_binary<S: AsRef<str>>(binary: &Path, ns: &Ns, args: impl IntoIterator<Item = S>) -> Self {
        let path = binary.display();
        assert!(binary.exists(), "no tracer at '{path}': build it (cargo build --release) or set TCPTRACE_BIN");
        let mut argv = vec![binary.to_str().expect("the path of the binary is UTF-8").to_owned()];
        argv.extend(words(args));
        let turn = Turn::take();
        let process = ns.spawn(argv);
        process.wait_for("the banner", ATTACH_TIMEOUT, |streams| {
            streams.stderr.iter().any(|line| line.contains("tracing")).then_some(())
        });
        drop(turn);
        Self { process }
    }

    /// `TCPTRACE_BIN`, or the release build of this workspace.
    pub fn binary() -> PathBuf {
        env::var_os("TCPTRACE_BIN").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/tcptrace")),
            PathBuf::from,
        )
    }

    /// The first line of JSON on standard output, from the start on, that `wanted` accepts.
    #[track_caller]
    pub fn wait_for_line(&self, wanted: impl Fn(&Value) -> bool, timeout: Duration) -> Value {
        let mut seen = 0;
        self.process.wait_for("a line on stdout", timeout, |streams| {
            let new = &streams.stdout[seen..];
            seen = streams.stdout.len();
            new.iter().filter_map(|line| serde_json::from_str(line).ok()).find(&wanted)
        })
    }

    /// The underlying process: its pid, its output so far, other signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The end that it comes to by itself.
    #[track_caller]
    pub fn finish(self, timeout: Duration) -> Finished {
        self.process.finish(timeout)
    }

    /// Ctrl-C, and the end.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.process.stop()
    }
}

impl Finished {
    /// Every line of standard output as JSON, but those of incidents: they repeat what the others say. Panics on one
    /// that is no JSON.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        self.every_line().filter(|line| line["type"] != "incident").collect()
    }

    /// The lines of incidents. Panics on a line that is no JSON.
    #[track_caller]
    pub fn incidents(&self) -> Vec<Value> {
        self.every_line().filter(|line| line["type"] == "incident").collect()
    }

    fn every_line(&self) -> impl Iterator<Item = Value> {
        let parse =
            |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
        self.lines.iter().map(parse)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::Lab;
    use super::*;

    /// What the lab knows of a tracer: a banner, lines of JSON, an end on SIGINT. A shell cannot trap a signal that was
    /// ignored when it started, as SIGINT is in a background job, hence `env`.
    const STAND_IN: &str = r#"#!/usr/bin/env -S --default-signal=INT sh
trap 'echo "{\"kind\":\"end\"}"; exit 3' INT
echo "tracing $2" >&2
cat /sys/class/net/eth0/address | sed 's/.*/{"kind":"start","mac":"&"}/'
while :; do sleep 0.02; done
"#;

    #[test]
    fn a_tracer_is_waited_for_heard_and_stopped() {
        let path = env::temp_dir().join(format!("tracer-stand-in-{}", std::process::id()));
        fs::write(&path, STAND_IN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let lab = Lab::new();
        let tracer = Tracer::start_binary(&path, &lab.server, ["--iface", "eth0"]);
        fs::remove_file(&path).unwrap();
        let start = tracer.wait_for_line(|line| line["kind"] == "start", Duration::from_secs(10));
        assert_eq!(start["mac"], super::super::mac_text(super::super::SERVER_MAC));
        let finished = tracer.stop();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.json().last().unwrap()["kind"], "end");
        assert_eq!(finished.stderr, "tracing eth0\n");
    }
}
