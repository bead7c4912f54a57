//! `tcptrace diagnose`: the steps that a person takes by hand when a host cannot be connected to, in seconds.
//!
//! Name, route, ping, path MTU, connects, what the handshakes agreed on, where SYNs end. Steps that do not need each
//! other run at once, and write their findings into one [`Diagnosis`]. It is judged and printed at the end, or on
//! Ctrl-C as far as it is. It needs no privilege and no BPF; with CAP_NET_RAW it sees its own packets as well.
//!
//! It does not scan: a handful of ports, a few SYNs each, one walk per address family at a time.

mod case;
pub mod conclusion;
mod connect;
pub mod diagnosis;
mod dns;
mod evidence;
mod findings;
mod hosts;
mod json;
mod names;
mod path_mtu;
mod peer;
mod ping;
mod ports;
mod progress;
mod route;
mod socket;
mod steps;
mod system;
pub mod target;
mod text;
mod walk;
mod wire;
mod zone;

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use conclusion::Reach;
use diagnosis::{Diagnosis, Zone};
use jiff::Timestamp;
use progress::{Progress, Running, Steps};
use target::Target;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{cli::DiagnoseArgs, exit, runtime};

/// When it ends, whatever is missing.
const LIMIT: Duration = Duration::from_millis(9_800);

/// The diagnosis that all steps write into, the sockets that they used, and which of them are under way.
#[derive(Clone)]
pub(super) struct Shared {
    diagnosis: Arc<Mutex<Diagnosis>>,
    sockets: Arc<Mutex<BTreeSet<SocketAddr>>>,
    steps: Steps,
}

impl Shared {
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Diagnosis) -> T) -> T {
        change(&mut self.diagnosis.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says that a step, by its name in the text, is under way until what this returns is dropped.
    fn begin(&self, step: &str) -> Running {
        self.steps.begin(step)
    }

    /// Remembers a socket of its own, for the evidence.
    pub(super) fn is_mine(&self, socket: Option<SocketAddr>) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).extend(socket);
    }

    pub(super) fn mine(&self) -> BTreeSet<SocketAddr> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs the whole of it and prints.
///
/// # Errors
/// When the words are no target, or the evidence cannot be written.
pub fn run(args: &DiagnoseArgs) -> anyhow::Result<ExitCode> {
    let Target { host, ports, ports_assumed } = Target::parse(&args.target)?;
    let zone = zone::of(&host)?;
    let diagnosis = Diagnosis {
        host,
        ports,
        ports_assumed,
        began: Timestamp::now(),
        took: Duration::ZERO,
        interrupted: false,
        names: None,
        addresses: Vec::new(),
        left_out: Vec::new(),
    };
    let shared =
        Shared { diagnosis: Arc::new(Mutex::new(diagnosis)), sockets: Arc::default(), steps: Steps::default() };
    let resolv_conf = args.resolv_conf.clone().unwrap_or_else(|| PathBuf::from("/etc/resolv.conf"));
    let files = names::Files { hosts: PathBuf::from("/etc/hosts"), resolv_conf };
    let runtime = runtime::current_thread().context("cannot start")?;
    let progress = Progress::show(&shared.steps, &args.target[0]);
    let tap = runtime.block_on(probe(&shared, files, zone));
    if let Some(it) = progress {
        it.clear();
    }
    // A getaddrinfo(3) that still waits is not waited for.
    runtime.shutdown_background();
    let tap = tap?;

    let diagnosis = shared.change(|it| it.clone());
    let conclusion = conclusion::conclude(&diagnosis);
    if let Some(path) = &args.write {
        evidence::write(path, tap.as_deref(), &shared, &diagnosis, &conclusion)?;
    }
    let text =
        if args.json { json::line(&diagnosis, &conclusion) + "\n" } else { text::render(&diagnosis, &conclusion) };
    // In the file for the packets, words would make a file that nothing reads.
    let printed = if args.write.as_deref().is_some_and(|it| it.as_os_str() == "-") {
        anstream::AutoStream::new(io::stderr(), args.color.choice(&io::stderr())).write_all(text.as_bytes())
    } else {
        anstream::AutoStream::new(io::stdout(), args.color.choice(&io::stdout())).write_all(text.as_bytes())
    };
    // A reader that has seen enough (`| head`) is no error.
    drop(printed);
    Ok(match conclusion.reach {
        Reach::Reachable | Reach::Partly => ExitCode::SUCCESS,
        Reach::Unfinished if diagnosis.interrupted => ExitCode::SUCCESS,
        Reach::Unreachable | Reach::Unresolved | Reach::Unfinished => ExitCode::from(exit::FINDINGS),
    })
}

/// All steps, until they are done, time is up, or somebody has enough.
async fn probe(shared: &Shared, files: names::Files, zone: Option<Zone>) -> io::Result<Option<Arc<wire::Tap>>> {
    let began = Instant::now();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let tap = Arc::new(Mutex::new(None));
    let is_done = tokio::select! {
        () = steps::all(shared, files, zone, &tap) => true,
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
        () = sleep(LIMIT) => {
            shared.change(|it| it.left_out.push(format!("steps longer than {:.1} s", LIMIT.as_secs_f64())));
            true
        }
    };
    shared.change(|it| {
        it.took = began.elapsed();
        it.interrupted = !is_done;
    });
    Ok(tap.lock().unwrap_or_else(PoisonError::into_inner).take())
}
