//! `test`: every suite, with what it needs: the tools of the lab, the release binary, and root for the test programs.
//!
//! cargo itself stays with the user, and there is no list of suites here: what cargo finds is what runs.

use std::process::Command;

use anyhow::Result;

use crate::{
    build,
    need::{self, Need, Source},
    process::{self, command, exists},
    root,
};

pub(crate) fn run(args: &[String]) -> Result<()> {
    run_with(args, |_| {})
}

/// The same, with `prepare` applied to each call of cargo.
pub(crate) fn run_with(args: &[String], prepare: fn(&mut Command)) -> Result<()> {
    need::supply(&TOOLS.iter().filter(|tool| !exists(tool.what)).collect::<Vec<_>>())?;
    let binary = build::binary()?;
    for line in lines(args) {
        let mut cargo = command(line);
        cargo.args(args).env(build::BINARY, &binary);
        root::runs_as_root(&mut cargo)?;
        prepare(&mut cargo);
        process::run(&mut cargo)?;
    }
    Ok(())
}

/// Arguments choose among the tests, which `--all-targets` would overrule; and `--doc` goes with no other choice.
/// With `--workspace`, cargo would pass over a chosen package in silence.
fn lines(args: &[String]) -> &'static [&'static str] {
    let package = |arg: &String| arg.starts_with("-p") || arg.starts_with("--package");
    if args.is_empty() {
        &["cargo test --workspace --all-targets", "cargo test --workspace --doc"]
    } else if args.iter().any(package) {
        &["cargo test"]
    } else {
        &["cargo test --workspace"]
    }
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
