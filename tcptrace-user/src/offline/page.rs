//! Where the lines of a run over captures go: standard output or the file of `--log`, a line at a time.

use std::{io, path::Path};

use super::Stop;
use crate::{
    cli::Args,
    log_file::{Handle, LogFile},
    output::Sink,
};

/// The output of the lines.
pub(super) struct Page {
    pub(super) out: Sink,
    /// The file of `--log`.
    pub(super) log: Option<Handle>,
    /// The line that is being written.
    pub(super) line: Vec<u8>,
    /// Nothing is to be printed any more.
    pub(super) is_silent: bool,
}

impl Page {
    pub(super) fn new(args: &Args, log: Option<LogFile>) -> Self {
        // JSON has no styles to be looked for.
        let styled = if args.json { anstream::ColorChoice::AlwaysAnsi } else { args.color.choice(&io::stdout()) };
        Self {
            is_silent: log.is_none() && args.write.as_deref() == Some(Path::new("-")),
            log: log.as_ref().map(LogFile::handle),
            out: Sink::new(log, styled, 1 << 16),
            line: Vec::new(),
        }
    }

    /// Prints the line. A reader that is gone ends the run, unless it `is_proving` beside.
    pub(super) fn print(&mut self, is_proving: bool) -> Result<(), Stop> {
        // Standard output is the evidence's then, or nobody reads it while evidence is still wanted.
        if self.is_silent {
            return Ok(());
        }
        match self.out.line(&self.line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && is_proving => {
                self.is_silent = true;
                Ok(())
            }
            written => written.map_err(Stop::Output),
        }
    }

    /// Lines that the file of `--log` did not take.
    pub(super) fn log_lost(&self) -> u64 {
        self.log.as_ref().map_or(0, Handle::lost)
    }
}
