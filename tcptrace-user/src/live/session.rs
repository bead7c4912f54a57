//! One run of the tracer, from the interfaces' names to the summary.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use tcptrace_capture::write::{self, Writer};
use tcptrace_core::{
    event::{Counter, Counters},
    handshake::Nanos,
};
use tcptrace_filter::Filter;
use tcptrace_report::{Format, Latest, Setting};
use tcptrace_vocabulary::facts::Netns;
use tokio::time;

use super::{
    accounts::Accounts,
    choice::Choice,
    events::{self, Reader},
    evidence::{self, Evidence},
    hooks::Tc,
    interfaces::{self, HookChoice, Interface},
    kernel::{Kernel, Settings},
    log,
    on_incident::Runner,
    privilege,
    signals::{self, Signals, came, ended},
    why::Judge,
};
use crate::{
    clock::{self, monotonic},
    desk::{Asked, Desk, FailOn},
    host::{Host, LocalFacts, Tunnels},
    ignore::IgnoreList,
    limit,
    log_file::LogFile,
    output::{self, Output, Sink},
    recorder::Recorder,
    selection::Selection,
    track::{Losses, Tracker},
};

/// Says something that is not data.
macro_rules! say {
    ($($arg:tt)*) => { $crate::output::say(&format!($($arg)*)) };
}

// After the macro, which they use.
mod attachments;
mod banner;
mod ending;
mod links;
mod telling;

use attachments::{Attachments, Plan};

/// The interval between two looks for silence, where something is due, or may end.
const SWEEP: Duration = Duration::from_millis(250);
/// Bytes of lines that are written at once to standard output.
const LINES: usize = 1 << 13;
/// The interval where nothing is due. An attempt that begins meanwhile is found before it is due, and a connect(2) that
/// fails without a packet is reported within a second.
const LONGEST_SWEEP: Duration = Duration::from_millis(500);

/// Traces until a signal, a limit or the end of standard output.
///
/// # Errors
/// When nothing can be traced: each error says its exit code (`exit::ExitCode`).
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let settings = settings(&options);
    let wanted = wanted(&options.interfaces)?;
    if options.interfaces.has_patterns() {
        limit::raise_files();
    }
    privilege::check()?;
    // Before signals are obeyed: a pipe without a reader is waited for here.
    let open = |path| LogFile::open(path, &[], options.write.as_deref(), output::say);
    let log = options.log.as_deref().map(open).transpose()?;
    let writer = options.write.as_ref().map(|path| Writer::create(path, options.rotation)).transpose()?;
    // Before the banner: its reader may send a signal at once.
    let signals = Signals::listen(log.is_some())?;
    let mut session = signals::held(|| Session::start(options, wanted, &settings, writer, log))?;
    session.banner();
    let traced = session.trace(signals).await;
    // Whatever ended it: the evidence is completed, and what was found is said.
    let code = session.end();
    traced.map(|()| code)
}

/// The part of the options that is fixed when the kernel programs are loaded.
fn settings(options: &Options) -> Settings {
    Settings {
        max_attempts: options.max_attempts,
        stall_after: options.stall_after.as_nanos() as u64,
        tell_all: options.all,
        // A filter that does not fit there is still applied here.
        filter: options.filter.as_ref().and_then(Filter::tests).unwrap_or_default(),
        packets: if options.write.is_some() { evidence::RING } else { 0 },
        decap: options.decap,
        drops_within: if options.local == LocalFacts::Own { Host::own().own_cookie() } else { 0 },
        debug: options.verbose > 1,
        ..match options.local {
            LocalFacts::All | LocalFacts::Own => Settings::default(),
            LocalFacts::Off => Settings { connects: 0, drops: 0, ..Settings::default() },
        }
    }
}

/// The interfaces to trace from the start on: those named, or the default route's.
fn wanted(choice: &Choice) -> anyhow::Result<Vec<Interface>> {
    let mut wanted: Vec<Interface> = Vec::new();
    for name in choice.names() {
        let interface = interfaces::find(name)?;
        if !wanted.iter().any(|it| it.index == interface.index) {
            wanted.push(interface);
        }
    }
    if choice.is_empty() {
        let all = interfaces::list()?;
        let index = interfaces::default_route()?;
        let Some(interface) = all.iter().find(|it| Some(it.index) == index) else {
            let names: Vec<_> = all.iter().map(|it| it.name.escape_debug().to_string()).collect();
            anyhow::bail!(
                "cannot choose an interface: no default route; name one with --iface, or trace all with --iface any: {}",
                names.join(", ")
            );
        };
        say!("no interface given: tracing {}, which has the default route", interface.name);
        wanted.push(interface.clone());
    }
    if wanted.iter().any(interfaces::is_translated_bridge) {
        wanted.extend(interfaces::ports_beside(&wanted, &interfaces::list()?));
    }
    Ok(wanted)
}

fn plan(options: &Options) -> Plan {
    let Options { interfaces, hook, tc, verbose, .. } = options;
    Plan { choice: interfaces.clone(), hook: *hook, tc: *tc, lists_each: *verbose > 0 }
}

/// The options of a run, whoever starts it.
#[derive(Clone, Debug)]
pub struct Options {
    /// None: the default route's.
    pub interfaces: Choice,
    /// The network namespace that was entered; `None`: the one it was started in.
    pub netns: Option<Netns>,
    pub hook: HookChoice,
    /// The way to attach TC programs; `None`: as the kernel can.
    pub tc: Option<Tc>,
    pub filter: Option<Filter>,
    /// Attempts are listed by the processes at their ends.
    pub selection: Selection,
    /// The root below which the names of containers are looked up, if not `/`.
    pub names_below: Option<PathBuf>,
    /// Slots of the table.
    pub max_attempts: u32,
    pub local: LocalFacts,
    /// Look into tunnels.
    pub decap: bool,
    /// Report completed handshakes as well.
    pub all: bool,
    /// A command for each beginning and end of an incident.
    pub on_incident: Option<String>,
    /// Failures that are accepted.
    pub ignored: IgnoreList,
    /// The zone of the times in text.
    pub zone: TimeZone,
    /// Names of ports, for text.
    pub services: BTreeMap<u16, String>,
    /// Every failure is a line of its own.
    pub each: bool,
    /// An attempt without progress for this time is stalled.
    pub stall_after: Duration,
    /// `None`: until a signal.
    pub duration: Option<Duration>,
    /// Reported attempts after which tracing ends.
    pub count: Option<u64>,
    pub fail_on: Vec<FailOn>,
    pub format: Format,
    pub color: anstream::ColorChoice,
    pub quiet: bool,
    /// 1: more about each attempt; 2: the kernel programs' log as well.
    pub verbose: u8,
    /// The file for reports and summary, instead of standard output.
    pub log: Option<PathBuf>,
    /// The file for the packets of reported attempts.
    pub write: Option<PathBuf>,
    pub rotation: write::Rotation,
}

struct Session {
    options: Options,
    attachments: Attachments,
    feed: Feed,
    accounts: Accounts,
    desk: Desk,
    judge: Judge,
    setting: Setting,
    evidence: Option<Evidence>,
    /// `None` without `--on-incident`.
    runner: Option<Runner>,
    /// `None` where tunnels are looked into.
    tunnels: Option<Tunnels>,
    printed: Printed,
}

/// The kernel's part: its events, its table, its counters, its log, and the tracker of them.
struct Feed {
    kernel: Kernel,
    reader: Reader,
    log: Option<aya_log::EbpfLogger<&'static dyn ::log::Log>>,
    tracker: Tracker,
    /// The most attempts that were pending at a sweep.
    most_pending: usize,
    started: Nanos,
    /// When tracing ended; zero until then.
    ended: Nanos,
    /// It was said that the kernel's counters cannot be read.
    is_uncounted: bool,
}

/// The lines' way out, and why it failed.
struct Printed {
    output: Option<Output>,
    failed: Option<tokio::sync::oneshot::Receiver<io::Error>>,
}

impl Printed {
    fn start(log: Option<LogFile>, color: anstream::ColorChoice) -> io::Result<Self> {
        let (output, failed) = Output::start(Sink::new(log, color, LINES))?;
        Ok(Self { output: Some(output), failed: Some(failed) })
    }
}

impl Feed {
    fn start(mut kernel: Kernel, settings: &Settings) -> anyhow::Result<Self> {
        let started = monotonic();
        Ok(Self {
            log: settings.debug.then(log::listen).and_then(|()| kernel.take_log()),
            reader: Reader::new(kernel.take_events().context("the ring buffer was taken already")?)?,
            tracker: Tracker::new(started, settings.stall_after, settings.tell_all),
            kernel,
            most_pending: 0,
            started,
            ended: Nanos(0),
            is_uncounted: false,
        })
    }

    /// The kernel's counters; that they cannot be read is said once.
    fn read_counters(&mut self) -> Option<Counters> {
        match self.kernel.tally() {
            Ok(tally) => Some(tally),
            Err(error) => {
                if !self.is_uncounted {
                    say!("cannot read the kernel's counters, losses stay unknown: {error}");
                }
                self.is_uncounted = true;
                None
            }
        }
    }

    fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }
}

impl Session {
    fn start(
        options: Options,
        wanted: Vec<Interface>,
        settings: &Settings,
        writer: Option<Writer>,
        log: Option<LogFile>,
    ) -> anyhow::Result<Self> {
        let mut kernel = Kernel::load(settings)?;
        let attachments = Attachments::open(&mut kernel, wanted, plan(&options))?;
        let mut feed = Feed::start(kernel, settings)?;
        let ring = feed.kernel.take_packets();
        let recorder = writer.map(Recorder::start).transpose()?;
        let evidence = ring.zip(recorder).map(|(ring, recorder)| Evidence::new(ring, recorder));
        if let Some(evidence) = &evidence {
            attachments.interfaces().for_each(|interface| evidence.interface(interface));
        }
        let printed = Printed::start(log, options.color)?;
        let interfaces = attachments.interfaces().map(|it| (it.index, it.name.clone())).collect();
        let accounts = feed.kernel.take_accounts().context("the accounts were taken already")?;
        let tunnels = (!options.decap).then(|| Tunnels::start(attachments.interfaces(), monotonic()));
        let runner = options.on_incident.as_deref().map(Runner::start).transpose()?;
        Ok(Self {
            runner,
            accounts,
            tunnels,
            desk: Desk::new(asked(&options)),
            judge: Judge::new(options.local, options.names_below.as_deref(), options.netns.clone(), &mut feed.kernel),
            setting: Setting {
                clock: clock::now(),
                interfaces,
                undirected: BTreeSet::new(),
                zone: options.zone.clone(),
                width: output::width(options.log.is_some()),
                services: options.services.clone(),
                is_capture: false,
                latest: Latest::default(),
            },
            options,
            attachments,
            feed,
            evidence,
            printed,
        })
    }

    /// The loop: events, silence, interfaces, signals, limits.
    async fn trace(&mut self, signals: Signals) -> anyhow::Result<()> {
        let watched = self.watch_all(signals).await;
        self.drain();
        watched
    }

    async fn watch_all(&mut self, signals: Signals) -> anyhow::Result<()> {
        let Signals { mut interrupt, mut terminate, mut hangup, mut reopen, mut user1 } = signals;
        let mut sweep = time::interval(SWEEP);
        let mut packets = time::interval(evidence::READ);
        packets.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let duration = self.options.duration.unwrap_or(Duration::MAX);
        let limit = time::sleep(duration.min(Duration::from_secs(10 * 365 * 86_400)));
        tokio::pin!(limit);
        let mut output_failed = self.printed.failed.take().context("a session traces once")?;
        while !self.enough() {
            tokio::select! {
                ready = self.feed.reader.ready() => {
                    ready.context("the ring buffer cannot be read any more")?;
                    self.read_events(events::BATCH);
                }
                _ = sweep.tick() => sweep.reset_after(self.sweep()),
                _ = packets.tick(), if self.evidence.is_some() => {
                    if !self.read_packets() {
                        return Ok(());
                    }
                }
                ready = self.attachments.watch.readable_mut() => {
                    ready?.clear_ready();
                    self.links();
                }
                failure = &mut output_failed => match failure {
                    Ok(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                        return Err(error).context("cannot write to standard output");
                    }
                    _ => return Ok(()),
                },
                _ = user1.recv() => self.say_summary(&self.summary().text()),
                () = came(&mut reopen) => self.printed.output.iter().for_each(Output::reopen),
                () = &mut limit => break,
                () = ended(&mut interrupt, &mut terminate, &mut hangup) => break,
            }
        }
        Ok(())
    }

    /// Reads the events that the ring still holds when tracing ends.
    fn drain(&mut self) {
        self.feed.ended = monotonic();
        self.attachments.detach();
        if let Some(tunnels) = &mut self.tunnels {
            tunnels.read();
        }
        // Losses since the last sweep bear on the reports that follow.
        if let Some(tally) = self.feed.read_counters() {
            self.feed.tracker.note_losses(self.feed.ended, losses(&tally));
        }
        self.read_events(usize::MAX);
        self.feed.flush_log();
    }

    /// Reads at most `most` events.
    fn read_events(&mut self, most: usize) {
        for _ in 0..most {
            let Some((transition, event)) = self.feed.reader.read() else { return };
            let report = self.feed.tracker.event(transition, &event);
            self.tell(report);
        }
    }

    /// Reads what came up for the evidence; false where nobody reads that any more.
    fn read_packets(&mut self) -> bool {
        let Some(evidence) = &mut self.evidence else { return true };
        evidence.read(&self.setting);
        !evidence.is_broken()
    }

    fn enough(&self) -> bool {
        self.desk.is_full()
    }

    /// Looks for silence, and says how long it need not look again.
    fn sweep(&mut self) -> Duration {
        clock::follow(&mut self.setting.clock);
        let now = monotonic();
        if self.attachments.is_stale {
            self.compare_links();
        }
        // Before the table, so that what changes after this is counted as a change the next time.
        let tally = self.feed.read_counters();
        let changes = tally.as_ref().map(changes);
        let unnoted = tally.as_ref().map(|it| it.counters[Counter::DropUnnoted as usize]);
        if let Some(tally) = &tally {
            self.feed.tracker.note_losses(now, losses(tally));
        }
        if let Some(tunnels) = &mut self.tunnels {
            tunnels.tick(self.attachments.interfaces(), now);
        }
        let unsent = self.judge.tick(now, &self.feed.kernel.table, unnoted);
        self.tell_unsent(unsent);
        let mut reports = Vec::new();
        let overview = self.feed.kernel.table.each_pending(now, changes, |it| {
            let (report, due) = self.feed.tracker.look(it, now);
            reports.extend(report);
            due
        });
        self.feed.most_pending = self.feed.most_pending.max(overview.pending);
        // Before what they stand for.
        self.look_for_findings(now);
        let table = &self.feed.kernel.table;
        reports.extend(self.feed.tracker.sweep(now, |handshake| table.find(handshake)));
        self.tell(reports);
        self.tell_due(now, false);
        self.look_at_incidents(now);
        self.feed.flush_log();
        let waits = self.attachments.is_stale || self.feed.tracker.waits();
        if waits || self.desk.is_flooded() || self.desk.waits() || self.desk.has_incidents() {
            return SWEEP;
        }
        let longest = self.options.stall_after.clamp(SWEEP, LONGEST_SWEEP);
        Duration::from_nanos(overview.due.since(now)).clamp(SWEEP, longest)
    }
}

fn losses(counters: &Counters) -> Losses {
    let lost = |counter| counters.counters[counter as usize];
    let attempts = lost(Counter::ReplacedPending) + lost(Counter::Contended);
    Losses { events: counters.lost.iter().sum(), attempts }
}

/// A count that grows with whatever changes a set of the table, before its lock is given back.
fn changes(counters: &Counters) -> u64 {
    counters.transitions.iter().sum::<u64>() + counters.counters[Counter::AnswerUnmatched as usize]
}

/// Servers that have a total of their own.
const SERVERS: usize = 1 << 16;

fn asked(options: &Options) -> Asked {
    Asked {
        all: options.all,
        each: options.each,
        count: options.count,
        fail_on: options.fail_on.clone(),
        ignored: options.ignored.clone().with_clock(clock::now()),
        is_capture: false,
        servers: SERVERS,
    }
}
