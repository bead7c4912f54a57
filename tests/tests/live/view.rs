//! What the rows share: the tracer in a namespace of the lab, its lines by client port, and golden files of them.
//!
//! A golden file has one field a line. What differs from run to run is replaced there by its name: times, numbers that
//! a stack chose at random, and the id that follows from these.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tcptrace_tests::{
    contract,
    lab::{Finished, Lab, Ns, OTHER_V4, OTHER_V6, Process, SERVER_V4, SERVER_V6, Tracer},
};

/// For what comes by itself; the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The row of each IP version: its client port, and the server's address.
pub(crate) const BOTH: [(u16, IpAddr); 2] = [(40004, SERVER_V4), (40006, SERVER_V6)];
/// Likewise, for the server's other address.
pub(crate) const BOTH_OTHERS: [(u16, IpAddr); 2] = [(40014, OTHER_V4), (40016, OTHER_V6)];

/// A tracer that writes JSON lines, in one of the lab's namespaces.
#[derive(Debug)]
pub(crate) struct View(Tracer);

/// All that it wrote, ended by Ctrl-C.
#[derive(Debug)]
pub(crate) struct Account {
    /// In the order in which they came, the summary aside.
    pub(crate) lines: Vec<Value>,
    pub(crate) summary: Value,
    pub(crate) stderr: String,
}

impl View {
    #[track_caller]
    pub(crate) fn start(ns: &Ns, args: &[&str]) -> Self {
        // Other namespaces of this machine are other hosts here.
        Self(Tracer::start(ns, ["--json", "--local", "own"].iter().chain(args)))
    }

    /// In the client, on both sides of the router, and in the server.
    #[track_caller]
    pub(crate) fn everywhere(lab: &Lab, args: &[&str]) -> [Self; 3] {
        let places: [(_, &[_]); 3] = [
            (&lab.client, &["-i", "eth0"]),
            (&lab.router, &["-i", "client0", "-i", "server0"]),
            (&lab.server, &["-i", "eth0"]),
        ];
        places.map(|(ns, interfaces)| Self::start(ns, &[interfaces, args].concat()))
    }

    /// The first line of this type about that client port, waited for.
    #[track_caller]
    pub(crate) fn wait(&self, kind: &str, port: u16) -> Value {
        self.0.wait_for_line(|line| line["type"] == kind && line["client"]["port"] == port, PATIENCE)
    }

    /// Returns when standard error has a line with this in it.
    #[track_caller]
    pub(crate) fn wait_for_notice(&self, text: &str) {
        self.process()
            .wait_for(text, PATIENCE, |streams| streams.stderr.iter().any(|line| line.contains(text)).then_some(()));
    }

    pub(crate) fn process(&self) -> &Process {
        self.0.process()
    }

    /// Ctrl-C. Whatever the kernel has seen until now is in the account.
    #[track_caller]
    pub(crate) fn end(self) -> Account {
        let finished = self.0.stop();
        assert_eq!(finished.status.code(), Some(0), "Ctrl-C is no error: {}", finished.stderr);
        Account::of(&finished)
    }
}

impl Account {
    #[track_caller]
    pub(crate) fn of(finished: &Finished) -> Self {
        let mut lines = finished.json();
        lines.iter().for_each(contract::hold);
        let summary = lines.pop().filter(|line| line["type"] == "summary");
        let summary = summary.unwrap_or_else(|| panic!("the last line is no summary: {lines:?}\n{}", finished.stderr));
        Self { lines, summary, stderr: finished.stderr.clone() }
    }

    /// The types of the lines about a client port, in their order.
    pub(crate) fn kinds(&self, port: u16) -> Vec<&str> {
        self.of_port(port).map(|line| line["type"].as_str().expect("a line has a type")).collect()
    }

    /// The only line about a client port; it is an attempt's.
    #[track_caller]
    pub(crate) fn only(&self, port: u16) -> &Value {
        assert_eq!(self.kinds(port), ["attempt"], "lines about port {port} in {:#?}", self.lines);
        self.of_port(port).next().expect("there is one")
    }

    /// What was told of an attempt when it was established; with `--all` its end is told as well.
    #[track_caller]
    pub(crate) fn opened(&self, port: u16) -> &Value {
        assert_eq!(self.kinds(port), ["open", "attempt"], "lines about port {port} in {:#?}", self.lines);
        self.of_port(port).next().expect("there are two")
    }

    /// The end of an attempt that was told as stalled before.
    #[track_caller]
    pub(crate) fn after_stall(&self, port: u16) -> &Value {
        assert_eq!(self.kinds(port), ["stall", "attempt"], "lines about port {port} in {:#?}", self.lines);
        self.of_port(port).last().expect("there are two")
    }

    /// A figure of the summary, by its path in it.
    #[track_caller]
    pub(crate) fn figure(&self, path: &str) -> u64 {
        let figure = self.summary.pointer(path).and_then(Value::as_u64);
        figure.unwrap_or_else(|| panic!("no number at {path} in {:#}", self.summary))
    }

    /// Panics if anything was lost between the wire and these lines.
    #[track_caller]
    pub(crate) fn assert_nothing_lost(&self) {
        assert_eq!(self.summary["losses"], json!({}));
    }

    /// The lines about a client port.
    pub(crate) fn of_port(&self, port: u16) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(move |line| line["client"]["port"] == port)
    }
}

/// Compares lines, in the order of their client ports, with the golden file of that name.
#[track_caller]
pub(crate) fn assert_golden<'a>(name: &str, lines: impl IntoIterator<Item = &'a Value>) {
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|line| line["client"]["port"].as_u64());
    let text: Vec<_> = lines.into_iter().map(|line| by_field(&without_chance(line))).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/live");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text.join("\n")));
}

/// The line with a name in place of what no two runs have in common.
fn without_chance(line: &Value) -> Value {
    let mut line = line.clone();
    // Why is the suite `causes`' business; processes and counters are other ones each time.
    let fields = line.as_object_mut().expect("a line is an object");
    for it in ["cause", "scope", "local"] {
        fields.shift_remove(it);
    }
    line["trust"].as_object_mut().expect("trust is an object").shift_remove("missing");
    for (path, name) in [
        ("/handshake_id", "[id]"),
        // In the order in which the first failures came.
        ("/incident", "[number]"),
        ("/stalled/at", "[time]"),
        ("/first_seen", "[time]"),
        ("/last_seen", "[time]"),
        ("/syn/isn", "[isn]"),
        ("/syn_ack/isn", "[isn]"),
        ("/times/syn_to_synack_s", "[seconds]"),
        ("/times/synack_to_ack_s", "[seconds]"),
        ("/times/handshake_s", "[seconds]"),
        ("/times/open_s", "[seconds]"),
    ] {
        if let Some(value) = line.pointer_mut(path).filter(|value| !value.is_null()) {
            *value = json!(name);
        }
    }
    line
}

fn by_field(line: &Value) -> String {
    let fields = line.as_object().expect("a line is an object").iter();
    fields.map(|(name, value)| format!("{name}: {value}\n")).collect()
}
