//! Standard output or the file of `--log`, and standard error, each behind a thread of its own: a slow pipe or a full
//! disk never holds up tracing.
//!
//! Lines that do not fit into the queue are shed and counted. A reader that goes away (`| head`) ends tracing; a file
//! that cannot be written does not.

use std::{
    env,
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    limit,
    log_file::{Handle, LogFile},
};

/// Lines that may wait.
const QUEUE: usize = 1 << 14;
/// Messages that may wait.
const MESSAGES: usize = 1024;
/// The longest that the end waits for a reader that does not read.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Where the lines go.
pub enum Sink {
    /// Standard output, styled or not.
    Standard(BufWriter<anstream::AutoStream<Stdout>>),
    /// A file, without styles. It never fails: it counts.
    Log(LogFile),
}

impl Sink {
    /// The file of `--log` if there is one, else standard output with this room in its buffer.
    #[must_use]
    pub fn new(log: Option<LogFile>, styled: anstream::ColorChoice, room: usize) -> Self {
        let standard = || BufWriter::with_capacity(room, anstream::AutoStream::new(io::stdout(), styled));
        log.map_or_else(|| Self::Standard(standard()), Self::Log)
    }

    /// Writes a line, without its end.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.write_all(line).and_then(|()| out.write_all(b"\n")),
            Self::Log(log) => {
                log.line(line);
                Ok(())
            }
        }
    }

    /// Writes what waits, and follows what was asked of the file.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::Log(log) => {
                log.flush();
                Ok(())
            }
        }
    }

    fn handle(&self) -> Option<Handle> {
        match self {
            Self::Standard(_) => None,
            Self::Log(log) => Some(log.handle()),
        }
    }
}

/// The writing side of the lines.
pub struct Output {
    jobs: Option<SyncSender<Job>>,
    shed: Arc<AtomicU64>,
    log: Option<Handle>,
    done: Receiver<()>,
}

enum Job {
    Line(String),
    /// Write what waits, follow what was asked of the file, and answer.
    Settle(SyncSender<()>),
}

impl Output {
    /// Starts the thread. The receiver says when, and why, nothing more can be written.
    ///
    /// # Errors
    /// When there may be no more threads.
    pub fn start(sink: Sink) -> io::Result<(Self, oneshot::Receiver<io::Error>)> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (failed, failure) = oneshot::channel();
        let (finished, done) = channel();
        let log = sink.handle();
        limit::thread(move || {
            if let Err(error) = write(&queue, sink) {
                let _ = failed.send(error);
            }
            let _ = finished.send(());
        })?;
        Ok((Self { jobs: Some(jobs), shed: Arc::default(), log, done }, failure))
    }

    /// Queues a line, or sheds it.
    pub fn line(&self, line: String) {
        if self.jobs.as_ref().is_none_or(|jobs| jobs.try_send(Job::Line(line)).is_err()) {
            self.shed.fetch_add(1, Relaxed);
        }
    }

    /// Lines shed so far.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    /// Lines that the file of `--log` did not take.
    #[must_use]
    pub fn log_lost(&self) -> u64 {
        self.log.as_ref().map_or(0, Handle::lost)
    }

    /// Has the file of `--log` opened anew, between two lines.
    pub fn reopen(&self) {
        let Some(log) = &self.log else { return };
        log.reopen();
        // Where no line comes, the thread has to be woken; a full queue wakes it as well.
        let (done, _) = sync_channel(1);
        let _ = self.jobs.as_ref().map(|jobs| jobs.try_send(Job::Settle(done)));
    }

    /// Waits a while until all lines so far are written or lost.
    pub fn settle(&self) {
        let (done, settled) = sync_channel(1);
        if self.send(Job::Settle(done)) {
            let _ = settled.recv_timeout(LAST_WAIT);
        }
    }

    /// Queues the last line, waiting a while for room, and sees the queue out. Returns the lines that the file of
    /// `--log` did not take.
    pub fn finish(mut self, last: Option<String>) -> u64 {
        // A full queue that nobody empties: the last line goes the way of those shed.
        if let Some(last) = last {
            self.send(Job::Line(last));
        }
        drop(self.jobs.take());
        let _ = self.done.recv_timeout(LAST_WAIT);
        self.log_lost()
    }

    /// Queues a job, and waits a while for room; false: there was none.
    fn send(&self, mut job: Job) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        let deadline = Instant::now() + LAST_WAIT;
        loop {
            match jobs.try_send(job) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => job = back,
                Err(_) => return false,
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Columns where there is no terminal, and the most that are pleasant to read.
const COLUMNS: usize = 100;
/// A terminal that is narrower has no room for names and sentences side by side anyway.
const FEWEST: usize = 40;

/// Columns of a line of text: as many as the terminal has, within these; a file has the most.
#[must_use]
pub fn width(is_file: bool) -> usize {
    let terminal = terminal_size::terminal_size_of(io::stdout()).filter(|_| !is_file);
    terminal.map_or(COLUMNS, |(width, _)| usize::from(width.0)).clamp(FEWEST, COLUMNS)
}

/// Whether standard error is a terminal that can erase a line.
#[must_use]
pub fn erases() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_some_and(|it| it != "dumb")
}

/// Standard error behind a thread as well: a terminal that is stopped (Ctrl-S) or a pipe that nobody reads holds up
/// nothing, and one that was closed ends nothing. A message that finds no room in the queue is counted.
struct Messages {
    /// `None` where there may be no more threads: each message is written at once.
    queue: Option<SyncSender<Message>>,
    shed: AtomicU64,
}

enum Message {
    Text(String),
    /// Answer when everything before it is written.
    Settle(SyncSender<()>),
}

impl Messages {
    fn start(mut out: impl io::Write + Send + 'static) -> Self {
        let (queue, messages) = sync_channel(MESSAGES);
        let thread = limit::thread(move || {
            for message in messages {
                match message {
                    // Nobody is left to hear of it.
                    Message::Text(text) => drop(writeln!(out, "{}", said(&text))),
                    Message::Settle(done) => drop(done.try_send(())),
                }
            }
        });
        Self { queue: thread.is_ok().then_some(queue), shed: AtomicU64::new(0) }
    }

    fn say(&self, text: &str) {
        let text = plain(text);
        let Some(queue) = &self.queue else { return drop(writeln!(anstream::stderr(), "{}", said(&text))) };
        if queue.try_send(Message::Text(text)).is_err() {
            self.shed.fetch_add(1, Relaxed);
        }
    }
}

static STANDARD_ERROR: LazyLock<Messages> = LazyLock::new(|| Messages::start(anstream::stderr()));

/// Prints something that is not data on standard error. Quoted text (an interface may have any name) cannot steer the
/// terminal.
pub fn say(text: &str) {
    STANDARD_ERROR.say(text);
}

/// A message as it is written.
#[must_use]
pub fn said(text: &str) -> String {
    format!("tcptrace: {text}")
}

/// Messages that found no room so far, because standard error is not read.
#[must_use]
pub fn shed_messages() -> u64 {
    STANDARD_ERROR.shed.load(Relaxed)
}

/// Waits a while until everything said is written.
pub fn settle() {
    let (done, settled) = sync_channel(1);
    if STANDARD_ERROR.queue.as_ref().is_some_and(|queue| queue.try_send(Message::Settle(done)).is_ok()) {
        let _ = settled.recv_timeout(LAST_WAIT);
    }
}

/// The same text without control characters other than line feeds, which are shown as escapes.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() && char != '\n' {
            plain.extend(char.escape_debug());
        } else {
            plain.push(char);
        }
    }
    plain
}

/// Writes until the queue is closed; flushes when it is empty.
fn write(queue: &Receiver<Job>, mut sink: Sink) -> io::Result<()> {
    loop {
        let job = match queue.try_recv() {
            Ok(job) => job,
            Err(TryRecvError::Disconnected) => return sink.flush(),
            Err(TryRecvError::Empty) => {
                sink.flush()?;
                match queue.recv() {
                    Ok(job) => job,
                    Err(_) => return Ok(()),
                }
            }
        };
        match job {
            Job::Line(line) => sink.line(line.as_bytes())?,
            Job::Settle(done) => {
                sink.flush()?;
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn messages_that_a_full_pipe_keeps_out_are_counted() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let messages = Messages::start(writer);
        let text = "x".repeat(1 << 16);
        // One fills the pipe and waits there; the queue takes [`MESSAGES`] more.
        let said = 1 + MESSAGES as u64 + 5;
        (0..said).for_each(|_| messages.say(&text));
        let shed = messages.shed.load(Relaxed);
        assert!((5..=6).contains(&shed), "{shed}: the first may not have left the queue yet");
        drop(messages);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("a pipe");
        let length = "tcptrace: \n".len() + text.len();
        assert_eq!(read.len() as u64, (said - shed) * length as u64, "all others are written");
    }
}
