//! Input that comes as it is captured, from a pipe or a terminal: finished attempts are reported before waiting for
//! more.

use std::time::{Duration, Instant};

use tcptrace_capture::{Reader, Source, write::Writer};

use super::{Run, Stop, signals};
use crate::log_file::Handle;

/// The longest that a line waits while packets come, and that a signal waits while none do.
const PAUSE: Duration = Duration::from_millis(250);
/// Open conversations that are few enough to be looked at whenever no packet is there.
const FEW: usize = 1 << 12;

impl Run<'_> {
    /// Waits for the next packet, if there is none, and reports what can be reported in the meantime.
    pub(super) fn await_packet(&mut self, reader: &mut Reader<Source>, name: &str) -> Result<(), Stop> {
        while !reader.has_record() && !signals::stop_asked() {
            // Where a pause is not due, the next packet is waited for at once.
            let pauses = self.flows.open() <= FEW || self.input.paused.1.elapsed() >= PAUSE;
            let is_new = self.input.paused.0 != self.input.packets;
            if !reader.wait(if pauses && is_new { Duration::ZERO } else { PAUSE }) {
                self.pause(reader, name)?;
            }
        }
        Ok(())
    }

    /// Pauses now and then, on input that never pauses by itself.
    pub(super) fn pause_if_due(&mut self, reader: &Reader<Source>, name: &str) -> Result<(), Stop> {
        if self.input.paused.1.elapsed() < PAUSE { Ok(()) } else { self.pause(reader, name) }
    }

    fn pause(&mut self, reader: &Reader<Source>, name: &str) -> Result<(), Stop> {
        self.obey()?;
        let (packets, _) = std::mem::replace(&mut self.input.paused, (self.input.packets, Instant::now()));
        if packets == self.input.packets {
            return Ok(());
        }
        self.name_interfaces(reader, name);
        self.flows.settle();
        self.tell()?;
        self.page.out.flush().map_err(Stop::Output)
    }

    /// SIGUSR1: the summary so far, of what is not over as it stands. SIGHUP: the file of `--log` anew.
    pub(super) fn obey(&mut self) -> Result<(), Stop> {
        if signals::reopen_asked() {
            self.page.log.iter().for_each(Handle::reopen);
            self.page.out.flush().map_err(Stop::Output)?;
        }
        if signals::summary_asked() {
            let mut summary = self.summary(self.proof.writer.as_ref().map_or(0, Writer::shed));
            let (ends, in_flight) = self.flows.so_far();
            summary.told = self.desk.totals().by_outcome;
            summary.told.iter_mut().zip(ends).for_each(|(sum, more)| *sum += more);
            summary.in_flight = in_flight;
            self.say(&summary.text())?;
        }
        Ok(())
    }
}
