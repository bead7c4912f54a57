//! A writer of evidence behind a thread, so that a slow disk does not hold up tracing.
//!
//! A handshake that does not fit into the queue is shed and counted.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tcptrace_capture::write::{Direction, InterfaceDescription, InterfaceId, PacketRecord, Statistics, Writer};

use crate::{limit, output};

/// Handshakes that may wait.
const QUEUE: usize = 1024;
/// The longest that the end waits for a disk that does not write.
pub const LAST_WAIT: Duration = Duration::from_secs(10);

/// A packet on its way.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The interface's index.
    pub interface: u32,
    pub time_ns: u64,
    pub octets: Box<[u8]>,
    pub original: u32,
    pub direction: Direction,
}

/// The interface that packets were captured on.
#[derive(Clone, Debug)]
pub struct Described {
    pub name: String,
    pub link: u16,
    pub snaplen: u32,
}

/// The counts for the summary.
#[derive(Clone, Debug)]
pub struct FileTotals {
    pub start_ns: u64,
    pub end_ns: u64,
    /// Packets that were lost before they came here; `None`: not known.
    pub dropped: Option<u64>,
    pub comment: String,
}

enum Job {
    /// A handshake: its packets, and the one that decided with the verdict.
    Handshake(Vec<Recorded>, usize, String),
    End(FileTotals),
}

/// The thread, as its clients see it.
pub struct Recorder {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
    done: Receiver<()>,
}

#[derive(Default)]
struct Shared {
    interfaces: Mutex<HashMap<u32, Described>>,
    /// Handshakes in the queue.
    waiting: AtomicUsize,
    /// Packets that found no room in the queue, and those that could not be written.
    shed: AtomicU64,
    unwritten: AtomicU64,
    has_failed: AtomicBool,
    /// Nobody reads what is written.
    is_broken: AtomicBool,
}

impl Shared {
    fn interfaces(&self) -> MutexGuard<'_, HashMap<u32, Described>> {
        self.interfaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there may be no more threads.
    pub fn start(writer: Writer) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (finished, done) = channel();
        let shared = Arc::<Shared>::default();
        let desk = Desk { writer, interfaces: HashMap::new(), shared: Arc::clone(&shared) };
        limit::thread(move || {
            desk.work(&queue);
            let _ = finished.send(());
        })?;
        Ok(Self { jobs, shared, done })
    }

    /// Describes an interface. In the evidence it keeps the name that it had when its first packet was written.
    pub fn interface(&self, index: u32, described: Described) {
        self.shared.interfaces().insert(index, described);
    }

    /// Forgets an interface of which no more packets come.
    pub fn forget(&self, index: u32) {
        self.shared.interfaces().remove(&index);
    }

    /// Whether another handshake finds room in the queue.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.waiting.load(Relaxed) < QUEUE
    }

    /// Queues a handshake, or sheds it.
    pub fn handshake(&self, packets: Vec<Recorded>, decided: usize, verdict: String) {
        let count = packets.len() as u64;
        self.shared.waiting.fetch_add(1, Relaxed);
        if self.jobs.try_send(Job::Handshake(packets, decided, verdict)).is_err() {
            self.shared.waiting.fetch_sub(1, Relaxed);
            self.shared.shed.fetch_add(count, Relaxed);
        }
    }

    /// Packets that were not written.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.shared.shed.load(Relaxed) + self.shared.unwritten.load(Relaxed)
    }

    /// Whether something could not be written.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed.load(Relaxed)
    }

    /// Whether the reader of a pipe has gone.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.is_broken.load(Relaxed)
    }

    /// Sees the queue out, until `deadline`, and completes the file.
    pub fn finish(&self, account: FileTotals, deadline: Instant) {
        let mut end = Job::End(account);
        let left = || deadline.saturating_duration_since(Instant::now());
        while let Err(TrySendError::Full(job)) = self.jobs.try_send(end) {
            if left().is_zero() {
                return self.give_up();
            }
            thread::sleep(Duration::from_millis(5));
            end = job;
        }
        if self.done.recv_timeout(left()) == Err(RecvTimeoutError::Timeout) {
            self.give_up();
        }
    }

    fn give_up(&self) {
        self.shared.has_failed.store(true, Relaxed);
        output::say("evidence: the disk did not accept all packets: the file is incomplete");
    }
}

/// The thread's side.
struct Desk {
    writer: Writer,
    /// By index: the writer's number for it, and packets of it.
    interfaces: HashMap<u32, (InterfaceId, u64)>,
    shared: Arc<Shared>,
}

impl Desk {
    fn work(mut self, queue: &Receiver<Job>) {
        for job in queue {
            match job {
                Job::Handshake(packets, decided, verdict) => {
                    self.shared.waiting.fetch_sub(1, Relaxed);
                    for (place, packet) in packets.iter().enumerate() {
                        let comment = (place == decided).then_some(verdict.as_str());
                        let written = self.packet(packet, comment);
                        self.note(written);
                    }
                    let written = self.writer.group_end();
                    self.note(written);
                    self.shared.unwritten.store(self.writer.shed(), Relaxed);
                }
                Job::End(account) => return self.end(&account),
            }
        }
    }

    fn packet(&mut self, recorded: &Recorded, comment: Option<&str>) -> io::Result<()> {
        let (interface, count) = self.interfaces.entry(recorded.interface).or_insert_with(|| {
            let known = self.shared.interfaces();
            let name = format!("#{}", recorded.interface);
            let unknown = Described { name, link: 1, snaplen: 0 };
            let Described { name, link, snaplen } = known.get(&recorded.interface).unwrap_or(&unknown);
            let described = InterfaceDescription { name, link: *link, snaplen: *snaplen, description: None };
            (self.writer.interface(described), 0)
        });
        *count += 1;
        self.writer.packet(&PacketRecord {
            interface: *interface,
            time_ns: recorded.time_ns,
            octets: &recorded.octets,
            original: recorded.original,
            direction: Some(recorded.direction),
            comment,
        })
    }

    fn end(mut self, account: &FileTotals) {
        let FileTotals { start_ns, end_ns, dropped, ref comment } = *account;
        for &(id, received) in self.interfaces.values() {
            let comment = Some(comment.as_str());
            self.writer.statistics(id, Statistics { received, dropped, comment, start_ns, end_ns });
        }
        if let Err(error) = self.writer.finish() {
            self.shared.has_failed.store(true, Relaxed);
            output::say(&format!("evidence: {}", limit::explained(&error)));
        }
    }

    fn note(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.shared.has_failed.store(true, Relaxed);
            self.shared.is_broken.fetch_or(error.kind() == io::ErrorKind::BrokenPipe, Relaxed);
            output::say(&format!("evidence: {}; evidence_shed counts it", limit::explained(&error)));
        }
    }
}
