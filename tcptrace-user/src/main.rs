//! The tcptrace program: parses the command line, runs, prints errors.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use tcptrace::{
    cli::{self, Args, Command},
    explain, failure,
    live::{guard, session},
    offline, output, probe,
};
use tcptrace_report::json;

fn main() -> ExitCode {
    let args = Args::parse();
    let code = run(args).unwrap_or_else(|error| {
        output::say(&format!("{error:#}"));
        ExitCode::from(failure::exit_code(&error))
    });
    output::settle();
    code
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(Command::Guard { index, added_qdisc, programs }) => {
            guard::run(*index, *added_qdisc, programs)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Diagnose(args)) => return probe::run(args),
        Some(Command::Schema) => {
            // A reader that has seen enough (`| head`) is no error.
            let _ = io::stdout().write_all(json::schema().as_bytes());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Explain { name }) => {
            explain::run(*name);
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    if !args.read.is_empty() {
        return offline::run(&args);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(session::run(cli::live(args)?))
}
