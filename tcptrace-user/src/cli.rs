//! The command line: its flags, their help, and the exit codes. It decides nothing about packets.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use tcptrace_capture::write;
use tcptrace_core::{
    table::{Set, Slot, WAYS},
    tunnel::Outer,
};
use tcptrace_filter::{Filter, Mistake, services};
use tcptrace_report::{Format, explain::Topic};
use tcptrace_vocabulary::{facts::Netns, outcome::Outcome};

use crate::{
    desk::FailOn,
    duration,
    host::LocalFacts,
    ignore::IgnoreList,
    live::{choice::Choice, hooks::Tc, interfaces::HookChoice, session::Options},
    selection::{NoProcesses, Pattern, Selection},
};

/// The greatest value of `--max-attempts`: a table of 8 GiB.
const MOST_ATTEMPTS: u64 = 1 << 26;

/// Watches TCP handshakes and reports those that fail or stall.
///
/// tcptrace traces an interface in the kernel, or reads a capture with -r. It reports each TCP handshake that fails or
/// stalls, with the cause, the evidence and the next step.
#[derive(Parser, Debug)]
#[command(
    name = "tcptrace",
    version,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    after_help = AFTER,
    after_long_help = AFTER_LONG
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Trace this interface, any for all, or a pattern [default: that of the default route]
    ///
    /// Give it several times for several interfaces. A packet that passes two of them is counted once. any takes every
    /// interface of the network namespace that can carry IP. A pattern takes those whose names match: * stands for any
    /// number of characters, ? for one. A pattern behind ! is left out ('!lo': all but lo). With any and patterns,
    /// interfaces that come later are traced too, and those that go are not reported; the banner counts them, and -v
    /// lists each.
    #[arg(short, long = "iface", value_name = "INTERFACE", help_heading = TRACE)]
    pub interfaces: Vec<String>,
    /// Trace in this network namespace: a name, a process or a container
    ///
    /// Write a name of `ip netns`, a path (/proc/42/ns/net), the number of a process, the name or the beginning of the id
    /// of a container, or a pod (shop/web-0). -i and the default route are those of that namespace. It needs
    /// CAP_SYS_ADMIN.
    #[arg(long, value_name = "NETNS", help_heading = TRACE)]
    pub netns: Option<String>,
    /// Read this capture instead of tracing
    ///
    /// The file is pcap or pcapng, plain or in gzip or zstd; - is standard input. Several files are read as one. It
    /// needs no privilege.
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with_all = ["interfaces", "netns", "hook", "duration"],
        help_heading = TRACE
    )]
    pub read: Vec<PathBuf>,
    /// Read incoming packets at this hook
    ///
    /// auto takes the hook that costs the host least. The banner names it and the reason.
    #[arg(long, value_enum, default_value_t, value_name = "HOOK", help_heading = TRACE)]
    pub hook: HookChoice,
    /// Report successful handshakes too
    ///
    /// Each is reported when it completes, and again when the connection ends. From a capture, connections that are
    /// seen only from the middle are reported as well.
    #[arg(short, long, help_heading = REPORT)]
    pub all: bool,
    /// Report each failure on a line of its own
    ///
    /// Otherwise the first failure of an incident is reported in full, then what changes, and the totals at its end.
    /// JSON lines, and `--all`, have every failure anyway.
    #[arg(long, help_heading = REPORT)]
    pub each: bool,
    /// Accept the failures that this file lists
    ///
    /// It is TOML. Each `[[ignore]]` has filter (as in FILTER), reason, until (a date) and, if you like, symptom (silence,
    /// refusal, reset, unfinished or local). Such failures are counted and not reported, until the entry expires.
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    pub ignore: Option<PathBuf>,
    /// Run this command when an incident begins, and when it ends
    ///
    /// The shell runs it with the incident's JSON line on its standard input, one at a time. After 10 s it is killed. The
    /// summary counts its runs, and those that failed.
    #[arg(long, value_name = "COMMAND", conflicts_with = "read", help_heading = REPORT)]
    pub on_incident: Option<String>,
    /// Report an attempt as stalled after this time without progress
    ///
    /// A third SYN or SYN/ACK counts as a stall sooner. Write the time as 500ms, 90s, 1m30s, 2h or 1d; a bare number is
    /// seconds.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse, help_heading = REPORT)]
    pub stall_after: Duration,
    /// Print JSON lines instead of text
    ///
    /// `tcptrace schema` prints the JSON Schema of the lines.
    #[arg(long, help_heading = REPORT)]
    pub json: bool,
    /// Stop after this time
    ///
    /// Write it as 500ms, 90s, 1m30s, 2h or 1d; a bare number is seconds.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = STOP)]
    pub duration: Option<Duration>,
    /// Stop after this many reported attempts
    ///
    /// Attempts that an incident stands for do not count.
    #[arg(short, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), help_heading = STOP)]
    pub count: Option<u64>,
    /// Exit with 3 if an attempt with this outcome is reported
    ///
    /// With a count (no_reply:5), so many attempts of one incident have to end so. Separate several outcomes by commas.
    /// any stands for every failure, including floods and scans.
    #[arg(long, value_name = "OUTCOME[:COUNT]", value_delimiter = ',', value_parser = fail_on, help_heading = STOP)]
    pub fail_on: Vec<FailOn>,
    /// Hold this many attempts in the table
    ///
    /// Each takes 132 bytes. The number is rounded up to a power of two. Choose twice the number of attempts that you
    /// expect at once.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1 << 18,
        value_parser = clap::value_parser!(u32).range(1..=MOST_ATTEMPTS as i64),
        help_heading = MEMORY
    )]
    pub max_attempts: u32,
    /// Give the table this much memory, in bytes or with K, M or G
    ///
    /// Use it instead of --max-attempts.
    #[arg(long, value_name = "SIZE", conflicts_with = "max_attempts", value_parser = bytes, help_heading = MEMORY)]
    pub memory: Option<u64>,
    /// Write reports and summary to this file instead of standard output
    ///
    /// Lines are added to its end, without colours. SIGHUP has the file opened anew, for logrotate, and no longer ends
    /// tracing. Lines that cannot be written are counted as log_lost; they do not end tracing either.
    #[arg(long, value_name = "FILE", value_parser = log_path, help_heading = REPORT)]
    pub log: Option<PathBuf>,
    /// Colour the output
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = REPORT)]
    pub color: Color,
    /// Print the times of text in UTC instead of local time
    ///
    /// The times of JSON are always in UTC.
    #[arg(long, help_heading = REPORT)]
    pub utc: bool,
    /// Leave out the names of ports that -v adds
    ///
    /// Addresses and ports are numbers in any case.
    #[arg(short, help_heading = REPORT)]
    pub numeric: bool,
    /// Print shorter lines and no banner
    #[arg(short, long, help_heading = REPORT)]
    pub quiet: bool,
    /// Print more about each attempt
    ///
    /// -vv also prints the log of the kernel programs.
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = REPORT)]
    pub verbose: u8,
    /// Look up sockets, processes and drop reasons here
    ///
    /// These facts make a cause more certain. --json also names facts that could not be read.
    #[arg(long, value_enum, default_value_t, value_name = "WHERE", help_heading = TRACE)]
    pub local: LocalFacts,
    /// List only attempts of this process
    ///
    /// The process that connects or listens is compared with NAME, its command; * stands for anything. Give it several
    /// times for several. Attempts whose process is not known are only counted. It needs --local own or all.
    #[arg(long, value_name = "NAME", conflicts_with = "read", value_parser = pattern, help_heading = TRACE)]
    pub process: Vec<Pattern>,
    /// List only attempts of this systemd unit
    ///
    /// As with --process; .service may be left out. If you give several of --process, --unit, --container and --pod, each
    /// has to match.
    #[arg(long, value_name = "NAME", conflicts_with = "read", value_parser = pattern, help_heading = TRACE)]
    pub unit: Vec<Pattern>,
    /// List only attempts of this container, by name or id
    ///
    /// As with --process. Docker, Podman, nerdctl, CRI-O and LXC have names here.
    #[arg(long, value_name = "NAME", conflicts_with = "read", value_parser = pattern, help_heading = TRACE)]
    pub container: Vec<Pattern>,
    /// List only attempts of this pod: NAME or NAMESPACE/NAME
    ///
    /// As with --process.
    #[arg(long, value_name = "NAME", conflicts_with = "read", value_parser = pattern, help_heading = TRACE)]
    pub pod: Vec<Pattern>,
    /// Look up names of containers and pods below this folder instead of /
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub names_below: Option<PathBuf>,
    /// Look into tunnels: VXLAN, Geneve, GRE, IP in IP, MPLS
    #[arg(long, help_heading = TRACE)]
    pub decap: bool,
    /// Find the causes of a capture that -w wrote anew
    ///
    /// Otherwise the recorded verdicts are printed: they rest on facts of the host that wrote them, which packets alone
    /// do not have.
    #[arg(long, requires = "read", help_heading = REPORT)]
    pub rejudge: bool,
    /// Write failed and recovered attempts to this pcapng file
    ///
    /// A comment on the deciding packet has the verdict. FILE - is standard output.
    #[arg(short, long, value_name = "FILE", help_heading = EVIDENCE)]
    pub write: Option<PathBuf>,
    /// Begin a new file after this many million bytes
    #[arg(
        short = 'C',
        value_name = "MILLIONS",
        requires = "write",
        value_parser = clap::value_parser!(u64).range(1..1 << 40),
        help_heading = EVIDENCE
    )]
    pub rotate_size: Option<u64>,
    /// Begin a new file after this time
    ///
    /// The packets' own times measure it. Write it as 90s, 1h or 1d; a bare number is seconds.
    #[arg(short = 'G', value_name = "TIME", requires = "write", value_parser = duration::parse, help_heading = EVIDENCE)]
    pub rotate_every: Option<Duration>,
    /// Keep only the newest COUNT files
    #[arg(
        short = 'W',
        value_name = "COUNT",
        requires = "write",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = EVIDENCE
    )]
    pub keep: Option<u32>,
    /// Trace only matching attempts; a subset of pcap-filter(7)
    ///
    /// src is the client and dst is the server. The filter has host, net, port and portrange, each with src or dst;
    /// tcp, ip and ip6; and, or, not and parentheses. Addresses are numbers. Options may follow the filter.
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Attach TC programs in this way
    #[arg(long, value_enum, hide = true)]
    pub tc: Option<Tc>,
    /// Print the version; with -v also the commit, the target and the kernel programs
    #[arg(short = 'V', long)]
    pub version: bool,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Find out why a host cannot be reached
    ///
    /// diagnose checks name, route, ping, path MTU, ports and hops. It ends with a verdict, its
    /// evidence and the next step. It needs no privilege.
    #[command(after_help = AFTER_DIAGNOSE, after_long_help = AFTER_DIAGNOSE_LONG)]
    Diagnose(DiagnoseArgs),
    /// Print the JSON Schema of what --json prints
    ///
    /// One schema describes every kind of line: attempts, stalls, calls of connect(2), floods, scans, the summary, and
    /// the object that `tcptrace diagnose --json` prints.
    #[command(after_long_help = AFTER_SCHEMA)]
    Schema,
    /// Explain a word of a line: what it means, how to confirm it, what to do
    ///
    /// The word is an outcome, a cause, a confidence, a scope, a drop reason of the kernel, or the first word of a line.
    /// Its page says what it means, what it looks like on the wire, how to confirm it, what to do, and what it is
    /// mistaken for.
    #[command(after_long_help = AFTER_EXPLAIN)]
    Explain {
        /// The word, as a line prints it [default: list all words]
        #[arg(value_name = "WORD", value_parser = Topic::find)]
        name: Option<Topic>,
    },
    /// Write man pages and shell completions into a folder
    ///
    /// Below the folder, man, bash, zsh and fish find them as they do below /usr/local/share and ~/.local/share.
    #[command(after_long_help = AFTER_GENERATE)]
    Generate {
        /// The folder; it is made if it is not there
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Run a command for each incident
    #[command(name = crate::live::on_incident::SUBCOMMAND, hide = true)]
    IncidentRunner { command: String },
    /// Take the filters of a killed tracer off its interfaces
    #[command(name = crate::live::guard::SUBCOMMAND, hide = true)]
    Guard,
}

/// The arguments of `diagnose`.
#[derive(clap::Args, Debug)]
pub struct DiagnoseArgs {
    /// The host, with one or more ports [default: 443 and 80; one has to answer]
    ///
    /// Write HOST or HOST:PORT,PORT. A port is a number, a range (8080-8090) or a name of /etc/services (https). More
    /// ports can follow as separate words. An IPv6 address with ports needs brackets: `[2001:db8::1]:443`. A link-local
    /// address needs its interface: fe80::1%eth0.
    #[arg(required = true, value_name = "HOST[:PORT]")]
    pub target: Vec<String>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Write the packets that it sends and receives to this pcapng file
    ///
    /// A comment has each handshake's result. FILE - is standard output; the text then goes to standard error. It
    /// needs CAP_NET_RAW.
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Colour the output
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Use the resolvers of this file instead of /etc/resolv.conf
    #[arg(long, value_name = "FILE", hide = true)]
    pub resolv_conf: Option<PathBuf>,
}

const TRACE: &str = "What to trace";
const REPORT: &str = "What to print";
const STOP: &str = "When to stop, and the exit code";
const EVIDENCE: &str = "Packets as evidence";
const MEMORY: &str = "Memory";

const AFTER: &str = "`tcptrace --help` has more about each flag, and examples.";

const AFTER_LONG: &str = "\
Examples:
  sudo tcptrace -i eth0                   report what fails or stalls on eth0
  sudo tcptrace -i eth0 dst port 443      only attempts to port 443
  sudo tcptrace --container 'web-*'       only attempts of these containers
  sudo tcptrace -i any -i '!lo'           every interface but lo, those that come later too
  sudo tcptrace --netns web               trace in the network namespace web
  sudo tcptrace --all -c 20               20 attempts on the default interface, successes too
  sudo tcptrace --json --duration 1m      a minute of JSON lines, then a summary
  sudo tcptrace --log /var/log/tcptrace   write reports to a file; SIGHUP opens it anew
  sudo tcptrace -w failed.pcapng          also keep the packets of what failed, for Wireshark
  tcptrace -r file.pcapng.gz              read a capture instead
  tcpdump -U -w - | tcptrace -r -         read a capture while it is taken
  tcptrace -r file.pcap --fail-on refused exit with 3 if anything was refused
  tcptrace explain half_open              explain a word of a line

Reports go to standard output or to --log, everything else to standard error. SIGUSR1 prints the summary so far; Ctrl-C
prints it and ends.

Exit codes:
  0   done
  1   failed while running
  2   wrong usage
  3   --fail-on found an outcome that it names
  69  the kernel lacks a feature
  77  missing privilege";

const AFTER_DIAGNOSE: &str = "`tcptrace diagnose --help` has more about each flag, and examples.";

const AFTER_DIAGNOSE_LONG: &str = "\
Examples:
  tcptrace diagnose example.org:22        why does ssh not connect?
  tcptrace diagnose example.org:80,443    two ports
  tcptrace diagnose '[2001:db8::1]:443'   an IPv6 address with a port
  tcptrace diagnose --json 203.0.113.2    one JSON object, for programs

It takes 0.25 s if all is well, 10 s at most. Ctrl-C prints what is known by then. With CAP_NET_RAW it also sees
whether its SYNs leave this host.

Exit codes:
  0   every port can be reached over some address
  1   failed while running
  2   wrong usage
  3   a port cannot be reached over any address";

const AFTER_SCHEMA: &str = "\
Examples:
  tcptrace schema > tcptrace.schema.json
  tcptrace schema | jq '.[\"$defs\"] | keys'    the kinds of objects";

const AFTER_GENERATE: &str = "\
Examples:
  tcptrace generate ~/.local/share            for this user
  sudo tcptrace generate /usr/local/share     for all users";

const AFTER_EXPLAIN: &str = "\
Examples:
  tcptrace explain                    list all words
  tcptrace explain listen_queue_full  a cause
  tcptrace explain NETFILTER_DROP     a drop reason of the kernel";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Also into files and pipes
    Always,
    /// Not at all
    Never,
}

impl Color {
    /// The choice for a stream.
    #[must_use]
    pub fn choice(self, stream: &impl anstream::stream::RawStream) -> anstream::ColorChoice {
        match self {
            Self::Auto => anstream::AutoStream::choice(stream),
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
    }
}

/// Bytes that an attempt takes in the kernel, and what `--decap` adds.
const LIVE: u64 = (size_of::<Slot>() + size_of::<Set>() / WAYS) as u64;
const LIVE_OUTER: u64 = size_of::<Outer>() as u64;
/// Bytes that a conversation of a capture takes: once while it is open, and once while it waits to be reported.
const READ: u64 = 2 * 272;

/// The number of attempts that the table holds: the greatest power of two that fits `--memory`, if that is given.
#[must_use]
pub fn max_attempts(args: &Args) -> u32 {
    let Some(memory) = args.memory else { return args.max_attempts };
    let each = if args.read.is_empty() { LIVE + if args.decap { LIVE_OUTER } else { 0 } } else { READ };
    let most = (memory / each).clamp(8, MOST_ATTEMPTS);
    1 << most.ilog2()
}

/// When the evidence continues in a new file.
#[must_use]
pub fn rotation(args: &Args) -> write::Rotation {
    write::Rotation {
        rotate_size: args.rotate_size.map(|millions| millions * 1_000_000),
        rotate_every: args.rotate_every,
        keep: args.keep.map(|it| it as usize),
    }
}

/// The filter of the command line, if there is one.
///
/// # Errors
/// When the words are not a filter; the error points at the wrong one.
pub fn filter(args: &Args) -> Result<Option<Filter>, Mistake> {
    let text = args.filter.join(" ");
    if text.is_empty() {
        return Ok(None);
    }
    // A misspelt command is taken for a filter.
    let command = |it: Mistake| match args.filter.first().and_then(|word| likely_command(word)) {
        Some(command) if it.span().start == 0 => it.meant(&format!("the command 'tcptrace {command}'")),
        _ => it,
    };
    Filter::parse(&text).map(Some).map_err(command)
}

/// The command that a word is the beginning of, or is spelt like.
fn likely_command(word: &str) -> Option<String> {
    let command = Args::command();
    let names = command.get_subcommands().filter(|it| !it.is_hide_set()).map(clap::Command::get_name);
    let is_like = |name: &&str| strsim::osa_distance(word, name) <= 2 || (word.len() > 2 && name.starts_with(word));
    names.into_iter().find(is_like).map(ToOwned::to_owned)
}

fn pattern(text: &str) -> Result<Pattern, String> {
    if text.is_empty() { Err("no name has no letters; * stands for all".to_owned()) } else { Ok(Pattern::new(text)) }
}

/// The processes whose attempts are listed.
fn selection(args: &mut Args) -> anyhow::Result<Selection> {
    let selection = Selection {
        processes: std::mem::take(&mut args.process),
        units: std::mem::take(&mut args.unit),
        containers: std::mem::take(&mut args.container),
        pods: std::mem::take(&mut args.pod),
    };
    anyhow::ensure!(selection.is_empty() || args.local != LocalFacts::Off, NoProcesses);
    Ok(selection)
}

fn log_path(text: &str) -> Result<PathBuf, String> {
    if text == "-" {
        Err("not a file; reports go to standard output without --log".to_owned())
    } else {
        Ok(text.into())
    }
}

/// The failures that are accepted; none without `--ignore`.
///
/// # Errors
/// When the file is no ignore list.
pub fn ignored(args: &Args) -> anyhow::Result<IgnoreList> {
    args.ignore.as_deref().map_or_else(|| Ok(IgnoreList::default()), |path| IgnoreList::read(path, &zone(args)))
}

/// The names of ports that text prints beside their numbers.
#[must_use]
pub fn services(args: &Args) -> BTreeMap<u16, String> {
    if args.verbose > 0 && !args.numeric && !args.json { services::by_port() } else { BTreeMap::new() }
}

/// The zone of the times in text.
#[must_use]
pub fn zone(args: &Args) -> TimeZone {
    if args.utc { TimeZone::UTC } else { TimeZone::system() }
}

/// The options of a live run, in the network namespace that was entered for it.
///
/// # Errors
/// When the words are not a filter, or a file is no ignore list; the error points at what is wrong.
pub fn live(mut args: Args, netns: Option<Netns>) -> anyhow::Result<Options> {
    let (format, each, zone) = (format(&args), lists_each(&args), zone(&args));
    let selection = selection(&mut args)?;
    Ok(Options {
        selection,
        names_below: args.names_below.take(),
        filter: filter(&args)?,
        ignored: ignored(&args)?,
        zone,
        services: services(&args),
        max_attempts: max_attempts(&args),
        rotation: rotation(&args),
        color: args.color.choice(&std::io::stdout()),
        on_incident: args.on_incident,
        interfaces: Choice::of(&args.interfaces),
        netns,
        hook: args.hook,
        tc: args.tc,
        local: args.local,
        decap: args.decap,
        all: args.all,
        each,
        stall_after: args.stall_after,
        duration: args.duration,
        count: args.count,
        fail_on: args.fail_on,
        format,
        quiet: args.quiet,
        log: args.log,
        verbose: args.verbose,
        write: args.write,
    })
}

/// Whether every failure has a line of its own.
#[must_use]
pub const fn lists_each(args: &Args) -> bool {
    args.each || args.all || args.json
}

/// The format that the flags ask for.
#[must_use]
pub const fn format(args: &Args) -> Format {
    if args.json { Format::Json } else { Format::Text { quiet: args.quiet, verbose: args.verbose > 0 } }
}

fn fail_on(text: &str) -> Result<FailOn, String> {
    let (text, count) = text.split_once(':').unwrap_or((text, "1"));
    let count = count.parse().ok().filter(|count| *count > 0).ok_or("the count is a number above zero: no_reply:5")?;
    if text == "any" {
        return Ok(FailOn { outcome: None, count });
    }
    let known = Outcome::ALL.into_iter().find(|outcome| outcome.name() == text);
    let known = known.map(|outcome| FailOn { outcome: Some(outcome), count });
    known.ok_or_else(|| format!("no such outcome; these exist: any, {}", Outcome::ALL.map(Outcome::name).join(", ")))
}

fn bytes(text: &str) -> Result<u64, String> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let unit = units.into_iter().find(|(unit, _)| text.to_ascii_uppercase().ends_with(*unit));
    let number = text.get(..text.len() - usize::from(unit.is_some())).and_then(|it| it.parse::<u64>().ok());
    let bytes = number.and_then(|it| it.checked_mul(1 << unit.map_or(0, |(_, shift)| shift)));
    let bytes = bytes.ok_or_else(|| "not a number of bytes; write one, with K, M or G if you like: 64M".to_owned())?;
    if bytes < 1 << 20 { Err("too few attempts fit; give 1M or more".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Args, max_attempts};

    /// A power of two, and no more than fits.
    #[test]
    fn memory_sizes_the_table() {
        let attempts = |line: &str| {
            let args = Args::try_parse_from(["tcptrace"].into_iter().chain(line.split_whitespace()));
            args.map(|it| max_attempts(&it))
        };
        for (line, expected) in [
            ("", 1 << 18),
            ("--max-attempts 1000", 1000),
            ("--memory 33M", 1 << 18),
            ("--memory 32M", 1 << 17),
            ("--memory 33M --decap", 1 << 17),
            ("--memory 1g", 1 << 22),
            ("--memory 1M", 1 << 12),
            ("--memory 999G", 1 << 26),
            ("--memory 142606336 -r x", 1 << 18),
        ] {
            assert_eq!(attempts(line).expect(line), expected, "{line}");
        }
        for line in [
            "--memory 0",
            "--memory 1K",
            "--memory M",
            "--memory 1T",
            "--memory 1M --max-attempts 8",
            "--memory 99999999999G",
        ] {
            assert!(attempts(line).is_err(), "{line}");
        }
    }
}
