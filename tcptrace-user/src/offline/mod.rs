//! One run over captures: the same core and reports as live, with the capture's clock. Needs no privilege.
//!
//! What can be read is reported; what cannot is said, with its place, and makes the exit code 1.

mod account;
mod announced;
mod conversation;
pub mod decap;
pub mod flows;
mod fragment;
mod fragments;
mod kept;
mod proof;
mod quoted;
mod signals;
mod table;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use flows::{Flows, Raw, Told, Wanted};
use tcptrace_capture::{
    self, Direction, Payload, Reader, Source,
    write::{InterfaceId, Writer},
};
use tcptrace_core::{
    handshake::{Nanos, Point},
    segment::Link,
};
use tcptrace_report::{Setting, finding::Finding, json, text};
use tcptrace_verdict::{
    case::Case,
    diagnose,
    patterns::avoided::{Avoided, Networks},
};
use tcptrace_vocabulary::{
    attempt::Attempt,
    facts::{Local, Missing},
    report::Report,
    verdict::{Causes, Why},
};

use crate::{
    cli::{self, Args},
    clock::Clock,
    exit::{self, ExitCode as Code},
    output, random,
};

/// Packets between two looks at what can be told, and at how far the file is.
const STEP: u64 = 1 << 18;
/// Packets between two looks at the clock and at what signals ask.
const LOOK: u64 = 1 << 10;
/// Damages that are said one by one; the others are counted.
const SAID: u64 = 20;
/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(500);

/// Reads the captures that the command line names, one after the other as if they were one.
///
/// # Errors
/// When the filter is none, a file cannot be opened, or standard output cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let wanted = Wanted {
        all: args.all,
        stall_after: args.stall_after.as_nanos() as u64,
        capacity: cli::max_attempts(args) as usize,
        filter: cli::filter(args)?,
        evidence: args.write.is_some(),
    };
    refuse_own_input(args)?;
    // An older file is not emptied for the sake of captures that are not there.
    let readable = args.read.iter().any(|it| it == Path::new("-") || File::open(it).is_ok());
    let evidence =
        args.write.as_ref().filter(|_| readable).map(|path| Writer::create(path, cli::rotation(args))).transpose()?;
    let mut run = Run::new(args, Flows::new(wanted, random::hash_key()?), evidence);
    signals::listen().context("cannot listen to signals")?;
    for path in &args.read {
        match run.read(path) {
            Ok(()) => {}
            Err(Stop::Input(error)) => {
                run.damaged += 1;
                output::say(&format!("cannot read {}: {error}", path.display()));
            }
            Err(Stop::Enough) => break,
            Err(stop) => return run.stopped(stop),
        }
    }
    match run.finish() {
        Ok(()) => Ok(run.code()),
        Err(stop) => run.stopped(stop),
    }
}

/// Evidence that is written over what it is to be taken from.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {0}: it is being read; name another file with -w")]
pub struct OwnInput(String);

impl Code for OwnInput {
    fn exit_code(&self) -> u8 {
        exit::USAGE
    }
}

fn refuse_own_input(args: &Args) -> Result<(), OwnInput> {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let Some(path) = args.write.as_deref().filter(|it| *it != Path::new("-")) else { return Ok(()) };
    let own = identity(path);
    if own.is_some() && args.read.iter().any(|it| identity(it) == own) {
        return Err(OwnInput(path.display().to_string()));
    }
    Ok(())
}

/// An interface as the evidence has it.
struct Described {
    link: u16,
    received: u64,
    id: Option<InterfaceId>,
}

/// Why reading stops early.
enum Stop {
    Output(io::Error),
    Input(io::Error),
    Evidence(io::Error),
    Enough,
}

struct Run<'a> {
    args: &'a Args,
    flows: Flows,
    setting: Setting,
    out: BufWriter<anstream::AutoStream<io::Stdout>>,
    /// The line that is being written.
    line: Vec<u8>,
    files: Vec<String>,
    /// Interfaces of the files before this one.
    interfaces: u32,
    evidence: Option<Writer>,
    /// The evidence's number for each interface, and what is said of it.
    described: HashMap<u32, Described>,
    /// The interface of the last packet without a direction: most have one interface.
    undirected: u32,
    packets: u64,
    told: u64,
    /// Attempts that another address of the same port overtook, and the networks where that happens.
    overtaken: u64,
    networks: Networks,
    /// Verdicts told.
    causes: Causes,
    /// Packets when what could be told was last told on input that waits, and when that was.
    paused: (u64, Instant),
    /// Nothing is to be printed any more.
    silent: bool,
    damaged: u64,
    evidence_failed: bool,
    /// Packets whose link type is not read, by its number.
    unsupported: BTreeMap<u32, u64>,
    progress: Option<Instant>,
}

impl<'a> Run<'a> {
    fn new(args: &'a Args, flows: Flows, evidence: Option<Writer>) -> Self {
        // JSON has no styles to be looked for.
        let styled = if args.json { anstream::ColorChoice::AlwaysAnsi } else { args.color.choice(&io::stdout()) };
        Self {
            args,
            flows,
            setting: Setting {
                clock: Clock::EPOCH,
                interfaces: BTreeMap::new(),
                undirected: BTreeSet::new(),
                dated: true,
            },
            out: BufWriter::with_capacity(1 << 16, anstream::AutoStream::new(io::stdout(), styled)),
            line: Vec::new(),
            files: Vec::new(),
            interfaces: 0,
            evidence,
            described: HashMap::new(),
            undirected: 0,
            packets: 0,
            told: 0,
            overtaken: 0,
            networks: Networks::default(),
            causes: Causes::default(),
            paused: (0, Instant::now()),
            silent: args.write.as_deref() == Some(Path::new("-")),
            damaged: 0,
            evidence_failed: false,
            unsupported: BTreeMap::new(),
            progress: (io::stderr().is_terminal() && !args.quiet).then(Instant::now),
        }
    }

    fn read(&mut self, path: &Path) -> Result<(), Stop> {
        let name = path.display().to_string();
        self.files.push(name.clone());
        let source = Source::open_until(path, signals::stop_asked).map_err(Stop::Input)?;
        let mut reader = match Reader::new(source) {
            Ok(reader) => reader,
            Err(_) if signals::stop_asked() => return Err(Stop::Enough),
            Err(damage) => {
                self.damage(&name, &damage);
                return Ok(());
            }
        };
        let waits = reader.source().waits();
        let mut steps = 0;
        loop {
            if waits {
                self.await_packet(&mut reader, &name)?;
            }
            // Half a record is no damage then.
            if (waits || steps % LOOK == 0) && signals::stop_asked() {
                break;
            }
            if steps % LOOK == 0 {
                self.sum_up_if_asked();
                if waits {
                    self.pause_if_due(&reader, &name)?;
                }
            }
            let Some(packet) = reader.next() else { break };
            match packet {
                Ok(packet) => self.packet(&packet),
                Err(damage) => {
                    self.damage(&name, &damage);
                    continue;
                }
            }
            steps += 1;
            if steps % STEP == 0 {
                self.name_interfaces(&reader, &name);
                self.show_progress(&reader, &name);
                self.tell()?;
            }
        }
        self.name_interfaces(&reader, &name);
        self.interfaces += reader.interfaces().len() as u32;
        if self.progress.is_some() {
            eprint_progress("");
        }
        if signals::stop_asked() { Err(Stop::Enough) } else { Ok(()) }
    }

    fn packet(&mut self, packet: &tcptrace_capture::Packet<'_>) {
        self.packets += 1;
        let (octets, link) = match tcptrace_capture::payload(packet.link, packet.octets) {
            Ok(Payload::Ethernet(octets)) => (octets, Link::Ethernet),
            Ok(Payload::Ip(octets)) => (octets, Link::Ip),
            // The core counts it as what it is: no IP.
            Ok(Payload::Other) => (&[][..], Link::Ethernet),
            Err(unsupported) => {
                let count = self.unsupported.entry(packet.link.0).or_default();
                if *count == 0 {
                    output::say(&format!("{unsupported}: these packets are left out"));
                }
                *count += 1;
                return;
            }
        };
        let index = self.interfaces + packet.interface as u32 + 1;
        let direction = packet.direction.or_else(|| tcptrace_capture::direction(packet.link, packet.octets));
        let point = match direction {
            Some(Direction::Outgoing) => Point::egress(index),
            Some(Direction::Incoming) => Point::ingress(index),
            None => {
                if self.undirected != index {
                    self.undirected = index;
                    self.setting.undirected.insert(index);
                }
                Point::ingress(index)
            }
        };
        // Without a time of its own it came no earlier than the last.
        let at = packet.time.map_or(self.flows.now, Nanos);
        if self.evidence.is_some() {
            let link = packet.link.0 as u16;
            let new = Described { link, received: 0, id: None };
            self.described.entry(index).or_insert(new).received += 1;
        }
        let inner = if self.args.decap { decap::inner(octets, link) } else { None };
        let (octets, link) = inner.map_or((octets, link), |it| (it.octets, it.link));
        let outer = inner.map(|it| it.outer);
        let raw = Raw { octets: packet.octets, original: packet.original, interface: index, direction, outer };
        self.flows.see(octets, link, at, point, raw);
    }

    fn damage(&mut self, name: &str, damage: &tcptrace_capture::Damage) {
        self.damaged += 1;
        match self.damaged {
            ..=SAID => output::say(&format!("{name}: {damage}")),
            it if it == SAID + 1 => output::say(&format!("{name}: more damage, which is counted and not said")),
            _ => {}
        }
    }

    fn name_interfaces(&mut self, reader: &Reader<Source>, file: &str) {
        for (index, it) in (self.interfaces + 1..).zip(reader.interfaces()) {
            self.setting.interfaces.entry(index).or_insert_with(|| it.name.clone().unwrap_or_else(|| file.to_owned()));
        }
    }

    fn show_progress(&mut self, reader: &Reader<Source>, name: &str) {
        if let Some(last) = &mut self.progress
            && last.elapsed() >= PROGRESS
        {
            *last = Instant::now();
            let source = reader.source();
            let share = source.size().filter(|size| *size > 0).map(|size| source.consumed() * 100 / size);
            let share = share.map_or_else(String::new, |it| format!("{it} %, "));
            eprint_progress(&format!("{name}: {share}{} packets", self.packets));
        }
    }

    /// Tells what can be told.
    fn tell(&mut self) -> Result<(), Stop> {
        loop {
            let ready = self.flows.ready();
            if ready.is_empty() {
                return Ok(());
            }
            self.tell_all(ready)?;
        }
    }

    fn tell_all(&mut self, attempts: Vec<Told>) -> Result<(), Stop> {
        for mut it in attempts {
            if !self.args.all && self.flows.checks.is_repeated(&it.attempt) {
                self.flows.forgive(it.attempt.handshake.server(), it.attempt.outcome);
                continue;
            }
            if !self.args.all && it.is_overtaken {
                self.overtaken(&it.attempt)?;
                continue;
            }
            if it.attempt.wants_cause() {
                self.explain(&mut it.attempt);
            }
            self.told += 1;
            if it.attempt.is_trouble()
                && let Err(error) = self.prove(&it)
            {
                self.on_evidence_error(error)?;
            }
            let report = Report::Attempt(it.attempt);
            self.line.clear();
            if self.args.json {
                json::write(&mut self.line, &report, &self.setting);
            } else {
                let line = text::line(&report, &self.setting, self.args.quiet, self.args.verbose > 0);
                self.line.extend_from_slice(line.as_bytes());
            }
            self.print()?;
            if self.args.count.is_some_and(|count| self.told >= count) {
                return Err(Stop::Enough);
            }
        }
        Ok(())
    }

    /// Prints the line.
    fn print(&mut self) -> Result<(), Stop> {
        self.line.push(b'\n');
        // Standard output is the evidence's then, or nobody reads it while evidence is still wanted.
        if self.silent {
            return Ok(());
        }
        match self.out.write_all(&self.line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.evidence.is_some() => {
                self.silent = true;
                Ok(())
            }
            written => written.map_err(Stop::Output),
        }
    }

    /// Counts an attempt that was overtaken, and tells of its network if nothing else comes of what is asked there.
    fn overtaken(&mut self, it: &Attempt) -> Result<(), Stop> {
        self.overtaken += 1;
        let (history, at) = (&self.flows.history, it.handshake.last_seen());
        self.networks.note(it, |network| history.is_heard(network.addresses(), at));
        let found = self.networks.look(it.handshake.first_syn);
        self.find(found)
    }

    fn find(&mut self, found: Vec<Avoided>) -> Result<(), Stop> {
        for it in found.into_iter().map(Finding::Avoided) {
            self.line.clear();
            let line = if self.args.json { it.line(&self.setting) } else { it.text(&self.setting) };
            self.line.extend_from_slice(line.as_bytes());
            self.print()?;
        }
        Ok(())
    }

    /// Says why an attempt failed. Of this host nothing is known: a capture may be of any.
    fn explain(&mut self, it: &mut Attempt) {
        let local = Local::unknown(Missing::NotAsked);
        let (past, checks) = (&self.flows.history, self.flows.checks.count(&it.handshake));
        let verdict = diagnose(&Case { it, local: &local, past, checks });
        self.causes.count(&verdict);
        it.why = Some(Box::new(Why { verdict, local }));
    }

    /// Tells what is left, and sums up: in the last JSON line, or behind the last text line.
    fn finish(&mut self) -> Result<(), Stop> {
        self.flows.finish();
        if self.args.count.is_none_or(|count| self.told < count) {
            match self.tell() {
                Ok(()) | Err(Stop::Enough) => {}
                Err(stop) => return Err(stop),
            }
        }
        let found = self.networks.finish();
        self.find(found)?;
        let shed = self.complete()?;
        let summary = self.summary(shed);
        if self.args.json && !self.silent {
            writeln!(self.out, "{}", summary.json(&self.setting)).map_err(Stop::Output)?;
        }
        if !self.silent {
            self.out.flush().map_err(Stop::Output)?;
        }
        if !self.args.json {
            if !self.args.quiet {
                output::say(&summary.text());
            } else if !summary.is_complete() {
                output::say(&summary.loss_line());
            }
        }
        Ok(())
    }

    /// Nothing can be written any more; a reader that has seen enough is no error.
    fn stopped(&self, stop: Stop) -> anyhow::Result<ExitCode> {
        match stop {
            Stop::Output(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write to standard output")
            }
            Stop::Evidence(error) => Err(error).context("cannot write evidence"),
            Stop::Output(_) | Stop::Input(_) | Stop::Enough => Ok(self.code()),
        }
    }

    fn code(&self) -> ExitCode {
        if self.damaged > 0
            || self.evidence_failed
            || (self.packets > 0 && self.unsupported.values().sum::<u64>() == self.packets)
        {
            ExitCode::from(exit::RUNTIME)
        } else if self.found() {
            ExitCode::from(exit::FINDINGS)
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// Shows how far it is on a line of the terminal that is written over.
fn eprint_progress(text: &str) {
    let _ = write!(io::stderr(), "\r\x1b[K{}", output::plain(text));
}
