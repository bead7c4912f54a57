//! Standard output and standard error, each behind a thread of its own: a slow pipe or a full disk never holds up
//! tracing.
//!
//! Lines that do not fit into the queue are shed and counted. A reader that goes away (`| head`) ends tracing.

use std::{
    io::{self, BufWriter, Write as _},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::limit;

/// Lines that may wait.
const QUEUE: usize = 1 << 14;
/// Messages that may wait.
const MESSAGES: usize = 1024;
/// The longest that the end waits for a reader that does not read.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// The writing side of standard output.
pub struct Output {
    lines: Option<SyncSender<String>>,
    shed: Arc<AtomicU64>,
    done: Receiver<()>,
}

impl Output {
    /// Starts the thread. The receiver says when, and why, nothing more can be written.
    ///
    /// # Errors
    /// When there may be no more threads.
    pub fn start(styled: anstream::ColorChoice) -> io::Result<(Self, oneshot::Receiver<io::Error>)> {
        let (lines, queue) = sync_channel(QUEUE);
        let (failed, failure) = oneshot::channel();
        let (finished, done) = channel();
        limit::thread(move || {
            if let Err(error) = write(&queue, styled) {
                let _ = failed.send(error);
            }
            let _ = finished.send(());
        })?;
        Ok((Self { lines: Some(lines), shed: Arc::default(), done }, failure))
    }

    /// Queues a line, or sheds it.
    pub fn line(&self, line: String) {
        if self.lines.as_ref().is_none_or(|lines| lines.try_send(line).is_err()) {
            self.shed.fetch_add(1, Relaxed);
        }
    }

    /// Lines shed so far.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    /// Queues the last line, waiting a while for room, and sees the queue out.
    pub fn finish(mut self, last: Option<String>) {
        if let (Some(lines), Some(last)) = (self.lines.take(), last) {
            // A full queue that nobody empties: the last line goes the way of those shed.
            let deadline = Instant::now() + LAST_WAIT;
            let mut last = last;
            while let Err(TrySendError::Full(line)) = lines.try_send(last) {
                if Instant::now() >= deadline {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
                last = line;
            }
        }
        let _ = self.done.recv_timeout(LAST_WAIT);
    }
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
                    Message::Text(text) => drop(writeln!(out, "tcptrace: {text}")),
                    Message::Settle(done) => drop(done.try_send(())),
                }
            }
        });
        Self { queue: thread.is_ok().then_some(queue), shed: AtomicU64::new(0) }
    }

    fn say(&self, text: &str) {
        let text = plain(text);
        let Some(queue) = &self.queue else { return drop(writeln!(anstream::stderr(), "tcptrace: {text}")) };
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
fn write(queue: &Receiver<String>, styled: anstream::ColorChoice) -> io::Result<()> {
    let mut out = BufWriter::new(anstream::AutoStream::new(io::stdout(), styled));
    loop {
        let line = match queue.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return out.flush(),
            Err(TryRecvError::Empty) => {
                out.flush()?;
                match queue.recv() {
                    Ok(line) => line,
                    Err(_) => return Ok(()),
                }
            }
        };
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
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
