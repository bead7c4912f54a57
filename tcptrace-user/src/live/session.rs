//! One run of the tracer, from the interfaces' names to the summary.

use std::{collections::BTreeSet, io, process::ExitCode, time::Duration};

use anyhow::Context as _;
use tcptrace_capture::write::Writer;
use tcptrace_core::{
    event::{Counter, Tally},
    handshake::Nanos,
};
use tcptrace_filter::Filter;
use tcptrace_report::{Setting, summary};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time,
};

use super::{
    events::{self, Reader},
    evidence::{self, Evidence},
    findings::Findings,
    hooks::{self, Attached, Tc},
    interfaces::{self, HookChoice, Interface, LinkWatch},
    kernel::{Kernel, Settings},
    log, privilege,
    signals::{Signals, ended},
    why::Diagnosis,
};
use crate::{
    cli::{self, Args, LocalFacts},
    clock::{self, monotonic},
    host::Host,
    output::Output,
    recorder::Recorder,
    track::{Losses, Tracker},
};

/// Says something that is not data.
macro_rules! say {
    ($($arg:tt)*) => { $crate::output::say(&format!($($arg)*)) };
}

// After the macro, which they use.
mod ending;
mod links;
mod telling;

/// How often silence is looked for: where something is due, or may end.
const SWEEP: Duration = Duration::from_millis(250);
/// And where nothing is. What begins meanwhile is found before it is due.
const LONGEST_SWEEP: Duration = Duration::from_secs(1);

/// Traces until a signal, a limit or the end of standard output.
///
/// # Errors
/// When nothing can be traced: see `cli::exit` for which error becomes which code.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let filter = cli::filter(&args)?;
    let settings = Settings {
        max_attempts: cli::max_attempts(&args),
        stall_after: args.stall_after.as_nanos() as u64,
        tell_all: args.all,
        // What does not fit there is still asked here.
        filter: filter.as_ref().and_then(Filter::tests).unwrap_or_default(),
        packets: if args.write.is_some() { evidence::RING } else { 0 },
        decap: args.decap,
        drops_within: if args.local == LocalFacts::Own { Host::own().own_cookie() } else { 0 },
        debug: args.verbose > 1,
        ..match args.local {
            LocalFacts::All | LocalFacts::Own => Settings::default(),
            LocalFacts::Off => Settings { connects: 0, drops: 0, ..Settings::default() },
        }
    };
    let wanted = wanted(&args.interfaces)?;
    privilege::check()?;
    // Before signals are obeyed: a pipe without a reader is waited for here.
    let writer = args.write.as_ref().map(|path| Writer::create(path, cli::rotation(&args))).transpose()?;
    // Before the banner: who reads it may send a signal at once.
    let signals = Signals::listen()?;
    let mut session = Session::start(args, filter, wanted, &settings, writer)?;
    session.banner();
    let traced = session.trace(signals).await;
    // Whatever ended it: the evidence is completed, and what was found is said.
    let code = session.end();
    traced.map(|()| code)
}

/// The interfaces to trace: those named, or the default route's.
fn wanted(names: &[String]) -> anyhow::Result<Vec<Interface>> {
    let mut wanted: Vec<Interface> = Vec::new();
    for name in names {
        let interface = interfaces::find(name)?;
        if !wanted.iter().any(|it| it.index == interface.index) {
            wanted.push(interface);
        }
    }
    if wanted.is_empty() {
        let all = interfaces::list()?;
        let index = interfaces::default_route()?;
        let Some(interface) = all.iter().find(|it| Some(it.index) == index) else {
            let names: Vec<_> = all.iter().map(|it| it.name.escape_debug().to_string()).collect();
            anyhow::bail!(
                "no default route to choose an interface by: name one with --iface; these exist: {}",
                names.join(", ")
            );
        };
        say!("no interface given: tracing {}, which has the default route", interface.name);
        wanted.push(interface.clone());
    }
    Ok(wanted)
}

struct Session {
    args: Args,
    filter: Option<Filter>,
    kernel: Kernel,
    attached: Vec<Attached>,
    /// How each interface was attached to, for the summary: it is made when nothing is any more.
    attached_as: Vec<summary::Hook>,
    /// Names of interfaces that went away and are waited for.
    missing: Vec<String>,
    watch: AsyncFd<LinkWatch>,
    reader: Reader,
    log: Option<aya_log::EbpfLogger<&'static dyn ::log::Log>>,
    tracker: Tracker,
    findings: Findings,
    diagnosis: Diagnosis,
    /// The most attempts that were pending at a sweep.
    most_pending: usize,
    setting: Setting,
    evidence: Option<Evidence>,
    output: Option<Output>,
    output_failed: Option<tokio::sync::oneshot::Receiver<io::Error>>,
    started: Nanos,
    /// When tracing ended; zero until then.
    ended: Nanos,
    told: u64,
    found: bool,
    /// Notices of interfaces were lost, and no list has been read since.
    is_stale: bool,
    /// It was said that the kernel's counters cannot be read.
    is_uncounted: bool,
}

impl Session {
    fn start(
        args: Args,
        filter: Option<Filter>,
        wanted: Vec<Interface>,
        settings: &Settings,
        writer: Option<Writer>,
    ) -> anyhow::Result<Self> {
        let mut kernel = Kernel::load(settings)?;
        let watch = LinkWatch::open().context("cannot watch the interfaces")?;
        // SAFETY: the watch keeps one descriptor open until it is dropped.
        #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
        let watch = unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }?;
        let attached = wanted
            .into_iter()
            .map(|interface| attach(&mut kernel, interface, &args))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let started = monotonic();
        let log = settings.debug.then(log::listen).and_then(|()| kernel.take_log());
        let reader = Reader::new(kernel.take_events().context("the ring buffer was taken already")?)?;
        let evidence = kernel.take_packets().zip(writer).map(|(ring, it)| Evidence::new(ring, Recorder::start(it)));
        if let Some(evidence) = &evidence {
            attached.iter().for_each(|it| evidence.interface(&it.interface));
        }
        let styled = args.color.choice(&io::stdout());
        let (output, output_failed) = Output::start(styled);
        let interfaces = attached.iter().map(|it| (it.interface.index, it.interface.name.clone())).collect();
        let accounts = kernel.take_accounts().context("the accounts were taken already")?;
        Ok(Self {
            findings: Findings::new(accounts),
            diagnosis: Diagnosis::new(args.local, &mut kernel),
            most_pending: 0,
            tracker: Tracker::new(started, settings.stall_after, settings.tell_all),
            setting: Setting { clock: clock::now(), interfaces, undirected: BTreeSet::new(), dated: false },
            args,
            filter,
            kernel,
            attached_as: attached.iter().map(hook).collect(),
            attached,
            missing: Vec::new(),
            watch,
            reader,
            log,
            evidence,
            output: Some(output),
            output_failed: Some(output_failed),
            started,
            ended: Nanos(0),
            told: 0,
            found: false,
            is_stale: false,
            is_uncounted: false,
        })
    }

    fn banner(&self) {
        if self.args.quiet {
            return;
        }
        for it in &self.attached {
            say!("{}", describe(it));
            if !it.interface.up {
                say!("{} is down: no packets until it is up", it.interface.name);
            }
        }
        for it in self.attached.iter().filter(|it| interfaces::is_translated_bridge(&it.interface.name)) {
            say!(
                "{} is a bridge with net.bridge.bridge-nf-call-iptables: translated connections may show one direction only; \
                 its ports (-i) show both",
                it.interface.name
            );
        }
        let all = interfaces::list().unwrap_or_default();
        let name = |index| self.setting.interface(index);
        for (lower, upper) in interfaces::overlapping(&all) {
            if self.setting.interfaces.contains_key(&lower) && self.setting.interfaces.contains_key(&upper) {
                say!("{} and {} carry the same packets: each is counted once", name(lower), name(upper));
            }
        }
        if let Some(path) = &self.args.write {
            let memory = evidence::MEMORY >> 20;
            say!("the packets of failed attempts go to {}; up to {memory} MiB hold them until then", path.display());
        }
        self.diagnosis.unknown().iter().for_each(|it| say!("{it}"));
        let table = &self.kernel.table;
        say!(
            "tracing; the table holds {} attempts in {} MiB; Ctrl-C ends",
            table.capacity(),
            table.size().div_ceil(1 << 20)
        );
    }

    /// The loop: events, silence, interfaces, signals, limits.
    async fn trace(&mut self, signals: Signals) -> anyhow::Result<()> {
        let watched = self.watch_all(signals).await;
        self.drain();
        watched
    }

    async fn watch_all(&mut self, signals: Signals) -> anyhow::Result<()> {
        let Signals { mut interrupt, mut terminate, mut hangup, mut user1 } = signals;
        let mut sweep = time::interval(SWEEP);
        let mut packets = time::interval(evidence::READ);
        packets.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let duration = self.args.duration.unwrap_or(Duration::MAX);
        let limit = time::sleep(duration.min(Duration::from_secs(10 * 365 * 86_400)));
        tokio::pin!(limit);
        let mut output_failed = self.output_failed.take().context("a session traces once")?;
        while !self.enough() {
            tokio::select! {
                ready = self.reader.ready() => {
                    ready.context("the ring buffer cannot be read any more")?;
                    self.read_events(events::BATCH);
                }
                _ = sweep.tick() => sweep.reset_after(self.sweep()),
                _ = packets.tick(), if self.evidence.is_some() => {
                    if !self.read_packets() {
                        return Ok(());
                    }
                }
                ready = self.watch.readable_mut() => {
                    ready?.clear_ready();
                    self.links();
                }
                failure = &mut output_failed => match failure {
                    Ok(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                        return Err(error).context("cannot write to standard output");
                    }
                    _ => return Ok(()),
                },
                _ = user1.recv() => say!("{}", self.summary().text()),
                () = &mut limit => break,
                () = ended(&mut interrupt, &mut terminate, &mut hangup) => break,
            }
        }
        Ok(())
    }

    /// What the ring still holds when tracing ends.
    fn drain(&mut self) {
        self.ended = monotonic();
        self.attached.clear();
        self.read_events(usize::MAX);
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Reads at most so many events.
    fn read_events(&mut self, most: usize) {
        for _ in 0..most {
            let Some((transition, event)) = self.reader.read() else { return };
            let report = self.tracker.event(transition, &event);
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
        self.args.count.is_some_and(|count| self.told >= count)
    }

    /// The kernel's counters; that they cannot be read is said once.
    fn read_counters(&mut self) -> Option<Tally> {
        match self.kernel.tally() {
            Ok(tally) => Some(tally),
            Err(error) => {
                if !self.is_uncounted {
                    say!("cannot read the kernel's counters, so what is lost stays unknown: {error}");
                }
                self.is_uncounted = true;
                None
            }
        }
    }

    /// Looks for silence, and says how long it need not look again.
    fn sweep(&mut self) -> Duration {
        clock::follow(&mut self.setting.clock);
        let now = monotonic();
        if self.is_stale {
            self.compare_links();
        }
        // Before the table, so that what changes after this is counted as a change the next time.
        let tally = self.read_counters();
        let changes = tally.as_ref().map(changes);
        let unnoted = tally.as_ref().map(|it| it.counters[Counter::DropUnnoted as usize]);
        if let Some(tally) = tally {
            let lost = |counter| tally.counters[counter as usize];
            let attempts = lost(Counter::ReplacedPending) + lost(Counter::Contended);
            self.tracker.lose(now, Losses { events: tally.lost.iter().sum(), attempts });
        }
        let unsent = self.diagnosis.tick(now, &self.kernel.table, unnoted);
        self.tell_unsent(&unsent);
        let mut reports = Vec::new();
        let overview = self.kernel.table.each_pending(now, changes, |it| {
            let (report, due) = self.tracker.look(it, now);
            reports.extend(report);
            due
        });
        self.most_pending = self.most_pending.max(overview.pending);
        // Before what they stand for.
        let findings = self.findings.look(now);
        self.find(findings);
        let table = &self.kernel.table;
        reports.extend(self.tracker.sweep(now, |it| table.find(it)));
        self.tell(reports);
        for report in self.diagnosis.due(now, false) {
            self.tell_one(report);
        }
        if let Some(log) = &mut self.log {
            log.flush();
        }
        if self.is_stale || self.tracker.waits() || self.findings.are_on() || self.diagnosis.waits() {
            return SWEEP;
        }
        let longest = self.args.stall_after.clamp(SWEEP, LONGEST_SWEEP);
        Duration::from_nanos(overview.due.since(now)).clamp(SWEEP, longest)
    }
}

/// A count that grows with whatever changes a set of the table, before its lock is given back.
fn changes(it: &Tally) -> u64 {
    it.transitions.iter().sum::<u64>() + it.counters[Counter::AnswerUnmatched as usize]
}

fn attach(kernel: &mut Kernel, interface: Interface, args: &Args) -> anyhow::Result<Attached> {
    let hook = match args.hook {
        cli::Hook::Auto => HookChoice::Auto,
        cli::Hook::Xdp => HookChoice::Xdp,
        cli::Hook::Tc => HookChoice::Tc,
        cli::Hook::Generic => HookChoice::Generic,
    };
    let tc = args.tc.map(|tc| match tc {
        cli::Tc::Tcx => Tc::Tcx,
        cli::Tc::Clsact => Tc::Clsact,
    });
    hooks::attach(kernel, interface, hook, tc)
}

fn hook(it: &Attached) -> summary::Hook {
    summary::Hook {
        interface: it.interface.name.clone(),
        ingress: it.ingress.to_string(),
        reason: it.reason.clone(),
        egress: it.egress.map(|it| it.name().to_owned()),
    }
}

fn describe(it: &Attached) -> String {
    let egress = it.egress.map_or("the same packets", Tc::name);
    let beside = if it.beside.is_empty() {
        String::new()
    } else {
        format!("; every packet is passed on to {}", it.beside.join(", "))
    };
    format!("{}: in by {} ({}), out by {egress}{beside}", it.interface.name, it.ingress, it.reason)
}
