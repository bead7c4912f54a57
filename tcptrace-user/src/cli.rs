//! The command line: what can be asked for, and what each exit code means.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use tcptrace_capture::write;
use tcptrace_core::{
    table::{Set, Slot, WAYS},
    tunnel::Outer,
};
use tcptrace_filter::{Filter, Mistake};
use tcptrace_report::explain::Topic;
use tcptrace_vocabulary::outcome::Outcome;

use crate::{
    exit::{self, FailOn},
    host::LocalFacts,
    live::{
        hooks::{NoTc, Tc},
        interfaces::{self, HookChoice},
        kernel::LoadError,
        privilege,
        session::Options,
    },
    offline::OwnInput,
    probe::target,
};

/// The exit code of an error: what the first type says that it is or holds, else [`exit::RUNTIME`].
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    const TYPES: [fn(&anyhow::Error) -> Option<u8>; 7] = [
        exit::code_of::<privilege::Missing>,
        exit::code_of::<LoadError>,
        exit::code_of::<NoTc>,
        exit::code_of::<interfaces::Error>,
        exit::code_of::<Mistake>,
        exit::code_of::<OwnInput>,
        exit::code_of::<target::Mistake>,
    ];
    TYPES.iter().find_map(|code_of| code_of(error)).unwrap_or(exit::RUNTIME)
}

/// What `--max-attempts` takes at most: a table of 8 GiB.
const MOST_ATTEMPTS: u64 = 1 << 26;

/// Watches TCP handshakes in the kernel and reports those that stall or are reset.
#[derive(Parser, Debug)]
#[command(name = "tcptrace", version, args_conflicts_with_subcommands = true, after_help = AFTER)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Interface to trace; may be given several times [default: the default route's]
    #[arg(short, long = "iface", value_name = "INTERFACE")]
    pub interfaces: Vec<String>,
    /// Capture to read instead (pcap or pcapng, also in gzip or zstd; - for standard input); may be given several times
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["interfaces", "hook", "duration"])]
    pub read: Vec<PathBuf>,
    /// Where to read incoming packets; auto takes what costs the host least, and says why
    #[arg(long, value_enum, default_value_t, value_name = "HOOK")]
    pub hook: HookChoice,
    /// Report completed handshakes as well; of a capture, also what is seen only from the middle
    #[arg(short, long)]
    pub all: bool,
    /// Seconds without progress after which an attempt is reported as stalled
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub stall_after: Duration,
    /// JSON lines instead of text
    #[arg(long)]
    pub json: bool,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Stop after so many reported attempts
    #[arg(short, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Exit with 3 if an attempt ended so; `any` for every failure
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = fail_on)]
    pub fail_on: Vec<FailOn>,
    /// Attempts that the table holds, 132 bytes each; rounded up to a power of two
    #[arg(long, value_name = "COUNT", default_value_t = 1 << 18, value_parser = clap::value_parser!(u32).range(1..=MOST_ATTEMPTS as i64))]
    pub max_attempts: u32,
    /// Memory that the table may take, in octets or with K, M, G, instead of --max-attempts
    #[arg(long, value_name = "SIZE", conflicts_with = "max_attempts", value_parser = octets)]
    pub memory: Option<u64>,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Addresses and ports as numbers: they always are
    #[arg(short)]
    pub numeric: bool,
    /// Shorter lines, no banner
    #[arg(short, long)]
    pub quiet: bool,
    /// More about each attempt; twice: the kernel programs' own log as well
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Whom to ask about sockets, processes and rules: every network namespace of this host, its own, or nobody
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    pub local: LocalFacts,
    /// Look into tunnels: VXLAN, Geneve, GRE, IP in IP, MPLS
    #[arg(long)]
    pub decap: bool,
    /// Write the packets of what is reported to this file (pcapng; - for standard output), the verdict as a comment
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Begin another file after so many million octets
    #[arg(short = 'C', value_name = "MILLIONS", requires = "write", value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    pub rotate_size: Option<u64>,
    /// Begin another file after so many seconds, by the packets' times
    #[arg(short = 'G', value_name = "SECONDS", requires = "write", value_parser = seconds)]
    pub rotate_every: Option<Duration>,
    /// Keep so many files, the newest
    #[arg(short = 'W', value_name = "COUNT", requires = "write", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Which attempts, in a subset of pcap-filter(7): src is the client, dst the server
    #[arg(value_name = "FILTER", trailing_var_arg = true)]
    pub filter: Vec<String>,
    /// How to attach TC programs
    #[arg(long, value_enum, hide = true)]
    pub tc: Option<Tc>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Find out why a host cannot be connected to: name, route, ping, path MTU, ports, hops, and a verdict
    #[command(after_help = AFTER_DIAGNOSE)]
    Diagnose(DiagnoseArgs),
    /// Print the JSON Schema of the lines that --json prints
    Schema,
    /// Say what a word of a line means (outcome, cause, confidence, scope, drop reason), how to confirm it, and what to do
    Explain {
        /// The word, as a line has it [default: list all]
        #[arg(value_parser = Topic::find)]
        name: Option<Topic>,
    },
    /// Takes the filters of a killed tracer off an interface
    #[command(name = crate::live::guard::SUBCOMMAND, hide = true)]
    Guard {
        index: u32,
        #[arg(action = clap::ArgAction::Set)]
        added_qdisc: bool,
        programs: Vec<u32>,
    },
}

/// What `diagnose` takes.
#[derive(clap::Args, Debug)]
pub struct DiagnoseArgs {
    /// HOST or HOST:PORT,PORT, an IPv6 address with ports in brackets, a link-local one with %INTERFACE, and further ports [default: 443 and 80, of which one is enough]
    #[arg(required = true, value_name = "HOST[:PORT]")]
    pub target: Vec<String>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Write its own packets to this file (pcapng; - for standard output, and words to standard error), each handshake's
    /// end as a comment
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Whose resolvers to ask, instead of those in /etc/resolv.conf
    #[arg(long, value_name = "FILE", hide = true)]
    pub resolv_conf: Option<PathBuf>,
}

const AFTER_DIAGNOSE: &str = "\
It takes a second when all is well, ten at most. No privilege is needed; with CAP_NET_RAW it also sees whether its SYNs
leave this host. Ctrl-C prints what is known by then.
Exit codes: 0 every port can be reached over some address, 3 one cannot, 1 failed while running, 2 wrong usage.";

const AFTER: &str = "\
Lines go to standard output, everything else to standard error. SIGUSR1 prints the summary so far.
Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 found what --fail-on names, 69 the kernel lacks something,
77 missing privilege.";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// What it means for a stream.
    #[must_use]
    pub fn choice(self, stream: &impl anstream::stream::RawStream) -> anstream::ColorChoice {
        match self {
            Self::Auto => anstream::AutoStream::choice(stream),
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
    }
}

/// Octets that an attempt takes in the kernel, and more with tunnels looked into.
const LIVE: u64 = (size_of::<Slot>() + size_of::<Set>() / WAYS) as u64;
const LIVE_OUTER: u64 = size_of::<Outer>() as u64;
/// Octets that a conversation of a capture takes: as many are open at most as wait to be told.
const READ: u64 = 2 * 272;

/// How many attempts the table is to hold: as many, by a power of two, as memory is given for.
#[must_use]
pub fn max_attempts(args: &Args) -> u32 {
    let Some(memory) = args.memory else { return args.max_attempts };
    let each = if args.read.is_empty() { LIVE + if args.decap { LIVE_OUTER } else { 0 } } else { READ };
    let most = (memory / each).clamp(8, MOST_ATTEMPTS);
    1 << most.ilog2()
}

/// When the evidence goes on in another file.
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
/// When it is none; the error points at the words.
pub fn filter(args: &Args) -> Result<Option<Filter>, Mistake> {
    let text = args.filter.join(" ");
    if text.is_empty() { Ok(None) } else { Filter::parse(&text).map(Some) }
}

/// What a live run is asked for.
///
/// # Errors
/// When the filter is none; the error points at the words.
pub fn live(args: Args) -> Result<Options, Mistake> {
    Ok(Options {
        filter: filter(&args)?,
        max_attempts: max_attempts(&args),
        rotation: rotation(&args),
        color: args.color.choice(&std::io::stdout()),
        interfaces: args.interfaces,
        hook: args.hook,
        tc: args.tc,
        local: args.local,
        decap: args.decap,
        all: args.all,
        stall_after: args.stall_after,
        duration: args.duration,
        count: args.count,
        fail_on: args.fail_on,
        json: args.json,
        quiet: args.quiet,
        verbose: args.verbose,
        write: args.write,
    })
}

fn fail_on(text: &str) -> Result<FailOn, String> {
    if text == "any" {
        return Ok(FailOn::Any);
    }
    let known = Outcome::ALL.into_iter().find(|outcome| outcome.name() == text).map(FailOn::Outcome);
    known.ok_or_else(|| format!("no such outcome; these are: any, {}", Outcome::ALL.map(Outcome::name).join(", ")))
}

fn octets(text: &str) -> Result<u64, String> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    let unit = units.into_iter().find(|(unit, _)| text.to_ascii_uppercase().ends_with(*unit));
    let number = text.get(..text.len() - usize::from(unit.is_some())).and_then(|it| it.parse::<u64>().ok());
    let octets = number.and_then(|it| it.checked_mul(1 << unit.map_or(0, |(_, shift)| shift)));
    let octets = octets.ok_or_else(|| "a number of octets is wanted; K, M or G may follow it".to_owned())?;
    if octets < 1 << 20 { Err("less than a megabyte holds too few attempts".to_owned()) } else { Ok(octets) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim_end_matches('s').parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(it) if !it.is_zero() && it < Duration::from_secs(10 * 365 * 86_400) => Ok(it),
        _ => Err("a number of seconds above zero is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use clap::Parser as _;

    use super::{Args, Filter, exit_code, max_attempts};
    use crate::live::{hooks::NoTc, interfaces, kernel::LoadError};

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

    #[test]
    fn each_error_has_the_code_that_the_help_names() {
        let reason = || "unknown helper".to_owned();
        let cases: [(anyhow::Error, u8); 9] = [
            (LoadError::TooOld { release: "5.10.0".to_owned() }.into(), 69),
            (LoadError::Kernel { what: "maps", reason: reason() }.into(), 69),
            (NoTc { what: "tcx", reason: reason() }.into(), 69),
            (LoadError::Privilege { what: "maps" }.into(), 77),
            (LoadError::Memory { what: "maps" }.into(), 1),
            (interfaces::Error::NoSuchInterface { wanted: "eth7".to_owned(), existing: Vec::new() }.into(), 2),
            (interfaces::Error::Netlink { table: "routes", error: io::ErrorKind::Other.into() }.into(), 1),
            (Filter::parse("src prot 2").expect_err("there is no such word").into(), 2),
            (anyhow::anyhow!("anything else"), 1),
        ];
        for (error, code) in cases {
            assert_eq!(exit_code(&error), code, "{error:#}");
            let error = error.context("cannot attach to 'eth0'");
            assert_eq!(exit_code(&error), code, "{error:#}");
        }
    }
}
