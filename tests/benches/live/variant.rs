//! The watchers of the receiving interface: none, a program that does nothing, tcptrace, tcpdump.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    programs::{Program, TcAttachType, XdpMode},
};
use nix::unistd::Pid;
use serde_json::Value;
use tcptrace_tests::{
    generator::OBJECT,
    lab::{Finished, Ns, Process, Tracer},
};

use crate::rig::RECEIVER;

/// Starting takes well under a second; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The tightest filter that shows every handshake.
const FLAGS: &str = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The frames go no further: what is left is the generator.
    Drop,
    Nobody,
    EmptyXdp,
    EmptyTc,
    /// With this `--hook`.
    Tcptrace(&'static str),
    TcpdumpFlags,
    TcpdumpAll,
}

pub(crate) const TCPTRACE_XDP: Variant = Variant::Tcptrace("xdp");
pub(crate) const TCPTRACE_TC: Variant = Variant::Tcptrace("tc");

/// In the order in which a round takes them.
pub(crate) const VARIANTS: [Variant; 8] = [
    Variant::Drop,
    Variant::Nobody,
    Variant::EmptyXdp,
    Variant::EmptyTc,
    TCPTRACE_XDP,
    TCPTRACE_TC,
    Variant::TcpdumpFlags,
    Variant::TcpdumpAll,
];

/// A variant at work. Dropping it ends it.
pub(crate) enum Running {
    Nobody,
    Program { _attached: Ebpf },
    Tcptrace(Tracer),
    Tcpdump(Process),
}

/// What a variant did not get, by its own account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost {
    pub(crate) count: u64,
    /// By stage.
    pub(crate) text: String,
}

impl Variant {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Drop => "XDP_DROP: the generator alone".to_owned(),
            Self::Nobody => "no program".to_owned(),
            Self::EmptyXdp => "empty XDP program".to_owned(),
            Self::EmptyTc => "empty TC program".to_owned(),
            Self::Tcptrace(hook) => format!("tcptrace --hook {hook}"),
            Self::TcpdumpFlags => "tcpdump, SYN FIN RST".to_owned(),
            Self::TcpdumpAll => "tcpdump -s 96, all".to_owned(),
        }
    }

    /// Starts it, and returns when it watches.
    pub(crate) fn start(self, ns: &Ns) -> Result<Running> {
        let tcpdump = |args: &[&str]| {
            let process = ns.spawn([&["tcpdump", "-n", "-i", RECEIVER, "-w", "/dev/null"], args].concat());
            process.wait_for("tcpdump", PATIENCE, |streams| {
                streams.stderr.iter().any(|line| line.contains("listening on")).then_some(())
            });
            Ok(Running::Tcpdump(process))
        };
        match self {
            Self::Nobody => Ok(Running::Nobody),
            Self::Drop => ns.enter(|| attach("drop_xdp")),
            Self::EmptyXdp => ns.enter(|| attach("empty_xdp")),
            Self::EmptyTc => ns.enter(|| attach("empty_tc")),
            Self::Tcptrace(hook) => {
                Ok(Running::Tcptrace(Tracer::start(ns, ["-i", RECEIVER, "--hook", hook, "--json"])))
            }
            Self::TcpdumpFlags => tcpdump(&[FLAGS]),
            Self::TcpdumpAll => tcpdump(&["-s", "96"]),
        }
    }
}

/// Puts a program of the benchmark's object on the receiving interface.
fn attach(name: &str) -> Result<Running> {
    let mut ebpf = Ebpf::load(OBJECT).with_context(|| format!("cannot load {name}"))?;
    match ebpf.program_mut(name).context("not in the object")? {
        Program::Xdp(it) => {
            it.load()?;
            it.attach(RECEIVER, XdpMode::Driver).with_context(|| format!("cannot attach {name}"))?;
        }
        Program::SchedClassifier(it) => {
            it.load()?;
            it.attach(RECEIVER, TcAttachType::Ingress).with_context(|| format!("cannot attach {name}"))?;
        }
        _ => bail!("{name} is for another hook"),
    }
    Ok(Running::Program { _attached: ebpf })
}

impl Running {
    pub(crate) fn pid(&self) -> Option<Pid> {
        match self {
            Self::Nobody | Self::Program { .. } => None,
            Self::Tcptrace(it) => Some(it.process().pid()),
            Self::Tcpdump(it) => Some(it.pid()),
        }
    }

    /// Ends it by Ctrl-C.
    pub(crate) fn end(self) -> Result<Lost> {
        match self {
            Self::Nobody | Self::Program { .. } => Ok(Lost::default()),
            Self::Tcptrace(it) => losses(&it.stop()),
            Self::Tcpdump(it) => {
                let stderr = it.stop().stderr;
                let lines = stderr.lines().filter(|line| line.ends_with("kernel") || line.ends_with("captured"));
                let text = lines.collect::<Vec<_>>().join(", ");
                let dropped = stderr.lines().find_map(|line| line.strip_suffix(" packets dropped by kernel"));
                Ok(Lost { count: dropped.and_then(|it| it.parse().ok()).unwrap_or(0), text })
            }
        }
    }
}

/// The losses in the summary, which is the last line.
fn losses(finished: &Finished) -> Result<Lost> {
    let summary = finished.lines.last().context("tcptrace printed no summary")?;
    let summary: Value = serde_json::from_str(summary).context("tcptrace's last line")?;
    let losses = summary["losses"].as_object().context("a summary without losses")?;
    let texts: Vec<String> = losses.iter().map(|(stage, count)| format!("{count} {stage}")).collect();
    Ok(Lost { count: losses.values().filter_map(Value::as_u64).sum(), text: texts.join(", ") })
}
