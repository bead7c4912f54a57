//! The tcptrace program: parses the command line, runs, prints errors.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use tcptrace::{
    cli::{self, Args, Command},
    explain, failure, generate, limit,
    live::{guard, on_incident, session},
    netns, offline, output, probe, runtime, version,
};
use tcptrace_report::json;

fn main() -> ExitCode {
    let args = Args::parse();
    let code = run(args).unwrap_or_else(|error| {
        output::say(&limit::with_causes(&error));
        ExitCode::from(failure::exit_code(&error))
    });
    output::settle();
    code
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(Command::Guard) => {
            guard::run()?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::IncidentRunner { command }) => {
            on_incident::run(command)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Diagnose(args)) => return probe::run(args),
        Some(Command::Schema) => {
            print(&json::schema());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Explain { name }) => {
            explain::run(*name);
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Generate { folder }) => {
            let written = generate::run(folder);
            written.with_context(|| format!("cannot write man pages and completions into '{}'", folder.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    if args.version {
        print(&version::text(args.verbose > 0));
        return Ok(ExitCode::SUCCESS);
    }
    if !args.read.is_empty() {
        return offline::run(&args);
    }
    // Before there is another thread.
    let names_below = args.names_below.as_deref().unwrap_or(Path::new("/"));
    let netns = args.netns.as_deref().map(|wanted| netns::enter(wanted, names_below)).transpose()?;
    let runtime = runtime::current_thread().context("cannot start")?;
    runtime.block_on(session::run(cli::live(args, netns)?))
}

/// A reader that has seen enough (`| head`) is no error.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
