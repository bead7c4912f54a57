//! One run over captures: the same core and reports as live, with the capture's clock. Needs no privilege.
//!
//! Everything that can be read is reported. Unreadable input is reported with its place, and makes the exit code 1.

mod announced;
mod conversation;
pub mod decap;
mod early;
pub mod flows;
mod fragment;
mod fragments;
mod kept;
mod listeners;
mod noted;
mod order;
mod page;
mod proof;
mod quoted;
mod signals;
mod slot;
mod summary;
mod table;
mod telling;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fs::File,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use flows::{Flows, Raw, Wanted};
use page::Page;
use proof::{Described, Proof};
use tcptrace_capture::{self, Direction, Payload, Reader, Source, write::Writer};
use tcptrace_core::{
    handshake::{Nanos, Point},
    segment::Link,
};
use tcptrace_report::{Latest, Setting, text};
use tcptrace_verdict::patterns::flood::Passage;
use tcptrace_vocabulary::verdict::Verdict;

use crate::{
    cli::{self, Args},
    clock::Clock,
    desk::{Asked, Desk},
    exit::{self, ExitCode as Code},
    ignore::IgnoreList,
    limit,
    log_file::LogFile,
    output, random,
};

/// Packets between two looks for reports that are ready, and for progress in the file.
const STEP: u64 = 1 << 18;
/// Packets between two looks at the clock and at what signals ask.
const LOOK: u64 = 1 << 10;
/// Damages that are said one by one; the others are counted.
const SAID: u64 = 20;
/// The interval at which progress is shown.
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
    let open = |path| LogFile::open(path, &args.read, args.write.as_deref(), output::say);
    let log = args.log.as_deref().map(open).transpose()?;
    let evidence =
        args.write.as_ref().filter(|_| readable).map(|path| Writer::create(path, cli::rotation(args))).transpose()?;
    let ignored = cli::ignored(args)?;
    let mut run = Run::new(args, ignored, Flows::new(wanted, random::hash_key()?), evidence, log);
    signals::listen(args.log.is_some()).context("cannot listen to signals")?;
    for path in &args.read {
        match run.read(path) {
            Ok(()) => {}
            Err(Stop::Input(error)) => {
                run.input.damaged += 1;
                output::say(&format!("cannot read '{}': {}", path.display(), limit::explained(&error)));
            }
            Err(Stop::Enough) => break,
            Err(stop) => return run.stopped(stop),
        }
    }
    // Nothing was read, so there is nothing to sum up; programs get their last line all the same.
    if !readable && !args.json {
        return Ok(run.code());
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

/// Why reading stops early.
enum Stop {
    Output(io::Error),
    Input(io::Error),
    Evidence(io::Error),
    Enough,
}

struct Run<'a> {
    args: &'a Args,
    input: Input,
    flows: Flows,
    desk: Desk,
    /// Floods that the desk has not been given, each with its last attempt's time.
    passages: VecDeque<(Nanos, Passage)>,
    setting: Setting,
    page: Page,
    proof: Proof,
    /// Verdicts in the comments of packets, by the attempt's id, until it is reported.
    recorded: HashMap<u64, Verdict>,
}

/// The progress of reading, and what could not be read.
struct Input {
    files: Vec<String>,
    /// Interfaces of the files before this one.
    interfaces: u32,
    /// The interface of the last packet without a direction: most have one interface.
    undirected: u32,
    packets: u64,
    /// The number of packets when reports were last made on input that waits, and the time of that.
    paused: (u64, Instant),
    damaged: u64,
    /// Packets whose link type is not read, by its number.
    unsupported: BTreeMap<u32, u64>,
    progress: Option<Instant>,
}

impl<'a> Run<'a> {
    fn new(args: &'a Args, ignored: IgnoreList, flows: Flows, evidence: Option<Writer>, log: Option<LogFile>) -> Self {
        let asked = Asked {
            all: args.all,
            each: cli::lists_each(args),
            count: args.count,
            fail_on: args.fail_on.clone(),
            ignored,
            is_capture: true,
            servers: cli::max_attempts(args) as usize,
        };
        let setting = Setting {
            clock: Clock::EPOCH,
            interfaces: BTreeMap::new(),
            undirected: BTreeSet::new(),
            zone: cli::zone(args),
            width: output::width(args.log.is_some()),
            services: cli::services(args),
            is_capture: true,
            latest: Latest::default(),
        };
        let input = Input {
            files: Vec::new(),
            interfaces: 0,
            undirected: 0,
            packets: 0,
            paused: (0, Instant::now()),
            damaged: 0,
            unsupported: BTreeMap::new(),
            progress: (output::erases() && !args.quiet).then(Instant::now),
        };
        Self {
            args,
            input,
            flows,
            desk: Desk::new(asked),
            passages: VecDeque::new(),
            setting,
            page: Page::new(args, log),
            proof: Proof { writer: evidence, described: HashMap::new(), has_failed: false },
            recorded: HashMap::new(),
        }
    }

    fn read(&mut self, path: &Path) -> Result<(), Stop> {
        let name = path.display().to_string();
        self.input.files.push(name.clone());
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
                self.obey()?;
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
        self.input.interfaces += reader.interfaces().len() as u32;
        if self.input.progress.is_some() {
            eprint_progress("");
        }
        if signals::stop_asked() { Err(Stop::Enough) } else { Ok(()) }
    }

    fn packet(&mut self, packet: &tcptrace_capture::Packet<'_>) {
        self.input.packets += 1;
        let (octets, link) = match tcptrace_capture::payload(packet.link, packet.octets) {
            Ok(Payload::Ethernet(octets)) => (octets, Link::Ethernet),
            Ok(Payload::Ip(octets)) => (octets, Link::Ip),
            // The core counts it as what it is: no IP.
            Ok(Payload::Other) => (&[][..], Link::Ethernet),
            Err(unsupported) => {
                let count = self.input.unsupported.entry(packet.link.0).or_default();
                if *count == 0 {
                    output::say(&format!("{unsupported}; tcptrace skips these"));
                }
                *count += 1;
                return;
            }
        };
        if let Some(comment) = packet.comment {
            self.note_recorded(comment);
        }
        let index = self.input.interfaces + packet.interface as u32 + 1;
        let direction = packet.direction.or_else(|| tcptrace_capture::direction(packet.link, packet.octets));
        let point = match direction {
            Some(Direction::Outgoing) => Point::egress(index),
            Some(Direction::Incoming) => Point::ingress(index),
            None => {
                if self.input.undirected != index {
                    self.input.undirected = index;
                    self.setting.undirected.insert(index);
                }
                Point::ingress(index)
            }
        };
        // Without a time of its own it came no earlier than the last.
        let at = packet.time.map_or(self.flows.now, Nanos);
        if self.proof.writer.is_some() {
            let link = packet.link.0 as u16;
            let new = Described { link, received: 0, id: None };
            self.proof.described.entry(index).or_insert(new).received += 1;
        }
        let inner = if self.args.decap { decap::inner(octets, link) } else { None };
        let around = inner.map(|_| (octets, link));
        let (octets, link) = inner.map_or((octets, link), |it| decap::frame(&it));
        let outer = inner.map(|it| it.outer);
        let raw = Raw { octets: packet.octets, original: packet.original, interface: index, direction, outer, around };
        let plain = decap::without_authentication(octets, link);
        self.flows.see(plain.as_deref().unwrap_or(octets), link, at, point, raw);
    }

    /// A comment of a packet, which may have the verdict about its attempt (`-w`).
    #[cold]
    fn note_recorded(&mut self, comment: &[u8]) {
        if !self.args.rejudge
            && self.recorded.len() < cli::max_attempts(self.args) as usize
            && let Some((id, verdict)) = std::str::from_utf8(comment).ok().and_then(text::recorded)
        {
            self.recorded.insert(id, verdict);
        }
    }

    fn damage(&mut self, name: &str, damage: &tcptrace_capture::Damage) {
        self.input.damaged += 1;
        match self.input.damaged {
            ..=SAID => output::say(&format!("{name}: {damage}")),
            it if it == SAID + 1 => output::say(&format!("{name}: more damage, only counted from here")),
            _ => {}
        }
    }

    fn name_interfaces(&mut self, reader: &Reader<Source>, file: &str) {
        for (index, it) in (self.input.interfaces + 1..).zip(reader.interfaces()) {
            self.setting.interfaces.entry(index).or_insert_with(|| it.name.clone().unwrap_or_else(|| file.to_owned()));
        }
    }

    fn show_progress(&mut self, reader: &Reader<Source>, name: &str) {
        if let Some(last) = &mut self.input.progress
            && last.elapsed() >= PROGRESS
        {
            *last = Instant::now();
            let source = reader.source();
            let share = source.size().filter(|size| *size > 0).map(|size| source.consumed() * 100 / size);
            let share = share.map_or_else(String::new, |it| format!("{it} %, "));
            eprint_progress(&format!("{name}: {share}{} packets", self.input.packets));
        }
    }

    /// Tells what is left, and sums up: in the last JSON line, or behind the last text line.
    fn finish(&mut self) -> Result<(), Stop> {
        self.flows.finish();
        if !self.desk.is_full() {
            match self.tell() {
                Ok(()) | Err(Stop::Enough) => {}
                Err(stop) => return Err(stop),
            }
        }
        self.feed(Nanos(u64::MAX))?;
        let found = self.desk.end();
        self.print_findings(found)?;
        let over = self.desk.end_incidents(self.flows.now);
        self.print_incidents(&over)?;
        let shed = self.complete()?;
        if self.page.log.is_some() {
            // The summary has the lines that were lost.
            self.page.out.flush().map_err(Stop::Output)?;
        }
        let summary = self.summary(shed);
        let format = cli::format(self.args);
        if !self.page.is_silent {
            if let Some(last) = format.last_line(&summary, &self.setting) {
                self.page.out.line(last.as_bytes()).map_err(Stop::Output)?;
            }
            self.page.out.flush().map_err(Stop::Output)?;
        }
        if let Some(closing) = format.closing(&summary, &self.setting) {
            self.say(&closing)?;
        }
        Ok(())
    }

    /// Says something that is not a report: in the file of `--log` where it is text, else on standard error.
    fn say(&mut self, text: &str) -> Result<(), Stop> {
        if self.page.log.is_none() || self.args.json {
            output::say(text);
            return Ok(());
        }
        self.page.out.line(output::said(text).as_bytes()).and_then(|()| self.page.out.flush()).map_err(Stop::Output)
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
        if self.input.damaged > 0
            || self.proof.has_failed
            || self.page.log_lost() > 0
            || (self.input.packets > 0 && self.input.unsupported.values().sum::<u64>() == self.input.packets)
        {
            ExitCode::from(exit::RUNTIME)
        } else if self.desk.is_failed(Some(&self.ends()), &[]) {
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
