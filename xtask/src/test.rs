//! `test`: every suite, with what it needs: the tools of the lab, the release binary, and root for the test programs.
//!
//! cargo builds, and there is no list of suites here: what cargo finds is what runs. All of them are run by `suites`,
//! as many at once as the machine bears; chosen ones are run by cargo.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    build, folders,
    need::{self, Need, Source},
    process::{self, command, exists},
    root,
    suites::{self, Suite},
};

pub(crate) fn run(args: &[String]) -> Result<()> {
    run_with(args, |_| {})
}

/// The same, with `prepare` applied to each program that runs tests.
pub(crate) fn run_with(args: &[String], prepare: fn(&mut Command)) -> Result<()> {
    tools()?;
    let binary = build::binary()?;
    let prepare = |command: &mut Command| {
        command.env(build::BINARY, &binary);
        prepare(command);
    };
    if args.is_empty() {
        let suites = built()?;
        suites::check_names(&suites)?;
        suites::run(suites, &folders::target()?.join("test-output"), &prepare)?;
        return cargo("cargo test --workspace --doc", args, &prepare);
    }
    cargo(line(args), args, &prepare)
}

/// Chosen tests, with another binary than this machine's release build.
pub(crate) fn run_of(binary: &Path, args: &[String]) -> Result<()> {
    tools()?;
    cargo(line(args), args, &|command| {
        command.env(build::BINARY, binary);
    })
}

fn tools() -> Result<()> {
    need::supply(&TOOLS.iter().filter(|tool| !exists(tool.what)).collect::<Vec<_>>())
}

/// Has cargo run what the arguments choose. Such a choice is small: its tests may all wait at once.
fn cargo(line: &str, args: &[String], prepare: &dyn Fn(&mut Command)) -> Result<()> {
    let mut cargo = command(line);
    cargo.args(args).env("RUST_TEST_THREADS", suites::tests_at_once().to_string());
    root::runs_as_root(&mut cargo)?;
    prepare(&mut cargo);
    process::run(&mut cargo)
}

/// With `--workspace`, cargo would pass over a chosen package in silence.
fn line(args: &[String]) -> &'static str {
    let package = |arg: &String| arg.starts_with("-p") || arg.starts_with("--package");
    if args.iter().any(package) { "cargo test" } else { "cargo test --workspace" }
}

/// Builds all test programs and benchmarks.
fn built() -> Result<Vec<Suite>> {
    let mut cargo = command("cargo test --workspace --all-targets --no-run --message-format=json-render-diagnostics");
    let suites = process::output(&mut cargo)?.lines().filter_map(suite).collect::<Vec<_>>();
    ensure!(!suites.is_empty(), "cargo has built no test program");
    Ok(suites)
}

/// A test program, from one of cargo's messages.
fn suite(message: &str) -> Option<Suite> {
    let message: Value = serde_json::from_str(message).ok()?;
    let program = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?;
    let target = &message["target"];
    Some(Suite {
        name: target["name"].as_str()?.to_owned(),
        program: program.into(),
        folder: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
        bench: target["kind"].as_array()?.iter().any(|kind| kind == "bench"),
    })
}

/// The programs that the suites start.
static TOOLS: [Need; 7] = [
    tool("ip", "builds the lab's namespaces, links and routes", &["iproute2"]),
    tool("nft", "makes the lab's firewalls, which drop, reject and rewrite", &["nftables"]),
    tool("ethtool", "sets offloads of the lab's interfaces", &["ethtool"]),
    tool("ping", "shows that the lab's hosts reach each other", &["iputils-ping"]),
    tool("tcpdump", "records captures, and is the rival to measure against", &["tcpdump"]),
    tool("dnsmasq", "answers the lab's name queries; the package starts no service", &["dnsmasq-base"]),
    tool("tshark", "gives a second opinion on captures, and reads what `-w` writes", &["tshark"]),
];

const fn tool(what: &'static str, why: &'static str, packages: &'static [&'static str]) -> Need {
    Need { what, why, from: Source::Packages(packages) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_from_the_messages_of_cargo() {
        let message = |kind: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{{"kind":["{kind}"],"name":"live"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let expected =
            Suite { name: "live".to_owned(), program: "/w/live-1".into(), folder: "/w/tests".into(), bench: false };
        assert_eq!(suite(&message("test", true, r#""/w/live-1""#)), Some(expected.clone()));
        assert_eq!(suite(&message("bench", true, r#""/w/live-1""#)), Some(Suite { bench: true, ..expected }));
        assert_eq!(suite(&message("bin", false, r#""/w/live-1""#)), None);
        assert_eq!(suite(&message("lib", true, "null")), None);
        assert_eq!(suite(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
