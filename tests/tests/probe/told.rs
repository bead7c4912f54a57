//! What `tcptrace diagnose --json` said in a namespace, and how to hold it against the truth.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde_json::Value;
use tcptrace_tests::{
    contract,
    lab::{Finished, Lab, Ns, SERVER_V4, SERVER_V6, Tracer},
};

/// Longer than any diagnosis may take, on a machine that is busy building.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
pub(crate) const BOTH: [IpAddr; 2] = [SERVER_V4, SERVER_V6];

/// One diagnosis.
pub(crate) struct Told {
    pub(crate) object: Value,
    pub(crate) code: Option<i32>,
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn run(ns: &Ns, args: &[&str]) -> Finished {
    let binary = Tracer::binary();
    let argv = [&[binary.to_str().unwrap(), "diagnose"], args].concat();
    ns.spawn(argv).finish(PATIENCE)
}

/// Diagnoses from the lab's client.
#[track_caller]
pub(crate) fn diagnose(lab: &Lab, args: &[&str]) -> Told {
    let finished = run(&lab.client, &[&["--json"], args].concat());
    let lines = finished.json();
    let [object] = lines.as_slice() else { panic!("one object is wanted: {finished:?}") };
    contract::hold(object);
    Told { object: object.clone(), code: finished.status.code() }
}

impl Told {
    /// The verdict's cause, confidence and scope.
    pub(crate) fn verdict(&self) -> [&str; 3] {
        ["cause", "confidence", "scope"].map(|it| self.object["verdict"][it].as_str().unwrap_or("-"))
    }

    pub(crate) fn result(&self) -> &str {
        self.object["result"].as_str().unwrap()
    }

    /// The kinds of what is odd about the name.
    pub(crate) fn findings(&self) -> Vec<&str> {
        let found = self.object["names"]["findings"].as_array().unwrap();
        found.iter().map(|it| it["kind"].as_str().unwrap()).collect()
    }

    /// Asserts that a socket gets the errno that the verdict names.
    #[track_caller]
    pub(crate) fn agrees(&self, lab: &Lab, to: SocketAddr) {
        let error = lab.client.connect(to, PATIENCE).expect_err("it cannot be reached").raw_os_error();
        let name = match error {
            Some(libc::ECONNREFUSED) => "ECONNREFUSED",
            Some(libc::ETIMEDOUT) => "ETIMEDOUT",
            Some(libc::EHOSTUNREACH) => "EHOSTUNREACH",
            Some(libc::ENETUNREACH) => "ENETUNREACH",
            Some(libc::EACCES) => "EACCES",
            Some(libc::EINVAL) => "EINVAL",
            other => panic!("{other:?}: {}", io::Error::from_raw_os_error(other.unwrap_or_default())),
        };
        let verdict = &self.object["verdict"];
        assert_eq!(verdict["errno"], name, "{:#}", self.object);
        assert_eq!(verdict["port"], to.port());
        assert_eq!(verdict["address"], to.ip().to_string());
    }
}

/// Has the client's kernel give up after three seconds, so that silence has an errno to compare with.
pub(crate) fn give_up_soon(lab: &Lab) {
    lab.client.sysctls(&[("net.ipv4.tcp_syn_retries", "1"), ("net.ipv4.tcp_syn_linear_timeouts", "0")]);
}

/// `HOST:PORT` as the command line takes it.
pub(crate) fn target(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip, port).to_string()
}
