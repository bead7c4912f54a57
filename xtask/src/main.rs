//! The project's own commands, as `cargo xtask <command>`: the command line, and the one place that prints an error.
//!
//! It does no work itself: each command has a file of its own, and CI calls nothing but these commands.

mod arrows;
mod bench;
mod bless;
mod build;
mod check;
mod debian;
mod demo;
mod extra;
mod folders;
mod fuzz;
mod generated;
mod guest;
mod kernels;
mod mutants;
mod need;
mod object;
mod package;
#[path = "../../tcptrace-user/build/prebuilt.rs"]
mod prebuilt;
mod process;
mod reproduce;
mod root;
mod run;
mod setup;
mod suites;
mod test;
mod toolchain;
mod unpacked;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    about = "Builds, runs and tests tcptrace, with everything that takes"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make sure of a compiler and a linker for BPF; only a change of the kernel programs needs them
    Setup,
    /// Build the release binary and print its path; also the kernel object, if its sources changed
    Build,
    /// Build, then run tcptrace with the given arguments, as root where it needs that
    Run {
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run all tests, as many at once as the machine bears; with arguments, `cargo test` with those
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check formatting, lints (on the host and for BPF), documentation, generated files and dependencies
    Check,
    /// Run what takes large downloads, guests or long runs: kernels, packages, each fuzz target for a minute, and one
    /// change in forty of `mutants`
    Extra,
    /// Write the documents that are generated
    Generate,
    /// Print which room of the code uses which, as the table in ARCHITECTURE.md, and every circle among files
    Arrows {
        /// Fail where the table and the code differ, and for every circle
        #[arg(long)]
        check: bool,
    },
    /// Build, then show tcptrace at work in a lab of network namespaces
    Demo,
    /// Build, then measure: packet, cores, live, host, memory, events, capture, or those of them that are
    /// named; other arguments go to the benchmarks
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Boot the older kernels that Debian offers, under QEMU, and trace there; takes minutes
    Kernels,
    /// Build the last commit twice, in two folders, and compare the kernel objects and the binary byte by byte
    Reproduce,
    /// Build a static binary for each architecture, with licences, man pages and completions, in target/packages
    Package {
        /// Then try them: in an empty root, by the offline suite, emulated; also build the crates from their packages
        #[arg(long)]
        check: bool,
    },
    /// Run the fuzz targets, ten minutes each; or one of them, or for so many seconds
    Fuzz { args: Vec<String> },
    /// Change the judge, the handshake machine and the desk bit by bit, and hold that the pure suites notice; or those
    /// of the three that are named; takes hours
    Mutants { areas: Vec<String> },
    /// Run all tests and rewrite the golden files with what they got
    Bless,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup => setup::run(),
        Task::Build => build::run(),
        Task::Run { args } => run::run(&args),
        Task::Test { args } => test::run(&args),
        Task::Check => check::run(),
        Task::Extra => extra::run(),
        Task::Generate => generated::run(),
        Task::Arrows { check } => arrows::run(check),
        Task::Demo => demo::run(),
        Task::Bench { args } => bench::run(&args),
        Task::Fuzz { args } => fuzz::run(&args),
        Task::Kernels => kernels::run(),
        Task::Reproduce => reproduce::run(),
        Task::Mutants { areas } => mutants::run(&areas),
        Task::Package { check } => package::run(check),
        Task::Bless => bless::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
