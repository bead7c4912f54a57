//! Standard output of a run over captures, a line at a time.

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
};

use super::Stop;
use crate::cli::Args;

/// The output of the lines.
pub(super) struct Page {
    pub(super) out: BufWriter<anstream::AutoStream<io::Stdout>>,
    /// The line that is being written.
    pub(super) line: Vec<u8>,
    /// Nothing is to be printed any more.
    pub(super) is_silent: bool,
}

impl Page {
    pub(super) fn new(args: &Args) -> Self {
        // JSON has no styles to be looked for.
        let styled = if args.json { anstream::ColorChoice::AlwaysAnsi } else { args.color.choice(&io::stdout()) };
        Self {
            out: BufWriter::with_capacity(1 << 16, anstream::AutoStream::new(io::stdout(), styled)),
            line: Vec::new(),
            is_silent: args.write.as_deref() == Some(Path::new("-")),
        }
    }

    /// Prints the line. A reader that is gone ends the run, unless it `is_proving` beside.
    pub(super) fn print(&mut self, is_proving: bool) -> Result<(), Stop> {
        self.line.push(b'\n');
        // Standard output is the evidence's then, or nobody reads it while evidence is still wanted.
        if self.is_silent {
            return Ok(());
        }
        match self.out.write_all(&self.line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && is_proving => {
                self.is_silent = true;
                Ok(())
            }
            written => written.map_err(Stop::Output),
        }
    }
}
