//! The reader of the ring buffer.
//!
//! It wakes when the kernel says that there is something, drains, and rests a moment, so that a burst costs a few
//! wake-ups and not one an event. When the tracker falls behind, the reader waits for it and the ring fills: the
//! kernel counts what then finds no room.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use tcptrace_core::{event::Event, handshake::Transition};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time,
};

use super::decode;

/// Events between the reader and the tracker.
const QUEUE: usize = 4096;
/// The rest between two drains.
const REST: Duration = Duration::from_millis(20);

/// A decoded record.
pub type Told = (Transition, Event);

/// The running reader.
pub struct Reader {
    pub events: mpsc::Receiver<Told>,
    undecodable: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Starts reading.
    ///
    /// # Errors
    /// When the ring cannot be polled.
    pub fn start(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring keeps one descriptor open until it is dropped.
        #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        let (sender, events) = mpsc::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let undecodable = Arc::<AtomicU64>::default();
        let task = tokio::spawn(read(ring, sender, stopped, Arc::clone(&undecodable)));
        Ok(Self { events, undecodable, stop: Some(stop), task })
    }

    /// Records that were no events of this version.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable.load(Relaxed)
    }

    /// Asks the reader to drain once more and to end; the channel closes then.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    /// Whether the reader has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

async fn read(
    mut ring: AsyncFd<RingBuf<MapData>>,
    events: mpsc::Sender<Told>,
    mut stopped: oneshot::Receiver<()>,
    undecodable: Arc<AtomicU64>,
) {
    loop {
        let stop = tokio::select! {
            ready = ring.readable_mut() => match ready {
                Ok(mut ready) => {
                    ready.clear_ready();
                    false
                }
                Err(_) => true,
            },
            _ = &mut stopped => true,
        };
        while let Some(record) = ring.get_mut().next() {
            let Some(event) = decode::event(&record) else {
                undecodable.fetch_add(1, Relaxed);
                continue;
            };
            drop(record);
            if events.send(event).await.is_err() {
                return;
            }
        }
        if stop {
            return;
        }
        tokio::select! {
            () = time::sleep(REST) => {}
            _ = &mut stopped => {
                // Once more around, with the channel's end known: drain and leave.
                stopped = closed();
            }
        }
    }
}

/// A receiver whose sender is gone.
fn closed() -> oneshot::Receiver<()> {
    oneshot::channel().1
}
