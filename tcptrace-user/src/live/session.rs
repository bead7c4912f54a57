//! One run of the tracer, from the interfaces' names to the summary.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use tcptrace_core::{
    event::{Counter, Tally, is_open},
    handshake::{Nanos, State, Transition},
    outcome::Outcome,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    time,
};

use super::{
    events::{self, Reader},
    evidence::{self, Evidence},
    findings::Findings,
    hooks::{self, Attached, Tc},
    interfaces::{self, HookChoice, Interface, LinkEvent, LinkWatch},
    kernel::{Kernel, Settings},
    log, privilege,
    why::Diagnosis,
};
use crate::{
    cli::{self, Args, LocalFacts, exit},
    clock::{Clock, monotonic},
    diagnose::Unsent,
    evidence::{
        Writer,
        recorder::{Account, Recorder},
    },
    filter::Filter,
    host::Host,
    output::{self, Output},
    report::{
        Setting, connect,
        finding::Finding,
        json,
        summary::{self, Summary},
        text,
    },
    track::{Losses, Report, Tracker},
};

/// How often silence is looked for: where something is due, or may end.
const SWEEP: Duration = Duration::from_millis(250);
/// And where nothing is. What begins meanwhile is found before it is due.
const LONGEST_SWEEP: Duration = Duration::from_secs(1);

/// Says something that is not data.
macro_rules! say {
    ($($arg:tt)*) => { output::say(&format!($($arg)*)) };
}

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

/// The signals that tracing obeys.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
    user1: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            // nohup(1) has it ignored: that stays so.
            hangup: if is_ignored(libc::SIGHUP) { None } else { Some(signal(SignalKind::hangup())?) },
            user1: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Waits for one that ends tracing.
async fn ended(interrupt: &mut Signal, terminate: &mut Signal, hangup: &mut Option<Signal>) {
    let hung_up = async {
        match hangup {
            Some(it) => it.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hung_up => {}
    }
}

#[expect(unsafe_code, reason = "std does not tell how a signal is handled")]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: sigaction fills a structure of integers and asks for no change.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
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
            setting: Setting { clock: Clock::now(), interfaces, undirected: BTreeSet::new(), dated: false },
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

    /// Looks for silence, and says how long it need not look again.
    fn sweep(&mut self) -> Duration {
        self.setting.clock.follow();
        let now = monotonic();
        // Before the table, so that what changes after this is counted as a change the next time.
        let tally = self.kernel.tally();
        let changes = tally.as_ref().ok().map(changes);
        let unnoted = tally.as_ref().ok().map(|it| it.counters[Counter::DropUnnoted as usize]);
        if let Ok(tally) = tally {
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
        if self.tracker.waits() || self.findings.are_on() || self.diagnosis.waits() {
            return SWEEP;
        }
        let longest = self.args.stall_after.clamp(SWEEP, LONGEST_SWEEP);
        Duration::from_nanos(overview.due.since(now)).clamp(SWEEP, longest)
    }

    /// Tells what was found of many attempts together.
    fn find(&mut self, findings: Vec<Finding>) {
        for it in findings {
            self.found |= self.args.fail_on.contains(&cli::Finding::Any);
            let line = if self.args.json { it.line(&self.setting) } else { it.text(&self.setting) };
            if let Some(output) = self.output.as_ref().filter(|_| !self.is_silent()) {
                output.line(line);
            }
        }
    }

    fn tell(&mut self, reports: impl IntoIterator<Item = Report>) {
        let reports: Vec<_> = reports.into_iter().map(|it| (self.diagnosis.is_probe(it.attempt()), it)).collect();
        // What was not meant to arrive says nothing of its host.
        reports.iter().filter(|(is_probe, _)| !is_probe).for_each(|(_, it)| self.diagnosis.note(it));
        for (is_probe, report) in reports {
            if is_probe && !self.args.all && self.diagnosis.probes.takes(&report, monotonic()) {
                if let Report::Attempt(it) = &report {
                    self.tracker.forgive(it.handshake.server(), it.outcome, 1);
                }
                continue;
            }
            let checks = if self.args.all { None } else { self.diagnosis.checks.takes(&report, monotonic()) };
            match checks {
                Some(checks) => {
                    let it = report.attempt();
                    self.tracker.forgive(it.handshake.server(), it.outcome, checks);
                }
                None if !self.args.all && self.diagnosis.holds(&report, monotonic()) => {}
                None => self.tell_one(report),
            }
        }
    }

    /// Tells a report, unless nobody wants it.
    fn tell_one(&mut self, mut report: Report) {
        let it = report.attempt_mut();
        it.outer = self.kernel.table.outer(&it.handshake);
        if self.filter.as_ref().is_some_and(|filter| !filter.matches(it.handshake.client(), it.handshake.server())) {
            return;
        }
        // Of what was told when it opened the end is no other attempt.
        let counts = match &report {
            Report::Stall(_) => false,
            Report::Open(_) => true,
            Report::Attempt(it) => !(self.args.all && it.outcome.is_open()),
        };
        let it = report.attempt();
        let is_end = matches!(report, Report::Attempt(_));
        self.found |= is_end && self.args.fail_on.iter().any(|finding| finding.covers(it.outcome));
        // Of what was told as stalled or open the end is told all the same.
        if self.enough() && (!is_end || counts && it.stalled.is_none()) {
            return;
        }
        if is_end && !(self.args.all || it.is_trouble()) {
            return;
        }
        if self.findings.takes(&report, monotonic()) {
            return;
        }
        if !self.args.all && self.diagnosis.is_overtaken(report.attempt(), &self.kernel.table, monotonic()) {
            self.diagnosis.note_overtaken(&report, &mut self.findings.networks, &self.kernel.table, monotonic);
            return;
        }
        let it = report.attempt_mut();
        if it.wants_cause() {
            self.diagnosis.explain(it, &self.kernel.table, monotonic);
        }
        let it = report.attempt();
        let proven = it.is_trouble() && !matches!(report, Report::Stall(_));
        if let Some(evidence) = self.evidence.as_mut().filter(|_| proven) {
            evidence.verdict(it);
        }
        self.told += u64::from(counts);
        let line = if self.args.json {
            json::line(&report, &self.setting)
        } else {
            text::line(&report, &self.setting, self.args.quiet, self.args.verbose > 0)
        };
        if let Some(output) = self.output.as_ref().filter(|_| !self.is_silent()) {
            output.line(line);
        }
    }

    /// Tells of calls of connect(2) that put no SYN on the wire.
    fn tell_unsent(&mut self, unsent: &[Unsent]) {
        let client = |it: &Unsent| it.client.unwrap_or_default();
        let wanted = |it: &&Unsent| self.filter.as_ref().is_none_or(|filter| filter.matches(client(it), it.server));
        for it in unsent.iter().filter(wanted) {
            self.found |= self.args.fail_on.contains(&cli::Finding::Any);
            let line = if self.args.json {
                connect::line(it, &self.setting)
            } else {
                connect::text(it, &self.setting, self.args.quiet)
            };
            if let Some(output) = self.output.as_ref().filter(|_| !self.is_silent()) {
                output.line(line);
            }
        }
    }

    /// Standard output is the evidence's.
    fn is_silent(&self) -> bool {
        self.args.write.as_deref() == Some(Path::new("-"))
    }

    /// What happened to interfaces: gone, back, renamed, down, up.
    fn links(&mut self) {
        loop {
            match self.watch.get_mut().next_event() {
                Ok(None) => return,
                Ok(Some(LinkEvent::Gone { index, .. })) => self.gone(index),
                Ok(Some(LinkEvent::Changed(interface))) => self.changed(interface),
                Ok(Some(LinkEvent::Lost)) => {
                    let all = interfaces::list().unwrap_or_default();
                    let gone: Vec<_> = self.attached.iter().map(|it| it.interface.index).collect();
                    for index in gone.into_iter().filter(|index| !all.iter().any(|it| it.index == *index)) {
                        self.gone(index);
                    }
                    all.into_iter().for_each(|it| self.changed(it));
                }
                Err(error) => {
                    say!("cannot watch the interfaces any more: {error}");
                    return;
                }
            }
        }
    }

    fn gone(&mut self, index: u32) {
        if let Some(at) = self.attached.iter().position(|it| it.interface.index == index) {
            let name = self.attached.remove(at).interface.name;
            say!("{name} has gone; waiting for it to come back");
            self.missing.push(name);
        }
    }

    fn changed(&mut self, now: Interface) {
        if let Some(it) = self.attached.iter_mut().find(|it| it.interface.index == now.index) {
            if it.interface.name != now.name {
                say!("{} is called {} now", it.interface.name, now.name);
            }
            match (it.interface.up, now.up) {
                (true, false) => say!("{} went down: no packets until it is up again", now.name),
                (false, true) => say!("{} is up", now.name),
                _ => {}
            }
            self.setting.interfaces.insert(now.index, now.name.clone());
            it.interface = now;
            return;
        }
        let Some(at) = self.missing.iter().position(|name| *name == now.name) else { return };
        let (index, name) = (now.index, now.name.clone());
        // Asked for anew: the notice may be older than a program that somebody has attached since.
        match interfaces::find(&name).map_err(Into::into).and_then(|it| attach(&mut self.kernel, it, &self.args)) {
            Ok(attached) => {
                self.missing.remove(at);
                say!("back: {}", describe(&attached));
                if let Some(evidence) = &self.evidence {
                    evidence.interface(&attached.interface);
                }
                self.attached_as.retain(|it| it.interface != name);
                self.attached_as.push(hook(&attached));
                self.setting.interfaces.insert(index, name);
                self.attached.push(attached);
            }
            Err(error) => say!("{name} is back: {error:#}"),
        }
    }

    fn summary(&self) -> Summary {
        let mut servers: HashMap<_, _> =
            self.tracker.servers.iter().map(|(&server, &told)| (server, (told, 0))).collect();
        let mut in_flight = 0;
        let mut told = self.tracker.told;
        let tally = self.kernel.tally().unwrap_or_default();
        let now = if self.ended == Nanos(0) { monotonic() } else { self.ended };
        for it in self.kernel.table.attempts() {
            if it.state() == State::Established {
                servers.entry(it.server()).or_default().1 += 1;
                told[Outcome::HalfClosed as usize] += u64::from(Outcome::to_the_end(&it) == Some(Outcome::HalfClosed));
            } else if matches!(it.state(), State::SynSent | State::Answered) && !self.tracker.has_told(&it, now) {
                in_flight += 1;
            }
        }
        // What became of a connection the kernel counts; that one is closed halfway only its slot tells.
        let count = |transition: Transition| tally.transitions[transition as usize];
        let ends = [
            (Outcome::Closed, Transition::Closed),
            (Outcome::ResetByClient, Transition::ResetByClient),
            (Outcome::ResetByServer, Transition::ResetByServer),
        ];
        ends.into_iter().for_each(|(outcome, transition)| told[outcome as usize] = count(transition));
        let ended: u64 = ends.into_iter().map(|(_, transition)| count(transition)).sum();
        told[Outcome::Established as usize] =
            count(Transition::Completed).saturating_sub(ended + told[Outcome::HalfClosed as usize]);
        let mut user_losses = vec![
            ("undecodable", self.reader.undecodable),
            ("untracked", self.tracker.untracked),
            ("servers_forgotten", self.tracker.servers_forgotten),
            ("connects_unexplained", self.diagnosis.unexplained()),
            ("findings_forgotten", self.findings.forgotten()),
            ("output_shed", self.output.as_ref().map_or(0, Output::shed)),
        ];
        user_losses.extend(self.evidence.iter().flat_map(Evidence::losses));
        Summary {
            offline: false,
            table: Some(summary::Table {
                slots: self.kernel.table.capacity() as u64,
                most_pending: self.most_pending as u64,
                youngest_replaced: (tally.youngest_replaced > 0).then_some(tally.youngest_replaced),
            }),
            findings: self.findings.all().map(|it| (it.plain(), it.json(&self.setting))).collect(),
            traced_for: now.since(self.started),
            hooks: self.attached_as.clone(),
            interfaces: self.setting.interfaces.values().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            tally,
            told,
            stalls: self.tracker.stalls,
            health_checks: self.diagnosis.checks.counted,
            overtaken: self.diagnosis.overtaken(),
            probes: self.diagnosis.probes.counted,
            causes: self.diagnosis.causes.clone(),
            recovered: self.tracker.recovered,
            in_flight,
            servers,
            user_losses,
        }
    }

    /// Tells what is still open, and sums up: in the last JSON line, or behind the last text line.
    fn end(mut self) -> ExitCode {
        let table = &self.kernel.table;
        let mut reports = self.tracker.finish(|it| table.find(it));
        if self.args.all {
            let mut open: Vec<_> = table.attempts().filter(is_open).collect();
            open.sort_unstable_by_key(|it| it.first_syn);
            reports.extend(open.iter().map(|it| self.tracker.close(it, self.ended, true)));
        }
        let findings = self.findings.look(self.ended);
        self.find(findings);
        self.tell(reports);
        for report in self.diagnosis.due(self.ended, true) {
            self.tell_one(report);
        }
        let findings = self.findings.finish();
        self.find(findings);
        self.complete_evidence();
        let summary = self.summary();
        // The ends of connections are told one by one with --all only, and counted by the kernel in any case: of what the
        // filter wants, if it is one that the kernel knows.
        if self.filter.as_ref().is_none_or(|it| it.tests().is_some()) {
            let ends = Outcome::ALL.into_iter().filter(|it| it.is_open() && summary.told[*it as usize] > 0);
            self.found |= ends.into_iter().any(|it| self.args.fail_on.iter().any(|finding| finding.covers(it)));
        }
        if let Some(output) = self.output.take() {
            output.finish((self.args.json && !self.is_silent()).then(|| summary.json()));
        }
        if !self.args.json && !self.args.quiet {
            say!("{}", summary.text());
        } else if !self.args.json && !summary.losses().is_empty() {
            say!("{}", summary.loss_line());
        }
        if self.evidence.as_ref().is_some_and(Evidence::has_failed) {
            ExitCode::from(exit::RUNTIME)
        } else if self.found {
            ExitCode::from(exit::FINDINGS)
        } else {
            ExitCode::SUCCESS
        }
    }

    fn complete_evidence(&mut self) {
        let summary = self.summary();
        let Some(evidence) = &mut self.evidence else { return };
        let wall = |at| u64::try_from(self.setting.clock.wall(at)).unwrap_or_default();
        evidence.finish(
            &self.setting,
            Account {
                start_ns: wall(self.started),
                end_ns: wall(self.ended),
                dropped: summary.tally.counters[Counter::EvidenceLost as usize],
                comment: format!("packets of failed handshakes only; {}", summary.loss_line()),
            },
        );
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
